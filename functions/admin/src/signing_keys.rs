//! `/api/v1/signing-keys`: the keys that sign agent tokens.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    tokens::{self, PublicKey},
};
use deputize_service::{
    Changed, Changing, Errors, KeyReused, Once, Result,
    extract::{Json, NoBody, Path, User},
    handlers,
    routes::Routes,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list, rotate)).mount(handlers!(revoke))
}

/// A public key that verifies agent tokens (RFC 7517, RFC 7518 section 6.2).
#[derive(Debug, Serialize, ToSchema)]
struct SigningKey {
    kid: String,
    #[schema(example = "EC")]
    kty: &'static str,
    #[schema(example = "P-256")]
    crv: &'static str,
    #[schema(example = "ES256")]
    alg: &'static str,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    use_: &'static str,
    x: String,
    y: String,
}

impl From<PublicKey> for SigningKey {
    fn from(PublicKey { kty, crv, alg, use_, kid, x, y }: PublicKey) -> Self {
        Self { kid, kty, crv, alg, use_, x, y }
    }
}

/// The public keys that are published
///
/// The same as at `/.well-known/jwks.json`: the key that signs, and those that still verify.
#[utoipa::path(
    get,
    path = path::SIGNING_KEYS,
    operation_id = "list_signing_keys",
    tag = "signing keys",
    responses((status = 200, body = Vec<SigningKey>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(State(core): State<Arc<Core>>, User(_caller): User) -> Result<Json<Vec<SigningKey>>> {
    let keys = core.latest_keyring().await?.published();
    Ok(Json(keys.into_iter().map(SigningKey::from).collect()))
}

/// The key that signs from now on.
#[derive(Debug, Serialize, ToSchema)]
struct NewSigningKey {
    kid: String,
}

/// Rotate the signing key
///
/// Operators and admins. The new key signs from now on; the old one verifies until no token that it signed can live.
#[utoipa::path(
    post,
    path = path::SIGNING_KEYS,
    operation_id = "rotate_signing_key",
    tag = "signing keys",
    responses((status = 201, body = NewSigningKey), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn rotate(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, _): Once<NoBody>,
) -> Result<(StatusCode, Json<NewSigningKey>)> {
    let kid = tokens::rotate(&core, &caller, &request).await?;
    Ok((StatusCode::CREATED, Json(NewSigningKey { kid })))
}

/// Revoke a signing key
///
/// Operators and admins. Every token that it signed is refused from the next call on. If it is the one that signs, a
/// new one takes its place.
#[utoipa::path(
    delete,
    path = path::SIGNING_KEY,
    operation_id = "revoke_signing_key",
    tag = "signing keys",
    params(("kid" = String, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn revoke(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(kid): Path<String>,
    _: NoBody,
) -> Result<StatusCode> {
    tokens::revoke_key(&core, &caller, &request, &kid).await?;
    Ok(StatusCode::NO_CONTENT)
}
