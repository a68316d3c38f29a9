//! The token cache of an agent account, shared by the client and its clients on behalf of users: one token for each
//! whom it is for, one request for all who wait for it.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{Hash, Hasher},
    rc::Rc,
};

use deputize_api::token::TokenResponse;
use js_sys::{JSON, Promise, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use zeroize::Zeroizing;

use crate::{
    bodies::number,
    credentials::no_token,
    environment::{from_base64url, now},
};

/// A token is renewed in the last minute of its life, or in the last tenth of a life of less than ten minutes.
const RENEWED_BEFORE: f64 = 60_000.0;
/// How long a request of a token is waited for by those who come later, in milliseconds.
const PENDING_FOR: f64 = 30_000.0;
/// However long a token is said to live, in milliseconds.
const LONGEST_LIFE: f64 = 24.0 * 3_600_000.0;
/// Tokens in the cache. Those that end first make room.
const MAX_TOKENS: usize = 10_000;

pub(crate) struct Token {
    pub text: Zeroizing<String>,
    pub scope: Option<String>,
    /// In milliseconds since the Unix epoch, by the clock here; `None` if it does not say so.
    pub expires_at: Option<f64>,
    renew_at: f64,
}

impl Token {
    fn living(text: String, scope: Option<String>, from: f64, life: Option<f64>) -> Self {
        let life = life.map(|millis| millis.clamp(0.0, LONGEST_LIFE));
        let kept = life.map_or(0.0, |life| life - RENEWED_BEFORE.min(life / 10.0));
        let expires_at = life.map(|life| from + life);
        Self { text: text.into(), scope, expires_at, renew_at: from + kept }
    }

    /// As the token endpoint gave it, asked at `asked_at`.
    pub(crate) fn issued(response: TokenResponse, asked_at: f64) -> Self {
        let TokenResponse { access_token, expires_in, scope, .. } = response;
        Self::living(access_token, Some(scope.into_owned()), asked_at, Some(number(expires_in) * 1000.0))
    }

    /// As the application gave it: a text, or an object of RFC 6749's names or of ours. A JWT says itself when it
    /// ends.
    pub(crate) fn given(value: &JsValue, asked_at: f64) -> Result<Self, JsValue> {
        let wanted = "a token's text, or an object with accessToken and expiresIn";
        if let Some(text) = value.as_string().filter(|text| !text.is_empty()) {
            return Ok(Self::of_user(&text.into()));
        }
        let either = |ours: &str, rfc: &str| {
            let get =
                |name: &str| Reflect::get(value, &name.into()).ok().filter(|value| !value.is_undefined());
            get(ours).or_else(|| get(rfc))
        };
        let text = either("accessToken", "access_token").and_then(|text| text.as_string());
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| no_token(wanted))?;
        let life = either("expiresIn", "expires_in").and_then(|seconds| seconds.as_f64());
        let life = life.map(|seconds| seconds * 1000.0).or_else(|| Some(expiry(&text)? - asked_at));
        Ok(Self::living(text, either("scope", "scope").and_then(|scope| scope.as_string()), asked_at, life))
    }

    /// A JWT that came as a text.
    pub(crate) fn of_user(text: &Zeroizing<String>) -> Self {
        let (now, text) = (now(), String::clone(text));
        let life = expiry(&text).map(|expires_at| expires_at - now);
        Self::living(text, None, now, life)
    }
}

/// When a JWT says that it ends. It is the service that verifies it.
fn expiry(jwt: &str) -> Option<f64> {
    // Its bytes as characters are JSON still, and the number is the same.
    let claims = JSON::parse(&from_base64url(jwt.split('.').nth(1)?)?).ok()?;
    Some(Reflect::get(&claims, &"exp".into()).ok()?.as_f64()? * 1000.0)
}

/// Whom a token is for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whom {
    Itself,
    UserId(String),
    Email(String),
    AccessToken(Hidden),
    /// Whoever a function's token proves: each function by its number.
    Function(u32),
}

/// A secret that is compared with others; both are the application's own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hidden(pub Zeroizing<String>);

impl Hash for Hidden {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

#[derive(Default)]
pub(crate) struct Cache(RefCell<HashMap<Whom, Entry>>);

#[derive(Clone, Default)]
struct Entry {
    token: Option<Rc<Token>>,
    pending: Option<Pending>,
}

/// A request that is under way, for all who wait for it.
#[derive(Clone)]
struct Pending {
    since: f64,
    done: Promise,
    token: Rc<RefCell<Option<Rc<Token>>>>,
}

impl Cache {
    /// The token for whom it is, unless it is the one that was refused; else what `fetch` brings. If that fails,
    /// the old one is used for as long as it lasts.
    pub(crate) async fn get(
        self: &Rc<Self>,
        whom: &Whom,
        refused: Option<&str>,
        fetch: impl Future<Output = Result<Token, JsValue>> + 'static,
    ) -> Result<Rc<Token>, JsValue> {
        let Entry { token, pending } = self.0.borrow().get(whom).cloned().unwrap_or_default();
        let token = token.filter(|token| refused != Some(&token.text));
        if let Some(token) = &token
            && now() < token.renew_at
        {
            return Ok(Rc::clone(token));
        }
        // In a worker, a request ends with the visit that began it, and then nobody hears of it any more.
        let pending = pending.filter(|pending| now() - pending.since < PENDING_FOR);
        let pending = pending.unwrap_or_else(|| self.begin(whom, fetch));
        let failed = match JsFuture::from(pending.done).await {
            Ok(_) => JsValue::UNDEFINED,
            Err(failed) => failed,
        };
        let fetched = pending.token.borrow_mut().clone();
        let still_good = token.filter(|token| token.expires_at.is_some_and(|end| now() < end));
        fetched.or(still_good).ok_or(failed)
    }

    fn begin(
        self: &Rc<Self>,
        whom: &Whom,
        fetch: impl Future<Output = Result<Token, JsValue>> + 'static,
    ) -> Pending {
        let token = Rc::new(RefCell::new(None));
        let done = future_to_promise({
            let (cache, whom, token) = (Rc::clone(self), whom.clone(), Rc::clone(&token));
            async move {
                let fetched = fetch.await.map(Rc::new);
                cache.end(whom, fetched.as_ref().ok());
                *token.borrow_mut() = Some(fetched?);
                Ok(JsValue::UNDEFINED)
            }
        });
        let pending = Pending { since: now(), done, token };
        let mut entries = self.0.borrow_mut();
        make_room(&mut entries);
        entries.entry(whom.clone()).or_default().pending = Some(pending.clone());
        pending
    }

    fn end(&self, whom: Whom, fetched: Option<&Rc<Token>>) {
        let mut entries = self.0.borrow_mut();
        let entry = entries.entry(whom).or_default();
        entry.pending = None;
        if let Some(token) = fetched {
            entry.token = Some(Rc::clone(token));
        }
    }
}

fn make_room(entries: &mut HashMap<Whom, Entry>) {
    if entries.len() < MAX_TOKENS {
        return;
    }
    let now = now();
    let end = |entry: &Entry| entry.token.as_ref().and_then(|token| token.expires_at).unwrap_or_default();
    entries.retain(|_, entry| entry.pending.is_some() || now < end(entry));
    if entries.len() >= MAX_TOKENS {
        let idle = entries.iter().filter(|(_, entry)| entry.pending.is_none());
        let first = idle.min_by(|(_, a), (_, b)| end(a).total_cmp(&end(b))).map(|(whom, _)| whom.clone());
        first.map(|whom| entries.remove(&whom));
    }
}
