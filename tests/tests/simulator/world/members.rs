//! The members of the network: starts, stops, faults, connections, and what is asked of them.

use super::super::chain;
use super::super::plan::Fault;
use super::{GREEDY_REQUESTS, Happening, MS, World, peer};
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::node::{Input, Node, NodeConfig, StoreChange, SyncConfig};
use opp2p_core::peers::{PeerInfo, PeerNews};
use opp2p_core::sync::range::PROTOCOL;
use opp2p_core::sync::{RangeId, ServeId, protocol_id};

/// Time for which a liar stays away, in nanoseconds.
const AWAY: u64 = 5_000 * MS;

impl World {
    /// Sets a node's disk to a state that it could have reached by itself.
    pub(crate) fn give_blocks(&mut self, node: usize, up_to: usize) {
        for (at, hash) in self.history.iter().take(up_to).enumerate() {
            self.members[node].disk.put_name(BlockId::new(at as u64 + 1, *hash));
        }
        for signed in self.branch.iter().take(up_to) {
            self.members[node].disk.apply(&StoreChange::Extend(signed.block.clone()));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { node, milliseconds, keeps_disk } => {
                if self.members[node].node.is_none() {
                    return;
                }
                self.stop(node);
                self.at(self.now + milliseconds * MS, Happening::Restart { node, keeps_disk });
            }
            Fault::Partition { nodes, milliseconds } => {
                self.cut.extend(&nodes);
                self.connect_all();
                self.at(self.now + milliseconds * MS, Happening::Heal { nodes });
            }
            Fault::Reorg { depth } => {
                let kept = self.branch.len().saturating_sub(depth);
                self.branch.truncate(kept);
            }
            Fault::FullDisk { node, milliseconds } => {
                self.members[node].full_until = self.now + milliseconds * MS;
            }
            Fault::Clock { node, seconds } => {
                self.members[node].clock = seconds;
                self.tell(node, Input::Wake);
            }
            Fault::Rotate => self.rotate(),
            Fault::Command { node, above } => self.command(node, above),
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.node = None;
        member.life += 1;
        member.wake = None;
        member.heard.clear();
        member.serving.clear();
        member.asking.clear();
        member.streams.clear();
        member.served_streams.clear();
        member.commands.clear();
        member.greedy.clear();
        self.greedy.retain(|(_, at), _| *at != node);
        let lines: Vec<usize> = self.members[node].lines.keys().copied().collect();
        for other in lines {
            self.hang_up(node, other);
        }
        self.connect_all();
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.members[node].node.is_some() {
            return;
        }
        if self.plan.is_observer(node) {
            return self.start_observer(node);
        }
        let member = &mut self.members[node];
        member.life += 1;
        member.writes_until = self.now;
        member.skipped = false;
        member.reorgs.clear();
        let head = member.disk.head();
        member.told = match head {
            Some(head) => (1..=head.number)
                .filter_map(|number| {
                    member.disk.canonical(number).map(|hash| BlockId::new(number, hash))
                })
                .collect(),
            None => Vec::new(),
        };
        let mut fill = self.plan.fill;
        fill.client.endpoints = self.plan.endpoints.len();
        let config = NodeConfig {
            seed: self.plan.seed ^ node as u64,
            head,
            from_genesis: true,
            recent: member.disk.recent(),
            remembered: member.disk.remembered(),
            pending: member.disk.pending(),
            view: self.plan.view,
            sync: Some(SyncConfig {
                fill,
                serve: self.plan.server,
                ranges: self.plan.ranges,
                ..SyncConfig::default()
            }),
            reads_signer: true,
            can_sign: node == 0 && self.plan.signing.is_some(),
            ..NodeConfig::new(self.plan.pace.config())
        };
        let started = Node::new(self.clock(node), config).expect("a good configuration");
        self.members[node].node = Some(started);
        self.drain(node);
        self.read_signer(node);
        self.connect_all();
    }

    /// Tells every node its connections.
    pub(super) fn connect_all(&mut self) {
        let all = self.plan.honest + self.plan.liars.len();
        for node in 0..self.members.len() {
            if self.members[node].node.is_none() {
                self.members[node].connected.clear();
                continue;
            }
            let is_direct = |other: &usize| {
                let has_observer = [node, *other].into_iter().any(|at| self.plan.is_observer(at));
                *other != node && !has_observer
            };
            for other in (0..all).filter(is_direct).collect::<Vec<_>>() {
                let is_up = self.members.get(other).is_none_or(|member| member.node.is_some());
                let clock = self.clock(node);
                let holds = |of: &Node| of.peers().gate().holds(clock, &peer(other), &[]);
                let is_refused = self.members[node].node.as_ref().is_some_and(holds);
                let is_away = self.away.contains(&other);
                let wanted = is_up && !is_away && !is_refused && !self.is_cut(node, other);
                if wanted && self.members[node].connected.insert(other) {
                    self.tell(node, Input::Connected(peer(other)));
                    if self.plan.ranges {
                        self.identify(node, other);
                    }
                } else if !wanted && self.members[node].connected.remove(&other) {
                    self.end_streams(node, other);
                    self.tell(node, Input::Disconnected(peer(other)));
                }
            }
        }
    }

    /// Tells a node the protocols of a peer.
    fn identify(&mut self, node: usize, other: usize) {
        let protocols = vec![PROTOCOL.to_owned(), protocol_id(chain::CHAIN_ID)];
        let info = PeerInfo { protocols, ..PeerInfo::default() };
        self.tell(node, Input::Peer(peer(other), PeerNews::Identified(info)));
    }

    // ---- the signer ----

    /// The sequencer signs with another key from now on. Its own node is told at once; the others
    /// have to read it from L1.
    fn rotate(&mut self) {
        if self.rotated.is_none() {
            self.rotated = Some(self.now);
            self.tell(0, Input::SetSigner(Some(chain::next_signer().address())));
        }
    }

    /// Reads the signer from the L1 node of a member, which may be late.
    pub(super) fn read_signer(&mut self, node: usize) {
        let lag = if node == 0 { 0 } else { self.plan.l1_lag * MS };
        let as_of = self.now.saturating_sub(lag);
        let has_rotated = self.rotated.is_some_and(|rotated| rotated <= as_of);
        let signer = if has_rotated { chain::next_signer() } else { chain::signer() };
        let as_of = chain::GENESIS_TIME + as_of / (1000 * MS);
        let (life, when) = (self.members[node].life, self.now + self.latency());
        let signer = signer.address();
        self.at(when, Happening::SignerRead { to: node, life, signer, as_of });
    }

    // ---- commands ----

    /// Commands a node to fetch up to the tip, or up to a block this far above it, which does not
    /// exist.
    fn command(&mut self, node: usize, above: u64) {
        let Some(tip) = self.tip() else { return };
        let to = if above == 0 {
            tip
        } else {
            BlockId::new(tip.number.saturating_add(above), B256::repeat_byte(0xcc))
        };
        if self.members[node].node.is_some() {
            self.fetch_range(node, to);
        }
    }

    pub(crate) fn fetch_range(&mut self, node: usize, to: BlockId) {
        let id = RangeId(self.next_command);
        self.next_command += 1;
        self.members[node].commands.insert(id);
        self.tell(node, Input::FetchRange { id, to });
    }

    // ---- peers that misbehave ----

    /// A liar leaves all nodes, and comes back after a while.
    pub(super) fn leave(&mut self, liar: usize) {
        if self.away.insert(liar) {
            self.connect_all();
            self.at(self.now + AWAY, Happening::Back { liar });
        }
    }

    /// A greedy peer keeps as many requests waiting at each node as it may.
    pub(super) fn send_greedy_requests(&mut self, liar: usize) {
        for to in 0..self.plan.honest {
            if !self.members[to].connected.contains(&liar) {
                continue;
            }
            let open = self.greedy.get(&(liar, to)).copied().unwrap_or(0);
            for _ in open..GREEDY_REQUESTS {
                let (id, number) = (ServeId(self.next_serve), self.rng.range(1, 20));
                self.next_serve += 1;
                *self.greedy.entry((liar, to)).or_default() += 1;
                self.members[to].greedy.insert(id, liar);
                self.tell(to, Input::Requested { from: peer(liar), id, number });
            }
        }
        self.at(self.now + 200 * MS, Happening::Greed { liar });
    }

    /// Ends a request of a greedy peer. Returns `true` if it was one.
    pub(super) fn feed(&mut self, at: usize, id: ServeId) -> bool {
        let Some(liar) = self.members[at].greedy.remove(&id) else { return false };
        if let Some(open) = self.greedy.get_mut(&(liar, at)) {
            *open = open.saturating_sub(1);
        }
        let life = self.members[at].life;
        self.at(self.now + MS, Happening::Responded { to: at, life, id });
        true
    }
}
