//! Sending a request, and what to do if there is no answer. JavaScript sends it and reads the answer
//! (`npm/send.js`), since `fetch` can be the application's own; here is what the answer means.
//!
//! No answer can lead credentials to another place. Redirects are not followed. Of a `Link` only the query is used. An
//! id is one segment of a path, whatever it holds. `http://` is for loopback and private networks only. Answers end at
//! 16 MiB.

use deputize_api::error::ErrorBody;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;
use zeroize::Zeroizing;

use crate::{
    bodies::{Body, set},
    environment::{jitter, now, parse_date, sleep, timeout},
    failure::{Refusal, failure, malformed},
    policy::{self, Failed, Repeat},
};

/// The time limit of a token request, in milliseconds. Several callers may wait for the same request.
const TOKEN_WITHIN: f64 = 30_000.0;

#[wasm_bindgen]
extern "C" {
    /// A call's bounds, which JavaScript keeps (`npm/within.js`).
    pub type Call;

    #[wasm_bindgen(method, getter)]
    fn signal(this: &Call) -> AbortSignal;

    /// When the call ends, in milliseconds since the Unix epoch.
    #[wasm_bindgen(method, getter)]
    fn until(this: &Call) -> f64;

    /// The most repetitions.
    #[wasm_bindgen(method, getter)]
    fn retries(this: &Call) -> u32;

    /// Whether the call was sent, and may have been carried out. JavaScript says so when it sends it.
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_sent(this: &Call, sent: bool);
}

/// How long, and how often, something is tried.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub signal: AbortSignal,
    /// In milliseconds since the Unix epoch.
    pub until: f64,
    pub retries: u32,
}

impl Bounds {
    pub(crate) fn of(call: &Call) -> Self {
        Self { signal: call.signal(), until: call.until(), retries: call.retries() }
    }

    /// Those of the token request that a call needs. It does not end with the call, since others may wait for it too,
    /// but it is not repeated beyond the call's end.
    pub(crate) fn of_token(&self) -> Result<Self, JsValue> {
        let until = self.until.min(now() + TOKEN_WITHIN);
        Ok(Self { signal: timeout(TOKEN_WITHIN)?, until, retries: self.retries })
    }
}

/// The credential that a request sends.
pub(crate) enum Authorization {
    Bearer(Zeroizing<String>),
    ApiKey(Zeroizing<String>),
}

impl Authorization {
    pub(crate) fn token(&self) -> Option<&Zeroizing<String>> {
        match self {
            Self::Bearer(token) => Some(token),
            Self::ApiKey(_) => None,
        }
    }
}

pub(crate) enum Content {
    None,
    Json(JsValue),
    Form(Object),
}

/// A request, which may be sent several times.
pub(crate) struct Request {
    pub method: &'static str,
    pub url: String,
    pub content: Content,
    /// Headers in addition, an object; `undefined` for none.
    pub headers: JsValue,
    /// Whether a good answer's body is left to be read as it comes.
    pub is_stream: bool,
}

/// An answer.
pub(crate) struct Answer {
    /// The parsed body, or the `Response` if it was to be left; `undefined` if there is none.
    pub body: JsValue,
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

    fn failed(&self) -> Option<Failed<'_>> {
        Some(match self {
            Self::Final(_) => return None,
            Self::NoAnswer(_) => Failed::NoAnswer,
            Self::Refused(refusal) => Failed::Answered {
                status: refusal.status,
                error: refusal.error(),
                safe_to_retry: refusal.body.as_ref().and_then(|body| body.safe_to_retry),
                retry_after: refusal.retry_after,
            },
        })
    }

    /// Whether no part of the request was done, as its answer says.
    pub(crate) fn is_undone(&self) -> bool {
        self.is_token_refused()
            || self.failed().is_some_and(|failed| policy::may_repeat(Repeat::OnlyIfUndone, failed))
    }

    fn wait(&self, repeat: Repeat, sent: u32, bounds: &Bounds) -> Option<f64> {
        let wait = policy::wait(repeat, self.failed()?, sent, bounds.retries, jitter())?;
        // What the service asks for comes too late for this call, which is told so at once.
        (now() + wait * 1000.0 < bounds.until).then_some(wait)
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
    bounds: &Bounds,
    mut send: impl AsyncFnMut() -> Result<Answer, ExchangeError>,
) -> Result<Answer, JsValue> {
    let signal = &bounds.signal;
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
        match trouble.wait(repeat, times, bounds) {
            Some(seconds) if !signal.aborted() => sleep(seconds * 1000.0).await,
            _ => return Err(trouble.into_error(repeat)),
        }
    }
}

impl Request {
    /// Sends it once, by the client's function for that. A token request is no part of a `call`.
    pub(crate) async fn send(
        &self,
        sender: &Function,
        authorization: Option<&Authorization>,
        signal: &AbortSignal,
        call: Option<&Call>,
    ) -> Result<Answer, ExchangeError> {
        if signal.aborted() {
            return Err(ExchangeError::Final(signal.reason()));
        }
        let request = Object::new();
        set(&request, "method", self.method);
        set(&request, "url", self.url.as_str());
        set(&request, "signal", signal);
        set(&request, "headers", &self.headers);
        set(&request, "isStream", self.is_stream);
        set(&request, "call", call);
        match authorization {
            Some(Authorization::Bearer(token)) => set(&request, "token", token.as_str()),
            Some(Authorization::ApiKey(key)) => set(&request, "apiKey", key.as_str()),
            None => {}
        }
        match &self.content {
            Content::None => {}
            Content::Json(text) => set(&request, "json", text),
            Content::Form(form) => set(&request, "form", form),
        }
        let answer = async {
            let answer = sender.call1(&JsValue::UNDEFINED, &request)?;
            JsFuture::from(Promise::resolve(&answer)).await
        };
        Answer::told(&answer.await.map_err(ExchangeError::NoAnswer)?)
    }
}

impl Answer {
    /// From what `npm/send.js` says of it.
    fn told(answer: &JsValue) -> Result<Self, ExchangeError> {
        let value = |name: &str| Reflect::get(answer, &name.into()).unwrap_or_default();
        let text = |name: &str| value(name).as_string();
        let failure = value("failure");
        if !failure.is_undefined() {
            return Err(ExchangeError::Final(failure));
        }
        let status = status(&value("status"));
        if (200..300).contains(&status) {
            return Ok(Self { body: value("body"), link: text("link") });
        }
        Err(ExchangeError::Refused(Box::new(Refusal {
            status,
            request_id: text("requestId"),
            retry_after: text("retryAfter")
                .and_then(|header| policy::retry_after(&header, now(), parse_date)),
            challenge: text("challenge"),
            body: ErrorBody::read(&value("body")).ok(),
            said: text("said"),
        })))
    }
}

/// A number that is a status.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
pub(crate) fn status(value: &JsValue) -> u16 {
    value.as_f64().unwrap_or_default() as u16
}
