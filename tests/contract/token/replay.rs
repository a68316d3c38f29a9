//! An assertion is good once: in turn, at once, and when the store loses answers.

use std::time::Duration;

use deputize_tests::{
    SigningClient, TestApp, TestResponse, client::JWT_BEARER, faults::Fault, jwt::SigningKey,
    request::USER_ID,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

async fn set() -> (Scenario, SigningClient) {
    let scenario = Scenario::start().await;
    let client = scenario.app.client_of(&scenario.bot, &scenario.alice, SigningKey::es256()).await;
    (scenario, client)
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    app.token_by(&assertion, &[]).await.ok();
    let before = app.contents();
    let replayed = app.token_by(&assertion, &[]).await;
    assert_snapshot!(replayed, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "client_assertion: it has been used already; sign a new one for each request",
      "detail": "invalid_client: client_assertion: it has been used already; sign a new one for each request",
      "reason": "assertion_refused"
    }
    "#);
    // The trail names the key whose assertion was replayed.
    assert_snapshot!(app.event_of(&replayed), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    credential: "client_key:[the client's key]"
    detail: "invalid_client: client_assertion: it has been used already; sign a new one for each request"
    outcome: "denied"
    "#);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn it_is_used_up_at_every_endpoint_by_each() {
    let (Scenario { app, .. }, client) = set().await;
    let token = client.m2m(&app).await;
    let use_at = async |endpoint: usize, assertion: &str| match endpoint {
        0 => app.token_by(assertion, &[]).await,
        1 => app.about_token_by("introspect", assertion, &token).await,
        2 => app.about_token_by("revoke", assertion, "no token at all").await,
        _ => {
            let more = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
            app.exchange(&token, &app.login.token("bob"), &more).await
        }
    };
    for first in 0..4 {
        for second in 0..4 {
            let assertion = client.assertion(&app);
            use_at(first, &assertion).await.ok();
            let replayed = use_at(second, &assertion).await;
            assert_eq!(replayed.status, 401, "{first} {second}: {replayed}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_refused_uses_it_up_too_and_its_replay_learns_nothing() {
    let (Scenario { app, carol, .. }, client) = set().await;
    let (id, assertion) = (carol.id.to_string(), client.assertion(&app));
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    let answers = [app.token_by(&assertion, &fields).await, app.token_by(&assertion, &fields).await];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 invalid_grant: No valid delegation
    401 invalid_client: client_assertion: it has been used already; sign a new one for each request
    ");
}

/// The rule: what has proven its client is used up by the answer, whatever it says.
#[tokio::test]
async fn every_refusal_after_the_proof_uses_it_up() {
    let (Scenario { app, alice, bob, carol, .. }, client) = set().await;
    let (own, user) = (client.m2m(&app).await, app.login.token("bob"));
    let (others, obo) = {
        let other = app.agent("other", &alice).await;
        (app.m2m(&other).await, app.obo(&client.agent, &bob).await)
    };
    let revoked = client.m2m(&app).await;
    app.about_token_by("revoke", &client.assertion(&app), &revoked).await.ok();
    let carols_id = carol.id.to_string();
    let jwt = "urn:ietf:params:oauth:token-type:access_token";
    let exchange = |subject: &str, actor: &str| -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", subject.to_owned()),
            ("subject_token_type", jwt.to_owned()),
            ("actor_token", actor.to_owned()),
            ("actor_token_type", jwt.to_owned()),
        ]
    };
    let plain = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        std::iter::once(("grant_type", "client_credentials".to_owned())).chain(more).collect()
    };
    let requests = [
        plain(&[("scope", "admin")]),
        plain(&[("resource", "https://elsewhere.test")]),
        plain(&[("resource", "https://deputize.test/api/v1/proxy/none/mcp")]),
        plain(&[("actor_token", "x"), ("actor_token_type", USER_ID)]),
        plain(&[("actor_token", "x"), ("actor_token_type", jwt)]),
        plain(&[("actor_token", &carols_id), ("actor_token_type", USER_ID)]),
        exchange("x", &user),
        exchange(&user, &user),
        exchange(&obo, &user),
        exchange(&others, &user),
        exchange(&user, &others),
        exchange(&revoked, &user),
        exchange(&own, "x"),
        exchange(&own, &app.login.token("carol")),
        exchange(&own, &app.login.token("newcomer")),
    ];
    let mut refusals = Vec::new();
    for fields in &requests {
        let assertion = client.assertion(&app);
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        fields.extend([("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)]);
        let refused = app.token(&fields).await;
        // The trail names the key that was proven.
        let event = app.event_of(&refused);
        assert!(event.contains("credential: \"client_key:[the client's key]\""), "{event}");
        refusals.push(refused.refusal());
        let again = app.token_by(&assertion, &[]).await.refusal();
        let twice =
            "401 invalid_client: client_assertion: it has been used already; sign a new one for each request";
        assert_eq!(again, twice, "{refused}");
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 invalid_scope: The only scope is tools:call
    400 invalid_target: resource: there is no such resource here
    400 invalid_target: resource: there is no such resource here
    400 invalid_grant: actor_token must be a valid UUID
    400 invalid_grant: actor_token: the token is malformed
    403 invalid_grant: No valid delegation
    400 invalid_request: subject_token: The token is malformed
    400 invalid_request: subject_token: The token is not an agent token
    400 invalid_request: subject_token: it acts for a user already; exchange the agent's own token
    400 invalid_request: subject_token: it was issued to another client
    400 invalid_request: actor_token: it was issued to another client
    400 invalid_request: subject_token: it has been revoked
    400 invalid_grant: actor_token: the token is malformed
    403 invalid_grant: No valid delegation
    400 invalid_grant: actor_token: the user is unknown here
    ");
}

/// A form that says nothing is refused before anything is proven.
#[tokio::test]
async fn no_refusal_of_the_form_uses_it_up() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    let proof = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*assertion)];
    let with = |more: &[(&'static str, &'static str)]| [&proof[..], more].concat();
    let mut refusals = vec![
        app.token(&proof).await.refusal(),
        app.token(&with(&[("grant_type", "password")])).await.refusal(),
        app.token(&with(&[("grant_type", "client_credentials"), ("grant_type", "x")])).await.refusal(),
        app.token_by(&assertion, &[("actor_token", "x")]).await.refusal(),
        app.token_by(&assertion, &[("client_secret", "x")]).await.refusal(),
    ];
    for endpoint in ["introspect", "revoke"] {
        refusals.push(app.about_token_by(endpoint, &assertion, "").await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 invalid_request: The parameter grant_type is missing
    400 unsupported_grant_type: Unsupported grant_type; use authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:token-exchange
    400 invalid_request: The parameter grant_type occurs twice
    400 invalid_request: The parameter actor_token_type is missing
    400 invalid_request: Send either a client_assertion or a client secret, not both
    400 invalid_request: The parameter token is missing
    400 invalid_request: The parameter token is missing
    ");
    app.token_by(&assertion, &[]).await.ok();
}

#[tokio::test]
async fn introspection_and_revocation_use_it_up_whatever_the_token_is() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    let other = app.agent("other", &alice).await;
    let (own, others) = (app.m2m(&bot).await, app.m2m(&other).await);
    for endpoint in ["introspect", "revoke"] {
        for token in ["x", &others, &own] {
            let assertion = client.assertion(&app);
            app.about_token_by(endpoint, &assertion, token).await;
            assert_eq!(app.token_by(&assertion, &[]).await.status, 401, "{endpoint}");
        }
    }
}

#[tokio::test]
async fn a_revocation_by_a_used_assertion_revokes_nothing() {
    let (Scenario { app, bot, .. }, client) = set().await;
    let (assertion, token) = (client.assertion(&app), app.m2m(&bot).await);
    app.token_by(&assertion, &[]).await.ok();
    assert_eq!(app.about_token_by("revoke", &assertion, &token).await.status, 401);
    assert_eq!(app.about_token("introspect", &bot, &token).await.json()["active"], true);
}

#[tokio::test]
async fn nobody_uses_up_anothers_jti() {
    let (Scenario { app, alice, .. }, client) = set().await;
    let with_jti = |client: &SigningClient| client.assertion_with(&app, |claims| claims["jti"] = "1".into());
    let forged = SigningKey::es256().sign(&client.header(), &{
        let mut claims = client.claims(&app);
        claims["jti"] = "1".into();
        claims
    });
    assert_eq!(app.token_by(&forged, &[]).await.status, 401);
    let other = app.agent("other", &alice).await;
    let other = app.client_of(&other, &alice, SigningKey::es256()).await;
    app.token_by(&with_jti(&other), &[]).await.ok();
    app.token_by(&with_jti(&client), &[]).await.ok();
    // Another key of the same account cannot use it again either.
    let second = app.client_of(&client.agent, &alice, SigningKey::es256()).await;
    assert_eq!(app.token_by(&with_jti(&second), &[]).await.status, 401);
}

/// The note outlives the assertion. Then the `jti` may be used again, whether or not the table has removed
/// the note.
#[tokio::test]
async fn a_jti_is_free_again_after_its_assertion_has_expired_everywhere() {
    let (Scenario { app, .. }, client) = set().await;
    let again = || client.assertion_with(&app, |claims| claims["jti"] = "1".into());
    let first = again();
    app.token_by(&first, &[]).await.ok();
    app.pass(Duration::from_secs(329));
    assert_snapshot!(app.token_by(&first, &[]).await.refusal(), @"401 invalid_client: client_assertion: it has been used already; sign a new one for each request");
    app.pass(Duration::from_secs(1));
    assert_snapshot!(app.token_by(&first, &[]).await.refusal(), @"401 invalid_client: client_assertion: the token has expired");
    app.pass(Duration::from_secs(29));
    assert_snapshot!(app.token_by(&again(), &[]).await.refusal(), @"401 invalid_client: client_assertion: it has been used already; sign a new one for each request");
    app.pass(Duration::from_secs(1));
    app.token_by(&again(), &[]).await.ok();
}

fn used(answers: &[TestResponse]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_requests_at_once_one_gets_a_token() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    app.faults.shuffle();
    let answers = at_once(&app, &assertion, 50).await;
    assert_eq!(used(&answers), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401)));
    let allowed = app
        .trail()
        .iter()
        .filter(|event| event["outcome"] == "allowed" && event["action"] == "token.issue")
        .count();
    assert_eq!(allowed, 1);
}

async fn at_once(app: &TestApp, assertion: &str, times: usize) -> Vec<TestResponse> {
    let tasks: Vec<_> = (0..times)
        .map(|_| {
            let ask = app.token_by(assertion, &[]);
            tokio::spawn(async { ask.await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_lost_answer_of_the_store_is_no_replay() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    app.faults.next("TransactWriteItems", 2, Fault::AnswerLost);
    let answer = app.token_by(&assertion, &[]).await;
    answer.access_token();
    // `event_of` requires exactly one event.
    app.event_of(&answer);
    assert_eq!(app.token_by(&assertion, &[]).await.status, 401);
}

#[tokio::test]
async fn a_store_that_loses_every_answer_gives_no_token_and_its_replay_gets_none() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    app.faults.always_on("TransactWriteItems", Fault::AnswerLost);
    assert_snapshot!(app.token_by(&assertion, &[]).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it",
      "detail": "The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it",
      "reason": "change_undecided",
      "safe_to_retry": false
    }
    "#);
    app.faults.stop();
    assert_eq!(app.token_by(&assertion, &[]).await.status, 401);
}

#[tokio::test]
async fn a_store_that_refuses_leaves_the_assertion_good() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    let trail = app.trail().len();
    let mut refused = Vec::new();
    for fault in [Fault::Throttled, Fault::TransactionThrottled] {
        app.faults.always_on("TransactWriteItems", fault);
        refused.push(app.token_by(&assertion, &[]).await.refusal());
        app.faults.stop();
    }
    assert_snapshot!(refused.join("\n"), @"
    503 The service is temporarily unavailable; nothing was changed, try again
    503 The service is temporarily unavailable; nothing was changed, try again
    ");
    assert_eq!(app.trail().len(), trail);
    app.token_by(&assertion, &[]).await.ok();
}

#[tokio::test]
async fn a_replay_that_cannot_be_recorded_is_an_outage() {
    let (Scenario { app, .. }, client) = set().await;
    let assertion = client.assertion(&app);
    app.token_by(&assertion, &[]).await.ok();
    app.faults.always_on("BatchWriteItem", Fault::Refused);
    assert_eq!(app.token_by(&assertion, &[]).await.status, 503);
}

#[tokio::test]
async fn an_introspection_that_cannot_look_has_not_used_its_assertion_up() {
    let (Scenario { app, bot, .. }, client) = set().await;
    let token = app.m2m(&bot).await;
    let assertion = client.assertion(&app);
    // The first read is for the client, the next for what the token rests on.
    app.faults.next_after("BatchGetItem", 1, 3, Fault::Throttled);
    let answer = app.about_token_by("introspect", &assertion, &token).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["safe_to_retry"]), (503, &true.into()));
    assert_eq!(app.about_token_by("introspect", &assertion, &token).await.json()["active"], true);
}

#[tokio::test]
async fn an_introspection_that_cannot_note_its_assertion_says_nothing() {
    let (Scenario { app, bot, .. }, client) = set().await;
    let token = app.m2m(&bot).await;
    app.faults.always_on("TransactWriteItems", Fault::Refused);
    let answer = app.about_token_by("introspect", &client.assertion(&app), &token).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["active"]), (503, &json!(null)));
}
