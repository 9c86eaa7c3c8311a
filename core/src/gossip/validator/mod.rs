//! The validator: see [`Validator`].

mod clock;
mod job;
mod judge;
mod lanes;
mod schedule;
mod suspects;
#[cfg(test)]
mod tests;
mod types;

pub use job::{ValidationId, ValidationJob, ValidationResult};
pub use lanes::WAITING_BYTES;
pub use schedule::{
    SCHEDULE_DOUBT_BLOCKS, SCHEDULE_DOUBT_TTL, SCHEDULE_REPORT_EVERY, ScheduleDoubt,
};
pub use types::{BlockSource, OwnId, RefusedBlock, ValidatorConfig, ValidatorStep, Verdict};

use super::{
    MessageId, Reason, Rules, ScheduleBreach, SeenBlocks, SignerRotation, Signers, TIMESTAMP_AHEAD,
    Unpacked,
};
use crate::chain::ChainConfig;
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::{Instant, Now};
use alloy_primitives::Address;
use clock::{ClockMark, ClockWatch};
use lanes::{Lanes, Room, Waiting};
use schedule::ScheduleWatch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use suspects::SignerDoubt;

/// Time that must pass without a forged message before work goes into messages whose signature is
/// not yet known to be good.
const TRUST_AFTER: Duration = Duration::from_secs(60);
/// Time without a block, in block intervals, after which the wall clock may be the cause.
const QUIET_INTERVALS: u32 = 3;

/// Purpose of a running validation.
#[derive(Clone, Copy, Debug)]
enum Running {
    Gossip(Received),
    Own { id: OwnId, topic: PayloadVersion },
}

/// A gossip message under validation.
#[derive(Clone, Copy, Debug)]
struct Received {
    from: PeerId,
    topic: PayloadVersion,
    id: MessageId,
    arrived: Instant,
    clock: ClockMark,
}

/// Decides which gossip messages are relayed, which blocks count, and which peers are to blame.
///
/// The checks of one message are a pure function, see [`validate`](super::validate()). Their result
/// alone is not safe to act on. The validator adds what needs memory or a clock:
///
/// * **Work is bounded and shared fairly.** A few messages of each topic are checked at once, the
///   others wait. A sender of many or large messages delays and displaces itself, not others.
/// * **Six blocks for each height**, each accepted once on a topic: see [`SeenBlocks`].
/// * **The signer changes.** A replaced signer is accepted for a while, see [`SignerRotation`], and
///   a peer that sends blocks of another key is not blamed before it is certain that the signer has
///   not changed, see [`ValidatorStep::Blame`].
/// * **The wall clock may be wrong.** While it is in doubt, an untimely block is ignored and its
///   sender not blamed.
/// * **The fork schedule may be stale.** A block that only the schedule refuses is not relayed, but
///   it counts, because the sequencer decides which fork a block belongs to.
///
/// # Use
///
/// Call [`receive`](Validator::receive) with the first copy of each message; gossip drops the
/// others, by their bytes ([`Copies`](super::Copies)) or their ids. After every call, take all
/// steps from [`poll`](Validator::poll) and carry them out in order. Run the jobs on any thread,
/// and return their results to [`job_done`](Validator::job_done). Call
/// [`handle_timeout`](Validator::handle_timeout) at [`next_wakeup`](Validator::next_wakeup).
///
/// # Example
///
/// A signed message of the test fixtures passes:
///
/// ```
/// # #[cfg(feature = "fixtures")] {
/// use opp2p_core::chain::{ChainConfig, Fork};
/// use opp2p_core::gossip::{Unpacked, Validator, ValidatorConfig, ValidatorStep, block_topic};
/// use opp2p_core::peers::PeerId;
/// use opp2p_core::time::Now;
/// use std::time::Duration;
///
/// let message = opp2p_core::fixtures::messages().remove(2);
/// let chain = ChainConfig::development(
///     message.chain_id, Default::default(), 0, 2, Fork::Ecotone, message.signer,
/// );
/// let now = Now::new(Duration::ZERO, Duration::from_secs(message.timestamp));
/// let mut validator = Validator::new(now, &chain, ValidatorConfig::default());
///
/// let sender = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
/// let unpacked = Unpacked::new(&message.data);
/// let id = unpacked.message_id(&block_topic(message.chain_id, message.version));
/// validator.receive(now, sender, message.version, id, unpacked);
///
/// let mut accepted = None;
/// while let Some(step) = validator.poll() {
///     match step {
///         // Any thread will do.
///         ValidatorStep::Job(job) => validator.job_done(now, job.run()),
///         // Relay the message, drop it, or count it against the sender.
///         ValidatorStep::Verdict { verdict, .. } => accepted = verdict.result.ok(),
///         // The sequencer signed this block.
///         ValidatorStep::Block { block, .. } => assert_eq!(block.hash(), message.block_hash),
///         // Events and requests.
///         _ => {}
///     }
/// }
/// assert_eq!(accepted.map(|block| block.hash), Some(message.block_hash));
/// # }
/// ```
///
/// # Bounds
/// * Messages under validation: [`VALIDATION_CONCURRENCY`](super::VALIDATION_CONCURRENCY) for each
///   topic, whose buffers the jobs own. Anyone can fill these slots; jobs always end.
/// * Messages that wait for a slot: [`VALIDATION_QUEUE`](super::VALIDATION_QUEUE) and
///   [`WAITING_BYTES`] together. Anyone can fill them, but not shut others out. A message that does
///   not fit is dropped with the verdict [`Reason::Throttled`], which costs its sender nothing.
///   Gossip remembers it as seen, and a missed block is a gap that closes like any other.
/// * Blocks of our own under validation: as many as the caller submits.
/// * Peers that sent blocks of another key: 256, each for at most 15 minutes.
/// * Seen blocks: see [`SeenBlocks`].
/// * Steps: those of one call, if the caller takes them.
#[derive(Debug)]
pub struct Validator {
    rules: Arc<Rules>,
    signers: SignerRotation,
    suspects: SignerDoubt,
    /// Time of the last message that the sequencer did not sign.
    forged: Option<Instant>,
    clock: ClockWatch,
    schedule: ScheduleWatch,
    seen: SeenBlocks,
    /// Highest timestamp of a signed block with the hash that we compute: until then no fork has
    /// changed the header behind our back.
    true_until: Option<u64>,
    /// Arrival of the newest block that the sequencer signed, or the start.
    last_block: Instant,
    lanes: Lanes,
    running: SortedMap<ValidationId, Running>,
    next_id: u64,
    steps: VecDeque<ValidatorStep>,
}

impl Validator {
    /// Creates a validator of `chain` at `now`.
    ///
    /// The configuration should have passed [`ChainConfig::check`]: by a wrong one, honest messages
    /// are refused.
    pub fn new(now: Now, chain: &ChainConfig, config: ValidatorConfig) -> Self {
        let ValidatorConfig { signer, timestamp_threshold, reads_signer } = config;
        let signers = SignerRotation::new(signer.or(chain.unsafe_block_signer));
        let rules = Rules { timestamp_threshold, ..Rules::new(chain, signers.at(now.monotonic)) };
        Self {
            signers,
            suspects: SignerDoubt::new(reads_signer),
            forged: None,
            clock: ClockWatch::new(now),
            schedule: ScheduleWatch::default(),
            seen: SeenBlocks::covering(rules.schedule.shortest_interval(), timestamp_threshold),
            true_until: None,
            last_block: now.monotonic,
            lanes: Lanes::default(),
            running: SortedMap::new(),
            next_id: 0,
            steps: VecDeque::new(),
            rules: Arc::new(rules),
        }
    }

    /// Takes the first copy of a message that `from` sent on the topic of this version. `id` names
    /// the message in its [`Verdict`]; it is usually [`Unpacked::message_id`].
    pub fn receive(
        &mut self,
        now: Now,
        from: PeerId,
        topic: PayloadVersion,
        id: MessageId,
        message: Unpacked,
    ) {
        self.watch_clock(now);
        let waiting = Waiting { from, id, message, arrived: now.monotonic };
        if self.lanes.occupy(topic) {
            self.begin(now, topic, waiting);
        } else {
            self.wait(topic, waiting);
        }
        self.settle(now);
    }

    /// Checks a block of our own by the rules that every other node applies, at once.
    pub fn check_own(&mut self, now: Now, id: OwnId, topic: PayloadVersion, message: Unpacked) {
        self.watch_clock(now);
        self.start(now, topic, message, Running::Own { id, topic });
        self.settle(now);
    }

    /// Takes the result of a job. A second result of the same job has no effect.
    pub fn job_done(&mut self, now: Now, result: ValidationResult) {
        self.watch_clock(now);
        match self.running.remove(&result.id) {
            Some(Running::Gossip(received)) => {
                self.judged(now, received, result.judged);
                if let Some(next) = self.lanes.hand_over(received.topic) {
                    self.begin(now, received.topic, next);
                }
            }
            Some(Running::Own { id, topic }) => self.own_judged(now, id, topic, result.judged),
            None => {}
        }
        self.settle(now);
    }

    /// Takes a block that is known to be the sequencer's although it did not come as a message.
    /// Gossip may still bring it.
    pub fn vouched(&mut self, now: Now, block: &Block) {
        self.watch_clock(now);
        let breach = ScheduleBreach::of(&self.rules, block);
        self.take(now, block.clone(), breach, BlockSource::Vouched);
        self.settle(now);
    }

    /// Sets the signer after it was configured, or read at an L1 block with the timestamp `as_of`
    /// (Unix seconds, 0 if that is unknown); `None` and the zero address mean that it is unknown.
    /// If it has not changed, peers that sent blocks of another key long enough before `as_of` are
    /// to blame, provided that the signer has signed a block in this run.
    pub fn set_signer(&mut self, now: Now, signer: Option<Address>, as_of: u64) {
        self.watch_clock(now);
        let before = self.signers.at(now.monotonic).current;
        self.signers.rotate(now.monotonic, signer);
        let is_changed = self.signers.at(now.monotonic).current != before;
        // A read proves nothing before the signer's first block: L1 names a new signer minutes
        // before the sequencer switches.
        let as_of = if self.signers.has_signed() { as_of } else { 0 };
        for (peer, topic) in self.suspects.read(as_of, is_changed) {
            self.steps.push_back(ValidatorStep::Blame { peer, topic });
        }
        self.settle(now);
    }

    /// Records that only time has passed. Must be called at [`Self::next_wakeup`], and may be
    /// called at any time.
    pub fn handle_timeout(&mut self, now: Now) {
        self.watch_clock(now);
        self.settle(now);
    }

    /// Returns the next step, or `None` when all is done for now.
    #[must_use = "each step must be carried out"]
    pub fn poll(&mut self) -> Option<ValidatorStep> {
        self.steps.pop_front()
    }

    /// Returns the time at which to call [`Self::handle_timeout`] if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.suspects.next_wakeup().into_iter().chain(self.schedule.next_wakeup()).min()
    }

    /// Returns the rules by which messages are judged, as of the last call.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns the accepted signers, as of the last call.
    pub fn signers(&self) -> Signers {
        self.rules.signers
    }

    /// Returns the number of messages that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// Returns `true` if the wall clock may be wrong: no block has confirmed it since the start or
    /// since it jumped.
    pub fn is_clock_in_doubt(&self) -> bool {
        self.clock.is_in_doubt()
    }

    /// Returns the doubt in our fork schedule, or `None` while the sequencer's blocks keep to it.
    pub fn schedule_doubt(&self) -> Option<ScheduleDoubt> {
        self.schedule.doubt()
    }

    /// Returns the version of the topic on which the sequencer's blocks come at `now`: by our
    /// schedule, or by the blocks themselves while they break it.
    pub fn topic_in_use(&self, now: Now) -> PayloadVersion {
        let mut newest_first = PayloadVersion::ALL.into_iter().rev();
        newest_first
            .find(|&topic| self.schedule.is_live(topic))
            .unwrap_or_else(|| PayloadVersion::at(&self.rules.forks, now.unix_seconds()))
    }

    /// Returns the live topics, by version: those on which a block with an acceptable timestamp may
    /// arrive at `now`, and those on which blocks arrive although our schedule says otherwise.
    pub fn live_topics(&self, now: Now) -> [bool; PayloadVersion::ALL.len()] {
        let at = |moment: u64| PayloadVersion::at(&self.rules.forks, moment).index();
        let oldest = now.unix.saturating_sub(self.rules.timestamp_threshold);
        let newest = now.unix.saturating_add(TIMESTAMP_AHEAD);
        let (first, last) = (at(oldest.as_secs()), at(newest.as_secs()));
        PayloadVersion::ALL
            .map(|topic| (first..=last).contains(&topic.index()) || self.schedule.is_live(topic))
    }

    /// Takes a reading of the clocks. The caller may do so more often than it has messages: the
    /// sooner a jump of the wall clock is noticed, the fewer blocks are judged by a wrong time.
    pub fn watch_clock(&mut self, now: Now) {
        if let Some(seconds) = self.clock.observe(now) {
            self.steps.push_back(ValidatorStep::ClockJumped { seconds });
        }
    }

    /// Ends every call: handles what is due.
    fn settle(&mut self, now: Now) {
        self.refresh_rules(now);
        if self.suspects.must_read(now) {
            self.steps.push_back(ValidatorStep::ReadSigner);
        }
        if let Some(doubt) = self.schedule.end(now) {
            self.steps.push_back(ValidatorStep::ScheduleDoubtEnded(doubt));
        }
    }

    /// Queues a message for which no slot is free, or drops it.
    fn wait(&mut self, topic: PayloadVersion, waiting: Waiting) {
        loop {
            match self.lanes.room_for(&waiting.from, waiting.message.size()) {
                Room::Free => return self.lanes.queue(topic, waiting),
                Room::Displaced(topic, other) => self.throttle(topic, &other),
                Room::Full => return self.throttle(topic, &waiting),
            }
        }
    }

    fn throttle(&mut self, topic: PayloadVersion, waiting: &Waiting) {
        let Waiting { from, id, arrived, .. } = *waiting;
        let result = Err(Reason::Throttled);
        let verdict = Verdict { from, topic, id, result, signer: None, arrived };
        self.steps.push_back(ValidatorStep::Verdict { verdict, refused: None });
    }

    /// Begins to validate a message that has a slot.
    fn begin(&mut self, now: Now, topic: PayloadVersion, waiting: Waiting) {
        let Waiting { from, id, message, arrived } = waiting;
        let received = Received { from, topic, id, arrived, clock: self.clock.mark() };
        self.start(now, topic, message, Running::Gossip(received));
    }

    fn start(&mut self, now: Now, topic: PayloadVersion, message: Unpacked, running: Running) {
        self.refresh_rules(now);
        let id = ValidationId(self.next_id);
        self.next_id += 1;
        self.running.insert(id, running);
        let has_forgeries =
            self.forged.is_some_and(|forged| now.monotonic.since(forged) < TRUST_AFTER);
        self.steps.push_back(ValidatorStep::Job(ValidationJob {
            id,
            rules: Arc::clone(&self.rules),
            topic,
            message,
            now: now.unix_seconds(),
            is_trusting: !has_forgeries,
            names_untimely: self.doubts_clock(now),
        }));
    }

    /// Returns `true` if the signers of untimely blocks are wanted: they show whether our clock is
    /// wrong.
    fn doubts_clock(&self, now: Now) -> bool {
        let silence = now.monotonic.since(self.last_block);
        let interval = self.rules.schedule.interval_at(now.unix);
        self.clock.is_in_doubt() || silence >= interval * QUIET_INTERVALS
    }

    /// Updates the rules to the signers that are accepted now.
    fn refresh_rules(&mut self, now: Now) {
        let signers = self.signers.at(now.monotonic);
        if signers == self.rules.signers {
            return;
        }
        let current_changed = signers.current != self.rules.signers.current;
        self.rules = Arc::new(Rules { signers, ..(*self.rules).clone() });
        if current_changed {
            self.steps.push_back(ValidatorStep::SignerChanged(signers));
        }
    }
}

#[cfg(test)]
impl Validator {
    /// Returns the number of bytes that wait for a slot.
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.lanes.waiting_bytes()
    }

    /// Returns the number of jobs whose results are expected.
    pub(crate) const fn running(&self) -> usize {
        self.running.len()
    }

    /// Checks what holds after every call.
    pub(crate) fn check(&self) {
        let mut running = [0; PayloadVersion::ALL.len()];
        for purpose in self.running.values() {
            if let Running::Gossip(Received { topic, .. }) = purpose {
                running[topic.index()] += 1;
            }
        }
        self.lanes.check(running);
    }
}
