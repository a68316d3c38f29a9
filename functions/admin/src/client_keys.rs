//! `/api/v1/agent-accounts/{id}/keys`: the public keys that a client proves itself by (`private_key_jwt`).

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error, client_keys,
    clock::Timestamp,
    ids::{AgentAccountId, ClientKeyId},
    jwk::{NewJwk, PublicJwk},
};
use deputize_service::{
    Changed, Changing, Errors, KeyReused, Once, Result,
    extract::{Json, NoBody, Path, User, object},
    handlers,
    routes::Routes,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list, add)).mount(handlers!(delete))
}

/// A public key of an agent account's client.
#[derive(Debug, Serialize, ToSchema)]
struct ClientKey {
    #[schema(value_type = Uuid)]
    id: ClientKeyId,
    /// The client's own name for it: its assertions may name it.
    kid: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when it works; `null` for until it is deleted.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
    jwk: Jwk,
}

/// RFC 7517.
#[derive(Debug, Serialize, ToSchema)]
struct Jwk {
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    key: PublicJwk,
    /// The one algorithm that it is for, if it is for one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
}

impl From<client_keys::ClientKey> for ClientKey {
    fn from(key: client_keys::ClientKey) -> Self {
        let client_keys::ClientKey { id, kid, key, alg, created_at, expires_at } = key;
        Self { id, kid, created_at, expires_at, jwk: Jwk { key, alg } }
    }
}

/// An agent account's public keys
///
/// Five at most. Auditors, operators, admins and the account's owner.
#[utoipa::path(
    get,
    path = path::CLIENT_KEYS,
    operation_id = "list_client_keys",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    responses((status = 200, body = Vec<ClientKey>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<AgentAccountId>,
) -> Result<Json<Vec<ClientKey>>> {
    let keys = client_keys::list(&core, &caller, id).await?;
    Ok(Json(keys.into_iter().map(ClientKey::from).collect()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddClientKey {
    /// The public key as a JWK (RFC 7517): `EC` with `P-256` or `P-384`, `OKP` with `Ed25519`, or `RSA` with 2,048
    /// to 4,096 bits. Its `kid`, if it has one, must be the account's only one of that name; its `alg`, if it
    /// has one, is the only algorithm that it is good for. One with private members is refused.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = HashMap<String, Value>, required, example = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }))]
    jwk: Option<NewJwk>,
    /// Until when, in the future; until it is deleted if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Add a public key
///
/// Admins and the account's owner; while it is disabled, only those who may enable it. 409 if there are five live ones already,
/// or this one.
#[utoipa::path(
    post,
    path = path::CLIENT_KEYS,
    operation_id = "add_client_key",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path)),
    request_body = AddClientKey,
    responses((status = 201, body = ClientKey), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn add(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(id): Path<AgentAccountId>,
    Once(request, Json(body)): Once<Json<AddClientKey>>,
) -> Result<(StatusCode, Json<ClientKey>)> {
    let AddClientKey { jwk, expires_at } = body;
    let jwk = jwk.ok_or_else(|| Error::invalid("jwk is missing"))?;
    let added = client_keys::add(&core, &caller, &request, id, jwk, expires_at).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Delete a public key
///
/// Operators, admins and the account's owner. Tokens that were issued under it are refused from the next call on.
#[utoipa::path(
    delete,
    path = path::CLIENT_KEY,
    operation_id = "delete_client_key",
    tag = "agent accounts",
    params(("agent_account_id" = Uuid, Path), ("key_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path((id, key)): Path<(AgentAccountId, ClientKeyId)>,
    _: NoBody,
) -> Result<StatusCode> {
    client_keys::delete(&core, &caller, &request, id, key).await?;
    Ok(StatusCode::NO_CONTENT)
}
