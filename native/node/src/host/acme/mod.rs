//! Obtains and renews certificates for browsers by ACME (RFC 8555), for the operator's domain name
//! or for the node's own name below `libp2p.direct`.
//!
//! The authority validates the operator's name by TLS on the browsers' listener (`tls-alpn-01`,
//! RFC 8737), which needs no further port. It validates the node's own name by DNS (`dns-01`): a
//! broker publishes the challenge response for nodes that register with their peer key.
//!
//! [`plan`] schedules the attempts, [`order`] runs an order, [`files`] stores the results,
//! [`broker`] registers the node, and [`task`] connects them.
//!
//! # Bounds
//! * One order at a time, of at most [`task::ATTEMPT_TIME`].
//! * Answers of the authority and the broker: [`client::MAX_ANSWER`] bytes each.
//! * Files: one account per authority and one certificate per name, of at most
//!   [`files::MAX_FILE`] bytes each.

mod broker;
mod client;
mod error;
mod files;
mod order;
mod peer_auth;
mod plan;
mod proof;
mod task;

pub(super) use files::Kept;
pub(super) use plan::Validity;
pub(super) use task::Issuing;

use libp2p::PeerId;
use multibase::Base;
use std::net::IpAddr;
use std::path::PathBuf;

/// Directory URL of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// URL of the public broker for nodes' own names.
pub const PUBLIC_BROKER: &str = "https://registration.libp2p.direct";
/// Domain of the public broker.
pub const PUBLIC_DOMAIN: &str = "libp2p.direct";

/// Configuration for obtaining a certificate for browsers.
///
/// The node agrees to the authority's terms of service when it registers an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Name in the certificate.
    pub name: CertificateName,
    /// URL of the authority's directory, such as [`LETS_ENCRYPT`].
    pub directory: String,
    /// E-mail address for the authority's notices, without `mailto:`.
    pub contact: Option<String>,
    /// PEM file of the root certificates for connections to the directory and the broker, in place
    /// of the system's.
    pub ca: Option<PathBuf>,
    /// Folder for accounts and certificates. It is created with access for the owner only.
    pub folder: PathBuf,
}

/// Name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// A domain name of this node. The authority connects to its port 443, which must reach the
    /// browsers' listener.
    Domain(String),
    /// A wildcard for all names below the node's own name.
    Own(OwnName),
}

/// The node's own name: its peer id below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// URL of the broker, without a path, such as [`PUBLIC_BROKER`].
    pub broker: String,
    /// The domain, such as [`PUBLIC_DOMAIN`].
    pub domain: String,
    /// Public address of the node, or `None` for the one that discovery learns from peers.
    pub ip: Option<IpAddr>,
}

impl CertificateName {
    /// Returns the name in the certificate.
    pub(super) fn of(&self, peer: &PeerId) -> String {
        match self {
            Self::Domain(name) => name.clone(),
            Self::Own(own) => format!("*.{}", own.below(peer)),
        }
    }
}

impl OwnName {
    /// Returns the node's own name, which is the parent of its addresses' names.
    fn below(&self, peer: &PeerId) -> String {
        format!("{}.{}", label(peer), self.domain)
    }

    /// Returns the name that resolves to this address.
    pub(super) fn for_address(&self, peer: &PeerId, ip: IpAddr) -> String {
        format!("{}.{}", ip_label(ip), self.below(peer))
    }
}

/// Returns a peer id as a DNS label: a CID in base 36. It has at most 63 characters, the limit of a
/// label.
fn label(peer: &PeerId) -> String {
    /// CID version 1, and the multicodec of a libp2p key.
    const PREFIX: [u8; 2] = [0x01, 0x72];
    let mut cid = PREFIX.to_vec();
    cid.extend(peer.to_bytes());
    multibase::encode(Base::Base36Lower, cid)
}

/// Returns an address as a DNS label, with `-` for `.` and `:`. Since a label can't begin or end
/// with `-`, a `0` is added there.
fn ip_label(ip: IpAddr) -> String {
    let mut label = ip.to_canonical().to_string().replace(['.', ':'], "-");
    if label.starts_with('-') {
        label.insert(0, '0');
    }
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_a_label_of_a_domain_name() {
        let peer: PeerId =
            "12D3KooWGzBXWNvHpLALvGrPSjFnf7gUyrD8iBHEAn5YLPxGUtbq".parse().expect("a peer id");
        let short = label(&peer);
        assert!(short.starts_with("k51qzi5uqu5d") && short.len() == 62, "{short}");
        for seed in 1..=50_u8 {
            let key = crate::key::SecretKey::from_bytes(&[seed; 32]).expect("a key");
            let label = label(&key.peer_id());
            assert!(label.len() == 63 && label.starts_with("kzwfwjn5ji4p"), "{label}");
        }
    }

    #[test]
    fn an_address_is_a_label_that_the_domain_resolves_to_it() {
        for (ip, label) in [
            ("1.2.3.4", "1-2-3-4"),
            ("::ffff:1.2.3.4", "1-2-3-4"),
            ("2001:db8::1", "2001-db8--1"),
            ("::1", "0--1"),
            ("fe80::", "fe80--0"),
        ] {
            assert_eq!(ip_label(ip.parse().expect("an address")), label);
        }
    }

    #[test]
    fn the_certificate_covers_the_names_of_all_addresses() {
        let peer = PeerId::random();
        let own = OwnName { broker: PUBLIC_BROKER.into(), domain: "a.example".into(), ip: None };
        let name = CertificateName::Own(own.clone()).of(&peer);
        let dialled = own.for_address(&peer, IpAddr::from([1, 2, 3, 4]));
        assert_eq!(name, format!("*.{}.a.example", label(&peer)));
        assert_eq!(dialled, format!("1-2-3-4.{}.a.example", label(&peer)));
        assert_eq!(CertificateName::Domain("gw.example".into()).of(&peer), "gw.example");
    }
}
