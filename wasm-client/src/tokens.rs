//! The token cache of an agent account, shared by the client and its clients on behalf of users. There is one token for
//! each user it is for (or for the agent itself), and one request for all callers who wait for it.
//!
//! A caller that stops waiting does not stop the others: the request has a bound of its own (30 s). A caller that
//! joins a request makes its own if that one is not answered soon. A token is renewed in its last minute (or the last
//! tenth of a life under ten minutes), and once when it is refused early. If it cannot be renewed, the old one is used
//! while it lasts. A user's own JWT is not kept at all, so that the next user who signs in does not act with it.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{Hash, Hasher},
    pin::Pin,
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
    environment::{from_base64url, now, wait_for},
};

/// A token is renewed in the last minute of its life, or in the last tenth of a life of less than ten minutes.
const RENEWED_BEFORE: f64 = 60_000.0;
/// For how long after its beginning a token request is waited for by callers who did not begin it, in milliseconds. In
/// a worker, a request ends together with the visit that began it, and then never has a result.
const JOINED_FOR: f64 = 5_000.0;
/// The longest life of a token that is believed, in milliseconds.
const LONGEST_LIFE: f64 = 24.0 * 3_600_000.0;
/// The most tokens in the cache. Those that end first make room.
const MAX_TOKENS: usize = 10_000;

pub(crate) struct Token {
    pub text: Zeroizing<String>,
    pub scope: Option<String>,
    /// In milliseconds since the Unix epoch, by the clock here. `None` if the token does not say when it
    /// expires.
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

    /// From the token endpoint's answer to a request that was sent at `asked_at`.
    pub(crate) fn issued(response: TokenResponse, asked_at: f64) -> Self {
        let TokenResponse { access_token, expires_in, scope, .. } = response;
        Self::living(access_token, Some(scope.into_owned()), asked_at, Some(number(expires_in) * 1000.0))
    }

    /// From the application's answer: a text, or an object with the names of RFC 6749 or with ours. A JWT
    /// contains its own end.
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

    /// A user's JWT, as a text.
    pub(crate) fn of_user(text: &Zeroizing<String>) -> Self {
        let (now, text) = (now(), String::clone(text));
        let life = expiry(&text).map(|expires_at| expires_at - now);
        Self::living(text, None, now, life)
    }
}

/// When a JWT expires, by its own claim. The service verifies it.
fn expiry(jwt: &str) -> Option<f64> {
    // As one character for each byte it is still JSON, with the same number.
    let claims = JSON::parse(&from_base64url(jwt.split('.').nth(1)?)?).ok()?;
    Some(Reflect::get(&claims, &"exp".into()).ok()?.as_f64()? * 1000.0)
}

/// Whom a token is for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum TokenOwner {
    Itself,
    UserId(String),
    Email(String),
    AccessToken(ComparedSecret),
}

/// The kept token that will not do.
#[derive(Clone)]
pub(crate) enum Unwanted {
    None,
    /// The one that was refused.
    Refused(Zeroizing<String>),
    Any,
}

impl Unwanted {
    fn includes(&self, token: &Token) -> bool {
        match self {
            Self::None => false,
            Self::Refused(refused) => *refused == token.text,
            Self::Any => true,
        }
    }
}

/// A secret that is compared with others. Both are the application's own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ComparedSecret(pub Zeroizing<String>);

impl Hash for ComparedSecret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// Gets a token.
pub(crate) type Fetch = Pin<Box<dyn Future<Output = Result<Rc<Token>, JsValue>>>>;

#[derive(Default)]
pub(crate) struct Cache(RefCell<HashMap<TokenOwner, Entry>>);

#[derive(Clone, Default)]
struct Entry {
    token: Option<Rc<Token>>,
    pending: Option<Pending>,
}

/// A request under way, for all callers that wait for it.
#[derive(Clone)]
struct Pending {
    since: f64,
    /// When the call ends that began it.
    until: f64,
    done: Promise,
    outcome: Outcome,
}

/// `None` until there is one.
type Outcome = Rc<RefCell<Option<Result<Rc<Token>, JsValue>>>>;

impl Cache {
    /// The token for `owner`, unless it is unwanted. Otherwise the one that `fetch` gets, or a request for it that is
    /// under way. If that fails, the old one is used as long as it lasts. The call ends at `until`.
    pub(crate) async fn get(
        self: &Rc<Self>,
        owner: &TokenOwner,
        unwanted: &Unwanted,
        until: f64,
        fetch: Fetch,
    ) -> Result<Rc<Token>, JsValue> {
        let kept = self.entry(owner).token.filter(|token| !unwanted.includes(token));
        if let Some(token) = &kept
            && now() < token.renew_at
        {
            return Ok(Rc::clone(token));
        }
        let mut given_up: Option<Outcome> = None;
        let fetched = loop {
            let pending = self.entry(owner).pending.filter(|pending| {
                let is_given_up =
                    given_up.as_ref().is_some_and(|outcome| Rc::ptr_eq(outcome, &pending.outcome));
                !is_given_up && now() - pending.since < JOINED_FOR
            });
            let Some(pending) = pending else {
                let Pending { done, outcome, .. } = self.begin(owner, until, fetch);
                // It always ends well.
                let _ = JsFuture::from(done).await;
                let outcome = outcome.borrow().clone();
                break outcome.unwrap_or(Err(JsValue::UNDEFINED));
            };
            wait_for(Some(&pending.done), pending.since + JOINED_FOR - now()).await;
            let outcome = pending.outcome.borrow().clone();
            match outcome {
                // It was not repeated because its own call was about to end, which this call is not.
                Some(Err(error)) if pending.until < until && asks_to_wait(&error) => {}
                Some(outcome) => break outcome,
                None => {}
            }
            given_up = Some(pending.outcome);
        };
        let still_good = || kept.filter(|token| token.expires_at.is_some_and(|end| now() < end));
        fetched.or_else(|failed| still_good().ok_or(failed))
    }

    fn entry(&self, owner: &TokenOwner) -> Entry {
        self.0.borrow().get(owner).cloned().unwrap_or_default()
    }

    fn begin(self: &Rc<Self>, owner: &TokenOwner, until: f64, fetch: Fetch) -> Pending {
        let outcome = Outcome::default();
        let done = future_to_promise({
            let (cache, owner, outcome) = (Rc::clone(self), owner.clone(), Rc::clone(&outcome));
            async move {
                let fetched = fetch.await;
                cache.end(owner, &outcome, fetched.as_ref().ok());
                *outcome.borrow_mut() = Some(fetched);
                Ok(JsValue::UNDEFINED)
            }
        });
        let pending = Pending { since: now(), until, done, outcome };
        let mut entries = self.0.borrow_mut();
        make_room(&mut entries);
        entries.entry(owner.clone()).or_default().pending = Some(pending.clone());
        pending
    }

    fn end(&self, owner: TokenOwner, outcome: &Outcome, fetched: Option<&Rc<Token>>) {
        let mut entries = self.0.borrow_mut();
        let entry = entries.entry(owner).or_default();
        // Another request may have been begun since then.
        let is_latest = entry.pending.as_ref().is_none_or(|pending| Rc::ptr_eq(&pending.outcome, outcome));
        if is_latest {
            entry.pending = None;
        }
        if let Some(token) = fetched
            && (is_latest || entry.token.is_none())
        {
            entry.token = Some(Rc::clone(token));
        }
    }
}

/// Whether an error says when to try again.
fn asks_to_wait(error: &JsValue) -> bool {
    Reflect::get(error, &"retryAfter".into()).is_ok_and(|seconds| seconds.as_f64().is_some())
}

fn make_room(entries: &mut HashMap<TokenOwner, Entry>) {
    if entries.len() < MAX_TOKENS {
        return;
    }
    let now = now();
    let end = |entry: &Entry| entry.token.as_ref().and_then(|token| token.expires_at).unwrap_or_default();
    entries.retain(|_, entry| entry.pending.is_some() || now < end(entry));
    if entries.len() >= MAX_TOKENS {
        let idle = entries.iter().filter(|(_, entry)| entry.pending.is_none());
        let first = idle.min_by(|(_, a), (_, b)| end(a).total_cmp(&end(b))).map(|(owner, _)| owner.clone());
        first.map(|owner| entries.remove(&owner));
    }
}
