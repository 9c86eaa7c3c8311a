//! Counters of a node since its start.
//!
//! The driver counts each event in [`Meter::told`] before it sends it to listeners, so nothing is
//! lost when a listener is behind. Numbers that the core or [`Status`](super::Status) already
//! counts are not counted again.
//!
//! # Bounds
//! A fixed set of numbers, and the peers' requests that have no answer yet, which the core bounds.

use super::event::{HostEventKind, L1News};
use crate::clock::since_epoch;
use crate::measure::{DEFAULT_BOUNDS, Histogram};
use opp2p_core::chain::{BlockId, ChainEvent, GapEnd, SkipReason};
use opp2p_core::gossip::Verdict;
use opp2p_core::node::{Event, JobKind};
use opp2p_core::payload::Block;
use opp2p_core::peers::{DisconnectReason, PeerEvent, PeerScores};
use opp2p_core::sequencer::PublishError;
use opp2p_core::sync::{
    AnswerError, Answered, RequestFailure, ResultCode, RpcError, ServeId, Source, SyncEvent,
};
use opp2p_wire::Frames;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Histogram bounds of the delay from a block's timestamp to its acceptance, in seconds.
const DELAY_BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0,
    20.0, 40.0, 60.0,
];
/// Histogram bounds of the duration of a job, in seconds.
const JOB_BOUNDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Histogram bounds of peers' scores, as in the reference.
const SCORE_BOUNDS: &[f64] = &[
    -100.0, -40.0, -20.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.05, 0.0, 0.05, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0, 40.0,
];

/// Names of the parts of a score, as in the reference.
pub const SCORE_PARTS: [&str; 10] = [
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

/// Codes of answers: the protocol's four, one that it does not have, and the reference's label for
/// all others.
pub const CODES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

/// Names of the results of requests to endpoints for missing blocks.
pub const ENDPOINT_RESULTS: [&str; 6] =
    ["block", "not_found", "limited", "unsupported", "wrong", "failed"];

/// A number that is read and updated atomically; most only grow.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns the value.
    pub fn get(&self) -> u64 {
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
pub struct Counters<const N: usize>([Counter; N]);

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

    /// Returns each kind's name and value; `names` are those of the kinds, in order.
    pub fn each<'a>(
        &'a self,
        names: &'a [&'static str; N],
    ) -> impl Iterator<Item = (&'static str, u64)> {
        names.iter().zip(&self.0).map(|(name, counter)| (*name, counter.get()))
    }

    /// Returns the sum over all kinds.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Requests for blocks by number, of one direction.
#[derive(Debug)]
pub struct Requests {
    /// Durations, by the code of the answer.
    pub times: [Histogram; CODES.len()],
    /// Block number of the last request.
    pub last_number: Counter,
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

/// The last block of its kind.
#[derive(Clone, Copy, Debug)]
pub struct LastBlock {
    /// Number and hash.
    pub id: BlockId,
    /// Timestamp of the block, Unix milliseconds.
    pub time: u64,
    /// Timestamp of the block minus the time of its arrival, in seconds.
    pub latency: f64,
}

/// All counters of a node.
#[derive(Debug)]
pub struct Meter {
    /// Delay from a block's timestamp to its acceptance.
    pub delay: Histogram,
    jobs: [Histogram; JobKind::ALL.len()],
    /// Peers' scores each time they are taken, by the [`SCORE_PARTS`].
    pub scores: [Histogram; SCORE_PARTS.len()],
    /// Requests that this node sent.
    pub asked: Requests,
    /// Requests of peers that this node answered.
    pub served: Requests,
    serving: Mutex<BTreeMap<ServeId, (Instant, u64)>>,
    /// Gossip RPCs that peers sent.
    pub rpcs: Counter,
    /// Gossip RPCs that this node sent.
    pub rpcs_sent: Counter,
    /// Blocks of our own that were passed to gossip.
    pub given_to_gossip: Counter,
    /// Blocks that were published.
    pub published: Counter,
    /// Failed publications, by reason.
    pub publish_errors: Counters<{ PublishError::NAMES.len() }>,
    /// Time of the last failed publication, Unix seconds; 0 before the first.
    pub last_publish_error: Counter,
    /// Blocks that synchronisation added to the chain.
    pub landed: Counter,
    /// Valid blocks from peers, by gossip or synchronisation.
    pub received: Counter,
    /// Time of the last valid block, Unix seconds; 0 before the first.
    pub last_received: Counter,
    /// Blocks that extended the chain.
    pub blocks: Counter,
    /// Reorgs.
    pub reorgs: Counter,
    /// Heights with two signed blocks.
    pub equivocations: Counter,
    /// Gaps that opened.
    pub gaps_opened: Counter,
    /// Gaps that closed, by result.
    pub gaps_ended: Counters<{ GapEnd::NAMES.len() }>,
    /// Ranges that were left out, by reason.
    pub skips: Counters<{ SkipReason::NAMES.len() }>,
    /// Block numbers in these ranges.
    pub left_out: Counter,
    /// Requests to endpoints for missing blocks, by the [`ENDPOINT_RESULTS`].
    pub endpoints: Counters<{ ENDPOINT_RESULTS.len() }>,
    /// Bans for a low score.
    pub bans_by_score: Counter,
    /// Bans by the operator.
    pub bans_by_operator: Counter,
    /// Connections that this node closed, by reason.
    pub farewells: Counters<{ DisconnectReason::NAMES.len() }>,
    /// Peers that follow another chain.
    pub other_chains: Counter,
    /// Successful readings of the signer from L1.
    pub l1_reads: Counter,
    /// Failed readings of the signer from L1.
    pub l1_failures: Counter,
    /// Answers of the remote signer.
    pub signed_elsewhere: Counter,
    /// Failed requests to the remote signer.
    pub remote_signer_failures: Counter,
    /// Peers that connected.
    pub connected: Counter,
    /// Peers that disconnected.
    pub disconnected: Counter,
    /// Failed dials.
    pub dials_failed: Counter,
    /// Batches that were stored.
    pub stored: Counter,
    /// Failed writes of the store.
    pub store_failures: Counter,
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
            rpcs_sent: Counter::default(),
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
            left_out: Counter::default(),
            endpoints: Counters::default(),
            bans_by_score: Counter::default(),
            bans_by_operator: Counter::default(),
            farewells: Counters::default(),
            other_chains: Counter::default(),
            l1_reads: Counter::default(),
            l1_failures: Counter::default(),
            signed_elsewhere: Counter::default(),
            remote_signer_failures: Counter::default(),
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
    /// Counts an event that is about to be sent.
    pub(super) fn told(&self, kind: &HostEventKind) {
        match kind {
            HostEventKind::Core(Event::Chain(event)) => self.chain(event),
            HostEventKind::Core(Event::Sync(event)) => self.sync(event),
            HostEventKind::Core(Event::Peers(event)) => self.peers(event),
            HostEventKind::Core(Event::Published { result, .. }) => {
                self.publication(result.as_ref().err());
            }
            HostEventKind::Core(
                Event::Commanded { .. }
                | Event::Configured { .. }
                | Event::SignerChanged { .. }
                | Event::ScheduleInDoubt(_)
                | Event::ScheduleDoubtEnded(_)
                | Event::UnknownFork(_)
                | Event::TroubleBegan(_)
                | Event::TroubleEnded(_),
            ) => {}
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
                let block = last(BlockId::of(block), block.timestamp_ms());
                self.last_blocks().head = Some(block);
            }
            ChainEvent::Reorg { .. } => self.reorgs.add(1),
            ChainEvent::Equivocation { .. } => self.equivocations.add(1),
            ChainEvent::GapOpened(_) => self.gaps_opened.add(1),
            ChainEvent::GapChanged(_) | ChainEvent::Contended { .. } => {}
            ChainEvent::GapClosed { end, .. } => self.gaps_ended.add(end.index()),
            ChainEvent::Skipped { from, to, reason, .. } => {
                let left_out = from.between(to);
                self.left_out.add(left_out.map_or(0, |n| n.end() - n.start() + 1));
                self.skips.add(reason.index());
            }
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
            SyncEvent::Answered(Answered { source: Source::Endpoint(_), result, .. }) => {
                self.endpoints.add(match result {
                    Ok(_) => 0,
                    Err(AnswerError::Rpc(RpcError::NotFound)) => 1,
                    Err(
                        AnswerError::Rpc(RpcError::Limited(_))
                        | AnswerError::Request(RequestFailure::Limited),
                    ) => 2,
                    Err(AnswerError::Rpc(RpcError::Unsupported(_))) => 3,
                    Err(
                        AnswerError::BlockHash
                        | AnswerError::WrongNumber { .. }
                        | AnswerError::Rpc(RpcError::Block(_)),
                    ) => 4,
                    Err(_) => 5,
                });
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
            SyncEvent::Found { .. }
            | SyncEvent::Refused { .. }
            | SyncEvent::Range { .. }
            | SyncEvent::History { .. }
            | SyncEvent::Conduct { .. } => {}
        }
    }

    fn peers(&self, event: &PeerEvent) {
        match event {
            PeerEvent::Banned { score: Some(_), .. } => self.bans_by_score.add(1),
            PeerEvent::Banned { score: None, .. } => self.bans_by_operator.add(1),
            PeerEvent::Dropped { why, .. } => self.farewells.add(why.index()),
            PeerEvent::OtherChain { .. } => self.other_chains.add(1),
            PeerEvent::Lacking(_) => {}
        }
    }

    fn publication(&self, error: Option<&PublishError>) {
        let Some(error) = error else { return self.published.add(1) };
        self.publish_errors.add(error.index());
        self.last_publish_error.set(since_epoch().as_secs());
    }

    /// Counts a verdict. `time` is the timestamp of its block in Unix milliseconds, if it is
    /// accepted and still held.
    pub(super) fn judged(&self, verdict: &Verdict, time: Option<u64>) {
        let Ok(id) = verdict.result else { return };
        self.received.add(1);
        self.last_received.set(since_epoch().as_secs());
        if let Some(time) = time {
            let block = last(id, time);
            // Blocks may be a few seconds ahead of their time.
            self.delay.observe((-block.latency).max(0.0));
            self.last_blocks().received = Some(block);
        }
    }

    /// Counts an answer of the remote signer.
    pub(super) fn signed_elsewhere(&self, is_signed: bool) {
        let count = if is_signed { &self.signed_elsewhere } else { &self.remote_signer_failures };
        count.add(1);
    }

    /// Counts a block of our own that was passed to gossip, whatever the outcome.
    pub(super) fn sent(&self) {
        self.given_to_gossip.add(1);
    }

    /// Records the scores of a peer, each time the driver takes them.
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

    /// Sets the numbers of gossip RPCs since the start.
    pub(super) fn heard(&self, frames: Frames) {
        self.rpcs.set(frames.received);
        self.rpcs_sent.set(frames.sent);
    }

    /// Records a peer's request for a block.
    pub(super) fn requested(&self, id: ServeId, number: u64) {
        self.serving().insert(id, (Instant::now(), number));
    }

    /// Counts the answer to a request, with its code.
    pub(super) fn answered(&self, id: ServeId, code: Option<u8>) {
        if let Some((since, number)) = self.serving().remove(&id) {
            self.served.ended(number, code.map_or(CODES.len(), usize::from), since.elapsed());
        }
    }

    /// Forgets a request that ended without an answer.
    pub(super) fn gone(&self, id: ServeId) {
        self.serving().remove(&id);
    }

    /// Records the duration of a job.
    pub(super) fn worked(&self, kind: JobKind, took: Duration) {
        self.times_of(kind).took(took);
    }

    /// Returns the durations of jobs of a kind.
    pub const fn times_of(&self, kind: JobKind) -> &Histogram {
        &self.jobs[kind as usize]
    }

    /// Returns the last accepted block from gossip.
    pub fn last_received(&self) -> Option<LastBlock> {
        self.last_blocks().received
    }

    /// Returns the last block of the chain.
    pub fn head(&self) -> Option<LastBlock> {
        self.last_blocks().head
    }

    fn last_blocks(&self) -> MutexGuard<'_, LastBlocks> {
        self.last_blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serving(&self) -> MutexGuard<'_, BTreeMap<ServeId, (Instant, u64)>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last(id: BlockId, time: u64) -> LastBlock {
    LastBlock { id, time, latency: time as f64 / 1000.0 - since_epoch().as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;
    use opp2p_core::gossip::Reason;

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
    fn answers_to_our_requests_are_counted_by_the_reference_codes() {
        let meter = Meter::default();
        let peer = opp2p_wire::from_libp2p(&PeerId::random()).expect("an id");
        for error in [
            AnswerError::Refused(2),
            AnswerError::Refused(3),
            AnswerError::Refused(200),
            AnswerError::Request(RequestFailure::Timeout),
            AnswerError::BlockHash,
        ] {
            let answered = Answered {
                source: Source::Peer(peer),
                number: 5,
                took: Duration::from_secs(1),
                result: Err(error),
            };
            meter.told(&HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))));
        }
        let counts: Vec<u64> = meter.asked.times.iter().map(Histogram::count).collect();
        assert_eq!(counts, [0, 2, 1, 1, 0, 1]);
    }

    #[test]
    fn failed_publications_are_counted_by_reason_and_time() {
        let meter = Meter::default();
        meter.publication(None);
        for error in
            [PublishError::NoSigner, PublishError::Refused(Reason::TooOld), PublishError::NoSigner]
        {
            meter.publication(Some(&error));
        }
        let by_why: BTreeMap<_, _> = meter.publish_errors.each(&PublishError::NAMES).collect();
        assert_eq!((by_why["no_signer"], by_why["refused"], meter.publish_errors.sum()), (2, 1, 3));
        assert_eq!(meter.published.get(), 1);
        assert!(meter.last_publish_error.get() > 0);
    }
}
