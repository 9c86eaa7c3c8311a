//! Addresses in our own node record.

use super::{AddressKind, AddressPolicy};
use crate::time::Now;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Settings that determine our own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// Address on which the node listens; it may be unspecified.
    pub listen: IpAddr,
    /// TCP port on which the node listens.
    pub bound_tcp: u16,
    /// UDP port on which discovery listens.
    pub bound_udp: u16,
    /// `--p2p.advertise.ip`.
    pub advertise_ip: Option<IpAddr>,
    /// `--p2p.advertise.tcp`; 0 if not set.
    pub advertise_tcp: u16,
    /// `--p2p.advertise.udp`; 0 if not set.
    pub advertise_udp: u16,
}

/// Error for an address that can't be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no machine is reached at {0}, so it can't be advertised")]
pub struct InvalidAdvertisement(pub IpAddr);

/// The endpoint that our record advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// `ip` or `ip6`; `None` until enough other nodes have reported at which address they see us.
    pub ip: Option<IpAddr>,
    /// `tcp`, or `tcp6` with an `ip6`.
    pub tcp: u16,
    /// `udp`, or `udp6` with an `ip6`.
    pub udp: u16,
    /// Whether `ip` and `udp` follow the reports of other nodes; `false` if the operator or the
    /// system determines them.
    pub is_predicted: bool,
}

impl Advertised {
    /// Returns the initial endpoint of a node's record.
    ///
    /// The IP address is the operator's or, failing that, the listen address if it is global or
    /// loopback: a node bound to loopback is reachable nowhere else. A private listen address is
    /// not advertised: unless the operator confirms it, it would lead strangers into their own
    /// networks. The ports are the operator's or, failing that, the bound ones.
    ///
    /// # Errors
    /// If the operator's address is unspecified or multicast.
    pub fn new(config: &LocalConfig) -> Result<Self, InvalidAdvertisement> {
        let or = |given: u16, bound| if given == 0 { bound } else { given };
        let listens = Some(config.listen.to_canonical());
        let own = listens.filter(|ip| {
            matches!(AddressKind::of(*ip), AddressKind::Global | AddressKind::Loopback)
        });
        let given = config.advertise_ip.map(|ip| ip.to_canonical());
        if let Some(ip) = given
            && matches!(AddressKind::of(ip), AddressKind::Unspecified | AddressKind::Multicast)
        {
            return Err(InvalidAdvertisement(ip));
        }
        let ip = given.or(own);
        Ok(Self {
            ip,
            tcp: or(config.advertise_tcp, config.bound_tcp),
            udp: or(config.advertise_udp, config.bound_udp),
            is_predicted: ip.is_none(),
        })
    }

    /// Returns the new endpoint to advertise after other nodes reported that they see us at `at`.
    /// Returns `None` if the endpoint is unchanged or must not be advertised: an address that this
    /// node does not use is a mistake or a lie.
    #[must_use]
    pub fn seen(&self, at: SocketAddr, policy: &AddressPolicy) -> Option<Self> {
        let ip = at.ip().to_canonical();
        let seen = Self { ip: Some(ip), udp: at.port(), ..*self };
        (self.is_predicted && seen != *self && at.port() != 0 && policy.allows(ip)).then_some(seen)
    }
}

/// The addresses in our own record, by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddresses {
    /// `ip`.
    pub ip4: Option<Ipv4Addr>,
    /// `tcp` and `udp`.
    pub ports4: (u16, u16),
    /// `ip6`, with `tcp6` and `udp6`.
    pub ip6: Option<(Ipv6Addr, (u16, u16))>,
}

impl Advertised {
    /// Returns the addresses that our record contains. The ports of IPv4 are always there, even
    /// without an address: the reference always includes them, and its readers use them for IPv6
    /// too (EIP-778).
    pub const fn addresses(&self) -> OwnAddresses {
        let ports4 = (self.tcp, self.udp);
        match self.ip {
            Some(IpAddr::V4(ip)) => OwnAddresses { ip4: Some(ip), ports4, ip6: None },
            Some(IpAddr::V6(ip)) => OwnAddresses { ip4: None, ports4, ip6: Some((ip, ports4)) },
            None => OwnAddresses { ip4: None, ports4, ip6: None },
        }
    }
}

/// Returns the sequence number of our record. `previous` is the sequence number of the last
/// published record, and whether the new one has the same content.
///
/// The number grows whenever the content changes, also across restarts. Without a previous record
/// it is the time in milliseconds, as in the reference, which exceeds any number counted up from an
/// earlier time.
pub fn sequence(now: Now, previous: Option<(u64, bool)>) -> u64 {
    let at_least = u64::try_from(now.unix.as_millis()).unwrap_or(u64::MAX);
    match previous {
        Some((sequence, true)) => sequence,
        Some((sequence, false)) => sequence.saturating_add(1).max(at_least),
        None => at_least.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn config(listen: &str) -> LocalConfig {
        LocalConfig {
            listen: ip(listen),
            bound_tcp: 9222,
            bound_udp: 9223,
            advertise_ip: None,
            advertise_tcp: 0,
            advertise_udp: 0,
        }
    }

    #[test]
    fn the_operators_settings_take_precedence() {
        let config = LocalConfig {
            advertise_ip: Some(ip("192.168.1.2")),
            advertise_tcp: 1024,
            advertise_udp: 1025,
            ..config("127.0.0.1")
        };
        let expected =
            Advertised { ip: Some(ip("192.168.1.2")), tcp: 1024, udp: 1025, is_predicted: false };
        assert_eq!(Advertised::new(&config), Ok(expected));
        for nobody in ["0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
            let config = LocalConfig { advertise_ip: Some(ip(nobody)), ..config };
            assert_eq!(Advertised::new(&config), Err(InvalidAdvertisement(ip(nobody))));
        }
    }

    #[test]
    fn without_settings_only_a_global_or_loopback_listen_address_is_advertised() {
        for (listen, said) in [
            ("0.0.0.0", None),
            ("::", None),
            ("10.0.0.1", None),
            ("fe80::1", None),
            ("1.2.3.4", Some("1.2.3.4")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("::1", Some("::1")),
        ] {
            let advertised = Advertised::new(&config(listen)).expect("nothing is given");
            let expected =
                Advertised { ip: said.map(ip), tcp: 9222, udp: 9223, is_predicted: said.is_none() };
            assert_eq!(advertised, expected, "{listen}");
        }
    }

    #[test]
    fn the_ports_of_ipv4_are_always_in_the_record() {
        let of = |text| {
            let ip = Some(ip(text));
            Advertised { ip, tcp: 1, udp: 2, is_predicted: false }.addresses()
        };
        let v4 = OwnAddresses { ip4: Some([1, 2, 3, 4].into()), ports4: (1, 2), ip6: None };
        assert_eq!(of("1.2.3.4"), v4);
        let ip6 = Some((Ipv6Addr::LOCALHOST, (1, 2)));
        assert_eq!(of("::1"), OwnAddresses { ip4: None, ports4: (1, 2), ip6 });
        let unknown = Advertised::new(&config("0.0.0.0")).expect("nothing is given").addresses();
        assert_eq!(unknown, OwnAddresses { ip4: None, ports4: (9222, 9223), ip6: None });
    }

    #[test]
    fn the_address_that_others_report_is_advertised_unless_the_operator_set_one() {
        let policy = AddressPolicy::new(ip("0.0.0.0"), []);
        let first = Advertised::new(&config("0.0.0.0")).expect("nothing is given");
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        let seen = first.seen(at([1, 2, 3, 4], 30), &policy).expect("it is new");
        assert_eq!((seen.ip, seen.udp, seen.tcp), (Some(ip("1.2.3.4")), 30, 9222));
        assert_eq!(seen.seen(at([1, 2, 3, 4], 30), &policy), None, "nothing new");
        for lie in [
            at([10, 0, 0, 1], 30),
            at([127, 0, 0, 1], 30),
            at([0, 0, 0, 0], 30),
            at([1, 2, 3, 4], 0),
        ] {
            assert_eq!(first.seen(lie, &policy), None, "{lie}");
        }
        let fixed = Advertised::new(&config("1.2.3.4")).expect("nothing is given");
        assert_eq!(fixed.seen(at([5, 6, 7, 8], 30), &policy), None);
    }

    #[test]
    fn the_sequence_number_grows_only_when_the_content_changes() {
        let at = |millis| Now::new(Duration::ZERO, Duration::from_millis(millis));
        assert_eq!(sequence(at(1000), None), 1000);
        assert_eq!(sequence(at(0), None), 1);
        assert_eq!(sequence(at(1000), Some((7, true))), 7);
        assert_eq!(sequence(at(1000), Some((7, false))), 1000);
        assert_eq!(sequence(at(1000), Some((5000, false))), 5001, "the clock was set back");
    }
}
