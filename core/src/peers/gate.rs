//! Admission of peers: block lists, temporary bans, and a minimum score
//! (`op-node/p2p/gating/expiry.go`, `gating/scoring.go`, libp2p's `conngater.go`).
//!
//! Differences from the reference:
//!
//! * An address is dialled only if its peer, too, is not blocked.
//! * Outbound connections are checked again once the peer has proved its identity.
//! * An address without an IP is let through; the IP is checked when the name is resolved.
//! * A ban lasts as long as it was set for. The reference forgets it after seven days at most.
//!
//! # Bounds
//!
//! The operator fills the block lists by commands and by the configuration. Both have their own
//! lists; a full list refuses further entries with [`ListFull`]. Bad peers fill the ban tables;
//! `bans.rs` documents what happens when a table is full. Each call reports at most two changes,
//! and the driver takes them with [`Gate::poll_change`] after the call.

mod banned;
mod lists;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::VecDeque;

use super::bans::BanTable;
use super::{PeerId, Subnet};
use crate::sorted::SortedSet;
use crate::time::Now;
use lists::BlockLists;

/// Capacities of a [`Gate`], and its minimum score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// Minimum score of a peer; `None` for no minimum, as in the reference, which has this check
    /// but never uses it.
    pub min_score: Option<f64>,
    /// Maximum number of entries in each of the three block lists.
    pub blocks_per_list: usize,
    /// Maximum number of banned peers, and also of banned IP addresses.
    pub bans_per_table: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { min_score: None, blocks_per_list: 10_000, bans_per_table: 10_000 }
    }
}

/// Facts about a peer that determine its admission.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerStanding {
    /// Its gossip score.
    pub score: f64,
    /// Whether the peer is static or protected. The minimum score does not apply to such a peer;
    /// block lists and bans do.
    pub is_exempt: bool,
}

/// Reason to refuse a connection.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Denied {
    /// The operator blocked the peer.
    #[error("the peer is blocked")]
    PeerBlocked,
    /// The operator blocked the IP address.
    #[error("the address {0} is blocked")]
    AddressBlocked(IpAddr),
    /// The operator blocked a network that contains the IP address. If there are several, this is
    /// the smallest.
    #[error("the network {0} is blocked")]
    SubnetBlocked(Subnet),
    /// The peer is banned.
    #[error("the peer is banned until {until}")]
    PeerBanned {
        /// End of the ban, in Unix seconds.
        until: u64,
    },
    /// The IP address is banned.
    #[error("the address {ip} is banned until {until}")]
    AddressBanned {
        /// The banned address.
        ip: IpAddr,
        /// End of the ban, in Unix seconds.
        until: u64,
    },
    /// The peer's score is too low.
    #[error("the peer's score {score} is below {min}")]
    LowScore {
        /// The peer's score.
        score: f64,
        /// The minimum score.
        min: f64,
    },
    /// Too many inbound connections are still unauthenticated.
    #[error("too many half-open connections")]
    TooManyHalfOpen,
    /// All places for inbound connections are taken.
    #[error("too many inbound connections")]
    TooManyInbound,
    /// The address (IPv6: its /64) has too many inbound connections.
    #[error("too many connections from {0}")]
    TooManyFromAddress(IpAddr),
    /// The peer has too many connections.
    #[error("too many connections of the peer")]
    TooManyOfPeer,
}

/// Error for a full block list. Contains the list's capacity.
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

/// The target of a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanEntry {
    /// A peer.
    Peer(PeerId),
    /// An IP address.
    Ip(IpAddr),
}

/// A change that must be stored to survive a restart. Addresses are in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateChange {
    /// The entry was added to its list.
    Block(BlockEntry),
    /// The entry was removed from its list.
    Unblock(BlockEntry),
    /// A ban was set, or its end was changed.
    Ban {
        /// Target of the ban.
        who: BanEntry,
        /// End of the ban, in Unix seconds.
        until: u64,
    },
    /// A ban has ended: it expired, was lifted, or was dropped to make room for another one.
    Unban(BanEntry),
}

/// Counts of the gate's decisions since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Outbound decisions (peer, address, secured) that allowed a connection.
    pub dials_allowed: u64,
    /// Outbound decisions that denied a connection.
    pub dials_denied: u64,
    /// Inbound decisions (accept, secured) that allowed a connection: two per successful
    /// connection.
    pub accepts_allowed: u64,
    /// Inbound decisions that denied a connection.
    pub accepts_denied: u64,
    /// Bans of peers that have ended.
    pub peer_unbans: u64,
    /// Bans of IP addresses that have ended.
    pub ip_unbans: u64,
}

/// Block lists, bans and the minimum score, and the resulting decisions.
///
/// All IPv4-mapped IPv6 addresses, in entries and in queries, are treated as the IPv4 addresses
/// that they represent. A block or ban does not close connections: that is up to the driver.
#[derive(Clone, Debug)]
pub struct Gate {
    config: GateConfig,
    /// Blocked by the operator's commands. Stored.
    commanded: BlockLists,
    /// Blocked by the configuration. Not stored: the configuration is read at each start.
    configured: BlockLists,
    peer_bans: BanTable<PeerId>,
    ip_bans: BanTable<IpAddr>,
    /// Bans that were set since the start. Their ends are relative to this run's clock.
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
    /// Creates a gate that admits every peer that has the minimum score.
    pub const fn new(config: GateConfig) -> Self {
        Self {
            config,
            commanded: BlockLists::new(),
            configured: BlockLists::new(),
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

    /// Restores stored entries without reporting them as changes. Returns the number of entries
    /// that were dropped because a list or a table is full.
    pub fn restore(
        &mut self,
        blocks: impl IntoIterator<Item = BlockEntry>,
        bans: impl IntoIterator<Item = (BanEntry, u64)>,
    ) -> usize {
        let full = blocks.into_iter().filter(|entry| self.insert(*entry).is_err()).count();
        let pushed_out =
            bans.into_iter().filter(|(who, until)| self.put(*who, *until).is_some()).count();
        full + pushed_out
    }

    /// Returns the next change to store, in order of occurrence.
    pub fn poll_change(&mut self) -> Option<GateChange> {
        self.changes.pop_front()
    }

    /// Returns the counts of decisions so far.
    pub const fn counts(&self) -> GateCounts {
        self.counts
    }

    /// Decides whether to dial a peer, before an address is chosen.
    pub fn dial_peer(
        &mut self,
        now: Now,
        peer: &PeerId,
        standing: PeerStanding,
    ) -> Result<(), Denied> {
        let decision = self.decide(now, Some(peer), None, Some(standing));
        self.count(false, decision)
    }

    /// Decides whether to dial an address, which belongs to `peer` if that is known. `ip` is `None`
    /// for a name.
    pub fn dial_address(
        &mut self,
        now: Now,
        peer: Option<&PeerId>,
        ip: Option<IpAddr>,
    ) -> Result<(), Denied> {
        let decision = self.decide(now, peer, ip, None);
        self.count(false, decision)
    }

    /// Decides whether to accept a connection from an address, before the peer is known.
    pub fn accept(&mut self, now: Now, ip: Option<IpAddr>) -> Result<(), Denied> {
        let decision = self.decide(now, None, ip, None);
        self.count(true, decision)
    }

    /// Decides whether to keep a connection after the peer has proved its identity.
    pub fn secured(
        &mut self,
        now: Now,
        peer: &PeerId,
        ip: Option<IpAddr>,
        inbound: bool,
        standing: PeerStanding,
    ) -> Result<(), Denied> {
        let decision = self.decide(now, Some(peer), ip, Some(standing));
        self.count(inbound, decision)
    }

    /// Blocks a peer until it is unblocked. Has no effect on a blocked peer.
    pub fn block_peer(&mut self, peer: PeerId) -> Result<(), ListFull> {
        self.block(BlockEntry::Peer(peer))
    }

    /// Blocks an IP address until it is unblocked. Has no effect on a blocked address.
    pub fn block_ip(&mut self, ip: IpAddr) -> Result<(), ListFull> {
        self.block(BlockEntry::Ip(ip.to_canonical()))
    }

    /// Blocks a network until it is unblocked. Has no effect on a blocked network.
    pub fn block_subnet(&mut self, subnet: Subnet) -> Result<(), ListFull> {
        self.block(BlockEntry::Subnet(subnet))
    }

    /// Lifts the block and the ban of a peer. Returns `true` if there was a block or a ban.
    pub fn unblock_peer(&mut self, peer: &PeerId) -> bool {
        let was_blocked = self.take_off(BlockEntry::Peer(*peer));
        self.lift_peer_ban(peer) || was_blocked
    }

    /// Removes an IP address from its list. A ban of the address, and blocked networks that contain
    /// it, remain. Returns `true` if it was on the list.
    pub fn unblock_ip(&mut self, ip: IpAddr) -> bool {
        self.take_off(BlockEntry::Ip(ip.to_canonical()))
    }

    /// Removes exactly this network from its list. Returns `true` if it was on the list.
    pub fn unblock_subnet(&mut self, subnet: &Subnet) -> bool {
        self.take_off(BlockEntry::Subnet(*subnet))
    }

    /// Removes an entry from both lists of its kind. A configured entry returns with the next
    /// [`Self::configure`].
    fn take_off(&mut self, entry: BlockEntry) -> bool {
        let was_configured = self.configured.remove(&entry);
        let was_commanded = self.commanded.remove(&entry);
        if was_commanded {
            self.changes.push_back(GateChange::Unblock(entry));
        }
        was_configured || was_commanded
    }

    /// Replaces the entries that are blocked by the configuration. Entries blocked by commands
    /// remain. Returns the numbers of added and of removed entries.
    ///
    /// # Errors
    /// If there are more entries of one kind than a list may have. In that case nothing is changed.
    pub fn configure(
        &mut self,
        entries: impl IntoIterator<Item = BlockEntry>,
    ) -> Result<(usize, usize), ListFull> {
        let new = BlockLists::of(entries, self.config.blocks_per_list)?;
        let added = new.iter().filter(|entry| !self.configured.contains(entry)).count();
        let removed = self.configured.iter().filter(|entry| !new.contains(entry)).count();
        self.configured = new;
        Ok((added, removed))
    }

    /// Adds entries blocked by the configuration, as many as the lists have room for.
    pub fn configure_first(&mut self, entries: impl IntoIterator<Item = BlockEntry>) {
        for entry in entries {
            // If the list is full, the entry is dropped, as documented.
            let _ = self.configured.insert(entry, self.config.blocks_per_list);
        }
    }

    /// Returns `true` if the configuration blocks exactly this entry.
    pub fn is_configured(&self, entry: &BlockEntry) -> bool {
        self.configured.contains(entry)
    }

    /// Returns the blocked peers: those blocked by commands, then those blocked only by the
    /// configuration, each in ascending order.
    pub fn blocked_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        union(&self.commanded.peers, &self.configured.peers)
    }

    /// Returns the blocked IP addresses, ordered like [`Self::blocked_peers`].
    pub fn blocked_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        union(&self.commanded.ips, &self.configured.ips)
    }

    /// Returns the blocked networks, ordered like [`Self::blocked_peers`].
    pub fn blocked_subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        union(&self.commanded.subnets, &self.configured.subnets)
    }

    /// Checks the lists first, so that a blocked peer's ban is left alone, then the bans, then the
    /// score.
    fn decide(
        &mut self,
        now: Now,
        peer: Option<&PeerId>,
        ip: Option<IpAddr>,
        standing: Option<PeerStanding>,
    ) -> Result<(), Denied> {
        let ip = ip.map(|ip| ip.to_canonical());
        if peer.is_some_and(|peer| self.blocks_peer(peer)) {
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
            (Some(PeerStanding { score, is_exempt: false }), Some(min)) if score < min => {
                Err(Denied::LowScore { score, min })
            }
            _ => Ok(()),
        }
    }

    fn blocks_peer(&self, peer: &PeerId) -> bool {
        self.commanded.peers.contains(peer) || self.configured.peers.contains(peer)
    }

    fn check_lists_of(&self, ip: IpAddr) -> Result<(), Denied> {
        let lists = [&self.commanded, &self.configured];
        if lists.iter().any(|list| list.ips.contains(&ip)) {
            return Err(Denied::AddressBlocked(ip));
        }
        let around = lists.iter().filter_map(|list| list.subnet_around(ip));
        around.max_by_key(Subnet::length).map_or(Ok(()), |found| Err(Denied::SubnetBlocked(found)))
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

    /// Returns `true` if a peer or one of these addresses is blocked or banned. Has no side
    /// effects: it lifts no ban and counts nothing.
    pub fn holds(&self, now: Now, peer: &PeerId, ips: &[IpAddr]) -> bool {
        let runs = |end: Option<u64>| end.is_some_and(|end| now.unix_seconds() < end);
        let of_ip = |ip: &IpAddr| {
            let ip = ip.to_canonical();
            self.check_lists_of(ip).is_err() || runs(self.ip_bans.end_of(&ip))
        };
        self.blocks_peer(peer) || runs(self.peer_bans.end_of(peer)) || ips.iter().any(of_ip)
    }

    /// Adds an entry to the list of its kind.
    ///
    /// # Errors
    /// If the list is full.
    pub fn block(&mut self, entry: BlockEntry) -> Result<(), ListFull> {
        if self.insert(entry)? {
            self.changes.push_back(GateChange::Block(entry));
        }
        Ok(())
    }

    /// Removes an entry from its list. For a peer, also lifts its ban. Returns `true` if there was
    /// an entry or a ban.
    pub fn unblock(&mut self, entry: &BlockEntry) -> bool {
        match entry {
            BlockEntry::Peer(peer) => self.unblock_peer(peer),
            BlockEntry::Ip(ip) => self.unblock_ip(*ip),
            BlockEntry::Subnet(subnet) => self.unblock_subnet(subnet),
        }
    }

    /// Adds a commanded entry. Returns `true` if the entry is new.
    fn insert(&mut self, entry: BlockEntry) -> Result<bool, ListFull> {
        self.commanded.insert(entry, self.config.blocks_per_list)
    }
}

/// Returns the entries of `list`, then those that are only in `other`.
fn union<'a, T: Ord + Copy>(
    list: &'a SortedSet<T>,
    other: &'a SortedSet<T>,
) -> impl Iterator<Item = T> + 'a {
    let more = other.iter().filter(|entry| !list.contains(entry));
    list.iter().chain(more).copied()
}
