//! Connections between the devnet's nodes: cutting them, restoring them, and what the nodes think
//! of their peers.

use super::{Member, Network};
use libp2p::Multiaddr;
use opp2p_core::peers::{BlockEntry, PeerCommand, PeerId};
use opp2p_node::host::HostHandle;

impl Network {
    /// Cuts a follower off from all other nodes, or reconnects it; all of them keep running. Does
    /// nothing if the follower is down or does not exist.
    pub async fn cut_off(&self, follower: usize, is_cut: bool) {
        let Some(handle) = self.follower_handle(follower) else { return };
        let mut others = vec![self.sequencer.peer_id()];
        for (index, other) in self.followers.iter().enumerate() {
            let running = other.lock();
            others
                .extend(running.as_ref().filter(|_| index != follower).map(|it| it.host.peer_id()));
        }
        for peer in others.iter().filter_map(opp2p_wire::from_libp2p) {
            let entry = BlockEntry::Peer(peer);
            let command = match is_cut {
                true => PeerCommand::Block(entry),
                false => PeerCommand::Unblock(entry),
            };
            // A stopping node is cut off as well.
            let _ = handle.command(command).await;
        }
    }

    /// Ends [`Self::cut_off`] and connects the follower to its static peers at once, without the
    /// wait before their next dial.
    pub async fn reunite(&self, follower: usize) {
        self.cut_off(follower, false).await;
        let Some(handle) = self.follower_handle(follower) else { return };
        let Some(plan) = self.followers.get(follower).map(|one| &one.plan) else { return };
        for peer in &plan.static_peers {
            // If it fails, the node dials again by itself.
            let _ = handle.connect(peer.clone()).await;
        }
    }

    /// Returns the number of a running node's head; `None` if it has none, or is down.
    pub fn head(&self, member: Member) -> Option<u64> {
        let head = match member {
            Member::Sequencer => self.sequencer.status().borrow().head,
            Member::Follower(index) => self.follower_handle(index)?.status().borrow().head,
        };
        head.map(|head| head.number)
    }

    /// Returns the addresses of the running followers.
    pub fn follower_addresses(&self) -> Vec<Multiaddr> {
        self.handles().map(|handle| handle.address()).collect()
    }

    /// Returns the addresses of the running nodes, the sequencer first.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        std::iter::once(self.sequencer.address()).chain(self.follower_addresses()).collect()
    }

    /// Returns `true` if every running follower has banned this peer.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.handles().all(|host| host.peers(|peers, _| peers.gate().ban_of(peer).is_some()))
    }

    /// Returns the lowest current score between connected running nodes; `None` without connected
    /// nodes.
    pub fn lowest_score(&self) -> Option<f64> {
        let lowest = |host: &HostHandle| {
            host.peers(|peers, now| {
                let scores = peers.connected_peers().map(|peer| peers.scores(now, peer));
                scores.map(|scores| scores.gossip.total).reduce(f64::min)
            })
        };
        let followers = self.handles().filter_map(|host| lowest(&host));
        lowest(&self.sequencer).into_iter().chain(followers).reduce(f64::min)
    }

    /// Returns the sequencer's handle.
    pub fn sequencer_handle(&self) -> HostHandle {
        self.sequencer.handle()
    }

    /// Returns a follower's handle; `None` if it is down or does not exist.
    pub fn follower_handle(&self, follower: usize) -> Option<HostHandle> {
        self.followers.get(follower)?.lock().as_ref().map(|running| running.host.handle())
    }

    /// Returns the handles of the running followers.
    fn handles(&self) -> impl Iterator<Item = HostHandle> + '_ {
        (0..self.followers.len()).filter_map(|index| self.follower_handle(index))
    }
}
