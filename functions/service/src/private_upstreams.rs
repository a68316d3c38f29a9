//! Which private networks and host names an operator has listed, for MCP servers and their authorization servers.
//!
//! A network permits its addresses to every name. A host name permits this name alone to have private addresses,
//! whatever they are. So a list of names says who may be reached, and a list of networks says where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Host;

/// The most entries of a list. Every connection is compared with all of them.
const MAX_ENTRIES: usize = 100;

/// Top-level domains that ICANN delegates to no registry, so that no name on the internet ends in them: RFC 6761,
/// RFC 6762 (with its appendix G), and `internal` (resolution 2024.07.29.06 of ICANN's board).
const OWN_TOP_LEVEL_DOMAINS: [&str; 8] =
    ["corp", "home", "internal", "intranet", "lan", "local", "private", "test"];

/// A list of private networks and host names. The default is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivateUpstreams {
    networks: Vec<IpNet>,
    hosts: Vec<HostPattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    /// `mcp.corp.example`
    Name(String),
    /// `.corp.example`, with its dot: every name below it, and not itself.
    Below(String),
}

impl PrivateUpstreams {
    /// Every private network.
    pub fn everywhere() -> Self {
        Self { networks: private_networks().to_vec(), hosts: Vec::new() }
    }

    /// Reads a list with commas: `10.20.0.0/16,.corp.example,mcp.example.com`. The error says which entry is wrong, and
    /// does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for (at, entry) in entries.enumerate() {
            let number = at + 1;
            if number > MAX_ENTRIES {
                return Err(format!("there can be {MAX_ENTRIES} entries at most"));
            }
            read.add(entry).map_err(|why| format!("entry {number} {why}"))?;
        }
        Ok(read)
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        if let Ok(address) = entry.parse::<IpAddr>() {
            self.networks.push(within_a_private_network(address.into())?);
        } else if let Some((address, _)) = entry.split_once('/') {
            if address.parse::<IpAddr>().is_err() {
                return Err("must be a network or a host name, without scheme, port and path".to_owned());
            }
            let network: IpNet =
                entry.parse().map_err(|_| "is no network such as 10.20.0.0/16 or fd12:3456:789a::/48")?;
            if network.trunc() != network {
                return Err(format!("has bits beyond its length: the network is {}", network.trunc()));
            }
            self.networks.push(within_a_private_network(network)?);
        } else {
            self.hosts.push(host(entry)?);
        }
        Ok(())
    }

    /// Whether an address of a private network may be connected to. `name` is what was resolved to it, if it was.
    /// `reached` is the address itself, or the IPv4 address that is in it.
    pub(crate) fn include(&self, name: Option<&str>, address: IpAddr, reached: IpAddr) -> bool {
        let listed = |network: &IpNet| network.contains(&address) || network.contains(&reached);
        self.networks.iter().any(listed) || name.is_some_and(|name| self.include_name(name))
    }

    fn include_name(&self, name: &str) -> bool {
        // A name may end in a dot (RFC 1034 section 3.1), and has no case.
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.hosts.iter().any(|pattern| match pattern {
            HostPattern::Name(listed) => name == *listed,
            HostPattern::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        })
    }
}

/// The networks that the internet does not route: RFC 1918, RFC 6598, RFC 4193, RFC 3879, RFC 8215.
fn private_networks() -> [IpNet; 7] {
    let v4 = |a, b, length| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), length));
    let v6 = |a, b, c, length| IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length));
    [
        v4(10, 0, 8),
        v4(172, 16, 12),
        v4(192, 168, 16),
        v4(100, 64, 10),
        v6(0xfc00, 0, 0, 7),
        v6(0xfec0, 0, 0, 10),
        v6(0x64, 0xff9b, 1, 48),
    ]
}

/// Others are public, and need no permission, or are never permitted: then an operator means something else.
fn within_a_private_network(network: IpNet) -> Result<IpNet, String> {
    if private_networks().iter().any(|private| private.contains(&network)) {
        Ok(network)
    } else {
        Err("is not within a private network (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7): \
             public addresses need no entry, and loopback and link-local ones cannot be permitted"
            .to_owned())
    }
}

fn host(entry: &str) -> Result<HostPattern, String> {
    if entry.starts_with("*.") {
        return Err("must not begin with *: .corp.example means every name below corp.example".to_owned());
    }
    let (is_suffix, name) = entry.strip_prefix('.').map_or((false, entry), |name| (true, name));
    let wrong = "is no host name such as mcp.corp.example, no suffix such as .corp.example, and no network such as \
                 10.20.0.0/16";
    let name = match Host::parse(name) {
        // As it is in a URL: in lower case, and in A-labels.
        Ok(Host::Domain(name)) if name.split('.').all(|label| !label.is_empty()) => name,
        _ => return Err(wrong.to_owned()),
    };
    let is_one_label = !name.contains('.');
    if !is_suffix {
        // A name of one label leads to where the resolver's search list says, which is another name.
        return if is_one_label { Err(wrong.to_owned()) } else { Ok(HostPattern::Name(name)) };
    }
    if is_one_label && !OWN_TOP_LEVEL_DOMAINS.contains(&name.as_str()) {
        return Err(
            "is a whole top-level domain, in which others have names: name a domain of yours, such as \
                    .corp.example"
                .to_owned(),
        );
    }
    Ok(HostPattern::Below(format!(".{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(list: &str, name: Option<&str>, address: &str) -> bool {
        let address = address.parse().unwrap();
        PrivateUpstreams::parse(list).unwrap().include(name, address, address)
    }

    fn includes_name(list: &str, name: &str) -> bool {
        includes(list, Some(name), "10.20.1.1")
    }

    #[test]
    fn a_network_permits_its_addresses_to_every_name_and_no_others() {
        let list = "10.20.0.0/16, 192.168.7.9, fd12:3456:789a::/48";
        for inside in ["10.20.0.0", "10.20.255.255", "192.168.7.9", "fd12:3456:789a:1::1"] {
            assert!(includes(list, Some("any.example"), inside) && includes(list, None, inside), "{inside}");
        }
        for outside in ["10.21.0.0", "10.19.255.255", "192.168.7.8", "172.16.0.1", "fd12:3456:789b::1"] {
            assert!(!includes(list, Some("any.example"), outside), "{outside}");
            assert!(!includes(list, None, outside), "{outside}");
        }
    }

    #[test]
    fn a_suffix_permits_the_names_below_it_and_none_that_only_ends_like_it() {
        for inside in ["mcp.corp.example", "a.b.corp.example", "MCP.Corp.Example", "mcp.corp.example."] {
            assert!(includes_name(".corp.example", inside), "{inside}");
        }
        for outside in [
            "evilcorp.example",
            "mcp.evilcorp.example",
            "corp.example",
            ".corp.example",
            "corp.example.evil.example",
            "mcp.corp.example.evil.example",
            "mcp.corp.example..",
            "mcp.corp.exampl",
            "corp-example",
            "",
            ".",
        ] {
            assert!(!includes_name(".corp.example", outside), "{outside}");
        }
    }

    #[test]
    fn a_name_without_a_dot_before_it_permits_only_itself() {
        assert!(includes_name("mcp.corp.example", "mcp.corp.example"));
        for outside in
            ["a.mcp.corp.example", "corp.example", "xmcp.corp.example", "mcp.corp.example.evil.example"]
        {
            assert!(!includes_name("mcp.corp.example", outside), "{outside}");
        }
        assert!(!includes("mcp.corp.example", None, "10.20.1.1"), "a literal address has no name");
    }

    #[test]
    fn a_name_is_listed_as_people_write_it_and_compared_as_it_is_resolved() {
        assert!(includes_name(".Bücher.example", "mcp.xn--bcher-kva.example"));
        assert!(includes_name(".internal", "ip-10-20-1-1.eu-central-1.compute.internal"));
    }

    #[test]
    fn an_empty_list_permits_nothing() {
        for empty in ["", " ", ","] {
            assert_eq!(PrivateUpstreams::parse(empty), Ok(PrivateUpstreams::default()));
        }
        assert!(!includes("", Some("mcp.corp.example"), "10.20.1.1"));
    }

    #[test]
    fn what_is_no_entry_is_refused_with_what_to_write() {
        let wrong = |entry: &str| {
            let why = PrivateUpstreams::parse(&format!("10.20.0.0/16,{entry}")).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
            why.strip_prefix("entry 2 ").unwrap().to_owned()
        };
        for not_private in [
            "0.0.0.0/0",
            "::/0",
            "8.8.8.0/24",
            "10.0.0.0/7",
            "127.0.0.0/8",
            "127.0.0.1",
            "::1",
            "169.254.0.0/16",
            "169.254.169.254",
            "fe80::/10",
            "::ffff:10.20.0.0/112",
            "::ffff:10.20.1.1",
            "2002:a14::/32",
        ] {
            assert!(wrong(not_private).starts_with("is not within a private network"), "{not_private}");
        }
        assert_eq!(wrong("10.20.1.1/16"), "has bits beyond its length: the network is 10.20.0.0/16");
        assert!(wrong("10.20.0.0/33").starts_with("is no network such as"));
        assert!(wrong("10.20.0.0/").starts_with("is no network such as"));
        for url in ["https://mcp.corp.example/", "mcp.corp.example/mcp", "secret/x"] {
            assert_eq!(wrong(url), "must be a network or a host name, without scheme, port and path");
        }
        assert!(wrong("*.corp.example").starts_with("must not begin with *"));
        for host in [
            ".",
            "..corp.example",
            "corp..example",
            "corp.example.",
            "mcp.corp.example:443",
            "user@secret",
            "a b",
            "10.20",
            "0x0a.20.1.1",
            "012.20.1.1",
            "169083137",
            "[fd12::1]",
            "true",
            "mcp",
        ] {
            assert!(wrong(host).starts_with("is no host name such as"), "{host}: {}", wrong(host));
        }
        for whole in [".com", ".example", ".de"] {
            assert!(wrong(whole).starts_with("is a whole top-level domain"), "{whole}");
        }
    }

    #[test]
    fn a_hundred_entries_are_the_most() {
        let list = |count: usize| vec![".corp.example"; count].join(",");
        assert!(PrivateUpstreams::parse(&list(100)).is_ok());
        assert_eq!(PrivateUpstreams::parse(&list(101)), Err("there can be 100 entries at most".to_owned()));
    }
}
