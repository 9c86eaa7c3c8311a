//! Snapshot of the record, taken so that drawing does not block it.

use super::latency::Figures;
use super::report::{BlockLine, Member, Note, Report};
use super::tally::{State, Tally};
use opp2p_core::chain::{BlockId, Fork};
use opp2p_core::gossip::Acceptance;
use std::time::Duration;

/// Maximum number of blocks in a snapshot: more than any terminal has columns for.
const BLOCKS: usize = 512;

/// All data that [`draw`](super::draw()) shows, see [`Report::snapshot`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) chain_id: u64,
    pub(super) fork: Fork,
    pub(super) block_time: Duration,
    pub(super) elapsed: Duration,
    pub(super) published: u64,
    pub(super) web: Option<String>,
    /// The sequencer, then the followers.
    pub(super) nodes: Vec<NodeRow>,
    /// Blocks, newest first.
    pub(super) blocks: Vec<BlockLine>,
    /// Notes, newest first.
    pub(super) notes: Vec<Note>,
}

/// Row of one node.
#[derive(Clone, Debug)]
pub(super) struct NodeRow {
    pub(super) member: Member,
    pub(super) peer_id: String,
    pub(super) port: u16,
    pub(super) head: Option<BlockId>,
    pub(super) peers: usize,
    pub(super) accepted: u64,
    pub(super) ignored: u64,
    pub(super) rejected: u64,
    pub(super) latency: Option<Figures>,
    pub(super) state: State,
}

impl Report {
    /// Returns the state at `elapsed` after the start.
    pub fn snapshot(&self, elapsed: Duration) -> Snapshot {
        let row = |member, info: &super::NodeInfo, tally: &Tally| NodeRow {
            member,
            peer_id: info.peer_id.clone(),
            port: info.port,
            head: tally.head,
            peers: tally.peers,
            accepted: tally.accepted,
            ignored: tally.refused(Acceptance::Ignore),
            rejected: tally.refused(Acceptance::Reject),
            latency: tally.latencies.figures(),
            state: tally.state(self.totals.newest),
        };
        let followers = self.setup.followers.iter().zip(&self.followers).enumerate();
        let followers =
            followers.map(|(index, (info, tally))| row(Member::Follower(index), info, tally));
        let sequencer = row(Member::Sequencer, &self.setup.sequencer, &self.sequencer);
        Snapshot {
            chain_id: self.setup.chain_id,
            fork: self.setup.fork,
            block_time: self.setup.block_time,
            elapsed,
            published: self.totals.blocks,
            web: self.setup.web.clone(),
            nodes: std::iter::once(sequencer).chain(followers).collect(),
            blocks: self.newest_blocks().take(BLOCKS).collect(),
            notes: self.notes.iter().rev().cloned().collect(),
        }
    }
}
