//! Which network addresses may be connected to (server-side request forgery).
//!
//! A user who registers an MCP server chooses its URL, and that server names its OAuth provider. Both may point at this
//! machine, at the cloud's metadata service or at a neighbour in the private network. Addresses are judged, not names.
//! Literal addresses are checked before a request is built. Names are checked inside the resolver whose answer the
//! connection is made to. There is no second look-up between check and use, so DNS rebinding cannot change anything.
//!
//! Private addresses are reached where the operator has listed them, or the name that was resolved to them
//! ([`PrivateUpstreams`]). The cloud's own services, and on Lambda this machine, are reached by no list.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::private_upstreams::PrivateUpstreams;

/// The addresses that may be reached, beyond the public internet. Cheap to clone.
///
/// The default allows none of them. Link-local addresses, those of a cloud's own services, and addresses that cannot
/// be a server's (unspecified, multicast, documentation, reserved) are always refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// `127.0.0.0/8` and `::1`.
    this_machine: bool,
    private: Option<Arc<PrivateUpstreams>>,
}

/// Where an admitted address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admitted {
    OnTheInternet,
    InOwnNetwork,
}

impl AddressPolicy {
    /// Only the public internet.
    pub const PUBLIC: Self = Self { this_machine: false, private: None };

    /// The public internet, and what is listed.
    pub fn listed(private: PrivateUpstreams) -> Self {
        let private = (private != PrivateUpstreams::default()).then(|| Arc::new(private));
        Self { this_machine: false, private }
    }

    /// This machine too. Not for Lambda, whose own API is there.
    #[must_use]
    pub fn and_this_machine(self) -> Self {
        Self { this_machine: true, ..self }
    }

    /// The public internet, every private network, and this machine: where a developer's servers are.
    pub fn local() -> Self {
        Self::listed(PrivateUpstreams::everywhere()).and_this_machine()
    }

    /// Refuses `address` unless this policy allows it. `name` is what was resolved to it, if it was.
    pub fn check(&self, name: Option<&str>, address: IpAddr) -> Result<(), AddressRefusal> {
        self.admit(name, address).map(drop)
    }

    fn admit(&self, name: Option<&str>, address: IpAddr) -> Result<Admitted, AddressRefusal> {
        let reach = match address {
            IpAddr::V4(v4) => reach_of_v4(v4),
            IpAddr::V6(v6) => reach_of_v6(v6),
        };
        let listed = |reached| self.private.as_ref().is_some_and(|list| list.include(name, address, reached));
        match reach {
            Reach::Public => Ok(Admitted::OnTheInternet),
            Reach::Loopback if self.this_machine => Ok(Admitted::InOwnNetwork),
            Reach::Private(reached) if listed(reached) => Ok(Admitted::InOwnNetwork),
            Reach::Loopback => Err(AddressRefusal::Loopback),
            Reach::Private(_) => Err(AddressRefusal::Private),
            Reach::LinkLocal => Err(AddressRefusal::LinkLocal),
            Reach::Cloud => Err(AddressRefusal::Cloud),
            Reach::Unusable => Err(AddressRefusal::Unusable),
        }
    }

    /// Refuses a URL that must not be requested, whatever its name resolves to.
    pub fn check_url(&self, url: &Url) -> Result<(), AddressRefusal> {
        let encryption = Encryption::of(url)?;
        // What a name leads to is not known yet: the resolver checks it.
        if encryption == Encryption::None && !self.this_machine && self.private.is_none() {
            return Err(AddressRefusal::PlainHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefusal::UserInfo);
        }
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(AddressRefusal::Scheme),
        };
        self.check_connection(None, address, encryption)
    }

    /// Refuses a connection. Without encryption only one's own network is good enough.
    fn check_connection(
        &self,
        name: Option<&str>,
        address: IpAddr,
        encryption: Encryption,
    ) -> Result<(), AddressRefusal> {
        match (self.admit(name, address)?, encryption) {
            (Admitted::OnTheInternet, Encryption::None) => Err(AddressRefusal::PlainHttp),
            _ => Ok(()),
        }
    }
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    Tls,
    None,
}

impl Encryption {
    /// By the URL's scheme.
    pub(crate) fn of(url: &Url) -> Result<Self, AddressRefusal> {
        match url.scheme() {
            "https" => Ok(Self::Tls),
            "http" => Ok(Self::None),
            _ => Err(AddressRefusal::Scheme),
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
    /// The address belongs to a private network that is not listed, nor is its name.
    #[error(
        "it is in a private network, and neither its address nor its name is one that the operator has listed"
    )]
    Private,
    /// The address is link-local, as the metadata services of clouds are.
    #[error("link-local addresses are not allowed")]
    LinkLocal,
    /// The address is one of a cloud's own services, such as its metadata service.
    #[error("the cloud's own services are not allowed")]
    Cloud,
    /// The address is unspecified, multicast, reserved or for documentation.
    #[error("the address cannot be a server's")]
    Unusable,
    /// The URL is `http`, and the address is a public one.
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
    /// With the address that is reached in the end, if it is within another one.
    Private(IpAddr),
    LinkLocal,
    Cloud,
    Unusable,
}

/// Services that clouds offer at addresses of other kinds than link-local ones, among them the metadata services by
/// which a program gets its machine's credentials. AWS's are a network: metadata, DNS, time and credentials for
/// containers (Amazon EC2 User Guide, "Access instance metadata"; Amazon EKS User Guide, "EKS Pod Identity").
const CLOUDS_V4: [Ipv4Addr; 2] = [
    // Alibaba Cloud (ECS User Guide, "Instance metadata").
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure ("What is IP address 168.63.129.16?").
    Ipv4Addr::new(168, 63, 129, 16),
];
const CLOUDS_V6: [Ipv6Addr; 2] = [
    // Google Cloud (Compute Engine, "View and query VM metadata").
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // Oracle Cloud (Compute, "Getting Instance Metadata").
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// IANA's IPv4 special-purpose registry, by what an attacker would reach.
fn reach_of_v4(address: Ipv4Addr) -> Reach {
    if CLOUDS_V4.contains(&address) {
        return Reach::Cloud;
    }
    let private = Reach::Private(address.into());
    match address.octets() {
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::LinkLocal,
        [10, ..] | [192, 168, ..] => private,
        [172, second, ..] if second & 0xf0 == 16 => private,
        [100, second, ..] if second & 0xc0 == 64 => private,
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
    if CLOUDS_V6.contains(&address) {
        return Reach::Cloud;
    }
    let s = address.segments();
    let private = Reach::Private(address.into());
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
            // What its relay reaches cannot be known here.
            Reach::Public | Reach::Private(_) => Reach::Unusable,
            inner => inner,
        },
        // NAT64 for local use (RFC 8215): the operator's network decides what is behind it.
        [0x64, 0xff9b, 1, ..] => private,
        [0xfd00, 0xec2, ..] => Reach::Cloud,
        [first, ..] if first & 0xfe00 == 0xfc00 => private,
        [first, ..] if first & 0xffc0 == 0xfe80 => Reach::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 => private,
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

/// The system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0: the connector replaces it with the URL's.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A resolver's answers, without the addresses that the policy refuses. The connection is made to what it returns.
///
/// If one of a name's addresses is refused, all are. A name with a public and a private address is probably
/// an attack.
#[derive(Clone, Debug)]
pub struct GuardedResolver<R = SystemResolver> {
    addresses: AddressPolicy,
    encryption: Encryption,
    names: Arc<R>,
}

impl<R> GuardedResolver<R> {
    /// For connections with or without encryption, to what `names` finds.
    pub fn new(addresses: AddressPolicy, encryption: Encryption, names: R) -> Self {
        Self { addresses, encryption, names: Arc::new(names) }
    }
}

impl<R: Resolve + 'static> Resolve for GuardedResolver<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { addresses, encryption, names } = self;
        let (addresses, encryption, names) = (addresses.clone(), *encryption, Arc::clone(names));
        Box::pin(async move {
            let asked = name.as_str().to_owned();
            let found: Vec<SocketAddr> = names.resolve(name).await?.collect();
            for address in &found {
                addresses.check_connection(Some(&asked), address.ip(), encryption)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use super::*;

    fn refusal(address: &str) -> Option<AddressRefusal> {
        AddressPolicy::PUBLIC.check(None, address.parse().unwrap()).err()
    }

    fn url_refusal(policy: &AddressPolicy, url: &str) -> Option<AddressRefusal> {
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
        let all = AddressPolicy::local();
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
            assert_eq!(
                all.check(Some("mcp.corp.example"), address),
                Err(AddressRefusal::Unusable),
                "{address}"
            );
        }
    }

    /// The policy of a deployment that lists this.
    fn listed(list: &str) -> AddressPolicy {
        AddressPolicy::listed(PrivateUpstreams::parse(list).unwrap())
    }

    const EVERYTHING_LISTED: &str =
        "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7,.corp.example";

    #[test]
    fn no_list_opens_this_machine_or_the_clouds_own_services() {
        use AddressRefusal::{Cloud, LinkLocal, Loopback};
        let policy = listed(EVERYTHING_LISTED);
        for (address, expected) in [
            ("127.0.0.1", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("169.254.169.254", LinkLocal),
            ("169.254.170.2", LinkLocal),
            ("169.254.170.23", LinkLocal),
            ("::ffff:169.254.169.254", LinkLocal),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("2002:a9fe:a9fe::", LinkLocal),
            ("fe80::a9fe:a9fe", LinkLocal),
            ("fd00:ec2::254", Cloud),
            ("fd00:ec2::23", Cloud),
            ("fd20:ce::254", Cloud),
            ("fd00:c1::a9fe:a9fe", Cloud),
            ("100.100.100.200", Cloud),
            ("::ffff:100.100.100.200", Cloud),
            ("168.63.129.16", Cloud),
        ] {
            let ip = address.parse().unwrap();
            for name in [None, Some("mcp.corp.example")] {
                assert_eq!(policy.check(name, ip), Err(expected), "{address} for {name:?}");
            }
        }
        for cloud in ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"] {
            assert!(AddressPolicy::local().check(None, cloud.parse().unwrap()).is_err(), "{cloud}");
        }
    }

    #[test]
    fn a_listed_network_is_reached_in_every_spelling_and_its_neighbours_in_none() {
        let policy = listed("10.20.0.0/16");
        for address in ["10.20.1.1", "::ffff:10.20.1.1", "64:ff9b::10.20.1.1", "8.8.8.8"] {
            assert_eq!(policy.check(Some("any.example"), address.parse().unwrap()), Ok(()), "{address}");
        }
        for address in
            ["10.21.1.1", "::ffff:10.21.1.1", "::10.21.1.1", "64:ff9b::10.21.1.1", "2002:a15:101::"]
        {
            let ip = address.parse().unwrap();
            assert_eq!(policy.check(Some("any.example"), ip), Err(AddressRefusal::Private), "{address}");
        }
        for literal in [
            "https://10.20.1.1/",
            "https://169083137/",
            "https://0x0a.20.1.1/",
            "https://012.024.1.1/",
            "https://10.20.257/",
            "https://[::ffff:10.20.1.1]/",
        ] {
            assert_eq!(url_refusal(&policy, literal), None, "{literal}");
        }
        for literal in [
            "https://10.21.1.1/",
            "https://169148673/",
            "https://0x0a.21.1.1/",
            "https://012.025.1.1/",
            "https://10.21.257/",
            "https://[::ffff:10.21.1.1]/",
            "https://[::ffff:a15:101]/",
        ] {
            assert_eq!(url_refusal(&policy, literal), Some(AddressRefusal::Private), "{literal}");
        }
    }

    #[test]
    fn a_listed_name_may_be_private_and_no_other_name_may_have_its_address() {
        let policy = listed(".corp.example");
        let address = "10.20.1.1".parse().unwrap();
        assert_eq!(policy.check(Some("mcp.corp.example"), address), Ok(()));
        for name in [
            Some("evil.example"),
            Some("evilcorp.example"),
            Some("mcp.evilcorp.example"),
            Some("mcp.corp.example.evil.example"),
            None,
        ] {
            assert_eq!(policy.check(name, address), Err(AddressRefusal::Private), "{name:?}");
        }
        assert_eq!(url_refusal(&policy, "https://10.20.1.1/"), Some(AddressRefusal::Private));
    }

    /// A resolver whose answers are given, one after another, and which counts its questions.
    #[derive(Debug)]
    struct Answers(Mutex<VecDeque<Vec<&'static str>>>);

    impl Answers {
        fn new<const N: usize>(answers: [&[&'static str]; N]) -> Self {
            Self(Mutex::new(answers.into_iter().map(<[_]>::to_vec).collect()))
        }
    }

    impl Resolve for Answers {
        fn resolve(&self, _: Name) -> Resolving {
            let found = self.0.lock().unwrap().pop_front().unwrap();
            let found: Vec<SocketAddr> =
                found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    async fn resolved(
        policy: &AddressPolicy,
        encryption: Encryption,
        name: &str,
        found: &[&'static str],
    ) -> Result<Vec<IpAddr>, AddressRefusal> {
        let resolver = GuardedResolver::new(policy.clone(), encryption, Answers::new([found]));
        match resolver.resolve(name.parse().unwrap()).await {
            Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
            Err(error) => Err(refusal_in(&*error).unwrap()),
        }
    }

    #[tokio::test]
    async fn a_name_is_refused_if_one_of_its_addresses_is() {
        let policy = listed(".corp.example");
        let tls = Encryption::Tls;
        let of = |name, found: &'static [&'static str]| resolved(&policy, tls, name, found);
        assert_eq!(of("mcp.corp.example", &["10.20.1.1", "8.8.8.8"]).await.unwrap().len(), 2);
        for found in [&["8.8.8.8", "10.20.1.1"], &["10.20.1.1", "8.8.8.8"], &["8.8.8.8", "::ffff:10.20.1.1"]]
        {
            assert_eq!(of("evil.example", found).await, Err(AddressRefusal::Private), "{found:?}");
        }
        assert_eq!(
            of("mcp.corp.example", &["10.20.1.1", "169.254.169.254"]).await,
            Err(AddressRefusal::LinkLocal)
        );
        assert_eq!(of("mcp.corp.example", &["fd00:ec2::254"]).await, Err(AddressRefusal::Cloud));
        assert_eq!(of("mcp.corp.example", &["127.0.0.1"]).await, Err(AddressRefusal::Loopback));
        assert_eq!(of("evilcorp.example", &["10.20.1.1"]).await, Err(AddressRefusal::Private));
    }

    #[tokio::test]
    async fn what_is_not_encrypted_stays_in_ones_own_network() {
        let policy = listed("10.20.0.0/16,.corp.example");
        let of = |name, found: &'static [&'static str]| resolved(&policy, Encryption::None, name, found);
        assert!(of("any.example", &["10.20.1.1"]).await.is_ok());
        assert!(of("mcp.corp.example", &["192.168.1.1"]).await.is_ok());
        for (name, found) in [
            ("any.example", &["8.8.8.8"][..]),
            ("mcp.corp.example", &["8.8.8.8"]),
            ("mcp.corp.example", &["10.20.1.1", "8.8.8.8"]),
        ] {
            assert_eq!(of(name, found).await, Err(AddressRefusal::PlainHttp), "{name} {found:?}");
        }
        assert_eq!(url_refusal(&policy, "http://8.8.8.8/"), Some(AddressRefusal::PlainHttp));
        assert_eq!(url_refusal(&policy, "http://10.20.1.1/"), None);
        assert_eq!(url_refusal(&policy, "http://10.21.1.1/"), Some(AddressRefusal::Private));
    }

    #[test]
    fn numeric_host_names_are_addresses() {
        for url in ["https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://[::1]/"] {
            assert_eq!(url_refusal(&AddressPolicy::PUBLIC, url), Some(AddressRefusal::Loopback), "{url}");
        }
    }

    #[test]
    fn plain_http_needs_an_allowed_private_network() {
        assert_eq!(
            url_refusal(&AddressPolicy::PUBLIC, "http://example.com/"),
            Some(AddressRefusal::PlainHttp)
        );
        assert_eq!(url_refusal(&AddressPolicy::local(), "http://example.com/"), None);
        assert_eq!(url_refusal(&AddressPolicy::local(), "ftp://example.com/"), Some(AddressRefusal::Scheme));
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        let url = "https://user:secret@example.com/mcp";
        assert_eq!(url_refusal(&AddressPolicy::PUBLIC, url), Some(AddressRefusal::UserInfo));
    }
}
