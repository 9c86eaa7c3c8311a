//! The one machine made of the others: it routes, and decides what needs memory.
//!
//! [`Node::handle`] takes what happened, [`Node::poll`] answers what to do, [`Node::next_wakeup`]
//! when to come back. [`Node::knock`] answers whether a connection may go on, and counts it. Nothing else changes the
//! node, and the same inputs give the same outputs.
//!
//! # Invariant
//! Outputs are to be done in the order in which they come, and all of them before the driver
//! sleeps: `poll` until `None`. Answers may be given back through `handle` while draining.
//!
//! # Bounds
//! * Messages under validation: [`VALIDATION_CONCURRENCY`] for each topic, whose buffers the jobs
//!   own. Anyone can fill them; jobs always end.
//! * Messages that wait for a slot: [`VALIDATION_QUEUE`] and [`WAITING_BYTES`] together. Anyone can
//!   fill them, but not shut others out: whoever has less there takes the place of whoever has most,
//!   and has his turn first. What does not fit is dropped with the verdict `throttled`, which costs
//!   its sender nothing; gossip remembers it as seen, and a missed block is a gap that closes like
//!   any other.
//! * Publications: see [`PublishQueue`]. Chain: see [`ChainView`]. Seen blocks: see [`SeenBlocks`].
//! * Blocks by number: see [`GapFiller`] and [`PayloadServer`]. Peers: see [`PeerManager`].
//! * Outputs: those of one `handle`, if the driver drains them; the most is one block for each that
//!   the chain view holds.

mod clock;
mod insert;
mod io;
mod job;
mod peers;
mod sync;
#[cfg(test)]
mod tests;

pub use insert::{InsertError, vouched};
pub use io::{Event, Input, Output, SignRequest, StoreChange, Verdict};
pub use job::{Job, JobId, JobKind, JobResult};

use crate::chain::{BlockId, ChainConfig, ChainView, ChainViewConfig, ConfigError};
use crate::gossip::{
    BLOCK_DOMAIN, MAX_MESSAGE_SIZE, MessageId, Reason, Rules, SeenBlocks, SignerDoubt, SignerRotation,
    Signers, Suspicion, TIMESTAMP_THRESHOLD, Unpacked, VALIDATION_CONCURRENCY, VALIDATION_QUEUE, Verified,
    check_timestamp,
};
use crate::payload::{Block, Envelope, PayloadVersion};
use crate::peers::{Denied, Knock, PeerId, PeerManager, PeersConfig};
use crate::sequencer::{PublishError, PublishId, PublishQueue, Step};
use crate::sorted::SortedMap;
use crate::sync::{
    AnswerError, FillConfig, GapFiller, PayloadServer, PendingBlock, RequestId, ServerConfig, SyncStatus,
};
use crate::time::{Instant, Now};
use alloy_primitives::Address;
use clock::{ClockMark, ClockWatch};
use job::{Outcome, Work};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the messages that wait for validation, all topics together.
pub const WAITING_BYTES: usize = 64 << 20;
/// How long nothing unsigned may have come for work to go into messages before their signature is known to be good.
const TRUST_AFTER: Duration = Duration::from_secs(60);

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The chain to follow.
    pub chain: ChainConfig,
    /// Who signs unsafe blocks, in place of the chain configuration's.
    pub signer: Option<Address>,
    /// How old a gossiped block may be.
    pub timestamp_threshold: Duration,
    /// Bounds and patience of the chain view.
    pub view: ChainViewConfig,
    /// Peers to be connected to for ever.
    pub static_peers: Vec<PeerId>,
    /// Whether there is somebody to sign blocks of our own.
    pub can_sign: bool,
    /// The head that was handed on before the last stop.
    pub head: Option<BlockId>,
    /// Whether a node without such a head follows the chain from its genesis on: for a chain that is
    /// younger than its nodes. Otherwise the first block that comes is where it begins.
    pub from_genesis: bool,
    /// Blocks up to that head, newest first, as far as the store has them.
    pub recent: Vec<Block>,
    /// Fetching and serving blocks by number (`--p2p.sync.req-resp`); `None`: neither.
    pub sync: Option<SyncConfig>,
    /// What the store has in its pending area.
    pub pending: Vec<PendingBlock>,
    /// How peers are kept in check.
    pub peers: PeersConfig,
    /// Whether the signer can be read anew when blocks of an unknown one come, see [`Output::ReadSigner`].
    pub reads_signer: bool,
    /// What the store remembers of peers, keys and values as [`Output::Remember`] gave them.
    pub memory: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How blocks are fetched and served by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncConfig {
    /// Fetching.
    pub fill: FillConfig,
    /// Serving.
    pub serve: ServerConfig,
}

impl NodeConfig {
    /// A node that starts afresh on `chain` and publishes nothing.
    pub fn new(chain: ChainConfig) -> Self {
        Self {
            chain,
            signer: None,
            timestamp_threshold: TIMESTAMP_THRESHOLD,
            view: ChainViewConfig::default(),
            static_peers: Vec::new(),
            can_sign: false,
            head: None,
            from_genesis: false,
            recent: Vec::new(),
            sync: None,
            pending: Vec::new(),
            peers: PeersConfig::default(),
            reads_signer: false,
            memory: Vec::new(),
        }
    }
}

/// A message that waits for a validation slot.
#[derive(Debug)]
struct Waiting {
    from: PeerId,
    id: MessageId,
    message: Unpacked,
}

/// Whom a job runs for.
#[derive(Debug)]
enum Running {
    Gossip { from: PeerId, topic: PayloadVersion, id: MessageId, clock: ClockMark },
    Seal(PublishId),
    Judge(PublishId, PayloadVersion),
    Check(RequestId),
}

/// Validations of one topic.
#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Waiting>,
}

impl Lane {
    /// Takes out the first message of whoever has the fewest bytes waiting here, the first of several: who sends much
    /// does not keep the others waiting.
    fn next(&mut self) -> Option<Waiting> {
        let bytes = by_sender(&self.waiting, Unpacked::size);
        let (first, _) =
            self.waiting.iter().enumerate().min_by_key(|(_, waiting)| bytes.get(&waiting.from).copied())?;
        self.waiting.remove(first)
    }
}

/// How much everybody has waiting, as `weight` counts it.
fn by_sender<'a>(
    waiting: impl IntoIterator<Item = &'a Waiting>,
    weight: impl Fn(&Unpacked) -> usize,
) -> SortedMap<PeerId, usize> {
    let mut weights = SortedMap::new();
    for Waiting { from, message, .. } in waiting {
        *weights.get_or_insert_with(*from, || 0) += weight(message);
    }
    weights
}

/// The node: see the [module's documentation](self).
#[derive(Debug)]
pub struct Node {
    chain: ChainConfig,
    timestamp_threshold: Duration,
    can_sign: bool,
    clock: ClockWatch,
    signers: SignerRotation,
    doubt: SignerDoubt,
    /// When a message came last that the sequencer did not sign.
    forged: Option<Instant>,
    rules: Arc<Rules>,
    seen: SeenBlocks,
    view: ChainView<Block>,
    queue: PublishQueue,
    peers: PeerManager,
    /// The topics on which a block of now may come, as the peers' scores know them.
    live: [bool; PayloadVersion::ALL.len()],
    filler: Option<GapFiller>,
    server: Option<PayloadServer>,
    /// When the filler has something to do, as of the last call.
    filler_wakeup: Option<Instant>,
    lanes: [Lane; PayloadVersion::ALL.len()],
    waiting_bytes: usize,
    jobs: SortedMap<JobId, Running>,
    next_job: u64,
    outputs: VecDeque<Output>,
}

impl Node {
    /// A node at `now`.
    ///
    /// # Errors
    /// If the chain configuration is wrong or contradicts itself.
    pub fn new(now: Now, config: NodeConfig) -> Result<Self, ConfigError> {
        config.chain.check()?;
        let signers = SignerRotation::new(config.signer.or(config.chain.unsafe_block_signer));
        let rules = Rules {
            chain_id: config.chain.chain_id,
            forks: config.chain.forks,
            signers: signers.at(now.monotonic),
            timestamp_threshold: config.timestamp_threshold,
        };
        let genesis = BlockId::new(config.chain.genesis.number, config.chain.genesis.hash);
        let view = match config.head.or(config.from_genesis.then_some(genesis)) {
            Some(head) => ChainView::resume(config.view, head, config.recent),
            None => ChainView::new(config.view),
        };
        let mut node = Self {
            timestamp_threshold: config.timestamp_threshold,
            can_sign: config.can_sign,
            clock: ClockWatch::new(now),
            signers,
            doubt: SignerDoubt::new(config.reads_signer),
            forged: None,
            rules: Arc::new(rules),
            seen: SeenBlocks::default(),
            view,
            queue: PublishQueue::new(config.timestamp_threshold),
            peers: PeerManager::new(
                now,
                config.peers,
                config.chain.block_time,
                config.static_peers,
                config.memory,
            ),
            live: Default::default(),
            filler: config.sync.map(|sync| GapFiller::new(now.monotonic, sync.fill, config.pending)),
            server: config.sync.map(|sync| PayloadServer::new(sync.serve)),
            filler_wakeup: None,
            lanes: Default::default(),
            waiting_bytes: 0,
            jobs: SortedMap::new(),
            next_job: 0,
            outputs: VecDeque::new(),
            chain: config.chain,
        };
        node.settle(now);
        Ok(node)
    }

    /// Takes something that happened at `now`.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.watch_clock(now);
        match input {
            Input::Gossip { from, topic, id, message } => self.gossip(now, from, topic, id, message),
            Input::JobDone(result) => self.job_done(now, result),
            Input::Publish { id, publication } => self.queue.push(now, id, publication),
            Input::Signed { id, result } => self.queue.signed(now, id, result),
            Input::Sent { id, outcome } => self.queue.sent(now, id, outcome),
            Input::SetSigner(signer) => self.set_signer(now, signer),
            Input::Connected(peer) => self.connected(now, peer),
            Input::Disconnected(peer) => self.disconnected(now, &peer),
            Input::DialFailed(peer) => self.peers.dial_failed(now, &peer),
            Input::NetworkChanged => self.peers.network_changed(now),
            Input::Peer(peer, news) => self.heard_of(now, &peer, news),
            Input::GossipScores(scores) => self.peers.gossip_scores(now, scores),
            Input::Command { id, command } => self.command(now, id, command),
            Input::Stopping => self.peers.stopping(now),
            Input::Requested { from, id, number } => self.requested(now, from, id, number),
            Input::Responded(id) => self.responded(now, id),
            Input::Response { id, result } => self.response(now, id, result),
            Input::Held { id, is_held } => self.held(now, &id, is_held),
            Input::Loaded(blocks) => self.loaded(now, blocks),
            Input::FetchRange { id, to } => self.fetch_range(now, id, to),
            Input::Insert(block) => self.insert(now, &block),
            Input::Wake => {}
        }
        self.settle(now);
    }

    /// Whether a connection may go on: the one question that a driver asks, rather than tells, since a connection can't
    /// wait for an answer. It counts what it lets in; what else follows comes out of the next [`Self::handle`].
    ///
    /// # Errors
    /// Why the connection is to be refused.
    pub fn knock(&mut self, now: Now, knock: &Knock) -> Result<(), Denied> {
        self.watch_clock(now);
        self.peers.knock(now, knock)
    }

    /// The next thing to do; `None` when all is done for now.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Wake`] if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let server = self.server.as_ref().and_then(PayloadServer::next_wakeup);
        let others = [self.queue.next_wakeup(), self.peers.next_wakeup(), server, self.filler_wakeup];
        others.into_iter().flatten().chain(self.view.next_wakeup()).min()
    }

    /// The chain that is followed.
    pub const fn chain(&self) -> &ChainConfig {
        &self.chain
    }

    /// The unsafe chain as far as it is known.
    pub const fn view(&self) -> &ChainView<Block> {
        &self.view
    }

    /// Who signs unsafe blocks, as of the last [`Self::handle`].
    pub fn signers(&self) -> Signers {
        self.rules.signers
    }

    /// The peers: their scores, who is banned, what is remembered.
    pub const fn peers(&self) -> &PeerManager {
        &self.peers
    }

    /// How fetching blocks stands; `None` if it is switched off.
    pub fn sync_status(&self) -> Option<SyncStatus> {
        self.filler.as_ref().map(GapFiller::status)
    }

    /// Blocks of our own that are on their way out.
    pub const fn publishing(&self) -> &PublishQueue {
        &self.queue
    }

    /// Messages that wait for validation.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// Takes a reading of the clocks. Bans end by the one that may have jumped.
    fn watch_clock(&mut self, now: Now) {
        if let Some(seconds) = self.clock.observe(now) {
            self.peers.clock_jumped(seconds);
        }
    }

    /// What every call ends with: timers that are due, and everything that follows from them.
    fn settle(&mut self, now: Now) {
        self.refresh_rules(now);
        self.settle_sync(now);
        self.settle_peers(now);
        while let Some(step) = self.queue.poll(now) {
            self.publish_step(now, step);
        }
    }

    fn gossip(&mut self, now: Now, from: PeerId, topic: PayloadVersion, id: MessageId, message: Unpacked) {
        self.peers.heard(now, &from);
        let lane = &mut self.lanes[topic.index()];
        if lane.running < VALIDATION_CONCURRENCY {
            lane.running += 1;
            let clock = self.clock.mark();
            self.validate(now, topic, message, Running::Gossip { from, topic, id, clock });
            return;
        }
        let size = message.size();
        loop {
            let is_crowded = self.waiting() >= VALIDATION_QUEUE;
            if !is_crowded && self.waiting_bytes + size <= WAITING_BYTES {
                break;
            }
            let Some(other) = self.displaced_by(&from, size, is_crowded) else {
                self.verdict(now, from, topic, id, Err(Reason::Throttled));
                return;
            };
            let (topic, Waiting { from, id, message }) = other;
            self.waiting_bytes -= message.size();
            self.verdict(now, from, topic, id, Err(Reason::Throttled));
        }
        self.waiting_bytes += size;
        self.lanes[topic.index()].waiting.push_back(Waiting { from, id, message });
    }

    /// Takes out the last message of whoever has most waiting, by number or by bytes, if `from` with this one more has
    /// less.
    fn displaced_by(
        &mut self,
        from: &PeerId,
        size: usize,
        by_number: bool,
    ) -> Option<(PayloadVersion, Waiting)> {
        let weight = |size: usize| if by_number { 1 } else { size };
        let all = self.lanes.iter().flat_map(|lane| &lane.waiting);
        let weights = by_sender(all, |message| weight(message.size()));
        let own = weights.get(from).copied().unwrap_or(0) + weight(size);
        let (most, peer) = weights.iter().map(|(peer, weight)| (*weight, *peer)).max()?;
        if most <= own {
            return None;
        }
        PayloadVersion::ALL.into_iter().find_map(|topic| {
            let waiting = &mut self.lanes[topic.index()].waiting;
            let last = waiting.iter().rposition(|waiting| waiting.from == peer)?;
            Some((topic, waiting.remove(last)?))
        })
    }

    fn validate(&mut self, now: Now, version: PayloadVersion, message: Unpacked, running: Running) {
        self.refresh_rules(now);
        let is_trusting = self.forged.is_none_or(|forged| now.monotonic.since(forged) >= TRUST_AFTER);
        let rules = Arc::clone(&self.rules);
        let work = Work::Validate { rules, version, message, now: now.unix_seconds(), is_trusting };
        self.start(work, running);
    }

    fn start(&mut self, work: Work, running: Running) {
        let id = JobId(self.next_job);
        self.next_job += 1;
        self.jobs.insert(id, running);
        self.outputs.push_back(Output::Job(Job { id, work }));
    }

    fn job_done(&mut self, now: Now, result: JobResult) {
        let Some(running) = self.jobs.remove(&result.id) else { return };
        match running {
            Running::Gossip { from, topic, id, clock } => {
                let verified = match result.outcome {
                    Outcome::Validated(verified) => verified,
                    _ => Err(Reason::Panicked),
                };
                let admitted = verified.and_then(|verified| self.admit(topic, verified));
                let judged = admitted.as_ref().map(BlockId::of).map_err(|reason| *reason);
                let judged = judged.map_err(|reason| match reason {
                    // Judged by a clock that had jumped, or that has meanwhile.
                    Reason::TooOld | Reason::TooNew if self.clock.is_in_doubt_since(clock) => {
                        Reason::ClockInDoubt
                    }
                    reason => self.blamed(now, from, topic, reason),
                });
                if judged.is_ok() {
                    self.clock.confirm(clock);
                }
                self.verdict(now, from, topic, id, judged);
                if let Ok(block) = admitted {
                    self.heard(&from, block.number());
                    self.extend(now, &block);
                }
                self.free_slot(now, topic);
            }
            Running::Seal(id) => {
                let sealed = match result.outcome {
                    Outcome::Sealed(sealed) => sealed,
                    _ => Err(PublishError::Refused(Reason::Panicked)),
                };
                self.queue.sealed(id, sealed.and_then(check_size));
            }
            Running::Check(id) => {
                let checked = match result.outcome {
                    Outcome::Checked(checked) => checked,
                    _ => Err(AnswerError::Panicked),
                };
                self.checked(now, id, checked);
            }
            Running::Judge(id, topic) => {
                let verified = match result.outcome {
                    Outcome::Validated(verified) => verified,
                    _ => Err(Reason::Panicked),
                };
                let judged =
                    verified.as_ref().map(|Verified { block, .. }| (block.hash(), block.timestamp()));
                let judged = judged.map_err(|reason| *reason);
                let admitted = verified.and_then(|verified| self.admit(topic, verified));
                let judged = match &admitted {
                    // Known from an attempt before or from gossip, which is no error of the caller's:
                    // the network says whether it is out already.
                    Ok(_) | Err(Reason::AlreadySeen) => judged,
                    Err(reason) => Err(*reason),
                };
                self.queue.judged(id, judged);
                if let Ok(block) = admitted {
                    self.extend(now, &block);
                }
            }
        }
    }

    /// The part of validation that needs memory, one result at a time.
    fn admit(&mut self, topic: PayloadVersion, verified: Verified) -> Result<Block, Reason> {
        self.seen.admit(topic, verified.block.number(), verified.block.hash())?;
        self.signers.verified(verified.signer);
        Ok(verified.block)
    }

    fn free_slot(&mut self, now: Now, topic: PayloadVersion) {
        let lane = &mut self.lanes[topic.index()];
        match lane.next() {
            Some(Waiting { from, id, message }) => {
                self.waiting_bytes -= message.size();
                let clock = self.clock.mark();
                self.validate(now, topic, message, Running::Gossip { from, topic, id, clock });
            }
            None => lane.running -= 1,
        }
    }

    fn verdict(
        &mut self,
        now: Now,
        from: PeerId,
        topic: PayloadVersion,
        id: MessageId,
        result: Result<BlockId, Reason>,
    ) {
        let verdict = Verdict { from, topic, id, result };
        self.outputs.push_back(Output::Verdict(verdict));
        self.count_verdict(now, &verdict);
    }

    fn publish_step(&mut self, now: Now, step: Step) {
        match step {
            Step::Seal(id, envelope) => match self.check_envelope(now, &envelope) {
                Ok(()) => {
                    self.start(Work::Seal { chain_id: self.chain.chain_id, envelope }, Running::Seal(id));
                }
                Err(error) => self.queue.sealed(id, Err(error)),
            },
            Step::Sign(id, sealed) => self.outputs.push_back(Output::Sign(SignRequest {
                id,
                domain: BLOCK_DOMAIN,
                chain_id: self.chain.chain_id,
                payload_hash: sealed.payload_hash,
                signing_hash: sealed.signing_hash,
            })),
            Step::Judge(id, version, contents) => {
                let message = Unpacked::from_contents(&contents);
                self.validate(now, version, message, Running::Judge(id, version));
            }
            Step::Send(id, topic, contents) => {
                self.outputs.push_back(Output::Send { id, topic, contents });
            }
            Step::Finished(id, result) => {
                self.outputs.push_back(Output::Event(Event::Published { id, result }));
            }
        }
    }

    /// What can be told of an own block before any work goes into it.
    fn check_envelope(&self, now: Now, envelope: &Envelope) -> Result<(), PublishError> {
        if !self.can_sign {
            return Err(PublishError::NoSigner);
        }
        let found = envelope.payload.version()?;
        let expected = PayloadVersion::at(&self.chain.forks, envelope.payload.timestamp);
        if found != expected {
            return Err(PublishError::WrongVersion { found, expected });
        }
        // The validator would say so too, but only after a signer that may take its time.
        check_timestamp(envelope.payload.timestamp, now.unix_seconds(), self.timestamp_threshold)
            .map_err(PublishError::Refused)
    }

    /// The signer was read, or somebody says who it is. If it is the one that it was, those who brought blocks of another
    /// are to blame.
    fn set_signer(&mut self, now: Now, signer: Option<Address>) {
        let before = self.signers.at(now.monotonic).current;
        self.signers.rotate(now.monotonic, signer);
        let is_changed = self.signers.at(now.monotonic).current != before;
        for (peer, topic) in self.doubt.end() {
            if !is_changed {
                self.peers.rejected(now, &peer, topic);
            }
        }
    }

    /// The reason that a peer is told: whether blocks of an unknown signer are its fault may not be known yet.
    fn blamed(&mut self, now: Now, from: PeerId, topic: PayloadVersion, reason: Reason) -> Reason {
        if matches!(reason, Reason::Signature | Reason::WrongSigner) {
            self.forged = Some(now.monotonic);
        }
        if reason != Reason::WrongSigner {
            return reason;
        }
        match self.doubt.suspect(now.monotonic, from, topic) {
            Suspicion::No => return reason,
            Suspicion::Begins => self.outputs.push_back(Output::ReadSigner),
            Suspicion::Goes => {}
        }
        Reason::SignerInDoubt
    }

    /// Makes the rules say who counts as a signer now.
    fn refresh_rules(&mut self, now: Now) {
        let signers = self.signers.at(now.monotonic);
        if signers == self.rules.signers {
            return;
        }
        let current_changed = signers.current != self.rules.signers.current;
        self.rules = Arc::new(Rules {
            chain_id: self.chain.chain_id,
            forks: self.chain.forks,
            signers,
            timestamp_threshold: self.timestamp_threshold,
        });
        if current_changed {
            let Signers { current, previous } = signers;
            self.outputs.push_back(Output::Event(Event::SignerChanged { current, previous }));
        }
    }
}

/// A message that no peer would take is not worth signing.
fn check_size(sealed: crate::sequencer::Sealed) -> Result<crate::sequencer::Sealed, PublishError> {
    let size = sealed.contents.len();
    if size > MAX_MESSAGE_SIZE { Err(PublishError::TooLarge(size)) } else { Ok(sealed) }
}
