//! Where an app takes its answers: which addresses can be registered, and which fit a registered one.
//!
//! **What can be registered.** An https address; an http address of this computer (`localhost`, `127.0.0.1`, `[::1]`);
//! and, for public clients, a private-use scheme (RFC 8252 section 7.1): one with a dot, such as `com.example.app`, or
//! one of a list of known ones ([`KNOWN_SCHEMES`], and those of the deployment). Nothing else ever is: many other
//! schemes make an operating system run something. And a known app takes commands by its scheme, such as to install a
//! program: those cannot be registered either ([`Parts::is_a_command`]).
//!
//! **What fits.** The text that is registered, letter by letter (RFC 9700 section 4.1.3). There are two exceptions. On
//! this computer the port is free (RFC 8252 section 7.3), and an empty path equals `/` (RFC 3986 section 6.2.3).

use crate::{Settings, apps::shown};

/// Schemes of desktop apps without a dot, which their apps register with the operating system for themselves.
pub const KNOWN_SCHEMES: [&str; 10] = [
    "code-oss",
    "cursor",
    "kiro",
    "raycast",
    "vscode",
    "vscode-insiders",
    "vscodium",
    "windsurf",
    "windsurf-next",
    "zed",
];

/// Schemes that are never an app's own, whatever a deployment lists. Browsers or operating systems act on them.
const REFUSED_SCHEMES: [&str; 57] = [
    "about",
    "afp",
    "android-app",
    "applescript",
    "blob",
    "chrome",
    "chrome-extension",
    "cid",
    "data",
    "devtools",
    "edge",
    "facetime",
    "feed",
    "file",
    "filesystem",
    "ftp",
    "git",
    "hcp",
    "help",
    "http",
    "https",
    "intent",
    "itms-apps",
    "itms-services",
    "jar",
    "javascript",
    "jnlp",
    "ldap",
    "mailto",
    "market",
    "mhtml",
    "mk",
    "moz-extension",
    "nfs",
    "odopen",
    "rdp",
    "res",
    "resource",
    "search",
    "search-ms",
    "sftp",
    "shell",
    "sip",
    "smb",
    "sms",
    "ssh",
    "steam",
    "svn",
    "tel",
    "telnet",
    "vbscript",
    "view-source",
    "vnc",
    "webcal",
    "ws",
    "wss",
    "wyciwyg",
];

/// What begins so is the operating system's, with or without a dot: `ms-msdt:`, `x-apple.systempreferences:`.
const REFUSED_PREFIXES: [&str; 4] = ["ms-", "x-", "microsoft.", "web+"];

/// The hosts of this computer.
pub(super) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The parameters of an answer (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207). An app's own query has none of them: a
/// client that reads the first of two would read what was registered, and not what we say.
pub(super) const OF_ANSWERS: [&str; 7] =
    ["code", "error", "error_description", "error_uri", "iss", "response", "state"];

/// The longest redirect URI, in bytes.
pub const MAX_LENGTH: usize = 1000;
/// How many an app can have.
pub const MAX_COUNT: usize = 20;

/// Whether a scheme can be one that a deployment adds.
pub fn can_be_added(scheme: &str) -> bool {
    let mut bytes = scheme.bytes();
    // RFC 3986 section 3.1, in lower case.
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    first && bytes.all(fits) && scheme.len() <= 64 && !is_refused(scheme)
}

fn is_refused(scheme: &str) -> bool {
    REFUSED_SCHEMES.contains(&scheme) || REFUSED_PREFIXES.iter().any(|prefix| scheme.starts_with(prefix))
}

/// A redirect URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    place: Place,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To a program on the user's computer, by a port of it.
    Loopback,
    /// To a program on the user's computer, by a scheme that the program has taken.
    PrivateUse,
    /// To a web server, of this host.
    Host(String),
}

/// Why a redirect URI cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be a redirect URI: {why}", shown(.uri, 120))]
pub struct RefusedUri {
    uri: String,
    why: &'static str,
}

/// The parts of a hierarchical URI.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    /// The path with its query.
    rest: &'a str,
}

/// The scheme, the authority and the rest, if there is an authority. It begins after the first colon: to a browser,
/// `http:/evil.test://localhost/` is at `evil.test`.
fn with_authority(uri: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    let (authority, rest) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    Some((scheme, authority, rest))
}

impl<'a> Parts<'a> {
    /// Of a URI with an authority (RFC 3986 section 3.2).
    fn of(uri: &'a str) -> Option<Self> {
        let (scheme, authority, rest) = with_authority(uri)?;
        let after_host = if authority.starts_with('[') {
            authority.find(']')? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at_checked(after_host)?;
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':')?),
        };
        Some(Self { scheme, host, port, rest })
    }

    fn is_here(&self) -> bool {
        LOOPBACK.contains(&self.host)
    }

    /// Whether a known app would take this as a command. Commands are their own words, or come with arguments, as
    /// `vscode:extension/…` and `cursor://anysphere.cursor-deeplink/mcp/install?…`, which offers to run a program
    /// (<https://cursor.com/docs/mcp/install-links>). An answer goes to an extension, whose name has a dot
    /// (<https://code.visualstudio.com/api/references/vscode-api#window.registerUriHandler>).
    fn is_a_command(&self) -> bool {
        let (_, query) = self.path_and_query();
        let has_only = |name: &str| {
            query.len() < 2 || query[1..].split('&').all(|pair| pair.split('=').next() == Some(name))
        };
        match self.scheme {
            // <https://developers.raycast.com/api-reference/oauth>
            "raycast" => self.host != "oauth" || !has_only("package_name"),
            // An editor adds the number of its window to an address that it makes.
            _ => !self.host.contains('.') || self.host.ends_with("-deeplink") || !has_only("windowId"),
        }
    }

    /// The path with its query, of which an empty path is `/`.
    fn path_and_query(&self) -> (&'a str, &'a str) {
        let (path, query) = self.rest.split_at(self.rest.find('?').unwrap_or(self.rest.len()));
        (if path.is_empty() { "/" } else { path }, query)
    }
}

impl RedirectUri {
    /// Checks a redirect URI. `is_public`: the app has no secret and no key.
    pub fn check(settings: &Settings, uri: &str, is_public: bool) -> Result<Self, RefusedUri> {
        let refused = |why| Err(RefusedUri { uri: uri.to_owned(), why });
        if uri.len() > MAX_LENGTH {
            return refused("it is longer than 1,000 characters");
        }
        if !uri.bytes().all(|byte| byte.is_ascii_graphic()) || uri.contains(['\\', '"', '<', '>', '`']) {
            return refused("it has characters that no URI has");
        }
        if uri.contains('#') {
            return refused("it has a fragment");
        }
        let Some((scheme, _)) = uri.split_once(':') else { return refused("it has no scheme") };
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| OF_ANSWERS.contains(&&*name)) {
            return refused("its query has a parameter that answers have");
        }
        match scheme {
            "https" | "http" => {}
            scheme if scheme.contains('.') || Self::is_known(settings, scheme) => {
                if !can_be_added(scheme) {
                    return refused("its scheme is no app's own");
                }
                if !is_public {
                    return refused("a private-use scheme is for public clients");
                }
                let has_user = with_authority(uri).is_some_and(|(_, authority, _)| authority.contains('@'));
                if has_user || uri.len() == scheme.len() + 1 {
                    return refused("it is no address");
                }
                let parts = Parts::of(uri);
                if KNOWN_SCHEMES.contains(&scheme) && parts.is_none_or(|parts| parts.is_a_command()) {
                    return refused("the app would take it as a command");
                }
                return Ok(Self { text: uri.to_owned(), place: Place::PrivateUse });
            }
            _ => return refused("its scheme must be https, http on this computer, or a known app's own"),
        }
        if with_authority(uri).is_some_and(|(_, authority, _)| authority.contains('@')) {
            return refused("it has a user name");
        }
        let Some(parts) = Parts::of(uri) else { return refused("it is no address") };
        let port =
            parts.port.map(|port| port.parse::<u16>().ok().filter(|n| *n > 0 && n.to_string() == port));
        if port == Some(None) {
            return refused("its port is no number");
        }
        if scheme == "http" && !parts.is_here() {
            return refused("http is for this computer alone: localhost, 127.0.0.1 or [::1]");
        }
        // What a browser connects to must be what the text says, and a host has one name: with a dot at its end it would
        // get around what an admin says of it.
        let url = url::Url::parse(uri).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        if host != Some(parts.host) || parts.host.contains(['*', '%']) || parts.host.ends_with('.') {
            return refused("its host is not written as browsers write it");
        }
        if parts.is_here() {
            return Ok(Self { text: uri.to_owned(), place: Place::Loopback });
        }
        Ok(Self { text: uri.to_owned(), place: Place::Host(parts.host.to_owned()) })
    }

    fn is_known(settings: &Settings, scheme: &str) -> bool {
        KNOWN_SCHEMES.contains(&scheme) || settings.apps.schemes.iter().any(|added| added == scheme)
    }

    /// Whether a request that names this one is for the app that registered that one.
    pub fn fits(&self, registered: &str) -> bool {
        if self.text == registered {
            return true;
        }
        // Of a private-use scheme nothing else is known.
        let (Some(own), Some(registered)) = (Parts::of(&self.text), Parts::of(registered)) else {
            return false;
        };
        if self.place == Place::PrivateUse {
            return false;
        }
        own.scheme == registered.scheme
            && own.host == registered.host
            && (own.port == registered.port || own.is_here())
            && own.path_and_query() == registered.path_and_query()
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its beginning, without path and query: what a person can tell it by.
    pub fn origin(&self) -> &str {
        let rest = Parts::of(&self.text).map(|parts| parts.rest.len());
        let rest = rest.or_else(|| Some(self.text.len() - self.text.find(':')? - 1)).unwrap_or_default();
        self.text.get(..self.text.len() - rest).unwrap_or(&self.text)
    }

    /// Its host, unless it is on the user's computer.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Host(host) => Some(host),
            Place::Loopback | Place::PrivateUse => None,
        }
    }

    /// The address that a browser is sent to, with these parameters beside those of its own query (RFC 6749 section
    /// 4.1.2).
    pub fn with(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        // A second `?` is a character of the query.
        let joined = match self.text.split_once('?') {
            None => "?",
            Some((_, own)) if own.is_empty() || own.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{joined}{}", self.text, query.finish())
    }
}

/// The usable ones of an app's redirect URIs, once each, and why the first of the others is not.
pub(super) fn kept<'a>(
    settings: &Settings,
    uris: impl IntoIterator<Item = &'a str>,
    is_public: bool,
) -> (Vec<String>, Option<String>) {
    let (mut kept, mut why) = (Vec::new(), None);
    for uri in uris {
        match RedirectUri::check(settings, uri, is_public) {
            Ok(good) if !settings.apps.takes_host(good.host()) => {
                why = why.or(Some(format!(
                    "{} is at a host that this deployment does not allow",
                    shown(uri, 120)
                )));
            }
            Ok(good) if !kept.contains(&good.text) && kept.len() < MAX_COUNT => kept.push(good.text),
            Ok(_) => {}
            Err(refused) => why = why.or(Some(refused.to_string())),
        }
    }
    (kept, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(uri: &str) -> Result<RedirectUri, String> {
        let settings = Settings::at("https://deputize.test");
        RedirectUri::check(&settings, uri, true).map_err(|refused| refused.to_string())
    }

    fn fits(asked: &str, registered: &str) -> bool {
        check(asked).is_ok_and(|asked| asked.fits(registered))
    }

    #[test]
    fn https_this_computer_and_the_schemes_of_apps_can_be_registered() {
        let host = |host: &str| Place::Host(host.to_owned());
        for (uri, place) in [
            ("https://app.example.com/callback", host("app.example.com")),
            ("https://app.example.com:8443/cb?tenant=1", host("app.example.com")),
            ("https://app.example.com", host("app.example.com")),
            ("http://localhost/callback", Place::Loopback),
            ("http://localhost:51789/callback", Place::Loopback),
            ("http://127.0.0.1:6274/oauth/callback", Place::Loopback),
            ("http://[::1]:1/", Place::Loopback),
            ("http://127.0.0.1", Place::Loopback),
            ("https://localhost:3000/cb", Place::Loopback),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Place::PrivateUse),
            ("vscode://vscode.github-authentication/did-authenticate", Place::PrivateUse),
            ("vscode://saoudrizwan.claude-dev/mcp-auth/callback?windowId=2", Place::PrivateUse),
            ("raycast://oauth?package_name=Extension", Place::PrivateUse),
            ("com.example.app:/callback", Place::PrivateUse),
            ("com.example.app://callback?x=1", Place::PrivateUse),
        ] {
            assert_eq!(check(uri).map(|checked| checked.place), Ok(place), "{uri}");
        }
    }

    #[test]
    fn what_could_run_something_or_lead_elsewhere_cannot_be_registered() {
        for uri in [
            "",
            "callback",
            "/callback",
            "//app.example.com/cb",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "javascript://app.example.com/%0aalert(1)",
            "data:text/html,<script>",
            "file:///etc/passwd",
            "blob:https://app.example.com/1",
            "intent://scan/#Intent;end",
            "intent://scan/",
            "ms-msdt:/id",
            "ms-settings:network",
            "ms-word.document:ofe|u|https://evil.test",
            "search-ms:query=x",
            "view-source:https://app.example.com",
            "ws://localhost/cb",
            "wss://app.example.com/cb",
            "ftp://app.example.com/cb",
            "mailto:a@example.com",
            "smb://evil.test/share",
            "x-apple.systempreferences:com.apple.preference.security",
            "microsoft.windows.camera:",
            "vbscript:msgbox",
            "myapp://callback",
            "http://app.example.com/cb",
            "http://localhost.evil.test/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://localhost@evil.test/cb",
            "http://localhost:80@evil.test/cb",
            "http://127.0.0.2/cb",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://0x7f.0.0.1/cb",
            "http://0.0.0.0/cb",
            "http://[::ffff:127.0.0.1]/cb",
            "http://[::1/cb",
            "http://[::1]evil.test/cb",
            "http://localhost./cb",
            "http://LOCALHOST/cb",
            "HTTP://localhost/cb",
            "http://localhost%2eevil.test/cb",
            "http://localhost:/cb",
            "http://localhost:0/cb",
            "http://localhost:65536/cb",
            "http://localhost:080/cb",
            "http://localhost:+80/cb",
            "http:/localhost/cb",
            "http:localhost/cb",
            "http:/evil.test://localhost/cb",
            "http:evil.test://localhost/cb",
            "http:////localhost/cb",
            "https:/evil.test://localhost/cb",
            "https:/evil.test://app.example.com/cb",
            "https:/evil.test://evil.test/cb",
            "cursor:/x://anysphere.cursor-mcp/oauth/callback",
            "https:app.example.com/cb",
            "https:///app.example.com/cb",
            "https://app.example.com/cb#",
            "https://app.example.com/cb#code=1",
            "https://user@app.example.com/cb",
            "https://user:pw@app.example.com/cb",
            "https://app.example.com:8443@evil.test/cb",
            "https://App.example.com/cb",
            "https://app.example.com\\@evil.test/cb",
            "https://app.example.com/c b",
            "https://app.example.com/cb\n",
            "https://app.example.com/\u{202e}",
            "https://*.example.com/cb",
            "https://app%2eexample.com/cb",
            "https://bücher.example/cb",
            "https://app.example.com./cb",
            "https://localhost./cb",
            "https://APP.EXAMPLE.COM/cb",
            "https://app.example.com/cb?code=mine",
            "https://app.example.com/cb?x=1&st%61te=mine",
            "com.example.app:/cb?error=x",
            "https:///cb",
            "https://",
            "com.example.app:",
            "com.example.app://user@host/cb",
            "com.example.app://user:1@host/cb",
            "com.example.app://[::1]@host/cb",
            "com.example.App:/cb",
            ".example:/cb",
            &format!("https://app.example.com/{}", "a".repeat(1000)),
        ] {
            assert!(check(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn what_a_known_app_would_take_as_a_command_cannot_be_registered() {
        for uri in [
            "cursor://anysphere.cursor-deeplink/mcp/install?name=x&config=eyJjb21tYW5kIjoiY2FsYyJ9",
            "cursor://anysphere.cursor-deeplink/mcp/install",
            "vscode:extension/evil.extension",
            "vscode:mcp/install?%7B%22command%22%3A%22calc%22%7D",
            "vscode://file/c:/windows/system32/calc.exe",
            "vscode://vscode-remote/ssh-remote+evil.test/x",
            "vscode://vscode.git/clone?url=https://evil.test/x.git",
            "vscode-insiders:mcp/install",
            "zed://extension/evil",
            "raycast://extensions/evil/run",
            "raycast://oauth?package_name=x&launch=y",
        ] {
            assert!(check(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_refusal_names_the_uri_and_why() {
        let why = |uri: &str| check(uri).unwrap_err();
        assert_eq!(
            why("javascript:alert(1)"),
            "javascript:alert(1) cannot be a redirect URI: its scheme must be https, http on this computer, or a \
             known app's own"
        );
        assert_eq!(
            why("http://app.example.com/cb"),
            "http://app.example.com/cb cannot be a redirect URI: http is for this computer alone: localhost, \
             127.0.0.1 or [::1]"
        );
        let long = why(&format!("https://a.example/\u{1b}[2J\u{202e}{}", "a".repeat(5000)));
        assert!(long.starts_with("https://a.example/[2Jaaa") && long.len() < 250, "{long}");
    }

    #[test]
    fn an_app_with_a_secret_has_no_scheme_of_its_own() {
        let settings = Settings::at("https://deputize.test");
        let refused = RedirectUri::check(&settings, "com.example.app:/cb", false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "com.example.app:/cb cannot be a redirect URI: a private-use scheme is for public clients"
        );
    }

    #[test]
    fn a_deployment_adds_schemes_but_none_that_could_run_something() {
        let settings = Settings::at("https://deputize.test");
        let mut apps = settings.apps.clone();
        apps.schemes = vec!["myapp".to_owned()];
        let settings = settings.taking_apps(apps);
        assert!(RedirectUri::check(&settings, "myapp://callback", true).is_ok());
        for good in ["myapp", "com.example.app", "my-app+x"] {
            assert!(can_be_added(good), "{good}");
        }
        let never =
            ["javascript", "http", "ms-msdt", "x-thing", "shell", "itms-services", "git", "web+mastodon"];
        for bad in never.into_iter().chain(["My", "", "1a", "a b", "a:"]) {
            assert!(!can_be_added(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_is_what_is_registered_but_for_a_port_here_and_an_empty_path() {
        for (asked, registered) in [
            ("https://app.example.com/cb", "https://app.example.com/cb"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com", "https://app.example.com/"),
            ("https://app.example.com?x=1", "https://app.example.com/?x=1"),
            ("http://localhost:51789/callback", "http://localhost/callback"),
            ("http://localhost/callback", "http://localhost:3000/callback"),
            ("http://127.0.0.1:6274", "http://127.0.0.1:1/"),
            ("http://[::1]:6274/cb", "http://[::1]/cb"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback"),
        ] {
            assert!(fits(asked, registered), "{asked} {registered}");
        }
    }

    #[test]
    fn what_nearly_matches_does_not() {
        let registered = "https://app.example.com/cb";
        for asked in [
            "https://app.example.com/cb/",
            "https://app.example.com/cb?",
            "https://app.example.com/cb?x=1",
            "https://app.example.com/CB",
            "https://app.example.com/c%62",
            "https://app.example.com/./cb",
            "https://app.example.com/x/../cb",
            "https://app.example.com//cb",
            "https://app.example.com/cb;x",
            "https://app.example.com/",
            "https://app.example.com",
            "https://app.example.com:443/cb",
            "https://app.example.com:8443/cb",
            "https://app.example.com.evil.test/cb",
            "https://evil.app.example.com/cb",
            "https://app.example.com@evil.test/cb",
            "https://evil.test/cb",
            "https://app.example.com/cb#",
            "https://app.example.com./cb",
            "http://app.example.com/cb",
            "http://localhost/cb",
            "com.example.app:/cb",
        ] {
            assert!(!fits(asked, registered), "{asked}");
        }
        for (asked, registered) in [
            ("http://127.0.0.1/cb", "http://localhost/cb"),
            ("http://[::1]/cb", "http://127.0.0.1/cb"),
            ("https://localhost/cb", "http://localhost/cb"),
            ("http://localhost:1/cb/", "http://localhost/cb"),
            ("http://localhost:1/cb?x", "http://localhost/cb"),
            ("http://localhost.evil.test/cb", "http://localhost/cb"),
            ("http://localhost:1@evil.test/cb", "http://localhost/cb"),
            ("cursor://anysphere.cursor-mcp", "cursor://anysphere.cursor-mcp/"),
            ("cursor://anysphere.cursor-mcp:1/cb", "cursor://anysphere.cursor-mcp/cb"),
            ("vscode://x/cb", "cursor://x/cb"),
        ] {
            assert!(!fits(asked, registered), "{asked} {registered}");
        }
    }

    #[test]
    fn an_answer_is_added_to_the_query_that_is_there() {
        let with = |uri: &str| check(uri).unwrap().with(&[("code", "a b"), ("state", "&=")]);
        assert_eq!(with("https://a.example/cb"), "https://a.example/cb?code=a+b&state=%26%3D");
        assert_eq!(with("https://a.example/cb?x=1"), "https://a.example/cb?x=1&code=a+b&state=%26%3D");
        assert_eq!(with("com.example.app:/cb?"), "com.example.app:/cb?code=a+b&state=%26%3D");
        assert_eq!(with("https://a.example/cb?x?"), "https://a.example/cb?x?&code=a+b&state=%26%3D");
    }

    proptest! {
        /// Whatever is taken and fits leads a browser to the registered place.
        #[test]
        fn what_fits_leads_where_the_registered_one_leads(
            registered in prop::sample::select(vec![
                "https://app.example.com/cb", "https://app.example.com", "http://localhost/cb",
                "http://127.0.0.1:3000/cb?x=1", "http://[::1]/",
            ]),
            at in 0_usize..40,
            cut in 0_usize..4,
            put in "[a-z0-9.:/@?#%\\\\\\[\\]]{0,6}",
        ) {
            let at = at.min(registered.len());
            let end = (at + cut).min(registered.len());
            let asked = format!("{}{put}{}", &registered[..at], &registered[end..]);
            if fits(&asked, registered) {
                let (asked, registered) =
                    (url::Url::parse(&asked).unwrap(), url::Url::parse(registered).unwrap());
                prop_assert_eq!(asked.scheme(), registered.scheme());
                prop_assert_eq!(asked.host_str(), registered.host_str());
                prop_assert_eq!(asked.path(), registered.path());
                prop_assert_eq!(asked.query(), registered.query());
                prop_assert!(asked.username().is_empty() && asked.password().is_none());
                prop_assert!(asked.fragment().is_none());
                let here = matches!(asked.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
                prop_assert!(here || asked.port() == registered.port());
            }
        }

        #[test]
        fn no_text_makes_checking_panic(uri in "\\PC{0,60}") {
            let _ = check(&uri);
        }
    }
}
