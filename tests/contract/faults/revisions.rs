//! What is deleted and made anew is never the old one, to whoever has read that.

use std::time::Duration;

use deputize_core::{
    clock::Timestamp,
    control::Control,
    ids::UserId,
    table::{Change, CommitError, Entity, Key, Stored},
    users::UserPointer,
};
use deputize_tests::{TestApp, provider::TokenEndpoint, store::skips_another_store};

use crate::connections::{Chat, acting_as, cookie};

fn key() -> Key {
    Key::user_by_identity("https://login.example.com", "somebody")
}

fn pointer() -> UserPointer {
    UserPointer { user_id: UserId(uuid::Uuid::new_v4()) }
}

async fn read<T: Entity>(app: &TestApp, key: Key) -> Stored<T> {
    app.core.table.read_one(key).await.unwrap().unwrap()
}

/// Adds the creation of an item to a change.
type Make = fn(&mut Change, Timestamp);

#[tokio::test]
async fn a_change_that_was_decided_on_what_was_deleted_leaves_alone_what_was_made_in_its_place() {
    let app = TestApp::start().await;
    let soon = Duration::from_secs(60);
    let ways: [Make; 4] = [
        |change, _| {
            change.create(key(), &pointer()).unwrap();
        },
        |change, now| {
            change.create_expiring(key(), &pointer(), now).unwrap();
        },
        |change, now| {
            change.create_anew(key(), &pointer(), now, now).unwrap();
        },
        |change, now| {
            change.put_expiring(key(), &pointer(), now).unwrap();
        },
    ];
    for make in ways {
        let mut first = Change::new();
        make(&mut first, app.now().plus(soon));
        app.core.table.commit(first).await.unwrap();
        let old = read::<UserPointer>(&app, key()).await;
        let mut deletion = Change::new();
        deletion.delete(&key(), old.rev).unwrap();
        app.core.table.commit(deletion).await.unwrap();
        let mut second = Change::new();
        make(&mut second, app.now().plus(soon));
        app.core.table.commit(second).await.unwrap();
        let new = read::<UserPointer>(&app, key()).await;

        let late: [fn(&mut Change, u64); 3] = [
            |change, rev| {
                change.replace(key(), &pointer(), rev).unwrap();
            },
            |change, rev| {
                change.delete(&key(), rev).unwrap();
            },
            |change, rev| {
                change.require(&key(), rev).unwrap();
            },
        ];
        for late in late {
            let mut change = Change::new();
            late(&mut change, old.rev);
            assert!(matches!(app.core.table.commit(change).await, Err(CommitError::ConditionFailed)));
        }
        let left = read::<UserPointer>(&app, key()).await;
        assert_eq!((left.rev, left.value.user_id), (new.rev, new.value.user_id));
        let mut end = Change::new();
        end.delete(&key(), new.rev).unwrap();
        app.core.table.commit(end).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_made_together_begins_at_one_revision() {
    let app = TestApp::start().await;
    let first = read::<Control>(&app, Key::control(0)).await.rev;
    for copy in 1..Key::CONTROL_COPIES {
        assert_eq!(read::<Control>(&app, Key::control(copy)).await.rev, first);
    }
    assert!(first < 1 << 53, "{first}: every reader of JSON can hold it");
    let another = read::<Control>(&TestApp::start().await, Key::control(0)).await.rev;
    assert_ne!(first, another);
}

#[tokio::test]
async fn a_slow_refresh_does_not_bring_back_an_account_that_was_disconnected() {
    if skips_another_store("the provider is held for 0.8 s, and moto takes longer") {
        return;
    }
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    app.pass(Duration::from_secs(3600));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let call = chat.call(bob);
    let meanwhile = async {
        while chat.provider.count("token refresh_token") == 0 {
            tokio::task::yield_now().await;
        }
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
        // The old session was written twice: when it was made, and when it was leased.
        for _ in 0..2 {
            let begun = chat.begin(bob).await.ok();
            let back = chat.provider.consent(&begun.field("authorization_url"), "robert");
            app.get(back).header("cookie", &cookie(&begun)).await.ok();
        }
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(call, meanwhile);
    assert_eq!(acting_as(&called), "robert");
    assert_eq!(acting_as(&chat.call(bob).await), "robert");
}
