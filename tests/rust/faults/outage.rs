//! Every change, with the store failing at each of the requests that the change makes: 503 with
//! `Retry-After`, and either nothing has changed or everything, never a part.

use deputize_tests::{Agent, Answer, Ask, TestApp, User, faults::Fault, request::USER_ID};
use serde_json::json;

/// One of everything that can be changed.
struct Scene {
    app: TestApp,
    alice: User,
    bob: User,
    carol: User,
    bot: Agent,
    token: String,
    delegation: String,
    grant: String,
    policy: String,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let alice = app.user("alice").admin().await;
        let bob = app.user("bob").await;
        let carol = app.user("carol").await;
        let bot = app.agent("bot", &alice).await;
        let delegation = app.delegate(&bot, &bob).await;
        let chat = app.server("chat").oauth().await;
        app.connect(&bob, &chat).await;
        app.connect(&carol, &chat).await;
        let policy = app.permit_everything().await.to_string();
        let token = app.m2m(&bot).await;
        let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
        let grant = app.post(path).as_user(&bob).json(&json!({ "server_id": "chat" })).await.ok().field("id");
        // What a process keeps is there, so that a request makes the same requests each time.
        app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
        app.faults.take_seen();
        Self { app, alice, bob, carol, bot, token, delegation, grant, policy }
    }

    fn agent(&self, rest: &str) -> String {
        format!("/api/v1/agent-accounts/{}{rest}", self.bot.id)
    }

    fn first_secret(&self) -> String {
        deputize_tests::jwt::claims(&self.token)["client_secret_id"].as_str().unwrap().to_owned()
    }

    fn kid(&self) -> String {
        deputize_tests::jwt::header(&self.token)["kid"].as_str().unwrap().to_owned()
    }
}

fn assert_unavailable(answer: &Answer, when: &str) {
    assert_eq!(answer.status, 503, "{when}: {answer}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{when}: {answer}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{when}: {answer}");
    for secret in ["access_token", "client_secret", "\"key\""] {
        assert!(!answer.text.contains(secret), "{when}: {answer}");
    }
}

async fn check(change: impl AsyncFn(&Scene) -> Ask) {
    // As it should be.
    let whole = Scene::set().await;
    let events_before = whole.app.trail().len();
    let ask = change(&whole).await;
    whole.app.faults.take_seen();
    ask.await.ok();
    let requests = whole.app.faults.take_seen();
    let (shape, events) = (whole.app.shape(), whole.app.trail().len() - events_before);
    let write = requests
        .iter()
        .rposition(|request| request.ends_with("WriteItems") || request.ends_with("WriteItem"));
    let write = write.expect("a change writes");

    // The store does nothing, from one of the requests on: neither does the change.
    let scene = Scene::set().await;
    let (before, trail) = (scene.app.contents(), scene.app.trail().len());
    let reads = (0..write).map(|skip| (skip, Fault::BEFORE[skip % Fault::BEFORE.len()]));
    for (skip, fault) in reads.chain(Fault::BEFORE.map(|fault| (write, fault))) {
        let when = format!("{fault:?} from request {skip} of {requests:?}");
        let ask = change(&scene).await;
        scene.app.faults.from_request(skip, fault);
        let answer = ask.await;
        scene.app.faults.stop();
        assert_unavailable(&answer, &when);
        assert_eq!(scene.app.contents(), before, "{when}");
        assert_eq!(scene.app.trail().len(), trail, "{when}");
    }

    // The answers are lost, or the store fails after the write: whatever the caller is told, the change is
    // whole.
    let after = (write + 1..requests.len()).map(|skip| (skip, Fault::Refused));
    for (skip, fault) in std::iter::once((write, Fault::AnswerLost)).chain(after) {
        let when = format!("{fault:?} from request {skip} of {requests:?}");
        let scene = Scene::set().await;
        let trail = scene.app.trail().len();
        let ask = change(&scene).await;
        scene.app.faults.from_request(skip, fault);
        let answer = ask.await;
        scene.app.faults.stop();
        assert_unavailable(&answer, &when);
        assert_eq!(scene.app.shape(), shape, "{when}");
        assert_eq!(scene.app.trail().len() - trail, events, "{when}");
    }

    // One answer is lost: the request is repeated, and nothing is done twice.
    let when = format!("one lost answer at request {write} of {requests:?}");
    let scene = Scene::set().await;
    let trail = scene.app.trail().len();
    let ask = change(&scene).await;
    scene.app.faults.only_request(write, Fault::AnswerLost);
    ask.await.ok();
    assert_eq!(scene.app.shape(), shape, "{when}");
    assert_eq!(scene.app.trail().len() - trail, events, "{when}");
}

macro_rules! changes {
    ($($name:ident: |$scene:ident| $ask:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            check(async |$scene: &Scene| $ask).await;
        }
    )*};
}

changes! {
    issuing_a_token: |s| s.app.token_for(&s.bot, &[]);
    issuing_a_token_for_a_user: |s| {
        s.app.token_for(&s.bot, &[("actor_token", &s.bob.id.to_string()), ("actor_token_type", USER_ID)])
    };
    exchanging_a_token: |s| s.app.exchange(&s.token, &s.app.login.token("bob"), &[]);
    revoking_a_token: |s| s.app.about_token("revoke", &s.bot, &s.token);
    creating_a_delegation: |s| s.app.post(s.agent("/delegations")).as_user(&s.carol);
    revoking_a_delegation: |s| s.app.delete(format!("/api/v1/delegations/{}", s.delegation)).as_user(&s.bob);
    creating_a_grant: |s| {
        s.app.post(s.agent("/session-grants")).as_user(&s.carol).json(&json!({ "server_id": "chat" }))
    };
    creating_a_shared_grant: |s| {
        let body = json!({ "server_id": "chat", "shared": true });
        s.app.post(s.agent("/session-grants")).as_user(&s.carol).json(&body)
    };
    toggling_a_grant: |s| {
        s.app.post(s.agent("/session-grants/toggle")).as_user(&s.bob).json(&json!({ "server_id": "chat" }))
    };
    revoking_a_grant: |s| s.app.delete(format!("/api/v1/session-grants/{}", s.grant)).as_user(&s.bob);
    disconnecting: |s| s.app.delete("/api/v1/servers/chat/connection").as_user(&s.bob);
    creating_an_agent_account: |s| {
        s.app.post("/api/v1/agent-accounts").as_user(&s.alice).json(&json!({ "name": "new" }))
    };
    changing_an_agent_account: |s| {
        s.app.patch(s.agent("")).as_user(&s.alice).json(&json!({ "active": false }))
    };
    adding_a_secret: |s| s.app.post(s.agent("/secrets")).as_user(&s.alice);
    revoking_a_secret: |s| s.app.delete(s.agent(&format!("/secrets/{}", s.first_secret()))).as_user(&s.alice);
    creating_an_api_key: |s| s.app.post("/api/v1/api-keys").as_user(&s.bob).json(&json!({ "name": "new" }));
    revoking_an_api_key: |s| {
        let keys = s.app.get("/api/v1/api-keys").as_user(&s.carol).await.ok().json();
        let path = format!("/api/v1/users/{}/api-keys/{}", s.carol.id, keys[0]["id"].as_str().unwrap());
        s.app.delete(path).as_user(&s.alice)
    };
    creating_a_user: |s| {
        let body = json!({ "email": "new@example.com", "name": "New" });
        s.app.post("/api/v1/users").as_user(&s.alice).json(&body)
    };
    changing_a_user: |s| {
        let path = format!("/api/v1/users/{}", s.bob.id);
        s.app.patch(path).as_user(&s.alice).json(&json!({ "active": false }))
    };
    meeting_a_user_for_the_first_time: |s| s.app.get("/api/v1/me").bearer(&s.app.login.token("newcomer"));
    registering_a_server: |s| {
        let body = json!({ "id": "new", "name": "New", "url": "https://new.example.com/mcp" });
        s.app.post("/api/v1/servers").as_user(&s.alice).json(&body)
    };
    changing_a_server: |s| {
        s.app.patch("/api/v1/servers/chat").as_user(&s.alice).json(&json!({ "active": false }))
    };
    creating_a_policy: |s| {
        let body = json!({ "name": "new", "text": "forbid(principal, action, resource);" });
        s.app.post("/api/v1/policies").as_user(&s.alice).json(&body)
    };
    replacing_a_policy: |s| {
        let body = json!({ "name": "new", "text": "forbid(principal, action, resource);" });
        s.app.put(format!("/api/v1/policies/{}", s.policy)).as_user(&s.alice).json(&body)
    };
    deleting_a_policy: |s| s.app.delete(format!("/api/v1/policies/{}", s.policy)).as_user(&s.alice);
    rotating_the_signing_key: |s| s.app.post("/api/v1/signing-keys").as_user(&s.alice);
    revoking_a_signing_key: |s| s.app.delete(format!("/api/v1/signing-keys/{}", s.kid())).as_user(&s.alice);
}

#[tokio::test]
async fn a_transaction_that_is_throttled_has_done_nothing() {
    let scene = Scene::set().await;
    let before = scene.app.contents();
    scene.app.faults.always_on("TransactWriteItems", Fault::TransactionThrottled);
    let path = scene.agent("/session-grants/toggle");
    let answer = scene.app.post(path).as_user(&scene.bob).json(&json!({ "server_id": "chat" })).await;
    assert_unavailable(&answer, "a throttled transaction");
    assert_eq!(scene.app.contents(), before);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_waited_for_for_three_seconds() {
    let scene = Scene::set().await;
    scene.app.faults.always(Fault::Silence);
    let started = tokio::time::Instant::now();
    let answer = scene.app.token_for(&scene.bot, &[]).await;
    assert_unavailable(&answer, "silence");
    let waited = started.elapsed().as_millis();
    assert!((2_900..=3_200).contains(&waited), "{waited} ms");
}
