//! Requests in sessions that we keep at handshake servers, for stateless clients of `/mcp` and for `/tools` alike: how
//! they are resumed, bounded and cancelled, and that sessions are ended when we keep them no longer.

use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{TestRequest, User, mcp::events};
use serde_json::json;

use super::Scene;

/// Only one session is kept. A few users call, one after the other, and each replaces the last one's session.
async fn after_a_few_users() -> (Scene, Vec<User>) {
    let it = Scene::within(UpstreamConfig { max_remembered: 1, ..UpstreamConfig::default() }).await;
    let mut users = vec![it.scenario.bob.clone(), it.scenario.carol.clone()];
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
    // It happens beside the calls and delays none: during some call after the one that replaced the session.
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
        let note = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
        let begins = futures::stream::iter([Ok::<_, std::io::Error>(note)]);
        let rest = futures::stream::pending();
        events(axum::body::Body::from_stream(futures::StreamExt::chain(begins, rest)))
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

/// The same call of `t`, by each endpoint.
fn by_both(it: &Scene) -> [TestRequest; 2] {
    let tools = it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob);
    [tools, it.modern("old", "tools/call", r#""name":"t""#)]
}

#[tokio::test]
async fn a_stream_that_the_server_closes_before_the_response_is_resumed_by_either_endpoint() {
    let it = Scene::set().await;
    for ask in by_both(&it) {
        it.old.on("tools/call", |_| events("id: e-1\nretry: 1\ndata:\n\n"));
        let old = it.old.clone();
        it.old.on("GET", move |_| {
            let response = old.last("tools/call").result(r#"{"content":[{"type":"text","text":"resumed"}]}"#);
            events(format!("id: e-2\ndata: {response}\n\n"))
        });
        let answer = ask.await.ok();
        assert!(answer.text.contains("resumed"), "{}", answer.text);
        let resumed = it.old.last("GET");
        assert_eq!(resumed.header("last-event-id"), Some("e-1"));
        assert_eq!(resumed.header("mcp-session-id"), it.old.last("tools/call").header("mcp-session-id"));
    }
    assert_eq!(it.old.heard_of("tools/call").len(), 2);
}

#[tokio::test]
async fn a_server_that_keeps_asking_is_cut_off_at_either_endpoint() {
    let it = Scene::set().await;
    let ping = r#"{"jsonrpc":"2.0","id":"s-1","method":"ping"}"#;
    it.old.on("tools/call", move |_| events(format!("data: {ping}\n\n").repeat(500)));
    let mut heard = 0;
    for ask in by_both(&it) {
        let answer = ask.await;
        assert!(answer.text.contains("one request from the server after another"), "{}", answer.text);
        let answers = it.old.heard().iter().filter(|heard| heard.message()["id"] == "s-1").count();
        // So many at once, and as many more each ten seconds.
        assert!((answers - heard) % 20 == 0 && answers - heard < 500, "{answers} {heard}");
        heard = answers;
    }
}
