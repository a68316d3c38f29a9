//! Lists: only what the caller may use, in the server's order and words.

use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::TestRequest;
use insta::assert_snapshot;

use super::Scene;

const TOOLS: &str = r#"{"resultType":"complete","tools":[{"name":"zebra","x": 1.0},{"name":"secret"},{"name":"apple","inputSchema":{ }},{"noName":1},"zebra",{"name":7},{"name":"apple","n\u0061me":"zebra"}],"nextCursor":"page two","future":[ ],"ttlMs":60000,"cacheScope":"public"}"#;

/// The bot may do everything except what is called secret. Users may do what is named after fruit.
async fn fruit_only(it: &Scene) {
    let bot = it.scenario.bot.id;
    it.app()
        .policy(
            "bot",
            &format!("permit(principal == Agent::\"{bot}\", action, resource) unless {{ resource.name like \"*secret*\" }};"),
        )
        .await;
    it.app()
        .policy("fruit", "permit(principal is User, action, resource) when { resource.name like \"*apple*\" || resource.name like \"*secret*\" };")
        .await;
}

async fn names(ask: TestRequest, list: &str, name: &str) -> Vec<String> {
    let answer = ask.await.ok().json();
    let entries = answer["result"][list].as_array().unwrap().clone();
    entries.iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_of_tools_is_what_the_agent_may_call_and_the_user_too() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    fruit_only(&it).await;
    it.new.answers("tools/list", TOOLS);
    let (own, for_bob) =
        (it.app().m2m(&it.scenario.bot).await, it.app().obo(&it.scenario.bot, &it.scenario.bob).await);
    let list = |token: &str| it.app().modern("new", "tools/list", "").bearer(token);
    assert_eq!(names(list(&own), "tools", "name").await, ["zebra", "apple"]);
    assert_eq!(names(list(&it.scenario.bob.api_key), "tools", "name").await, ["secret", "apple"]);
    assert_eq!(names(list(&for_bob), "tools", "name").await, ["apple"]);
}

#[tokio::test]
async fn what_stays_in_a_list_keeps_its_bytes_its_order_and_its_page() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    fruit_only(&it).await;
    it.new.answers("tools/list", TOOLS);
    it.old.answers("tools/list", TOOLS);
    let own = it.app().m2m(&it.scenario.bot).await;
    let tools = r#"[{"name":"zebra","x": 1.0},{"name":"apple","inputSchema":{ }}]"#;
    let kept = format!(
        r#"{{"resultType":"complete","tools":{tools},"nextCursor":"page two","future":[ ],"ttlMs":60000"#
    );
    let private = format!(r#"{kept},"cacheScope":"private"}}"#);
    for server in ["new", "old"] {
        let answer = it.app().modern(server, "tools/list", r#""cursor":"page one""#).bearer(&own).await.ok();
        assert_eq!(answer.raw("result"), private, "{server}");
        let session = it.app().initialize(server).bearer(&own).await.ok().session();
        let ask = it.app().handshake(server, "tools/list", r#"{"cursor":"page one"}"#).bearer(&own);
        assert_eq!(ask.in_session(&session).await.ok().raw("result"), private, "{server}");
    }
    for server in [&it.new, &it.old] {
        for heard in server.heard_of("tools/list") {
            assert_eq!(heard.message()["params"]["cursor"], "page one");
        }
    }
}

#[tokio::test]
async fn other_lists_show_what_may_be_read_and_got() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    it.app()
        .policy("reading", r#"permit(principal, action == Action::"read_resource", resource) when { resource.name like "file:///apple*" };"#)
        .await;
    it.app()
        .policy(
            "prompts",
            r#"permit(principal, action == Action::"get_prompt", resource == Prompt::"new/apple");"#,
        )
        .await;
    it.new.answers("resources/list", r#"{"resources":[{"uri":"file:///apple"},{"uri":"file:///b"}]}"#);
    it.new.answers(
        "resources/templates/list",
        r#"{"resourceTemplates":[{"uriTemplate":"file:///apple/{x}"},{"uriTemplate":"file:///b/{x}"}]}"#,
    );
    it.new.answers("prompts/list", r#"{"prompts":[{"name":"b"},{"name":"apple"}]}"#);
    it.new.answers("tools/list", r#"{"tools":[{"name":"apple"}]}"#);
    let list = |method: &str| it.modern("new", method, "");
    assert_eq!(names(list("resources/list"), "resources", "uri").await, ["file:///apple"]);
    let templates = names(list("resources/templates/list"), "resourceTemplates", "uriTemplate").await;
    assert_eq!(templates, ["file:///apple/{x}"]);
    assert_eq!(names(list("prompts/list"), "prompts", "name").await, ["apple"]);
    assert_eq!(names(list("tools/list"), "tools", "name").await, Vec::<String>::new());
    let marked = list("prompts/list").await.ok();
    assert_eq!(
        marked.raw("result"),
        r#"{"prompts":[{"name":"apple"}],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#
    );
}

#[tokio::test]
async fn what_a_modern_client_read_is_marked_as_its_own() {
    let it = Scene::set().await;
    let read = r#"{"resultType":"complete","contents":[ ],"ttlMs":60000,"cacheScope":"public"}"#;
    it.new.answers("resources/read", read);
    let answer = it.modern("new", "resources/read", r#""uri":"file:///a""#).await.ok();
    assert_eq!(answer.raw("result"), read.replace("public", "private"));
    let asks = r#"{"resultType":"input_required","inputRequests":{}}"#;
    it.new.answers("resources/read", asks);
    assert_eq!(it.modern("new", "resources/read", r#""uri":"file:///a""#).await.ok().raw("result"), asks);
}

#[tokio::test]
async fn a_list_that_is_none_is_the_servers_fault() {
    let it = Scene::set().await;
    let mut told = Vec::new();
    for result in [r#"{"tools":{"name":"t"}}"#, r#"{"tools":[],"tools":[{"name":"t"}]}"#, "[]"] {
        it.new.answers("tools/list", result);
        told.push(it.modern("new", "tools/list", "").await.rpc_refusal());
    }
    assert_snapshot!(told.join("\n"), @"
    200 502 upstream_error: The MCP server breaks the protocol: no list
    200 502 upstream_error: The MCP server breaks the protocol: a result that is no object
    200 502 upstream_error: The MCP server breaks the protocol: a result that is no object
    ");
    // An answer without a list is passed on: it contains nothing to hold back.
    it.new.answers("tools/list", r#"{"resultType":"complete"}"#);
    it.modern("new", "tools/list", "").await.ok();
}

#[tokio::test]
async fn a_list_of_more_entries_than_are_judged_is_none() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    it.app().permit_everything().await;
    let tools = |count: usize| {
        let tools: Vec<String> = (0..count).map(|n| format!(r#"{{"name":"t{n}"}}"#)).collect();
        format!(r#"{{"tools":[{}]}}"#, tools.join(","))
    };
    it.new.answers("tools/list", tools(5_001).leak());
    assert_snapshot!(it.modern("new", "tools/list", "").await.rpc_refusal(), @"200 502 upstream_error: The MCP server breaks the protocol: a list of more than 5000");
}

#[tokio::test]
async fn whoever_waits_gets_a_turn_between_two_entries_of_a_list() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    it.app().permit_everything().await;
    let tools: Vec<String> = (0..500).map(|n| format!(r#"{{"name":"t{n}"}}"#)).collect();
    it.new.answers("tools/list", format!(r#"{{"tools":[{}]}}"#, tools.join(",")).leak());
    for ask in [
        it.modern("new", "tools/list", ""),
        it.app().get("/api/v1/proxy/new/tools").as_user(&it.scenario.bob),
    ] {
        let (mut ask, mut turns) = (std::pin::pin!(ask.into_future()), 0);
        let answer = std::future::poll_fn(|context| {
            turns += 1;
            ask.as_mut().poll(context)
        });
        answer.await.ok();
        assert!(turns >= 500, "{turns}");
    }
}

#[tokio::test]
async fn a_subscription_to_more_resources_than_are_judged_is_refused() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    it.app().permit_everything().await;
    let uris = vec![r#""a:b""#; 1_001].join(",");
    let listen = format!(r#""notifications":{{"resourceSubscriptions":[{uris}]}}"#);
    assert_snapshot!(it.modern("new", "subscriptions/listen", &listen).await.rpc_refusal(), @"400 -32602 invalid_request: params: more than 1000 resourceSubscriptions");
}
