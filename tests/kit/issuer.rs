//! Issuers of user JWTs, and the network that leads to them, both in memory.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use deputize_core::{clock::Clock, error::Cause, issuers::Fetch};
use serde_json::{Value, json};

use crate::jwt::SigningKey;

/// An issuer. Cheap to clone; clones are the same issuer.
#[derive(Clone, Debug)]
pub struct TestIssuer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    clock: Clock,
    /// The published keys with their ids. The last one signs.
    keys: Mutex<Vec<(String, Arc<SigningKey>)>>,
    made: AtomicUsize,
    down: AtomicBool,
    fetched: AtomicUsize,
}

impl TestIssuer {
    pub(crate) fn new(url: &str, clock: &Clock) -> Self {
        let issuer = Self(Arc::new(Inner {
            url: url.to_owned(),
            clock: clock.clone(),
            keys: Mutex::default(),
            made: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            fetched: AtomicUsize::new(0),
        }));
        issuer.rotate(SigningKey::es256());
        issuer
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn jwks_uri(&self) -> String {
        format!("{}/jwks.json", self.0.url)
    }

    /// Signs with a new key from now on, and also publishes the old ones.
    pub fn rotate(&self, key: SigningKey) {
        let kid = format!("key-{}", self.0.made.fetch_add(1, Ordering::SeqCst) + 1);
        self.0.keys.lock().unwrap().push((kid, Arc::new(key)));
    }

    /// Publishes the newest key only.
    pub fn withdraw_old_keys(&self) {
        let mut keys = self.0.keys.lock().unwrap();
        let newest = keys.pop();
        keys.clear();
        keys.extend(newest);
    }

    /// Sets whether requests for its keys fail.
    pub fn is_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// How often its keys were requested.
    pub fn fetched(&self) -> usize {
        self.0.fetched.load(Ordering::SeqCst)
    }

    /// The key that signs, and its id.
    pub fn key(&self) -> (String, Arc<SigningKey>) {
        self.0.keys.lock().unwrap().last().unwrap().clone()
    }

    pub fn header(&self) -> Value {
        let (kid, key) = self.key();
        json!({ "alg": key.algorithm(), "typ": "JWT", "kid": kid })
    }

    /// The claims of a token of `user_{name}`: for `deputize`, with a verified email, valid for an hour.
    pub fn claims(&self, name: &str) -> Value {
        let now = self.0.clock.now().as_seconds();
        json!({
            "iss": self.url(), "sub": format!("user_{name}"), "aud": "deputize",
            "email": format!("{name}@example.com"), "email_verified": true, "name": name,
            "iat": now, "exp": now + 3600,
        })
    }

    /// A token of `user_{name}`.
    pub fn token(&self, name: &str) -> String {
        self.token_with(name, |_| {})
    }

    /// A token of `user_{name}` with changed claims.
    pub fn token_with(&self, name: &str, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims(name);
        edit(&mut claims);
        self.key().1.sign(&self.header(), &claims)
    }

    fn answer(&self, url: &str) -> Option<Result<Vec<u8>, Cause>> {
        let discovery = format!("{}/.well-known/openid-configuration", self.0.url);
        if url != discovery && url != self.jwks_uri() {
            return None;
        }
        if self.0.down.load(Ordering::SeqCst) {
            return Some(Err("the test issuer is down".into()));
        }
        if url == discovery {
            let metadata = json!({ "issuer": self.0.url, "jwks_uri": self.jwks_uri() });
            return Some(Ok(metadata.to_string().into_bytes()));
        }
        self.0.fetched.fetch_add(1, Ordering::SeqCst);
        let keys: Vec<Value> = self.0.keys.lock().unwrap().iter().map(|(kid, key)| key.jwk(kid)).collect();
        Some(Ok(json!({ "keys": keys }).to_string().into_bytes()))
    }
}

/// Documents at addresses, such as an imitated provider publishes. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Documents(Arc<DocumentsInner>);

#[derive(Debug, Default)]
struct DocumentsInner {
    at: Mutex<BTreeMap<String, Value>>,
    fetched: AtomicUsize,
}

impl Documents {
    /// Publishes a document, in place of the one that was there.
    pub fn publish(&self, url: &str, document: Value) {
        self.0.at.lock().unwrap().insert(url.to_owned(), document);
    }

    /// Takes all documents away: fetching one fails from now on.
    pub fn take_down(&self) {
        self.0.at.lock().unwrap().clear();
    }

    /// How many documents were asked for.
    pub fn fetched(&self) -> usize {
        self.0.fetched.load(Ordering::SeqCst)
    }
}

impl Fetch for Documents {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        self.0.fetched.fetch_add(1, Ordering::SeqCst);
        let document = self.0.at.lock().unwrap().get(url).cloned();
        Box::pin(async move {
            // So that other requests come in between.
            tokio::task::yield_now().await;
            let document = document.ok_or_else(|| format!("there is no {url} in this test"))?;
            Ok(document.to_string().into_bytes())
        })
    }
}

/// The network of the tests.
#[derive(Debug)]
pub(crate) struct Network(Vec<TestIssuer>);

impl Network {
    pub(crate) fn of(issuers: impl Into<Vec<TestIssuer>>) -> Self {
        Self(issuers.into())
    }
}

impl Fetch for Network {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        let answer = self.0.iter().find_map(|issuer| issuer.answer(url));
        Box::pin(async move { answer.unwrap_or_else(|| Err(format!("there is no {url} in tests").into())) })
    }
}
