//! `GET`: the tools that the caller may call.

use deputize_tests::TestResponse;
use insta::assert_snapshot;

use super::Permitted;

fn names(answer: &TestResponse) -> Vec<String> {
    let tools = answer.json()["tools"].clone();
    let tools = tools.as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_caller_sees_what_they_may_call() {
    let it = Permitted::without_policies().await;
    let bot = it.bot().id;
    it.app().policy("bot", &format!("permit(principal == Agent::\"{bot}\", action, resource);")).await;
    let people = "permit(principal is User, action, resource == Tool::\"demo/list_repos\");";
    it.app().policy("people", people).await;
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    let list = || it.app().get("/api/v1/proxy/demo/tools");
    let mut all = names(&list().bearer(&own).await);
    all.sort();
    assert_eq!(all, ["delete_repo", "list_repos"]);
    assert_eq!(names(&list().bearer(&for_bob).await), ["list_repos"]);
    assert_eq!(names(&list().as_user(it.bob()).await), ["list_repos"]);
}

#[tokio::test]
async fn who_may_call_nothing_sees_nothing_and_leaves_an_event() {
    let it = Permitted::without_policies().await;
    let answer = it.app().get("/api/v1/proxy/demo/tools").as_user(it.bob()).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "tools": []
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.list"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    "#);
}

#[tokio::test]
async fn a_list_needs_a_credential_and_a_server() {
    let it = Permitted::set().await;
    assert_snapshot!(it.app().get("/api/v1/proxy/demo/tools").await.refusal(), @"401 Authentication is required: send a bearer token or an API key");
    let nowhere = it.app().get("/api/v1/proxy/nowhere/tools").as_user(it.bob()).await;
    assert_snapshot!(nowhere.refusal(), @"404 No such server");
}
