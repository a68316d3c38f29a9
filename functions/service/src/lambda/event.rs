//! Lambda's events as requests, and answers in the format that fits the event: for API Gateway's REST APIs (payload
//! version 1.0), and for its HTTP APIs and function URLs (2.0)
//! ([payload format versions](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html#http-api-develop-integrations-lambda.proxy-format)).
//!
//! Depending on how the gateway was reached, a path begins with a stage or base path, or does not. This beginning is
//! removed only if one of our own paths follows it.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use deputize_api::path;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{COOKIE, SET_COOKIE},
};
use lambda_http::{
    aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpResponse},
    lambda_runtime::MetadataPrelude,
};
use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{config::CallerAddress, edge::SourceIp};

/// The format of an event and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    V1,
    V2,
}

impl Shape {
    /// The format of any event. If the event has neither format, the answer has the format of REST APIs.
    pub(super) fn of(event: &RawValue) -> Self {
        let event: Value = serde_json::from_str(event.get()).unwrap_or_default();
        let is_v2 = event["version"] == "2.0" || event["requestContext"]["http"].is_object();
        if is_v2 { Self::V2 } else { Self::V1 }
    }
}

/// The parts of an event that are read. Each may be missing or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    http_method: Option<String>,
    path: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    multi_value_headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Option<Vec<String>>>>,
    cookies: Option<Vec<String>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: Option<RequestContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    stage: Option<String>,
    http: Option<Http>,
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: Option<String>,
    path: Option<String>,
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
    /// The key that the gateway asked for, and got (API Gateway Developer Guide, "Input format of a Lambda function for
    /// proxy integration").
    api_key: Option<String>,
}

/// The request in an event, or why there is none. `base` is the path of the service's address, if it has one. `caller`
/// says where the caller's address is read from.
pub(super) fn request(
    event: &RawValue,
    shape: Shape,
    base: &str,
    caller: CallerAddress,
) -> Result<Request<Body>, &'static str> {
    let event: Event = serde_json::from_str(event.get()).map_err(|_| "The event is none of HTTP")?;
    let context = event.request_context;
    let stage = context.as_ref().and_then(|context| context.stage.as_deref()).unwrap_or_default().to_owned();
    let mut gateways_key = None;
    let (method, path, query, ip) = match shape {
        Shape::V1 => {
            let identity = context.and_then(|context| context.identity);
            let ip = identity.and_then(|identity| {
                gateways_key = identity.api_key;
                identity.source_ip
            });
            let many = event.multi_value_query_string_parameters.unwrap_or_default();
            let query = query(&many, &event.query_string_parameters.unwrap_or_default());
            (event.http_method, event.path, query, ip)
        }
        Shape::V2 => {
            let http = context.and_then(|context| context.http);
            let (method, path, ip) =
                http.map_or((None, None, None), |http| (http.method, http.path, http.source_ip));
            (method, event.raw_path.or(path), event.raw_query_string.unwrap_or_default(), ip)
        }
    };
    let method = method.ok_or("The event has no method")?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| "The event's method is none")?;
    // An absolute URL would name another host, and `*` has no path.
    let path = path.filter(|path| path.starts_with('/')).ok_or("The event has no path")?;
    let mut target = encoded(within(&path, &stage, base));
    if !query.is_empty() {
        target.push('?');
        target.push_str(&encoded(&query));
    }
    let uri: Uri = target.parse().map_err(|_| "The event's path is none")?;
    let mut headers =
        headers(event.multi_value_headers.unwrap_or_default(), event.headers.unwrap_or_default())?;
    if gateways_key.is_some_and(|key| headers.get(GATEWAYS_KEY).is_some_and(|sent| *sent == *key)) {
        headers.remove(GATEWAYS_KEY);
    }
    if let Some(cookies) = event.cookies.filter(|cookies| !cookies.is_empty()) {
        let cookies =
            HeaderValue::try_from(cookies.join("; ")).map_err(|_| "The event's cookies are none")?;
        headers.insert(COOKIE, cookies);
    }
    let body = match event.body {
        Some(text) if event.is_base64_encoded == Some(true) => {
            BASE64_STANDARD.decode(text).map_err(|_| "The event's body is no base64")?.into()
        }
        text => Bytes::from(text.unwrap_or_default()),
    };
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let ip = match caller {
        CallerAddress::Gateway => ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
        CallerAddress::CloudFront => viewer_address(request.headers()),
    };
    if let Some(ip) = ip {
        request.extensions_mut().insert(SourceIp(ip));
    }
    Ok(request)
}

/// Where API Gateway looks for its own key, which is no caller's and goes no further (API Gateway Developer Guide,
/// "Choose an API key source"). `CloudFront` puts it there, in place of what the caller sent.
const GATEWAYS_KEY: &str = "x-api-key";

/// `198.51.100.10:46532`, or `2001:db8::1:46532`: an address, and a port after the last colon (CloudFront Developer
/// Guide, "Add CloudFront request headers").
fn viewer_address(headers: &HeaderMap) -> Option<IpAddr> {
    let (address, _port) = headers.get("cloudfront-viewer-address")?.to_str().ok()?.rsplit_once(':')?;
    address.trim_matches(['[', ']']).parse().ok()
}

/// The beginnings of our paths.
const ROOTS: [&str; 4] = ["/api/", path::WELL_KNOWN, path::HEALTH, path::OPENAPI];

/// The path below the service's address. An event's path may contain a stage or a custom domain's base path.
/// That depends on the kind of API, its domain, and the URL that was used. So a prefix is removed only if the
/// rest is one of our paths.
fn within<'a>(path: &'a str, stage: &str, base: &str) -> &'a str {
    let below = |prefix: &str| {
        let prefix = prefix.trim_matches('/');
        let rest = path.strip_prefix('/')?.strip_prefix(prefix)?;
        (!prefix.is_empty() && ROOTS.iter().any(|root| rest.starts_with(root))).then_some(rest)
    };
    below(base).or_else(|| below(stage)).unwrap_or(path)
}

/// Some gateways decode paths. Characters that a path cannot contain are encoded again. Percent signs stay,
/// so that an encoded path is not encoded twice.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_graphic()
            && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#');
        if plain {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// REST APIs give the query decoded, in two maps: the last value of each name, and all values.
fn query(many: &BTreeMap<String, Option<Vec<String>>>, one: &BTreeMap<String, Option<String>>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in one {
        if !many.contains_key(name) {
            query.append_pair(name, value.as_deref().unwrap_or_default());
        }
    }
    for (name, values) in many {
        for value in values.iter().flatten() {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn headers(
    many: BTreeMap<String, Option<Vec<String>>>,
    one: BTreeMap<String, Option<String>>,
) -> Result<HeaderMap, &'static str> {
    let wrong = "A header of the event is none";
    let mut headers = HeaderMap::new();
    for (name, values) in many {
        let name = HeaderName::try_from(name).map_err(|_| wrong)?;
        for value in values.unwrap_or_default() {
            headers.append(&name, HeaderValue::try_from(value).map_err(|_| wrong)?);
        }
    }
    // A header that is only here came once. It is added unchanged.
    let known: Vec<HeaderName> = headers.keys().cloned().collect();
    for (name, value) in one {
        let name = HeaderName::try_from(name).map_err(|_| wrong)?;
        if let Some(value) = value.filter(|_| !known.contains(&name)) {
            headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong)?);
        }
    }
    Ok(headers)
}

/// The largest buffered answer of an invocation that Lambda accepts, in bytes, including the JSON around the
/// body
/// ([quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)).
pub(super) const MAX_ANSWER: usize = 6 * 1024 * 1024;

/// A complete answer. `None` if it is too large.
pub(super) fn answer(
    shape: Shape,
    status: StatusCode,
    headers: HeaderMap,
    body: &[u8],
) -> Option<Box<RawValue>> {
    let status_code = i64::from(status.as_u16());
    let text = std::str::from_utf8(body).ok().map(str::to_owned);
    let is_base64_encoded = text.is_none();
    let body = text.unwrap_or_else(|| BASE64_STANDARD.encode(body));
    let body = (!body.is_empty()).then_some(lambda_http::Body::Text(body));
    let json = match shape {
        Shape::V1 => {
            let mut answer = ApiGatewayProxyResponse::default();
            // A header that is in both maps would be sent twice.
            (answer.headers, answer.multi_value_headers) = by_number(&headers);
            (answer.status_code, answer.body, answer.is_base64_encoded) =
                (status_code, body, is_base64_encoded);
            to_raw_value(&answer)
        }
        Shape::V2 => {
            let mut answer = ApiGatewayV2httpResponse::default();
            let (headers, cookies) = without_cookies(headers);
            (answer.headers, answer.cookies) = (headers, cookies);
            (answer.status_code, answer.body, answer.is_base64_encoded) =
                (status_code, body, is_base64_encoded);
            to_raw_value(&answer)
        }
    };
    json.ok().filter(|json| json.get().len() <= MAX_ANSWER)
}

/// The beginning of a streamed answer, the same for function URLs and REST APIs
/// ([response streaming](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html)).
pub(super) fn prelude(status: StatusCode, headers: HeaderMap) -> MetadataPrelude {
    let (headers, cookies) = without_cookies(headers);
    MetadataPrelude { status_code: status, headers, cookies }
}

/// Headers that occur once, and headers that occur several times.
fn by_number(headers: &HeaderMap) -> (HeaderMap, HeaderMap) {
    let (mut once, mut often) = (HeaderMap::new(), HeaderMap::new());
    for name in headers.keys() {
        let values = headers.get_all(name);
        let to = if values.iter().nth(1).is_none() { &mut once } else { &mut often };
        for value in values {
            to.append(name, value.clone());
        }
    }
    (once, often)
}

/// One value for each name, joined as RFC 9110 section 5.3 allows. Cookies cannot be joined and are separate.
fn without_cookies(mut headers: HeaderMap) -> (HeaderMap, Vec<String>) {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let cookies = headers.get_all(SET_COOKIE).iter().map(text).collect();
    headers.remove(SET_COOKIE);
    let mut joined = HeaderMap::with_capacity(headers.len());
    for name in headers.keys() {
        let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
        if let Ok(value) = HeaderValue::try_from(values.join(", ")) {
            joined.insert(name, value);
        }
    }
    (joined, cookies)
}
