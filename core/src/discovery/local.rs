//! What our own record says of where we are.

use super::{AddressKind, AddressPolicy};
use crate::time::Now;
use core::net::{IpAddr, SocketAddr};

/// What decides over our own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// Where the node listens; it may be unspecified.
    pub listen: IpAddr,
    /// TCP port that it listens on.
    pub bound_tcp: u16,
    /// UDP port that discovery listens on.
    pub bound_udp: u16,
    /// `--p2p.advertise.ip`.
    pub advertise_ip: Option<IpAddr>,
    /// `--p2p.advertise.tcp`; 0 is none.
    pub advertise_tcp: u16,
    /// `--p2p.advertise.udp`; 0 is none.
    pub advertise_udp: u16,
}

/// Why an address can't be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody can be reached at {0}, so it can't be advertised")]
pub struct InvalidAdvertisement(pub IpAddr);

/// Where our record says that we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// `ip` or `ip6`; `None` until others told enough where they see us.
    pub ip: Option<IpAddr>,
    /// `tcp`, and `tcp6` beside an `ip6`.
    pub tcp: u16,
    /// `udp`, and `udp6` beside an `ip6`.
    pub udp: u16,
    /// Whether `ip` and `udp` follow what others see. Not where the operator says, or the system knows, what they are.
    pub is_predicted: bool,
}

impl Advertised {
    /// What a node's record says at first.
    ///
    /// The IP address is the operator's, else the one that is listened on if it is global, or loopback: what is bound
    /// to loopback is nowhere else. A private one is not: without the operator's word it would lead strangers to their
    /// own network. Ports are the operator's, else those that are bound.
    ///
    /// # Errors
    /// If the operator's address is of a kind at which nobody can be.
    pub fn new(config: &LocalConfig) -> Result<Self, InvalidAdvertisement> {
        let or = |given: u16, bound| if given == 0 { bound } else { given };
        let listens = Some(config.listen.to_canonical());
        let own =
            listens.filter(|ip| matches!(AddressKind::of(*ip), AddressKind::Global | AddressKind::Loopback));
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

    /// What it says when others see us there; `None` if that is nothing new, or not to be said: an address of a kind
    /// that is not for this node is somebody's mistake or a lie.
    #[must_use]
    pub fn seen(&self, at: SocketAddr, policy: &AddressPolicy) -> Option<Self> {
        let ip = at.ip().to_canonical();
        let seen = Self { ip: Some(ip), udp: at.port(), ..*self };
        (self.is_predicted && seen != *self && at.port() != 0 && policy.allows(ip)).then_some(seen)
    }
}

/// The sequence number of our record: `previous` is that of the last one that was given out, and whether the new one
/// says the same.
///
/// It grows whenever the content changes, over restarts as well: without the last record it starts at the time in
/// milliseconds, as the reference's does, which is later than any number that counted from an earlier time.
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
    fn what_the_operator_says_counts_most() {
        let config = LocalConfig {
            advertise_ip: Some(ip("192.168.1.2")),
            advertise_tcp: 1024,
            advertise_udp: 1025,
            ..config("127.0.0.1")
        };
        let expected = Advertised { ip: Some(ip("192.168.1.2")), tcp: 1024, udp: 1025, is_predicted: false };
        assert_eq!(Advertised::new(&config), Ok(expected));
        for nobody in ["0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
            let config = LocalConfig { advertise_ip: Some(ip(nobody)), ..config };
            assert_eq!(Advertised::new(&config), Err(InvalidAdvertisement(ip(nobody))));
        }
    }

    #[test]
    fn by_itself_only_a_global_address_or_the_loopback_that_is_listened_on_is_said() {
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
    fn where_others_see_us_is_said_unless_the_operator_says_otherwise() {
        let policy = AddressPolicy::new(ip("0.0.0.0"), []);
        let first = Advertised::new(&config("0.0.0.0")).expect("nothing is given");
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        let seen = first.seen(at([1, 2, 3, 4], 30), &policy).expect("it is new");
        assert_eq!((seen.ip, seen.udp, seen.tcp), (Some(ip("1.2.3.4")), 30, 9222));
        assert_eq!(seen.seen(at([1, 2, 3, 4], 30), &policy), None, "nothing new");
        for lie in [at([10, 0, 0, 1], 30), at([127, 0, 0, 1], 30), at([0, 0, 0, 0], 30), at([1, 2, 3, 4], 0)]
        {
            assert_eq!(first.seen(lie, &policy), None, "{lie}");
        }
        let fixed = Advertised::new(&config("1.2.3.4")).expect("nothing is given");
        assert_eq!(fixed.seen(at([5, 6, 7, 8], 30), &policy), None);
    }

    #[test]
    fn the_sequence_number_grows_when_the_content_changes_and_only_then() {
        let at = |millis| Now::new(Duration::ZERO, Duration::from_millis(millis));
        assert_eq!(sequence(at(1000), None), 1000);
        assert_eq!(sequence(at(0), None), 1);
        assert_eq!(sequence(at(1000), Some((7, true))), 7);
        assert_eq!(sequence(at(1000), Some((7, false))), 1000);
        assert_eq!(sequence(at(1000), Some((5000, false))), 5001, "the clock was set back");
    }
}
