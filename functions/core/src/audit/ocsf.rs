//! An event as other systems read it: OCSF 1.8.0 (<https://schema.ocsf.io/1.8.0/>).
//!
//! [`class_of`] maps each action once. The whole event, as the API shows it, is in `unmapped`, so nothing is lost by the
//! mapping. Texts of events are kept out of names that are shown: what an agent or a server calls itself is no `message`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Action, Actor, ERASED, Event, Outcome, SourceIp};
use crate::error::{Error, Result};

const VERSION: &str = "1.8.0";
const PRODUCT: &str = "Deputize";

/// A class, and the activity of it. 99 is another activity, by its name.
struct Class {
    uid: u32,
    activity: u32,
    name: &'static str,
}

const ACCOUNT_CHANGE: u32 = 3001;
const AUTHENTICATION: u32 = 3002;
const ENTITY_MANAGEMENT: u32 = 3004;
const USER_ACCESS: u32 = 3005;
const API_ACTIVITY: u32 = 6003;

fn class_of(action: Action) -> Class {
    use Action as A;
    let (uid, activity, name) = match action {
        A::TokenIssue | A::AppTokenIssue => (AUTHENTICATION, 99, "Token Issue"),
        A::SignIn => (AUTHENTICATION, 1, "Logon"),
        A::SignOut | A::BrowserSessionEnd => (AUTHENTICATION, 2, "Logoff"),
        A::ToolCall => (API_ACTIVITY, 99, "Call"),
        A::McpRequest => (API_ACTIVITY, 99, "Request"),
        A::ToolList | A::ResourceRead | A::PromptGet | A::TokenIntrospect | A::ServerProbe => {
            (API_ACTIVITY, 2, "Read")
        }
        A::UserCreate | A::UserProvision => (ACCOUNT_CHANGE, 1, "Create"),
        A::UserOffboard => (ACCOUNT_CHANGE, 5, "Disable"),
        A::UserDelete | A::UserErase => (ACCOUNT_CHANGE, 6, "Delete"),
        A::UserRestore => (ACCOUNT_CHANGE, 99, "Restore"),
        A::DelegationCreate | A::GrantCreate | A::AuthorizationCreate => {
            (USER_ACCESS, 1, "Assign Privileges")
        }
        A::DelegationUpdate => (USER_ACCESS, 99, "Update"),
        A::DelegationRevoke | A::GrantRevoke | A::AuthorizationRevoke => {
            (USER_ACCESS, 2, "Revoke Privileges")
        }
        A::ConnectionCreate
        | A::AppRegister
        | A::AppBlock
        | A::AgentCreate
        | A::SecretCreate
        | A::ClientKeyCreate
        | A::ApiKeyCreate
        | A::ServerCreate
        | A::PolicyCreate => (ENTITY_MANAGEMENT, 1, "Create"),
        A::GrantToggle
        | A::ConnectionRefresh
        | A::AppUpdate
        | A::AgentUpdate
        | A::UserUpdate
        | A::IdentityBind
        | A::ServerUpdate
        | A::ToolsApprove
        | A::PolicyUpdate
        | A::SigningKeyRotate => (ENTITY_MANAGEMENT, 3, "Update"),
        A::AgentRestore | A::ServerRestore | A::PolicyRestore | A::ApiKeyRestore => {
            (ENTITY_MANAGEMENT, 99, "Restore")
        }
        A::AgentDelete
        | A::AgentErase
        | A::ServerDelete
        | A::ServerErase
        | A::PolicyErase
        | A::ApiKeyErase
        | A::TokenRevoke
        | A::ConnectionDelete
        | A::AppDelete
        | A::AppUnblock
        | A::SecretRevoke
        | A::ClientKeyDelete
        | A::ApiKeyRevoke
        | A::PolicyDelete
        | A::SigningKeyRevoke => (ENTITY_MANAGEMENT, 4, "Delete"),
    };
    Class { uid, activity, name }
}

/// The event as one line.
pub(super) fn line(event: &Event) -> Result<String> {
    serde_json::to_string(&to_ocsf(event)?).map_err(Error::internal)
}

fn to_ocsf(event: &Event) -> Result<Value> {
    let Class { uid, activity, name } = class_of(event.action);
    let category = uid / 1_000;
    let mut shown = Map::new();
    let mut add = |field: &str, value: Value| {
        if !value.is_null() {
            shown.insert(field.to_owned(), value);
        }
    };
    add("time", json!(event.at.as_millis()));
    add("category_uid", json!(category));
    add("class_uid", json!(uid));
    add("activity_id", json!(activity));
    add("activity_name", json!(name));
    add("type_uid", json!(uid * 100 + activity));
    // Informational, or low: what is refused is a control that works.
    add("severity_id", json!(if event.outcome == Outcome::Allowed { 1 } else { 2 }));
    let (status_id, status) = if event.outcome == Outcome::Allowed { (1, "Success") } else { (2, "Failure") };
    add("status_id", json!(status_id));
    add("status", json!(status));
    add("status_code", json!(event.outcome));
    add("status_detail", json!(event.detail));
    add("metadata", metadata(event));
    add("actor", actor(event));
    // The schema asks for one of the endpoint's names where the address is unknown.
    let source = match event.source_ip {
        Some(SourceIp::Known(ip)) => json!({ "ip": ip }),
        Some(SourceIp::Erased(_)) => json!({ "name": ERASED }),
        None => json!({ "name": "unknown" }),
    };
    add("src_endpoint", source);
    match uid {
        API_ACTIVITY => {
            let operation = event.tool.as_deref().unwrap_or(event.action.as_str());
            let service = event.server_id.as_ref().map_or_else(|| PRODUCT.to_owned(), ToString::to_string);
            add("api", json!({ "operation": operation, "service": { "name": service } }));
            add("resources", resources(event));
        }
        ENTITY_MANAGEMENT => add("entity", entity(event)),
        USER_ACCESS => {
            add("user", user(event));
            add("privileges", json!([event.subject.as_deref().unwrap_or(event.action.as_str())]));
            add("resources", resources(event));
        }
        ACCOUNT_CHANGE => {
            let made = event.subject.as_deref().and_then(|subject| subject.strip_prefix("user:"));
            add("user", json!({ "uid": made.unwrap_or("unknown"), "type_id": 1 }));
        }
        _ => {
            add("user", user(event));
            add("service", json!({ "name": PRODUCT }));
        }
    }
    add("unmapped", json!({ "deputize": as_shown(event)? }));
    Ok(Value::Object(shown))
}

fn metadata(event: &Event) -> Value {
    json!({
        "version": VERSION,
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
        "log_name": "audit",
        "uid": event.id,
        "event_code": event.action,
        "correlation_uid": event.request_id,
    })
}

/// Whose authority it was, and the program that used it.
fn actor(event: &Event) -> Value {
    let program = match (&event.client_id, event.actor()) {
        (Some(app), _) => Some(app.to_string()),
        (None, Some(Actor::Agent(agent))) => Some(agent.to_string()),
        (None, _) => None,
    };
    match program {
        Some(program) => json!({ "user": user(event), "app_uid": program }),
        None => json!({ "user": user(event) }),
    }
}

/// The person, or the agent that acts for itself.
fn user(event: &Event) -> Value {
    match (event.user_id, event.agent_account_id, event.credential.as_deref()) {
        (Some(user), ..) => json!({ "uid": user, "type_id": 1 }),
        (None, Some(agent), _) => json!({ "uid": agent, "type_id": 4 }),
        (None, None, Some("operator")) => json!({ "name": "operator", "type_id": 2 }),
        (None, None, _) => json!({ "name": "unknown", "type_id": 0 }),
    }
}

/// What was changed. A subject is its kind and its id.
fn entity(event: &Event) -> Value {
    let agent = || event.agent_account_id.map(|agent| format!("agent_account:{agent}"));
    let subject = event.subject.clone().or_else(agent).unwrap_or_else(|| event.action.as_str().to_owned());
    let kind = subject.split(':').next().unwrap_or_default();
    json!({ "uid": subject, "type": kind })
}

fn resources(event: &Event) -> Value {
    let server = event.server_id.as_ref().map(|server| json!({ "uid": server, "type": "MCP server" }));
    let agent = event.agent_account_id.map(|agent| json!({ "uid": agent, "type": "agent account" }));
    let subject = event.subject.as_ref().map(|subject| json!({ "uid": subject, "type": "subject" }));
    let resources: Vec<Value> = [server, agent, subject].into_iter().flatten().collect();
    if resources.is_empty() { Value::Null } else { resources.into() }
}

/// The event with its fields' names in the API.
fn as_shown(event: &impl Serialize) -> Result<Value> {
    let mut shown = serde_json::to_value(event).map_err(Error::internal)?;
    if let Some(fields) = shown.as_object_mut() {
        for (stored, name) in
            [("audit_agent", "agent_account_id"), ("audit_user", "user_id"), ("audit_server", "server_id")]
        {
            if let Some(value) = fields.remove(stored) {
                fields.insert(name.to_owned(), value);
            }
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        audit::RequestContext,
        clock::{Clock, Random, Timestamp},
        ids::{AgentAccountId, UserId},
    };

    /// The attributes that a class requires beside those of every event, and of which it requires one
    /// (<https://github.com/ocsf/ocsf-schema>, tag v1.8.0, `events/` and `objects/`).
    fn required(class: u64) -> (&'static [&'static str], &'static [&'static str]) {
        match class {
            3001 | 3005 => (&["user"], &[]),
            3002 => (&["user"], &["service", "dst_endpoint"]),
            3004 => (&["entity"], &[]),
            6003 => (&["actor", "api", "src_endpoint"], &[]),
            _ => panic!("{class} is no class of ours"),
        }
    }

    const OF_EVERY_EVENT: [&str; 7] =
        ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];

    fn event(action: &str) -> Event {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let action: Action = serde_json::from_value(json!(action)).unwrap();
        Event::of(&clock, &Random::counting(), &RequestContext::default(), action).unwrap()
    }

    fn has_one_of(object: &Value, fields: &[&str]) -> bool {
        fields.is_empty() || fields.iter().any(|field| !object[field].is_null())
    }

    #[test]
    fn every_action_has_what_its_class_requires_whoever_acts() {
        let (agent, user) = (AgentAccountId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        for action in Action::ALL {
            let bare = event(action);
            let by_agent =
                Event { credential: Some("agent_token:x".to_owned()), ..event(action).agent(agent) };
            let for_user = Event { user_id: Some(user), ..by_agent.clone() };
            let refused = event(action).denied("no");
            for event in [bare, by_agent, for_user, refused] {
                let ocsf = to_ocsf(&event).unwrap();
                let class = ocsf["class_uid"].as_u64().unwrap();
                let (all, one) = required(class);
                for field in all.iter().chain(&OF_EVERY_EVENT) {
                    assert!(!ocsf[field].is_null(), "{action}: {field} in {ocsf}");
                }
                assert!(has_one_of(&ocsf, one), "{action}: {one:?}");
                assert_eq!(ocsf["category_uid"].as_u64().unwrap(), class / 1_000);
                assert_eq!(
                    ocsf["type_uid"].as_u64().unwrap(),
                    class * 100 + ocsf["activity_id"].as_u64().unwrap()
                );
                assert!(has_one_of(&ocsf["actor"]["user"], &["account", "name", "uid"]), "{ocsf}");
                if class != 3004 && class != 6003 {
                    assert!(has_one_of(&ocsf["user"], &["account", "name", "uid"]), "{ocsf}");
                }
                assert!(has_one_of(&ocsf["src_endpoint"], &["ip", "name"]), "{ocsf}");
                for (object, field) in [("metadata", "version"), ("metadata", "product")] {
                    assert!(!ocsf[object][field].is_null(), "{ocsf}");
                }
                assert!(class != 6003 || ocsf["api"]["operation"].is_string(), "{ocsf}");
                assert!(class != 3004 || ocsf["entity"]["uid"].is_string(), "{ocsf}");
            }
        }
    }

    #[test]
    fn a_call_for_a_user_says_who_by_what_program_and_which_tool() {
        let (agent, user) = (AgentAccountId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let call = Event {
            tool: Some("delete_repo".to_owned()),
            user_id: Some(user),
            credential: Some("agent_token:x".to_owned()),
            ..event("tool.call").agent(agent).server("github".parse().unwrap()).denied("Policy denied")
        };
        let ocsf = to_ocsf(&call).unwrap();
        assert_eq!(ocsf["class_uid"], 6003);
        assert_eq!(
            ocsf["actor"],
            json!({ "user": { "uid": user, "type_id": 1 }, "app_uid": agent.to_string() })
        );
        assert_eq!(ocsf["api"], json!({ "operation": "delete_repo", "service": { "name": "github" } }));
        assert_eq!((&ocsf["status_id"], &ocsf["status_code"]), (&json!(2), &json!("denied")));
        assert_eq!(ocsf["unmapped"]["deputize"]["agent_account_id"], json!(agent));
    }

    #[test]
    fn a_line_is_one_line() {
        let said = line(&event("policy.create").note("one\ntwo")).unwrap();
        assert!(!said.contains('\n'), "{said}");
    }
}
