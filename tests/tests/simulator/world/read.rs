//! Views of the network's state.

use super::super::chain;
use super::{MS, World, peer};
use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::node::Node;
use opp2p_core::payload::Block;
use opp2p_core::sync::SyncStatus;
use opp2p_core::time::Now;
use std::time::Duration;

impl World {
    /// Returns the clocks of a node.
    pub(crate) fn clock(&self, node: usize) -> Now {
        let now = Duration::from_nanos(self.now);
        let wrong = self.members.get(node).map_or(0, |member| member.clock);
        let wall = chain::GENESIS_TIME.saturating_add_signed(wrong);
        Now::new(now, Duration::from_secs(wall) + now)
    }

    pub(crate) fn tip(&self) -> Option<BlockId> {
        self.branch.last().map(|signed| BlockId::of(&signed.block))
    }

    /// Returns the number of the last block that a node delivered.
    pub(crate) fn told(&self, node: usize) -> u64 {
        self.members[node].told.last().map_or(0, |told| told.number)
    }

    /// Returns the state of a node's fetching.
    pub(crate) fn status(&self, node: usize) -> SyncStatus {
        self.members[node].node.as_ref().and_then(Node::sync_status).unwrap_or_default()
    }

    /// Returns the number of blocks in a node's pending area.
    pub(crate) fn pending(&self, node: usize) -> usize {
        self.status(node).pending
    }

    /// Returns the score of a peer at a node, also of one that is away.
    pub(crate) fn score(&self, node: usize, who: usize) -> f64 {
        let now = self.clock(node);
        let peers = self.members[node].node.as_ref().map(Node::peers);
        peers.map_or(0.0, |peers| {
            let scores = peers.scores(now, &peer(who));
            scores.gossip.total.min(peers.score(now, &peer(who)))
        })
    }

    /// Returns a block of any branch that the sequencer made.
    pub(crate) fn made(&self, hash: &B256) -> Option<Block> {
        self.made.get(hash).cloned()
    }

    pub(crate) fn agrees(&self, node: usize) -> bool {
        let head = self.members[node].node.as_ref().and_then(|node| node.view().head());
        let tip = self.tip();
        // A block in transit does not count as lag.
        let before = self.branch.len().checked_sub(2).map(|at| BlockId::of(&self.branch[at].block));
        self.members[node].node.is_some()
            && (head == tip || (self.ticks > self.plan.blocks + 2 && head == before))
    }

    pub(super) fn all_agree(&self) -> bool {
        self.ticks > self.plan.blocks + 2 && (0..self.plan.honest).all(|node| self.agrees(node))
    }

    pub(crate) fn state(&self) -> String {
        let each = self.members.iter().enumerate().map(|(index, member)| {
            let node = member.node.as_ref();
            let head = node.and_then(|node| node.view().head()).map(|head| head.number);
            let gap = node.and_then(|node| node.view().gap());
            let commands = &member.commands;
            let status = node.and_then(Node::sync_status);
            format!("{index}: head {head:?}, {status:?}, {gap:?}, {commands:?}\n")
        });
        format!("tip {:?} at {} ms\n{}", self.tip(), self.now / MS, each.collect::<String>())
    }
}
