//! Kinds of IP addresses, and the policy that decides which ones a node dials and advertises.

use crate::peers::Subnet;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Scope of an IP address. IPv4-mapped IPv6 addresses are treated as the IPv4 addresses that they
/// represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// Publicly routable.
    Global,
    /// Within a site, behind a provider's address translation or on one link (RFC 1918, 6598, 3927,
    /// 4193, 4291).
    Private,
    /// This machine.
    Loopback,
    /// Not a host address: `0.0.0.0`, `::`, and the rest of the first IPv4 network.
    Unspecified,
    /// A multicast group.
    Multicast,
    /// Reserved for documentation, benchmarks, broadcasts or future use: no host has such an
    /// address.
    Reserved,
}

impl AddressKind {
    /// Returns the kind of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] | [169, 254, ..] => Self::Private,
            [172, second, ..] if second & 0xf0 == 16 => Self::Private,
            [100, second, ..] if second & 0xc0 == 64 => Self::Private,
            [first, ..] if first & 0xf0 == 224 => Self::Multicast,
            [first, ..] if first & 0xf0 == 240 => Self::Reserved,
            [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Reserved,
            [198, second, ..] if second & 0xfe == 18 => Self::Reserved,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            _ if ip.is_unspecified() => Self::Unspecified,
            _ if ip.is_loopback() => Self::Loopback,
            _ if ip.is_multicast() => Self::Multicast,
            [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 => Self::Private,
            [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] | [0x3fff, ..] => Self::Reserved,
            // All allocated addresses start with the bits 001.
            [first, ..] if first & 0xe000 == 0x2000 => Self::Global,
            _ => Self::Reserved,
        }
    }
}

/// Policy for the kinds of addresses that a node uses.
///
/// A record is a stranger's claim: if a node trusted it, the node would dial into its own local
/// network, and its own record would lead others into theirs. So a node uses only global addresses,
/// unless the operator named an address of another kind: to listen on, to advertise, as a bootnode,
/// or in a network to which discovery is restricted. A node that listens on loopback uses loopback
/// addresses alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    global: bool,
    private: bool,
    loopback: bool,
}

impl AddressPolicy {
    /// Creates the policy of a node that listens on `listen` and whose operator also named the
    /// addresses `named`.
    pub fn new(listen: IpAddr, named: impl IntoIterator<Item = IpAddr>) -> Self {
        let listens_on = AddressKind::of(listen);
        let mut policy = Self {
            global: listens_on != AddressKind::Loopback,
            private: listens_on == AddressKind::Private,
            loopback: listens_on == AddressKind::Loopback,
        };
        for ip in named {
            match AddressKind::of(ip) {
                AddressKind::Private => policy.private = policy.global,
                AddressKind::Loopback => policy.loopback = true,
                _ => {}
            }
        }
        policy
    }

    /// Returns `true` if this node uses the address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        match AddressKind::of(ip) {
            AddressKind::Global => self.global,
            AddressKind::Private => self.private,
            AddressKind::Loopback => self.loopback,
            AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Reserved => false,
        }
    }

    /// Returns `true` if this node uses only global addresses.
    pub const fn is_global(&self) -> bool {
        !self.private && !self.loopback
    }
}

/// Networks to which a node is restricted (`--p2p.netrestrict`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restriction(Vec<Subnet>);

/// Error for an address outside the [`Restriction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} lies outside of the networks that this node is restricted to")]
pub struct OutsideRestriction(pub IpAddr);

impl Restriction {
    /// Creates a restriction to these networks; an empty list means no restriction.
    pub const fn to(networks: Vec<Subnet>) -> Self {
        Self(networks)
    }

    /// Adds a single address, named by the operator. Has no effect if there is no restriction.
    pub fn and(&mut self, ip: IpAddr) {
        let length = if ip.to_canonical().is_ipv4() { 32 } else { 128 };
        if !self.0.is_empty() {
            self.0.extend(Subnet::new(ip.to_canonical(), length));
        }
    }

    /// Returns the networks; empty if there is no restriction.
    pub fn networks(&self) -> &[Subnet] {
        &self.0
    }

    /// Checks whether an address may be dialled or accepted.
    ///
    /// # Errors
    /// If the address lies in none of the networks.
    pub fn check(&self, ip: IpAddr) -> Result<(), OutsideRestriction> {
        if self.0.is_empty() || self.0.iter().any(|network| network.contains(ip)) {
            Ok(())
        } else {
            Err(OutsideRestriction(ip.to_canonical()))
        }
    }
}

/// Returns the network around an address whose hosts count as one party: an IPv4 /24 or an IPv6
/// /64. A private or loopback address is a network of its own, because the operator controls its
/// hosts.
pub fn neighbourhood(ip: IpAddr) -> Option<Subnet> {
    let ip = ip.to_canonical();
    let length = match (AddressKind::of(ip), ip) {
        (AddressKind::Private | AddressKind::Loopback, IpAddr::V4(_)) => 32,
        (AddressKind::Private | AddressKind::Loopback, IpAddr::V6(_)) => 128,
        (_, IpAddr::V4(_)) => 24,
        (_, IpAddr::V6(_)) => 64,
    };
    Subnet::new(ip, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn address_kinds_are_distinguished() {
        use AddressKind::{Global, Loopback, Multicast, Private, Reserved, Unspecified};
        for (kind, addresses) in [
            (Global, &["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1"][..]),
            (Global, &["2600::1"]),
            (Private, &["10.0.0.1", "172.16.0.1", "172.31.255.1", "192.168.0.1", "100.64.0.1"]),
            (Private, &["169.254.1.1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"]),
            (Loopback, &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"]),
            (Unspecified, &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"]),
            (Multicast, &["224.0.0.1", "239.0.0.1", "ff02::1"]),
            (
                Reserved,
                &["255.255.255.255", "240.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"],
            ),
            (
                Reserved,
                &["198.18.0.1", "198.19.0.1", "192.0.0.1", "2001:db8::1", "100::1", "4000::1"],
            ),
        ] {
            for address in addresses {
                assert_eq!(AddressKind::of(ip(address)), kind, "{address}");
            }
        }
    }

    #[test]
    fn a_node_listening_on_all_interfaces_uses_only_global_addresses() {
        let policy = AddressPolicy::new(ip("0.0.0.0"), []);
        assert!(policy.allows(ip("1.1.1.1")) && policy.is_global());
        for address in
            ["10.0.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "203.0.113.1", "::ffff:10.0.0.1"]
        {
            assert!(!policy.allows(ip(address)), "{address}");
        }
    }

    #[test]
    fn addresses_that_the_operator_named_are_allowed() {
        let private = [
            AddressPolicy::new(ip("10.0.0.1"), []),
            AddressPolicy::new(ip("0.0.0.0"), [ip("192.168.0.7")]),
        ];
        for policy in private {
            assert!(policy.allows(ip("10.0.0.2")) && policy.allows(ip("1.1.1.1")));
            assert!(!policy.allows(ip("127.0.0.1")) && !policy.is_global());
        }
        let machine = AddressPolicy::new(ip("0.0.0.0"), [ip("127.0.0.1")]);
        assert!(machine.allows(ip("127.0.0.2")) && machine.allows(ip("1.1.1.1")));
        assert!(!machine.allows(ip("10.0.0.2")));
        let never =
            AddressPolicy::new(ip("0.0.0.0"), [ip("224.0.0.1"), ip("0.0.0.0"), ip("203.0.113.1")]);
        assert!(!never.allows(ip("224.0.0.1")) && !never.allows(ip("0.0.0.0")));
        assert!(!never.allows(ip("203.0.113.1")));
    }

    #[test]
    fn a_node_on_loopback_uses_only_loopback() {
        let policy = AddressPolicy::new(ip("127.0.0.1"), [ip("10.0.0.1")]);
        assert!(policy.allows(ip("127.0.0.1")));
        assert!(!policy.allows(ip("1.1.1.1")) && !policy.allows(ip("10.0.0.1")));
    }

    #[test]
    fn a_restriction_allows_only_its_networks_and_an_empty_one_allows_all() {
        let mut networks =
            Restriction::to(vec![Subnet::new(ip("10.1.0.0"), 16).expect("a network")]);
        assert_eq!(networks.check(ip("10.1.2.3")), Ok(()));
        assert_eq!(networks.check(ip("::ffff:10.1.2.3")), Ok(()));
        assert_eq!(networks.check(ip("10.2.0.1")), Err(OutsideRestriction(ip("10.2.0.1"))));
        networks.and(ip("10.2.0.1"));
        assert_eq!(networks.check(ip("10.2.0.1")), Ok(()));
        assert!(networks.check(ip("10.2.0.2")).is_err());
        let mut all = Restriction::default();
        all.and(ip("10.2.0.1"));
        assert_eq!(all.check(ip("1.1.1.1")), Ok(()));
    }

    #[test]
    fn neighbourhoods_group_public_addresses_but_not_private_ones() {
        let same = |a: &str, b: &str| neighbourhood(ip(a)) == neighbourhood(ip(b));
        assert!(same("1.1.1.1", "1.1.1.200") && !same("1.1.1.1", "1.1.2.1"));
        assert!(same("2600::1", "2600::ffff") && !same("2600::1", "2600:0:0:1::1"));
        assert!(!same("10.0.0.1", "10.0.0.2") && same("127.0.0.1", "::ffff:127.0.0.1"));
    }
}
