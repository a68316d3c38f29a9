//! How this service proves itself to a provider: by a client secret, by a private key (RFC 7523 section 2.2), or not at
//! all. What is given for a provider says which.
//!
//! These are secrets, so they are in no list of issuers and in no function's environment, which everybody who may look at
//! the function's configuration sees. On AWS an operator stores them in the table, sealed ([`store_secrets`]). The local
//! server is given them by its environment.

use std::{collections::BTreeMap, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_api::reason::Reason;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    Core,
    connections::{AuthMethod, Client},
    error::{Error, Result, Told},
    issuers::{ProviderMetadata, SignIn},
    table::{Change, Entity, Key, retry_on_conflict},
    vault::Sealed,
};

/// The secrets, by the providers' names in addresses.
#[derive(Clone, Debug, Default)]
pub struct SignInSecrets(BTreeMap<String, SecretString>);

/// A JSON object: to each provider's name, its client secret, or a private key in PEM.
impl FromStr for SignInSecrets {
    type Err = String;

    fn from_str(json: &str) -> Result<Self, String> {
        // The parser's own words would quote a secret.
        let wrong = || "must be a JSON object that gives a text to each provider's id".to_owned();
        let read: BTreeMap<String, Zeroizing<String>> = serde_json::from_str(json).map_err(|_| wrong())?;
        for (id, secret) in &read {
            if secret.is_empty() {
                return Err(format!("{id}: the secret is empty"));
            }
            if is_key(secret) && read_key(secret).is_none() {
                return Err(format!(
                    "{id}: the private key must be an EC key on P-256 in PKCS #8 (BEGIN PRIVATE KEY)"
                ));
            }
        }
        Ok(Self(read.into_iter().map(|(id, secret)| (id, SecretString::from(secret.as_str()))).collect()))
    }
}

/// The secrets of all providers in the table: the JSON object, sealed as one.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSecrets {
    sealed: Sealed,
}

impl Entity for StoredSecrets {
    const KIND: &'static str = "sign-in secrets";
}

/// The most bytes of the JSON object.
const MAX_STORED: usize = 64 * 1024;

/// Stores the secrets of all providers, in place of those that were stored before. They count from the next sign-in on.
pub async fn store_secrets(core: &Core, json: &str) -> Result<()> {
    if json.len() > MAX_STORED {
        return Err(Error::invalid(format!("the secrets have more than {MAX_STORED} bytes")));
    }
    json.parse::<SignInSecrets>().map_err(|why| Error::Invalid(Told::by(Reason::RequestInvalid, why)))?;
    let key = Key::sign_in_secrets();
    let secrets = StoredSecrets { sealed: core.vault.seal(&key, json.as_bytes()).await? };
    retry_on_conflict(|| async {
        let mut change = Change::new();
        match core.table.read_one::<StoredSecrets>(key.clone()).await? {
            None => change.create(key.clone(), &secrets)?,
            Some(was) => change.replace(key.clone(), &secrets, was.rev)?,
        };
        core.table.commit(change).await
    })
    .await
}

/// The secret for a provider: of this process's settings, or else the one that is stored.
async fn secret(core: &Core, provider_id: &str) -> Result<Option<SecretString>> {
    if let Some(set) = core.settings.sign_in_secrets.0.get(provider_id) {
        return Ok(Some(set.clone()));
    }
    let key = Key::sign_in_secrets();
    let Some(stored) = core.table.read_one::<StoredSecrets>(key.clone()).await? else { return Ok(None) };
    let opened = core.vault.open(&key, &stored.sealed).await?.value;
    let json = std::str::from_utf8(&opened).map_err(Error::internal)?;
    let mut secrets: SignInSecrets = json.parse().map_err(Error::internal)?;
    Ok(secrets.0.remove(provider_id))
}

fn is_key(secret: &str) -> bool {
    secret.trim_start().starts_with("-----BEGIN")
}

fn read_key(pem: &str) -> Option<EncodingKey> {
    let body = pem.trim().strip_prefix("-----BEGIN PRIVATE KEY-----")?;
    let body = body.strip_suffix("-----END PRIVATE KEY-----")?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = Zeroizing::new(BASE64_STANDARD.decode(body.as_bytes()).ok()?);
    aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &der,
    )
    .ok()?;
    Some(EncodingKey::from_ec_der(&der))
}

/// How long an assertion of ours is good, in seconds.
const ASSERTION_LASTS: i64 = 60;

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a Url,
    jti: String,
    iat: i64,
    exp: i64,
}

/// Us, at a provider, and the assertion if we prove ourselves by one.
pub(super) async fn client(
    core: &Core,
    provider_id: &str,
    sign_in: &SignIn,
    metadata: &ProviderMetadata,
) -> Result<(Client, Option<SecretString>)> {
    let id = sign_in.client_id.clone();
    let Some(secret) = secret(core, provider_id).await? else {
        return Ok((Client { id, auth_method: AuthMethod::None, secret: None }, None));
    };
    if !is_key(secret.expose_secret()) {
        let knows = |method: AuthMethod| metadata.auth_methods.iter().any(|known| known == method.name());
        let basic = match sign_in.token_endpoint_auth_method.as_deref() {
            Some(set) => set == AuthMethod::ClientSecretBasic.name(),
            None => knows(AuthMethod::ClientSecretBasic) || !knows(AuthMethod::ClientSecretPost),
        };
        let auth_method = if basic { AuthMethod::ClientSecretBasic } else { AuthMethod::ClientSecretPost };
        return Ok((Client { id, auth_method, secret: Some(secret) }, None));
    }
    let key =
        read_key(secret.expose_secret()).ok_or_else(|| Error::internal("a private key cannot be read"))?;
    let now = core.clock.now().as_seconds();
    let claims = Assertion {
        iss: &id,
        sub: &id,
        // Providers take it everywhere; Okta and Entra take nothing else.
        aud: &metadata.token_endpoint,
        jti: core.random.uuid()?.to_string(),
        iat: now,
        exp: now + ASSERTION_LASTS,
    };
    let header = Header { kid: sign_in.key_id.clone(), ..Header::new(Algorithm::ES256) };
    let assertion = jsonwebtoken::encode(&header, &claims, &key).map_err(Error::internal)?;
    Ok((Client { id, auth_method: AuthMethod::None, secret: None }, Some(SecretString::from(assertion))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_secret_is_told_without_its_words() {
        for (json, told) in [
            (r#"{"a":1234567}"#, "must be a JSON object"),
            (r#"["hunter2"]"#, "must be a JSON object"),
            (r#"{"a":""}"#, "a: the secret is empty"),
            (r#"{"a":"-----BEGIN RSA PRIVATE KEY-----hunter2"}"#, "a: the private key must be an EC key"),
            (
                r#"{"a":"-----BEGIN PRIVATE KEY-----\nhunter2=\n-----END PRIVATE KEY-----"}"#,
                "a: the private key must be an EC key",
            ),
        ] {
            let why = json.parse::<SignInSecrets>().unwrap_err();
            assert!(why.starts_with(told) && !why.contains("hunter2") && !why.contains("1234567"), "{why}");
        }
        let secrets: SignInSecrets = r#"{"a":"hunter2"}"#.parse().unwrap();
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
