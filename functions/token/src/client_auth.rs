//! Client authentication: `client_secret_post`, `client_secret_basic` (RFC 6749 section 2.3.1), or
//! `private_key_jwt` (RFC 7523 section 2.2).

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_api::token::{JWT_BEARER, parameter};
use deputize_core::{TokenError, ids::AgentAccountId, secret::presented, tokens::ClientAuth};
use deputize_service::{ApiError, Result, extract::Form};
use http::{HeaderMap, header::AUTHORIZATION};
use zeroize::Zeroizing;

/// The client's identification, if it sends one. Two ways in one request are an error (RFC 6749 section 2.3). An
/// `Authorization` header without a value identifies no client: some clients send it beside the credentials in the body.
pub(crate) fn client_auth(headers: &HeaderMap, form: &Form) -> Result<Option<ClientAuth>> {
    let (id, secret) = (form.get(parameter::CLIENT_ID), form.get(parameter::CLIENT_SECRET));
    let mut given =
        headers.get_all(AUTHORIZATION).iter().filter(|value| !value.as_bytes().trim_ascii().is_empty());
    let header = given.next();
    if let Some(assertion) = assertion(form)? {
        if secret.is_some() || header.is_some() {
            return Err(invalid("Send either a client_assertion or a client secret, not both"));
        }
        let client_id = id.map(str::to_owned);
        return Ok(Some(ClientAuth::Assertion { client_id, assertion: presented(assertion) }));
    }
    let Some(header) = header else {
        return match (id, secret) {
            (Some(id), secret) => Ok(Some(auth(id, secret))),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(TokenError::InvalidClient.into()),
        };
    };
    if secret.is_some() || given.next().is_some() {
        return Err(invalid("Send client credentials in the Authorization header or in the body, not both"));
    }
    let (basic_id, secret) = header.to_str().ok().and_then(basic).ok_or(TokenError::InvalidClient)?;
    if id.is_some_and(|id| !are_one_client(id, &basic_id)) {
        return Err(TokenError::InvalidClient.into());
    }
    Ok(Some(auth(&basic_id, Some(&*secret).filter(|secret| !secret.is_empty()).map(String::as_str))))
}

/// Whether two client ids are one. Agents' are UUIDs, whose letter case does not count (RFC 9562 section 4).
fn are_one_client(one: &str, other: &str) -> bool {
    let parse = |id: &str| id.parse::<AgentAccountId>().ok();
    one == other || parse(one).is_some_and(|id| parse(other) == Some(id))
}

fn assertion(form: &Form) -> Result<Option<&str>> {
    match (form.get(parameter::CLIENT_ASSERTION_TYPE), form.get(parameter::CLIENT_ASSERTION)) {
        (None, None) => Ok(None),
        (Some(JWT_BEARER), Some(assertion)) => Ok(Some(assertion)),
        (Some(JWT_BEARER), None) => Err(invalid("The parameter client_assertion is missing")),
        (None, Some(_)) => Err(invalid("The parameter client_assertion_type is missing")),
        (Some(_), _) => Err(invalid(format!("client_assertion_type must be {JWT_BEARER}"))),
    }
}

fn invalid(why: impl Into<String>) -> ApiError {
    TokenError::invalid_request(why.into()).into()
}

/// Like [`client_auth`], where the client must authenticate.
pub(crate) fn require_client_auth(headers: &HeaderMap, form: &Form) -> Result<ClientAuth> {
    Ok(client_auth(headers, form)?.ok_or(TokenError::InvalidClient)?)
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(header: &str) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
    // From the right: some clients do not encode an id that is an address, and our secrets have no colon.
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.rsplit_once(':')?;
    let decode = |text: &str| {
        let pair = format!("v={text}");
        form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| Zeroizing::new(value.into_owned()))
    };
    // Form-encoding would not change our ids and secrets.
    Some((decode(id)?, decode(secret)?))
}

/// RFC 6749 section 2.3.1: a client may leave an empty secret out, so that one is none.
fn auth(id: &str, secret: Option<&str>) -> ClientAuth {
    let client_id = id.to_owned();
    match secret {
        Some(secret) => ClientAuth::Secret { client_id, client_secret: presented(secret) },
        None => ClientAuth::Named { client_id },
    }
}
