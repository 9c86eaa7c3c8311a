//! Hard limits on connections, so that a flood of connections can't take the node down. The
//! reference has no such limits: its connection manager closes surplus connections once a minute.
//!
//! # Bounds
//!
//! Anyone can fill the places for inbound connections, first as half-open, then as established
//! connections. Each door has a fixed number of places of each kind, [`DoorLimits::per_address`]
//! bounds the share of one address, and connections for which there is no place are refused. A full
//! door does not cut the node off: the node itself dials the peers that matter, and exempt peers
//! (static, protected) need no inbound place. An exempt peer that dials does need a half-open
//! place, because its identity is not known yet; so the driver must close connections that stay
//! half-open for long. Outbound connections are bounded by the number of the driver's dials. The
//! number of established connections is also bounded per peer.

use core::net::{IpAddr, Ipv4Addr};

use super::{Denied, PeerId};
use crate::sorted::SortedMap;

/// The driver's id of a connection, valid for the lifetime of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// An entrance for inbound connections. Each door has its own places, so that crowding at one
/// leaves the other open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Door for nodes.
    Tcp,
    /// Door for browsers.
    Browser,
}

/// Numbers of places at a [`Door`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Maximum number of inbound connections that are not authenticated yet.
    pub half_open: usize,
    /// Maximum number of inbound connections from authenticated peers that are not exempt.
    pub inbound: usize,
    /// Maximum number of both kinds together from one address. An IPv6 address counts as its /64,
    /// which usually belongs to a single customer. Loopback and unknown addresses are not limited.
    pub per_address: usize,
}

impl Default for DoorLimits {
    /// Returns the limits of the door for nodes.
    fn default() -> Self {
        Self { half_open: 64, inbound: 64, per_address: 10 }
    }
}

impl DoorLimits {
    /// Limits of the door for browsers: 64 half-open places and 512 others. One address may take
    /// all of them.
    ///
    /// An address does not identify a browser: everyone in an office shares the address of its
    /// router, and all clients share that of a reverse proxy, which is the usual setup for this
    /// door. An attacker can fill the door, but gains nothing else: nodes have their own door, and
    /// the number of browsers bounds their cost. An operator without a proxy can set a limit per
    /// address.
    pub const BROWSERS: Self = Self::browsers(512);

    /// Returns limits with `inbound` places for browsers. One address may take all of them. See
    /// [`Self::BROWSERS`].
    pub const fn browsers(inbound: usize) -> Self {
        let half_open = 64;
        Self { half_open, inbound, per_address: inbound.saturating_add(half_open) }
    }
}

/// Limits of all doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Limits of the door for nodes.
    pub tcp: DoorLimits,
    /// Limits of the door for browsers.
    pub browser: DoorLimits,
    /// Maximum number of established connections per peer, in both directions and through all
    /// doors.
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

/// Numbers of connections through a [`Door`], by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Inbound connections that are not authenticated yet.
    pub half_open: usize,
    /// Inbound connections from peers that are not exempt.
    pub inbound: usize,
    /// Inbound connections from exempt peers.
    pub exempt: usize,
    /// Outbound connections to any peer.
    pub outbound: usize,
}

impl ConnectionCounts {
    /// Returns the sum of all kinds.
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

/// All connections, and the limits that decide whether another one is admitted.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimits {
    config: LimitsConfig,
    connections: SortedMap<ConnectionId, Connection>,
    /// Counts, indexed by [`Door`].
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

/// The unit that counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Block {
    /// Returns the block of an address, or `None` for loopback, from which the operator's own
    /// tunnels and tests connect.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(v4) => Some(Self::V4(v4)),
            IpAddr::V6(v6) => Some(Self::V6((v6.to_bits() >> 64) as u64)),
        }
    }
}

impl Connection {
    /// Returns the address block towards whose limit the connection counts. Outbound connections do
    /// not count, because this node chose their targets. Exempt connections do not count either, so
    /// that they don't take the places of others behind the same address.
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
    /// Creates limits without any connections.
    pub fn new(config: LimitsConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Admits an inbound connection. If there is room, the connection counts as half-open until one
    /// of the methods below is called for it. `id` must be new; otherwise the earlier connection
    /// with that id counts as ended.
    pub fn accept(
        &mut self,
        id: ConnectionId,
        door: Door,
        address: Option<IpAddr>,
    ) -> Result<(), Denied> {
        self.ended(id);
        self.add(id, Connection { door, kind: Kind::HalfOpen, address, peer: None })
    }

    /// Decides whether the handshake of an accepted connection is worth its cost. At the door for
    /// browsers, it is not while all inbound places are taken: no browser is exempt. At the door
    /// for nodes it always is.
    ///
    /// # Errors
    /// [`Denied::TooManyInbound`] at a full door for browsers.
    pub const fn begin(&self, door: Door) -> Result<(), Denied> {
        match door {
            Door::Browser if self.counts(door).inbound >= self.config.at(door).inbound => {
                Err(Denied::TooManyInbound)
            }
            _ => Ok(()),
        }
    }

    /// Records that the peer of a connection is authenticated. The connection is an accepted one,
    /// or an outbound one that this call adds. If there is no room for it, it is forgotten, and the
    /// driver must close it.
    ///
    /// A connection of an exempt peer always finds a place, unless that peer has too many
    /// connections. If `address` is `None`, the address given to [`Self::accept`] applies.
    pub fn established(
        &mut self,
        id: ConnectionId,
        door: Door,
        peer: PeerId,
        address: Option<IpAddr>,
        inbound: bool,
        is_exempt: bool,
    ) -> Result<(), Denied> {
        // The connection's own half-open place does not count against it.
        let accepted = self.remove(id).and_then(|connection| connection.address);
        let kind = match (inbound, is_exempt) {
            (false, _) => Kind::Outbound,
            (true, false) => Kind::Inbound,
            (true, true) => Kind::Exempt,
        };
        self.add(id, Connection { door, kind, address: address.or(accepted), peer: Some(peer) })
    }

    /// Records that a connection failed or was closed. Has no effect for refused and unknown
    /// connections.
    pub fn ended(&mut self, id: ConnectionId) {
        self.remove(id);
    }

    /// Returns the numbers of connections through one door.
    pub const fn counts(&self, door: Door) -> ConnectionCounts {
        self.counts[door as usize]
    }

    /// Returns the number of established connections of a peer.
    pub fn of_peer(&self, peer: &PeerId) -> usize {
        self.by_peer.get(peer).copied().unwrap_or(0)
    }

    /// Returns the number of inbound connections that count towards the limit of an address, which
    /// is zero for loopback.
    pub fn from_address(&self, door: Door, address: IpAddr) -> usize {
        Block::of(address)
            .and_then(|block| self.by_address.get(&(door, block)))
            .copied()
            .unwrap_or(0)
    }

    /// Returns the total number of connections.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns `true` if there are no connections.
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
            Kind::HalfOpen if counts.half_open >= limits.half_open => {
                return Err(Denied::TooManyHalfOpen);
            }
            Kind::Inbound if counts.inbound >= limits.inbound => {
                return Err(Denied::TooManyInbound);
            }
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
            self.by_address.decrement(&block);
        }
        if let Some(peer) = connection.peer {
            self.by_peer.decrement(&peer);
        }
        Some(connection)
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
    fn a_flood_of_half_open_connections_gets_64_places_and_10_per_address() {
        let mut limits = ConnectionLimits::default();
        let let_in = (0..1000).filter(|n| limits.accept(id(*n), Door::Tcp, v4(7)).is_ok()).count();
        assert_eq!(let_in, 10);
        assert_eq!(limits.accept(id(0), Door::Tcp, v4(7)), Ok(()), "the id is used again");
        let denied = Err(Denied::TooManyFromAddress(ip("10.0.0.7")));
        assert_eq!(limits.accept(id(1000), Door::Tcp, v4(7)), denied);
        let let_in =
            (2000..3000).filter(|n| limits.accept(id(*n), Door::Tcp, v4(*n)).is_ok()).count();
        assert_eq!((let_in, limits.len()), (54, 64));
        assert_eq!(limits.accept(id(3000), Door::Tcp, v4(3000)), Err(Denied::TooManyHalfOpen));
        // Nor does it affect the other door.
        assert_eq!(limits.accept(id(3001), Door::Browser, v4(7)), Ok(()));
        (0..4000).for_each(|n| limits.ended(id(n)));
        assert!(limits.is_empty() && limits.by_address.is_empty());
    }

    #[test]
    fn a_flood_of_peers_gets_64_places() {
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

        // Exempt and outbound connections are still admitted, and take no places from others.
        assert_eq!(limits.accept(id(1000), Door::Tcp, v4(1)), Ok(()));
        assert_eq!(limits.established(id(1000), Door::Tcp, peer(1000), v4(1), true, true), Ok(()));
        assert_eq!(
            limits.established(id(1001), Door::Tcp, peer(1001), v4(1), false, false),
            Ok(())
        );
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
        assert_eq!(
            limits.established(id(1004), Door::Browser, peer(3), v4(2), true, false),
            Ok(())
        );
    }

    #[test]
    fn browsers_of_one_address_may_fill_their_own_door_only() {
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
        let let_in =
            (1000..2000).filter(|n| limits.accept(id(*n), Door::Browser, address).is_ok()).count();
        assert_eq!(let_in, 64);
        let let_in =
            (2000..3000).filter(|n| limits.accept(id(*n), Door::Tcp, address).is_ok()).count();
        assert_eq!(let_in, 10, "as if there were no browsers");
    }

    #[test]
    fn half_open_and_established_connections_of_an_address_count_together() {
        let mut limits = ConnectionLimits::default();
        for n in 0..10 {
            assert_eq!(limits.accept(id(n), Door::Tcp, v4(1)), Ok(()));
        }
        // A connection's own half-open place is not counted.
        for n in 0..5 {
            assert_eq!(limits.established(id(n), Door::Tcp, peer(n), None, true, false), Ok(()));
        }
        assert_eq!(limits.from_address(Door::Tcp, ip("::ffff:10.0.0.1")), 10);
        let mapped = Some(ip("::ffff:10.0.0.1"));
        let denied = Err(Denied::TooManyFromAddress(ip("10.0.0.1")));
        assert_eq!(limits.accept(id(10), Door::Tcp, mapped), denied);
        assert_eq!(limits.established(id(11), Door::Tcp, peer(11), mapped, true, false), denied);
        // When a peer turns out to be exempt, its place at the address becomes free.
        assert_eq!(limits.established(id(9), Door::Tcp, peer(9), None, true, true), Ok(()));
        assert_eq!(limits.accept(id(10), Door::Tcp, mapped), Ok(()));
    }

    #[test]
    fn ipv6_is_counted_per_64_bit_prefix_and_loopback_is_not_counted() {
        let mut limits = ConnectionLimits::default();
        for n in 0..10 {
            let address = Some(ip(&format!("2001:db8::{n}:1")));
            assert_eq!(limits.accept(id(n), Door::Tcp, address), Ok(()));
        }
        let denied = Err(Denied::TooManyFromAddress(ip("2001:db8::ffff:0:0:1")));
        assert_eq!(limits.accept(id(10), Door::Tcp, Some(ip("2001:db8::ffff:0:0:1"))), denied);
        assert_eq!(limits.accept(id(10), Door::Tcp, Some(ip("2001:db8:0:1::1"))), Ok(()));
        for (n, text) in
            ["127.0.0.1", "::1", "::ffff:127.0.0.2"].into_iter().cycle().take(45).enumerate()
        {
            assert_eq!(limits.accept(id(20 + n as u32), Door::Tcp, Some(ip(text))), Ok(()));
        }
        assert_eq!(limits.from_address(Door::Tcp, ip("127.0.0.1")), 0);
    }

    #[test]
    fn a_peer_has_at_most_four_connections() {
        let mut limits = ConnectionLimits::default();
        for n in 0..4 {
            assert_eq!(
                limits.established(id(n), Door::Tcp, peer(1), v4(n), n % 2 == 0, n == 0),
                Ok(())
            );
        }
        for (inbound, is_exempt) in [(false, false), (true, true)] {
            assert_eq!(limits.accept(id(9), Door::Browser, v4(9)), Ok(()));
            let fifth =
                limits.established(id(9), Door::Browser, peer(1), v4(9), inbound, is_exempt);
            assert_eq!(fifth, Err(Denied::TooManyOfPeer));
            assert_eq!(limits.counts(Door::Browser), ConnectionCounts::default());
        }
        limits.ended(id(3));
        assert_eq!(limits.established(id(9), Door::Tcp, peer(1), v4(9), true, false), Ok(()));
        assert_eq!((limits.of_peer(&peer(1)), limits.of_peer(&peer(2))), (4, 0));
    }

    #[test]
    fn ending_an_unknown_connection_is_harmless() {
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

    /// Returns one of these addresses: two IPv4 addresses, one of them also in its mapped form, two
    /// addresses of one IPv6 network, and loopback.
    fn address(number: u8) -> IpAddr {
        let texts =
            ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "::1"];
        ip(texts[usize::from(number)])
    }

    proptest! {
        #[test]
        fn no_limit_is_exceeded_and_all_places_are_returned(steps in steps()) {
            let places = DoorLimits { half_open: 5, inbound: 6, per_address: 3 };
            let config = LimitsConfig { tcp: places, browser: places, per_peer: 2 };
            let mut limits = ConnectionLimits::new(config);
            for (number, step) in steps {
                let result = match step {
                    Step::Accept(door, from) => limits.accept(id(number), door, from.map(address)),
                    Step::Established { door, peer: name, address: from, inbound, is_exempt } => {
                        let peer = peer(name.into());
                        let from = from.map(address);
                        limits.established(id(number), door, peer, from, inbound, is_exempt)
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
            prop_assert!(
                limits.is_empty() && limits.by_address.is_empty() && limits.by_peer.is_empty()
            );
            prop_assert_eq!(limits.counts, [ConnectionCounts::default(); 2]);
        }
    }
}
