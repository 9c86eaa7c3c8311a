//! Observers: nodes with the profile of a browser, which dial the gateways and ping them.

use super::super::store::Disk;
use super::{Happening, World, peer};
use opp2p_core::node::{Input, Node, NodeConfig, OBSERVER_PINGS, ObserverConfig};
use opp2p_core::peers::{ConnectionId, Door, Knock, PeerNews};
use std::time::Duration;

impl World {
    /// Starts an observer, which remembers nothing of an earlier life.
    pub(super) fn start_observer(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.life += 1;
        member.disk = Disk::new(self.plan.disks_forget);
        member.told.clear();
        // It begins with the first block that arrives.
        member.skipped = true;
        let config = ObserverConfig {
            gateways: self
                .plan
                .gateways
                .iter()
                .map(|gateway| peer(*gateway))
                .map(Into::into)
                .collect(),
            ..ObserverConfig::default()
        };
        let config = NodeConfig {
            seed: self.plan.seed ^ node as u64,
            reads_signer: true,
            ..NodeConfig::observer(self.plan.pace.config(), &config)
        };
        let started = Node::new(self.clock(node), config).expect("a good configuration");
        self.members[node].node = Some(started);
        self.drain(node);
        self.read_signer(node);
        let life = self.members[node].life;
        self.at(self.now, Happening::Ping { from: node, life });
    }

    /// Returns `true` if gossip goes from one node to another: nodes are all connected, and
    /// observers to their gateways.
    pub(super) fn is_linked(&self, from: usize, to: usize) -> bool {
        let has_observer = self.plan.is_observer(from) || self.plan.is_observer(to);
        !has_observer || self.members[from].lines.contains_key(&to)
    }

    /// An observer's dial arrives at a gateway, or nowhere.
    pub(super) fn dial(&mut self, from: usize, life: u64, to: usize) {
        if self.members[from].life != life || self.members[from].lines.contains_key(&to) {
            return;
        }
        if self.members[to].node.is_none() || self.is_cut(from, to) {
            return self.tell(from, Input::DialFailed(peer(to)));
        }
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let door = Door::Browser;
        self.knock(to, &Knock::Accept { id, door, ip: None });
        self.knock(from, &Knock::DialPeer(peer(to)));
        let secured = |door, at, is_inbound| Knock::Secured {
            id,
            door,
            peer: peer(at),
            ip: None,
            is_inbound,
        };
        self.knock(to, &secured(door, from, true));
        self.knock(from, &secured(Door::Tcp, to, false));
        for (at, other) in [(from, to), (to, from)] {
            self.members[at].lines.insert(other, id);
            self.tell(at, Input::Connected(peer(other)));
        }
    }

    fn knock(&mut self, at: usize, knock: &Knock) {
        let now = self.clock(at);
        let node = self.members[at].node.as_mut().expect("it runs");
        node.knock(now, knock).expect("an honest peer is let in");
    }

    /// Ends a connection between an observer and a gateway, for both.
    pub(super) fn hang_up(&mut self, one: usize, other: usize) {
        for (at, other) in [(one, other), (other, one)] {
            let Some(id) = self.members[at].lines.remove(&other) else { continue };
            if self.members[at].node.is_some() {
                self.knock(at, &Knock::Ended(id));
                self.tell(at, Input::Disconnected(peer(other)));
            }
        }
    }

    /// An observer pings its gateways, now and again after a while.
    pub(super) fn ping(&mut self, from: usize, life: u64) {
        if self.members[from].life != life {
            return;
        }
        let lines: Vec<usize> = self.members[from].lines.keys().copied().collect();
        for to in lines {
            if !self.is_cut(from, to) {
                let round_trip = Duration::from_nanos(2 * self.latency());
                self.tell(from, Input::Peer(peer(to), PeerNews::Pinged(round_trip)));
            }
        }
        let next = self.now + OBSERVER_PINGS.as_nanos() as u64;
        self.at(next, Happening::Ping { from, life });
    }
}
