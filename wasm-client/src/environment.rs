//! The clock, timers and randomness of the JavaScript around us, by the names of its globals, so that a test can
//! replace them.

use js_sys::{Array, Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;

    #[wasm_bindgen(js_namespace = Date, js_name = parse)]
    fn date_parse(text: &str) -> f64;

    fn btoa(latin1: &str) -> String;

    #[wasm_bindgen(catch)]
    fn atob(base64: &str) -> Result<String, JsValue>;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(run: &Function, millis: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);

    /// A signal that ends something after this many milliseconds.
    #[wasm_bindgen(catch, js_namespace = AbortSignal)]
    pub(crate) fn timeout(millis: f64) -> Result<AbortSignal, JsValue>;

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &js_sys::Uint8Array) -> Result<JsValue, JsValue>;
}

/// Milliseconds since the Unix epoch. The runtime has no other clock.
pub(crate) fn now() -> f64 {
    date_now()
}

/// An HTTP date in milliseconds since the Unix epoch. `None` if it is not a date.
pub(crate) fn parse_date(text: &str) -> Option<f64> {
    Some(date_parse(text)).filter(|time| time.is_finite())
}

pub(crate) async fn sleep(millis: f64) {
    wait_for(None, millis).await;
}

/// Waits until `done` has ended, in whatever way, but not longer than this.
pub(crate) async fn wait_for(done: Option<&Promise>, millis: f64) {
    let mut timer = JsValue::UNDEFINED;
    let late = Promise::new(&mut |resolve, _| timer = set_timeout(&resolve, millis));
    let ended = match done {
        Some(done) => Promise::race(&Array::of2(done, &late)),
        None => late,
    };
    let _ = JsFuture::from(ended).await;
    // Node would wait for it before it exits.
    clear_timeout(&timer);
}

/// Without padding (RFC 7515 section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let latin1: String = bytes.iter().copied().map(char::from).collect();
    let mut text = btoa(&latin1).replace('+', "-").replace('/', "_");
    text.truncate(text.trim_end_matches('=').len());
    text
}

/// One character for each byte.
pub(crate) fn from_base64url(text: &str) -> Option<String> {
    atob(&text.replace('-', "+").replace('_', "/")).ok()
}

/// From 0 to 1, to spread repetitions. Not for secrets.
pub(crate) fn jitter() -> f64 {
    js_sys::Math::random()
}

/// Random bytes for secrets.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], JsValue> {
    let array = js_sys::Uint8Array::new_with_length(u32::try_from(N).unwrap_or_default());
    get_random_values(&array)?;
    let mut bytes = [0; N];
    array.copy_to(&mut bytes);
    Ok(bytes)
}
