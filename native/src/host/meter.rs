//! What a node counts, from its start on.
//!
//! The driver counts as it tells: each event passes [`Meter::told`] before it goes to whoever listens, so nothing is
//! lost when a listener is behind. What the core or [`Status`](super::Status) counts already is not counted again.
//!
//! # Bounds
//! A fixed set of numbers, and the requests of peers that have no answer yet, which the core bounds.

use super::event::{HostEventKind, L1News};
use crate::clock::since_epoch;
use crate::metrics::{DEFAULT_BOUNDS, Histogram};
use opp2p_core::chain::{BlockId, ChainEvent, GapEnd, SkipReason};
use opp2p_core::node::{Event, JobKind, Verdict};
use opp2p_core::payload::Block;
use opp2p_core::peers::{Farewell, PeerEvent, PeerScores};
use opp2p_core::sequencer::PublishError;
use opp2p_core::sync::{AnswerError, Answered, ResultCode, ServeId, SyncEvent};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of the time that a block takes from its timestamp to its acceptance, seconds.
const DELAY_BOUNDS: &[f64] =
    &[0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0, 60.0];
/// Bounds of the time that a job takes on its thread, seconds.
const JOB_BOUNDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Bounds of peers' scores, the reference's.
const SCORE_BOUNDS: &[f64] = &[
    -100.0, -40.0, -20.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.05, 0.0, 0.05, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0,
    40.0,
];

/// The parts of a score by the reference's names.
pub(crate) const SCORE_PARTS: [&str; 10] = [
    "total",
    "ipColocation",
    "behavioralPenalty",
    "blocksFirstMessage",
    "blocksTimeInMesh",
    "blocksMessageDeliveries",
    "blocksInvalidMessageDeliveries",
    "reqRespValidResponses",
    "reqRespErrorResponses",
    "reqRespRejectedPayloads",
];

/// Codes of answers: the protocol's four, one that it does not have, and the reference's label for all others.
pub(crate) const CODES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

/// What became of gaps, by name.
pub(crate) const GAP_ENDS: [&str; 6] = ["filled", "merged", "outrun", "skipped", "dropped", "mislinked"];
/// Why positions were left out, by name.
pub(crate) const SKIP_REASONS: [&str; 3] = ["patience", "full", "unreachable"];
/// Why peers were disconnected, by name.
pub(crate) const FAREWELLS: [&str; 5] = ["banned", "blocked", "surplus", "asked", "silent"];
/// Why blocks of our own were not published, by name.
pub(crate) const PUBLISH_ERRORS: [&str; 7] =
    ["encode", "wrong_version", "too_large", "no_signer", "refused", "expired", "displaced"];

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Counters of one thing by its kind.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>([Counter; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> Counters<N> {
    fn add(&self, kind: usize) {
        if let Some(counter) = self.0.get(kind) {
            counter.add(1);
        }
    }

    pub(crate) fn each<'a>(
        &'a self,
        names: &'a [&'static str; N],
    ) -> impl Iterator<Item = (&'static str, u64)> {
        names.iter().zip(&self.0).map(|(name, counter)| (*name, counter.get()))
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Requests for blocks by number on one side.
#[derive(Debug)]
pub(crate) struct Requests {
    /// By the answer's code.
    pub(crate) times: [Histogram; CODES.len()],
    /// The number of the last one.
    pub(crate) last_number: Counter,
}

impl Requests {
    fn new() -> Self {
        Self {
            times: std::array::from_fn(|_| Histogram::new(DEFAULT_BOUNDS)),
            last_number: Counter::default(),
        }
    }

    fn ended(&self, number: u64, code: usize, took: Duration) {
        self.last_number.set(number);
        if let Some(times) = self.times.get(code.min(CODES.len() - 1)) {
            times.took(took);
        }
    }
}

/// A block that was the last one of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastBlock {
    pub(crate) id: BlockId,
    pub(crate) timestamp: u64,
    /// Its timestamp less the time when it came, seconds.
    pub(crate) latency: f64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Meter {
    /// From a block's timestamp to its acceptance.
    pub(crate) delay: Histogram,
    jobs: [Histogram; JobKind::ALL.len()],
    pub(crate) scores: [Histogram; SCORE_PARTS.len()],
    pub(crate) asked: Requests,
    pub(crate) served: Requests,
    serving: Mutex<BTreeMap<ServeId, (Instant, u64)>>,
    /// RPCs of gossip that peers sent.
    pub(crate) rpcs: Counter,
    pub(crate) given_to_gossip: Counter,
    pub(crate) published: Counter,
    pub(crate) publish_errors: Counters<{ PUBLISH_ERRORS.len() }>,
    pub(crate) last_publish_error: Counter,
    pub(crate) landed: Counter,
    pub(crate) received: Counter,
    pub(crate) last_received: Counter,
    pub(crate) blocks: Counter,
    pub(crate) reorgs: Counter,
    pub(crate) equivocations: Counter,
    pub(crate) gaps_opened: Counter,
    pub(crate) gaps_ended: Counters<{ GAP_ENDS.len() }>,
    pub(crate) skips: Counters<{ SKIP_REASONS.len() }>,
    pub(crate) bans_by_score: Counter,
    pub(crate) bans_by_operator: Counter,
    pub(crate) farewells: Counters<{ FAREWELLS.len() }>,
    pub(crate) other_chains: Counter,
    /// Readings of the signer from L1.
    pub(crate) l1_reads: Counter,
    pub(crate) l1_failures: Counter,
    pub(crate) connected: Counter,
    pub(crate) disconnected: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) stored: Counter,
    pub(crate) store_failures: Counter,
    last_blocks: Mutex<LastBlocks>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LastBlocks {
    received: Option<LastBlock>,
    head: Option<LastBlock>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            delay: Histogram::new(DELAY_BOUNDS),
            jobs: std::array::from_fn(|_| Histogram::new(JOB_BOUNDS)),
            scores: std::array::from_fn(|_| Histogram::new(SCORE_BOUNDS)),
            asked: Requests::new(),
            served: Requests::new(),
            serving: Mutex::default(),
            rpcs: Counter::default(),
            given_to_gossip: Counter::default(),
            published: Counter::default(),
            publish_errors: Counters::default(),
            last_publish_error: Counter::default(),
            landed: Counter::default(),
            received: Counter::default(),
            last_received: Counter::default(),
            blocks: Counter::default(),
            reorgs: Counter::default(),
            equivocations: Counter::default(),
            gaps_opened: Counter::default(),
            gaps_ended: Counters::default(),
            skips: Counters::default(),
            bans_by_score: Counter::default(),
            bans_by_operator: Counter::default(),
            farewells: Counters::default(),
            other_chains: Counter::default(),
            l1_reads: Counter::default(),
            l1_failures: Counter::default(),
            connected: Counter::default(),
            disconnected: Counter::default(),
            dials_failed: Counter::default(),
            stored: Counter::default(),
            store_failures: Counter::default(),
            last_blocks: Mutex::default(),
        }
    }
}

impl Meter {
    /// Something is being told.
    pub(super) fn told(&self, kind: &HostEventKind) {
        match kind {
            HostEventKind::Core(Event::Chain(event)) => self.chain(event),
            HostEventKind::Core(Event::Sync(event)) => self.sync(event),
            HostEventKind::Core(Event::Peers(event)) => self.peers(event),
            HostEventKind::Core(Event::Published { result, .. }) => self.publication(result.as_ref().err()),
            HostEventKind::Core(Event::Commanded { .. } | Event::SignerChanged { .. }) => {}
            HostEventKind::Connected { .. } => self.connected.add(1),
            HostEventKind::Disconnected { .. } => self.disconnected.add(1),
            HostEventKind::DialFailed { .. } => self.dials_failed.add(1),
            HostEventKind::Stored(_) => self.stored.add(1),
            HostEventKind::StoreFailed(_) => self.store_failures.add(1),
            HostEventKind::L1(L1News::Read { .. }) => self.l1_reads.add(1),
            HostEventKind::L1(L1News::Failed(_) | L1News::GaveUp(_)) => self.l1_failures.add(1),
            HostEventKind::Verdict(_)
            | HostEventKind::StoreRecovered
            | HostEventKind::Identified { .. }
            | HostEventKind::Nat(_) => {}
        }
    }

    fn chain(&self, event: &ChainEvent<Block>) {
        match event {
            ChainEvent::Extended(block) => {
                self.blocks.add(1);
                let block = last(BlockId::of(block), block.timestamp());
                self.last_blocks().head = Some(block);
            }
            ChainEvent::Reorg { .. } => self.reorgs.add(1),
            ChainEvent::Equivocation { .. } => self.equivocations.add(1),
            ChainEvent::GapOpened(_) => self.gaps_opened.add(1),
            ChainEvent::GapChanged(_) => {}
            ChainEvent::GapClosed { end, .. } => self.gaps_ended.add(match end {
                GapEnd::Filled => 0,
                GapEnd::Merged => 1,
                GapEnd::Outrun => 2,
                GapEnd::Skipped => 3,
                GapEnd::Dropped => 4,
                GapEnd::Mislinked => 5,
            }),
            ChainEvent::Skipped { reason, .. } => self.skips.add(match reason {
                SkipReason::Patience => 0,
                SkipReason::Full => 1,
                SkipReason::Unreachable => 2,
            }),
        }
    }

    fn sync(&self, event: &SyncEvent) {
        match event {
            SyncEvent::Landing { blocks, .. } => {
                let blocks = *blocks as u64;
                self.landed.add(blocks);
                self.received.add(blocks);
                self.last_received.set(since_epoch().as_secs());
            }
            SyncEvent::Answered(Answered { number, took, result, .. }) => {
                let code = match result {
                    Ok(_) => 0,
                    Err(AnswerError::Refused(code)) => usize::from(*code),
                    // The reference counts every failure without a code as not found.
                    Err(_) => usize::from(ResultCode::NotFound.byte()),
                };
                self.asked.ended(*number, code, *took);
            }
            SyncEvent::Refused { .. } | SyncEvent::Range { .. } | SyncEvent::Conduct { .. } => {}
        }
    }

    fn peers(&self, event: &PeerEvent) {
        match event {
            PeerEvent::Banned { score: Some(_), .. } => self.bans_by_score.add(1),
            PeerEvent::Banned { score: None, .. } => self.bans_by_operator.add(1),
            PeerEvent::Dropped { why, .. } => self.farewells.add(match why {
                Farewell::Banned => 0,
                Farewell::Blocked => 1,
                Farewell::Surplus => 2,
                Farewell::Asked => 3,
                Farewell::Silent => 4,
            }),
            PeerEvent::OtherChain { .. } => self.other_chains.add(1),
            PeerEvent::Lacking(_) => {}
        }
    }

    fn publication(&self, error: Option<&PublishError>) {
        let Some(error) = error else { return self.published.add(1) };
        self.publish_errors.add(match error {
            PublishError::Encode(_) => 0,
            PublishError::WrongVersion { .. } => 1,
            PublishError::TooLarge(_) => 2,
            PublishError::NoSigner => 3,
            PublishError::Refused(_) => 4,
            PublishError::Expired(_) => 5,
            PublishError::Displaced(_) => 6,
        });
        self.last_publish_error.set(since_epoch().as_secs());
    }

    /// A message was judged; `timestamp` is its block's, if it is accepted and still held.
    pub(super) fn judged(&self, verdict: &Verdict, timestamp: Option<u64>) {
        let Ok(id) = verdict.result else { return };
        self.received.add(1);
        self.last_received.set(since_epoch().as_secs());
        if let Some(timestamp) = timestamp {
            let block = last(id, timestamp);
            // Blocks may be a few seconds ahead of their time.
            self.delay.observe((-block.latency).max(0.0));
            self.last_blocks().received = Some(block);
        }
    }

    /// A block of our own was given to gossip, whatever came of it.
    pub(super) fn sent(&self) {
        self.given_to_gossip.add(1);
    }

    /// The driver took the scores of its peers.
    pub(super) fn scored(&self, scores: &PeerScores) {
        let (gossip, served) = (&scores.gossip, &scores.req_resp);
        let parts: [f64; SCORE_PARTS.len()] = [
            gossip.total,
            gossip.ip_colocation_factor,
            gossip.behavioural_penalty,
            gossip.blocks.first_message_deliveries,
            gossip.blocks.time_in_mesh,
            gossip.blocks.mesh_message_deliveries,
            gossip.blocks.invalid_message_deliveries,
            served.valid_responses,
            served.error_responses,
            served.rejected_payloads,
        ];
        self.scores.iter().zip(parts).for_each(|(part, value)| part.observe(value));
    }

    /// RPCs of gossip that came since the start.
    pub(super) fn heard(&self, rpcs: u64) {
        self.rpcs.set(rpcs);
    }

    /// A peer asks for a block.
    pub(super) fn requested(&self, id: ServeId, number: u64) {
        self.serving().insert(id, (Instant::now(), number));
    }

    /// It was answered with this code.
    pub(super) fn answered(&self, id: ServeId, code: Option<u8>) {
        if let Some((since, number)) = self.serving().remove(&id) {
            self.served.ended(number, code.map_or(CODES.len(), usize::from), since.elapsed());
        }
    }

    /// It went away without an answer.
    pub(super) fn gone(&self, id: ServeId) {
        self.serving().remove(&id);
    }

    /// A job took so long on its thread.
    pub(super) fn worked(&self, kind: JobKind, took: Duration) {
        self.times_of(kind).took(took);
    }

    /// How long jobs of a kind take.
    pub(crate) const fn times_of(&self, kind: JobKind) -> &Histogram {
        &self.jobs[kind as usize]
    }

    /// The last block that gossip brought, of those that are accepted.
    pub(crate) fn last_received(&self) -> Option<LastBlock> {
        self.last_blocks().received
    }

    /// The last block of the chain.
    pub(crate) fn head(&self) -> Option<LastBlock> {
        self.last_blocks().head
    }

    fn last_blocks(&self) -> MutexGuard<'_, LastBlocks> {
        self.last_blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serving(&self) -> MutexGuard<'_, BTreeMap<ServeId, (Instant, u64)>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last(id: BlockId, timestamp: u64) -> LastBlock {
    LastBlock { id, timestamp, latency: timestamp as f64 - since_epoch().as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;
    use opp2p_core::gossip::Reason;
    use opp2p_core::sync::RequestFailure;

    #[test]
    fn a_request_is_counted_once_by_its_code_and_forgotten() {
        let meter = Meter::default();
        meter.requested(ServeId(1), 7);
        meter.requested(ServeId(2), 8);
        meter.answered(ServeId(1), Some(1));
        meter.answered(ServeId(1), Some(0));
        meter.gone(ServeId(2));
        meter.answered(ServeId(2), Some(0));
        meter.requested(ServeId(3), 9);
        meter.answered(ServeId(3), None);
        let counts: Vec<u64> = meter.served.times.iter().map(Histogram::count).collect();
        assert_eq!((counts, meter.served.last_number.get()), (vec![0, 1, 0, 0, 0, 1], 9));
        assert!(meter.serving().is_empty());
    }

    #[test]
    fn answers_to_ours_have_the_reference_s_codes() {
        let meter = Meter::default();
        let peer = crate::swarm::from_libp2p(&PeerId::random()).expect("an id");
        for error in [
            AnswerError::Refused(2),
            AnswerError::Refused(3),
            AnswerError::Refused(200),
            AnswerError::Request(RequestFailure::Timeout),
            AnswerError::BlockHash,
        ] {
            let answered = Answered { peer, number: 5, took: Duration::from_secs(1), result: Err(error) };
            meter.told(&HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))));
        }
        let counts: Vec<u64> = meter.asked.times.iter().map(Histogram::count).collect();
        assert_eq!(counts, [0, 2, 1, 1, 0, 1]);
    }

    #[test]
    fn publications_that_fail_are_counted_by_why_and_when() {
        let meter = Meter::default();
        meter.publication(None);
        for error in [PublishError::NoSigner, PublishError::Refused(Reason::TooOld), PublishError::NoSigner] {
            meter.publication(Some(&error));
        }
        let by_why: BTreeMap<_, _> = meter.publish_errors.each(&PUBLISH_ERRORS).collect();
        assert_eq!((by_why["no_signer"], by_why["refused"], meter.publish_errors.sum()), (2, 1, 3));
        assert_eq!(meter.published.get(), 1);
        assert!(meter.last_publish_error.get() > 0);
    }
}
