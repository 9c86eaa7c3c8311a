//! Configuration lists that can change while the node runs: static peers and block lists.

use super::{DisconnectReason, PeerManager};
use crate::peers::{BlockEntry, ListFull, PeerId, StaticPeer};
use crate::sorted::SortedMap;
use crate::time::Now;

/// The operator's lists, as given by the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerLists {
    /// Peers to stay connected to.
    pub static_peers: Vec<StaticPeer>,
    /// Peers, addresses and networks to refuse, in addition to those blocked by commands.
    pub blocked: Vec<BlockEntry>,
}

/// Numbers of entries that new lists add and remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerListsChange {
    /// New static peers.
    pub static_added: usize,
    /// Peers that are no longer static.
    pub static_removed: usize,
    /// New entries of the block lists.
    pub blocked_added: usize,
    /// Entries that the block lists no longer have.
    pub blocked_removed: usize,
}

impl PeerManager {
    /// Replaces the operator's lists. Returns the numbers of added and removed entries.
    ///
    /// New static peers are dialled at once. A peer that is no longer static keeps its connection
    /// like any other peer; if it was known only as a static peer, its addresses are forgotten when
    /// it leaves. Connections that match a new block list entry are closed.
    ///
    /// # Errors
    /// If a block list is full. In that case nothing is changed.
    pub fn configure(&mut self, now: Now, lists: PeerLists) -> Result<PeerListsChange, ListFull> {
        let (blocked_added, blocked_removed) = self.gate.configure(lists.blocked)?;
        let wanted: SortedMap<PeerId, StaticPeer> =
            lists.static_peers.into_iter().map(|peer| (peer.id, peer)).collect();
        let gone: Vec<PeerId> =
            self.statics.iter().filter(|peer| !wanted.contains_key(peer)).copied().collect();
        let new: Vec<PeerId> =
            wanted.keys().filter(|peer| !self.statics.contains(peer)).copied().collect();
        for peer in &gone {
            self.statics.remove(peer);
            self.update_exemption(now, peer);
            if !self.connected.contains_key(peer) {
                self.forget_if_only_static(peer);
            }
        }
        for peer in wanted.values() {
            let is_connected = self.connected.contains_key(&peer.id);
            self.statics.add(peer.clone(), now.monotonic, is_connected);
        }
        for peer in &new {
            self.update_exemption(now, peer);
        }
        if blocked_added > 0 {
            self.drop_refused(now, DisconnectReason::Blocked);
        }
        Ok(PeerListsChange {
            static_added: new.len(),
            static_removed: gone.len(),
            blocked_added,
            blocked_removed,
        })
    }

    /// Blocks the configured entries at the start, as many as the lists have room for.
    pub fn block_configured(&mut self, entries: impl IntoIterator<Item = BlockEntry>) {
        self.gate.configure_first(entries);
    }

    /// Applies a change in whether a peer is exempt.
    fn update_exemption(&mut self, now: Now, peer: &PeerId) {
        let is_kept = self.statics.contains(peer) || self.protected.contains(peer);
        self.book.pin(*peer, is_kept);
        self.connection_manager.set_protected(peer, self.is_protected(peer));
        self.changed(now, peer);
    }

    /// Forgets the addresses of a peer that was known only as a static peer and no longer is one.
    pub(super) fn forget_if_only_static(&mut self, peer: &PeerId) {
        let is_only_static = self.book.get(peer).is_some_and(|record| record.only_static);
        if is_only_static && !self.statics.contains(peer) {
            self.book.clear(peer);
        }
    }
}
