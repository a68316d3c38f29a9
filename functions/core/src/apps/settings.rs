//! Which apps a deployment takes.

use super::redirect_uri::can_be_added;
use crate::entities::app::AppKind;

/// Which apps a deployment takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    kinds: Vec<AppKind>,
    /// The hosts that apps may be from; any if there is no list. With a dot before it, also every host below.
    hosts: Option<Vec<String>>,
    /// Private-use schemes of redirect URIs, beside the known ones.
    pub(crate) schemes: Vec<String>,
}

impl Default for AppSettings {
    fn default() -> Self {
        let kinds = vec![AppKind::Document, AppKind::Dynamic, AppKind::Registered];
        Self { kinds, hosts: None, schemes: Vec::new() }
    }
}

/// How many hosts or schemes a deployment can list.
const MAX_LISTED: usize = 100;

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

impl AppSettings {
    /// Takes apps of these kinds alone: `documents`, `registration`, `admin`, separated by commas, or `none`.
    pub fn taking(mut self, kinds: &str) -> Result<Self, String> {
        let kind = |name| match name {
            "documents" => Ok(AppKind::Document),
            "registration" => Ok(AppKind::Dynamic),
            "admin" => Ok(AppKind::Registered),
            _ => Err("must be of documents, registration and admin, separated by commas, or none".to_owned()),
        };
        let named = listed(kinds).filter(|_| kinds.trim() != "none");
        self.kinds = named.map(kind).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Takes apps from these hosts alone, separated by commas.
    pub fn from_hosts(mut self, hosts: &str) -> Result<Self, String> {
        let hosts: Vec<String> = listed(hosts).map(str::to_ascii_lowercase).collect();
        let fits = |host: &String| {
            let plain = host.strip_prefix('.').unwrap_or(host);
            !plain.contains('*') && url::Host::parse(plain).is_ok_and(|parsed| parsed.to_string() == plain)
        };
        if hosts.is_empty() || hosts.len() > MAX_LISTED || !hosts.iter().all(fits) {
            return Err(format!(
                "must be 1 to {MAX_LISTED} host names, such as app.example.com,.example.org (with a dot: and below)"
            ));
        }
        self.hosts = Some(hosts);
        Ok(self)
    }

    /// Also takes redirect URIs of these schemes, separated by commas.
    pub fn with_schemes(mut self, schemes: &str) -> Result<Self, String> {
        self.schemes = listed(schemes).map(str::to_owned).collect();
        if self.schemes.len() > MAX_LISTED || !self.schemes.iter().all(|scheme| can_be_added(scheme)) {
            return Err(
                "must be schemes of apps, such as myapp,com.example.app: no others can be added".to_owned()
            );
        }
        Ok(self)
    }

    /// Whether apps of this kind are taken.
    pub fn takes(&self, kind: AppKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether apps from this host are taken. A program on the user's computer is from none.
    pub fn takes_host(&self, host: Option<&str>) -> bool {
        let (Some(hosts), Some(host)) = (&self.hosts, host) else { return true };
        hosts.iter().any(|listed| match listed.strip_prefix('.') {
            Some(above) => host == above || host.ends_with(&**listed),
            None => host == listed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_says_which_kinds_hosts_and_schemes_it_takes() {
        let all = AppSettings::default();
        assert!(
            all.takes(AppKind::Document) && all.takes(AppKind::Dynamic) && all.takes(AppKind::Registered)
        );
        assert!(all.takes_host(Some("anything.example")) && all.takes_host(None));
        let some = AppSettings::default().taking(" admin, documents").unwrap();
        assert!(some.takes(AppKind::Document) && !some.takes(AppKind::Dynamic));
        let none = AppSettings::default().taking("none").unwrap();
        assert!(!none.takes(AppKind::Registered));
        let few = AppSettings::default().from_hosts("claude.ai, .Example.com").unwrap();
        for (host, taken) in [
            ("claude.ai", true),
            ("www.claude.ai", false),
            ("example.com", true),
            ("app.example.com", true),
            ("evilexample.com", false),
            ("example.com.evil.test", false),
        ] {
            assert_eq!(few.takes_host(Some(host)), taken, "{host}");
        }
        assert!(few.takes_host(None));
        for wrong in ["everything", "documents;admin"] {
            assert!(AppSettings::default().taking(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "*.example.com", "https://a.example", "a b", "a.example/x"] {
            assert!(AppSettings::default().from_hosts(wrong).is_err(), "{wrong}");
        }
        assert!(AppSettings::default().with_schemes("javascript").is_err());
        assert!(AppSettings::default().with_schemes("myapp, com.example.app").is_ok());
    }
}
