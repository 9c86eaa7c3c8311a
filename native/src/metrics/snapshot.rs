//! Values of the node for one scrape.

use alloy_primitives::Address;
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::ScheduleDoubt;
use opp2p_core::payload::Block;
use opp2p_core::peers::{ConnectionCounts, Door, GateCounts};
use opp2p_core::sync::SyncStatus;
use opp2p_core::sync::range::RangeCounts;
use opp2p_core::trouble::TroubleKind;
use opp2p_node::host::HostHandle;
use std::time::Duration;

/// Values of the core, copied while it is locked.
pub(super) struct Core {
    pub(super) gate: GateCounts,
    pub(super) doors: [(&'static str, ConnectionCounts); 2],
    pub(super) banned: (usize, usize),
    pub(super) buffer: (usize, usize),
    /// The head, and its time in Unix milliseconds if the block is still in memory.
    pub(super) head: Option<(BlockId, Option<u64>)>,
    pub(super) highest: Option<BlockId>,
    pub(super) waits: Option<BlockId>,
    pub(super) gaps: usize,
    pub(super) missing: u64,
    pub(super) held: (usize, usize),
    pub(super) publishing: usize,
    pub(super) validating: usize,
    pub(super) sync: Option<SyncStatus>,
    /// What was served and fetched by ranges.
    pub(super) ranges: [(&'static str, Option<RangeCounts>); 2],
    pub(super) missing_peers: usize,
    pub(super) block_time: Duration,
    pub(super) schedule_doubt: Option<ScheduleDoubt>,
    /// Number of unknown forks in the configuration, and number of those that are active.
    pub(super) unknown_forks: (usize, usize),
    pub(super) troubles: Vec<TroubleKind>,
    pub(super) is_ready: bool,
    pub(super) signer: Option<Address>,
}

impl Core {
    pub(super) fn read(host: &HostHandle) -> Self {
        host.core(|node, now| {
            let (view, peers) = (node.view(), node.peers());
            let gate = peers.gate();
            Self {
                gate: peers.counts(),
                doors: [("tcp", Door::Tcp), ("browser", Door::Browser)]
                    .map(|(name, door)| (name, peers.limits().counts(door))),
                banned: (gate.peer_bans().count(), gate.ip_bans().count()),
                buffer: view.pending(),
                head: view.head().map(|id| (id, view.get(&id.hash).map(Block::timestamp_ms))),
                highest: view.highest(),
                waits: view.gap().map(|gap| gap.before),
                gaps: view.gaps().count(),
                missing: view.gaps().map(|gap| gap.missing).sum(),
                held: (view.blocks(), view.bytes()),
                publishing: node.publishing().len(),
                validating: node.waiting(),
                sync: node.sync_status(),
                ranges: [
                    ("server", node.ranges_served().copied()),
                    ("client", node.ranges_fetched().copied()),
                ],
                missing_peers: peers.missing(),
                block_time: node.chain().interval_at(now.unix),
                schedule_doubt: node.schedule_doubt(),
                unknown_forks: (
                    node.unknown_forks(now).count(),
                    node.unknown_forks(now).filter(|fork| fork.is_active).count(),
                ),
                troubles: node.trouble_kinds().collect(),
                is_ready: node.not_ready(now).is_empty(),
                signer: node.signers().current,
            }
        })
    }
}
