//! Tests of the validator alone: no node, no chain, no peers.

use super::*;
use crate::chain::{BlockId, Fork};
use crate::gossip::tests::support::*;
use crate::gossip::{Acceptance, ScheduleRule};
use crate::payload::Envelope;
use PayloadVersion::{V3, V4};
use alloy_primitives::B256;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// A validator of a chain of v4 blocks, and what it said.
struct Alone {
    validator: Validator,
    now: Now,
    jobs: Vec<ValidationJob>,
    /// The verdicts, with the numbers of the messages.
    verdicts: Vec<(u64, Result<BlockId, Reason>)>,
    /// All other steps.
    steps: Vec<ValidatorStep>,
    messages: u64,
}

impl Alone {
    fn new() -> Self {
        Self::with(ValidatorConfig::default())
    }

    fn with(config: ValidatorConfig) -> Self {
        let signer = sequencer().address();
        let mut chain = ChainConfig::development(CHAIN_ID, B256::ZERO, 0, 2, Fork::Canyon, signer);
        chain.forks = forks(V4);
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        Self {
            validator: Validator::new(now, &chain, config),
            now,
            jobs: Vec::new(),
            verdicts: Vec::new(),
            steps: Vec::new(),
            messages: 0,
        }
    }

    /// Delivers a message of this peer; returns its number.
    fn receive(&mut self, from: u8, contents: &[u8]) -> u64 {
        self.receive_on(from, V4, Unpacked::from_contents(contents))
    }

    fn receive_on(&mut self, from: u8, topic: PayloadVersion, message: Unpacked) -> u64 {
        self.messages += 1;
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.messages.to_be_bytes());
        self.validator.receive(self.now, peer(from), topic, id, message);
        self.drain();
        self.messages
    }

    fn done(&mut self, result: ValidationResult) {
        self.validator.job_done(self.now, result);
        self.drain();
    }

    /// Runs all jobs, and those that follow.
    fn run(&mut self) {
        while !self.jobs.is_empty() {
            let job = self.jobs.remove(0);
            self.done(job.run());
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = Now { monotonic: self.now.monotonic + by, unix: self.now.unix + by };
        self.validator.handle_timeout(self.now);
        self.drain();
    }

    /// Returns the verdict on a message that is delivered now.
    fn verdict(&mut self, from: u8, contents: &[u8]) -> Result<BlockId, Reason> {
        let message = self.receive(from, contents);
        self.run();
        let found = self.verdicts.iter().find(|(number, _)| *number == message);
        found.expect("a verdict").1
    }

    fn drain(&mut self) {
        while let Some(step) = self.validator.poll() {
            match step {
                ValidatorStep::Job(job) => self.jobs.push(job),
                ValidatorStep::Verdict { verdict, .. } => {
                    let message = u64::from_be_bytes(*verdict.id.first_chunk().expect("20 bytes"));
                    self.verdicts.push((message, verdict.result));
                }
                other => self.steps.push(other),
            }
        }
        self.validator.check();
    }

    /// Returns the blocks that counted, and their sources.
    fn blocks(&self) -> Vec<(BlockId, BlockSource)> {
        let block = |step: &ValidatorStep| match step {
            ValidatorStep::Block { block, source } => Some((BlockId::of(block), *source)),
            _ => None,
        };
        self.steps.iter().filter_map(block).collect()
    }

    /// Returns the peers that were blamed for earlier messages.
    fn blamed(&self) -> Vec<PeerId> {
        let peer = |step: &ValidatorStep| match step {
            ValidatorStep::Blame { peer, topic: V4 } => Some(*peer),
            _ => None,
        };
        self.steps.iter().filter_map(peer).collect()
    }
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn id(envelope: &Envelope) -> BlockId {
    BlockId::new(envelope.payload.block_number, envelope.payload.block_hash)
}

/// Returns a block with this number and timestamp.
fn numbered(number: u64, timestamp: u64) -> Envelope {
    changed(V4, |payload| (payload.block_number, payload.timestamp) = (number, timestamp))
}

#[test]
fn a_signed_block_is_accepted_once_and_counts_once() {
    let mut alone = Alone::new();
    let envelope = block(V4);
    let contents = signed(&envelope);
    assert_eq!(alone.verdict(1, &contents), Ok(id(&envelope)));
    assert_eq!(alone.verdict(2, &high_s_twin(&contents)), Err(Reason::AlreadySeen));
    assert_eq!(alone.blocks(), [(id(&envelope), BlockSource::Peer(peer(1)))]);
}

#[test]
fn a_block_that_only_our_schedule_refuses_is_not_relayed_and_counts() {
    let mut alone = Alone::new();
    let envelope = changed(V4, |payload| payload.blob_gas_used = Some(1));
    assert_eq!(alone.verdict(1, &signed(&envelope)), Err(Reason::ForkBlobGas));
    assert_eq!(alone.blocks(), [(id(&envelope), BlockSource::Peer(peer(1)))]);
    let doubt = alone.validator.schedule_doubt().expect("a doubt");
    assert_eq!((doubt.rule, doubt.blocks), (ScheduleRule::BlobGas, 1));
    alone.pass(SCHEDULE_DOUBT_TTL);
    assert_eq!(alone.validator.schedule_doubt(), None);
    let ended = alone.steps.iter().filter_map(|step| match step {
        ValidatorStep::ScheduleDoubtEnded(ended) => Some(*ended),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [doubt]);
}

#[test]
fn a_block_of_our_own_passes_again_after_it_was_seen_and_counts_once() {
    let mut alone = Alone::new();
    let envelope = block(V4);
    let message = Unpacked::from_contents(&signed(&envelope));
    let known = (envelope.payload.block_hash, NOW);
    for nth in 0..2 {
        alone.validator.check_own(alone.now, OwnId(nth), V4, message.clone());
        alone.drain();
        alone.run();
        let own = alone.steps.iter().filter_map(|step| match step {
            ValidatorStep::Own { id, result } => Some((*id, *result)),
            _ => None,
        });
        assert_eq!(own.last(), Some((OwnId(nth), Ok(known))));
    }
    assert_eq!(alone.blocks(), [(id(&envelope), BlockSource::Own)]);
    let forged = Unpacked::from_contents(&signed_by(&key(9), &body(&envelope)));
    alone.validator.check_own(alone.now, OwnId(2), V4, forged);
    alone.drain();
    alone.run();
    let last = alone.steps.last();
    assert!(
        matches!(last, Some(ValidatorStep::Own { id: OwnId(2), result: Err(Reason::WrongSigner) })),
        "{last:?}"
    );
}

#[test]
fn a_vouched_block_counts_and_gossip_may_still_bring_it() {
    let mut alone = Alone::new();
    let envelope = block(V4);
    let block = decoded(&envelope);
    alone.validator.vouched(alone.now, &block);
    alone.drain();
    assert_eq!(alone.blocks(), [(id(&envelope), BlockSource::Vouched)]);
    assert_eq!(alone.verdict(1, &signed(&envelope)), Ok(id(&envelope)));
}

#[test]
fn an_untimely_block_is_no_fault_while_the_clock_is_in_doubt() {
    let mut alone = Alone::new();
    let late = |number| signed(&numbered(number, NOW - 120));
    assert!(alone.validator.is_clock_in_doubt(), "no block has confirmed it");
    assert_eq!(alone.verdict(1, &late(1)), Err(Reason::ClockInDoubt));
    assert!(alone.verdict(1, &signed(&numbered(2, NOW))).is_ok());
    assert!(!alone.validator.is_clock_in_doubt());
    assert_eq!(alone.verdict(1, &late(3)), Err(Reason::TooOld));
    alone.now.unix += Duration::from_secs(3600);
    assert_eq!(alone.verdict(1, &signed(&numbered(4, NOW))), Err(Reason::ClockInDoubt));
    let jumps = alone.steps.iter().filter_map(|step| match step {
        ValidatorStep::ClockJumped { seconds } => Some(*seconds),
        _ => None,
    });
    assert_eq!(jumps.collect::<Vec<_>>(), [3600]);
}

#[test]
fn a_sender_of_a_strangers_block_is_blamed_when_the_signer_turns_out_to_be_the_same() {
    let stranger = || signed_by(&key(9), &body(&numbered(2, NOW)));
    let good = |number: u64| signed(&numbered(number, NOW - 2 + number));
    // By a later block of the signer.
    let mut alone = Alone::new();
    assert!(alone.verdict(2, &good(1)).is_ok());
    assert_eq!(alone.verdict(1, &stranger()), Err(Reason::SignerInDoubt));
    assert!(alone.verdict(2, &good(3)).is_ok());
    assert_eq!(alone.blamed(), [peer(1)]);
    // The signer's first block proves nothing: it may have been configured before the switch.
    let mut alone = Alone::new();
    assert_eq!(alone.verdict(1, &stranger()), Err(Reason::SignerInDoubt));
    assert!(alone.verdict(2, &good(3)).is_ok());
    assert!(alone.verdict(2, &good(4)).is_ok());
    assert_eq!(alone.blamed(), []);
    // By a reading of L1, which the validator asks for.
    let mut alone =
        Alone::with(ValidatorConfig { reads_signer: true, ..ValidatorConfig::default() });
    assert!(alone.verdict(2, &good(1)).is_ok());
    assert_eq!(alone.verdict(1, &stranger()), Err(Reason::SignerInDoubt));
    let asks = |step: &ValidatorStep| matches!(step, ValidatorStep::ReadSigner);
    assert!(alone.steps.iter().any(asks), "{:?}", alone.steps);
    alone.validator.set_signer(alone.now, Some(sequencer().address()), NOW + 60);
    alone.drain();
    assert_eq!(alone.blamed(), [peer(1)]);
}

#[test]
fn a_new_signer_is_told_and_pardons_those_who_brought_its_blocks() {
    let mut alone = Alone::new();
    let new = key(9);
    let early = signed_by(&new, &body(&numbered(1, NOW)));
    assert_eq!(alone.verdict(1, &early), Err(Reason::SignerInDoubt));
    alone.validator.set_signer(alone.now, Some(new.address()), NOW);
    alone.drain();
    let signers = Signers { current: Some(new.address()), previous: Some(sequencer().address()) };
    assert!(
        matches!(alone.steps[..], [ValidatorStep::SignerChanged(told)] if told == signers),
        "{:?}",
        alone.steps
    );
    let next = numbered(2, NOW + 2);
    assert_eq!(alone.verdict(1, &signed_by(&new, &body(&next))), Ok(id(&next)));
    assert_eq!(alone.validator.signers(), Signers { previous: None, ..signers });
    assert_eq!(alone.blamed(), []);
}

#[test]
fn hashing_ahead_of_the_signature_is_off_for_a_minute_after_a_forged_message() {
    let mut alone = Alone::new();
    let is_trusting = |wait: u64, alone: &mut Alone| {
        alone.pass(Duration::from_secs(wait));
        alone.receive(1, &[0; 66]);
        let trusting = alone.jobs[0].is_trusting;
        alone.run();
        trusting
    };
    assert!(is_trusting(0, &mut alone));
    assert!(alone.verdict(1, &signed_by(&key(9), &body(&block(V4)))).is_err());
    assert!(!is_trusting(0, &mut alone));
    assert!(!is_trusting(59, &mut alone));
    assert!(is_trusting(1, &mut alone));
}

/// One event around a validator.
#[derive(Clone, Debug)]
enum Happening {
    /// This peer sends one of a few messages.
    Message(u8, bool, Index),
    /// This peer sends many messages of this size.
    Flood(u8, u16, usize),
    Done(Index),
    Panicked(Index),
    /// An earlier result arrives again.
    Again(Index),
    Own(Index),
    SetSigner(u8),
    Pass(u32),
    Jump(i8),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let index = any::<Index>;
    prop_oneof![
        8 => (0_u8..4, any::<bool>(), index())
            .prop_map(|(from, on_v4, at)| Happening::Message(from, on_v4, at)),
        2 => (0_u8..4, 1_u16..300, prop::sample::select(vec![66_usize, 1 << 20]))
            .prop_map(|(from, count, size)| Happening::Flood(from, count, size)),
        12 => index().prop_map(Happening::Done),
        1 => index().prop_map(Happening::Panicked),
        1 => index().prop_map(Happening::Again),
        2 => index().prop_map(Happening::Own),
        1 => (7_u8..10).prop_map(Happening::SetSigner),
        3 => (0_u32..20_000).prop_map(Happening::Pass),
        1 => any::<i8>().prop_map(Happening::Jump),
    ]
}

/// Returns messages of three signers, good and bad ones.
fn pool() -> Vec<Unpacked> {
    let by = |byte: u8, number| signed_by(&key(byte), &body(&numbered(number, NOW)));
    let good = (0..8).map(|number| by(7, number));
    let others = [by(8, 1), by(9, 2), vec![0; 66], signed(&numbered(3, NOW - 120))];
    good.chain(others).map(|contents| Unpacked::from_contents(&contents)).collect()
}

/// Lets everything happen; every message must have one verdict in the end, and every block of our
/// own one result.
fn happen(happenings: &[Happening]) {
    let pool = pool();
    let mut alone = Alone::new();
    let mut results = Vec::new();
    let mut own = 0;
    for happening in happenings {
        match happening {
            Happening::Message(from, on_v4, at) => {
                let topic = if *on_v4 { V4 } else { V3 };
                alone.receive_on(*from, topic, at.get(&pool).clone());
            }
            Happening::Flood(from, count, size) => {
                // A broken snappy block, so that no job hashes it.
                let message = Unpacked::new(&vec![0xff; *size]);
                for _ in 0..*count {
                    alone.receive_on(*from, V4, message.clone());
                }
            }
            Happening::Done(at) if !alone.jobs.is_empty() => {
                let job = alone.jobs.remove(at.index(alone.jobs.len()));
                let result = job.run();
                results.push(result.clone());
                alone.done(result);
            }
            Happening::Panicked(at) if !alone.jobs.is_empty() => {
                let job = alone.jobs.remove(at.index(alone.jobs.len()));
                alone.done(ValidationResult::panicked(job.id()));
            }
            Happening::Again(at) if !results.is_empty() => alone.done(at.get(&results).clone()),
            Happening::Done(_) | Happening::Panicked(_) | Happening::Again(_) => {}
            Happening::Own(at) => {
                own += 1;
                let message = at.get(&pool).clone();
                alone.validator.check_own(alone.now, OwnId(own), V4, message);
                alone.drain();
            }
            Happening::SetSigner(byte) => {
                let signer = Some(key(*byte).address());
                let as_of = alone.now.unix_seconds();
                alone.validator.set_signer(alone.now, signer, as_of);
                alone.drain();
            }
            Happening::Pass(millis) => alone.pass(Duration::from_millis(u64::from(*millis))),
            Happening::Jump(seconds) => {
                let unix = alone.now.unix.as_secs().saturating_add_signed(i64::from(*seconds));
                alone.now.unix = Duration::from_secs(unix);
            }
        }
        assert_eq!(alone.validator.running(), alone.jobs.len());
    }
    alone.run();
    let left = (alone.validator.waiting(), alone.validator.waiting_bytes());
    assert_eq!((left, alone.validator.running()), ((0, 0), 0));
    let mut verdicts = BTreeMap::new();
    for (message, _) in &alone.verdicts {
        *verdicts.entry(*message).or_insert(0) += 1;
    }
    assert!(verdicts.into_iter().eq((1..=alone.messages).map(|message| (message, 1))));
    let owned = alone.steps.iter().filter(|step| matches!(step, ValidatorStep::Own { .. }));
    assert_eq!(owned.count() as u64, own);
    for (block, count) in counted(&alone.blocks()) {
        // There are two topics, and each has its own list.
        assert!(count <= 2, "{block} counts {count} times");
    }
}

fn counted(blocks: &[(BlockId, BlockSource)]) -> BTreeMap<BlockId, usize> {
    let mut counts = BTreeMap::new();
    for (block, _) in blocks {
        *counts.entry(*block).or_insert(0) += 1;
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_has_one_verdict_whatever_happens(
        happenings in prop::collection::vec(any_happening(), 0..80)
    ) {
        happen(&happenings);
    }
}

#[test]
fn only_invalid_messages_are_rejected() {
    let mut alone = Alone::new();
    // Confirms the clock.
    assert!(alone.verdict(1, &signed(&numbered(1, NOW))).is_ok());
    for (contents, acceptance) in [
        (signed(&numbered(2, NOW)), Acceptance::Accept),
        (signed(&numbered(2, NOW)), Acceptance::Ignore),
        (signed(&numbered(3, NOW - 120)), Acceptance::Reject),
        (with_v(&signed(&numbered(4, NOW)), 9), Acceptance::Reject),
    ] {
        alone.receive(1, &contents);
        let job = alone.jobs.pop().expect("a job");
        alone.validator.job_done(alone.now, job.run());
        let verdict = std::iter::from_fn(|| alone.validator.poll()).find_map(|step| match step {
            ValidatorStep::Verdict { verdict, .. } => Some(verdict),
            _ => None,
        });
        assert_eq!(verdict.expect("a verdict").acceptance(), acceptance);
    }
}

#[test]
fn a_wrong_hash_is_in_doubt_until_a_block_of_its_time_has_a_right_one() {
    let mut alone = Alone::new();
    let wrong = |number: u64, timestamp: u64| {
        let mut block = numbered(number, timestamp);
        block.payload.block_hash.0[0] ^= 1;
        block
    };
    let forged = |alone: &mut Alone, number| {
        let verdict = alone.verdict(3, &signed_by(&key(9), &body(&wrong(number, NOW))));
        assert!(matches!(verdict, Err(Reason::SignerInDoubt | Reason::WrongSigner)), "{verdict:?}");
    };
    forged(&mut alone, 1);
    assert_eq!(alone.verdict(1, &signed(&wrong(2, NOW))), Err(Reason::HashInDoubt));
    assert!(alone.verdict(2, &signed(&numbered(3, NOW))).is_ok());
    assert_eq!(alone.verdict(1, &signed(&wrong(4, NOW + 2))), Err(Reason::HashInDoubt));
    assert_eq!(alone.verdict(1, &signed(&wrong(5, NOW))), Err(Reason::BlockHash));
    assert!(alone.verdict(2, &signed(&numbered(6, NOW + 2))).is_ok());
    assert_eq!(alone.verdict(1, &signed(&wrong(7, NOW + 2))), Err(Reason::BlockHash));
    forged(&mut alone, 8);
}
