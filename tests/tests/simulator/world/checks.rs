//! The properties that hold in every run.

use super::super::chain;
use super::{World, index, peer};
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::node::{Event, Node};
use opp2p_core::payload::Block;
use opp2p_core::peers::{Conduct, PeerEvent};
use opp2p_core::sync::SyncEvent;

impl World {
    /// Checks the scores of all honest peers.
    ///
    /// Losses and crashes are failures to answer, which cost at most 9 points. Nothing else that
    /// happens to an honest peer costs anything, except where a node may be confused: see
    /// [`Self::may_be_confused`]. That costs less than a ban.
    pub(super) fn check_peers(&self) {
        let lowest = match self.plan.is_clean() {
            true => 0.0,
            false if self.may_be_confused() => -69.0,
            false => -9.0,
        };
        for (at, member) in self.members.iter().enumerate() {
            let Some(peers) = member.node.as_ref().map(Node::peers) else { continue };
            let now = self.clock(at);
            for who in (0..self.plan.honest).filter(|who| *who != at) {
                let score = peers.score(now, &peer(who));
                assert!(
                    score >= lowest,
                    "the honest node {who} has {score} at node {at} after {} ms: {:?}, {:?}",
                    self.now / super::MS,
                    peers.scores(now, &peer(who)),
                    member.conduct
                );
            }
            let banned = peers.gate().peer_bans().map(|(whom, _)| index(&whom));
            let honest: Vec<usize> = banned.filter(|who| *who < self.plan.honest).collect();
            assert!(honest.is_empty(), "node {at} bans the honest nodes {honest:?}");
        }
    }

    /// Waits until each disk has its node's head. A disk that never refused anything then has the
    /// whole chain that the node delivered; any other has a part of it, in its order,
    /// unless it lost a block by itself.
    pub(crate) fn settle_disks(&mut self) {
        let end = self.now + self.plan.patience * super::MS;
        for member in &mut self.members {
            member.full_until = 0;
        }
        for at in 0..self.members.len() {
            let head = |world: &Self| {
                let node = world.members[at].node.as_ref();
                node.map(|node| node.view().head())
            };
            while head(self).is_some_and(|head| head != self.members[at].disk.head()) {
                assert!(self.now < end, "the disk of node {at} stays behind: {}", self.state());
                self.step();
            }
            let member = &self.members[at];
            if member.disk.is_damaged {
                continue;
            }
            let stored = member.disk.chain();
            if member.refused == 0 {
                assert_eq!(stored, member.told, "node {at} stores another chain");
            }
            let mut told = member.told.iter();
            assert!(stored.iter().all(|id| told.any(|told| told == id)), "node {at}: {stored:?}");
        }
    }

    /// Returns `true` if a node may have missed all blocks of a branch of the sequencer's, because
    /// of losses, a crash or a partition. It can't tell an honest server on that branch from a
    /// liar, as responses carry no signature.
    fn may_be_confused(&self) -> bool {
        self.plan.has_reorgs() && !self.plan.is_clean()
    }

    pub(super) fn event(&mut self, at: usize, event: Event) {
        match event {
            Event::Chain(ChainEvent::Extended(block)) => {
                self.note(at, (block.number(), block.hash()));
                self.extended(at, &block);
            }
            Event::Chain(ChainEvent::Reorg { ancestor, abandoned, .. }) => {
                self.note(at, ancestor);
                let member = &mut self.members[at];
                let kept = member.told.len() - abandoned.len();
                assert_eq!(member.told.split_off(kept), abandoned, "node {at}");
                member.reorgs.push((ancestor, abandoned.len()));
            }
            Event::Chain(ChainEvent::Skipped { from, to, reason, detached }) => {
                self.note(at, (from, to, reason));
                assert!(
                    self.plan.may_skip,
                    "node {at} left out what lies between {from} and {to}: {reason:?}"
                );
                let member = &mut self.members[at];
                member.told.retain(|told| !detached && told.number < to.number);
                member.left_out.extend(from.between(&to).into_iter().flatten());
                member.skipped = true;
            }
            Event::Sync(SyncEvent::Conduct { peer, conduct }) => {
                let who = index(&peer);
                self.note(at, (who, conduct));
                *self.members[at].conduct.entry((who, conduct)).or_default() += 1;
                let is_fair = match conduct {
                    Conduct::ValidResponse => true,
                    Conduct::RejectedPayload => who >= self.plan.honest || self.may_be_confused(),
                    Conduct::ErrorResponse => who >= self.plan.honest || !self.plan.is_clean(),
                };
                assert!(is_fair, "node {at} blames the honest node {who}: {conduct:?}");
            }
            Event::Sync(SyncEvent::Landing { blocks, .. }) => self.landed += blocks,
            Event::Sync(SyncEvent::Range { id, result }) => {
                assert!(self.members[at].commands.remove(&id), "a second answer to a command");
                self.range_results.push(result);
            }
            Event::Peers(PeerEvent::Banned { peer, .. }) => {
                let who = index(&peer);
                self.note(at, who);
                assert!(who >= self.plan.honest, "node {at} bans the honest node {who}");
                self.members[at].banned.insert(who);
            }
            Event::Published { id, result } => {
                assert!(result.is_ok(), "block {} was not published: {result:?}", id.0);
                self.published += 1;
            }
            _ => {}
        }
    }

    fn extended(&mut self, at: usize, block: &Block) {
        let id = BlockId::of(block);
        if let Some(hash) = self.history.get(id.number as usize - 1) {
            assert_eq!(*hash, id.hash, "node {at} hands on a false block");
        } else {
            let real = self
                .made
                .get(&id.hash)
                .unwrap_or_else(|| panic!("node {at} hands on a false block {id}"));
            assert_eq!(real.body(), block.body(), "node {at} hands on other contents for {id}");
        }
        let member = &mut self.members[at];
        if !std::mem::take(&mut member.skipped) {
            let parent = member.told.last().map_or(chain::GENESIS_HASH, |told| told.hash);
            assert_eq!(block.parent_hash(), parent, "node {at} hands on {id} out of order");
        }
        member.told.push(id);
    }
}
