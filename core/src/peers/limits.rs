//! A hard limit on connections, so that a flood of them cannot take the node down. The reference has
//! none: its connection manager closes what is too much once a minute.
//!
//! # Bounds
//!
//! Anyone fills the places for inbound connections, first half-open, then established; each has a
//! fixed number of them, one address only a part of it, and what finds no place is refused. This
//! harms nobody else: the peers that count are dialled by this node, and those that are exempt
//! (static, protected) need no inbound place. They do need a half-open one if it is they who dial,
//! as nobody knows yet who they are; so the driver ends what stays half-open for long.
//! Outbound connections are as many as the driver dials; all are bounded by peer.

use core::net::{IpAddr, Ipv4Addr};

use super::{Denied, PeerId};
use crate::sorted::SortedMap;

/// The driver's name for a connection, from the moment it begins until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where a connection came in. Each door has its own places, so that a crowd at one leaves the other
/// open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Nodes.
    Tcp,
    /// Browsers.
    Browser,
}

/// The places of one [`Door`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Inbound connections that have not yet said who they are.
    pub half_open: usize,
    /// Inbound connections of peers that are known and not exempt.
    pub inbound: usize,
    /// Both kinds together from one address; an IPv6 address counts as its /64, of which a customer
    /// has all. Loopback and unknown addresses are not limited.
    pub per_address: usize,
}

impl Default for DoorLimits {
    /// Places for nodes.
    fn default() -> Self {
        Self { half_open: 64, inbound: 64, per_address: 10 }
    }
}

impl DoorLimits {
    /// Places for browsers: 64 half-open ones and 512, all of which one address may take.
    ///
    /// An address says nothing of browsers: a whole office comes from that of its router, and everybody from that of
    /// a reverse proxy, which is how this door is mostly used. Whoever wants the door for himself can fill it, and has
    /// nothing but that: nodes have their own door, and what browsers cost is bounded by their number. An operator
    /// without a proxy can set a limit for an address.
    pub const BROWSERS: Self = Self::browsers(512);

    /// So many places for browsers, all of which one address may take; see [`Self::BROWSERS`].
    pub const fn browsers(inbound: usize) -> Self {
        let half_open = 64;
        Self { half_open, inbound, per_address: inbound.saturating_add(half_open) }
    }
}

/// The places of all doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Places for nodes.
    pub tcp: DoorLimits,
    /// Places for browsers.
    pub browser: DoorLimits,
    /// Established connections with one peer, in both directions and through all doors.
    pub per_peer: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { tcp: DoorLimits::default(), browser: DoorLimits::BROWSERS, per_peer: 4 }
    }
}

impl LimitsConfig {
    const fn at(&self, door: Door) -> &DoorLimits {
        match door {
            Door::Tcp => &self.tcp,
            Door::Browser => &self.browser,
        }
    }
}

/// Connections of one [`Door`], or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Inbound, not yet known whose.
    pub half_open: usize,
    /// Inbound, of peers that are not exempt.
    pub inbound: usize,
    /// Inbound, of exempt peers.
    pub exempt: usize,
    /// Outbound, of any peer.
    pub outbound: usize,
}

impl ConnectionCounts {
    /// All of them.
    pub const fn total(&self) -> usize {
        self.half_open + self.inbound + self.exempt + self.outbound
    }

    const fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::HalfOpen => &mut self.half_open,
            Kind::Inbound => &mut self.inbound,
            Kind::Exempt => &mut self.exempt,
            Kind::Outbound => &mut self.outbound,
        }
    }
}

/// All connections, and whether there is room for another.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimits {
    config: LimitsConfig,
    connections: SortedMap<ConnectionId, Connection>,
    /// In the order of [`Door`].
    counts: [ConnectionCounts; 2],
    by_address: SortedMap<(Door, Block), usize>,
    by_peer: SortedMap<PeerId, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    door: Door,
    kind: Kind,
    address: Option<IpAddr>,
    peer: Option<PeerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    HalfOpen,
    Inbound,
    Exempt,
    Outbound,
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Block {
    /// `None` for loopback: there the operator's own tunnels and tests come from.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(v4) => Some(Self::V4(v4)),
            IpAddr::V6(v6) => Some(Self::V6((v6.to_bits() >> 64) as u64)),
        }
    }
}

impl Connection {
    /// Under what it counts at its address. Outbound ones go where this node wants, and exempt ones
    /// are not to take the places of others behind the same address.
    fn block(&self) -> Option<(Door, Block)> {
        match self.kind {
            Kind::HalfOpen | Kind::Inbound => {
                self.address.and_then(Block::of).map(|block| (self.door, block))
            }
            Kind::Exempt | Kind::Outbound => None,
        }
    }
}

impl ConnectionLimits {
    /// No connections yet.
    pub fn new(config: LimitsConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// A connection comes in. If there is room it counts as half-open from here on, until one of the
    /// calls below. `id` is new: if it is not, the connection that had it has ended.
    pub fn accept(&mut self, id: ConnectionId, door: Door, address: Option<IpAddr>) -> Result<(), Denied> {
        self.ended(id);
        self.add(id, Connection { door, kind: Kind::HalfOpen, address, peer: None })
    }

    /// It is known whose a connection is: one that was accepted, or an outbound one, which is new
    /// here. If there is no room for it, it is forgotten, and the driver closes it.
    ///
    /// A connection of an exempt peer finds a place unless the peer itself has too many. An address
    /// left out is the one that was accepted.
    pub fn established(
        &mut self,
        id: ConnectionId,
        door: Door,
        peer: PeerId,
        address: Option<IpAddr>,
        inbound: bool,
        is_exempt: bool,
    ) -> Result<(), Denied> {
        // Its own half-open place does not count against it.
        let accepted = self.remove(id).and_then(|connection| connection.address);
        let kind = match (inbound, is_exempt) {
            (false, _) => Kind::Outbound,
            (true, false) => Kind::Inbound,
            (true, true) => Kind::Exempt,
        };
        self.add(id, Connection { door, kind, address: address.or(accepted), peer: Some(peer) })
    }

    /// A connection failed or was closed. One that was refused, or never known, is no error.
    pub fn ended(&mut self, id: ConnectionId) {
        self.remove(id);
    }

    /// The connections of one door.
    pub const fn counts(&self, door: Door) -> ConnectionCounts {
        self.counts[door as usize]
    }

    /// Established connections with a peer.
    pub fn of_peer(&self, peer: &PeerId) -> usize {
        self.by_peer.get(peer).copied().unwrap_or(0)
    }

    /// Inbound connections that count for the limit of an address: none for loopback.
    pub fn from_address(&self, door: Door, address: IpAddr) -> usize {
        Block::of(address).and_then(|block| self.by_address.get(&(door, block))).copied().unwrap_or(0)
    }

    /// All connections.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    fn add(&mut self, id: ConnectionId, connection: Connection) -> Result<(), Denied> {
        let Connection { door, kind, address, peer } = connection;
        let (limits, counts) = (self.config.at(door), self.counts(door));
        if let Some(peer) = peer
            && self.of_peer(&peer) >= self.config.per_peer
        {
            return Err(Denied::TooManyOfPeer);
        }
        let block = connection.block();
        if let Some(address) = address
            && block.is_some()
            && self.from_address(door, address) >= limits.per_address
        {
            return Err(Denied::TooManyFromAddress(address.to_canonical()));
        }
        match kind {
            Kind::HalfOpen if counts.half_open >= limits.half_open => return Err(Denied::TooManyHalfOpen),
            Kind::Inbound if counts.inbound >= limits.inbound => return Err(Denied::TooManyInbound),
            _ => {}
        }
        self.connections.insert(id, connection);
        *self.counts[door as usize].of(kind) += 1;
        if let Some(block) = block {
            *self.by_address.get_or_insert_with(block, || 0) += 1;
        }
        if let Some(peer) = peer {
            *self.by_peer.get_or_insert_with(peer, || 0) += 1;
        }
        Ok(())
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        *self.counts[connection.door as usize].of(connection.kind) -= 1;
        if let Some(block) = connection.block() {
            one_less(&mut self.by_address, &block);
        }
        if let Some(peer) = connection.peer {
            one_less(&mut self.by_peer, &peer);
        }
        Some(connection)
    }
}

/// Counts down, and forgets what is zero.
fn one_less<K: Ord>(counts: &mut SortedMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: u32) -> PeerId {
        PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn v4(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    const fn id(number: u32) -> ConnectionId {
        ConnectionId(number as u64)
    }

    #[test]
    fn a_flood_of_strangers_finds_64_places_and_one_address_10() {
        let mut limits = ConnectionLimits::default();
        let let_in = (0..1000).filter(|n| limits.accept(id(*n), Door::Tcp, v4(7)).is_ok()).count();
        assert_eq!(let_in, 10);
        assert_eq!(limits.accept(id(0), Door::Tcp, v4(7)), Ok(()), "the id is used again");
        let denied = Err(Denied::TooManyFromAddress(ip("10.0.0.7")));
        assert_eq!(limits.accept(id(1000), Door::Tcp, v4(7)), denied);
        let let_in = (2000..3000).filter(|n| limits.accept(id(*n), Door::Tcp, v4(*n)).is_ok()).count();
        assert_eq!((let_in, limits.len()), (54, 64));
        assert_eq!(limits.accept(id(3000), Door::Tcp, v4(3000)), Err(Denied::TooManyHalfOpen));
        // Nor does it matter to the other door.
        assert_eq!(limits.accept(id(3001), Door::Browser, v4(7)), Ok(()));
        (0..4000).for_each(|n| limits.ended(id(n)));
        assert!(limits.is_empty() && limits.by_address.is_empty());
    }

    #[test]
    fn a_flood_of_peers_finds_64_places() {
        let mut limits = ConnectionLimits::default();
        let mut established = 0;
        for n in 0..1000 {
            assert_eq!(limits.accept(id(n), Door::Tcp, v4(n)), Ok(()));
            match limits.established(id(n), Door::Tcp, peer(n), v4(n), true, false) {
                Ok(()) => established += 1,
                denied => assert_eq!(denied, Err(Denied::TooManyInbound)),
            }
        }
        let counts = ConnectionCounts { inbound: 64, ..ConnectionCounts::default() };
        assert_eq!((established, limits.counts(Door::Tcp), limits.len()), (64, counts, 64));

        // Exempt and outbound ones still come in, and take nobody's place.
        assert_eq!(limits.accept(id(1000), Door::Tcp, v4(1)), Ok(()));
        assert_eq!(limits.established(id(1000), Door::Tcp, peer(1000), v4(1), true, true), Ok(()));
        assert_eq!(limits.established(id(1001), Door::Tcp, peer(1001), v4(1), false, false), Ok(()));
        let counts = ConnectionCounts { half_open: 0, inbound: 64, exempt: 1, outbound: 1 };
        assert_eq!((limits.counts(Door::Tcp), counts.total()), (counts, 66));
        assert_eq!(limits.from_address(Door::Tcp, ip("10.0.0.1")), 1);
        limits.ended(id(1000));
        assert_eq!(limits.accept(id(1002), Door::Tcp, v4(2)), Ok(()));
        let denied = limits.established(id(1002), Door::Tcp, peer(2), v4(2), true, false);
        assert_eq!(denied, Err(Denied::TooManyInbound));
        limits.ended(id(0));
        assert_eq!(limits.established(id(1003), Door::Tcp, peer(2), v4(2), true, false), Ok(()));
        // Browsers have their own places.
        assert_eq!(limits.established(id(1004), Door::Browser, peer(3), v4(2), true, false), Ok(()));
    }

    #[test]
    fn browsers_of_one_address_have_the_whole_door_and_leave_the_nodes_theirs() {
        let mut limits = ConnectionLimits::default();
        let (mut established, address) = (0, v4(7));
        for n in 0..1000 {
            assert_eq!(limits.accept(id(n), Door::Browser, address), Ok(()));
            match limits.established(id(n), Door::Browser, peer(n), address, true, false) {
                Ok(()) => established += 1,
                denied => assert_eq!(denied, Err(Denied::TooManyInbound)),
            }
        }
        assert_eq!(established, 512);
        let let_in = (1000..2000).filter(|n| limits.accept(id(*n), Door::Browser, address).is_ok()).count();
        assert_eq!(let_in, 64);
        let let_in = (2000..3000).filter(|n| limits.accept(id(*n), Door::Tcp, address).is_ok()).count();
        assert_eq!(let_in, 10, "as if there were no browsers");
    }

    #[test]
    fn half_open_and_established_connections_of_an_address_count_together() {
        let mut limits = ConnectionLimits::default();
        for n in 0..10 {
            assert_eq!(limits.accept(id(n), Door::Tcp, v4(1)), Ok(()));
        }
        // Its own place is not missing.
        for n in 0..5 {
            assert_eq!(limits.established(id(n), Door::Tcp, peer(n), None, true, false), Ok(()));
        }
        assert_eq!(limits.from_address(Door::Tcp, ip("::ffff:10.0.0.1")), 10);
        let mapped = Some(ip("::ffff:10.0.0.1"));
        let denied = Err(Denied::TooManyFromAddress(ip("10.0.0.1")));
        assert_eq!(limits.accept(id(10), Door::Tcp, mapped), denied);
        assert_eq!(limits.established(id(11), Door::Tcp, peer(11), mapped, true, false), denied);
        // An exempt peer behind the same address makes room again.
        assert_eq!(limits.established(id(9), Door::Tcp, peer(9), None, true, true), Ok(()));
        assert_eq!(limits.accept(id(10), Door::Tcp, mapped), Ok(()));
    }

    #[test]
    fn ipv6_is_counted_by_64_bits_and_loopback_not_at_all() {
        let mut limits = ConnectionLimits::default();
        for n in 0..10 {
            let address = Some(ip(&format!("2001:db8::{n}:1")));
            assert_eq!(limits.accept(id(n), Door::Tcp, address), Ok(()));
        }
        let denied = Err(Denied::TooManyFromAddress(ip("2001:db8::ffff:0:0:1")));
        assert_eq!(limits.accept(id(10), Door::Tcp, Some(ip("2001:db8::ffff:0:0:1"))), denied);
        assert_eq!(limits.accept(id(10), Door::Tcp, Some(ip("2001:db8:0:1::1"))), Ok(()));
        for (n, text) in ["127.0.0.1", "::1", "::ffff:127.0.0.2"].into_iter().cycle().take(45).enumerate() {
            assert_eq!(limits.accept(id(20 + n as u32), Door::Tcp, Some(ip(text))), Ok(()));
        }
        assert_eq!(limits.from_address(Door::Tcp, ip("127.0.0.1")), 0);
    }

    #[test]
    fn a_peer_has_at_most_four_connections() {
        let mut limits = ConnectionLimits::default();
        for n in 0..4 {
            assert_eq!(limits.established(id(n), Door::Tcp, peer(1), v4(n), n % 2 == 0, n == 0), Ok(()));
        }
        for (inbound, is_exempt) in [(false, false), (true, true)] {
            assert_eq!(limits.accept(id(9), Door::Browser, v4(9)), Ok(()));
            let fifth = limits.established(id(9), Door::Browser, peer(1), v4(9), inbound, is_exempt);
            assert_eq!(fifth, Err(Denied::TooManyOfPeer));
            assert_eq!(limits.counts(Door::Browser), ConnectionCounts::default());
        }
        limits.ended(id(3));
        assert_eq!(limits.established(id(9), Door::Tcp, peer(1), v4(9), true, false), Ok(()));
        assert_eq!((limits.of_peer(&peer(1)), limits.of_peer(&peer(2))), (4, 0));
    }

    #[test]
    fn unknown_connections_may_end() {
        let mut limits = ConnectionLimits::default();
        assert_eq!(limits.accept(id(1), Door::Tcp, None), Ok(()));
        limits.ended(id(2));
        limits.ended(id(1));
        limits.ended(id(1));
        assert!(limits.is_empty());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Accept(Door, Option<u8>),
        Established { door: Door, peer: u8, address: Option<u8>, inbound: bool, is_exempt: bool },
        Ended,
    }

    fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
        let door = || prop_oneof![Just(Door::Tcp), Just(Door::Browser)];
        let address = || prop::option::of(0_u8..6);
        let step = prop_oneof![
            4 => (door(), address()).prop_map(|(door, address)| Step::Accept(door, address)),
            4 => (door(), 0_u8..6, address(), any::<bool>(), any::<bool>()).prop_map(
                |(door, peer, address, inbound, is_exempt)| {
                    Step::Established { door, peer, address, inbound, is_exempt }
                }
            ),
            1 => Just(Step::Ended),
        ];
        prop::collection::vec((0_u32..40, step), 0..300)
    }

    /// Two IPv4 addresses, one of them mapped, two networks of IPv6, and loopback.
    fn address(number: u8) -> IpAddr {
        let texts = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "::1"];
        ip(texts[usize::from(number)])
    }

    proptest! {
        #[test]
        fn no_limit_is_ever_passed_and_all_places_come_back(steps in steps()) {
            let places = DoorLimits { half_open: 5, inbound: 6, per_address: 3 };
            let config = LimitsConfig { tcp: places, browser: places, per_peer: 2 };
            let mut limits = ConnectionLimits::new(config);
            for (number, step) in steps {
                let result = match step {
                    Step::Accept(door, from) => limits.accept(id(number), door, from.map(address)),
                    Step::Established { door, peer: name, address: from, inbound, is_exempt } => {
                        let peer = peer(name.into());
                        limits.established(id(number), door, peer, from.map(address), inbound, is_exempt)
                    }
                    Step::Ended => {
                        limits.ended(id(number));
                        Err(Denied::PeerBlocked)
                    }
                };
                prop_assert_eq!(limits.connections.contains_key(&id(number)), result.is_ok());
                let mut total = 0;
                for door in [Door::Tcp, Door::Browser] {
                    let counts = limits.counts(door);
                    prop_assert!(counts.half_open <= 5 && counts.inbound <= 6);
                    total += counts.total();
                }
                prop_assert_eq!(total, limits.len());
                prop_assert!(limits.by_address.values().all(|count| (1..=3).contains(count)));
                prop_assert!(limits.by_peer.values().all(|count| (1..=2).contains(count)));
            }
            (0..40).for_each(|number| limits.ended(id(number)));
            prop_assert!(limits.is_empty() && limits.by_address.is_empty() && limits.by_peer.is_empty());
            prop_assert_eq!(limits.counts, [ConnectionCounts::default(); 2]);
        }
    }
}
