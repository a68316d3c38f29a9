//! What a server is given once and never shows again: secrets, and the fixed header.

use std::{borrow::Cow, fmt};

use deputize_core::servers::{NewHeader, NewOAuthClient, ServerSecrets};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// A secret in a request. It is never shown.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SecretText(pub(crate) SecretString);

impl SecretText {
    const MAX_LENGTH: usize = 4096;
}

impl TryFrom<String> for SecretText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits =
            (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let text = SecretString::from(text);
        let fits = fits && !secret_is_padded(&text);
        let max = Self::MAX_LENGTH;
        fits.then_some(Self(text))
            .ok_or_else(|| format!("must have 1 to {max} visible ASCII characters, and no space at an end"))
    }
}

fn secret_is_padded(text: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    text.expose_secret().starts_with(' ') || text.expose_secret().ends_with(' ')
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl PartialSchema for SecretText {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A secret, kept encrypted and never shown."))
            .write_only(true)
            .min_length(Some(1))
            .max_length(Some(Self::MAX_LENGTH))
            .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
        text.build().into()
    }
}

impl ToSchema for SecretText {
    fn name() -> Cow<'static, str> {
        "SecretText".into()
    }
}

/// The name of a header that can be set for a server (RFC 9110 section 5.1): none of those that belong to
/// the connection, the message or the protocol.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", example = "X-Api-Key")]
pub(crate) struct FieldName(String);

impl TryFrom<String> for FieldName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const TAKEN: &[&str] = &[
            "accept",
            "accept-encoding",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "expect",
            "host",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "user-agent",
        ];
        if text.len() > 128 || http::HeaderName::try_from(text.as_str()).is_err() {
            return Err("must be a header's name of at most 128 characters".to_owned());
        }
        let name = text.to_ascii_lowercase();
        if TAKEN.contains(&name.as_str()) || name.starts_with("mcp-") {
            return Err("is a header that is ours to set".to_owned());
        }
        Ok(Self(text))
    }
}

/// A header that is sent to the server with every call, whoever calls.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StaticHeader {
    name: FieldName,
    value: SecretText,
}

pub(crate) fn secrets(header: Option<StaticHeader>, client: Option<NewOAuthClient>) -> ServerSecrets {
    ServerSecrets {
        header: header.map(|StaticHeader { name, value }| NewHeader { name: name.0, value: value.0 }),
        oauth_client: client,
    }
}
