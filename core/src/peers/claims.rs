//! Addresses that a peer claims for itself, and the rules for dialling them.
//!
//! A claim comes from a stranger. If a node trusted it, any peer could make the node connect to
//! hosts in the operator's own network, to services on the same machine, or to a name that only the
//! operator's DNS resolves. So a claim counts only if it is a single literal IP address. A global
//! address counts for every peer. Any other address counts only if the peer is connected from
//! exactly that address: such a claim leads only to a host that is already known.

use crate::discovery::AddressKind;
use core::net::IpAddr;

/// Multiaddr protocols that denote a host, or a name that resolves to a host.
const HOSTS: [&str; 8] = ["ip4", "ip6", "ip6zone", "ipcidr", "dns", "dns4", "dns6", "dnsaddr"];

/// Returns the IP address of a multiaddr that begins with an IP address and contains no other host.
pub(super) fn literal_ip(address: &str) -> Option<IpAddr> {
    let mut parts = address.strip_prefix('/')?.split('/');
    let (protocol, host) = (parts.next()?, parts.next()?);
    let ip = match protocol {
        "ip4" => IpAddr::V4(host.parse().ok()?),
        "ip6" => IpAddr::V6(host.parse().ok()?),
        _ => return None,
    };
    // A dialler may use the last host, and resolves a name at any position.
    parts.all(|part| !HOSTS.contains(&part)).then(|| ip.to_canonical())
}

/// Returns `true` if a multiaddr leads to a global IP address and to no other host.
pub(super) fn is_global(address: &str) -> bool {
    literal_ip(address).is_some_and(|ip| AddressKind::of(ip) == AddressKind::Global)
}

/// Returns `true` if a peer that is connected from the addresses `seen_at` may claim this
/// multiaddr.
pub(super) fn may_claim(address: &str, seen_at: &[IpAddr]) -> bool {
    let Some(ip) = literal_ip(address) else { return false };
    match AddressKind::of(ip) {
        AddressKind::Global => true,
        AddressKind::Private | AddressKind::Loopback => {
            seen_at.iter().any(|seen| seen.to_canonical() == ip)
        }
        AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Reserved => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_ip_of_a_multiaddr_is_its_single_literal_host() {
        for (address, expected) in [
            ("/ip4/1.2.3.4/tcp/9222", Some("1.2.3.4")),
            ("/ip4/1.2.3.4/tcp/9222/ws/p2p/16Uiu2", Some("1.2.3.4")),
            ("/ip6/2600::1/udp/1/quic-v1", Some("2600::1")),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Some("10.0.0.1")),
            ("/ip4/1.2.3.4", Some("1.2.3.4")),
            ("/ip4/1.2.3/tcp/1", None),
            ("/ip6/1.2.3.4/tcp/1", None),
            ("ip4/1.2.3.4/tcp/1", None),
            ("/dns4/vault.internal/tcp/8200", None),
            ("/dns/example.org/tcp/1", None),
            ("/dnsaddr/example.org", None),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/1", None),
            // Diallers use the last host of such an address.
            ("/ip4/1.2.3.4/tcp/1/ip4/10.0.0.1/tcp/22", None),
            ("/ip4/1.2.3.4/tcp/1/dns4/vault.internal/tcp/8200", None),
            ("/ip4/1.2.3.4/tcp/1/p2p/16Uiu2/p2p-circuit/ip6/::1/tcp/1", None),
            ("/unix/ip4/1.2.3.4", None),
            ("/ip4", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(literal_ip(address), expected.map(ip), "{address}");
        }
    }

    #[test]
    fn a_claimed_address_must_be_global_or_equal_to_an_observed_one() {
        let near = [ip("10.0.0.9"), ip("::ffff:127.0.0.1")];
        for (address, seen_at, expected) in [
            ("/ip4/1.2.3.4/tcp/1", &[][..], true),
            ("/ip4/1.2.3.4/tcp/1", &near, true),
            ("/ip4/10.0.0.9/tcp/1", &near, true),
            ("/ip4/127.0.0.1/tcp/1", &near, true),
            ("/ip4/10.0.0.10/tcp/22", &near, false),
            ("/ip4/169.254.169.254/tcp/80", &near, false),
            ("/ip4/127.0.0.2/tcp/1", &near, false),
            ("/ip4/10.0.0.9/tcp/1", &[], false),
            ("/ip4/10.0.0.9/tcp/1", &[ip("1.2.3.4")], false),
            ("/ip4/224.0.0.1/tcp/1", &[ip("224.0.0.1")], false),
            ("/ip4/0.0.0.0/tcp/1", &near, false),
            ("/dns4/localhost/tcp/1", &near, false),
        ] {
            assert_eq!(may_claim(address, seen_at), expected, "{address} of {seen_at:?}");
        }
    }
}
