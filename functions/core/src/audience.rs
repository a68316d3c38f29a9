//! Where a token is good: at every server, or at some (RFC 8707).
//!
//! `aud` of an agent's token is the whole proxy, or up to 20 servers; of an app's token it is one resource, which may
//! also be the management API. [`Audience`] is the one place that says which servers an audience covers. Elsewhere the
//! token is refused before the table is read.
//!
//! `resource` and `audience` mean the same, and each may be repeated: the token is for all that they name, once each.
//! An exchange stays within what its subject was narrowed to.

use std::collections::BTreeSet;

use deputize_api::path;
use serde::{Deserialize, Serialize};

use crate::{Settings, ids::ServerId};

/// A protected resource (RFC 9728 section 1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The whole proxy.
    Proxy,
    /// One server.
    Server(ServerId),
    /// The management API. It is for apps that act as their user, not for agents.
    Management,
}

impl Resource {
    /// The resource that a text names. A server's name may include its MCP endpoint or not, and that may end with a
    /// slash, as it does for clients that are given its address so. The origin, with or without a slash, is the whole
    /// proxy: some MCP clients know no other name. A query says nothing. Only scheme and host ignore case (RFC 3986
    /// section 6.2.2.1).
    pub fn parse(settings: &Settings, text: &str) -> Option<Self> {
        let at_other = settings.other_origins.iter().find_map(|other| {
            let (origin, path) = text.split_at_checked(other.len())?;
            (origin.eq_ignore_ascii_case(other) && path.starts_with('/'))
                .then(|| format!("{}{path}", settings.origin()))
        });
        let text = at_other.as_deref().unwrap_or(text);
        // RFC 8707 section 2: a resource has no fragment.
        if text.contains('#') {
            return None;
        }
        let text = text.split_once('?').map_or(text, |(before, _)| before);
        let proxy = &*settings.audience;
        let host = proxy.find("://")? + 3;
        let path = host + proxy.get(host..)?.find('/')?;
        let (origin, rest) = text.split_at_checked(path)?;
        if !origin.eq_ignore_ascii_case(proxy.get(..path)?) {
            return None;
        }
        if matches!(rest, "" | "/") || rest.strip_suffix('/').unwrap_or(rest) == settings.path() {
            return Some(Self::Proxy);
        }
        if rest.strip_prefix(settings.path()) == Some(path::MANAGEMENT) {
            return Some(Self::Management);
        }
        let rest = rest.strip_prefix(proxy.get(path..)?)?;
        if rest.is_empty() {
            return Some(Self::Proxy);
        }
        let server = rest.strip_prefix('/')?;
        let server = server.strip_suffix("/mcp").or_else(|| server.strip_suffix("/mcp/")).unwrap_or(server);
        server.parse().ok().map(Self::Server)
    }

    /// Its canonical name, in requests and in tokens.
    pub fn name(&self, settings: &Settings) -> String {
        match self {
            Self::Proxy => settings.audience.clone(),
            Self::Server(server) => format!("{}/{server}/mcp", settings.audience),
            Self::Management => format!("{}{}", settings.issuer, path::MANAGEMENT),
        }
    }

    /// Where its metadata is (RFC 9728 section 3.1).
    pub fn metadata_url(&self, settings: &Settings) -> String {
        let resource = self.name(settings);
        let below = resource.strip_prefix(&*settings.issuer).unwrap_or_default();
        format!("{}{}{below}", settings.issuer, path::RESOURCE_METADATA)
    }
}

/// How many servers a token can name. For more, use the whole proxy or another token.
pub const MAX_RESOURCES: usize = 20;

/// The resources that a token is for, at least one. If the whole proxy is among them, it is the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(BTreeSet<Resource>);

impl Audience {
    pub fn proxy() -> Self {
        Self(BTreeSet::from([Resource::Proxy]))
    }

    /// From these resources, without repetitions. `None` if there are none or too many, or if the management API is
    /// among several.
    pub fn of(resources: impl IntoIterator<Item = Resource>) -> Option<Self> {
        let resources: BTreeSet<_> = resources.into_iter().collect();
        if resources.contains(&Resource::Proxy) {
            return Some(Self::proxy());
        }
        if resources.contains(&Resource::Management) && resources.len() > 1 {
            return None;
        }
        (1..=MAX_RESOURCES).contains(&resources.len()).then_some(Self(resources))
    }

    /// The resources' names, sorted.
    pub fn names(&self, settings: &Settings) -> Vec<String> {
        self.0.iter().map(|resource| resource.name(settings)).collect()
    }

    /// The servers that are named individually.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &ServerId> {
        self.0.iter().filter_map(|resource| match resource {
            Resource::Proxy | Resource::Management => None,
            Resource::Server(server) => Some(server),
        })
    }

    /// Whether a token for this is good at a server. This is the only place that decides it.
    pub fn covers(&self, server: &ServerId) -> bool {
        self.0.iter().any(|resource| match resource {
            Resource::Proxy => true,
            Resource::Management => false,
            Resource::Server(only) => only == server,
        })
    }

    /// Whether this is the management API.
    pub(crate) fn is_management(&self) -> bool {
        self.0.contains(&Resource::Management)
    }

    /// Whether every resource of `other` is covered by this.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        let all = self.0.contains(&Resource::Proxy) && !other.is_management();
        all || other.0.is_subset(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Resource> {
        Resource::parse(&Settings::at("https://deputize.test:8443"), text)
    }

    #[test]
    fn a_resource_is_read_back_from_its_name() {
        let settings = Settings::at("https://deputize.test:8443");
        let demo = Resource::Server("demo".parse().unwrap());
        for resource in [Resource::Proxy, demo, Resource::Management] {
            assert_eq!(Resource::parse(&settings, &resource.name(&settings)), Some(resource));
        }
    }

    #[test]
    fn a_server_is_named_with_or_without_its_endpoint_and_the_host_in_any_case() {
        for text in [
            "https://deputize.test:8443/api/v1/proxy/demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/demo",
            "HTTPS://Deputize.TEST:8443/api/v1/proxy/demo/mcp",
        ] {
            assert_eq!(parsed(text), Some(Resource::Server("demo".parse().unwrap())), "{text}");
        }
        // A server can have the same name as the endpoint.
        let mcp = Some(Resource::Server("mcp".parse().unwrap()));
        assert_eq!(parsed("https://deputize.test:8443/api/v1/proxy/mcp"), mcp);
        assert_eq!(parsed("https://deputize.test:8443/api/v1/proxy/mcp/mcp"), mcp);
    }

    #[test]
    fn the_origin_means_the_whole_proxy_and_a_query_means_nothing() {
        for text in [
            "https://deputize.test:8443",
            "https://deputize.test:8443/",
            "https://DEPUTIZE.test:8443/?version=2",
            "https://deputize.test:8443/api/v1/proxy?x=1&y",
        ] {
            assert_eq!(parsed(text), Some(Resource::Proxy), "{text}");
        }
        let demo = parsed("https://deputize.test:8443/api/v1/proxy/demo/mcp?tenant=/api/v1");
        assert_eq!(demo, Some(Resource::Server("demo".parse().unwrap())));
        // Behind a path, such as a stage of API Gateway.
        let settings = Settings::at("https://gateway.test/v1");
        for text in ["https://gateway.test", "https://gateway.test/v1", "https://gateway.test/v1/"] {
            assert_eq!(Resource::parse(&settings, text), Some(Resource::Proxy), "{text}");
        }
        assert_eq!(Resource::parse(&settings, "https://gateway.test/v2"), None);
        let management = Resource::Management.name(&settings);
        assert_eq!(Resource::parse(&settings, &management), Some(Resource::Management));
    }

    #[test]
    fn what_is_nearly_a_resource_is_none() {
        for text in [
            "",
            "demo",
            "/api/v1/proxy/demo/mcp",
            "https://deputize.test:8443//",
            "https://deputize.test:8443/api",
            "https://deputize.test:8443/api/v1/",
            "https://deputize.test:8443/api/v1/users",
            "https://deputize.test/api/v1/proxy",
            "http://deputize.test:8443/api/v1/proxy",
            "https://deputize.test:84433/api/v1/proxy",
            "https://evil.test:8443/api/v1/proxy/demo",
            "https://deputize.test:8443@evil.test/api/v1/proxy",
            "https://deputize.test:8443/API/v1/proxy",
            "https://deputize.test:8443/api/v1/proxy/",
            "https://deputize.test:8443/api/v1/proxydemo",
            "https://deputize.test:8443/api/v1/proxy//mcp",
            "https://deputize.test:8443/api/v1/proxy/demo/",
            "https://deputize.test:8443/api/v1/proxy/demo/mcp//",
            "https://deputize.test:8443/api/v1/proxy/demo/tools",
            "https://deputize.test:8443/api/v1/proxy/Demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/%64emo/mcp",
            "https://deputize.test:8443/api/v1/proxy/other/../demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/demo/mcp#",
            "https://deputize.test:8443?x#y/api",
            "https://deputize.test:8443#/",
            "https://deputize.test:844ä/api/v1/proxy",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_may_be_named_with_a_slash_at_the_end_and_by_another_address_that_the_service_has() {
        let others = ["http://localhost:8787", "http://[::1]:8787"].map(|other| other.parse().unwrap());
        let settings = Settings::at("http://127.0.0.1:8787").also_at(others);
        for text in [
            "http://127.0.0.1:8787/api/v1/proxy/demo/mcp",
            "http://127.0.0.1:8787/api/v1/proxy/demo/mcp/",
            "http://LocalHost:8787/api/v1/proxy/demo/mcp",
            "http://[::1]:8787/api/v1/proxy/demo",
        ] {
            let resource = Resource::parse(&settings, text);
            assert_eq!(resource, Some(Resource::Server("demo".parse().unwrap())), "{text}");
        }
        for text in [
            "http://localhost:87870/api/v1/proxy/demo/mcp",
            "http://localhost/api/v1/proxy/demo/mcp",
            "http://localhost:8787@evil.test/api/v1/proxy/demo/mcp",
            "https://localhost:8787/api/v1/proxy/demo/mcp",
        ] {
            assert_eq!(Resource::parse(&settings, text), None, "{text}");
        }
    }

    fn of(servers: &[&str]) -> Audience {
        Audience::of(servers.iter().map(|server| Resource::Server(server.parse().unwrap()))).unwrap()
    }

    #[test]
    fn a_token_for_some_servers_covers_no_other() {
        let (demo, other): (ServerId, ServerId) = ("demo".parse().unwrap(), "other".parse().unwrap());
        let (one, two, all) = (of(&["demo"]), of(&["other", "demo"]), Audience::proxy());
        assert!(all.covers(&demo) && all.covers(&other) && one.covers(&demo));
        assert!(two.covers(&demo) && two.covers(&other) && !two.covers(&"third".parse().unwrap()));
        assert!(!one.covers(&other));
        assert!(all.includes(&one) && all.includes(&two) && all.includes(&all) && one.includes(&one));
        assert!(two.includes(&one) && two.includes(&two));
        assert!(!one.includes(&all) && !one.includes(&two) && !two.includes(&all));
        assert!(!one.includes(&of(&["other"])) && !two.includes(&of(&["demo", "third"])));
    }

    #[test]
    fn each_resource_counts_once_and_the_whole_proxy_is_all_of_them() {
        assert_eq!(of(&["demo", "demo"]), of(&["demo"]));
        let with_all = [Resource::Server("demo".parse().unwrap()), Resource::Proxy];
        assert_eq!(Audience::of(with_all), Some(Audience::proxy()));
        let many = |count: usize| {
            Audience::of((0..count).map(|n| Resource::Server(format!("s{n}").parse().unwrap())))
        };
        assert_eq!(Audience::of([Resource::Management, Resource::Server("demo".parse().unwrap())]), None);
        let management = Audience::of([Resource::Management]).unwrap();
        assert!(management.is_management() && !management.covers(&"demo".parse().unwrap()));
        assert!(!Audience::proxy().includes(&management) && !Audience::proxy().is_management());
        assert_eq!(many(0), None);
        assert_eq!(many(MAX_RESOURCES).map(|audience| audience.servers().count()), Some(MAX_RESOURCES));
        assert_eq!(many(MAX_RESOURCES + 1), None);
    }
}
