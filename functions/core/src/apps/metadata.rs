//! An app's metadata in its own words (RFC 7591 section 2), by document or by registration.
//!
//! What is not understood is left out. What is left must do: a redirect URI, and a way to prove itself that the app can
//! use.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::{AppAuth, AppKey, redirect_uri, shown_name};
use crate::{Settings, jwk::NewJwk, wording};

/// How many keys of an app are kept.
const MAX_KEYS: usize = 10;
/// The longest `jwks_uri`, in bytes.
const LONGEST_URI: usize = 1000;

/// The metadata as it comes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default, deserialize_with = "or_absent")]
    pub client_id: Option<String>,
    #[serde(default, deserialize_with = "or_absent")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "or_absent")]
    redirect_uris: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "or_absent")]
    pub token_endpoint_auth_method: Option<String>,
    #[serde(default, deserialize_with = "or_absent")]
    pub grant_types: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "or_absent")]
    jwks: Option<Jwks>,
    #[serde(default, deserialize_with = "or_absent")]
    jwks_uri: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// A field that is of another type counts as absent.
fn or_absent<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok().flatten())
}

/// The public keys of a set that can be used, at most [`MAX_KEYS`]; and why the first that cannot be used is not.
pub fn usable_keys(keys: impl IntoIterator<Item = Value>) -> (Vec<AppKey>, Option<String>) {
    let (mut usable, mut why) = (Vec::new(), None);
    for key in keys {
        match serde_json::from_value::<NewJwk>(key) {
            Ok(NewJwk { key, kid, alg }) if usable.len() < MAX_KEYS => usable.push(AppKey { kid, key, alg }),
            Ok(_) => break,
            Err(error) => {
                why = why.or_else(|| Some(wording::of_json(".", &error).replace("the body ", "it ")));
            }
        }
    }
    (usable, why)
}

impl Metadata {
    pub(super) fn name(&self) -> Option<String> {
        self.client_name.as_deref().and_then(shown_name)
    }

    /// The redirect URIs that can be used, or why none can.
    pub(super) fn redirect_uris(&self, settings: &Settings, is_public: bool) -> Result<Vec<String>, String> {
        let texts = self.redirect_uris.iter().flatten().filter_map(Value::as_str);
        // Bounded, since each refusal is told.
        let (kept, why) = redirect_uri::kept(settings, texts.take(100), is_public);
        if kept.is_empty() {
            return Err(
                why.unwrap_or_else(|| "redirect_uris must be a list with at least one URI".to_owned())
            );
        }
        Ok(kept)
    }

    /// The keys by which it proves itself with `private_key_jwt`, or why there are none.
    pub(super) fn keys(&mut self) -> Result<AppAuth, String> {
        let (keys, why) = usable_keys(self.jwks.take().map(|set| set.keys).unwrap_or_default());
        let is_https = |uri: &String| {
            uri.len() <= LONGEST_URI && url::Url::parse(uri).is_ok_and(|url| url.scheme() == "https")
        };
        // RFC 7591 section 2: not both. The keys themselves ask nobody.
        let jwks_uri = self.jwks_uri.take().filter(is_https).filter(|_| keys.is_empty());
        if keys.is_empty() && jwks_uri.is_none() {
            let needs = "private_key_jwt needs jwks with a usable public key, or a jwks_uri with https";
            return Err(why.map_or_else(
                || needs.to_owned(),
                |why| format!("{needs}; of the key that is there: {why}"),
            ));
        }
        Ok(AppAuth::Keys { keys, jwks_uri })
    }

    pub(super) fn has_keys(&self) -> bool {
        self.jwks.is_some() || self.jwks_uri.is_some()
    }
}
