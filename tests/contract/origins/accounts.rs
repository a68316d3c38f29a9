//! Which web pages may use an agent account's credentials: its list narrows the deployment's.

use deputize_core::vault::Vault;
use deputize_tests::{
    Agent, SigningClient, TestApp, TestRequest, TestResponse, User, app::root, jwt::SigningKey,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{PAGE, TRICKS, cors_headers, from};
use crate::{mcp::Scene, scenario::Scenario};

const ACCOUNTS: &str = "/api/v1/agent-accounts";
/// Another origin of the deployment.
const OTHER_PAGE: &str = "http://localhost:5173";

fn patch(app: &TestApp, agent: &Agent, by: &User, body: &Value) -> TestRequest {
    app.patch(format!("{ACCOUNTS}/{}", agent.id)).as_user(by).json(body)
}

/// Sets the account's origins.
async fn narrow(app: &TestApp, agent: &Agent, by: &User, origins: &Value) {
    patch(app, agent, by, &json!({ "allowed_origins": origins })).await.ok();
}

/// Every way to use an agent account's credentials.
struct Uses {
    it: Scene,
    client: SigningClient,
    m2m: String,
    obo: String,
    user_jwt: String,
    session: String,
}

impl Uses {
    async fn set() -> Self {
        let it = Scene::set().await;
        let client = it.app().client_of(&it.scenario.bot, &it.scenario.alice, SigningKey::es256()).await;
        let m2m = it.app().m2m(&it.scenario.bot).await;
        let obo = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
        let user_jwt = it.app().login.token("bob");
        let session = it.app().initialize("old").bearer(&m2m).await.ok().session();
        Self { it, client, m2m, obo, user_jwt, session }
    }

    fn app(&self) -> &TestApp {
        self.it.app()
    }

    /// The last one ends a session.
    fn all(&self) -> Vec<(&'static str, TestRequest)> {
        let (app, bot) = (self.app(), &self.it.scenario.bot);
        let (id, none) = (bot.id.to_string(), json!({}));
        let mcp = "/api/v1/proxy/old/mcp";
        let in_session =
            |ask: TestRequest| ask.header("mcp-protocol-version", "2025-11-25").in_session(&self.session);
        vec![
            ("token, secret in the form", app.token_for(bot, &[])),
            (
                "token, secret in the header",
                app.token(&[("grant_type", "client_credentials")]).basic(&id, &bot.secret),
            ),
            ("token, assertion", app.token_by(&self.client.assertion(app), &[])),
            ("exchange", app.exchange(&self.m2m, &self.user_jwt, &[])),
            ("introspection, secret", app.about_token("introspect", bot, &self.m2m)),
            (
                "introspection, assertion",
                app.about_token_by("introspect", &self.client.assertion(app), &self.m2m),
            ),
            ("revocation, secret", app.about_token("revoke", bot, "none")),
            ("revocation, assertion", app.about_token_by("revoke", &self.client.assertion(app), "none")),
            ("tool call, M2M", app.call("new", "t", &none).bearer(&self.m2m)),
            ("tool call, OBO", app.call("new", "t", &none).bearer(&self.obo)),
            ("tools, M2M", app.get("/api/v1/proxy/new/tools").bearer(&self.m2m)),
            ("tools, OBO", app.get("/api/v1/proxy/new/tools").bearer(&self.obo)),
            ("MCP, M2M", app.modern("new", "tools/list", "").bearer(&self.m2m)),
            ("MCP, OBO", app.modern("new", "tools/call", r#""name":"t""#).bearer(&self.obo)),
            ("MCP notification", {
                let text = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
                in_session(app.mcp("old", text).bearer(&self.m2m))
            }),
            ("MCP DELETE", in_session(app.delete(mcp).bearer(&self.m2m))),
        ]
    }
}

/// Whether it is at an endpoint whose answers every page may read, since it gives apps their tokens too.
fn is_read_by_all(what: &str) -> bool {
    ["token,", "exchange", "revocation"].iter().any(|beginning| what.starts_with(beginning))
}

fn told(answer: &TestResponse) -> String {
    let body = answer.json();
    format!("{} {}", answer.status.as_u16(), body["error"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn no_credential_of_the_account_is_good_in_a_page_that_is_not_listed() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    narrow(app, &scenario.bot, &scenario.alice, &json!([OTHER_PAGE])).await;
    let heard = uses.it.new.heard().len() + uses.it.old.heard().len();
    let mut lines = Vec::new();
    for (what, ask) in uses.all() {
        let answer = from(PAGE, ask).await;
        // The page is from one of the deployment's origins, so it can read the reason.
        let reader = if is_read_by_all(what) { "*" } else { PAGE };
        assert_eq!(answer.header("access-control-allow-origin"), Some(reader), "{what}");
        let event = app.event_of(&answer);
        let event: Vec<&str> = event
            .lines()
            .filter(|line| ["action", "outcome", "credential"].iter().any(|name| line.starts_with(name)))
            .collect();
        lines.push(format!("{what}: {}; {}", told(&answer), event.join(" ")));
    }
    assert_snapshot!(lines.join("\n"), @r#"
    token, secret in the form: 403 unauthorized_client; action: "token.issue" credential: "client_secret:[bot's first secret]" outcome: "denied"
    token, secret in the header: 403 unauthorized_client; action: "token.issue" credential: "client_secret:[bot's first secret]" outcome: "denied"
    token, assertion: 403 unauthorized_client; action: "token.issue" credential: "client_key:[the client's key]" outcome: "denied"
    exchange: 403 unauthorized_client; action: "token.issue" credential: "agent_token:[uuid]" outcome: "denied"
    introspection, secret: 403 unauthorized_client; action: "token.introspect" credential: "client_secret:[bot's first secret]" outcome: "denied"
    introspection, assertion: 403 unauthorized_client; action: "token.introspect" credential: "client_key:[the client's key]" outcome: "denied"
    revocation, secret: 403 unauthorized_client; action: "token.revoke" credential: "client_secret:[bot's first secret]" outcome: "denied"
    revocation, assertion: 403 unauthorized_client; action: "token.revoke" credential: "client_key:[the client's key]" outcome: "denied"
    tool call, M2M: 403 access_denied; action: "tool.call" credential: "agent_token:[uuid]" outcome: "denied"
    tool call, OBO: 403 access_denied; action: "tool.call" credential: "agent_token:[uuid]" outcome: "denied"
    tools, M2M: 403 access_denied; action: "tool.list" credential: "agent_token:[uuid]" outcome: "denied"
    tools, OBO: 403 access_denied; action: "tool.list" credential: "agent_token:[uuid]" outcome: "denied"
    MCP, M2M: 403 access_denied; action: "tool.list" credential: "agent_token:[uuid]" outcome: "denied"
    MCP, OBO: 403 access_denied; action: "tool.call" credential: "agent_token:[uuid]" outcome: "denied"
    MCP notification: 403 access_denied; action: "mcp.request" credential: "agent_token:[uuid]" outcome: "denied"
    MCP DELETE: 403 access_denied; action: "mcp.request" credential: "agent_token:[uuid]" outcome: "denied"
    "#);
    assert_eq!(uses.it.new.heard().len() + uses.it.old.heard().len(), heard, "nothing was called");
}

#[tokio::test]
async fn all_are_good_in_a_listed_page_and_outside_of_pages() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    narrow(app, &scenario.bot, &scenario.alice, &json!([OTHER_PAGE])).await;
    for (what, ask) in uses.all() {
        if what != "MCP DELETE" {
            assert!(ask.await.status.is_success(), "{what}");
        }
    }
    for (what, ask) in uses.all() {
        assert!(from(OTHER_PAGE, ask).await.status.is_success(), "{what}");
    }
}

#[tokio::test]
async fn without_a_list_all_origins_of_the_deployment_are_good_and_no_other() {
    let uses = Uses::set().await;
    for (what, ask) in uses.all() {
        assert!(what == "MCP DELETE" || from(PAGE, ask).await.status.is_success(), "{what}");
    }
    for (what, ask) in uses.all() {
        let answer = from("https://evil.example.com", ask).await;
        assert_eq!(answer.status, 403, "{what}");
        if is_read_by_all(what) {
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{what}");
        } else {
            // Any page reads what the MCP endpoint answers, and there this is its refusal.
            assert_eq!(cors_headers(&answer).is_empty(), !what.starts_with("MCP"), "{what}");
        }
    }
    for origin in TRICKS {
        let answer = from(origin, uses.app().token_for(&uses.it.scenario.bot, &[])).await;
        assert_eq!(told(&answer), "403 unauthorized_client", "{origin}");
    }
}

#[tokio::test]
async fn the_answers_say_why() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    narrow(app, &scenario.bot, &scenario.alice, &json!([])).await;
    let refused = from(PAGE, app.token_for(&scenario.bot, &[])).await;
    assert_snapshot!(refused, @r#"
    403 Forbidden
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version

    {
      "error": "unauthorized_client",
      "error_description": "The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set",
      "detail": "unauthorized_client: The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set",
      "reason": "origin_not_for_account"
    }
    "#);
    assert_snapshot!(app.event_of(&refused), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    credential: "client_secret:[bot's first secret]"
    detail: "unauthorized_client: The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set"
    outcome: "denied"
    "#);
    let refused = from(PAGE, app.call("new", "t", &json!({})).bearer(&uses.obo)).await;
    assert_snapshot!(refused, @r#"
    403 Forbidden
    access-control-allow-origin: https://app.example.com
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version

    {
      "error": "access_denied",
      "error_description": "The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set",
      "detail": "The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set",
      "reason": "origin_not_for_account"
    }
    "#);
    assert_snapshot!(app.event_of(&refused), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_agent: "[bot]"
    audit_server: "new"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    detail: "The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set"
    outcome: "denied"
    tool: "t"
    "#);
    let refused = from(PAGE, app.about_token("introspect", &scenario.bot, &uses.m2m)).await;
    assert_snapshot!(app.event_of(&refused), @r#"
    action: "token.introspect"
    audit_agent: "[bot]"
    credential: "client_secret:[bot's first secret]"
    detail: "unauthorized_client: The agent account may not be used from this origin: it must be one of the deployment's, and one of the account's allowed_origins if those are set"
    outcome: "denied"
    "#);
}

#[tokio::test]
async fn a_list_does_not_widen_what_the_deployment_allows() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    narrow(&app, &bot, &alice, &json!(["https://evil.example.com", "https://app.example.com"])).await;
    let refused = from("https://evil.example.com", app.token_for(&bot, &[])).await;
    assert_eq!(told(&refused), "403 unauthorized_client");
    from(PAGE, app.token_for(&bot, &[])).await.ok();
}

#[tokio::test]
async fn who_does_not_prove_to_be_the_client_is_not_told_of_its_origins() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    narrow(&app, &bot, &alice, &json!([OTHER_PAGE])).await;
    let guess = Agent { secret: app.agent("other", &alice).await.secret, ..bot.clone() };
    for endpoint in ["introspect", "revoke"] {
        assert_eq!(told(&from(PAGE, app.about_token(endpoint, &guess, "x")).await), "401 invalid_client");
    }
    assert_eq!(told(&from(PAGE, app.token_for(&guess, &[])).await), "401 invalid_client");
}

#[tokio::test]
async fn a_refused_revocation_revokes_nothing_and_a_refused_assertion_is_used_up() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    narrow(app, &scenario.bot, &scenario.alice, &json!([OTHER_PAGE])).await;
    from(PAGE, app.about_token("revoke", &scenario.bot, &uses.m2m)).await;
    app.call("new", "t", &json!({})).bearer(&uses.m2m).await.ok();
    for endpoint in ["introspect", "revoke"] {
        let assertion = uses.client.assertion(app);
        let refused = from(PAGE, app.about_token_by(endpoint, &assertion, &uses.m2m)).await;
        assert_eq!(told(&refused), "403 unauthorized_client");
        let again = app.about_token_by(endpoint, &assertion, &uses.m2m).await;
        assert_eq!(told(&again), "401 invalid_client", "{endpoint}");
    }
    let assertion = uses.client.assertion(app);
    assert_eq!(told(&from(PAGE, app.token_by(&assertion, &[])).await), "403 unauthorized_client");
    assert_eq!(told(&app.token_by(&assertion, &[]).await), "401 invalid_client");
}

#[tokio::test]
async fn another_list_is_in_force_from_the_next_call_on_in_every_process() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    let other = app.another(Vault::new(root(7), Vec::new())).await;
    let call = |app: &TestApp| from(PAGE, app.call("new", "t", &json!({})).bearer(&uses.obo));
    let token = |app: &TestApp| from(PAGE, app.token_for(&scenario.bot, &[]));
    for (origins, status) in
        [(json!([OTHER_PAGE]), 403), (json!([PAGE]), 200), (json!([]), 403), (json!(null), 200)]
    {
        narrow(app, &scenario.bot, &scenario.alice, &origins).await;
        for process in [app, &other] {
            assert_eq!(call(process).await.status, status, "{origins}");
            assert_eq!(token(process).await.status, status, "{origins}");
        }
    }
}

#[tokio::test]
async fn a_users_own_credential_is_not_an_agent_accounts() {
    let uses = Uses::set().await;
    let (app, scenario) = (uses.app(), &uses.it.scenario);
    narrow(app, &scenario.bot, &scenario.alice, &json!([])).await;
    from(PAGE, app.call("new", "t", &json!({})).as_user(&scenario.bob)).await.ok();
}

#[tokio::test]
async fn an_admin_sets_the_origins_with_a_new_account() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let body = json!({ "name": "New Bot", "owner_user_id": bob.id, "allowed_origins": [PAGE] });
    let made = app.post(ACCOUNTS).as_user(&alice).json(&body).await.ok();
    app.call_it("new bot", made.field("id"));
    assert_snapshot!(app.event_of(&made), @r#"
    action: "agent_account.create"
    audit_agent: "[new bot]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    detail: "allowed_origins: https://app.example.com"
    outcome: "allowed"
    subject: "agent_account:[new bot]"
    "#);
    let shown = app.get(format!("{ACCOUNTS}/{}", made.field("id"))).as_user(&bob).await;
    assert_snapshot!(shown, @r#"
    200 OK

    {
      "id": "[new bot]",
      "name": "New Bot",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[bob]",
      "owners": [
        {
          "user_id": "[bob]"
        }
      ],
      "groups": [],
      "allowed_origins": [
        "https://app.example.com"
      ],
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    let bot = Agent { id: made.field("id").parse().unwrap(), secret: made.field("client_secret") };
    assert_eq!(told(&from(OTHER_PAGE, app.token_for(&bot, &[])).await), "403 unauthorized_client");
}

#[tokio::test]
async fn an_owner_changes_them_and_others_neither_do_nor_see_them() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let bobs = app.agent("bobs", &bob).await;
    let changed = patch(&app, &bobs, &bob, &json!({ "allowed_origins": [PAGE, OTHER_PAGE] })).await;
    assert_snapshot!(changed, @r#"
    200 OK

    {
      "id": "[bobs]",
      "name": "bobs",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[bob]",
      "owners": [
        {
          "user_id": "[bob]"
        }
      ],
      "groups": [],
      "allowed_origins": [
        "https://app.example.com",
        "http://localhost:5173"
      ],
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&changed), @r#"
    action: "agent_account.update"
    audit_agent: "[bobs]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "allowed_origins: https://app.example.com http://localhost:5173"
    outcome: "allowed"
    subject: "agent_account:[bobs]"
    "#);
    let kept = patch(&app, &bobs, &alice, &json!({ "name": "renamed" })).await.ok().json();
    assert_eq!(kept["allowed_origins"], json!([PAGE, OTHER_PAGE]));
    let refused = patch(&app, &bobs, &carol, &json!({ "allowed_origins": null })).await;
    assert_eq!(refused.refusal(), "404 No such agent account");
    let seen = app.get(format!("{ACCOUNTS}/{}", bobs.id)).as_user(&carol).await.ok().json();
    assert_eq!(seen.get("allowed_origins"), None);
    let widened = patch(&app, &bobs, &bob, &json!({ "allowed_origins": null })).await;
    assert_eq!(widened.json()["allowed_origins"], json!(null));
    assert_snapshot!(app.event_of(&widened), @r#"
    action: "agent_account.update"
    audit_agent: "[bobs]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "allowed_origins: all of the deployment's"
    outcome: "allowed"
    subject: "agent_account:[bobs]"
    "#);
}

#[tokio::test]
async fn what_is_no_origin_is_refused_by_its_place() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let before = app.contents();
    let mut told = Vec::new();
    for wrong in
        ["*", "null", "https://a.example/", "https://a.example:443", "HTTPS://a.example", "app", "\n"]
    {
        let answer = patch(&app, &bot, &alice, &json!({ "allowed_origins": [PAGE, wrong] })).await;
        told.push(answer.refusal());
    }
    let many: Vec<String> = (0..21).map(|n| format!("https://app{n}.example.com")).collect();
    told.push(patch(&app, &bot, &alice, &json!({ "allowed_origins": many })).await.refusal());
    let new = json!({ "name": "x", "allowed_origins": ["https://a.example/"] });
    told.push(app.post(ACCOUNTS).as_user(&alice).json(&new).await.refusal());
    assert_snapshot!(told.join("\n"), @"
    400 allowed_origins[1]: * is no origin; one looks like https://app.example.com
    400 allowed_origins[1]: null is no origin; one looks like https://app.example.com
    400 allowed_origins[1]: https://a.example/ is no origin; one looks like https://app.example.com
    400 allowed_origins[1]: https://a.example:443 is no origin; one looks like https://app.example.com
    400 allowed_origins[1]: HTTPS://a.example is no origin; one looks like https://app.example.com
    400 allowed_origins[1]: app is no origin; one looks like https://app.example.com
    400 allowed_origins[1]:  is no origin; one looks like https://app.example.com
    400 allowed_origins: must be at most 20 origins
    400 allowed_origins[0]: https://a.example/ is no origin; one looks like https://app.example.com
    ");
    assert_eq!(app.contents(), before);
    narrow(&app, &bot, &alice, &json!(many[..20])).await;
}
