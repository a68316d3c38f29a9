//! Client authentication: `client_secret_post` or `client_secret_basic` (RFC 6749 section 2.3.1).

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::{TokenError, secret::presented, tokens::ClientAuth};
use deputize_service::{Result, extract::Form};
use http::{HeaderMap, header::AUTHORIZATION};
use zeroize::Zeroizing;

/// The client's id and secret, if it gives any. Giving them in both ways is an error (section 2.3).
pub(crate) fn client_auth(headers: &HeaderMap, form: &Form) -> Result<Option<ClientAuth>> {
    let (id, secret) = (form.get("client_id"), form.get("client_secret"));
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = given.next() else {
        return match (id, secret) {
            (Some(id), Some(secret)) => Ok(Some(auth(id, secret))),
            (None, None) => Ok(None),
            _ => Err(TokenError::InvalidClient.into()),
        };
    };
    if secret.is_some() || given.next().is_some() {
        let why = "Send client credentials in the Authorization header or in the body, not both";
        return Err(TokenError::InvalidRequest(why.to_owned()).into());
    }
    let basic = header.to_str().ok().and_then(basic).ok_or(TokenError::InvalidClient)?;
    if id.is_some_and(|id| id != basic.client_id) {
        return Err(TokenError::InvalidClient.into());
    }
    Ok(Some(basic))
}

/// As [`client_auth`], where a client must authenticate.
pub(crate) fn require_client_auth(headers: &HeaderMap, form: &Form) -> Result<ClientAuth> {
    Ok(client_auth(headers, form)?.ok_or(TokenError::InvalidClient)?)
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(header: &str) -> Option<ClientAuth> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    let decode = |text: &str| {
        let pair = format!("v={text}");
        form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| Zeroizing::new(value.into_owned()))
    };
    // Our ids and secrets hold nothing that form-encoding would change.
    Some(auth(&decode(id)?, &decode(secret)?))
}

fn auth(id: &str, secret: &str) -> ClientAuth {
    ClientAuth { client_id: id.to_owned(), client_secret: presented(secret) }
}
