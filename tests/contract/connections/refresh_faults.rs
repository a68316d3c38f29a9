//! A refresh beside others who write to the session, and while the store, a KMS or the clock is against it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deputize_core::{
    Error,
    clock::{Clock, Timestamp},
    sessions::Session,
    table::{Change, Key},
    vault::{Cached, DataKey, KeyBytes, RootKey, Vault, VaultFuture},
};
use deputize_service::edge::Deadline;
use deputize_tests::{TestApp, TestRequest, app::root, faults::Fault, provider::TokenEndpoint};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Chat, acting_as, asked, cookie};

const REFRESH: &str = "token refresh_token";

async fn bob_connected() -> Chat {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    chat
}

async fn bob_expired() -> Chat {
    let chat = bob_connected().await;
    chat.scenario.app.pass(Duration::from_secs(3600));
    chat
}

fn key(chat: &Chat) -> Key {
    Key::session(chat.scenario.bob.id, &"chat".parse().unwrap())
}

/// Bob's call to another process.
fn call(chat: &Chat, app: &TestApp) -> TestRequest {
    app.call("chat", "list_channels", &json!({})).as_user(&chat.scenario.bob)
}

/// The lease on Bob's session, as it is stored.
fn lease(chat: &Chat) -> Value {
    let Key { pk, sk } = key(chat);
    chat.scenario.app.contents()[&format!("{pk} {sk}")]["lease"].clone()
}

/// A writer that does not know leases writes the session back as it was.
async fn written_by_somebody_else(chat: &Chat) {
    let table = &chat.scenario.app.core.table;
    let session = table.read_one::<Session>(key(chat)).await.unwrap().unwrap();
    let mut change = Change::new();
    change.replace(key(chat), &session.value, session.rev).unwrap();
    table.commit(change).await.unwrap();
}

/// Requires that the session goes on with the newest refresh token.
async fn lives_on(chat: &Chat, refreshes: usize) {
    assert_eq!(chat.provider.count(REFRESH), refreshes);
    chat.scenario.app.pass(Duration::from_secs(3600));
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.count(REFRESH), refreshes + 1);
    assert_eq!(chat.provider.families_alive(), 1);
}

#[tokio::test]
async fn what_the_provider_gave_is_stored_although_transactions_meet() {
    // From the request that takes the lease, or from the one that stores the tokens.
    for lease_taken in [0, 1] {
        let chat = bob_expired().await;
        chat.scenario.app.faults.next_after("TransactWriteItems", lease_taken, 6, Fault::Conflict);
        assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
        lives_on(&chat, 1).await;
    }
}

#[tokio::test]
async fn what_the_provider_gave_is_stored_although_the_session_was_sealed_anew_meanwhile() {
    let chat = bob_expired().await;
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let meanwhile = async {
        asked(&chat.provider, REFRESH).await;
        written_by_somebody_else(&chat).await;
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(chat.call(&chat.scenario.bob), meanwhile);
    assert_eq!(acting_as(&called), "bob");
    lives_on(&chat, 1).await;
}

#[tokio::test]
async fn a_lease_is_given_back_although_the_session_was_sealed_anew_meanwhile() {
    let chat = bob_expired().await;
    chat.provider.script().token_endpoint = TokenEndpoint::IsSilent;
    let meanwhile = async {
        asked(&chat.provider, REFRESH).await;
        assert!(!lease(&chat).is_null());
        written_by_somebody_else(&chat).await;
    };
    let (called, ()) = tokio::join!(chat.call(&chat.scenario.bob), meanwhile);
    assert_snapshot!(called.refusal(), @"503 The authorization server of this MCP server is unavailable, and the OAuth session needs it; nothing was called, try again");
    assert!(lease(&chat).is_null());
}

#[tokio::test]
async fn tokens_are_not_sealed_anew_while_somebody_renews_them() {
    let chat = bob_connected().await;
    let app = &chat.scenario.app;
    app.pass(Duration::from_secs(3590));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let meanwhile = async {
        asked(&chat.provider, REFRESH).await;
        let revision = app.revision(&key(&chat));
        let other = app.another(Vault::new(root(8), vec![root(7)])).await;
        assert_eq!(acting_as(&call(&chat, &other).await), "bob");
        assert_eq!(app.revision(&key(&chat)), revision);
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
        other
    };
    let (called, other) = tokio::join!(chat.call(&chat.scenario.bob), meanwhile);
    assert_eq!(acting_as(&called), "bob");
    assert_eq!(app.root_of(&key(&chat), "tokens"), root(7).id());
    assert_eq!(acting_as(&call(&chat, &other).await), "bob");
    assert_eq!(app.root_of(&key(&chat), "tokens"), root(8).id());
    assert_eq!((chat.provider.count(REFRESH), chat.provider.families_alive()), (1, 1));
}

/// A KMS that is slow, or gone.
struct Kms {
    root: Arc<dyn RootKey>,
    clock: Clock,
    is_gone: AtomicBool,
    takes: Mutex<Duration>,
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kms")
    }
}

/// The connection to it.
#[derive(Clone, Debug)]
struct ToKms(Arc<Kms>);

impl ToKms {
    /// With the key of a new app, and a process that uses it like the deployed ones.
    async fn of(chat: &Chat) -> (Self, TestApp) {
        let clock = chat.scenario.app.core.clock.clone();
        let (is_gone, takes) = (AtomicBool::new(false), Mutex::default());
        let kms = Self(Arc::new(Kms { root: root(7), clock: clock.clone(), is_gone, takes }));
        let cached = Cached::new(kms.clone(), clock);
        let app = chat.scenario.app.another(Vault::new(Arc::new(cached), Vec::new())).await;
        (kms, app)
    }

    fn is_gone(&self, is_gone: bool) {
        self.0.is_gone.store(is_gone, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), Error> {
        self.0.clock.advance(*self.0.takes.lock().unwrap());
        if self.0.is_gone.load(Ordering::SeqCst) {
            Err(Error::unavailable("a test took the KMS away"))
        } else {
            Ok(())
        }
    }
}

impl RootKey for ToKms {
    fn id(&self) -> &str {
        self.0.root.id()
    }

    fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey> {
        Box::pin(async {
            self.answer()?;
            self.0.root.new_data_key(item).await
        })
    }

    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes> {
        Box::pin(async {
            self.answer()?;
            self.0.root.unwrap_data_key(item, wrapped).await
        })
    }
}

#[tokio::test]
async fn once_the_provider_was_asked_no_kms_is_needed_to_store_what_it_gives() {
    let chat = bob_expired().await;
    let (kms, app) = ToKms::of(&chat).await;
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let meanwhile = async {
        asked(&chat.provider, REFRESH).await;
        kms.is_gone(true);
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(call(&chat, &app).into_future(), meanwhile);
    assert_eq!(acting_as(&called), "bob");
    lives_on(&chat, 1).await;
}

#[tokio::test]
async fn once_a_code_is_exchanged_no_kms_is_needed_to_store_what_came_for_it() {
    let chat = Chat::open().await;
    let bob = &chat.scenario.bob;
    let (kms, app) = ToKms::of(&chat).await;
    let begun = app.post("/api/v1/servers/chat/connect").as_user(bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    // As long as the code is not exchanged, the browser can come again.
    kms.is_gone(true);
    app.pass(Duration::from_secs(300));
    let refused = app.get(&back).header("cookie", &cookie(&begun)).await;
    assert_eq!(refused.status, http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(chat.provider.count("token authorization_code"), 0);
    kms.is_gone(false);
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let meanwhile = async {
        asked(&chat.provider, "token authorization_code").await;
        kms.is_gone(true);
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
    };
    let go = app.get(&back).header("cookie", &cookie(&begun));
    let (connected, ()) = tokio::join!(go.into_future(), meanwhile);
    connected.ok();
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}

#[tokio::test]
async fn while_the_kms_is_gone_no_provider_is_asked_and_nothing_is_lost() {
    let chat = bob_expired().await;
    let (kms, app) = ToKms::of(&chat).await;
    kms.is_gone(true);
    assert_snapshot!(call(&chat, &app).await.refusal(), @"503 The service is temporarily unavailable; nothing was changed, try again");
    assert_eq!(chat.provider.count(REFRESH), 0);
    assert!(lease(&chat).is_null(), "nobody has to wait for its end");
    kms.is_gone(false);
    assert_eq!(acting_as(&call(&chat, &app).await), "bob");
    lives_on(&chat, 1).await;
}

#[tokio::test]
async fn a_lease_that_would_end_before_the_answer_is_stored_is_renewed_before_the_provider_is_asked() {
    let chat = bob_expired().await;
    let (kms, app) = ToKms::of(&chat).await;
    let taken = app.now();
    *kms.0.takes.lock().unwrap() = Duration::from_secs(10);
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let meanwhile = async {
        asked(&chat.provider, REFRESH).await;
        *kms.0.takes.lock().unwrap() = Duration::ZERO;
        let until = lease(&chat)["M"]["until"]["S"].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert!(app.now() >= taken.plus(Duration::from_secs(10)));
        // 8 s for the provider, 6 s for the store, 2 s for clocks that differ.
        assert!(until >= app.now().plus(Duration::from_secs(16)), "{until} {}", app.now());
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(call(&chat, &app).into_future(), meanwhile);
    assert_eq!(acting_as(&called), "bob");
    lives_on(&chat, 1).await;
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_in_time_keeps_the_provider_from_being_asked() {
    let chat = bob_expired().await;
    let (kms, app) = ToKms::of(&chat).await;
    *kms.0.takes.lock().unwrap() = Duration::from_secs(10);
    // The lease is taken, but cannot be renewed.
    app.faults.next_after("TransactWriteItems", 1, 3, Fault::Throttled);
    assert_snapshot!(call(&chat, &app).await.refusal(), @"503 The service is temporarily unavailable; nothing was changed, try again");
    assert_eq!(chat.provider.count(REFRESH), 0);
    *kms.0.takes.lock().unwrap() = Duration::ZERO;
    app.pass(Duration::from_secs(25));
    assert_eq!(acting_as(&call(&chat, &app).await), "bob");
    lives_on(&chat, 1).await;
}

#[tokio::test]
async fn a_request_with_too_little_time_left_begins_no_refresh() {
    let chat = bob_connected().await;
    let app = &chat.scenario.app;
    let in_a_hurry = || call(&chat, app).with(Deadline(Instant::now() + Duration::from_secs(20)));
    app.pass(Duration::from_secs(3590));
    assert_eq!(acting_as(&in_a_hurry().await), "bob");
    app.pass(Duration::from_secs(10));
    assert_snapshot!(in_a_hurry().await.refusal(), @"503 The service is temporarily unavailable; nothing was changed, try again");
    assert_eq!(chat.provider.count(REFRESH), 0);
    assert!(lease(&chat).is_null());
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn transactions_that_meet_cost_no_connection() {
    // The four writes: storing what has begun, storing a client, deleting the state, storing the session.
    // Each fails many times.
    for skip in 0..4 {
        let chat = Chat::open().await;
        let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
        app.faults.next_after("TransactWriteItems", skip, 4, Fault::Conflict);
        chat.connect(bob).await;
        assert_eq!(acting_as(&chat.call(bob).await), "bob", "{skip}");
        app.faults.stop();
        chat.connect(&chat.scenario.carol).await;
        assert_eq!(chat.provider.count("register"), 1, "{skip}");
    }
}

#[tokio::test]
async fn a_client_is_forgotten_although_transactions_meet() {
    let chat = bob_expired().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.forget_clients();
    // The lease is taken. Then the client is removed.
    app.faults.next_after("TransactWriteItems", 1, 4, Fault::Conflict);
    assert_eq!(chat.call(bob).await.status, http::StatusCode::BAD_GATEWAY);
    app.faults.stop();
    chat.connect(bob).await;
    assert_eq!(chat.provider.count("register"), 2);
}
