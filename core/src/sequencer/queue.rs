//! The publish queue: blocks leave in the order in which they came in, and one that can't leave is
//! tried again until it is too old (the newer reference's `asyncgossiper`).
//!
//! Each publication goes through the same steps: *seal* (encode, hash), *sign*, *judge* (the full
//! validator, as the reference's library runs it on the publisher's own message), *send*. Only the
//! oldest one is worked on: a block is of no use to anybody before its parent.
//!
//! # Bounds
//! [`QUEUE_LENGTH`] publications, whose size is the caller's doing: only the operator can fill it.
//! When full, the oldest whose job does not run is dropped and its caller told: newer blocks are worth more. The
//! [`RECENT`] hashes that were sent last are remembered, so that sending one again is no error.

use crate::gossip::{Reason, SEEN_TTL, Signature, TIMESTAMP_THRESHOLD};
use crate::payload::{EncodeError, Envelope, PayloadVersion};
use crate::time::{Instant, Now};
use alloy_primitives::{B256, Bytes};
use std::collections::VecDeque;
use std::time::Duration;

/// Publications that wait or are being worked on.
pub const QUEUE_LENGTH: usize = 32;
/// Time between two attempts at the same publication.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long one attempt may wait for the signer or the network.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent blocks that are remembered.
const RECENT: usize = 64;

/// Names a publication; the caller's choice, and unique among those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// What is to be published.
#[derive(Clone, Debug)]
pub enum Publication {
    /// A block that is still to be encoded and signed.
    Envelope(Box<Envelope>),
    /// A block that somebody signed already: signature, then the envelope's encoding.
    Signed {
        /// Version of the payload.
        version: PayloadVersion,
        /// The whole message, decompressed.
        contents: Bytes,
    },
}

/// An encoded envelope, ready to be signed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Version that its fields ask for.
    pub version: PayloadVersion,
    /// Room for the signature, then the encoding.
    pub contents: Vec<u8>,
    /// Hash over the encoding.
    pub payload_hash: B256,
    /// What the signer signs.
    pub signing_hash: B256,
}

/// Why a block was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The block can't be encoded.
    #[error("the block can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The block's fields are those of another fork than its timestamp's.
    #[error("the block is a {found} payload, but the fork at its timestamp takes {expected}")]
    WrongVersion {
        /// Version that the fields ask for.
        found: PayloadVersion,
        /// Version of the topic at the block's timestamp.
        expected: PayloadVersion,
    },
    /// The block is larger than any message may be.
    #[error("the block has {0} bytes, more than a gossip message may have")]
    TooLarge(usize),
    /// The node has nobody to sign with.
    #[error("node has no p2p signer, the block cannot be published")]
    NoSigner,
    /// The network's rules refuse the block, as every other node would.
    #[error("the block does not pass validation: {0}")]
    Refused(Reason),
    /// The block grew too old before it could be sent; the last obstacle is named.
    #[error("the block grew too old before it could be sent: {0}")]
    Expired(Obstacle),
    /// Newer blocks pushed it out of the full queue; the last obstacle is named.
    #[error("newer blocks pushed it out of the publish queue: {0}")]
    Displaced(Obstacle),
}

/// What holds a publication up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It waits behind another block.
    #[error("it waited behind another block")]
    Waiting,
    /// The signer gave an error.
    #[error("the signer failed: {0}")]
    Signer(String),
    /// The signer or the network did not answer in time.
    #[error("no answer within 5 s")]
    Timeout,
    /// No peer is subscribed to the topic.
    #[error("no peer is subscribed to the topic")]
    NoPeers,
    /// The network gave an error.
    #[error("the network refused it: {0}")]
    Network(String),
}

/// What the network made of a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is on its way to at least one peer.
    Sent,
    /// The same bytes were sent before.
    AlreadySent,
    /// Nobody is subscribed. It will be tried again, where the reference would call it sent: a
    /// sequencer that starts before its first peer loses no block.
    NoPeers,
    /// Something else went wrong, and may pass.
    Failed(String),
}

/// What is to be done next for the publication at the head.
#[derive(Clone, Debug)]
pub enum Step {
    /// Encode and hash.
    Seal(PublishId, Box<Envelope>),
    /// Have it signed.
    Sign(PublishId, Sealed),
    /// Run the validator over it.
    Judge(PublishId, PayloadVersion, Bytes),
    /// Give it to the network.
    Send(PublishId, PayloadVersion, Bytes),
    /// It is done with.
    Finished(PublishId, Result<B256, PublishError>),
}

#[derive(Clone, Debug)]
enum Stage {
    Start(Publication),
    Sealing,
    ToSign(Box<Sealed>),
    Signing(Box<Sealed>),
    ToJudge(PayloadVersion, Bytes),
    Judging(PayloadVersion, Bytes),
    ToSend(PayloadVersion, Bytes, B256),
    Sending(PayloadVersion, Bytes, B256),
}

#[derive(Clone, Debug)]
struct Entry {
    id: PublishId,
    /// Unix seconds of the block; 0 while that is not known.
    timestamp: u64,
    stage: Stage,
    /// When the next attempt is due, or the present one times out.
    due: Option<Instant>,
    obstacle: Obstacle,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct PublishQueue {
    entries: VecDeque<Entry>,
    finished: VecDeque<(PublishId, Result<B256, PublishError>)>,
    recent: VecDeque<(B256, Instant)>,
    window: Duration,
}

impl PublishQueue {
    /// An empty queue for a network that takes blocks of at most `timestamp_threshold` of age.
    pub const fn new(timestamp_threshold: Duration) -> Self {
        // With a threshold of zero every block would be too old at once.
        let window = if timestamp_threshold.is_zero() { TIMESTAMP_THRESHOLD } else { timestamp_threshold };
        Self { entries: VecDeque::new(), finished: VecDeque::new(), recent: VecDeque::new(), window }
    }

    /// Publications that wait or are being worked on.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a publication.
    pub fn push(&mut self, now: Now, id: PublishId, publication: Publication) {
        let (timestamp, hash) = match &publication {
            Publication::Envelope(envelope) => {
                (envelope.payload.timestamp, Some(envelope.payload.block_hash))
            }
            Publication::Signed { .. } => (0, None),
        };
        self.recent.retain(|(_, sent)| now.monotonic.since(*sent) < SEEN_TTL);
        if let Some(hash) = hash.filter(|hash| self.recent.iter().any(|(sent, _)| sent == hash)) {
            self.finished.push_back((id, Ok(hash)));
            return;
        }
        if self.entries.len() == QUEUE_LENGTH {
            // One whose job runs stays: its place would be taken by another job while it runs on.
            let is_working = |entry: &Entry| matches!(entry.stage, Stage::Sealing | Stage::Judging(..));
            let oldest = usize::from(self.entries.front().is_some_and(is_working));
            if let Some(oldest) = self.entries.remove(oldest) {
                self.finished.push_back((oldest.id, Err(PublishError::Displaced(oldest.obstacle))));
            }
        }
        self.entries.push_back(Entry {
            id,
            timestamp,
            stage: Stage::Start(publication),
            due: None,
            obstacle: Obstacle::Waiting,
        });
    }

    /// The next thing to do, if there is one. Call until `None`.
    pub fn poll(&mut self, now: Now) -> Option<Step> {
        if let Some((id, result)) = self.finished.pop_front() {
            return Some(Step::Finished(id, result));
        }
        let window = self.window;
        let entry = self.entries.front_mut()?;
        let id = entry.id;
        let waits_for_us = matches!(
            entry.stage,
            Stage::Start(_) | Stage::ToSign(_) | Stage::ToJudge(..) | Stage::ToSend(..)
        );
        if !waits_for_us {
            // A job of our own always answers; the signer and the network may not.
            if entry.due.is_none_or(|due| now.monotonic < due) {
                return None;
            }
            self.retry(now, id, Obstacle::Timeout);
            return self.poll(now);
        }
        if entry.due.is_some_and(|due| now.monotonic < due) {
            return None;
        }
        // A first attempt at an old block is left to the validator, which names the rule.
        let tried = entry.obstacle != Obstacle::Waiting;
        if tried && now.unix_seconds().saturating_sub(entry.timestamp) >= window.as_secs() {
            let obstacle = entry.obstacle.clone();
            self.finish(id, Err(PublishError::Expired(obstacle)));
            return self.poll(now);
        }
        let attempt = Some(now.monotonic + ATTEMPT_TIMEOUT);
        let (stage, due, step) = match std::mem::replace(&mut entry.stage, Stage::Sealing) {
            Stage::Start(Publication::Envelope(envelope)) => (Stage::Sealing, None, Step::Seal(id, envelope)),
            Stage::Start(Publication::Signed { version, contents }) | Stage::ToJudge(version, contents) => {
                (Stage::Judging(version, contents.clone()), None, Step::Judge(id, version, contents))
            }
            Stage::ToSign(sealed) => (Stage::Signing(sealed.clone()), attempt, Step::Sign(id, *sealed)),
            Stage::ToSend(version, contents, hash) => {
                (Stage::Sending(version, contents.clone(), hash), attempt, Step::Send(id, version, contents))
            }
            waiting => {
                entry.stage = waiting;
                return None;
            }
        };
        entry.stage = stage;
        entry.due = due;
        Some(step)
    }

    /// The sealing job of `id` came back.
    pub fn sealed(&mut self, id: PublishId, result: Result<Sealed, PublishError>) {
        match (result, self.head(id)) {
            (_, None) => {}
            (Err(error), Some(_)) => self.finish(id, Err(error)),
            (Ok(sealed), Some(entry)) => entry.stage = Stage::ToSign(Box::new(sealed)),
        }
    }

    /// The signer answered for `id`.
    pub fn signed(&mut self, now: Now, id: PublishId, result: Result<Signature, String>) {
        let Some(entry) = self.head(id) else { return };
        let Stage::Signing(sealed) = &mut entry.stage else { return };
        match result {
            Ok(signature) => {
                let version = sealed.version;
                let mut contents = std::mem::take(&mut sealed.contents);
                contents[..signature.len()].copy_from_slice(&signature);
                entry.stage = Stage::ToJudge(version, contents.into());
                entry.due = None;
            }
            Err(error) => self.retry(now, id, Obstacle::Signer(error)),
        }
    }

    /// The validator judged `id`: the block's hash and timestamp, or the check that refused it.
    pub fn judged(&mut self, id: PublishId, result: Result<(B256, u64), Reason>) {
        let Some(entry) = self.head(id) else { return };
        let Stage::Judging(version, contents) = &entry.stage else { return };
        match result {
            Ok((hash, timestamp)) => {
                entry.timestamp = timestamp;
                entry.stage = Stage::ToSend(*version, contents.clone(), hash);
            }
            Err(reason) => self.finish(id, Err(PublishError::Refused(reason))),
        }
    }

    /// The network answered for `id`.
    pub fn sent(&mut self, now: Now, id: PublishId, outcome: SendOutcome) {
        let Some(entry) = self.head(id) else { return };
        let Stage::Sending(_, _, hash) = entry.stage else { return };
        match outcome {
            SendOutcome::Sent | SendOutcome::AlreadySent => {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back((hash, now.monotonic));
                self.finish(id, Ok(hash));
            }
            SendOutcome::NoPeers => self.retry(now, id, Obstacle::NoPeers),
            SendOutcome::Failed(error) => self.retry(now, id, Obstacle::Network(error)),
        }
    }

    /// When [`Self::poll`] has something to do even if nothing comes in.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.entries.front().and_then(|entry| entry.due)
    }

    /// Answers of an attempt that was given up may still come in; only the head's are listened to.
    fn head(&mut self, id: PublishId) -> Option<&mut Entry> {
        self.entries.front_mut().filter(|entry| entry.id == id)
    }

    fn finish(&mut self, id: PublishId, result: Result<B256, PublishError>) {
        self.entries.pop_front();
        self.finished.push_back((id, result));
    }

    fn retry(&mut self, now: Now, id: PublishId, obstacle: Obstacle) {
        let Some(entry) = self.head(id) else { return };
        entry.due = Some(now.monotonic + RETRY_INTERVAL);
        entry.obstacle = obstacle;
        entry.stage = match std::mem::replace(&mut entry.stage, Stage::Sealing) {
            Stage::Signing(sealed) => Stage::ToSign(sealed),
            Stage::Sending(version, contents, hash) => Stage::ToSend(version, contents, hash),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn at(millis: u64) -> Now {
        let elapsed = Duration::from_millis(millis);
        Now::new(elapsed, Duration::from_secs(NOW) + elapsed)
    }

    fn envelope(number: u64) -> Publication {
        let mut envelope = Envelope::default();
        envelope.payload.block_number = number;
        envelope.payload.timestamp = NOW;
        envelope.payload.block_hash = B256::with_last_byte(number as u8);
        Publication::Envelope(Box::new(envelope))
    }

    fn sealed() -> Sealed {
        Sealed {
            version: PayloadVersion::V1,
            contents: vec![0; 70],
            payload_hash: B256::ZERO,
            signing_hash: B256::ZERO,
        }
    }

    /// Takes the publication at the head to the step of being sent.
    fn until_send(queue: &mut PublishQueue, now: Now, id: PublishId) {
        let hash = B256::with_last_byte(id.0 as u8);
        assert!(matches!(queue.poll(now), Some(Step::Seal(seal, _)) if seal == id));
        queue.sealed(id, Ok(sealed()));
        assert!(matches!(queue.poll(now), Some(Step::Sign(sign, _)) if sign == id));
        queue.signed(now, id, Ok([9; 65]));
        let Some(Step::Judge(judge, _, contents)) = queue.poll(now) else { panic!("not judged") };
        assert_eq!((judge, &contents[..65]), (id, &[9; 65][..]));
        queue.judged(id, Ok((hash, NOW)));
        assert!(matches!(queue.poll(now), Some(Step::Send(send, ..)) if send == id));
    }

    fn finished(queue: &mut PublishQueue, now: Now) -> (u64, Result<B256, PublishError>) {
        match queue.poll(now) {
            Some(Step::Finished(id, result)) => (id.0, result),
            other => panic!("expected the end of a publication, got {other:?}"),
        }
    }

    #[test]
    fn a_publication_whose_job_runs_is_not_displaced() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(0), envelope(1));
        assert!(matches!(queue.poll(at(0)), Some(Step::Seal(PublishId(0), _))));
        for number in 1..=QUEUE_LENGTH as u64 {
            queue.push(at(0), PublishId(number), envelope(number + 1));
        }
        assert_eq!(finished(&mut queue, at(0)), (1, Err(PublishError::Displaced(Obstacle::Waiting))));
        assert!(queue.poll(at(0)).is_none(), "no second job beside the first");
        queue.sealed(PublishId(0), Ok(sealed()));
        assert!(matches!(queue.poll(at(0)), Some(Step::Sign(PublishId(0), _))));
    }

    #[test]
    fn publications_leave_one_after_the_other() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        for number in 1..=3 {
            queue.push(at(0), PublishId(number), envelope(number));
        }
        for number in 1..=3 {
            until_send(&mut queue, at(0), PublishId(number));
            assert!(queue.poll(at(0)).is_none());
            queue.sent(at(0), PublishId(number), SendOutcome::Sent);
            assert_eq!(finished(&mut queue, at(0)), (number, Ok(B256::with_last_byte(number as u8))));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn a_failed_send_is_tried_again_every_second_until_the_block_is_too_old() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        until_send(&mut queue, at(0), PublishId(1));
        let mut attempts = 1;
        for second in 0..59 {
            queue.sent(at(second * 1000), PublishId(1), SendOutcome::NoPeers);
            assert!(queue.poll(at(second * 1000 + 999)).is_none());
            assert_eq!(queue.next_wakeup(), Some(at((second + 1) * 1000).monotonic));
            assert!(matches!(queue.poll(at((second + 1) * 1000)), Some(Step::Send(..))));
            attempts += 1;
        }
        assert_eq!(attempts, 60);
        queue.sent(at(59_000), PublishId(1), SendOutcome::NoPeers);
        let (_, result) = finished(&mut queue, at(60_000));
        assert_eq!(result, Err(PublishError::Expired(Obstacle::NoPeers)));
    }

    #[test]
    fn a_silent_signer_is_asked_again_after_its_time() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        queue.poll(at(0));
        queue.sealed(PublishId(1), Ok(sealed()));
        assert!(matches!(queue.poll(at(0)), Some(Step::Sign(..))));
        assert!(queue.poll(at(4999)).is_none());
        assert!(queue.poll(at(5000)).is_none());
        assert!(matches!(queue.poll(at(6000)), Some(Step::Sign(..))));
        queue.signed(at(6001), PublishId(1), Err("locked".into()));
        assert!(matches!(queue.poll(at(7001)), Some(Step::Sign(..))));
        queue.signed(at(7002), PublishId(1), Ok([9; 65]));
        assert!(matches!(queue.poll(at(7002)), Some(Step::Judge(..))));
    }

    #[test]
    fn a_refused_block_is_an_error_at_once_and_the_next_one_goes_on() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        queue.push(at(0), PublishId(2), envelope(2));
        queue.poll(at(0));
        queue.sealed(PublishId(1), Ok(sealed()));
        queue.poll(at(0));
        queue.signed(at(0), PublishId(1), Ok([9; 65]));
        queue.poll(at(0));
        queue.judged(PublishId(1), Err(Reason::WrongSigner));
        assert_eq!(finished(&mut queue, at(0)), (1, Err(PublishError::Refused(Reason::WrongSigner))));
        until_send(&mut queue, at(0), PublishId(2));
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        for number in 0..=QUEUE_LENGTH as u64 {
            queue.push(at(0), PublishId(number), envelope(number));
        }
        assert_eq!(queue.len(), QUEUE_LENGTH);
        assert_eq!(finished(&mut queue, at(0)), (0, Err(PublishError::Displaced(Obstacle::Waiting))));
        until_send(&mut queue, at(0), PublishId(1));
    }

    #[test]
    fn the_same_block_again_within_65_seconds_is_done_at_once() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        until_send(&mut queue, at(0), PublishId(1));
        queue.sent(at(0), PublishId(1), SendOutcome::Sent);
        finished(&mut queue, at(0)).1.expect("sent");
        queue.push(at(64_999), PublishId(2), envelope(1));
        assert_eq!(finished(&mut queue, at(64_999)), (2, Ok(B256::with_last_byte(1))));
        queue.push(at(65_000), PublishId(3), envelope(1));
        assert!(matches!(queue.poll(at(65_000)), Some(Step::Seal(..))));
    }

    #[test]
    fn late_answers_for_another_publication_change_nothing() {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        until_send(&mut queue, at(0), PublishId(1));
        queue.sealed(PublishId(7), Err(PublishError::NoSigner));
        queue.signed(at(0), PublishId(1), Ok([1; 65]));
        queue.judged(PublishId(1), Err(Reason::TooOld));
        queue.sent(at(0), PublishId(7), SendOutcome::Sent);
        assert_eq!(queue.len(), 1);
        queue.sent(at(0), PublishId(1), SendOutcome::AlreadySent);
        finished(&mut queue, at(0)).1.expect("sent");
    }
}
