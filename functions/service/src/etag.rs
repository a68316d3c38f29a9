//! Entity tags: a thing as an answer with its tag, a change that is held to one, and a `GET` that is answered with 304.
//!
//! What a tag consists of is told in [`deputize_core::preconditions`]. Answers are `no-store`, so only clients that keep
//! what they were shown ask with `If-None-Match`. The tag follows from what the caller is shown, so that one caller's tag
//! never stands for what another is shown.

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use deputize_core::{
    Error,
    audit::{self, Terms},
    preconditions::{self, entity_tags, shown_tag, state_tag},
    table::Key,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
    request::Parts,
};
use serde::Serialize;

use crate::{ApiError, extract::Context};

/// One thing as an answer, with its entity tag.
#[derive(Debug)]
pub struct Tagged<T> {
    shown: T,
    /// For callers who may change it: the state that a change would meet.
    state: Option<String>,
    made_at: Option<String>,
    /// What a `GET` shows of it, if that is less.
    known_as: Option<Vec<u8>>,
}

impl<T> Tagged<T> {
    /// For callers who may change it.
    pub fn new(key: &Key, rev: u64, shown: T) -> Self {
        Self { shown, state: Some(state_tag(key, rev)), made_at: None, known_as: None }
    }

    /// For callers who only see it, or a part of it.
    pub fn shown(shown: T) -> Self {
        Self { shown, state: None, made_at: None, known_as: None }
    }

    /// It was made, and is at this address (RFC 9110 section 15.3.2).
    #[must_use]
    pub fn made_at(self, address: String) -> Self {
        Self { made_at: Some(address), ..self }
    }

    /// With the tag that a `GET` has, which shows this. The answer shows a new secret beside it.
    pub fn known_as(self, known: &impl Serialize) -> Result<Self, Error> {
        Ok(Self { known_as: Some(serde_json::to_vec(known).map_err(Error::internal)?), ..self })
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let body = match serde_json::to_vec(&self.shown) {
            Ok(body) => body,
            Err(error) => return ApiError::from(Error::internal(error)).into_response(),
        };
        let state = self.state.map(|state| format!("{state}-")).unwrap_or_default();
        let tag = format!("\"{state}{}\"", shown_tag(self.known_as.as_ref().unwrap_or(&body)));
        let status = if self.made_at.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let json = HeaderValue::from_static("application/json");
        let mut response = (status, [(CONTENT_TYPE, json)], body).into_response();
        let headers = response.headers_mut();
        headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
        let address = self.made_at.and_then(|address| HeaderValue::try_from(address).ok());
        headers.extend(address.map(|address| (LOCATION, address)));
        response
    }
}

/// The values of a header as one list (RFC 9110 section 5.3). `None` if there is none.
fn list(headers: &HeaderMap, name: &http::HeaderName) -> Option<Result<String, ApiError>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let texts: Result<Vec<&str>, _> = values.map(HeaderValue::to_str).collect();
    Some(texts.map(|texts| texts.join(", ")).map_err(|_| malformed(name)))
}

fn malformed(name: &http::HeaderName) -> ApiError {
    let name = if *name == IF_MATCH { "If-Match" } else { "If-None-Match" };
    Error::invalid(format!("{name} must be * or a list of ETags in double quotes, as answers have them"))
        .into()
}

fn if_match(headers: &HeaderMap) -> Result<Option<preconditions::IfMatch>, ApiError> {
    let Some(list) = list(headers, &IF_MATCH) else { return Ok(None) };
    let parsed = preconditions::IfMatch::parse(&list?).ok_or_else(|| malformed(&IF_MATCH))?;
    Ok(Some(parsed))
}

/// A request that may be held to a state of its subject, by `If-Match`. The core compares it with what it changes.
#[derive(Clone, Debug)]
pub struct IfMatch(pub audit::RequestContext);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Context(request) = Context::from_request_parts(parts, state).await?;
        Ok(Self(request.under(if_match(&parts.headers)?.map(Terms::IfMatch))))
    }
}

/// A request to change something that has no entity tags. So no tag is its present one (RFC 9110 section 13.1.1): a
/// client that sends one means another thing, or believes that it is protected.
#[derive(Clone, Debug)]
pub struct Changing(pub audit::RequestContext);

impl<S: Sync> FromRequestParts<S> for Changing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Context(request) = Context::from_request_parts(parts, state).await?;
        match if_match(&parts.headers)? {
            None | Some(preconditions::IfMatch::Any) => Ok(Self(request)),
            Some(preconditions::IfMatch::Tags(_)) => Err(Error::Stale.into()),
        }
    }
}

/// Answers a `GET` with 304 if the caller has what would be shown (RFC 9110 sections 13.1.2 and 15.4.5).
pub(crate) async fn not_modified(request: Request, next: Next) -> Response {
    let asked = match *request.method() {
        Method::GET | Method::HEAD => list(request.headers(), &IF_NONE_MATCH),
        _ => None,
    };
    let response = next.run(request).await;
    let Some(asked) = asked else { return response };
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    let Some(tag) = tag.filter(|_| response.status().is_success()) else { return response };
    let known = match asked.map(|list| (list.trim() == "*").then(Vec::new).or_else(|| entity_tags(&list))) {
        Ok(Some(known)) => known,
        Ok(None) => return malformed(&IF_NONE_MATCH).into_response(),
        Err(error) => return error.into_response(),
    };
    // By weak comparison (RFC 9110 section 8.8.3.2). Without tags it is `*`: there is something.
    if !known.is_empty() && !known.iter().any(|one| tag.trim_matches('"') == one.opaque) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(CONTENT_TYPE);
    Response::from_parts(parts, axum::body::Body::empty())
}
