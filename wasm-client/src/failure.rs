//! What is thrown: the fields of a `DeputizeError`, which JavaScript makes of them for each who waits, so that its
//! stack is theirs (`npm/error.js`).

use deputize_api::{error::ErrorBody, hint::hint};
use js_sys::{Array, Object};
use wasm_bindgen::JsValue;

use crate::bodies::set;

/// The field by which JavaScript recognizes these errors.
const MARK: &str = "isDeputizeError";

fn fields() -> Object {
    let fields = Object::new();
    set(&fields, MARK, true);
    fields
}

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    pub request_id: Option<String>,
    /// In seconds.
    pub retry_after: Option<f64>,
    /// How to get a token (RFC 9728 section 5.1).
    pub challenge: Option<String>,
    /// `None` if the body is not one of the service's errors.
    pub body: Option<ErrorBody>,
    /// What such a body says, for people.
    pub said: Option<String>,
}

impl Refusal {
    pub(crate) fn error(&self) -> &str {
        self.body.as_ref().map_or("", |body| &body.error)
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.body.as_ref()?.reason.as_deref()
    }

    pub(crate) fn into_error(self) -> JsValue {
        let fields = fields();
        set(&fields, "hint", hint(self.status, self.reason()));
        set(&fields, "status", self.status);
        set(&fields, "requestId", self.request_id);
        set(&fields, "retryAfter", self.retry_after);
        set(&fields, "challenge", self.challenge);
        let (error, detail) = match (&self.body, self.said) {
            (Some(body), _) => (&*body.error, body.detail.clone()),
            (None, Some(said)) => ("http_error", format!("HTTP {}: {said}", self.status)),
            (None, None) => {
                ("http_error", format!("HTTP {} with a body that is not the service's", self.status))
            }
        };
        set(&fields, "code", error);
        set(&fields, "detail", detail);
        if let Some(body) = self.body {
            set(&fields, "deniedFor", body.denied_for.as_deref());
            set(&fields, "reason", body.reason.as_deref());
            set(&fields, "explanation", body.explanation);
            set(&fields, "scope", body.scope);
            let policies = body.policies.map(|ids| ids.into_iter().map(JsValue::from).collect::<Array>());
            set(&fields, "policies", policies);
        }
        fields.into()
    }
}

/// An error in which the service had no part.
pub(crate) fn failure(code: &str, detail: &str, hint: &str, cause: Option<JsValue>) -> JsValue {
    let fields = fields();
    set(&fields, "code", code);
    set(&fields, "detail", detail);
    set(&fields, "hint", hint);
    set(&fields, "cause", cause);
    fields.into()
}

/// An answer that does not come from the service.
pub(crate) fn malformed(what: &str) -> JsValue {
    failure("malformed_answer", what, "Is url the address of a Deputize service?", None)
}
