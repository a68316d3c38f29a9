//! What only reads, with the store gone: 503 with `Retry-After`, wherever it is needed.

use deputize_tests::faults::Fault;
use insta::assert_snapshot;

use crate::grants::Connected;

#[tokio::test]
async fn whatever_reads_is_unavailable() {
    let it = Connected::set().await;
    let (app, alice, bot) = (it.app(), &it.scenario.alice, &it.scenario.bot);
    let token = app.m2m(bot).await;
    let paths = [
        "/api/v1/me".to_owned(),
        "/api/v1/api-keys".to_owned(),
        "/api/v1/users".to_owned(),
        format!("/api/v1/users/{}", it.scenario.bob.id),
        "/api/v1/agent-accounts".to_owned(),
        format!("/api/v1/agent-accounts/{}", bot.id),
        format!("/api/v1/agent-accounts/{}/secrets", bot.id),
        format!("/api/v1/agent-accounts/{}/delegations", bot.id),
        format!("/api/v1/agent-accounts/{}/session-grants", bot.id),
        "/api/v1/delegations".to_owned(),
        "/api/v1/servers".to_owned(),
        "/api/v1/servers/chat".to_owned(),
        "/api/v1/servers/chat/connection".to_owned(),
        "/api/v1/policies".to_owned(),
        "/api/v1/signing-keys".to_owned(),
        "/api/v1/audit-events".to_owned(),
    ];
    for path in &paths {
        app.get(path).as_user(alice).await.ok();
    }
    let mut answers = Vec::new();
    for skip in 0..2 {
        for path in &paths {
            // The first read finds the key's owner, the next ones what the request is for.
            app.faults.from_request(skip, Fault::Refused);
            answers.push((path, app.get(path).as_user(alice).await));
            app.faults.stop();
        }
    }
    app.faults.always(Fault::Throttled);
    let public = ["/healthz", "/.well-known/jwks.json"].map(str::to_owned);
    for path in &public {
        answers.push((path, app.get(path).await));
    }
    let introspected = "introspection".to_owned();
    answers.push((&introspected, app.about_token("introspect", bot, &token).await));
    for (path, answer) in &answers {
        // `/me` reads only the key's owner.
        if answer.status == 200 && *path == "/api/v1/me" {
            continue;
        }
        assert_eq!(answer.status, 503, "{path}: {answer}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}: {answer}");
    }
    assert_snapshot!(answers[0].1, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "reason": "store_unavailable",
      "safe_to_retry": true
    }
    "#);
}

#[tokio::test]
async fn an_outage_says_nothing_of_its_cause() {
    let it = Connected::set().await;
    it.app().faults.always(Fault::Refused);
    let answer = it.app().get("/api/v1/me").as_user(&it.scenario.alice).await;
    for inner in ["dynamo", "Dynamo", "connection", "TransactWrite", "table"] {
        assert!(!answer.text.contains(inner), "{answer}");
    }
}

#[tokio::test]
async fn what_needs_no_store_works_without_one() {
    let it = Connected::set().await;
    it.app().faults.always(Fault::Refused);
    it.app().get("/.well-known/oauth-authorization-server").await.ok();
    it.app().get("/openapi.json").await.ok();
    let refused = it.app().get("/api/v1/me").bearer("nonsense").await;
    assert_eq!(refused.status, 401);
}
