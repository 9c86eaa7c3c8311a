//! Filter that decides which discovered nodes to dial, and at which addresses.

use super::{AddressPolicy, InvalidEntry, OpStackEntry, OutsideRestriction, Restriction, VERSION};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The relevant contents of a node's record, whose signature the driver has checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The `opstack` entry, as RLP.
    pub entry: Option<&'a [u8]>,
    /// `ip`.
    pub ip4: Option<Ipv4Addr>,
    /// `tcp`.
    pub tcp4: Option<u16>,
    /// `ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `tcp6`; if absent, `tcp` also applies to IPv6 (EIP-778).
    pub tcp6: Option<u16>,
}

/// Reason why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no `opstack` entry: the node belongs to another network, or is just a bootnode.
    #[error("no opstack entry")]
    NoEntry,
    /// Its `opstack` entry can't be read.
    #[error("its opstack entry can't be read: {0}")]
    BadEntry(InvalidEntry),
    /// It follows another chain.
    #[error("it follows chain {0}")]
    OtherChain(u64),
    /// Its entry has an unknown version.
    #[error("its opstack entry has version {0}")]
    OtherVersion(u64),
    /// It has no IP address with a TCP port other than 0.
    #[error("no IP address with a TCP port")]
    NoAddress,
    /// Its addresses are of a kind that this node does not use.
    #[error("{0} is not an address to dial")]
    Address(IpAddr),
    /// Its addresses lie outside the networks to which this node is restricted.
    #[error(transparent)]
    Outside(#[from] OutsideRestriction),
}

/// Criteria for records.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Chain id that the entry must have.
    pub chain_id: u64,
    /// Kinds of addresses to use.
    pub policy: AddressPolicy,
    /// Networks to use.
    pub restriction: Restriction,
}

impl Filter {
    /// Returns the addresses at which a node can be dialled: one or two.
    ///
    /// # Errors
    /// The first check that fails determines the error. If several addresses are refused, the error
    /// is that of the first one.
    pub fn admit(&self, record: &Record<'_>) -> Result<Vec<SocketAddr>, Refused> {
        let entry = record.entry.ok_or(Refused::NoEntry)?;
        let entry = OpStackEntry::decode(entry).map_err(Refused::BadEntry)?;
        if entry.chain_id != self.chain_id {
            return Err(Refused::OtherChain(entry.chain_id));
        }
        if entry.version != VERSION {
            return Err(Refused::OtherVersion(entry.version));
        }
        let v4 = record.ip4.map(IpAddr::from).zip(record.tcp4);
        let v6 = record.ip6.map(IpAddr::from).zip(record.tcp6.or(record.tcp4));
        let mut refused = None;
        let mut addresses = Vec::new();
        for (ip, port) in [v4, v6].into_iter().flatten() {
            let ip = ip.to_canonical();
            match self.contact(ip) {
                Ok(()) if port != 0 => addresses.push(SocketAddr::new(ip, port)),
                Ok(()) => {}
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if addresses.is_empty() {
            Err(refused.unwrap_or(Refused::NoAddress))
        } else {
            Ok(addresses)
        }
    }

    /// Checks whether an address may be contacted.
    ///
    /// # Errors
    /// [`Refused::Address`] and [`Refused::Outside`].
    pub fn contact(&self, ip: IpAddr) -> Result<(), Refused> {
        if !self.policy.allows(ip) {
            return Err(Refused::Address(ip));
        }
        Ok(self.restriction.check(ip)?)
    }
}

/// Formats a TCP address as a multiaddr.
pub fn multiaddr(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/{port}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OP_MAINNET: &[u8] = &[0x82, 0x0a, 0x00];

    fn filter() -> Filter {
        let policy = AddressPolicy::new(IpAddr::from([0, 0, 0, 0]), []);
        Filter { chain_id: 10, policy, restriction: Restriction::default() }
    }

    fn record() -> Record<'static> {
        let ip4 = Some([1, 2, 3, 4].into());
        Record { entry: Some(OP_MAINNET), ip4, tcp4: Some(9222), ..Record::default() }
    }

    fn v6(text: &str) -> Option<Ipv6Addr> {
        Some(text.parse().expect("an address"))
    }

    fn texts(record: &Record<'_>) -> Result<Vec<String>, Refused> {
        Ok(filter().admit(record)?.into_iter().map(multiaddr).collect())
    }

    #[test]
    fn a_node_of_the_chain_is_dialled_at_its_addresses() {
        assert_eq!(texts(&record()), Ok(vec!["/ip4/1.2.3.4/tcp/9222".into()]));
        let both = Record { ip6: v6("2600::1"), tcp6: Some(7), ..record() };
        assert_eq!(
            texts(&both),
            Ok(vec!["/ip4/1.2.3.4/tcp/9222".into(), "/ip6/2600::1/tcp/7".into()])
        );
        let one_port = Record { ip4: None, ip6: v6("2600::1"), ..record() };
        assert_eq!(texts(&one_port), Ok(vec!["/ip6/2600::1/tcp/9222".into()]));
        let mapped = Record { ip4: None, ip6: v6("::ffff:1.2.3.4"), ..record() };
        assert_eq!(texts(&mapped), Ok(vec!["/ip4/1.2.3.4/tcp/9222".into()]));
    }

    #[test]
    fn each_useless_record_has_its_reason() {
        let at = |ip: [u8; 4]| Record { ip4: Some(ip.into()), ..record() };
        for (record, why) in [
            (Record { entry: None, ..record() }, Refused::NoEntry),
            (
                Record { entry: Some(&[0xc0]), ..record() },
                Refused::BadEntry(InvalidEntry::NotBytes),
            ),
            (Record { entry: Some(&[0x82, 0x01, 0x00]), ..record() }, Refused::OtherChain(1)),
            (Record { entry: Some(&[0x82, 0x0a, 0x01]), ..record() }, Refused::OtherVersion(1)),
            (Record { tcp4: None, ..record() }, Refused::NoAddress),
            (Record { tcp4: Some(0), ..record() }, Refused::NoAddress),
            (Record { ip4: None, ..record() }, Refused::NoAddress),
            (at([127, 0, 0, 1]), Refused::Address([127, 0, 0, 1].into())),
            (at([10, 0, 0, 1]), Refused::Address([10, 0, 0, 1].into())),
            (at([0, 0, 0, 0]), Refused::Address([0, 0, 0, 0].into())),
            (at([224, 0, 0, 1]), Refused::Address([224, 0, 0, 1].into())),
        ] {
            assert_eq!(filter().admit(&record), Err(why), "{record:?}");
        }
    }

    #[test]
    fn one_good_address_is_enough() {
        let record = Record { ip4: Some([10, 0, 0, 1].into()), ip6: v6("2600::1"), ..record() };
        assert_eq!(texts(&record), Ok(vec!["/ip6/2600::1/tcp/9222".into()]));
    }

    #[test]
    fn a_restriction_applies_to_found_nodes() {
        let restriction = Restriction::to(vec!["1.2.0.0/16".parse().expect("a network")]);
        let filter = Filter { restriction, ..filter() };
        assert!(filter.admit(&record()).is_ok());
        let ip = IpAddr::from([1, 3, 0, 1]);
        let outside = Record { ip4: Some([1, 3, 0, 1].into()), ..record() };
        assert_eq!(filter.admit(&outside), Err(Refused::Outside(OutsideRestriction(ip))));
    }

    proptest! {
        #[test]
        fn every_admitted_address_may_be_dialled(
            ip4: Option<[u8; 4]>, ip6: Option<[u16; 8]>, tcp4: Option<u16>, tcp6: Option<u16>,
        ) {
            let (ip4, ip6) = (ip4.map(Ipv4Addr::from), ip6.map(Ipv6Addr::from));
            let record = Record { entry: Some(OP_MAINNET), ip4, tcp4, ip6, tcp6 };
            if let Ok(addresses) = filter().admit(&record) {
                prop_assert!((1..=2).contains(&addresses.len()));
                for address in addresses {
                    prop_assert!(address.port() != 0 && filter().policy.allows(address.ip()));
                }
            }
        }
    }
}
