//! The node's own troubles: it compares its state with what a sound node's would be, after every
//! input, and takes the driver's reports.
//!
//! A stranger must not be able to raise a trouble while good blocks arrive. Evidence that strangers
//! can make up therefore counts only since the last accepted block: blocks of another key, refused
//! messages, blocks from another time.
//!
//! # Bounds
//! See [`TroubleList`], [`Untimely`] and [`Shares`]; the rest has a fixed size.

mod shares;
mod untimely;

use super::{Event, Node, Output};
use crate::chain::{BlockId, ChainConfig};
use crate::gossip::{Reason, RefusedBlock};
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::sync::GapFiller;
use crate::time::{Instant, Now};
use crate::trouble::{
    Report, Role, Trouble, TroubleChange, TroubleEntry, TroubleKind, TroubleList, cut,
};
use alloy_primitives::Address;
use shares::Shares;
use std::time::Duration;
use untimely::Untimely;

/// Minimum time without a block after which there are too few blocks.
pub const SILENCE: Duration = Duration::from_secs(15);
/// The same, in block intervals.
pub const SILENT_INTERVALS: u32 = 10;
/// Time without progress after which a gap is a trouble.
pub const GAP_STUCK: Duration = Duration::from_secs(30);
/// Minimum time without a block of the expected signer after which blocks of another key are a
/// trouble.
pub const UNCONFIRMED: Duration = Duration::from_secs(5);
/// The same, in block intervals.
pub const UNCONFIRMED_INTERVALS: u32 = 3;
/// Time without a block of another key after which such blocks are forgotten.
pub const STRANGERS_TTL: Duration = Duration::from_secs(120);
/// Time before the activation of an unknown fork at which it becomes a trouble.
pub const FORK_NOTICE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Distance from a block's timestamp at which the clock is wrong without doubt.
const CLOCK_BEHIND: u64 = 60;
/// The same before the chain's genesis: a chain may be planned some hours ahead.
const BEFORE_GENESIS: u64 = 24 * 60 * 60;

/// Blocks of another key since the last block of the expected signer.
#[derive(Clone, Copy, Debug)]
struct Strangers {
    found: Option<Address>,
    blocks: u64,
    last: Instant,
}

/// State that the node keeps about its troubles.
#[derive(Debug)]
pub(super) struct Troubles {
    list: TroubleList,
    pub(super) role: Role,
    started: Instant,
    /// Arrival of the newest block that the sequencer signed.
    block_at: Option<Instant>,
    /// The highest timestamp of such a block, in Unix seconds.
    block_time: u64,
    /// Time of the newest timely block whose signature was checked.
    confirmed_at: Option<Instant>,
    strangers: Option<Strangers>,
    untimely: Untimely,
    shares: Shares,
    /// Progress in filling the lowest gap, and when it last changed.
    gap: Option<(Progress, Instant)>,
    pub(super) mesh: Option<[usize; PayloadVersion::ALL.len()]>,
    panics: u64,
    /// Time at which a condition changes if only time passes.
    wakeup: Option<Instant>,
}

/// What changes while a gap is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    head: Option<BlockId>,
    wanted: BlockId,
    fetching: Option<BlockId>,
    landing: usize,
}

impl Troubles {
    pub(super) fn new(now: Now, role: Role, block_time: u64, interval: Duration) -> Self {
        Self {
            list: TroubleList::new(),
            role,
            started: now.monotonic,
            block_at: None,
            block_time,
            confirmed_at: None,
            strangers: None,
            untimely: Untimely::default(),
            shares: Shares::new(now.monotonic, interval),
            gap: None,
            mesh: None,
            panics: 0,
            wakeup: None,
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.wakeup.into_iter().chain(self.list.next_wakeup()).min()
    }

    /// Returns the raised troubles, in the order of [`TroubleKind::ALL`].
    pub(super) fn raised(&self) -> impl Iterator<Item = &Trouble> {
        self.list.troubles()
    }

    /// Records a block that the sequencer signed, from any source.
    pub(super) fn took_block(&mut self, now: Now, block: &Block) {
        let silence = now.monotonic.since(self.last_block());
        if let Some(Trouble::NoBlocks { head, silence: before }) =
            self.list.get(TroubleKind::NoBlocks)
            && *before <= silence
        {
            // The silence ends now. Further blocks must not postpone the end of the trouble.
            let head = *head;
            self.list.raise(now, Trouble::NoBlocks { head, silence });
        }
        self.block_at = Some(now.monotonic);
        self.block_time = self.block_time.max(block.timestamp());
    }

    /// Records that a block passed all checks: signer and clock are right.
    pub(super) fn confirm(&mut self, now: Now) {
        self.confirmed_at = Some(now.monotonic);
        self.strangers = None;
        self.untimely.forget();
    }

    /// Records that the expected signer has changed.
    pub(super) fn signer_changed(&mut self) {
        self.strangers = None;
    }

    /// Records that the wall clock has jumped.
    pub(super) fn clock_jumped(&mut self) {
        self.untimely.forget();
    }

    /// Returns the time of the last block, or of the start.
    fn last_block(&self) -> Instant {
        self.block_at.unwrap_or(self.started)
    }

    /// Sets whether a trouble's cause is there.
    fn set(&mut self, now: Now, kind: TroubleKind, trouble: Option<Trouble>) {
        match trouble {
            Some(trouble) => self.list.raise(now, trouble),
            None => self.list.clear(now, kind),
        }
    }

    /// Records that a condition changes at this time if nothing happens before.
    fn wake_at(&mut self, now: Now, at: Instant) {
        if now.monotonic < at {
            self.wakeup = self.wakeup.into_iter().chain([at]).min();
        }
    }
}

impl Node {
    /// Returns the troubles of the node as of now, in the order of [`TroubleKind::ALL`].
    pub fn troubles(&self, now: Now) -> impl Iterator<Item = TroubleEntry> {
        self.troubles.list.entries(now)
    }

    /// Returns the kinds of trouble that the node has, in the order of [`TroubleKind::ALL`].
    pub fn trouble_kinds(&self) -> impl Iterator<Item = TroubleKind> {
        self.troubles.raised().map(Trouble::kind)
    }

    /// Returns the role of the node.
    pub const fn role(&self) -> Role {
        self.troubles.role
    }

    /// Takes a report of the driver.
    pub(super) fn report(&mut self, now: Now, report: Report) {
        let troubles = &mut self.troubles;
        let (kind, trouble): (_, fn(String) -> Trouble) = match report {
            Report::Store(_) => (TroubleKind::Store, Trouble::Store),
            Report::PeerStore(_) => (TroubleKind::PeerStore, Trouble::PeerStore),
            Report::StoreDamaged(_) => (TroubleKind::StoreDamaged, Trouble::StoreDamaged),
            Report::KeyFile(_) => (TroubleKind::KeyFile, Trouble::KeyFile),
            Report::Engine(_) => (TroubleKind::Engine, Trouble::Engine),
            Report::Labels(_) => (TroubleKind::Labels, Trouble::Labels),
            Report::L1(_) => (TroubleKind::L1, Trouble::L1),
            Report::Feed(_) => (TroubleKind::Feed, Trouble::Feed),
            Report::Proofs(_) => (TroubleKind::Proofs, Trouble::Proofs),
            Report::Certificate(_) => (TroubleKind::Certificate, Trouble::Certificate),
            Report::Mesh(mesh) => return troubles.mesh = Some(mesh),
            Report::KeyInUse(address) => {
                return troubles.list.pulse(now, Trouble::KeyInUse(cut(&address)));
            }
            Report::PartLost(parts) if parts.is_empty() => {
                return troubles.list.clear(now, TroubleKind::PartLost);
            }
            Report::PartLost(parts) => {
                return troubles.list.raise(now, Trouble::PartLost(cut(&parts)));
            }
            Report::Panics(panics) => {
                if panics > troubles.panics {
                    troubles.list.pulse(now, Trouble::Panicked(panics));
                }
                return troubles.panics = panics;
            }
        };
        let (Report::Store(state)
        | Report::PeerStore(state)
        | Report::StoreDamaged(state)
        | Report::KeyFile(state)
        | Report::Engine(state)
        | Report::Labels(state)
        | Report::L1(state)
        | Report::Feed(state)
        | Report::Proofs(state)
        | Report::Certificate(state)) = report
        else {
            return;
        };
        troubles.set(now, kind, state.map(|error| trouble(cut(&error))));
    }

    /// Counts a message that failed a check, with what is known about its block.
    pub(super) fn note_refused(
        &mut self,
        now: Now,
        from: PeerId,
        reason: Reason,
        signer: Option<Address>,
        block: RefusedBlock,
    ) {
        self.troubles.shares.turn(now.monotonic, self.chain.interval_at(now.unix));
        self.troubles.shares.refused(from, reason);
        if reason == Reason::SignerInDoubt {
            let (found, last) = (signer, now.monotonic);
            let blocks = self.troubles.strangers.map_or(0, |seen| seen.blocks).saturating_add(1);
            self.troubles.strangers = Some(Strangers { found, blocks, last });
        }
        let RefusedBlock { id, timestamp, is_signed, .. } = block;
        // Perhaps our clock is wrong. A server that has this block is honest.
        if let (Some(filler), Some(id), true) = (&mut self.filler, id, is_signed) {
            filler.refused(id);
        }
        let is_untimely = matches!(reason, Reason::TooOld | Reason::TooNew | Reason::ClockInDoubt);
        if let Some(timestamp) = timestamp.filter(|_| is_untimely && is_signed) {
            self.troubles.untimely.take(now, from, timestamp);
        }
    }

    /// Counts a message that brought a block of the sequencer.
    pub(super) fn note_accepted(&mut self, now: Now) {
        self.troubles.shares.turn(now.monotonic, self.chain.interval_at(now.unix));
        self.troubles.shares.accepted();
    }

    /// Compares the node's state with that of a sound node, and reports what has changed.
    pub(super) fn settle_troubles(&mut self, now: Now) {
        self.troubles.wakeup = None;
        let interval = self.chain.interval_at(now.unix);
        self.settle_signer_troubles(now, interval);
        self.settle_schedule_troubles(now);
        self.settle_peer_troubles(now);
        self.settle_block_troubles(now, interval);
        self.settle_gap(now);
        self.settle_branch_troubles(now);
        self.settle_own_block_troubles(now);
        self.settle_clock(now);
        let peers = self.peers.nodes();
        let (refused, next) = self.troubles.shares.judge(now.monotonic, interval, peers);
        if let Some(next) = next {
            self.troubles.wake_at(now, next);
        }
        self.troubles.set(now, TroubleKind::Refused, refused);
        while let Some(change) = self.troubles.list.poll(now) {
            self.outputs.push_back(Output::Event(match change {
                TroubleChange::Began(entry) => Event::TroubleBegan(entry),
                TroubleChange::Ended(entry) => Event::TroubleEnded(entry),
            }));
        }
    }

    fn settle_signer_troubles(&mut self, now: Now, interval: Duration) {
        let expected = self.signers().current;
        let unknown = expected.is_none().then_some(Trouble::SignerUnknown);
        let troubles = &mut self.troubles;
        troubles.set(now, TroubleKind::SignerUnknown, unknown);
        troubles.strangers =
            troubles.strangers.filter(|seen| now.monotonic < seen.last + STRANGERS_TTL);
        let mut wrong = None;
        if let (Some(Strangers { found, blocks, last }), Some(expected)) =
            (troubles.strangers, expected)
        {
            let patience = UNCONFIRMED.max(interval * UNCONFIRMED_INTERVALS);
            let due = troubles.confirmed_at.unwrap_or(troubles.started) + patience;
            troubles.wake_at(now, due);
            troubles.wake_at(now, last + STRANGERS_TTL);
            let trouble = Trouble::SignerWrong { expected, found, blocks };
            wrong = Some(trouble).filter(|_| due <= now.monotonic);
        }
        troubles.set(now, TroubleKind::SignerWrong, wrong);
    }

    fn settle_schedule_troubles(&mut self, now: Now) {
        let doubt = self.schedule_doubt().map(Trouble::ScheduleInDoubt);
        self.troubles.set(now, TroubleKind::ScheduleInDoubt, doubt);
        let noticed = now.unix_seconds().saturating_add(FORK_NOTICE.as_secs());
        let mut next = None;
        let mut first = None;
        for fork in self.unknown_forks(now) {
            if fork.time <= noticed {
                let is_earlier =
                    first.as_ref().is_none_or(|first: &super::UnknownFork| fork.time < first.time);
                first = if is_earlier { Some(fork) } else { first };
            } else {
                next = next.into_iter().chain([fork.time]).min();
            }
        }
        if let Some(next) = next {
            let wait = Duration::from_secs(next).saturating_sub(FORK_NOTICE + now.unix);
            self.troubles.wake_at(now, now.monotonic + wait);
        }
        self.troubles.set(now, TroubleKind::UnknownFork, first.map(Trouble::UnknownFork));
    }

    fn settle_peer_troubles(&mut self, now: Now) {
        let peers = self.peers.nodes();
        self.troubles.set(now, TroubleKind::NoPeers, (peers == 0).then_some(Trouble::NoPeers));
        let topic = self.topic_in_use(now);
        let is_without =
            peers > 0 && self.troubles.mesh.is_some_and(|mesh| mesh[topic.index()] == 0);
        let no_mesh = is_without.then_some(Trouble::NoMesh { topic, peers });
        self.troubles.set(now, TroubleKind::NoMesh, no_mesh);
    }

    fn settle_block_troubles(&mut self, now: Now, interval: Duration) {
        let patience = SILENCE.max(interval * SILENT_INTERVALS);
        // No block is due before genesis.
        let genesis = Duration::from_secs(self.chain.genesis.time);
        let (wait, age) = (genesis.saturating_sub(now.unix), now.unix.saturating_sub(genesis));
        let silence = now.monotonic.since(self.troubles.last_block()).min(age);
        self.troubles.wake_at(now, now.monotonic + wait + patience.saturating_sub(silence));
        let trouble = Trouble::NoBlocks { head: self.view.head(), silence };
        let is_due = patience <= silence;
        self.troubles.set(now, TroubleKind::NoBlocks, Some(trouble).filter(|_| is_due));
    }

    fn settle_gap(&mut self, now: Now) {
        let Some(lowest) = self.view.gap() else {
            self.troubles.gap = None;
            return self.troubles.set(now, TroubleKind::Gap, None);
        };
        let (fetching, landing) = self.filler.as_ref().map_or((None, 0), GapFiller::progress);
        let progress =
            Progress { head: self.view.head(), wanted: lowest.wanted, fetching, landing };
        let since = match self.troubles.gap {
            Some((before, since)) if before == progress => since,
            _ => now.monotonic,
        };
        self.troubles.gap = Some((progress, since));
        self.troubles.wake_at(now, since + GAP_STUCK);
        let trouble = (since + GAP_STUCK <= now.monotonic).then(|| Trouble::Gap {
            from: lowest.wanted.number.min(lowest.after.number.saturating_add(1)),
            to: self.view.gaps().map(|gap| gap.wanted.number).max().unwrap_or(lowest.wanted.number),
            servers: self.sync_status().map_or(0, |status| status.servers + status.endpoints),
        });
        self.troubles.set(now, TroubleKind::Gap, trouble);
    }

    fn settle_branch_troubles(&mut self, now: Now) {
        let head = self.view.head();
        let rival = self.view.rival();
        let (mut off, mut two) = (None, None);
        if let Some(rival) = rival {
            let highest = rival.highest;
            match rival.contended {
                true => two = Some(Trouble::TwoSequencers { head, highest }),
                false => {
                    let blocks = rival.blocks.into();
                    off = Some(Trouble::OffBranch { head, highest, blocks });
                }
            }
        }
        self.troubles.set(now, TroubleKind::OffBranch, off);
        self.troubles.set(now, TroubleKind::TwoSequencers, two);
    }

    fn settle_own_block_troubles(&mut self, now: Now) {
        let health = self.queue.health();
        let (signing, sending) = (health.signing(now.monotonic), health.sending(now.monotonic));
        let signing = signing.map(|error| Trouble::Signing(cut(error)));
        let sending = sending.map(|error| Trouble::Publishing(cut(error)));
        if let Some(end) = health.next_wakeup(now.monotonic) {
            self.troubles.wake_at(now, end);
        }
        self.troubles.set(now, TroubleKind::Signing, signing);
        self.troubles.set(now, TroubleKind::Publishing, sending);
    }

    fn settle_clock(&mut self, now: Now) {
        let peers = self.peers.nodes();
        let ahead_ms = behind(now, &self.chain, self.troubles.block_time)
            .or_else(|| self.troubles.untimely.ahead_ms(now, peers));
        if let Some(at) = self.troubles.untimely.next_change() {
            self.troubles.wake_at(now, at);
        }
        // The clock may catch up with the block, or with genesis, by itself.
        for time in [
            self.troubles.block_time.saturating_sub(CLOCK_BEHIND),
            self.chain.genesis.time.saturating_sub(BEFORE_GENESIS),
        ] {
            let wait = Duration::from_secs(time).saturating_sub(now.unix);
            self.troubles.wake_at(now, now.monotonic + wait);
        }
        let trouble = ahead_ms.map(|ahead_ms| Trouble::Clock { ahead_ms });
        self.troubles.set(now, TroubleKind::Clock, trouble);
    }
}

/// Returns by how many milliseconds the clock is ahead, which is negative, if it is far before the
/// newest block or the chain's genesis.
fn behind(now: Now, chain: &ChainConfig, block_time: u64) -> Option<i64> {
    let unix = now.unix_seconds();
    let is_behind = block_time > unix.saturating_add(CLOCK_BEHIND);
    let is_before = chain.genesis.time > unix.saturating_add(BEFORE_GENESIS);
    let seconds = block_time.max(chain.genesis.time).saturating_sub(unix);
    let millis = i64::try_from(seconds).ok()?.saturating_mul(-1000);
    (is_behind || is_before).then_some(millis)
}
