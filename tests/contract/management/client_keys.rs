//! An agent account's public keys: who manages them, and which are taken.

use std::time::Duration;

use deputize_tests::{TestRequest, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// RFC 8037 appendix A.2.
fn ed25519() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

fn add(scenario: &Scenario, jwk: &Value) -> TestRequest {
    scenario.app.post(keys(scenario)).as_user(&scenario.alice).json(&json!({ "jwk": jwk }))
}

fn keys(scenario: &Scenario) -> String {
    format!("/api/v1/agent-accounts/{}/keys", scenario.bot.id)
}

#[tokio::test]
async fn a_key_is_added_listed_and_deleted() {
    let scenario = Scenario::start().await;
    let app = &scenario.app;
    let body = json!({ "jwk": ed25519(), "expires_at": "2026-02-01T00:00:00Z" });
    let added = app.post(keys(&scenario)).as_user(&scenario.alice).json(&body).await;
    app.call_it("the key", added.field("id"));
    assert_snapshot!(added, @r#"
    201 Created

    {
      "id": "[the key]",
      "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
      "created_at": "2026-01-15T09:00:00.000Z",
      "expires_at": "2026-02-01T00:00:00.000Z",
      "jwk": {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "[x]"
      }
    }
    "#);
    assert_snapshot!(app.event_of(&added), @r#"
    action: "client_key.create"
    audit_agent: "[bot]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "client_key:[the key]"
    "#);
    let named = add(&scenario, &SigningKey::es256().jwk("deployment-2")).await.ok();
    app.call_it("the second key", named.field("id"));
    assert_snapshot!(app.get(keys(&scenario)).as_user(&scenario.alice).await, @r#"
    200 OK

    [
      {
        "id": "[the key]",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "created_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-02-01T00:00:00.000Z",
        "jwk": {
          "kty": "OKP",
          "crv": "Ed25519",
          "x": "[x]"
        }
      },
      {
        "id": "[the second key]",
        "kid": "deployment-2",
        "created_at": "2026-01-15T09:00:00.000Z",
        "expires_at": null,
        "jwk": {
          "kty": "EC",
          "crv": "P-256",
          "x": "[x]",
          "y": "[y]",
          "alg": "ES256"
        }
      }
    ]
    "#);
    let deleted =
        app.delete(format!("{}/{}", keys(&scenario), added.field("id"))).as_user(&scenario.alice).await;
    assert_snapshot!(deleted, @"204 No Content");
    assert_snapshot!(app.event_of(&deleted), @r#"
    action: "client_key.delete"
    audit_agent: "[bot]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "client_key:[the key]"
    "#);
    let left = app.get(keys(&scenario)).as_user(&scenario.alice).await.json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["kid"]), (1, &json!("deployment-2")));
}

#[tokio::test]
async fn an_owner_manages_the_keys_of_their_account() {
    let Scenario { app, bob, carol, .. } = Scenario::start().await;
    let bot = app.agent("bobs", &bob).await;
    let path = format!("/api/v1/agent-accounts/{}/keys", bot.id);
    let ask = |user: &User| app.post(&path).as_user(user).json(&json!({ "jwk": ed25519() }));
    assert_snapshot!(ask(&carol).await.refusal(), @"404 No such agent account");
    let id = ask(&bob).await.ok().field("id");
    app.get(&path).as_user(&bob).await.ok();
    assert_snapshot!(app.delete(format!("{path}/{id}")).as_user(&carol).await.refusal(), @"404 No such agent account");
    app.delete(format!("{path}/{id}")).as_user(&bob).await.ok();
}

#[tokio::test]
async fn every_kind_of_key_is_taken() {
    let scenario = Scenario::start().await;
    for key in [SigningKey::es256(), SigningKey::es384(), SigningKey::eddsa(), SigningKey::rs256()] {
        let kid = key.algorithm();
        let added = add(&scenario, &key.jwk(kid)).await.ok().json();
        assert_eq!((&added["kid"], &added["jwk"]["alg"]), (&json!(kid), &json!(kid)));
    }
}

#[tokio::test]
async fn a_private_key_is_refused_and_nothing_is_kept_of_it() {
    let scenario = Scenario::start().await;
    let before = scenario.app.contents();
    let mut jwk = ed25519();
    jwk["d"] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A".into();
    assert_snapshot!(add(&scenario, &jwk).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "jwk: it is a private or secret key: make a new pair, for this one has left its keeper's hands, and send the public half only",
      "detail": "jwk: it is a private or secret key: make a new pair, for this one has left its keeper's hands, and send the public half only",
      "reason": "request_invalid"
    }
    "#);
    let oct = json!({ "kty": "oct", "k": "AAPapAv4LbFbiVawEjagUBluYqN5rhna-8nuldDvOx8" });
    assert_snapshot!(add(&scenario, &oct).await.refusal(), @"400 jwk: it is a private or secret key: make a new pair, for this one has left its keeper's hands, and send the public half only");
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn what_is_no_key_is_refused_in_words_that_say_why() {
    let scenario = Scenario::start().await;
    let before = scenario.app.contents();
    let edited = |edit: fn(&mut Value)| {
        let mut jwk = ed25519();
        edit(&mut jwk);
        json!({ "jwk": jwk })
    };
    let bodies = [
        json!({}),
        json!({ "jwk": null }),
        json!({ "jwk": [] }),
        json!({ "jwk": {} }),
        json!({ "jwk": { "kty": "oct" } }),
        edited(|jwk| jwk["crv"] = "X25519".into()),
        edited(|jwk| jwk["x"] = 1.into()),
        edited(|jwk| jwk["x"] = "short".into()),
        edited(|jwk| jwk["alg"] = "ES256".into()),
        edited(|jwk| jwk["use"] = "enc".into()),
        edited(|jwk| jwk["kid"] = "".into()),
        json!({ "jwk": ed25519(), "expires_at": "2026-01-15T09:00:00Z" }),
    ];
    let mut refusals = Vec::new();
    for body in bodies {
        refusals
            .push(scenario.app.post(keys(&scenario)).as_user(&scenario.alice).json(&body).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 jwk is missing
    400 jwk is missing
    400 jwk: must be an object or null, not an array
    400 jwk.kty: is missing
    400 jwk: it must be EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA
    400 jwk: it must be EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA
    400 jwk.x: must be a string, not a number
    400 jwk: its member x must be base64url without padding
    400 jwk: its alg does not fit it
    400 jwk: it is not for verifying signatures, as its use or key_ops says
    400 jwk: its kid must have 1 to 255 characters, none of them a control character
    400 expires_at must be in the future
    ");
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn five_live_keys_are_the_most_and_an_expired_one_makes_room() {
    let scenario = Scenario::start().await;
    let body = json!({ "jwk": ed25519(), "expires_at": "2026-01-15T09:01:00Z" });
    scenario.app.post(keys(&scenario)).as_user(&scenario.alice).json(&body).await.ok();
    for n in 1..5 {
        add(&scenario, &SigningKey::es256().jwk(&format!("{n}"))).await.ok();
    }
    assert_snapshot!(add(&scenario, &SigningKey::es256().jwk("6")).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "the account has 5 live keys; delete one before adding another",
      "detail": "the account has 5 live keys; delete one before adding another",
      "reason": "limit_reached"
    }
    "#);
    scenario.app.pass(Duration::from_mins(1));
    add(&scenario, &SigningKey::es256().jwk("6")).await.ok();
    let list = scenario.app.get(keys(&scenario)).as_user(&scenario.alice).await.json();
    assert_eq!(list.as_array().unwrap().len(), 5);
}

/// If one of them were deleted, the key would still be good.
#[tokio::test]
async fn the_same_key_is_not_taken_twice_under_whatever_name() {
    let scenario = Scenario::start().await;
    add(&scenario, &ed25519()).await.ok();
    let mut renamed = ed25519();
    renamed["kid"] = "another".into();
    assert_snapshot!(add(&scenario, &renamed).await.refusal(), @"409 the account has this key already");
    let same_name = SigningKey::es256().jwk("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_snapshot!(add(&scenario, &same_name).await.refusal(), @"409 the account has another key with this kid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_added_at_once_are_never_more_than_five() {
    let scenario = Scenario::start().await;
    scenario.app.faults.shuffle();
    let asks = (0..12).map(|n| add(&scenario, &SigningKey::es256().jwk(&format!("{n}"))));
    let tasks: Vec<_> = asks.map(|ask| tokio::spawn(async { ask.await })).collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[201; 5].as_slice(), &[409; 7]].concat());
}

#[tokio::test]
async fn a_key_that_is_not_there_is_not_found() {
    let scenario = Scenario::start().await;
    let other = scenario.app.agent("other", &scenario.alice).await;
    let path = format!("/api/v1/agent-accounts/{}/keys", other.id);
    let others = scenario
        .app
        .post(&path)
        .as_user(&scenario.alice)
        .json(&json!({ "jwk": ed25519() }))
        .await
        .ok()
        .field("id");
    let before = scenario.app.contents();
    for id in [&others, "00000000-0000-4000-8000-000000000001", "x"] {
        let answer = scenario.app.delete(format!("{}/{id}", keys(&scenario))).as_user(&scenario.alice).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
    assert_eq!(scenario.app.contents(), before);
}
