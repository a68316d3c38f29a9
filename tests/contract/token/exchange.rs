//! The two-step exchange (RFC 8693): an agent's token and a user's become one.

use std::time::Duration;

use deputize_tests::{jwt, request::ACCESS_TOKEN};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn an_agents_token_and_a_users_become_one_without_client_authentication() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
    let claims = jwt::claims(&answer.access_token());
    assert_eq!(claims["sub"], bob.id.to_string());
    assert_eq!(claims["act"]["sub"], bot.id.to_string());
    assert_eq!(claims["client_secret_id"], jwt::claims(&agent)["client_secret_id"]);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn the_client_may_authenticate_too() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let id = bot.id.to_string();
    app.exchange(&agent, &user, &[]).basic(&id, &bot.secret).await.ok();
    app.exchange(&agent, &user, &[("client_id", &id), ("client_secret", &bot.secret)]).await.ok();
}

#[tokio::test]
async fn a_client_cannot_exchange_another_clients_token() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).basic(&other.id.to_string(), &other.secret).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it was issued to another client",
      "detail": "invalid_request: subject_token: it was issued to another client",
      "reason": "subject_token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_wrong_secret_is_not_overlooked_because_there_is_a_token() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).basic(&bot.id.to_string(), "dps_wrong").await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
}

#[tokio::test]
async fn a_token_that_acts_for_a_user_already_is_no_subject() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.obo(&bot, &bob).await, app.login.token("bob"));
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it acts for a user already; exchange the agent's own token",
      "detail": "invalid_request: subject_token: it acts for a user already; exchange the agent's own token",
      "reason": "subject_token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_users_token_is_no_subject_and_an_agents_is_no_actor() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    assert_snapshot!(app.exchange(&user, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: The token is not an agent token",
      "detail": "invalid_request: subject_token: The token is not an agent token",
      "reason": "subject_token_refused"
    }
    "#);
    assert_snapshot!(app.exchange(&agent, &agent, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token is from an untrusted issuer",
      "detail": "invalid_grant: actor_token: the token is from an untrusted issuer",
      "reason": "actor_token_refused"
    }
    "#);
    let single = app.token_for(&bot, &[("actor_token", &agent), ("actor_token_type", ACCESS_TOKEN)]).await;
    assert_snapshot!(single.refusal(), @"400 invalid_grant: actor_token: the token is from an untrusted issuer");
}

#[tokio::test]
async fn an_api_key_is_neither() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answers =
        [app.exchange(&bob.api_key, &user, &[]).await, app.exchange(&agent, &bob.api_key, &[]).await];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    400 invalid_request: subject_token: The token is malformed
    400 invalid_grant: actor_token: the token is malformed
    ");
}

#[tokio::test]
async fn an_expired_subject_is_refused() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let agent = app.m2m(&bot).await;
    app.pass(Duration::from_hours(1));
    assert_snapshot!(app.exchange(&agent, &app.login.token("bob"), &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: The token has expired",
      "detail": "invalid_request: subject_token: The token has expired",
      "reason": "subject_token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_revoked_subject_is_refused() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    app.about_token("revoke", &bot, &agent).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it has been revoked",
      "detail": "invalid_request: subject_token: it has been revoked",
      "reason": "subject_token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_subject_whose_secret_is_revoked_is_refused() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let secret = jwt::claims(&agent)["client_secret_id"].as_str().unwrap().to_owned();
    app.delete(format!("/api/v1/agent-accounts/{}/secrets/{secret}", bot.id)).as_user(&alice).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it has been revoked",
      "detail": "invalid_request: subject_token: it has been revoked",
      "reason": "subject_token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_subject_whose_account_is_disabled_is_refused() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let account = app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(&alice);
    account.json(&json!({ "active": false })).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
}

#[tokio::test]
async fn without_a_delegation_there_is_no_exchange() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("carol"));
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    403 Forbidden

    {
      "error": "invalid_grant",
      "error_description": "No valid delegation",
      "detail": "invalid_grant: No valid delegation",
      "reason": "delegation_missing"
    }
    "#);
}

/// To revoke a leaked token is also to revoke the tokens that it was exchanged for.
#[tokio::test]
async fn revoking_a_subject_ends_what_was_exchanged_for_it() {
    let it = crate::proxy::Permitted::set().await;
    let (app, bot) = (it.app(), it.bot());
    let (leaked, other) = (app.m2m(bot).await, app.m2m(bot).await);
    let user = app.login.token("bob");
    let exchanged = app.exchange(&leaked, &user, &[]).await.access_token();
    let of_another = app.exchange(&other, &user, &[]).await.access_token();
    assert_eq!(jwt::claims(&exchanged)["exchanged_from"], jwt::claims(&leaked)["jti"]);
    let list = async |token: &str| {
        let answer = app.get("/api/v1/proxy/demo/tools").bearer(token).await;
        if answer.status == 200 { "200".to_owned() } else { answer.refusal() }
    };
    assert_eq!(list(&exchanged).await, "200");
    app.about_token("revoke", bot, &leaked).await.ok();
    assert_snapshot!(list(&exchanged).await, @"401 The token has been revoked");
    assert_eq!(app.about_token("introspect", bot, &exchanged).await.json(), json!({ "active": false }));
    assert_eq!(list(&of_another).await, "200");
}

/// A token that was exchanged in its subject's last second outlives the subject.
#[tokio::test]
async fn a_subject_that_has_expired_can_still_be_revoked() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let leaked = app.m2m(&bot).await;
    app.pass(Duration::from_secs(3599));
    let exchanged = app.exchange(&leaked, &app.login.token("bob"), &[]).await.access_token();
    app.pass(Duration::from_secs(1800));
    let active = async || app.about_token("introspect", &bot, &exchanged).await.json()["active"].clone();
    assert_eq!(active().await, true);
    app.about_token("revoke", &bot, &leaked).await.ok();
    assert_eq!(active().await, false);
    // The note about it is kept as long.
    let note = app.contents().into_iter().find(|(key, _)| key.starts_with("REVOKED#")).unwrap().1;
    let ends = jwt::claims(&leaked)["exp"].as_i64().unwrap() + 3600;
    assert!(note.to_string().contains(&ends.to_string()), "{note}");
}

/// RFC 8693 section 1.1: the subject is the user, the actor is the agent. The recipes have it the other way round.
#[tokio::test]
async fn the_user_may_be_the_subject_and_the_agent_the_actor() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&user, &agent, &[]).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
    let claims = jwt::claims(&answer.access_token());
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!(bob.id), &json!(bot.id)));
    assert_eq!(claims["exchanged_from"], jwt::claims(&agent)["jti"]);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

/// The order says nothing, so each check is the same in both. Only the parameter is another.
#[tokio::test]
async fn whatever_is_refused_in_one_order_is_refused_in_the_other() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let revoked = app.m2m(&bot).await;
    app.about_token("revoke", &bot, &revoked).await.ok();
    let other = app.agent("other", &alice).await;
    let forged =
        jwt::with_claims(&agent, |claims| claims["jti"] = "00000000-0000-4000-8000-000000000001".into());
    let late = app.login.token_with("bob", |claims| claims["exp"] = 1.into());
    let pairs = [
        (app.obo(&bot, &bob).await, user.clone()),
        (revoked, user.clone()),
        (forged, user.clone()),
        (app.m2m(&other).await, user.clone()),
        (agent.clone(), app.login.token("carol")),
        (agent.clone(), app.login.token("newcomer")),
        (agent.clone(), late),
        (agent.clone(), "x".to_owned()),
        (agent.clone(), bob.api_key.clone()),
        // Of two tokens of one kind, the subject is taken for the agent's.
        (user.clone(), user),
        (agent.clone(), agent),
    ];
    let mut refusals = Vec::new();
    for (agents, users) in &pairs {
        refusals.push(app.exchange(agents, users, &[]).await.refusal());
        refusals.push(app.exchange(users, agents, &[]).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 invalid_request: subject_token: it acts for a user already; exchange the agent's own token
    400 invalid_request: actor_token: it acts for a user already; exchange the agent's own token
    400 invalid_request: subject_token: it has been revoked
    400 invalid_request: actor_token: it has been revoked
    400 invalid_request: subject_token: The token's signature is wrong
    400 invalid_request: actor_token: The token's signature is wrong
    403 invalid_grant: No valid delegation
    403 invalid_grant: No valid delegation
    403 invalid_grant: No valid delegation
    403 invalid_grant: No valid delegation
    400 invalid_grant: actor_token: the user is unknown here
    400 invalid_grant: subject_token: the user is unknown here
    400 invalid_grant: actor_token: the token has expired
    400 invalid_grant: subject_token: the token has expired
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: subject_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: subject_token: the token is malformed
    400 invalid_request: subject_token: The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    400 invalid_grant: actor_token: the token is from an untrusted issuer
    400 invalid_grant: actor_token: the token is from an untrusted issuer
    ");
}

/// Libraries for public clients name the client and prove nothing by it (RFC 6749 section 3.2.1). The agent's token is
/// the proof.
#[tokio::test]
async fn the_client_may_be_named_without_being_proven() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let (id, upper) = (bot.id.to_string(), bot.id.to_string().to_uppercase());
    for (subject, actor) in [(&agent, &user), (&user, &agent)] {
        app.exchange(subject, actor, &[("client_id", &id)]).await.ok();
        app.exchange(subject, actor, &[("client_id", &upper), ("client_secret", "")]).await.ok();
        app.exchange(subject, actor, &[]).basic(&id, "").await.ok();
    }
    let other = app.agent("other", &alice).await.id.to_string();
    let mut refusals = Vec::new();
    for name in [&*other, "a name"] {
        refusals.push(app.exchange(&agent, &user, &[("client_id", name)]).await.refusal());
        refusals.push(app.exchange(&user, &agent, &[("client_id", name)]).await.refusal());
    }
    refusals.push(app.exchange(&user, &user, &[("client_id", &id)]).await.refusal());
    assert_snapshot!(refusals.join("\n"), @"
    400 invalid_request: subject_token: it was issued to another client
    400 invalid_request: actor_token: it was issued to another client
    400 invalid_request: subject_token: it was issued to another client
    400 invalid_request: actor_token: it was issued to another client
    400 invalid_request: subject_token: The token is not an agent token
    ");
}

#[tokio::test]
async fn in_either_order_a_token_is_good_only_where_the_agents_own_was() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    for server in ["demo", "other"] {
        app.server(server).await;
    }
    let resource = |server: &str| format!("https://deputize.test/api/v1/proxy/{server}/mcp");
    let agent = app.token_for(&bot, &[("resource", &resource("demo"))]).await.access_token();
    let user = app.login.token("bob");
    let exchanged = app.exchange(&user, &agent, &[]).await.access_token();
    assert_eq!(jwt::claims(&exchanged)["aud"], resource("demo"));
    let wider = app.exchange(&user, &agent, &[("resource", &resource("other"))]).await;
    assert_eq!(
        wider.refusal(),
        "400 invalid_target: resource: the actor_token is good at another resource only"
    );
}
