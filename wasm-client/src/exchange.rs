//! Sending a request: one that leads nowhere else, an answer that is bounded, and what to do if there is none.
//!
//! No answer can lead credentials to another place. Redirects are not followed. Of a `Link` only the query is used. An
//! id is one segment of a path, whatever it holds. `http://` is for loopback only. Answers end at 16 MiB.

use deputize_api::{API_KEY_HEADER, REQUEST_ID_HEADER, error::ErrorBody};
use gloo_net::http::{Method, RequestBuilder, Response};
use js_sys::{ArrayBuffer, JSON, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStreamDefaultReader, RequestRedirect, ResponseType, UrlSearchParams};
use zeroize::Zeroizing;

use crate::{
    bodies::Body,
    environment::{jitter, now, parse_date, sleep},
    failure::{Refusal, failure, malformed},
    policy::{self, Failed, Repeat},
};

/// The longest answer in bytes. The service passes on at most 8 MiB from an MCP server.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The longest error that is read, in bytes.
const MAX_ERROR: usize = 256 * 1024;
/// The challenge of a 401, by its own name and by API Gateway's name for it (API Gateway Developer Guide,
/// "Amazon API Gateway important notes"), which stays unless something in front of it restores the own name.
const CHALLENGES: [&str; 2] = ["www-authenticate", "x-amzn-remapped-www-authenticate"];

const FORM: &str = "application/x-www-form-urlencoded";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn fetch(request: &web_sys::Request) -> Promise;
}

/// The credential that a request sends.
pub(crate) enum Authorization {
    Bearer(Zeroizing<String>),
    ApiKey(Zeroizing<String>),
}

impl Authorization {
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) => Some(token),
            Self::ApiKey(_) => None,
        }
    }
}

pub(crate) enum Content {
    None,
    Json(JsValue),
    Form(UrlSearchParams),
}

/// A request, which may be sent several times.
pub(crate) struct Request {
    pub method: Method,
    pub url: String,
    pub content: Content,
}

/// A parsed body; `undefined` if there is none.
pub(crate) struct Answer {
    body: JsValue,
    /// The `Link` header.
    pub link: Option<String>,
}

impl Answer {
    pub(crate) fn read<T: Body>(self) -> Result<T, JsValue> {
        T::read(&self.body).map_err(|field| {
            malformed(&format!(
                "The answer is not what it should be: its {field} is missing, or of another type"
            ))
        })
    }

    /// The body, unchanged.
    pub(crate) fn body(self) -> JsValue {
        self.body
    }
}

/// Why there is no answer.
pub(crate) enum ExchangeError {
    /// It is not known whether the request arrived.
    NoAnswer(JsValue),
    Refused(Box<Refusal>),
    /// Sending it again would change nothing.
    Final(JsValue),
}

impl From<JsValue> for ExchangeError {
    fn from(error: JsValue) -> Self {
        Self::Final(error)
    }
}

impl ExchangeError {
    pub(crate) fn is_token_refused(&self) -> bool {
        matches!(self, Self::Refused(refusal) if policy::is_token_refused(refusal.status, refusal.error()))
    }

    pub(crate) fn is_subject_refused(&self) -> bool {
        matches!(self, Self::Refused(refusal) if policy::is_subject_refused(refusal.reason()))
    }

    fn wait(&self, repeat: Repeat, sent: u32) -> Option<f64> {
        let failed = match self {
            Self::Final(_) => return None,
            Self::NoAnswer(_) => Failed::NoAnswer,
            Self::Refused(refusal) => Failed::Answered {
                status: refusal.status,
                error: refusal.error(),
                safe_to_retry: refusal.body.as_ref().and_then(|body| body.safe_to_retry),
                retry_after: refusal.retry_after,
            },
        };
        policy::wait(repeat, failed, sent, jitter())
    }

    fn into_error(self, repeat: Repeat) -> JsValue {
        match self {
            Self::Final(error) => error,
            Self::Refused(refusal) => refusal.into_error(),
            Self::NoAnswer(cause) => {
                let detail = match repeat {
                    Repeat::Harmless => "The service could not be reached, or its answer broke off",
                    Repeat::OnlyIfUndone => {
                        "The service could not be reached, or its answer broke off: the request may have been carried out"
                    }
                };
                let hint =
                    "Check url and the network; a web page's origin must be one that the service allows";
                failure("network_error", detail, hint, Some(cause))
            }
        }
    }
}

/// Sends until there is an answer, or until another attempt is pointless. Sends nothing after the signal.
pub(crate) async fn repeatedly(
    repeat: Repeat,
    signal: &AbortSignal,
    mut send: impl AsyncFnMut() -> Result<Answer, ExchangeError>,
) -> Result<Answer, JsValue> {
    let mut times = 0;
    loop {
        if signal.aborted() {
            return Err(signal.reason());
        }
        let trouble = match send().await {
            Ok(answer) => return Ok(answer),
            Err(trouble) => trouble,
        };
        times += 1;
        match trouble.wait(repeat, times) {
            Some(seconds) if !signal.aborted() => sleep(seconds * 1000.0).await,
            _ => return Err(trouble.into_error(repeat)),
        }
    }
}

impl Request {
    /// Sends it once.
    pub(crate) async fn send(
        &self,
        authorization: Option<&Authorization>,
        signal: &AbortSignal,
    ) -> Result<Answer, ExchangeError> {
        if signal.aborted() {
            return Err(ExchangeError::Final(signal.reason()));
        }
        let request = self.build(authorization, signal).map_err(|error| {
            let why = "The request cannot be made: a credential holds characters that no header can";
            failure("invalid_request", why, "Check the credentials", Some(JsError::from(error).into()))
        })?;
        let response = JsFuture::from(fetch(&request.into())).await.map_err(ExchangeError::NoAnswer)?;
        let source = response.clone().unchecked_into::<Source>();
        let response = Response::from(response.unchecked_into::<web_sys::Response>());
        let status = response.status();
        if response.type_() == ResponseType::Opaqueredirect || (300..400).contains(&status) {
            let hint = "Give the address that it redirects to as url, if it is the service's";
            return Err(
                failure("redirected", "The service redirects, which is not followed", hint, None).into()
            );
        }
        let headers = response.headers();
        if response.ok() {
            let body = match read(&source, MAX_ANSWER).await? {
                Some(body) if body.is_empty() => JsValue::UNDEFINED,
                Some(body) => parse(&body).ok_or_else(|| malformed("The answer is no JSON"))?,
                None => return Err(malformed("The answer is larger than 16 MiB").into()),
            };
            return Ok(Answer { body, link: headers.get("link") });
        }
        // If the body of an error breaks off, its status still counts.
        let body = read(&source, MAX_ERROR).await.ok().flatten();
        let body = body.and_then(|body| ErrorBody::read(&parse(&body)?).ok());
        let retry_after = headers.get("retry-after");
        Err(ExchangeError::Refused(Box::new(Refusal {
            status,
            request_id: headers.get(REQUEST_ID_HEADER),
            retry_after: retry_after.and_then(|header| policy::retry_after(&header, now(), parse_date)),
            challenge: CHALLENGES.iter().find_map(|name| headers.get(name)),
            body,
        })))
    }

    fn build(
        &self,
        authorization: Option<&Authorization>,
        signal: &AbortSignal,
    ) -> Result<gloo_net::http::Request, gloo_net::Error> {
        // A redirect would take credentials to another address. Not every runtime knows `error`; all know
        // `manual`.
        let mut builder = RequestBuilder::new(&self.url)
            .method(self.method.clone())
            .redirect(RequestRedirect::Manual)
            .abort_signal(Some(signal))
            .header("accept", "application/json");
        match authorization {
            Some(Authorization::Bearer(token)) => {
                let value = Zeroizing::new(format!("Bearer {}", token.as_str()));
                builder = builder.header("authorization", &value);
            }
            Some(Authorization::ApiKey(key)) => builder = builder.header(API_KEY_HEADER, key),
            None => {}
        }
        match &self.content {
            Content::None => builder.build(),
            Content::Json(text) => builder.header("content-type", "application/json").body(text.clone()),
            // As a text, with its type: to the `Request` of one realm, the form of another is any object.
            Content::Form(form) => {
                builder.header("content-type", FORM).body(JsValue::from(String::from(form.to_string())))
            }
        }
    }
}

fn parse(body: &[u8]) -> Option<JsValue> {
    JSON::parse(std::str::from_utf8(body).ok()?).ok()
}

/// Of a response's body. By their names and not by their classes: frames, workers, test environments and polyfills of
/// `fetch` have classes of their own.
#[wasm_bindgen]
extern "C" {
    type Source;

    #[wasm_bindgen(method, getter)]
    fn body(this: &Source) -> JsValue;

    #[wasm_bindgen(method, getter, js_name = getReader)]
    fn reader_function(this: &Source) -> JsValue;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn reader(this: &Source) -> Result<ReadableStreamDefaultReader, JsValue>;

    #[wasm_bindgen(method, catch, js_name = arrayBuffer)]
    fn array_buffer(this: &Source) -> Result<Promise, JsValue>;
}

/// The body. `None` if it is longer than `limit`. Its stated length is not trusted.
async fn read(response: &Source, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, ExchangeError> {
    let mut body = Zeroizing::new(Vec::new());
    let stream = response.body();
    if stream.is_null() {
        return Ok(Some(body));
    }
    let stream: Source = stream.unchecked_into();
    if stream.is_undefined() || !stream.reader_function().is_function() {
        // A `fetch` without streams, such as React Native's.
        let whole = response.array_buffer().map_err(ExchangeError::NoAnswer)?;
        let whole = JsFuture::from(whole).await.map_err(ExchangeError::NoAnswer)?;
        return Ok(append(&mut body, &Uint8Array::new(&whole), limit).then_some(body));
    }
    let reader = stream.reader().map_err(ExchangeError::NoAnswer)?;
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(ExchangeError::NoAnswer)?;
        if Reflect::get(&chunk, &"done".into())?.is_truthy() {
            return Ok(Some(body));
        }
        let view = Reflect::get(&chunk, &"value".into())?;
        if !ArrayBuffer::is_view(&view) {
            let _ = reader.cancel();
            return Err(malformed("The answer's body is not made of bytes").into());
        }
        // Another kind of view has these three too.
        let view: Uint8Array = view.unchecked_into();
        let (begin, length) = (view.byte_offset(), view.byte_length());
        let bytes = Uint8Array::new_with_byte_offset_and_length(&view.buffer(), begin, length);
        if !append(&mut body, &bytes, limit) {
            let _ = reader.cancel();
            return Ok(None);
        }
    }
}

/// Whether it fits.
fn append(body: &mut Vec<u8>, bytes: &Uint8Array, limit: usize) -> bool {
    let (begin, length) = (body.len(), bytes.length() as usize);
    if length > limit - begin {
        return false;
    }
    body.resize(begin + length, 0);
    bytes.copy_to(body.get_mut(begin..).unwrap_or_default());
    true
}
