//! What handlers take as arguments. Each refuses bad input with an [`ApiError`] that names the field.

use std::{
    collections::{HashMap, HashSet},
    error::Error as _,
    fmt,
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::HttpBody as _,
    extract::{
        FromRef, FromRequest, FromRequestParts, OptionalFromRequest, Request as HttpRequest,
        rejection::PathRejection,
    },
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
pub use deputize_api::API_KEY_HEADER;
use deputize_api::{OTHER_API_KEY_HEADERS, token::parameter};
use deputize_core::{
    Core, Error, audit,
    authenticate::PresentedCredential,
    caller::UserCaller,
    error::{Told, because},
    paging::PageRequest,
    scope::Scope,
    secret::API_KEY_PREFIX,
    wording,
};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{ApiError, EdgeError};

/// The longest body of a management or token request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What the edge knows about the request (see [`crate::edge`]).
#[derive(Clone, Debug)]
pub struct Context(pub audit::RequestContext);

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<audit::RequestContext>().cloned();
        Ok(Self(context.ok_or_else(|| Error::internal("a route outside the edge"))?))
    }
}

/// A caller's credential. All checks that need no table are done.
#[derive(Debug)]
pub struct Credential(pub PresentedCredential);

impl<S> FromRequestParts<S> for Credential
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let core = Arc::<Core>::from_ref(state);
        let api_key = api_key(&parts.headers)?;
        let bearer = match one_header(&parts.headers, AUTHORIZATION.as_str())? {
            Some(value) => Some(bearer(value)?),
            None => None,
        };
        Ok(Self(core.read_credential(bearer, api_key).await?))
    }
}

/// The API key. Some clients can send it only in a header that may also hold another service's key, such as the one that
/// `CloudFront` shows to our gateway, or that a company's own gateway asks for. So there only what is written like one of
/// our keys is a credential; anything else is not for us. No gateway's key is: ours has no underscore (`infra`).
fn api_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut found = one_header(headers, API_KEY_HEADER)?;
    for name in OTHER_API_KEY_HEADERS {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        for key in values.by_ref().filter(|value| value.starts_with(API_KEY_PREFIX)) {
            if found.is_some_and(|found| found != key) {
                return Err(Error::invalid("There are two different API keys in the headers").into());
            }
            found = Some(key);
        }
    }
    Ok(found)
}

/// A header that must not occur twice: two proxies could disagree about which one counts.
pub(crate) fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Error::invalid(format!("The header {name} occurs twice")).into());
    }
    let text = value.map(|value| value.to_str()).transpose();
    text.map_err(|error| {
        let told = Told::new(format!("The header {name} holds characters that it cannot"));
        Error::Invalid(told.because(error)).into()
    })
}

/// The longest bearer token, in bytes. API Gateway takes 10,240 bytes of a request's line and headers (API
/// Gateway Developer Guide, "Quotas for configuring and running a REST API"). CloudFront's headers and the
/// client's need some of that. The limit is the same everywhere, so that what works locally works when it is
/// deployed.
pub const MAX_BEARER: usize = 7 * 1024;

fn bearer(value: &str) -> Result<&str, ApiError> {
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token.trim()).filter(|token| !token.is_empty());
    let token =
        token.ok_or_else(|| Error::unauthenticated("The Authorization header must be: Bearer <token>"))?;
    if token.len() > MAX_BEARER {
        let why = format!("The token is longer than the {MAX_BEARER} bytes that a header can hold");
        return Err(Error::unauthenticated(why).into());
    }
    Ok(token)
}

/// The user who calls a management endpoint. An API key must be for reading if the method is a safe one (RFC 9110 section
/// 9.2.1), and else for managing.
#[derive(Debug)]
pub struct User(pub UserCaller);

/// The user who asks something by a method that is not a safe one, although nothing is changed.
#[derive(Debug)]
pub struct Reader(pub UserCaller);

impl<S> FromRequestParts<S> for User
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let takes = if parts.method.is_safe() { Scope::ManageRead } else { Scope::Manage };
        Ok(Self(user_caller(parts, state, takes).await?))
    }
}

impl<S> FromRequestParts<S> for Reader
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(user_caller(parts, state, Scope::ManageRead).await?))
    }
}

async fn user_caller<S>(parts: &mut Parts, state: &S, takes: Scope) -> Result<UserCaller, ApiError>
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    let Credential(presented) = Credential::from_request_parts(parts, state).await?;
    let Context(request) = Context::from_request_parts(parts, state).await?;
    let core = Arc::<Core>::from_ref(state);
    Ok(core.user_caller(presented, takes, &request).await?)
}

/// A JSON body of at most [`MAX_BODY`] bytes. An unknown field is refused ([`crate::unknown`]). The error for
/// a wrong type names the field.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, _: &S) -> Result<Self, ApiError> {
        require_type(request.headers(), "application/json")?;
        Ok(Self(parse_json(&read_body(request, MAX_BODY).await?)?))
    }
}

/// An optional body: `None` if it is empty or `null`.
impl<T: DeserializeOwned, S: Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, _: &S) -> Result<Option<Self>, ApiError> {
        let typed = require_type(request.headers(), "application/json");
        let body = read_body(request, MAX_BODY).await?;
        if body.is_empty() {
            return Ok(None);
        }
        typed?;
        if body.trim_ascii() == b"null" {
            return Ok(None);
        }
        Ok(Some(Self(parse_json(&body)?)))
    }
}

/// No body, for an endpoint that takes none. A body would be ignored, although its sender meant something by it. So it
/// is refused. `null` and `{}` mean nothing, so they are accepted with any content type.
#[derive(Clone, Copy, Debug)]
pub struct NoBody;

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, _: &S) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        let body = read_body(request, MAX_BODY).await?;
        if !body.is_empty() && body.trim_ascii() != b"null" {
            let Nothing {} = parse_json(&body)?;
        }
        Ok(Self)
    }
}

/// Parses JSON. The error names the field.
pub fn parse_json<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    // From an array, serde would fill a struct's fields in the order of their declaration.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::invalid("the body must be an object, not an array").into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.into_inner());
        if let Some(unknown) = crate::unknown::field(&path, &inner.to_string()) {
            return unknown;
        }
        Error::Invalid(Told::new(wording::of_json(&path, &inner)).because(inner))
    })?;
    deserializer.end().map_err(|error| {
        Error::Invalid(Told::new("the body must be one JSON object, with nothing after it").because(error))
    })?;
    Ok(parsed)
}

/// Reads an object inside a body, for `#[serde(deserialize_with)]`. As in [`parse_json`], an array is
/// refused.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Object(PhantomData))
}

/// Requires a `Content-Type`, of a body that is not compressed. Its parameters are ignored.
pub fn require_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        require_plain(headers)
    } else {
        Err(EdgeError::UnsupportedMediaType(wanted).into())
    }
}

/// How long receiving a body may take.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Reads a body of at most `limit` bytes. It takes room in this process until the last part of it is dropped
/// ([`deputize_core::in_flight`]).
pub async fn read_body(request: HttpRequest, limit: usize) -> Result<Bytes, ApiError> {
    read_body_or_see(request, limit, limit, |_| {}).await
}

/// The same. Of a body that is longer, `see` is shown all parts in their order, and nothing is kept. A body of more than
/// `most` bytes is not read to its end.
pub async fn read_body_or_see(
    request: HttpRequest,
    limit: usize,
    most: usize,
    mut see: impl FnMut(&[u8]),
) -> Result<Bytes, ApiError> {
    let known = request.extensions().get::<audit::RequestContext>();
    let in_flight = known.ok_or_else(|| Error::internal("a route outside the edge"))?.in_flight.clone();
    let mut body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    in_time(async {
        if announced <= limit && !in_flight.has_room_for(announced) {
            return Err(refuse_busy(&mut body, most).await);
        }
        let (mut kept, mut room, mut length) = (BytesMut::new(), in_flight.of_one_body(), 0_usize);
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Error::Invalid(Told::new("The body broke off").because(error)))?;
            let Ok(part) = frame.into_data() else { continue };
            length = length.saturating_add(part.len());
            if length <= limit {
                if room.grow(part.len()).is_err() {
                    drop((kept, room));
                    return Err(refuse_busy(&mut body, most).await);
                }
                if length == announced && part.len() == length {
                    return Ok(room.filled_by(part));
                }
                if kept.is_empty() {
                    // All of it at once, so that it is not moved as it grows.
                    kept.reserve(announced.min(limit));
                }
                kept.extend_from_slice(&part);
                continue;
            }
            if length > most {
                break;
            }
            see(&std::mem::take(&mut kept));
            room = in_flight.of_one_body();
            see(&part);
        }
        if length > limit { Err(EdgeError::TooLarge(limit).into()) } else { Ok(room.filled_by(kept)) }
    })
    .await
}

/// The refusal of a body for which there is no room. It is read to its end and dropped, since a client that is still
/// sending when the connection closes does not get its answer (RFC 9112 section 9.6).
async fn refuse_busy(body: &mut axum::body::Body, most: usize) -> ApiError {
    let mut dropped = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        dropped = dropped.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if dropped > most {
            break;
        }
    }
    EdgeError::Busy.into()
}

async fn in_time<T>(reading: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let read = tokio::time::timeout(BODY_WITHIN, reading).await;
    read.unwrap_or_else(|_| Err(EdgeError::TooSlow(BODY_WITHIN).into()))
}

/// Refuses a compressed body (RFC 9110 section 15.5.16). What it becomes would have to be bounded as well, and no
/// client needs it.
fn require_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let plain = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        Ok(())
    } else {
        Err(EdgeError::Compressed.into())
    }
}

/// A form body (`application/x-www-form-urlencoded`). RFC 6749 section 3.2: no parameter occurs twice, except
/// those that other RFCs allow to be repeated. A parameter without a value counts as left out.
#[derive(Debug)]
pub struct Form(HashMap<String, Vec<zeroize::Zeroizing<String>>>);

/// RFC 8707 section 2, RFC 8693 section 2.1.
const REPEATABLE: [&str; 2] = [parameter::RESOURCE, parameter::AUDIENCE];

impl Form {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a repeatable parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(|value| value.as_str())
    }

    /// What follows this beginning in the names of the parameters that have it, sorted.
    pub fn named(&self, beginning: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().filter_map(|name| name.strip_prefix(beginning)).collect();
        names.sort_unstable();
        names
    }
}

/// Form bodies have the error codes of the token endpoint: a repeated parameter is `invalid_request`.
impl<S: Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, _: &S) -> Result<Self, ApiError> {
        require_type(request.headers(), "application/x-www-form-urlencoded")?;
        let body = read_body(request, MAX_BODY).await?;
        let mut fields = HashMap::<String, Vec<_>>::new();
        for (name, value) in form_urlencoded::parse(&body) {
            let value = zeroize::Zeroizing::new(value.into_owned());
            if value.is_empty() {
                continue;
            }
            let name: String = name.chars().take(100).collect();
            if fields.contains_key(&name) && !REPEATABLE.contains(&&*name) {
                let why = format!("The parameter {name} occurs twice");
                return Err(deputize_core::TokenError::invalid_request(why).into());
            }
            fields.entry(name).or_default().push(value);
        }
        Ok(Self(fields))
    }
}

/// The query string. The error for a wrong type names the parameter. Unknown parameters are refused earlier,
/// by [`crate::handlers!`], since several extractors read the same query.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut seen = HashSet::new();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(name) = seen.replace(name) {
                return Err(Error::invalid(format!("The parameter {name} occurs twice")).into());
            }
        }
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                // The source names the parameter. The rejection's own text adds axum's name for it.
                let why = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
                let why = match why.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
                    Some((parameter, why)) => wording::of_value(parameter, why),
                    None => wording::of_value(".", &why).replace("the body ", "the query "),
                };
                Err(Error::Invalid(Told::new(why).because(rejection)).into())
            }
        }
    }
}

/// Path parameters. A value that does not parse names no existing thing: 404.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => {
                Err(Error::NotFound("thing: the id in the path is malformed").into())
            }
            Err(rejection) => {
                Err(Error::internal(because("a route without its path parameters", rejection)).into())
            }
        }
    }
}

/// `limit` and `cursor` of a list.
#[derive(Clone, Debug)]
pub struct Paging(pub PageRequest);

/// The query parameters of [`Paging`], for the API description.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PagingParams {
    /// The most items on a page, 1 to 1,000. 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where to continue: from the `Link` header of the previous page.
    #[param(format = "cursor")]
    cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::<PagingParams>::from_request_parts(parts, state).await?;
        Ok(Self(PageRequest::new(params.limit, params.cursor.as_deref())?))
    }
}

/// JSON as an answer.
impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "object")]
            inner: Option<Inner>,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Inner {
            name: String,
        }
        let parse = |body: &str| parse_json::<Body>(body.as_bytes()).map_err(|error| error.to_string());
        let inner = Some(Inner { name: "a".to_owned() });
        assert_eq!(parse(r#"{"inner":{"name":"a"}}"#), Ok(Body { inner }));
        for absent in ["{}", r#"{"inner":null}"#] {
            assert_eq!(parse(absent), Ok(Body { inner: None }));
        }
        assert_eq!(parse(" [null]"), Err("the body must be an object, not an array".to_owned()));
        let refusal = parse(r#"{"inner":["a"]}"#).unwrap_err();
        assert_eq!(refusal, "inner: must be an object or null, not an array");
        let refusal = parse(r#"{"inner":{"name":1}}"#).unwrap_err();
        assert_eq!(refusal, "inner.name: must be a string, not a number");
    }

    /// A request whose body is these parts, in a process with room for 10 bytes.
    fn request(parts: impl futures::Stream<Item = &'static str> + Send + 'static) -> HttpRequest {
        let parts = futures::StreamExt::map(parts, Ok::<_, std::convert::Infallible>);
        let mut request = HttpRequest::new(axum::body::Body::from_stream(parts));
        let in_flight = deputize_core::in_flight::InFlight::at_most(10);
        request.extensions_mut().insert(audit::RequestContext { in_flight, ..Default::default() });
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_a_408_after_its_time_and_the_connection_ends_with_it() {
        let drip = || {
            futures::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(9)).await;
                Some((" ", ()))
            })
        };
        let begun = tokio::time::Instant::now();
        let late = read_body(request(drip()), 100).await.unwrap_err();
        assert_eq!(begun.elapsed(), BODY_WITHIN);
        assert_eq!(late.to_string(), "The body took longer than 30s; nothing was done");
        assert_eq!(late.reason(), deputize_api::reason::Reason::BodyTooSlow);
        let answer = late.into_response();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["connection"]),
            (408, &"close".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_takes_the_room_of_what_has_come() {
        let whole = request(futures::stream::iter(["12345", "67890"]));
        let in_flight = whole.extensions().get::<audit::RequestContext>().unwrap().in_flight.clone();
        let body = read_body(whole, 100).await.unwrap();
        assert_eq!((&*body, in_flight.taken()), (&b"1234567890"[..], 10));
        drop(body);
        assert_eq!(in_flight.taken(), 0);

        // The rest is read too, and not kept: a client that cannot send it gets no answer.
        let parts = ["12345", "67890", "1", "23", "45"].into_iter();
        let last = std::sync::Arc::new(std::sync::atomic::AtomicBool::default());
        let is_last = std::sync::Arc::clone(&last);
        let parts =
            parts.inspect(move |part| is_last.store(*part == "45", std::sync::atomic::Ordering::Relaxed));
        let larger = request(futures::stream::iter(parts));
        let in_flight = larger.extensions().get::<audit::RequestContext>().unwrap().in_flight.clone();
        let refusal = read_body(larger, 100).await.unwrap_err();
        assert!(matches!(refusal, ApiError::Edge(EdgeError::Busy)), "{refusal}");
        assert_eq!(in_flight.taken(), 0);
        assert!(last.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[derive(Debug, Deserialize)]
    struct Filter {
        server_id: Option<String>,
        agent_account_id: Option<uuid::Uuid>,
    }

    async fn query<T: DeserializeOwned>(query: &str) -> Result<T, String> {
        let request = HttpRequest::get(format!("/list?{query}")).body(axum::body::Body::empty()).unwrap();
        let mut parts = request.into_parts().0;
        let parsed = Query::<T>::from_request_parts(&mut parts, &()).await;
        parsed.map(|Query(value)| value).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_query_fills_its_optional_parameters_and_leaves_others_to_others() {
        let filter: Filter = query("server_id=demo%2Doauth&limit=1").await.unwrap();
        assert_eq!(filter.server_id.as_deref(), Some("demo-oauth"));
        assert_eq!(filter.agent_account_id, None);
        assert!(query::<Filter>("").await.unwrap().server_id.is_none());
    }

    #[tokio::test]
    async fn a_wrong_query_names_its_parameter() {
        let refusal = query::<Filter>("agent_account_id=1").await.unwrap_err();
        assert_eq!(refusal, "agent_account_id: must be a UUID");
        let refusal = query::<PagingParams>("limit=many").await.unwrap_err();
        assert_eq!(refusal, "limit: must be a whole number, 0 or more");
    }

    #[tokio::test]
    async fn a_repeated_query_parameter_is_refused() {
        let refusal = query::<Filter>("server_id=a&server_id=b").await.unwrap_err();
        assert_eq!(refusal, "The parameter server_id occurs twice");
    }
}
