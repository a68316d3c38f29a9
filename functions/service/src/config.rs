//! What a function is told by its environment. A missing or bad variable stops it at the start, with a
//! message that names the variable.

use std::env;

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::{Settings, issuers::TrustedIssuer, vault::KEY_BYTES};
use zeroize::Zeroizing;

/// A function's configuration.
#[derive(Debug)]
pub struct Config {
    /// `DEPUTIZE_TABLE`: the DynamoDB table's name.
    pub table: String,
    /// `DEPUTIZE_URL`: where the service is reached, and the `iss` of agent tokens.
    pub settings: Settings,
    /// `DEPUTIZE_TRUSTED_ISSUERS`: a JSON array of [`TrustedIssuer`]; none if left out.
    pub issuers: Vec<TrustedIssuer>,
    /// `DEPUTIZE_VAULT_KEY`: the root key, 32 bytes in base64.
    pub vault_key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Config {
    pub fn from_env() -> Result<Self, String> {
        let text =
            |name: &str| env::var(name).map_err(|_| format!("the environment variable {name} is missing"));
        let url = text("DEPUTIZE_URL")?;
        if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1") {
            return Err("DEPUTIZE_URL must begin with https://".to_owned());
        }
        let issuers = match env::var("DEPUTIZE_TRUSTED_ISSUERS") {
            Ok(json) => {
                serde_json::from_str(&json).map_err(|error| format!("DEPUTIZE_TRUSTED_ISSUERS: {error}"))?
            }
            Err(_) => Vec::new(),
        };
        let key = Zeroizing::new(text("DEPUTIZE_VAULT_KEY")?);
        let key = BASE64_STANDARD.decode(key.trim()).map(Zeroizing::new).unwrap_or_default();
        let vault_key = key.as_slice().try_into().map(Zeroizing::new);
        let vault_key =
            vault_key.map_err(|_| format!("DEPUTIZE_VAULT_KEY must be {KEY_BYTES} bytes in base64"))?;
        Ok(Self { table: text("DEPUTIZE_TABLE")?, settings: Settings::at(&url), issuers, vault_key })
    }
}
