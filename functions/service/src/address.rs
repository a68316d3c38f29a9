//! Which network addresses may be connected to (server-side request forgery).
//!
//! A user who registers an MCP server chooses its URL, and that server names its OAuth provider. Both may point at this
//! machine, at the cloud's metadata service or at a neighbour in the private network. Addresses are judged, not names.
//! Literal addresses are checked before a request is built. Names are checked inside the resolver whose answer the
//! connection is made to. There is no second look-up between check and use, so DNS rebinding cannot change anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The kinds of address that may be reached, beyond the public internet.
///
/// The default allows none of them. Addresses that no server can have (unspecified, multicast, documentation, reserved)
/// are always refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// `127.0.0.0/8` and `::1`: this machine.
    pub allow_loopback: bool,
    /// RFC 1918, unique-local (`fc00::/7`), site-local and shared (`100.64.0.0/10`) addresses.
    pub allow_private: bool,
    /// `169.254.0.0/16` and `fe80::/10`. The cloud's metadata service is there.
    pub allow_link_local: bool,
}

impl AddressPolicy {
    /// Only the public internet.
    pub const PUBLIC: Self = Self { allow_loopback: false, allow_private: false, allow_link_local: false };
    /// This machine and the private network too, but not link-local addresses.
    pub const PRIVATE: Self = Self { allow_loopback: true, allow_private: true, allow_link_local: false };

    /// Plain `http` is allowed only if addresses of the operator's own network are.
    fn allows_plain_http(self) -> bool {
        self.allow_loopback || self.allow_private
    }

    /// Refuses `address` unless this policy allows it.
    pub fn check(self, address: IpAddr) -> Result<(), AddressRefusal> {
        let reach = match address {
            IpAddr::V4(v4) => reach_of_v4(v4),
            IpAddr::V6(v6) => reach_of_v6(v6),
        };
        match reach {
            Reach::Public => Ok(()),
            Reach::Loopback if self.allow_loopback => Ok(()),
            Reach::Private if self.allow_private => Ok(()),
            Reach::LinkLocal if self.allow_link_local => Ok(()),
            Reach::Loopback => Err(AddressRefusal::Loopback),
            Reach::Private => Err(AddressRefusal::Private),
            Reach::LinkLocal => Err(AddressRefusal::LinkLocal),
            Reach::Unusable => Err(AddressRefusal::Unusable),
        }
    }

    /// Refuses a URL that must not be requested. What its name resolves to does not matter here.
    pub fn check_url(self, url: &Url) -> Result<(), AddressRefusal> {
        match url.scheme() {
            "https" => {}
            "http" if self.allows_plain_http() => {}
            "http" => return Err(AddressRefusal::PlainHttp),
            _ => return Err(AddressRefusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefusal::UserInfo);
        }
        match url.host() {
            Some(Host::Ipv4(v4)) => self.check(v4.into()),
            Some(Host::Ipv6(v6)) => self.check(v6.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(AddressRefusal::Scheme),
        }
    }
}

/// Why an address or URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRefusal {
    /// The address is this machine's.
    #[error("loopback addresses are not allowed")]
    Loopback,
    /// The address belongs to a private network.
    #[error("private addresses are not allowed")]
    Private,
    /// The address is link-local, as the metadata services of clouds are.
    #[error("link-local addresses are not allowed")]
    LinkLocal,
    /// The address is unspecified, multicast, reserved or for documentation.
    #[error("the address cannot be a server's")]
    Unusable,
    /// The URL is `http`, and only public addresses are allowed.
    #[error("https is required")]
    PlainHttp,
    /// The URL is neither `http` nor `https`.
    #[error("only http and https URLs are allowed")]
    Scheme,
    /// The URL carries a user name or password.
    #[error("the URL must not contain a user name or password")]
    UserInfo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Loopback,
    Private,
    LinkLocal,
    Unusable,
}

/// IANA's IPv4 special-purpose registry, sorted by what an attacker would reach.
fn reach_of_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::LinkLocal,
        [10, ..] | [192, 168, ..] => Reach::Private,
        [172, second, ..] if second & 0xf0 == 16 => Reach::Private,
        [100, second, ..] if second & 0xc0 == 64 => Reach::Private,
        // "This network", IETF assignments, the three documentation nets, 6to4 relays.
        [0, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => {
            Reach::Unusable
        }
        // Benchmarking; multicast; reserved and broadcast.
        [198, 18 | 19, ..] | [224..=255, ..] => Reach::Unusable,
        _ => Reach::Public,
    }
}

/// An IPv6 address that contains an IPv4 address reaches the same as that IPv4 address.
fn reach_of_v6(address: Ipv6Addr) -> Reach {
    let s = address.segments();
    let low = v4_from(s[6], s[7]);
    match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Unusable,
        // IPv4-compatible, IPv4-mapped, IPv4-translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            reach_of_v4(low)
        }
        // 6to4 (RFC 3056) and Teredo (RFC 4380), whose client address is stored inverted.
        [0x2002, high, next, ..] => reach_of_v4(v4_from(high, next)),
        [0x2001, 0, ..] => match reach_of_v4(v4_from(!s[6], !s[7])) {
            Reach::Public => Reach::Unusable,
            inner => inner,
        },
        // NAT64 for local use (RFC 8215): the operator's network decides what is behind it.
        [0x64, 0xff9b, 1, ..] => Reach::Private,
        [first, ..] if first & 0xfe00 == 0xfc00 => Reach::Private,
        [first, ..] if first & 0xffc0 == 0xfe80 => Reach::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 => Reach::Private,
        // IETF assignments (2001::/23) and documentation (RFC 3849, RFC 9637).
        [0x2001, second, ..] if second < 0x200 => Reach::Unusable,
        [0x2001, 0xdb8, ..] => Reach::Unusable,
        [0x3fff, second, ..] if second < 0x1000 => Reach::Unusable,
        // ISATAP (RFC 5214) puts an IPv4 address behind any prefix.
        [first, _, _, _, 0 | 0x200, 0x5efe, ..] if first & 0xe000 == 0x2000 => reach_of_v4(low),
        // 2000::/3 is the whole global unicast space. The rest is multicast or unassigned.
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Unusable,
    }
}

fn v4_from(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// The refusal inside the layers of a client's error.
pub fn refusal_in(error: &(dyn std::error::Error + 'static)) -> Option<AddressRefusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<AddressRefusal>() {
            return Some(*refusal);
        }
        cause = error.source();
    }
    None
}

/// The system's resolver, without the addresses that the policy refuses.
///
/// If one of a name's addresses is refused, all are. A name with a public and a private address is probably
/// an attack.
#[derive(Clone, Copy, Debug)]
pub struct GuardedResolver(pub AddressPolicy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            // Port 0: the connector replaces it with the URL's.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                policy.check(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<AddressRefusal> {
        AddressPolicy::PUBLIC.check(address.parse().unwrap()).err()
    }

    fn url_refusal(policy: AddressPolicy, url: &str) -> Option<AddressRefusal> {
        policy.check_url(&url.parse().unwrap()).err()
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in [
            "1.1.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(refusal(address), None, "{address}");
        }
    }

    #[test]
    fn this_machine_is_refused_in_every_spelling() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1:2:3:4:80ff:fffe",
            "2001:4860:1:2:0:5efe:7f00:1",
        ] {
            assert_eq!(refusal(address), Some(AddressRefusal::Loopback), "{address}");
        }
    }

    #[test]
    fn the_metadata_service_is_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fe80::1",
            "febf::1",
        ] {
            assert_eq!(refusal(address), Some(AddressRefusal::LinkLocal), "{address}");
        }
    }

    #[test]
    fn private_networks_are_refused_in_every_spelling() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "::ffff:10.1.2.3",
            "64:ff9b::c0a8:101",
            "64:ff9b:1::1",
            "2002:ac10:1::",
        ] {
            assert_eq!(refusal(address), Some(AddressRefusal::Private), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_no_server_are_refused_under_every_policy() {
        let all = AddressPolicy { allow_loopback: true, allow_private: true, allow_link_local: true };
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "::",
            "::ffff:0.0.0.0",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "100::1",
        ] {
            let address = address.parse().unwrap();
            assert_eq!(all.check(address), Err(AddressRefusal::Unusable), "{address}");
        }
    }

    #[test]
    fn allowing_private_networks_does_not_open_the_metadata_service() {
        let policy = AddressPolicy::PRIVATE;
        assert_eq!(policy.check("127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(policy.check("10.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(policy.check("169.254.169.254".parse().unwrap()), Err(AddressRefusal::LinkLocal));
    }

    #[test]
    fn numeric_host_names_are_addresses() {
        for url in ["https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://[::1]/"] {
            assert_eq!(url_refusal(AddressPolicy::PUBLIC, url), Some(AddressRefusal::Loopback), "{url}");
        }
    }

    #[test]
    fn plain_http_needs_an_allowed_private_network() {
        assert_eq!(
            url_refusal(AddressPolicy::PUBLIC, "http://example.com/"),
            Some(AddressRefusal::PlainHttp)
        );
        assert_eq!(url_refusal(AddressPolicy::PRIVATE, "http://example.com/"), None);
        assert_eq!(url_refusal(AddressPolicy::PRIVATE, "ftp://example.com/"), Some(AddressRefusal::Scheme));
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        let url = "https://user:secret@example.com/mcp";
        assert_eq!(url_refusal(AddressPolicy::PUBLIC, url), Some(AddressRefusal::UserInfo));
    }
}
