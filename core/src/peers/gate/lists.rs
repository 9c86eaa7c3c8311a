//! A set of block lists: peers, IP addresses and networks. Each list has a maximum length.

use super::{BlockEntry, ListFull};
use crate::peers::{PeerId, Subnet};
use crate::sorted::SortedSet;
use core::net::IpAddr;

/// Peers, addresses and networks blocked by the same source. Addresses are canonical.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockLists {
    pub(super) peers: SortedSet<PeerId>,
    pub(super) ips: SortedSet<IpAddr>,
    pub(super) subnets: SortedSet<Subnet>,
}

impl BlockLists {
    /// Creates empty lists.
    pub(super) const fn new() -> Self {
        Self { peers: SortedSet::new(), ips: SortedSet::new(), subnets: SortedSet::new() }
    }

    /// Creates lists with these entries, at most `limit` per list.
    ///
    /// # Errors
    /// If there are more entries of one kind.
    pub(super) fn of(
        entries: impl IntoIterator<Item = BlockEntry>,
        limit: usize,
    ) -> Result<Self, ListFull> {
        let mut lists = Self::new();
        for entry in entries {
            lists.insert(entry, limit)?;
        }
        Ok(lists)
    }

    /// Adds an entry, unless its list already has `limit` other entries. Returns `true` if the
    /// entry is new.
    pub(super) fn insert(&mut self, entry: BlockEntry, limit: usize) -> Result<bool, ListFull> {
        fn into<T: Ord>(list: &mut SortedSet<T>, entry: T, limit: usize) -> Result<bool, ListFull> {
            if list.len() >= limit && !list.contains(&entry) {
                return Err(ListFull(limit));
            }
            Ok(list.insert(entry))
        }
        match entry {
            BlockEntry::Peer(peer) => into(&mut self.peers, peer, limit),
            BlockEntry::Ip(ip) => into(&mut self.ips, ip.to_canonical(), limit),
            BlockEntry::Subnet(subnet) => into(&mut self.subnets, subnet, limit),
        }
    }

    /// Removes an entry. Returns `true` if it was on its list.
    pub(super) fn remove(&mut self, entry: &BlockEntry) -> bool {
        match entry {
            BlockEntry::Peer(peer) => self.peers.remove(peer),
            BlockEntry::Ip(ip) => self.ips.remove(&ip.to_canonical()),
            BlockEntry::Subnet(subnet) => self.subnets.remove(subnet),
        }
    }

    /// Returns `true` if exactly this entry is on its list.
    pub(super) fn contains(&self, entry: &BlockEntry) -> bool {
        match entry {
            BlockEntry::Peer(peer) => self.peers.contains(peer),
            BlockEntry::Ip(ip) => self.ips.contains(&ip.to_canonical()),
            BlockEntry::Subnet(subnet) => self.subnets.contains(subnet),
        }
    }

    /// Returns all entries: peers, addresses, then networks, each in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = BlockEntry> + '_ {
        let peers = self.peers.iter().copied().map(BlockEntry::Peer);
        let ips = self.ips.iter().copied().map(BlockEntry::Ip);
        peers.chain(ips).chain(self.subnets.iter().copied().map(BlockEntry::Subnet))
    }

    /// Returns the smallest blocked network that contains this address.
    pub(super) fn subnet_around(&self, ip: IpAddr) -> Option<Subnet> {
        // One lookup per possible prefix length: the cost does not depend on the number of
        // networks.
        let mut around = Subnet::all_with(ip).take_while(|_| !self.subnets.is_empty());
        around.find(|subnet| self.subnets.contains(subnet))
    }
}
