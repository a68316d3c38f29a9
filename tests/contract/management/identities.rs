//! Which user an issuer's subject is: bound at first sight, and from then on whatever the email says.

use deputize_core::{
    issuers::LinkByEmail,
    table::{Change, Key},
    users,
};
use deputize_tests::{TestApp, TestResponse, User, faults::Fault, issuer::TestIssuer, request::ACCESS_TOKEN};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// A token of another subject that now has a user's email address.
fn with_email(issuer: &TestIssuer, subject: &str, email: &str) -> String {
    issuer.token_with(subject, |claims| claims["email"] = email.into())
}

fn without_email(issuer: &TestIssuer, subject: &str) -> String {
    issuer.token_with(subject, |claims| {
        for claim in ["email", "email_verified"] {
            claims.as_object_mut().unwrap().remove(claim);
        }
    })
}

async fn me(app: &TestApp, token: &str) -> TestResponse {
    app.get("/api/v1/me").bearer(token).await
}

async fn change(app: &TestApp, admin: &User, user: &User, body: Value) -> TestResponse {
    app.patch(format!("/api/v1/users/{}", user.id)).as_user(admin).json(&body).await
}

async fn deactivate(app: &TestApp, admin: &User, user: &User) {
    change(app, admin, user, json!({ "active": false })).await.ok();
}

#[tokio::test]
async fn a_subject_is_bound_at_first_sight_and_admins_see_it() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let first = me(&app, &app.login.token("bob")).await.ok();
    assert_eq!(first.field("id"), bob.id.to_string());
    assert_snapshot!(app.event_of(&first), @r#"
    action: "user.bind_identity"
    audit_user: "[bob]"
    credential: "user_token:https://login.example.com"
    detail: "https://login.example.com user_bob"
    outcome: "allowed"
    subject: "user:[bob]"
    "#);
    let before = app.contents();
    me(&app, &app.login.token("bob")).await.ok();
    assert_eq!(app.contents(), before, "once");
    let path = format!("/api/v1/users/{}", bob.id);
    assert_snapshot!(app.get(&path).as_user(&alice).await, @r#"
    200 OK

    {
      "id": "[bob]",
      "email": "bob@example.com",
      "name": "bob",
      "role": "user",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "identities": [
        {
          "issuer": "https://login.example.com",
          "subject": "user_bob"
        }
      ],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert!(app.get(&path).as_user(&bob).await.json().get("identities").is_none());
}

#[tokio::test]
async fn the_first_sight_costs_one_write_and_later_ones_none() {
    let Scenario { app, .. } = Scenario::start().await;
    let token = app.login.token("bob");
    // The process has no hint about the user yet.
    let (_, first) = app.round_trips(me(&app, &token)).await;
    assert_eq!(first, [("BatchGetItem", 2), ("TransactWriteItems", 1)]);
    let (_, second) = app.round_trips(me(&app, &token)).await;
    assert_eq!(second, [("BatchGetItem", 1)]);
}

#[tokio::test]
async fn whoever_is_given_a_users_address_is_not_given_their_account() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    me(&app, &app.login.token("bob")).await.ok();
    let before = app.contents();
    assert_snapshot!(me(&app, &with_email(&app.login, "successor", &bob.email)).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "invalid_token",
      "error_description": "The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})",
      "detail": "The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})",
      "reason": "identity_conflict"
    }
    "#);
    assert_eq!(app.contents(), before);
    me(&app, &app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn a_token_request_binds_and_refuses_as_any_other() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let act =
        |token: String| app.token_for(&bot, &[("actor_token", &token), ("actor_token_type", ACCESS_TOKEN)]);
    act(app.login.token("bob")).await.ok();
    assert_snapshot!(act(with_email(&app.login, "successor", &bob.email)).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})",
      "detail": "invalid_grant: actor_token: The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})",
      "reason": "identity_conflict"
    }
    "#);
    assert_snapshot!(me(&app, &with_email(&app.login, "successor", &bob.email)).await.refusal(), @"401 The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})");
    act(without_email(&app.login, "bob")).await.ok();
}

#[tokio::test]
async fn a_subject_that_is_bound_stays_who_it_is_whatever_its_email_says() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    me(&app, &app.login.token("bob")).await.ok();
    for token in [
        without_email(&app.login, "bob"),
        with_email(&app.login, "bob", &carol.email),
        with_email(&app.login, "bob", &alice.email),
        with_email(&app.login, "bob", "new-name@example.com"),
    ] {
        assert_eq!(me(&app, &token).await.ok().field("id"), bob.id.to_string());
    }
    assert_eq!(me(&app, &app.login.token("carol")).await.ok().field("id"), carol.id.to_string());
}

#[tokio::test]
async fn a_deactivated_user_stays_out_with_and_without_an_email() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    me(&app, &app.login.token("bob")).await.ok();
    deactivate(&app, &alice, &bob).await;
    let before = app.contents();
    for token in [
        app.login.token("bob"),
        without_email(&app.login, "bob"),
        with_email(&app.login, "bob", "new-name@example.com"),
        // The new holder of the address, or another identity of the same person.
        with_email(&app.login, "successor", &bob.email),
    ] {
        assert_eq!(me(&app, &token).await.refusal(), "401 The user is deactivated");
    }
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn the_address_of_a_deactivated_user_keeps_out_who_is_seen_for_the_first_time() {
    for (links, verified) in [(LinkByEmail::New, true), (LinkByEmail::No, true), (LinkByEmail::No, false)] {
        let Scenario { app, alice, bob, .. } = Scenario::start().await;
        let app = app.linking([links, LinkByEmail::No]).await;
        deactivate(&app, &alice, &bob).await;
        let before = app.contents();
        let token = app.login.token_with("bob", |claims| {
            claims["email"] = "BOB@example.com".into();
            claims["email_verified"] = verified.into();
        });
        assert_eq!(me(&app, &token).await.refusal(), "401 The user is deactivated", "{links:?} {verified}");
        assert_eq!(app.contents(), before);
    }
}

/// Two issuers that link by email: `login` only users whom no issuer knows yet, and `workos`.
async fn two_issuers(second: LinkByEmail) -> Scenario {
    let scenario = Scenario::start().await;
    let app = scenario.app.linking([LinkByEmail::New, second]).await;
    Scenario { app, ..scenario }
}

#[tokio::test]
async fn a_second_issuer_leads_to_a_known_user_by_email_only_where_it_is_trusted_with_any() {
    let Scenario { app, bob, .. } = two_issuers(LinkByEmail::New).await;
    me(&app, &app.login.token("bob")).await.ok();
    let before = app.contents();
    assert_snapshot!(me(&app, &app.workos.token("bob")).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "invalid_token",
      "error_description": "The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin",
      "detail": "The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin",
      "reason": "identity_conflict"
    }
    "#);
    assert_eq!(app.contents(), before);

    let Scenario { app, bob: bob_again, .. } = two_issuers(LinkByEmail::Any).await;
    me(&app, &app.login.token("bob")).await.ok();
    let linked = me(&app, &app.workos.token("bob")).await.ok();
    assert_eq!(linked.field("id"), bob_again.id.to_string());
    assert_snapshot!(me(&app, &with_email(&app.workos, "successor", &bob.email)).await.refusal(), @"401 The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})");
}

#[tokio::test]
async fn an_email_alone_leads_to_an_admin_once_only() {
    let Scenario { app, alice, .. } = two_issuers(LinkByEmail::Any).await;
    let first = me(&app, &app.login.token("alice")).await.ok();
    assert_eq!(first.field("id"), alice.id.to_string());
    assert_snapshot!(me(&app, &app.workos.token("alice")).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "invalid_token",
      "error_description": "The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin",
      "detail": "The user with the token's email address is known to another issuer, and this one may not lead to them; an admin can add it to the user's identities (PATCH /api/v1/users/{user_id}), or the operator can set the issuer's link_by_email to any, which leads to no admin",
      "reason": "identity_conflict"
    }
    "#);
    let both = json!({ "identities": [
        { "issuer": app.login.url(), "subject": "user_alice" },
        { "issuer": app.workos.url(), "subject": "user_alice" },
    ] });
    change(&app, &alice, &alice, both).await.ok();
    assert_eq!(me(&app, &app.workos.token("alice")).await.ok().field("id"), alice.id.to_string());
}

#[tokio::test]
async fn an_admin_says_by_which_subject_a_user_is_known() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    me(&app, &app.login.token("bob")).await.ok();
    let successor = json!({ "identities": [{ "issuer": app.login.url(), "subject": "user_bob2" }] });
    let answer = change(&app, &alice, &bob, successor).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "id": "[bob]",
      "email": "bob@example.com",
      "name": "bob",
      "role": "user",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "identities": [
        {
          "issuer": "https://login.example.com",
          "subject": "user_bob2"
        }
      ],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "user.update"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    detail: "identities: https://login.example.com user_bob2"
    outcome: "allowed"
    subject: "user:[bob]"
    "#);
    let new = with_email(&app.login, "bob2", &bob.email);
    assert_eq!(me(&app, &new).await.ok().field("id"), bob.id.to_string());
    // The old identity belongs to no user now, and the user is bound to the new one.
    assert_snapshot!(me(&app, &app.login.token("bob")).await.refusal(), @"401 The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})");
    let nobody = change(&app, &alice, &bob, json!({ "identities": [] })).await.ok();
    assert!(nobody.json().get("identities").is_none());
    // The next subject with the address is bound.
    assert_eq!(me(&app, &app.login.token("bob")).await.ok().field("id"), bob.id.to_string());
    assert_snapshot!(me(&app, &new).await.refusal(), @"401 The user with the token's email address is known to its issuer by another sub; an admin can replace that by the user's identities (PATCH /api/v1/users/{user_id})");
}

#[tokio::test]
async fn what_identities_a_user_cannot_have_is_said() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    me(&app, &app.login.token("carol")).await.ok();
    me(&app, &app.login.token("bob")).await.ok();
    let issuer = app.login.url();
    let many: Vec<_> =
        (0..11).map(|n| json!({ "issuer": format!("https://{n}.example"), "subject": "s" })).collect();
    let before = app.contents();
    let mut refusals = Vec::new();
    for identities in [
        json!([{ "issuer": issuer, "subject": "user_carol" }]),
        json!([{ "issuer": issuer, "subject": "a" }, { "issuer": issuer, "subject": "b" }]),
        json!([{ "issuer": issuer, "subject": "a" }, { "issuer": issuer, "subject": "a" }]),
        json!([{ "issuer": "login", "subject": "a" }]),
        json!([{ "issuer": issuer }]),
        json!(many),
    ] {
        refusals.push(change(&app, &alice, &bob, json!({ "identities": identities })).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    409 identities: user_carol of https://login.example.com is another user's
    409 identities: a user has one subject of each issuer
    409 identities: a user has one subject of each issuer
    400 identities[0].issuer: must begin with https:// or http://
    400 identities[0].subject: is missing
    400 identities: must be at most 10 identities
    ");
    assert_eq!(app.contents(), before);
    let by_bob = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&bob);
    assert_snapshot!(by_bob.json(&json!({ "identities": [] })).await.refusal(), @"403 Only an admin may do this");
    deactivate(&app, &alice, &carol).await;
    assert_snapshot!(change(&app, &alice, &carol, json!({ "identities": [] })).await.refusal(), @"409 a deactivated user keeps their identities, which keep them out: reactivate them first");
    assert_eq!(me(&app, &without_email(&app.login, "carol")).await.refusal(), "401 The user is deactivated");
    let back = json!({ "identities": [], "active": true });
    change(&app, &alice, &carol, back).await.ok();
}

#[tokio::test]
async fn an_identity_that_was_bound_before_users_had_a_list_of_them_is_listed_when_it_is_seen() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let mut change = Change::new();
    let pointer = users::UserPointer { user_id: bob.id };
    change.create(Key::user_by_identity(app.login.url(), "user_bob"), &pointer).unwrap();
    app.core.table.commit(change).await.unwrap();
    assert_eq!(me(&app, &without_email(&app.login, "bob")).await.ok().field("id"), bob.id.to_string());
    let seen = app.get(format!("/api/v1/users/{}", bob.id)).as_user(&alice).await.json();
    assert_eq!(seen["identities"], json!([{ "issuer": app.login.url(), "subject": "user_bob" }]));
    assert_eq!(me(&app, &with_email(&app.login, "successor", &bob.email)).await.status, 401);
}

#[tokio::test]
async fn an_address_is_one_persons_in_each_of_its_spellings_and_nobody_elses() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let create =
        async |email: &str| app.post("/api/v1/users").as_user(&alice).json(&json!({ "email": email })).await;
    let made = create("Ren\u{e9}@B\u{fc}cher.example").await.ok();
    assert_eq!(made.field("email"), "ren\u{e9}@b\u{fc}cher.example");
    for same in ["rene\u{301}@bücher.example", "RENÉ@xn--bcher-kva.example", "rené@BÜCHER.example"] {
        assert_eq!(create(same).await.status, 409, "{same}");
    }
    let token = with_email(&app.login, "rene", "rene\u{301}@XN--BCHER-KVA.example");
    assert_eq!(me(&app, &token).await.ok().field("id"), made.field("id"));

    let kim = create("kim@example.com").await.ok();
    let mut refusals = Vec::new();
    for wrong in ["\u{212a}im@example.com", "ki\u{200b}m@example.com", "\u{202e}kim@example.com"] {
        refusals.push(create(wrong).await.refusal());
        // In a token, such an address counts as absent.
        let token = with_email(&app.login, &format!("mallory{}", refusals.len()), wrong);
        let stranger = me(&app, &token).await.ok();
        assert_ne!(stranger.field("id"), kim.field("id"), "{wrong:?}");
        assert_eq!(stranger.json()["email"], Value::Null);
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 email: not an email address with one spelling only: beyond ASCII it may have letters, digits and accents, none of which shows nothing or stands for another
    400 email: not an email address with one spelling only: beyond ASCII it may have letters, digits and accents, none of which shows nothing or stands for another
    400 email: not an email address with one spelling only: beyond ASCII it may have letters, digits and accents, none of which shows nothing or stands for another
    ");
}

#[tokio::test]
async fn a_user_who_was_stored_by_another_form_of_their_address_is_found() {
    let Scenario { app, alice, carol, .. } = Scenario::start().await;
    let former = Key { pk: "EMAIL#info@bücher.example".to_owned(), sk: "USER".to_owned() };
    let mut change = Change::new();
    change.create(former, &users::UserPointer { user_id: carol.id }).unwrap();
    let mut user = users::get(&app.core, carol.id).await.unwrap();
    user.value.email = Some("info@bücher.example".parse().unwrap());
    change.replace(Key::user(carol.id), &user.value, user.rev).unwrap();
    app.core.table.commit(change).await.unwrap();
    let found = me(&app, &with_email(&app.login, "carol", "info@bücher.example")).await.ok();
    assert_eq!(found.field("id"), carol.id.to_string());
    let again = json!({ "email": "INFO@bücher.example" });
    assert_eq!(app.post("/api/v1/users").as_user(&alice).json(&again).await.status, 409);
}

#[tokio::test]
async fn a_newcomer_keeps_a_free_address_when_the_store_is_busy() {
    let Scenario { app, .. } = Scenario::start().await;
    app.faults.next("TransactWriteItems", 2, Fault::Conflict);
    let made = me(&app, &app.login.token("newcomer")).await.ok();
    assert_eq!(made.field("email"), "newcomer@example.com");
}

#[tokio::test]
async fn a_newcomer_whose_address_is_another_users_is_made_without_where_the_issuer_does_not_link() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let app = app.linking([LinkByEmail::No; 2]).await;
    let made = me(&app, &app.login.token("bob")).await.ok();
    assert_ne!(made.field("id"), bob.id.to_string());
    assert_eq!(made.json()["email"], Value::Null);
}

/// If many subjects with one address come at the same time, one is bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_subjects_with_one_address_at_once_one_is_bound() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.faults.shuffle();
    let tasks: Vec<_> = (0..8)
        .map(|n| app.get("/api/v1/me").bearer(&with_email(&app.login, &format!("bob{n}"), &bob.email)))
        .map(|ask| tokio::spawn(async move { ask.await }))
        .collect();
    let mut bound = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        if answer.status == 200 {
            assert_eq!(answer.field("id"), bob.id.to_string());
            bound += 1;
        } else {
            assert_eq!(answer.status, 401, "{answer}");
        }
    }
    assert_eq!(bound, 1);
    let user = users::get(&app.core, bob.id).await.unwrap();
    assert_eq!(user.identities.len(), 1);
}

/// If the same subject comes many times at the same time, it is bound once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subject_that_comes_many_times_at_once_is_bound_once() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.faults.shuffle();
    let token = app.login.token("bob");
    let tasks: Vec<_> = (0..8)
        .map(|_| app.get("/api/v1/me").bearer(&token))
        .map(|ask| tokio::spawn(async move { ask.await }))
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().ok().field("id"), bob.id.to_string());
    }
    let bindings = app.trail().into_iter().filter(|event| event["action"] == "user.bind_identity");
    assert_eq!(bindings.count(), 1);
}
