//! Who may be connected: block lists, bans that end, and a minimum score
//! (`op-node/p2p/gating/expiry.go`, `gating/scoring.go`, libp2p's `conngater.go`).
//!
//! Differences to the reference: an address is also dialled only if its peer is not blocked,
//! outbound connections are checked again once the peer has proved who it is, an address without an
//! IP is let through (the IP is checked when the name is resolved), and a ban lasts as long as it
//! was set for (there, seven days at most).
//!
//! # Bounds
//!
//! The operator fills the block lists; a full one refuses more with [`ListFull`]. Bad peers fill the
//! tables of bans; what happens when one is full is told in `bans.rs`. A call reports at most two
//! changes, and the driver takes them with [`Gate::poll_change`] after each call.

#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::VecDeque;

use super::bans::BanTable;
use super::{PeerId, Subnet};
use crate::sorted::SortedSet;
use crate::time::Now;

/// How much a [`Gate`] holds, and whom it refuses for a low score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// Peers with a lower score are refused (`None`: nobody is, as in the reference, which has this
    /// gate but never uses it).
    pub min_score: Option<f64>,
    /// Entries of each of the three block lists.
    pub blocks_per_list: usize,
    /// Bans of peers, and as many of IP addresses.
    pub bans_per_table: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { min_score: None, blocks_per_list: 10_000, bans_per_table: 10_000 }
    }
}

/// How a peer stands with this node when it is about to be connected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Its gossip score.
    pub score: f64,
    /// Whether it is static or protected: then no score is too low. Lists and bans hold for it too.
    pub is_exempt: bool,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Denied {
    /// The operator blocked the peer.
    #[error("the peer is blocked")]
    PeerBlocked,
    /// The operator blocked the IP address.
    #[error("the address {0} is blocked")]
    AddressBlocked(IpAddr),
    /// The operator blocked a network in which the IP address lies: the smallest of them.
    #[error("the network {0} is blocked")]
    SubnetBlocked(Subnet),
    /// The peer is banned.
    #[error("the peer is banned until {until}")]
    PeerBanned {
        /// End of the ban, in unix seconds.
        until: u64,
    },
    /// The IP address is banned.
    #[error("the address {ip} is banned until {until}")]
    AddressBanned {
        /// The address.
        ip: IpAddr,
        /// End of the ban, in unix seconds.
        until: u64,
    },
    /// The peer's score is too low.
    #[error("the peer's score {score} is below {min}")]
    LowScore {
        /// The score.
        score: f64,
        /// The lowest that is let in.
        min: f64,
    },
    /// Too many inbound connections have not yet said who they are.
    #[error("too many half-open connections")]
    TooManyHalfOpen,
    /// No place is free for another inbound connection.
    #[error("too many inbound connections")]
    TooManyInbound,
    /// The address (IPv6: its /64) has too many inbound connections.
    #[error("too many connections from {0}")]
    TooManyFromAddress(IpAddr),
    /// The peer has too many connections.
    #[error("too many connections of the peer")]
    TooManyOfPeer,
}

/// A block list has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block list is full with {0} entries")]
pub struct ListFull(pub usize);

/// An entry of a block list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockEntry {
    /// A peer.
    Peer(PeerId),
    /// An IP address.
    Ip(IpAddr),
    /// A network.
    Subnet(Subnet),
}

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanEntry {
    /// A peer.
    Peer(PeerId),
    /// An IP address.
    Ip(IpAddr),
}

/// What must be stored so that it holds after a restart. Addresses are in their canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateChange {
    /// The entry came into its list.
    Block(BlockEntry),
    /// The entry left its list.
    Unblock(BlockEntry),
    /// A ban was set, or its end was moved.
    Ban {
        /// For whom.
        who: BanEntry,
        /// Its end, in unix seconds.
        until: u64,
    },
    /// A ban is over: it ended, was lifted, or made room for another.
    Unban(BanEntry),
}

/// What the gate has decided since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Outbound decisions (peer, address, secured) that let through.
    pub dials_allowed: u64,
    /// Outbound decisions that refused.
    pub dials_denied: u64,
    /// Inbound decisions (accept, secured) that let through: two for each connection that succeeds.
    pub accepts_allowed: u64,
    /// Inbound decisions that refused.
    pub accepts_denied: u64,
    /// Bans of peers that are over.
    pub peer_unbans: u64,
    /// Bans of IP addresses that are over.
    pub ip_unbans: u64,
}

/// Block lists, bans and the minimum score, and the decisions that follow from them.
///
/// All IPv4-mapped IPv6 addresses, given or asked for, are the IPv4 addresses they stand for.
/// Blocking or banning closes no connection: that is the driver's.
#[derive(Clone, Debug)]
pub struct Gate {
    config: GateConfig,
    peers: SortedSet<PeerId>,
    ips: SortedSet<IpAddr>,
    subnets: SortedSet<Subnet>,
    peer_bans: BanTable<PeerId>,
    ip_bans: BanTable<IpAddr>,
    /// Bans that were set since the start: their ends were read off this run's clock.
    recent_bans: SortedSet<BanEntry>,
    changes: VecDeque<GateChange>,
    counts: GateCounts,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(GateConfig::default())
    }
}

impl Gate {
    /// A gate that lets everyone through who has the minimum score.
    pub const fn new(config: GateConfig) -> Self {
        Self {
            config,
            peers: SortedSet::new(),
            ips: SortedSet::new(),
            subnets: SortedSet::new(),
            peer_bans: BanTable::new(config.bans_per_table),
            ip_bans: BanTable::new(config.bans_per_table),
            recent_bans: SortedSet::new(),
            changes: VecDeque::new(),
            counts: GateCounts {
                dials_allowed: 0,
                dials_denied: 0,
                accepts_allowed: 0,
                accepts_denied: 0,
                peer_unbans: 0,
                ip_unbans: 0,
            },
        }
    }

    /// Puts back what was stored, without reporting it. How many entries were left out because a
    /// list or a table is full.
    pub fn restore(
        &mut self,
        blocks: impl IntoIterator<Item = BlockEntry>,
        bans: impl IntoIterator<Item = (BanEntry, u64)>,
    ) -> usize {
        let full = blocks.into_iter().filter(|entry| self.insert(*entry).is_err()).count();
        let pushed_out = bans.into_iter().filter(|(who, until)| self.put(*who, *until).is_some()).count();
        full + pushed_out
    }

    /// The next change to store, in the order in which they happened.
    pub fn poll_change(&mut self) -> Option<GateChange> {
        self.changes.pop_front()
    }

    /// The decisions so far.
    pub const fn counts(&self) -> GateCounts {
        self.counts
    }

    /// Whether to dial a peer at all, before an address is chosen.
    pub fn dial_peer(&mut self, now: Now, peer: &PeerId, standing: Standing) -> Result<(), Denied> {
        let decision = self.decide(now, Some(peer), None, Some(standing));
        self.count(false, decision)
    }

    /// Whether to dial an address: of a peer if one is known, with an IP unless it is a name.
    pub fn dial_address(
        &mut self,
        now: Now,
        peer: Option<&PeerId>,
        ip: Option<IpAddr>,
    ) -> Result<(), Denied> {
        let decision = self.decide(now, peer, ip, None);
        self.count(false, decision)
    }

    /// Whether to accept a connection from an address, before it is known whose it is.
    pub fn accept(&mut self, now: Now, ip: Option<IpAddr>) -> Result<(), Denied> {
        let decision = self.decide(now, None, ip, None);
        self.count(true, decision)
    }

    /// Whether to keep a connection now that the peer has proved who it is.
    pub fn secured(
        &mut self,
        now: Now,
        peer: &PeerId,
        ip: Option<IpAddr>,
        inbound: bool,
        standing: Standing,
    ) -> Result<(), Denied> {
        let decision = self.decide(now, Some(peer), ip, Some(standing));
        self.count(inbound, decision)
    }

    /// Blocks a peer until it is unblocked. Nothing happens if it is already.
    pub fn block_peer(&mut self, peer: PeerId) -> Result<(), ListFull> {
        self.block(BlockEntry::Peer(peer))
    }

    /// Blocks an IP address until it is unblocked. Nothing happens if it is already.
    pub fn block_ip(&mut self, ip: IpAddr) -> Result<(), ListFull> {
        self.block(BlockEntry::Ip(ip.to_canonical()))
    }

    /// Blocks a network until it is unblocked. Nothing happens if it is already.
    pub fn block_subnet(&mut self, subnet: Subnet) -> Result<(), ListFull> {
        self.block(BlockEntry::Subnet(subnet))
    }

    /// Lets a peer in again: it is no longer blocked, nor banned. Whether it was either.
    pub fn unblock_peer(&mut self, peer: &PeerId) -> bool {
        let was_blocked = self.peers.remove(peer);
        if was_blocked {
            self.changes.push_back(GateChange::Unblock(BlockEntry::Peer(*peer)));
        }
        self.lift_peer_ban(peer) || was_blocked
    }

    /// Takes an IP address off its list. A ban of it and blocked networks around it stay. Whether it
    /// was on the list.
    pub fn unblock_ip(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let was_blocked = self.ips.remove(&ip);
        if was_blocked {
            self.changes.push_back(GateChange::Unblock(BlockEntry::Ip(ip)));
        }
        was_blocked
    }

    /// Takes a network off its list, and no other one. Whether it was on the list.
    pub fn unblock_subnet(&mut self, subnet: &Subnet) -> bool {
        let was_blocked = self.subnets.remove(subnet);
        if was_blocked {
            self.changes.push_back(GateChange::Unblock(BlockEntry::Subnet(*subnet)));
        }
        was_blocked
    }

    /// The blocked peers, in order.
    pub fn blocked_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().copied()
    }

    /// The blocked IP addresses, in order.
    pub fn blocked_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ips.iter().copied()
    }

    /// The blocked networks, in order.
    pub fn blocked_subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.subnets.iter().copied()
    }

    /// Bans a peer until `until` (unix seconds), or longer if it is banned for longer already.
    /// Whether the peer is banned now: not if the table is full of bans that end later.
    pub fn ban_peer(&mut self, peer: PeerId, until: u64) -> bool {
        let longest = self.peer_bans.end_of(&peer).map_or(until, |end| end.max(until));
        self.set_peer_ban(peer, longest)
    }

    /// Bans an IP address until `until` (unix seconds), or longer if it is banned for longer
    /// already. Whether it is banned now: not if the table is full of bans that end later.
    pub fn ban_ip(&mut self, ip: IpAddr, until: u64) -> bool {
        let longest = self.ban_of_ip(ip).map_or(until, |end| end.max(until));
        self.set_ip_ban(ip, longest)
    }

    /// Bans a peer until exactly `until` (unix seconds), even if that is sooner than before. Whether
    /// the peer is banned now: not if the table is full of bans that end later.
    pub fn set_peer_ban(&mut self, peer: PeerId, until: u64) -> bool {
        self.set_ban(BanEntry::Peer(peer), until)
    }

    /// Bans an IP address until exactly `until` (unix seconds), even if that is sooner than before.
    /// Whether it is banned now: not if the table is full of bans that end later.
    pub fn set_ip_ban(&mut self, ip: IpAddr, until: u64) -> bool {
        self.set_ban(BanEntry::Ip(ip.to_canonical()), until)
    }

    /// The wall clock has jumped by so many seconds: moves the ends of the bans that were set since the start, so that each
    /// lasts as long as it was set for.
    pub fn clock_jumped(&mut self, seconds: i64) {
        let moved: Vec<BanEntry> = self.recent_bans.iter().copied().collect();
        for who in moved {
            let end = match who {
                BanEntry::Peer(peer) => self.peer_bans.end_of(&peer),
                BanEntry::Ip(ip) => self.ip_bans.end_of(&ip),
            };
            if let Some(end) = end {
                self.set_ban(who, end.saturating_add_signed(seconds));
            }
        }
    }

    /// Ends the ban of a peer. Whether there was one.
    pub fn lift_peer_ban(&mut self, peer: &PeerId) -> bool {
        let was_banned = self.peer_bans.remove(peer).is_some();
        if was_banned {
            self.unbanned(BanEntry::Peer(*peer));
        }
        was_banned
    }

    /// Ends the ban of an IP address. Whether there was one.
    pub fn lift_ip_ban(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let was_banned = self.ip_bans.remove(&ip).is_some();
        if was_banned {
            self.unbanned(BanEntry::Ip(ip));
        }
        was_banned
    }

    /// End of a peer's ban, in unix seconds. It may have passed: bans are deleted when they are next
    /// checked.
    pub fn ban_of(&self, peer: &PeerId) -> Option<u64> {
        self.peer_bans.end_of(peer)
    }

    /// End of an IP address's ban, in unix seconds. It may have passed.
    pub fn ban_of_ip(&self, ip: IpAddr) -> Option<u64> {
        self.ip_bans.end_of(&ip.to_canonical())
    }

    /// The banned peers, in order, each with the end of its ban in unix seconds. It may have passed.
    pub fn peer_bans(&self) -> impl Iterator<Item = (PeerId, u64)> + '_ {
        self.peer_bans.iter()
    }

    /// The banned IP addresses, in order, each with the end of its ban in unix seconds. It may have
    /// passed.
    pub fn ip_bans(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.ip_bans.iter()
    }

    /// Lists first, so that a blocked peer's ban is left alone; then bans, then the score.
    fn decide(
        &mut self,
        now: Now,
        peer: Option<&PeerId>,
        ip: Option<IpAddr>,
        standing: Option<Standing>,
    ) -> Result<(), Denied> {
        let ip = ip.map(|ip| ip.to_canonical());
        if peer.is_some_and(|peer| self.peers.contains(peer)) {
            return Err(Denied::PeerBlocked);
        }
        if let Some(ip) = ip {
            self.check_lists_of(ip)?;
        }
        let now = now.unix_seconds();
        if let Some(peer) = peer
            && let Some(until) = self.peer_bans.end_of(peer)
        {
            if now < until {
                return Err(Denied::PeerBanned { until });
            }
            self.lift_peer_ban(peer);
        }
        if let Some(ip) = ip
            && let Some(until) = self.ip_bans.end_of(&ip)
        {
            if now < until {
                return Err(Denied::AddressBanned { ip, until });
            }
            self.lift_ip_ban(ip);
        }
        match (standing, self.config.min_score) {
            (Some(Standing { score, is_exempt: false }), Some(min)) if score < min => {
                Err(Denied::LowScore { score, min })
            }
            _ => Ok(()),
        }
    }

    fn check_lists_of(&self, ip: IpAddr) -> Result<(), Denied> {
        if self.ips.contains(&ip) {
            return Err(Denied::AddressBlocked(ip));
        }
        // Looking for each network around the address costs the same however many are blocked.
        let mut around = Subnet::all_with(ip).take_while(|_| !self.subnets.is_empty());
        around
            .find(|subnet| self.subnets.contains(subnet))
            .map_or(Ok(()), |found| Err(Denied::SubnetBlocked(found)))
    }

    const fn count(&mut self, inbound: bool, decision: Result<(), Denied>) -> Result<(), Denied> {
        let counter = match (inbound, decision.is_ok()) {
            (false, true) => &mut self.counts.dials_allowed,
            (false, false) => &mut self.counts.dials_denied,
            (true, true) => &mut self.counts.accepts_allowed,
            (true, false) => &mut self.counts.accepts_denied,
        };
        *counter += 1;
        decision
    }

    /// Whether a peer, or one of its addresses, is blocked or banned. Decides nothing: no ban is lifted, nothing counted.
    pub fn holds(&self, now: Now, peer: &PeerId, ips: &[IpAddr]) -> bool {
        let runs = |end: Option<u64>| end.is_some_and(|end| now.unix_seconds() < end);
        let of_ip = |ip: &IpAddr| {
            let ip = ip.to_canonical();
            self.check_lists_of(ip).is_err() || runs(self.ip_bans.end_of(&ip))
        };
        self.peers.contains(peer) || runs(self.peer_bans.end_of(peer)) || ips.iter().any(of_ip)
    }

    /// Puts an entry on the list of its kind.
    ///
    /// # Errors
    /// If the list is full.
    pub fn block(&mut self, entry: BlockEntry) -> Result<(), ListFull> {
        if self.insert(entry)? {
            self.changes.push_back(GateChange::Block(entry));
        }
        Ok(())
    }

    /// Takes an entry off its list; for a peer, its ban is lifted too. Whether there was anything.
    pub fn unblock(&mut self, entry: &BlockEntry) -> bool {
        match entry {
            BlockEntry::Peer(peer) => self.unblock_peer(peer),
            BlockEntry::Ip(ip) => self.unblock_ip(*ip),
            BlockEntry::Subnet(subnet) => self.unblock_subnet(subnet),
        }
    }

    /// Whether the entry is new.
    fn insert(&mut self, entry: BlockEntry) -> Result<bool, ListFull> {
        fn into<T: Ord>(list: &mut SortedSet<T>, entry: T, limit: usize) -> Result<bool, ListFull> {
            if list.len() >= limit && !list.contains(&entry) {
                return Err(ListFull(limit));
            }
            Ok(list.insert(entry))
        }
        let limit = self.config.blocks_per_list;
        match entry {
            BlockEntry::Peer(peer) => into(&mut self.peers, peer, limit),
            BlockEntry::Ip(ip) => into(&mut self.ips, ip.to_canonical(), limit),
            BlockEntry::Subnet(subnet) => into(&mut self.subnets, subnet, limit),
        }
    }

    fn set_ban(&mut self, who: BanEntry, until: u64) -> bool {
        let before = match who {
            BanEntry::Peer(peer) => self.peer_bans.end_of(&peer),
            BanEntry::Ip(ip) => self.ip_bans.end_of(&ip),
        };
        if before == Some(until) {
            return true;
        }
        let gone = self.put(who, until);
        // A ban for which there is no room was never stored.
        if gone == Some(who) {
            return false;
        }
        if let Some(gone) = gone {
            self.unbanned(gone);
        }
        self.recent_bans.insert(who);
        self.changes.push_back(GateChange::Ban { who, until });
        true
    }

    /// The ban that had to go.
    fn put(&mut self, who: BanEntry, until: u64) -> Option<BanEntry> {
        match who {
            BanEntry::Peer(peer) => self.peer_bans.set(peer, until).map(BanEntry::Peer),
            BanEntry::Ip(ip) => self.ip_bans.set(ip.to_canonical(), until).map(BanEntry::Ip),
        }
    }

    fn unbanned(&mut self, who: BanEntry) {
        self.recent_bans.remove(&who);
        match who {
            BanEntry::Peer(_) => self.counts.peer_unbans += 1,
            BanEntry::Ip(_) => self.counts.ip_unbans += 1,
        }
        self.changes.push_back(GateChange::Unban(who));
    }
}
