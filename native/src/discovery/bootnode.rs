//! Whom to ask first: `enr:` records, and `enode://` URLs of nodes whose record is not known.

use discv5::Enr;
use libp2p::Multiaddr;
use libp2p::identity::{PublicKey, secp256k1};
use libp2p::multiaddr::Protocol;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

/// Time for a name to be resolved.
const RESOLVING: Duration = Duration::from_secs(10);

/// A node that is asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootnode {
    /// Its record.
    Record(Box<Enr>),
    /// Who it is and where, as `enode://KEY@HOST:PORT?discport=UDP`.
    Url(Box<Enode>),
}

/// A node without its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enode {
    key: PublicKey,
    host: String,
    udp: u16,
}

/// Why a text is no bootnode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBootnode {
    /// Neither of the two forms.
    #[error("write it as enr:RECORD or enode://KEY@HOST:PORT")]
    Form,
    /// The record does not read.
    #[error("the record can't be read: {0}")]
    Record(String),
    /// The key is none.
    #[error("the key before the @ is not 128 hexadecimal digits of a secp256k1 key")]
    Key,
    /// The place is none.
    #[error("what follows the @ is not HOST:PORT, with the UDP port in ?discport= if it is another one")]
    Place,
}

impl FromStr for Bootnode {
    type Err = BadBootnode;

    fn from_str(text: &str) -> Result<Self, BadBootnode> {
        let text = text.trim();
        if text.starts_with("enr:") {
            let enr: Result<Enr, String> = text.parse();
            return enr.map(Box::new).map(Self::Record).map_err(BadBootnode::Record);
        }
        let rest =
            text.strip_prefix("enode://").or_else(|| text.strip_prefix("enode:")).ok_or(BadBootnode::Form)?;
        let (key, place) = rest.split_once('@').ok_or(BadBootnode::Form)?;
        let mut bytes = alloy_primitives::hex::decode(key).map_err(|_| BadBootnode::Key)?;
        if bytes.len() != 64 {
            return Err(BadBootnode::Key);
        }
        // The form of an uncompressed point.
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
    /// Its address, if no name must be resolved for it.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Record(enr) => enr.ip4().map(IpAddr::from).or_else(|| enr.ip6().map(IpAddr::from)),
            Self::Url(enode) => enode.host.parse().ok(),
        }
    }
}

impl Enode {
    /// Where it is, in the form that the library takes; `None` if its name leads nowhere now.
    pub(super) async fn resolve(&self) -> Option<Multiaddr> {
        let ip = match self.host.parse() {
            Ok(ip) => ip,
            Err(_) => {
                let found = timeout(RESOLVING, tokio::net::lookup_host((self.host.as_str(), self.udp))).await;
                found.ok()?.ok()?.map(|at| at.ip()).find(IpAddr::is_ipv4)?
            }
        };
        let way = Multiaddr::from(ip).with(Protocol::Udp(self.udp));
        Some(way.with(Protocol::P2p(self.key.to_peer_id())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::discovery::bootnodes;

    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                       483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

    #[tokio::test]
    async fn both_forms_are_read() {
        for (place, udp) in
            [("1.2.3.4:30303", 30303), ("1.2.3.4:0?discport=30301", 30301), ("1.2.3.4:1?a=b&discport=7", 7)]
        {
            let node: Bootnode = format!("enode://{KEY}@{place}").parse().expect("a bootnode");
            assert_eq!(node.ip(), Some(IpAddr::from([1, 2, 3, 4])));
            let Bootnode::Url(node) = node else { panic!("it has no record") };
            let way = node.resolve().await.expect("no name");
            let peer = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
            assert_eq!(way.to_string(), format!("/ip4/1.2.3.4/udp/{udp}/p2p/{peer}"));
        }
        let node: Bootnode = format!("enode://{KEY}@[::1]:9").parse().expect("a bootnode");
        assert_eq!(node.ip(), Some(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)));
        let named: Bootnode = format!("enode://{KEY}@localhost:9").parse().expect("a bootnode");
        assert_eq!(named.ip(), None);
    }

    #[test]
    fn every_built_in_one_is_read() {
        for l1 in [1, 11_155_111] {
            assert!(!bootnodes::of_l1(l1).is_empty());
            for text in bootnodes::of_l1(l1) {
                assert!(text.parse::<Bootnode>().is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_wrong() {
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
}
