//! Client ID Metadata Documents: an app whose `client_id` is the address of what it says of itself
//! ([client registration](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/client-registration),
//! [draft-ietf-oauth-client-id-metadata-document](https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/)).
//!
//! The document is another party's, at an address that the request names. So it is fetched with the guards of every
//! outgoing address, without redirects, of at most 5 KB (section 6.6 of the draft). A process keeps it as long as its
//! headers say, at most 24 hours, and never keeps a failure (section 4.3).

use std::time::Duration;

use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE},
};
use quick_cache::sync::Cache;
use url::Url;

use super::{AppAuth, AppKind, AppMetadata, AppRefusal, app_id, metadata::Metadata};
use crate::{
    Core, Settings,
    clock::Timestamp,
    network::{HttpError, MaxBytes, without_byte_order_mark},
};

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 5 * 1024;
/// How long a document is kept at most.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// The longest address of a document, in bytes.
const LONGEST_URL: usize = 1000;
/// How many documents a process keeps.
const CAPACITY: usize = 200;

/// The documents that this process has fetched, by their addresses.
pub(crate) struct Documents(Cache<String, (AppMetadata, Timestamp)>);

impl Default for Documents {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Documents")
    }
}

/// The address of a document, if a `client_id` can be one (section 3 of the draft). It has only one form, since the
/// document must name it by that (RFC 3986 section 6.2.1).
pub(super) fn address(client_id: &str) -> Result<Url, AppRefusal> {
    let refused = |why: &str| AppRefusal::Document(why.to_owned());
    let url = Url::parse(client_id).map_err(|_| refused("its address is no URL"))?;
    if client_id.len() > LONGEST_URL || url.as_str() != client_id {
        return Err(refused("its address must be written as browsers write it, in at most 1,000 characters"));
    }
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "https" || !is_plain || url.path() == "/" {
        return Err(refused("its address must be https, with a path, and without user name and fragment"));
    }
    // A host has one name: with a dot at its end it would get around what an admin says of it.
    if url.host_str().is_none_or(|host| host.ends_with('.')) {
        return Err(refused("its host must not end with a dot"));
    }
    Ok(url)
}

/// The app of a document.
pub(super) async fn find(core: &Core, url: &Url) -> Result<AppMetadata, AppRefusal> {
    let now = core.clock.now();
    let kept = core.documents.0.get(url.as_str()).filter(|(_, until)| now < *until);
    if let Some((app, _)) = kept {
        return Ok(app);
    }
    let (app, lives) = fetched(core, url).await?;
    if lives > Duration::ZERO {
        core.documents.0.insert(url.as_str().to_owned(), (app.clone(), now.plus(lives)));
    } else {
        core.documents.0.remove(url.as_str());
    }
    Ok(app)
}

async fn fetched(core: &Core, url: &Url) -> Result<(AppMetadata, Duration), AppRefusal> {
    let failed = |why: HttpError| AppRefusal::Document(why.to_string());
    core.http.check(url).map_err(failed)?;
    let request = Request::builder().method(Method::GET).uri(url.as_str()).extension(MaxBytes(MAX_BYTES));
    let request = request.header(ACCEPT, "application/json").body(Vec::new());
    let request = request.map_err(|_| AppRefusal::Document("its address is no URL".to_owned()))?;
    let response = core.http.send(request).await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(failed(HttpError::Redirects)),
        status => return Err(failed(HttpError::Status(status))),
    }
    if response.body().len() > MAX_BYTES {
        return Err(failed(HttpError::TooLarge(MAX_BYTES)));
    }
    // On hosts where people keep files, a file of theirs is no word of the host.
    if !is_json(response.headers()) {
        return Err(AppRefusal::Document("it is not sent as application/json".to_owned()));
    }
    let app = read(&core.settings, url, response.body()).map_err(AppRefusal::Document)?;
    Ok((app, lives(response.headers())))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// How long a document is good, by its headers (RFC 9111 sections 5.1 and 5.2.2): not at all if they do not say.
fn lives(headers: &HeaderMap) -> Duration {
    let texts = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        texts.flat_map(|text| text.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|one| one.starts_with("no-store") || one.starts_with("no-cache")) {
        return Duration::ZERO;
    }
    let seconds = |text: &str| text.trim_matches('"').parse::<u64>().ok();
    let max_age = directives.iter().find_map(|one| one.strip_prefix("max-age=").and_then(seconds));
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(seconds).unwrap_or_default();
    Duration::from_secs(max_age.unwrap_or_default().saturating_sub(age)).min(KEPT_FOR)
}

pub(super) fn read(settings: &Settings, url: &Url, body: &[u8]) -> Result<AppMetadata, String> {
    // A list, too, could be read as the fields in their order.
    let object =
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(without_byte_order_mark(body));
    let sent = object.and_then(|object| serde_json::from_value::<Metadata>(object.into()));
    let mut sent = sent.map_err(|_| "it is no JSON object of client metadata".to_owned())?;
    if sent.client_id.as_deref() != Some(url.as_str()) {
        return Err("its client_id is not its address".to_owned());
    }
    let auth = match sent.token_endpoint_auth_method.as_deref() {
        Some("private_key_jwt") => sent.keys()?,
        None if sent.has_keys() => sent.keys()?,
        Some("none") | None => AppAuth::None,
        // Section 4.1 of the draft: there is no way to share a secret.
        Some(_) => return Err("its token_endpoint_auth_method must be none or private_key_jwt".to_owned()),
    };
    // Keys, too, are no secret that is shared, and a program on a computer may have its own scheme beside them.
    let redirect_uris = sent.redirect_uris(settings, true)?;
    Ok(AppMetadata {
        id: app_id(url.as_str()),
        client_id: url.as_str().to_owned(),
        kind: AppKind::Document,
        name: sent.name(),
        host: url.host_str().map(str::to_owned),
        redirect_uris,
        auth,
        trusted: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_document_has_one_form() {
        assert!(address("https://app.example.com/oauth/client.json").is_ok());
        assert!(address("https://app.example.com:8443/client?v=1").is_ok());
        for wrong in [
            "https://app.example.com",
            "https://app.example.com/",
            "http://app.example.com/client",
            "https://App.example.com/client",
            "https://app.example.com:443/client",
            "https://app.example.com/a/../client",
            "https://app.example.com/./client",
            "https://user@app.example.com/client",
            "https://app.example.com/client#x",
            "https://app.example.com./client",
            "https://app.example.com\\client",
            "https:app.example.com/client",
            "https://",
            &format!("https://app.example.com/{}", "a".repeat(1000)),
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_document_lives_as_long_as_its_headers_say_and_at_most_a_day() {
        let lives = |headers: &[(http::HeaderName, &str)]| {
            let headers =
                headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            lives(&headers).as_secs()
        };
        assert_eq!(lives(&[]), 0);
        assert_eq!(lives(&[(CACHE_CONTROL, "public, Max-Age=600")]), 600);
        assert_eq!(lives(&[(CACHE_CONTROL, "max-age=600"), (AGE, "500")]), 100);
        assert_eq!(lives(&[(CACHE_CONTROL, "max-age=600"), (AGE, "700")]), 0);
        assert_eq!(lives(&[(CACHE_CONTROL, "max-age=31536000, immutable")]), 86_400);
        assert_eq!(lives(&[(CACHE_CONTROL, "max-age=600, no-cache")]), 0);
        assert_eq!(lives(&[(CACHE_CONTROL, "no-store")]), 0);
        assert_eq!(lives(&[(CACHE_CONTROL, "max-age=-1")]), 0);
        assert_eq!(lives(&[(CACHE_CONTROL, "s-maxage=600")]), 0);
    }
}
