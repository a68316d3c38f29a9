//! A person's day with an MCP client of theirs, by the clock. `tests/e2e/test_a_persons_day.py` has the same day in a
//! browser, where no hour passes.

use std::time::Duration;

use deputize_core::vault::Vault;
use deputize_tests::{Person, Provider, TestApp, TestRequest, TestResponse, app::root};
use serde_json::Value;

use super::{HERE, redeem, registered, request};

const SLACK: (&str, &str) = ("resource", "https://deputize.test/api/v1/proxy/slack/mcp");
const HOUR: Duration = Duration::from_hours(1);

/// The tokens of one installation of the client.
#[derive(Clone, Debug)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    #[track_caller]
    fn of(answer: &TestResponse) -> Self {
        assert_eq!(answer.status, 200, "{answer}");
        Self { access: answer.field("access_token"), refresh: answer.field("refresh_token") }
    }
}

/// The client, as it is registered, at one process of the service.
struct Client<'a> {
    app: &'a TestApp,
    id: String,
}

impl Client<'_> {
    /// It sends its user to allow it. They do not connect the server on the way.
    async fn sign_in(&self, browser: &Person<'_>) -> Tokens {
        let page = browser.authorize(&request(&self.id, HERE, &[SLACK])).await.ok();
        let mut answer = browser.press(&page, "allow").await;
        if answer.sent_to().path() == "/api/v1/oauth/authorize" {
            let page = browser.open(answer.header("location").unwrap()).await.ok();
            assert_eq!(page.title(), "Connect your slack account?");
            answer = browser.press(&page, "go_on").await;
        }
        Tokens::of(&redeem(self.app, &self.id, HERE, &answer.sent_with("code").unwrap()).await)
    }

    fn refresh(&self, app: &TestApp, token: &str) -> TestRequest {
        app.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", &self.id)])
    }

    /// A client of 2026-07-28 that opens addresses calls a tool that says whose account it is used with.
    async fn call(&self, tokens: &Tokens) -> TestResponse {
        const OPENS_ADDRESSES: &str = r#"{"name":"list_channels","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}}"#;
        let text = deputize_tests::mcp::request("tools/call", OPENS_ADDRESSES);
        let ask = self.app.mcp("slack", text).header("mcp-protocol-version", "2026-07-28");
        ask.header("mcp-method", "tools/call")
            .header("mcp-name", "list_channels")
            .bearer(&tokens.access)
            .await
    }

    /// What the tool says.
    async fn says(&self, tokens: &Tokens) -> String {
        let answer = self.call(tokens).await.ok().json();
        let text = &answer["result"]["content"][0]["text"];
        text.as_str().unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }
}

#[tokio::test]
async fn a_day() {
    let provider = Provider::start().await;
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    app.server("slack").oauth().at(provider.mcp_url()).await;
    app.permit_everything().await;

    // In the morning Bob gives his client the server's address, and allows it.
    let client = Client { app: &app, id: registered(&app, "Editor", HERE).await };
    let browser = app.person(&bob).await;
    let morning = client.sign_in(&browser).await;

    // It calls, and Bob is not connected. That is no 401: the client shows him where to connect.
    let told = client.call(&morning).await;
    assert_eq!((told.status.as_u16(), told.header("www-authenticate")), (200, None), "{told}");
    let told = told.json();
    let asked = &told["result"]["inputRequests"]["deputize.connect"]["params"];
    assert_eq!(
        (&asked["mode"], &asked["url"]),
        (&"url".into(), &"https://deputize.test/connect/slack".into())
    );

    // He opens the address, and connects.
    let address = asked["url"].as_str().unwrap();
    let page = browser.open(address).await.ok();
    let begun = browser.press_one("/connect/slack", &page, ("", "")).await;
    let cookie = begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let back = provider.consent(begun.sent_to().as_str(), "bob");
    let page = app.get(back).header("cookie", &cookie).await.ok();
    assert!(page.text.contains("Connected"), "{page}");
    assert!(client.says(&morning).await.contains("bob"));

    // An hour passes. The client's token has expired, which is a 401 that says where to get another. Slack's has too.
    app.pass(HOUR);
    let expired = client.call(&morning).await;
    assert_eq!(expired.status, 401, "{expired}");
    let challenge = expired.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    assert!(
        challenge.contains("/.well-known/oauth-protected-resource/api/v1/proxy/slack/mcp"),
        "{challenge}"
    );
    let noon = Tokens::of(&client.refresh(&app, &morning.refresh).await);
    assert!(client.says(&noon).await.contains("bob"));
    assert_eq!(provider.count("token refresh_token"), 1, "{:?}", provider.log());

    // Two refreshes at once, at two processes: both get the same next token, and neither is logged out.
    app.pass(HOUR);
    let elsewhere = app.another(Vault::new(root(7), Vec::new())).await;
    let (one, other) =
        tokio::join!(client.refresh(&app, &noon.refresh), client.refresh(&elsewhere, &noon.refresh));
    let (one, other) = (Tokens::of(&one), Tokens::of(&other));
    assert_eq!(one.refresh, other.refresh);
    assert!(client.says(&one).await.contains("bob") && client.says(&other).await.contains("bob"));

    // An answer is lost, and the client comes back hours later with what it has.
    app.pass(HOUR);
    let lost = Tokens::of(&client.refresh(&app, &one.refresh).await);
    app.pass(HOUR * 5);
    let evening = Tokens::of(&client.refresh(&app, &one.refresh).await);
    assert_eq!(evening.refresh, lost.refresh, "it gets what was lost");
    assert!(client.says(&evening).await.contains("bob"));

    // The same client on a second machine. The page is shorter, and is not skipped.
    let laptop = app.person(&bob).await;
    let second = client.sign_in(&laptop).await;
    assert!(client.says(&second).await.contains("bob"));
    // Somebody uses a token of the morning on the first one. That ends its sign-in, and nothing else.
    let first = Tokens::of(&client.refresh(&app, &evening.refresh).await);
    let again = client.refresh(&app, &morning.refresh).await;
    assert!(again.refusal().starts_with("400 invalid_grant"), "{again}");
    assert_eq!(client.refresh(&app, &first.refresh).await.field("error"), "invalid_grant");
    assert_eq!(client.call(&first).await.status, 401);
    let second = Tokens::of(&client.refresh(&app, &second.refresh).await);
    assert!(client.says(&second).await.contains("bob"));

    // Before he goes home, Bob ends it in the browser, in which he has to sign in again by now. The next call is refused,
    // and so is the next refresh.
    assert_eq!(browser.open("/").await.sent_to().path(), "/sign-in");
    let browser = app.person(&bob).await;
    let page = browser.open("/apps").await.ok();
    let listed: Value = app.get("/api/v1/authorizations").as_user(&bob).await.ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "both machines have one client: {listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let ended = browser.press_one("/apps", &page, ("authorization", id)).await;
    assert_eq!(ended.sent_to().as_str(), "https://deputize.test/apps");
    let refused = client.call(&second).await;
    assert_eq!(refused.status, 401, "{refused}");
    assert_eq!(client.refresh(&app, &second.refresh).await.field("error"), "invalid_grant");
}
