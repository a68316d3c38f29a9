//! The token endpoint (RFC 6749 sections 4.1.3 and 6) and the revocation endpoint (RFC 7009).

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Issued, Provider,
    handle::Handle,
    oauth_error::OAuthError,
    parameters::Parameters,
    registration::Client,
    scopes::{OFFLINE, Scopes},
};

pub(super) async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, OAuthError> {
    let form = Parameters::parse(&body).map_err(OAuthError::request)?;
    let client_id = authenticate(&provider, &headers, &form)?;
    // RFC 8707 does not require it. The MCP specification says that every client sends it.
    if form.get("resource") != Some(provider.resource()) {
        let why = format!("resource must be {}", provider.resource());
        return Err(OAuthError::new("invalid_target", why));
    }
    let issued = match form.get("grant_type") {
        Some("authorization_code") => exchange_code(&provider, &client_id, &form).await?,
        Some("refresh_token") => refresh(&provider, &client_id, &form).await?,
        Some(_) => {
            let why = "use authorization_code or refresh_token";
            return Err(OAuthError::new("unsupported_grant_type", why));
        }
        None => return Err(OAuthError::request("grant_type is missing")),
    };
    Ok(Json(answer(&issued)))
}

async fn exchange_code(
    provider: &Provider,
    client_id: &str,
    form: &Parameters,
) -> Result<Issued, OAuthError> {
    let presented = form.get("code").ok_or_else(|| OAuthError::request("code is missing"))?;
    let verifier =
        form.get("code_verifier").ok_or_else(|| OAuthError::request("code_verifier is missing"))?;
    let handle = Handle::parse(presented).ok_or_else(OAuthError::grant)?;
    let family = provider.0.families.get(&handle.family()).ok_or_else(OAuthError::grant)?;
    let Some(code) = provider.0.codes.take(&handle.family()) else {
        // It was used before, either by the client or by a thief. That cannot be distinguished (section
        // 4.1.2).
        provider.0.families.end(handle.family()).await?;
        return Err(OAuthError::grant());
    };
    let good = code.hash.matches(&handle.hash())
        && code.expires_at > provider.now()
        && family.is_of(client_id)
        && form.get("redirect_uri") == Some(&code.redirect_uri)
        && answers(verifier, &code.challenge);
    if !good {
        return Err(OAuthError::grant());
    }
    let refreshable = family.scopes.has(OFFLINE);
    let refresh = handle.successor()?;
    if refreshable && !provider.0.families.start_refreshing(&refresh).await? {
        return Err(OAuthError::grant());
    }
    Ok(provider.issue(client_id, &refresh, &family, &family.scopes, refreshable)?)
}

async fn refresh(provider: &Provider, client_id: &str, form: &Parameters) -> Result<Issued, OAuthError> {
    let presented =
        form.get("refresh_token").ok_or_else(|| OAuthError::request("refresh_token is missing"))?;
    let handle = Handle::parse(presented).ok_or_else(OAuthError::grant)?;
    let family = provider.0.families.get(&handle.family()).ok_or_else(OAuthError::grant)?;
    // Issued to another client, or for an address that the MCP server had at an earlier start.
    if !family.is_of(client_id) || family.resource != provider.resource() {
        return Err(OAuthError::grant());
    }
    let scopes: Scopes = match form.get("scope") {
        Some(asked) => asked.parse().map_err(|why: String| OAuthError::new("invalid_scope", why))?,
        None => family.scopes.clone(),
    };
    if !scopes.are_within(&family.scopes) {
        return Err(OAuthError::new(
            "invalid_scope",
            "a refresh cannot add scopes; the user must agree to them",
        ));
    }
    let successor = handle.successor()?;
    let rotated = provider.0.families.rotate(&handle, &successor, provider.now()).await?;
    let family = rotated.ok_or_else(OAuthError::grant)?;
    Ok(provider.issue(client_id, &successor, &family, &scopes, true)?)
}

/// Section 5.1.
fn answer(issued: &Issued) -> Value {
    let mut answer = json!({
        "access_token": issued.access_token.expose_secret(),
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
    });
    if let Some(token) = &issued.refresh_token {
        answer["refresh_token"] = json!(token.expose_secret());
    }
    answer
}

/// RFC 7009 section 2.2: an invalid token counts as revoked already. Either kind of token ends the whole
/// family.
pub(super) async fn revoke(
    State(provider): State<Provider>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, OAuthError> {
    let form = Parameters::parse(&body).map_err(OAuthError::request)?;
    let client_id = authenticate(&provider, &headers, &form)?;
    let token = form.get("token").ok_or_else(|| OAuthError::request("token is missing"))?;
    // An access token has two dots in it, a refresh token one.
    let family = provider.family_of(token).or_else(|| Handle::parse(token).map(|handle| handle.family()));
    if let Some(id) = family
        && provider.0.families.get(&id).is_some_and(|family| family.is_of(&client_id))
    {
        provider.0.families.end(id).await?;
    }
    Ok(StatusCode::OK)
}

/// The id of the requesting client: by HTTP Basic if it has a secret, else by `client_id` alone (RFC 6749
/// sections 2.3.1 and 3.2.1).
fn authenticate(provider: &Provider, headers: &HeaderMap, form: &Parameters) -> Result<String, OAuthError> {
    let basic = match headers.get(AUTHORIZATION) {
        Some(header) => Some(header.to_str().ok().and_then(basic).ok_or_else(OAuthError::client)?),
        None => None,
    };
    let named = basic.as_ref().map(|(id, _)| id.as_str()).or(form.get("client_id"));
    let id = named.ok_or_else(OAuthError::client)?;
    let client = Client::read(id, &provider.0.mac).ok_or_else(OAuthError::client)?;
    let authentic = match &basic {
        None => client.is_public(),
        Some((_, secret)) => {
            let good = Client::secret(id, &provider.0.mac);
            !client.is_public() && verify_slices_are_equal(secret.as_bytes(), good.as_bytes()).is_ok()
        }
    };
    if authentic { Ok(id.to_owned()) } else { Err(OAuthError::client()) }
}

/// Form-encoding would not change our ids and secrets, so it is not decoded.
fn basic(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((id.to_owned(), Zeroizing::new(secret.to_owned())))
}

/// RFC 7636 section 4.6.
fn answers(verifier: &str, challenge: &str) -> bool {
    let hash = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    (43..=128).contains(&verifier.len())
        && verify_slices_are_equal(hash.as_bytes(), challenge.as_bytes()).is_ok()
}
