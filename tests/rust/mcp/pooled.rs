//! Sessions at handshake servers that we keep for stateless clients are ended when we keep them no longer.

use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{User, mcp::events};

use super::Scene;

/// Where one session is kept, a few users who call one after the other, each of which takes the place of the last.
async fn after_a_few_users() -> (Scene, Vec<User>) {
    let it = Scene::within(UpstreamConfig { max_remembered: 1, ..UpstreamConfig::default() }).await;
    let mut users = vec![it.stage.bob.clone(), it.stage.carol.clone()];
    for name in ["dave", "erin", "frank"] {
        users.push(it.app().user(name).await);
    }
    for user in &users {
        it.app().modern("old", "tools/list", "").as_user(user).await.ok();
    }
    (it, users)
}

#[tokio::test]
async fn a_session_that_loses_its_place_is_ended_at_the_server() {
    let (it, users) = after_a_few_users().await;
    // Beside calls, and in nobody's way: it is done at some call after that which took the place.
    for user in users.iter().cycle().take(50) {
        if it.old.heard_of("DELETE").len() > 1 {
            break;
        }
        it.app().modern("old", "tools/list", "").as_user(user).await.ok();
    }
    let ended = it.old.heard_of("DELETE");
    assert!(ended.len() > 1, "{:?}", it.old.methods());
    for heard in &ended {
        let (session, version) =
            (heard.header("mcp-session-id").unwrap(), heard.header("mcp-protocol-version"));
        assert!(session.starts_with("upstream-session-"), "{session}");
        assert_eq!(version, Some("2025-11-25"));
    }
}

#[tokio::test]
async fn a_session_in_which_a_call_is_under_way_is_not_ended() {
    let it = Scene::within(UpstreamConfig { max_remembered: 1, ..UpstreamConfig::default() }).await;
    it.old.on("tools/call", |_| {
        events(axum::body::Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>()))
    });
    let mut under_way = it.modern("old", "tools/call", r#""name":"t""#).begin().await;
    let first = it.old.last("tools/call").header("mcp-session-id").unwrap().to_owned();
    for name in ["dave", "erin", "frank", "grace", "heidi"] {
        let user = it.app().user(name).await;
        it.app().modern("old", "tools/list", "").as_user(&user).await.ok();
    }
    let is_first = |heard: &deputize_tests::mcp::Heard| heard.header("mcp-session-id") == Some(&first);
    assert!(!it.old.heard_of("DELETE").iter().any(is_first));
    drop(std::mem::take(under_way.body_mut()));
}

#[tokio::test]
async fn a_session_that_the_server_has_ended_is_not_ended_again() {
    let it = Scene::set().await;
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    for _ in 0..3 {
        it.old.forget_sessions();
        it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    }
    assert!(it.old.heard_of("DELETE").is_empty());
}
