//! An issuer by which people sign in: what the operator says of it, and what it says of itself.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use url::{Host, Url};

use crate::{clock::Timestamp, error::Cause};

/// Signing in by this issuer, as the operator sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Who we are there. Its ID tokens are for this audience.
    pub client_id: String,
    /// Its name in addresses. By default, the issuer's host with `-` for every `.`.
    #[serde(default)]
    pub id: Option<String>,
    /// What people call it. By default, its host.
    #[serde(default)]
    pub name: Option<String>,
    /// What is asked for. By default, [`DEFAULT_SCOPE`].
    #[serde(default)]
    pub scope: Option<String>,
    /// What the provider calls our private key (`kid`), if we have one.
    #[serde(default)]
    pub key_id: Option<String>,
    /// How our secret is sent, `client_secret_basic` or `client_secret_post`, where the provider's metadata does not say.
    #[serde(default)]
    pub token_endpoint_auth_method: Option<String>,
    /// Always refused: a secret is not configuration.
    #[serde(default)]
    #[doc(hidden)]
    pub client_secret: Option<Refused>,
}

/// A value that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl SignIn {
    /// As this client, in all else by default.
    pub fn of(client_id: &str) -> Self {
        Self { client_id: client_id.to_owned(), ..Self::default() }
    }
}

pub const DEFAULT_SCOPE: &str = "openid profile email";

/// The longest text of a provider's settings, in bytes.
const MAX_TEXT: usize = 512;

impl SignIn {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.client_secret.is_some() {
            return Err(
                "sign_in: the client secret does not belong here: docs/sign-in.md says where".to_owned()
            );
        }
        let texts = [Some(&self.client_id), self.name.as_ref(), self.scope.as_ref(), self.key_id.as_ref()];
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
            return Err(format!("sign_in: each text must have 1 to {MAX_TEXT} bytes"));
        }
        if let Some(scope) = &self.scope
            && !scope.split(' ').any(|scope| scope == "openid")
        {
            return Err("sign_in: scope must have openid among its values".to_owned());
        }
        let methods = ["client_secret_basic", "client_secret_post"];
        if self.token_endpoint_auth_method.as_ref().is_some_and(|method| !methods.contains(&&**method)) {
            return Err(format!("sign_in: token_endpoint_auth_method must be {}", methods.join(" or ")));
        }
        if self.id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err("sign_in: id must have 1 to 64 characters of a-z, 0-9 and '-'".to_owned());
        }
        Ok(())
    }
}

fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&id.len()) && id.bytes().all(fits)
}

/// The provider's name in addresses.
pub(super) fn id_of(issuer: &str, sign_in: &SignIn) -> String {
    sign_in.id.clone().unwrap_or_else(|| {
        let name = host(issuer).to_ascii_lowercase();
        let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        name.chars().map(plain).take(64).collect()
    })
}

/// The host of an issuer.
pub(super) fn host(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// What a provider says of itself (OpenID Connect Discovery section 3).
#[derive(Clone, Debug)]
pub(crate) struct ProviderMetadata {
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    /// OpenID Connect RP-Initiated Logout section 2.1.
    pub(crate) end_session_endpoint: Option<Url>,
    /// Whether its answers carry `iss` (RFC 9207 section 3).
    pub(crate) sends_iss: bool,
    /// `client_secret_basic` alone if it does not say.
    pub(crate) auth_methods: Vec<String>,
}

impl ProviderMetadata {
    pub(super) fn read(metadata: &Value) -> Result<Self, Cause> {
        let address = |name: &str| -> Result<Url, Cause> {
            let text = metadata[name].as_str().ok_or_else(|| format!("its metadata has no {name}"))?;
            page(text).ok_or_else(|| format!("its {name} is no https address").into())
        };
        let texts = |name: &str| {
            let listed = metadata[name].as_array().into_iter().flatten();
            listed.filter_map(|text| text.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut auth_methods = texts("token_endpoint_auth_methods_supported");
        if auth_methods.is_empty() {
            auth_methods.push("client_secret_basic".to_owned());
        }
        Ok(Self {
            authorization_endpoint: address("authorization_endpoint")?,
            token_endpoint: address("token_endpoint")?,
            end_session_endpoint: metadata["end_session_endpoint"].as_str().and_then(page),
            sends_iss: metadata["authorization_response_iss_parameter_supported"] == true,
            auth_methods,
        })
    }
}

/// An address to which a browser, or a secret, may be sent: https, or this machine.
fn page(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let is_here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "https" || url.scheme() == "http" && is_here).then_some(url)
}

/// How long metadata is kept.
const KEEP_FOR: Duration = Duration::from_hours(1);
/// How long it is not asked for again after that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A provider's metadata, as last fetched.
#[derive(Debug, Default)]
pub(super) struct KeptMetadata {
    kept: RwLock<Kept>,
    /// Held during a fetch, so that one fetch serves all waiting requests.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    metadata: Option<(Arc<ProviderMetadata>, Timestamp)>,
    failed_at: Option<Timestamp>,
}

impl KeptMetadata {
    fn fresh(&self, now: Timestamp) -> Option<Arc<ProviderMetadata>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let (metadata, at) = kept.metadata.as_ref()?;
        (now < at.plus(KEEP_FOR)).then(|| Arc::clone(metadata))
    }

    /// The metadata. That which is old serves on as long as there is no newer.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<Value, Cause>>,
    ) -> Result<Arc<ProviderMetadata>, Cause> {
        if let Some(fresh) = self.fresh(now) {
            return Ok(fresh);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(fresh) = self.fresh(now) {
            return Ok(fresh);
        }
        let failed_at = self.kept.read().unwrap_or_else(PoisonError::into_inner).failed_at;
        let read = if failed_at.is_some_and(|at| now < at.plus(RETRY_AFTER)) {
            Err("it could not be read just now".into())
        } else {
            fetch.await.and_then(|metadata| ProviderMetadata::read(&metadata))
        };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(read) => {
                let read = Arc::new(read);
                *kept = Kept { metadata: Some((Arc::clone(&read), now)), failed_at: None };
                Ok(read)
            }
            Err(why) => {
                if failed_at.is_none_or(|at| at.plus(RETRY_AFTER) <= now) {
                    kept.failed_at = Some(now);
                }
                kept.metadata.as_ref().map(|(old, _)| Arc::clone(old)).ok_or(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_provider_is_named_in_addresses_by_its_host() {
        let id = |issuer: &str| id_of(issuer, &SignIn::default());
        assert_eq!(id("https://accounts.google.com"), "accounts-google-com");
        assert_eq!(id("https://login.microsoftonline.com/{tenantid}/v2.0"), "login-microsoftonline-com");
        assert_eq!(id("http://127.0.0.1:8787/demo/issuer"), "127-0-0-1-8787");
    }

    #[test]
    fn a_browser_is_sent_to_https_or_to_this_machine_only() {
        for good in [
            "https://id.example/authorize",
            "http://127.0.0.1:8787/a",
            "http://localhost/a",
            "http://[::1]/a",
        ] {
            assert!(page(good).is_some(), "{good}");
        }
        for bad in [
            "http://id.example/a",
            "javascript:alert(1)",
            "data:text/html,x",
            "/a",
            "http://127.0.0.1.evil.test/",
        ] {
            assert!(page(bad).is_none(), "{bad}");
        }
        let metadata =
            json!({ "authorization_endpoint": "javascript:alert(1)", "token_endpoint": "https://a.test/t" });
        assert!(ProviderMetadata::read(&metadata).is_err());
    }
}
