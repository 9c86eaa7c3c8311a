//! Bootnodes: `enr:` records, and `enode://` URLs of nodes whose records are not known.

use discv5::Enr;
use libp2p::Multiaddr;
use libp2p::identity::{PublicKey, secp256k1};
use libp2p::multiaddr::Protocol;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

/// Timeout of a name lookup.
const RESOLVING: Duration = Duration::from_secs(10);

/// A node that the search asks first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootnode {
    /// Record of the node.
    Record(Box<Enr>),
    /// Key and address of the node, as `enode://KEY@HOST:PORT?discport=UDP`.
    Url(Box<Enode>),
}

/// A node without its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enode {
    key: PublicKey,
    host: String,
    udp: u16,
}

/// Reason why a text is not a bootnode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBootnode {
    /// The text has neither of the two forms.
    #[error("write it as enr:RECORD or enode://KEY@HOST:PORT")]
    Form,
    /// The record can't be parsed.
    #[error("the record can't be read: {0}")]
    Record(String),
    /// The key is not valid.
    #[error("the key before the @ is not 128 hexadecimal digits of a secp256k1 key")]
    Key,
    /// The host or port is not valid.
    #[error(
        "what follows the @ is not HOST:PORT, with the UDP port in ?discport= if it is another one"
    )]
    Place,
}

/// Reason why a bootnode can't be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The record has no IP address.
    #[error("it has no address")]
    NoAddress,
    /// The record has an IP address but no UDP port.
    #[error("it has no UDP port")]
    NoPort,
    /// The address is of the other IP version.
    #[error("it has an address of IPv{theirs} alone, and this node listens on IPv{ours}")]
    OtherFamily {
        /// IP version of the bootnode, 4 or 6.
        theirs: u8,
        /// IP version of this node, 4 or 6.
        ours: u8,
    },
}

impl FromStr for Bootnode {
    type Err = BadBootnode;

    fn from_str(text: &str) -> Result<Self, BadBootnode> {
        let text = text.trim();
        if text.starts_with("enr:") {
            let enr: Result<Enr, String> = text.parse();
            return enr.map(Box::new).map(Self::Record).map_err(BadBootnode::Record);
        }
        let rest = text
            .strip_prefix("enode://")
            .or_else(|| text.strip_prefix("enode:"))
            .ok_or(BadBootnode::Form)?;
        let (key, place) = rest.split_once('@').ok_or(BadBootnode::Form)?;
        let mut bytes = alloy_primitives::hex::decode(key).map_err(|_| BadBootnode::Key)?;
        if bytes.len() != 64 {
            return Err(BadBootnode::Key);
        }
        // Prefix of an uncompressed point.
        bytes.insert(0, 4);
        let key = secp256k1::PublicKey::try_from_bytes(&bytes).map_err(|_| BadBootnode::Key)?;
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let (host, tcp) = place.rsplit_once(':').ok_or(BadBootnode::Place)?;
        let udp = query.split('&').find_map(|pair| pair.strip_prefix("discport=")).unwrap_or(tcp);
        let udp: u16 = udp.parse().map_err(|_| BadBootnode::Place)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || udp == 0 || tcp.parse::<u16>().is_err() {
            return Err(BadBootnode::Place);
        }
        Ok(Self::Url(Box::new(Enode { key: PublicKey::from(key), host: host.to_owned(), udp })))
    }
}

impl Bootnode {
    /// Returns the reason why a node that listens on this address can't ask the bootnode; `None` if
    /// it can, or if a name must be resolved first.
    pub fn obstacle(&self, listen: IpAddr) -> Option<Obstacle> {
        let version = |is_v4: bool| if is_v4 { 4 } else { 6 };
        let ours = version(listen.is_ipv4());
        match self {
            Self::Record(enr) => {
                let ways =
                    [(4, enr.ip4().is_some(), enr.udp4()), (6, enr.ip6().is_some(), enr.udp6())];
                if !ways.iter().any(|(_, has_ip, _)| *has_ip) {
                    return Some(Obstacle::NoAddress);
                }
                let is_open = |(_, has_ip, udp): &(u8, bool, Option<u16>)| *has_ip && udp.is_some();
                let open: Vec<u8> =
                    ways.iter().filter(|way| is_open(way)).map(|(version, ..)| *version).collect();
                match open[..] {
                    [] => Some(Obstacle::NoPort),
                    [theirs] if theirs != ours => Some(Obstacle::OtherFamily { theirs, ours }),
                    _ => None,
                }
            }
            Self::Url(enode) => {
                let theirs = version(enode.host.parse::<IpAddr>().ok()?.is_ipv4());
                (theirs != ours).then_some(Obstacle::OtherFamily { theirs, ours })
            }
        }
    }

    /// Returns the bootnode's IP address, unless a name must be resolved for it.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Record(enr) => {
                enr.ip4().map(IpAddr::from).or_else(|| enr.ip6().map(IpAddr::from))
            }
            Self::Url(enode) => enode.host.parse().ok(),
        }
    }
}

impl Enode {
    /// Returns the bootnode's address, in the library's form. A name is resolved to an address of
    /// the IP version of `listen`, the only version that the socket supports.
    pub(super) async fn resolve(&self, listen: IpAddr) -> Result<Multiaddr, Unresolved> {
        let ip = match self.host.parse() {
            Ok(ip) => ip,
            Err(_) => {
                let name = (self.host.as_str(), self.udp);
                let found = timeout(RESOLVING, tokio::net::lookup_host(name)).await;
                let found = found.map_err(|_| Unresolved::Timeout)?;
                let mut found = found.map_err(|error| Unresolved::Lookup(error.to_string()))?;
                found
                    .find(|at| at.is_ipv4() == listen.is_ipv4())
                    .map(|at| at.ip())
                    .ok_or(Unresolved::OtherFamily { ours: if listen.is_ipv4() { 4 } else { 6 } })?
            }
        };
        let way = Multiaddr::from(ip).with(Protocol::Udp(self.udp));
        Ok(way.with(Protocol::P2p(self.key.to_peer_id())))
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.udp)
    }
}

/// Reason why the name of a bootnode leads to no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// The resolver did not answer.
    #[error("its name is not resolved within 10 s")]
    Timeout,
    /// The resolver returned an error.
    #[error("its name can't be resolved: {0}")]
    Lookup(String),
    /// The name has addresses of the other IP version only.
    #[error("its name has no address of IPv{ours}, on which this node listens")]
    OtherFamily {
        /// IP version of this node, 4 or 6.
        ours: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use enr::CombinedKey;
    use opp2p_core::discovery::bootnodes;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                       483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

    #[tokio::test]
    async fn enode_urls_and_records_are_read() {
        for (place, udp) in [
            ("1.2.3.4:30303", 30303),
            ("1.2.3.4:0?discport=30301", 30301),
            ("1.2.3.4:1?a=b&discport=7", 7),
        ] {
            let node: Bootnode = format!("enode://{KEY}@{place}").parse().expect("a bootnode");
            assert_eq!(node.ip(), Some(IpAddr::from([1, 2, 3, 4])));
            let Bootnode::Url(node) = node else { panic!("it has no record") };
            let way = node.resolve(Ipv4Addr::LOCALHOST.into()).await.expect("no name");
            let peer = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
            assert_eq!(way.to_string(), format!("/ip4/1.2.3.4/udp/{udp}/p2p/{peer}"));
        }
        let node: Bootnode = format!("enode://{KEY}@[::1]:9").parse().expect("a bootnode");
        assert_eq!(node.ip(), Some(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)));
        let named: Bootnode = format!("enode://{KEY}@localhost:9").parse().expect("a bootnode");
        assert_eq!(named.ip(), None);
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_the_ip_version_on_which_the_node_listens() {
        let node: Bootnode = format!("enode://{KEY}@localhost:9").parse().expect("a bootnode");
        let Bootnode::Url(node) = node else { panic!("it has no record") };
        for listen in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            // A machine may have only one of the two versions.
            match node.resolve(listen).await {
                Ok(way) => assert!(way.to_string().contains(&listen.to_string()), "{way}"),
                Err(error) => {
                    let ours = if listen.is_ipv4() { 4 } else { 6 };
                    assert_eq!(error, Unresolved::OtherFamily { ours });
                }
            }
        }
    }

    #[test]
    fn every_built_in_bootnode_is_read() {
        for l1 in [1, 11_155_111] {
            assert!(!bootnodes::of_l1(l1).is_empty());
            for text in bootnodes::of_l1(l1) {
                assert!(text.parse::<Bootnode>().is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn invalid_bootnodes_are_refused_with_the_reason() {
        let read = |text: &str| text.parse::<Bootnode>().expect_err("no bootnode");
        assert_eq!(read(""), BadBootnode::Form);
        assert_eq!(read("/ip4/1.2.3.4/udp/9"), BadBootnode::Form);
        assert!(matches!(read("enr:-abc"), BadBootnode::Record(_)));
        assert_eq!(read("enode://12@1.2.3.4:9"), BadBootnode::Key);
        assert_eq!(read(&format!("enode://{}@1.2.3.4:9", "0".repeat(128))), BadBootnode::Key);
        for place in ["1.2.3.4", "1.2.3.4:0", ":9", "1.2.3.4:99999", "1.2.3.4:9?discport=x"] {
            assert_eq!(read(&format!("enode://{KEY}@{place}")), BadBootnode::Place, "{place}");
        }
    }

    #[test]
    fn records_without_a_usable_address_are_distinguished() {
        let key = CombinedKey::generate_secp256k1();
        let (v4, v6) = (Ipv4Addr::new(1, 2, 3, 4), Ipv6Addr::LOCALHOST);
        let listens = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let obstacles = |enr: Enr| {
            let node = Bootnode::Record(Box::new(enr));
            listens.map(|listen| node.obstacle(listen))
        };
        let built = |builder: &mut enr::Builder<CombinedKey>| {
            obstacles(builder.build(&key).expect("a record"))
        };
        assert_eq!(built(&mut Enr::builder()), [Some(Obstacle::NoAddress); 2]);
        assert_eq!(built(Enr::builder().udp4(9)), [Some(Obstacle::NoAddress); 2]);
        assert_eq!(built(Enr::builder().ip4(v4).tcp4(9)), [Some(Obstacle::NoPort); 2]);
        let other = |theirs, ours| Some(Obstacle::OtherFamily { theirs, ours });
        assert_eq!(built(Enr::builder().ip4(v4).udp4(9)), [None, other(4, 6)]);
        assert_eq!(built(Enr::builder().ip6(v6).udp6(9)), [other(6, 4), None]);
        assert_eq!(built(Enr::builder().ip4(v4).udp4(9).ip6(v6).udp6(9)), [None; 2]);
        for (host, expected) in
            [("1.2.3.4", [None, other(4, 6)]), ("[::1]", [other(6, 4), None]), ("h", [None; 2])]
        {
            let node: Bootnode = format!("enode://{KEY}@{host}:9").parse().expect("a bootnode");
            assert_eq!(listens.map(|listen| node.obstacle(listen)), expected, "{host}");
        }
    }
}
