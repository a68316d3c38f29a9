//! What a token endpoint answers, as real ones do (RFC 6749 section 5).
//!
//! Strict is what security rests on: there are tokens only in a 2xx answer that names no error, the access token must
//! be one that a header can carry, and its type one that is used as `Bearer`. All else is read as it comes:
//!
//! | habit | of |
//! | --- | --- |
//! | errors by HTTP 200 | GitHub, Slack |
//! | `"ok": false` | Slack |
//! | the tokens in `authed_user` | Slack |
//! | a form in place of JSON | GitHub, unless JSON is asked for |
//! | `expires_in` as text, as a fraction | Entra ID version 1, and others |
//! | `scope` with commas, or as a list | GitHub, Slack, Linear |
//! | `token_type` missing, or `user` | Slack |
//! | `errorCode` and `errorSummary` | Okta |
//! | a dead refresh token is no `invalid_grant` | GitHub, Slack, Atlassian |

use std::time::Duration;

use http::{Response, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{challenge::is_scope, quoted};
use crate::{
    error::Cause,
    network::{HttpError, without_byte_order_mark},
};

/// The tokens that the provider gave.
#[derive(Debug)]
pub(crate) struct IssuedTokens {
    pub(crate) access_token: SecretString,
    pub(crate) refresh_token: Option<SecretString>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) scope: Option<String>,
    /// OpenID Connect Core section 3.1.3.3.
    pub(crate) id_token: Option<SecretString>,
}

/// Why the token endpoint gave no tokens. A refusal has the provider's own words.
#[derive(Debug)]
pub(crate) enum TokenRequestError {
    /// The code or the refresh token is not good, or no longer good (RFC 6749 section 5.2, `invalid_grant`).
    InvalidGrant(String),
    /// It does not know our client, or our client's secret (`invalid_client`).
    InvalidClient(String),
    /// It refuses for another reason.
    Refused(String),
    /// It is down, or its answer cannot be used. Whether it has consumed what we sent is unknown, unless it
    /// was not reached.
    Down { why: Cause, reached: bool, timed_out: bool },
}

impl TokenRequestError {
    /// There was no answer in time.
    pub(super) fn silent() -> Self {
        HttpError::TimedOut.into()
    }

    fn unusable(why: impl Into<Cause>) -> Self {
        Self::Down { why: why.into(), reached: true, timed_out: false }
    }

    /// Takes what was sent out of the provider's words, should it have quoted any of it.
    pub(super) fn without(mut self, secrets: &[&str]) -> Self {
        if let Self::InvalidGrant(words) | Self::InvalidClient(words) | Self::Refused(words) = &mut self {
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                *words = words.replace(secret, "[…]");
            }
        }
        self
    }
}

impl From<HttpError> for TokenRequestError {
    fn from(error: HttpError) -> Self {
        Self::Down {
            reached: !matches!(error, HttpError::Unreachable(_) | HttpError::Refused(_)),
            timed_out: matches!(error, HttpError::TimedOut),
            why: error.into(),
        }
    }
}

/// An answer. A name that occurs twice makes it unusable.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: Value,
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_type: Value,
    expires_in: Value,
    scope: Value,
    error: Value,
    error_description: Value,
    #[serde(rename = "errorCode")]
    error_code: Value,
    #[serde(rename = "errorSummary")]
    error_summary: Value,
    authed_user: Option<Tokens>,
    id_token: Option<Zeroizing<String>>,
}

/// A user's tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_type: Value,
    expires_in: Value,
    scope: Value,
}

/// Reads an answer.
pub(super) fn read(response: &Response<Vec<u8>>) -> Result<IssuedTokens, TokenRequestError> {
    let status = response.status();
    // With such a status, the body is not the endpoint's answer.
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(HttpError::Status(status).into());
    }
    if status.is_redirection() {
        return Err(HttpError::Redirects.into());
    }
    // The parser's text may quote a token.
    let answer = parse(response).ok_or_else(no_token_response)?;
    match refusal(&answer, status) {
        Some(refusal) => Err(refusal),
        None if status.is_success() => issued(answer),
        None => Err(no_token_response()),
    }
}

fn no_token_response() -> TokenRequestError {
    TokenRequestError::unusable("its answer is no token response")
}

fn parse(response: &Response<Vec<u8>>) -> Option<Answer> {
    let body = without_byte_order_mark(response.body()).trim_ascii_start();
    if body.starts_with(b"{") { serde_json::from_slice(body).ok() } else { form(body) }
}

/// An answer in the form of a query, as GitHub gives it by default
/// (<https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>).
fn form(body: &[u8]) -> Option<Answer> {
    let mut answer = Answer::default();
    let mut is_answer = false;
    for (name, value) in form_urlencoded::parse(body) {
        let text = || Value::String(value.clone().into_owned());
        let token = || Some(Zeroizing::new(value.clone().into_owned()));
        match &*name {
            "access_token" if answer.access_token.is_none() => answer.access_token = token(),
            // Two readers could take two tokens.
            "access_token" => return None,
            "refresh_token" => answer.refresh_token = token(),
            "token_type" => answer.token_type = text(),
            "expires_in" => answer.expires_in = text(),
            "scope" => answer.scope = text(),
            "error" => answer.error = text(),
            "error_description" => answer.error_description = text(),
            _ => continue,
        }
        is_answer = true;
    }
    is_answer.then_some(answer)
}

/// What an error says, whatever the status.
fn refusal(answer: &Answer, status: StatusCode) -> Option<TokenRequestError> {
    let text = |value: &'_ Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let code = text(&answer.error).or_else(|| text(&answer.error_code));
    let code = match code {
        Some(code) => code,
        // `{"error": {"message": …}}`, or Slack's `{"ok": false}` without a reason.
        None if answer.error.is_object() || answer.ok == Value::Bool(false) => "error".to_owned(),
        None => return None,
    };
    let description = text(&answer.error_description).or_else(|| text(&answer.error_summary));
    let description = description.or_else(|| text(&answer.error["message"])).unwrap_or_default();
    let words =
        if description.is_empty() { quoted(&code) } else { quoted(&format!("{code}: {description}")) };
    Some(match code.as_str() {
        // RFC 6749 section 5.2, and in other words:
        // GitHub: https://github.com/interlink-hq/interLink/pull/262
        // Slack: https://api.slack.com/methods/oauth.v2.exchange
        // Entra ID, whose user must sign in again:
        // https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
        "invalid_grant"
        | "bad_verification_code"
        | "bad_refresh_token"
        | "invalid_code"
        | "code_already_used"
        | "invalid_refresh_token"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "interaction_required"
        | "login_required"
        | "consent_required" => TokenRequestError::InvalidGrant(words),
        "unauthorized_client" | "invalid_request" if is_of_a_dead_refresh_token(&description) => {
            TokenRequestError::InvalidGrant(words)
        }
        "invalid_client"
        | "unauthorized_client"
        | "incorrect_client_credentials"
        | "bad_client_secret"
        | "invalid_client_id"
        | "invalid_client_secret" => TokenRequestError::InvalidClient(words),
        // Auth0 says so of a wrong client secret.
        "access_denied" if status == StatusCode::UNAUTHORIZED => TokenRequestError::InvalidClient(words),
        "temporarily_unavailable" | "server_error" | "ratelimited" | "internal_error" | "fatal_error" => {
            TokenRequestError::unusable(format!("it answered {words}"))
        }
        _ => TokenRequestError::Refused(words),
    })
}

/// Atlassian's `unauthorized_client` says `refresh_token is invalid`, while Keycloak's is about the client's secret.
fn is_of_a_dead_refresh_token(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    (description.contains("refresh_token") || description.contains("refresh token"))
        && ["invalid", "expired", "revoked"].iter().any(|state| description.contains(state))
}

fn issued(answer: Answer) -> Result<IssuedTokens, TokenRequestError> {
    let Answer { access_token, refresh_token, token_type, expires_in, scope, authed_user, id_token, .. } =
        answer;
    let of_app = Tokens { access_token, refresh_token, token_type, expires_in, scope };
    // Slack gives a user's tokens beside the app's, which then may be empty
    // (https://github.com/UsefulSoftwareCo/executor/pull/1643).
    let tokens = match authed_user {
        Some(of_user) if !has(of_app.access_token.as_ref()) => of_user,
        _ => of_app,
    };
    // Slack says whose it is: `user` or `bot`. Tokens that are bound to a key (DPoP, RFC 9449) are no `Bearer` tokens.
    let kind = tokens.token_type.as_str().unwrap_or_default().to_ascii_lowercase();
    if !["", "bearer", "user", "bot"].contains(&kind.as_str()) {
        return Err(TokenRequestError::unusable("its tokens are of a type that is not supported"));
    }
    let access_token = tokens.access_token.filter(|token| has(Some(token))).ok_or_else(no_token_response)?;
    // A token that cannot be sent in a header (RFC 6750 section 2.1) is not a token.
    if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenRequestError::unusable("its token cannot be sent"));
    }
    Ok(IssuedTokens {
        access_token: SecretString::from(access_token.as_str()),
        refresh_token: tokens
            .refresh_token
            .filter(|token| has(Some(token)))
            .map(|token| SecretString::from(token.as_str())),
        expires_in: lifetime(&tokens.expires_in),
        scope: scope_of(&tokens.scope),
        id_token: id_token.filter(|token| has(Some(token))).map(|token| SecretString::from(token.as_str())),
    })
}

fn has(token: Option<&Zeroizing<String>>) -> bool {
    token.is_some_and(|token| !token.is_empty())
}

/// Longer than any token lives.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

/// Seconds, as a number or in a text. A token of 0 seconds has expired.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(seconds) => seconds.as_f64()?,
        Value::String(seconds) => seconds.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds.trunc().clamp(0.0, LONGEST)).ok()
}

/// Scope values, separated by spaces or commas, or in a list.
fn scope_of(value: &Value) -> Option<String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let separates = |c: char| c == ',' || c.is_ascii_whitespace();
    let values: Vec<&str> =
        texts.iter().flat_map(|text| text.split(separates)).filter(|value| !value.is_empty()).collect();
    Some(values.join(" ")).filter(|scope| is_scope(scope))
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use secrecy::ExposeSecret;

    use super::*;

    fn answered(status: u16, kind: &str, body: &str) -> Result<IssuedTokens, TokenRequestError> {
        let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
        read(&response.body(body.as_bytes().to_vec()).unwrap())
    }

    /// What an answer comes to, in a line.
    fn told(status: u16, body: &str) -> String {
        match answered(status, "application/json", body) {
            Ok(IssuedTokens { access_token, refresh_token, expires_in, scope, .. }) => format!(
                "{} {} {} {}",
                access_token.expose_secret(),
                refresh_token.as_ref().map_or("-", |token| token.expose_secret()),
                expires_in.map_or("-".to_owned(), |lifetime| lifetime.as_secs().to_string()),
                scope.unwrap_or_else(|| "-".to_owned()),
            ),
            Err(TokenRequestError::InvalidGrant(words)) => format!("dead: {words}"),
            Err(TokenRequestError::InvalidClient(words)) => format!("client: {words}"),
            Err(TokenRequestError::Refused(words)) => format!("refused: {words}"),
            Err(TokenRequestError::Down { why, .. }) => format!("down: {why}"),
        }
    }

    #[test]
    fn tokens_are_read_as_real_providers_give_them() {
        for (provider, body, read) in [
            (
                "RFC 6749",
                r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}"#,
                "a r 3600 x y",
            ),
            (
                "GitHub",
                r#"{"access_token":"gho_a","scope":"repo,gist","token_type":"bearer"}"#,
                "gho_a - - repo gist",
            ),
            (
                "a GitHub App",
                r#"{"access_token":"ghu_a","expires_in":28800,"refresh_token":"ghr_r","refresh_token_expires_in":15811200,"scope":"","token_type":"bearer"}"#,
                "ghu_a ghr_r 28800 -",
            ),
            (
                "GitHub, as a form",
                "access_token=gho_a&scope=repo%2Cgist&token_type=bearer",
                "gho_a - - repo gist",
            ),
            (
                "Slack",
                r#"{"ok":true,"access_token":"xoxp-a","token_type":"user","scope":"search:read,chat:write"}"#,
                "xoxp-a - - search:read chat:write",
            ),
            (
                "Slack, beside an app's",
                r#"{"ok":true,"access_token":"","authed_user":{"id":"U1","scope":"search:read","access_token":"xoxe.xoxp-a","token_type":"user","refresh_token":"xoxe-1-r","expires_in":43200}}"#,
                "xoxe.xoxp-a xoxe-1-r 43200 search:read",
            ),
            (
                "Entra ID version 1",
                r#"{"token_type":"Bearer","expires_in":"5250","ext_expires_in":"5250","expires_on":"1","resource":"https://graph.example","access_token":"a","refresh_token":"r"}"#,
                "a r 5250 -",
            ),
            ("a fraction", r#"{"access_token":"a","expires_in":3599.9}"#, "a - 3599 -"),
            ("a fraction in a text", r#"{"access_token":"a","expires_in":" 60.5 "}"#, "a - 60 -"),
            ("expired already", r#"{"access_token":"a","expires_in":0}"#, "a - 0 -"),
            ("less than that", r#"{"access_token":"a","expires_in":-5}"#, "a - 0 -"),
            ("for ever", r#"{"access_token":"a","expires_in":1e300}"#, "a - 3153600000 -"),
            ("no number", r#"{"access_token":"a","expires_in":"soon"}"#, "a - - -"),
            (
                "nulls",
                r#"{"access_token":"a","refresh_token":null,"expires_in":null,"scope":null,"token_type":null,"error":null}"#,
                "a - - -",
            ),
            ("Linear, formerly", r#"{"access_token":"a","scope":["read","write"]}"#, "a - - read write"),
            (
                "Keycloak",
                r#"{"access_token":"a","expires_in":300,"refresh_expires_in":0,"not-before-policy":0,"session_state":"s","scope":"openid"}"#,
                "a - 300 openid",
            ),
            ("an empty error", r#"{"access_token":"a","error":""}"#, "a - - -"),
            ("a byte order mark", "\u{feff}{\"access_token\":\"a\"}", "a - - -"),
        ] {
            assert_eq!(told(200, body), read, "{provider}");
        }
        assert_eq!(told(201, r#"{"access_token":"a"}"#), "a - - -");
    }

    #[test]
    fn a_refusal_is_told_by_what_it_says_and_not_by_its_status() {
        for (provider, status, body, read) in [
            ("RFC 6749", 400, r#"{"error":"invalid_grant"}"#, "dead: invalid_grant"),
            (
                "GitHub",
                200,
                r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}"#,
                "dead: bad_refresh_token: The refresh token passed is incorrect or expired.",
            ),
            (
                "GitHub",
                200,
                r#"{"error":"incorrect_client_credentials","error_description":"x"}"#,
                "client: incorrect_client_credentials: x",
            ),
            (
                "GitHub, as a form",
                200,
                "error=bad_verification_code&error_description=The+code+passed+is+incorrect",
                "dead: bad_verification_code: The code passed is incorrect",
            ),
            ("GitHub", 404, r#"{"error":"Not Found"}"#, "refused: Not Found"),
            ("Slack", 200, r#"{"ok":false,"error":"invalid_code"}"#, "dead: invalid_code"),
            ("Slack", 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, "dead: invalid_refresh_token"),
            ("Slack", 200, r#"{"ok":false,"error":"bad_client_secret"}"#, "client: bad_client_secret"),
            ("Slack", 200, r#"{"ok":false}"#, "refused: error"),
            (
                "Google",
                400,
                r#"{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_subtype":"invalid_rapt"}"#,
                "dead: invalid_grant: reauth related error (invalid_rapt)",
            ),
            (
                "Google",
                401,
                r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#,
                "client: invalid_client: The OAuth client was not found.",
            ),
            (
                "Entra ID",
                400,
                r#"{"error":"interaction_required","error_description":"AADSTS50076","error_codes":[50076]}"#,
                "dead: interaction_required: AADSTS50076",
            ),
            (
                "Atlassian",
                403,
                r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
                "dead: unauthorized_client: refresh_token is invalid",
            ),
            (
                "Keycloak",
                401,
                r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#,
                "client: unauthorized_client: Invalid client or Invalid client credentials",
            ),
            (
                "Auth0",
                403,
                r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#,
                "dead: invalid_grant: Unknown or invalid refresh token.",
            ),
            (
                "Auth0",
                401,
                r#"{"error":"access_denied","error_description":"Unauthorized"}"#,
                "client: access_denied: Unauthorized",
            ),
            (
                "Okta",
                401,
                r#"{"errorCode":"invalid_client","errorSummary":"Invalid value for 'client_id' parameter."}"#,
                "client: invalid_client: Invalid value for 'client_id' parameter.",
            ),
            ("WorkOS", 400, r#"{"error":"invalid_target"}"#, "refused: invalid_target"),
            ("an object", 400, r#"{"error":{"message":"no"}}"#, "refused: error: no"),
            ("busy", 200, r#"{"ok":false,"error":"ratelimited"}"#, "down: it answered ratelimited"),
            ("busy", 429, r#"{"error":"invalid_grant"}"#, "down: it answered HTTP 429 Too Many Requests"),
            ("down", 502, r#"{"error":"invalid_grant"}"#, "down: it answered HTTP 502 Bad Gateway"),
        ] {
            assert_eq!(told(status, body), read, "{provider}");
        }
    }

    #[test]
    fn what_security_rests_on_is_not_read_tolerantly() {
        for (status, body, read) in [
            (200, r#"{"access_token":"a","access_token":"b"}"#, "down: its answer is no token response"),
            (200, "access_token=a&access_token=b", "down: its answer is no token response"),
            (200, r#"{"access_token":["a"]}"#, "down: its answer is no token response"),
            (200, r#"{"access_token":""}"#, "down: its answer is no token response"),
            (200, r#"{"access_token":"a b"}"#, "down: its token cannot be sent"),
            (200, "{\"access_token\":\"a\\r\\nx: y\"}", "down: its token cannot be sent"),
            (200, r#"{"access_token":"ü"}"#, "down: its token cannot be sent"),
            (
                200,
                r#"{"access_token":"a","token_type":"DPoP"}"#,
                "down: its tokens are of a type that is not supported",
            ),
            (
                200,
                r#"{"access_token":"a","token_type":"mac"}"#,
                "down: its tokens are of a type that is not supported",
            ),
            (200, r#"{"access_token":"a","error":"invalid_grant"}"#, "dead: invalid_grant"),
            (400, r#"{"access_token":"a"}"#, "down: its answer is no token response"),
            (302, r#"{"access_token":"a"}"#, "down: it redirects elsewhere, which is not followed"),
            (200, "<html>access_token=a</html>", "down: its answer is no token response"),
            (200, "", "down: its answer is no token response"),
            (200, "[]", "down: its answer is no token response"),
        ] {
            assert_eq!(told(status, body), read, "{body}");
        }
    }

    #[test]
    fn a_provider_that_quotes_what_was_sent_does_not_make_us_tell_it() {
        let refused = answered(400, "", r#"{"error":"invalid_grant","error_description":"no token s3cret"}"#);
        let refused = refused.unwrap_err().without(&["", "s3cret"]);
        assert!(
            matches!(refused, TokenRequestError::InvalidGrant(words) if words == "invalid_grant: no token […]")
        );
    }
}
