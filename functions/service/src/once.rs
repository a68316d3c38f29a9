//! Requests that may be sent again, by their `Idempotency-Key`.

use axum::{
    body::Body,
    extract::{FromRequest, Request as HttpRequest},
};
use deputize_core::{
    Error,
    audit::{self, Terms},
    idempotency_key::{self, IdempotencyKey},
    secret::sha256_hex,
};
use http::{HeaderName, request::Parts};

use crate::{
    ApiError,
    extract::{MAX_BODY, one_header, read_body},
};

/// [draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request to make something, with its body. With the header it is carried out once, however often it is sent.
///
/// What it makes must be made by a change that the core remembers.
#[derive(Debug)]
pub struct Once<B, const LIMIT: usize = MAX_BODY>(pub audit::RequestContext, pub B);

impl<B: FromRequest<S, Rejection = ApiError>, S: Send + Sync, const LIMIT: usize> FromRequest<S>
    for Once<B, LIMIT>
{
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, ApiError> {
        let known = request.extensions().get::<audit::RequestContext>().cloned();
        let context = known.ok_or_else(|| Error::internal("a route outside the edge"))?;
        let Some(header) = one_header(request.headers(), IDEMPOTENCY_KEY.as_str())? else {
            return Ok(Self(context, B::from_request(request, state).await?));
        };
        let key = idempotency_key::parse(header).ok_or_else(|| {
            Error::invalid(format!(
                "Idempotency-Key must be a text of 1 to {} characters in double quotes, such as \
                 \"8e03978e-40d5-43e8-bc93-6894a57f9324\"",
                idempotency_key::MAX_KEY
            ))
        })?;
        let (parts, body) = request.into_parts();
        let unread = HttpRequest::from_parts(parts.clone(), body);
        let body = read_body(unread, LIMIT).await?;
        let key = IdempotencyKey::new(key, hash(&parts, &body));
        let context = context.under(Some(Terms::Once(key)));
        let read = HttpRequest::from_parts(parts, Body::from(body));
        Ok(Self(context, B::from_request(read, state).await?))
    }
}

/// What tells one request from another: its method, its address and its body.
fn hash(parts: &Parts, body: &[u8]) -> String {
    let mut text = format!("{}\0{}\0", parts.method, parts.uri).into_bytes();
    text.extend_from_slice(body);
    sha256_hex(&text)
}
