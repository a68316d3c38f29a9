//! Where a token is good: at every server, or at one (RFC 8707).

use crate::{Settings, ids::ServerId};

/// A protected resource (RFC 9728 section 1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The whole proxy.
    Proxy,
    /// One server.
    Server(ServerId),
}

impl Audience {
    /// The resource that a text names. A server may be named with or without its endpoint for MCP. Scheme and
    /// host are the same in any case (RFC 3986 section 6.2.2.1); nothing else is.
    pub fn parse(settings: &Settings, text: &str) -> Option<Self> {
        let proxy = &*settings.audience;
        let host = proxy.find("://")? + 3;
        let path = host + proxy.get(host..)?.find('/')?;
        let (origin, rest) = text.split_at_checked(path)?;
        if !origin.eq_ignore_ascii_case(proxy.get(..path)?) {
            return None;
        }
        let rest = rest.strip_prefix(proxy.get(path..)?)?;
        if rest.is_empty() {
            return Some(Self::Proxy);
        }
        let server = rest.strip_prefix('/')?;
        server.strip_suffix("/mcp").unwrap_or(server).parse().ok().map(Self::Server)
    }

    /// The resource's one name: what clients ask for, and what a token says.
    pub fn resource(&self, settings: &Settings) -> String {
        match self {
            Self::Proxy => settings.audience.clone(),
            Self::Server(server) => format!("{}/{server}/mcp", settings.audience),
        }
    }

    /// Where its metadata is (RFC 9728 section 3.1).
    pub fn metadata_url(&self, settings: &Settings) -> String {
        let resource = self.resource(settings);
        let path = resource.strip_prefix(&*settings.issuer).unwrap_or_default();
        format!("{}/.well-known/oauth-protected-resource{path}", settings.issuer)
    }

    /// Whether a token for this is good at a server: the one place that says so.
    pub fn covers(&self, server: &ServerId) -> bool {
        match self {
            Self::Proxy => true,
            Self::Server(only) => only == server,
        }
    }

    /// Whether a token for `other` is good nowhere but where a token for this is.
    pub(super) fn includes(&self, other: &Self) -> bool {
        *self == Self::Proxy || self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Audience> {
        Audience::parse(&Settings::at("https://deputize.test:8443"), text)
    }

    #[test]
    fn a_resource_is_read_back_from_its_name() {
        let settings = Settings::at("https://deputize.test:8443");
        for audience in [Audience::Proxy, Audience::Server("demo".parse().unwrap())] {
            assert_eq!(Audience::parse(&settings, &audience.resource(&settings)), Some(audience));
        }
    }

    #[test]
    fn a_server_is_named_with_or_without_its_endpoint_and_the_host_in_any_case() {
        for text in [
            "https://deputize.test:8443/api/v1/proxy/demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/demo",
            "HTTPS://Deputize.TEST:8443/api/v1/proxy/demo/mcp",
        ] {
            assert_eq!(parsed(text), Some(Audience::Server("demo".parse().unwrap())), "{text}");
        }
        // A server may have the name of the endpoint.
        let mcp = Some(Audience::Server("mcp".parse().unwrap()));
        assert_eq!(parsed("https://deputize.test:8443/api/v1/proxy/mcp"), mcp);
        assert_eq!(parsed("https://deputize.test:8443/api/v1/proxy/mcp/mcp"), mcp);
    }

    #[test]
    fn what_is_nearly_a_resource_is_none() {
        for text in [
            "",
            "demo",
            "/api/v1/proxy/demo/mcp",
            "https://deputize.test:8443",
            "https://deputize.test:8443/",
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
            "https://deputize.test:8443/api/v1/proxy/demo/mcp/",
            "https://deputize.test:8443/api/v1/proxy/demo/tools",
            "https://deputize.test:8443/api/v1/proxy/Demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/%64emo/mcp",
            "https://deputize.test:8443/api/v1/proxy/other/../demo/mcp",
            "https://deputize.test:8443/api/v1/proxy/demo/mcp#",
            "https://deputize.test:8443/api/v1/proxy/demo/mcp?x",
            "https://deputize.test:844ä/api/v1/proxy",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_for_one_server_covers_no_other() {
        let (demo, other): (crate::ids::ServerId, _) = ("demo".parse().unwrap(), "other".parse().unwrap());
        let (one, all) = (Audience::Server(demo.clone()), Audience::Proxy);
        assert!(all.covers(&demo) && all.covers(&other) && one.covers(&demo));
        assert!(!one.covers(&other));
        assert!(all.includes(&one) && all.includes(&all) && one.includes(&one));
        assert!(!one.includes(&all) && !one.includes(&Audience::Server(other)));
    }
}
