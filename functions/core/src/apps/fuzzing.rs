//! What apps say of themselves and ask for, whatever it is.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fuzz target fails by panicking")]

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use url::{Url, form_urlencoded};

use super::{
    AppAuth, AppMetadata, document,
    redirect_uri::{
        KNOWN_SCHEMES, LOOPBACK, MAX_COUNT, MAX_LENGTH, OF_ANSWERS, Place, RedirectUri, can_be_added,
    },
    registration::{self, MAX_CLIENT_ID},
};
use crate::{Settings, clock::Random};

fn settings() -> Settings {
    Settings::at("https://deputize.test")
}

/// Whatever is taken leads to a place that an app can have, and what fits leads where the registered one leads. On a
/// second line of the input is what is registered.
pub fn redirect_uri(input: &str) {
    let (asked, registered) = input.split_once('\n').unwrap_or((input, input));
    let settings = settings();
    let Ok(asked) = RedirectUri::check(&settings, asked, true) else { return };
    let text = asked.as_str();
    let scheme = text.split_once(':').unwrap().0;
    assert!(
        text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#') && text.len() <= MAX_LENGTH
    );
    assert!(text.starts_with(asked.origin()));
    let url = Url::parse(text);
    let host = url.as_ref().ok().and_then(Url::host_str);
    match asked.place() {
        Place::PrivateUse => {
            assert!(can_be_added(scheme) && (scheme.contains('.') || KNOWN_SCHEMES.contains(&scheme)));
            assert!(RedirectUri::check(&settings, text, false).is_err());
        }
        Place::Loopback => {
            assert!(matches!(scheme, "http" | "https") && host.is_some_and(|host| LOOPBACK.contains(&host)));
        }
        Place::Host(named) => assert!(scheme == "https" && host == Some(&**named) && !named.ends_with('.')),
    }
    if let Ok(url) = &url {
        assert!(url.username().is_empty() && url.password().is_none());
    }
    let answer = asked.with(&[("code", "a&b\r\n"), ("state", "#")]);
    assert!(answer.starts_with(text) && answer.bytes().all(|byte| byte.is_ascii_graphic()));
    let query = answer.split_once('?').unwrap().1;
    let answers = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| OF_ANSWERS.contains(&&**name));
    assert_eq!(answers.count(), 2);
    if !asked.fits(registered) || text == registered {
        return;
    }
    // Only the port of this computer, and a path that is empty or `/`, can differ.
    let (asked_url, registered_url) = (url.unwrap(), Url::parse(registered).unwrap());
    let told = |url: &Url| {
        let (host, path) = (url.host_str().map(str::to_owned), url.path().to_owned());
        (url.scheme().to_owned(), host, path, url.query().map(str::to_owned))
    };
    assert_eq!(told(&asked_url), told(&registered_url));
    assert!(*asked.place() == Place::Loopback || asked_url.port() == registered_url.port());
    assert_ne!(*asked.place(), Place::PrivateUse);
}

/// What can be of an app, whatever it says.
fn check(settings: &Settings, app: &AppMetadata) {
    assert!((1..=MAX_COUNT).contains(&app.redirect_uris.len()));
    let is_public = !matches!(app.auth, AppAuth::Secret { .. });
    for uri in &app.redirect_uris {
        RedirectUri::check(settings, uri, is_public).unwrap();
    }
    if let Some(name) = &app.name {
        assert!((1..=61).contains(&name.chars().count()) && !name.chars().any(char::is_control), "{name:?}");
    }
    if let AppAuth::Keys { keys, jwks_uri } = &app.auth {
        assert_eq!(keys.is_empty(), jwks_uri.is_some());
        assert!(jwks_uri.as_ref().is_none_or(|uri| uri.starts_with("https:")), "{jwks_uri:?}");
    }
    assert!(!app.trusted);
}

/// Metadata of a document, and of a registration.
pub fn metadata(body: &[u8]) {
    let settings = settings();
    let url = Url::parse("https://a.test/c").unwrap();
    if let Ok(app) = document::read(&settings, &url, body) {
        assert_eq!((&*app.client_id, app.host.as_deref()), (url.as_str(), Some("a.test")));
        assert!(!matches!(app.auth, AppAuth::Secret { .. }));
        check(&settings, &app);
    }
    let Ok((content, ..)) = registration::narrowed(&settings, &Random::System, body).unwrap() else { return };
    let key = key();
    let Ok(client_id) = registration::client_id(&key, content).unwrap() else { return };
    assert!(client_id.len() <= MAX_CLIENT_ID);
    assert!(
        client_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        "{client_id}"
    );
    let app = registration::read(&settings, &key, &client_id).unwrap();
    assert_eq!((&app.client_id, &app.host), (&client_id, &None));
    check(&settings, &app);
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
}

/// A `client_id` that was not registered here is no app, and one with any content that was signed is read without fault.
pub fn client_id(input: &str) {
    let (settings, key) = (settings(), key());
    assert!(registration::read(&settings, &key, input).is_none(), "forged {input}");
    let text = BASE64_URL_SAFE_NO_PAD.encode(input);
    let signed = registration::signed(&key, &text);
    if let Some(app) = registration::read(&settings, &key, &signed) {
        assert_eq!(app.client_id, signed);
    }
    // With anything changed or added, it is none.
    let at = input.len() % signed.len();
    let changed = if signed.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut other = signed.clone();
    other.replace_range(at..=at, changed);
    for none in
        [other, format!("{signed}A"), format!("{signed}."), format!("{signed}="), signed.to_uppercase()]
    {
        assert!(registration::read(&settings, &key, &none).is_none(), "{none}");
    }
}
