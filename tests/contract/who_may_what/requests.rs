//! What each operation is asked: a good request, about a thing that exists. An operation without a body and without a
//! query needs no line here.

use deputize_tests::{
    jwt::SigningKey,
    mcp::{modern_params, request},
    request::{ACCESS_TOKEN, TOKEN_EXCHANGE, USER_ID},
};
use serde_json::{Value, json};

use super::{
    callers::{Caller, Credential},
    world::{CALLBACK, World},
};

/// One request to an operation, and so one row.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What distinguishes the row from the operation's others. Empty for the plain request.
    pub(super) what: &'static str,
    /// The server in the path.
    pub(super) server: &'static str,
    pub(super) query: String,
    pub(super) body: Body,
    /// The caller's credential is what the request is about, and so in its body only.
    pub(super) is_about_credential: bool,
    /// A text that a success shows to those who see the user's, or the account's, own.
    pub(super) shows: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Nothing,
    Json(Value),
    Form(Vec<(&'static str, String)>),
    /// An MCP client's request for the tools.
    Mcp(String),
    /// No body, but the caller's MCP session.
    InSession,
    /// What an authorization server sends a browser back with.
    ComesBack,
    /// What the button of the consent page sends.
    Allows,
}

impl Asked {
    fn plain() -> Self {
        let query = String::new();
        Self { what: "", server: "demo", query, body: Body::Nothing, is_about_credential: false, shows: None }
    }

    fn json(body: Value) -> Self {
        Self { body: Body::Json(body), ..Self::plain() }
    }

    fn form<const N: usize>(fields: [(&'static str, &str); N]) -> Self {
        let fields = fields.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { body: Body::Form(fields), ..Self::plain() }
    }

    fn with(body: Body) -> Self {
        Self { body, ..Self::plain() }
    }

    fn when(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    fn at(self, server: &'static str) -> Self {
        Self { server, ..self }
    }

    fn query(self, query: String) -> Self {
        Self { query, ..self }
    }

    fn showing(self, text: &str) -> Self {
        Self { shows: Some(text.to_owned()), ..self }
    }
}

/// The requests to an operation by a caller. The same rows for every caller.
#[expect(clippy::too_many_lines, reason = "a line for each operation")]
pub(super) fn of(world: &World, operation: &str, caller: &Caller) -> Vec<Asked> {
    let (bob, bot) = (world.bob.id.to_string(), world.bot.id.to_string());
    let plain = Asked::plain();
    match operation {
        // Tokens. Without a client's credential in the form, so that the caller's own counts.
        "get_token" => vec![
            Asked::form([("grant_type", "client_credentials")]),
            Asked::form([
                ("grant_type", "client_credentials"),
                ("actor_token", &bob),
                ("actor_token_type", USER_ID),
            ])
            .when("for the user"),
            exchange(world, caller).when("by exchange"),
        ],
        "introspect_token" | "revoke_token" => vec![Asked::form([("token", &world.token)])],

        "authorize" => vec![plain.query(world.authorization_request()).showing("<h1>Let ")],
        "answer_authorization" => vec![Asked::with(Body::Allows)],
        "register_client" => vec![Asked::json(json!({ "redirect_uris": [CALLBACK] }))],

        // Calls.
        "call_tool" => vec![
            Asked::json(json!({ "tool_name": "list_repos", "arguments": { "org": "acme-corp" } })),
            Asked::json(json!({ "tool_name": "list_channels" }))
                .at("chat")
                .when("with the user's OAuth session"),
        ],
        "send_mcp_message" => vec![Asked::with(Body::Mcp(request("tools/list", &modern_params(""))))],
        "open_mcp_stream" | "end_mcp_session" => vec![Asked::with(Body::InSession).at("old")],

        // What is the user's.
        "get_me" => vec![plain.showing(&bob)],
        "list_my_api_keys" => vec![plain.showing(&world.api_key)],
        "list_my_browser_sessions" => vec![plain.showing(&world.browser_session)],
        "list_my_authorizations" | "list_user_authorizations" => vec![plain.showing(&world.authorization())],
        "create_api_key" => vec![Asked::json(json!({ "name": "another" }))],
        "list_my_delegations" => vec![plain.showing(&world.delegation)],
        "list_delegations" => vec![
            plain.clone().showing(&world.delegation),
            plain.query(format!("?delegator_user_id={bob}")).when("of the user"),
        ],
        "list_session_grants" => vec![plain.showing(&world.grant)],
        "create_session_grant" => vec![
            Asked::json(json!({ "server_id": "chat" })),
            Asked::json(json!({ "server_id": "chat", "shared": true })).when("that is shared"),
        ],
        "toggle_session_grant" => vec![Asked::json(json!({ "server_id": "chat" }))],
        "connect" => vec![plain.at("team")],
        "get_connection" | "delete_connection" | "list_server_connections" => vec![plain.at("chat")],
        "finish_connection" => vec![Asked::with(Body::ComesBack).showing("<h1>Connected</h1>")],
        "confirm_connection" => vec![Asked::with(Body::ComesBack)],
        "list_audit_events" => vec![
            plain.clone().showing(&world.bobs_request),
            plain.query(format!("?user_id={bob}")).when("of the user"),
        ],

        // What is the agent account's.
        "list_agent_accounts" => vec![plain.showing(&bot)],
        "list_agent_policies" => vec![plain.showing(&world.policy)],
        "get_agent_account" => vec![plain.showing("owner_user_id")],
        "create_agent_account" => vec![Asked::json(json!({ "name": "new" }))],
        "update_agent_account" => vec![
            Asked::json(json!({ "name": "renamed" })),
            Asked::json(json!({ "groups": ["bots"] })).when("its groups"),
            Asked::json(json!({ "owner_user_id": bob })).when("its owner"),
            Asked::json(json!({ "active": false })).when("that it stops"),
        ],
        "add_client_key" => vec![Asked::json(json!({ "jwk": SigningKey::es256().jwk("new") }))],

        // What is the organization's.
        "batch_users" => {
            vec![Asked::json(json!({ "entries": [{ "create": { "email": "new@example.com" } }] }))]
        }
        "batch_delegations" => {
            vec![Asked::json(json!({ "entries": [{ "create": { "agent_account_id": bot } }] }))]
        }
        "delete_user" | "delete_agent_account" | "delete_server" => {
            vec![plain.query("?cascade=true".to_owned())]
        }
        "offboard_user" => vec![Asked::json(json!({ "dry_run": true, "agents": "stop" }))],
        "find_who_could" => vec![Asked::json(json!({ "server_id": "demo", "tool_name": "list_repos" }))],
        "create_user" => vec![Asked::json(json!({ "email": "new@example.com" }))],
        "update_user" => vec![
            Asked::json(json!({ "name": "Robert" })),
            Asked::json(json!({ "role": "admin" })).when("their role"),
            Asked::json(json!({ "active": false })).when("that they leave"),
        ],
        "create_server" => vec![Asked::json(json!({ "name": "new", "url": "https://new.example.com/mcp" }))],
        "update_server" => vec![
            Asked::json(json!({ "name": "renamed" })),
            Asked::json(json!({ "active": false })).when("that it stops"),
        ],
        "update_app" => vec![Asked::json(json!({ "name": "renamed" }))],
        "probe_server" => vec![Asked::json(json!({ "url": world.scripted.url() }))],
        "create_policy" | "replace_policy" => {
            vec![Asked::json(json!({ "name": "all", "text": "permit(principal, action, resource);" }))]
        }
        "check_policies" => {
            let call = |who: &str, id: &str| {
                Asked::json(
                    json!({ who: id, "server_id": "demo", "tool_name": "list_repos", "arguments": {} }),
                )
            };
            vec![
                call("user_id", &bob).when("about the user"),
                call("agent_account_id", &bot).when("about the agent"),
            ]
        }
        "register_app" => vec![Asked::json(json!({ "name": "new", "redirect_uris": [CALLBACK] }))],
        "block_app" => vec![Asked::json(json!({ "host": "client.example" }))],
        "create_delegation" | "add_client_secret" => vec![Asked::json(json!({}))],
        _ => vec![plain],
    }
}

/// An exchange (RFC 8693) of the caller's credential as the agent's token. A client proves itself, and presents a token.
fn exchange(world: &World, caller: &Caller) -> Asked {
    let user = world.app.login.token("bob");
    let subject = match &caller.credential {
        Credential::Nothing | Credential::Cookie(_) => "",
        Credential::Bearer(text) | Credential::ApiKey(text) => text,
        Credential::Client(..) => &world.token,
    };
    let is_about_credential = !matches!(caller.credential, Credential::Client(..));
    let asked = Asked::form([
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", &user),
        ("actor_token_type", ACCESS_TOKEN),
    ]);
    Asked { is_about_credential, ..asked }
}
