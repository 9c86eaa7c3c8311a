//! The publish queue: it sends blocks in their order of arrival, and retries a block until it is
//! too old (the newer reference's `asyncgossiper`).
//!
//! Each publication passes through the same steps: *seal* (encode, hash), *sign*, *judge* (the full
//! validator, as the reference's library runs it on the publisher's own message), *send*. Only the
//! oldest publication is worked on, because a block is useless before its parent.
//!
//! # Bounds
//! A publication waits at most as long as the network accepts its block, independently of the block
//! interval. The queue holds at most [`QUEUE_LENGTH`] publications, which together take at most
//! [`QUEUE_BYTES`]. A full queue drops the oldest publication whose job is not running, and reports
//! this to its caller, because newer blocks are worth more. The queue remembers the last [`RECENT`]
//! hashes that were sent, so that sending one again is not an error.

#[cfg(test)]
mod tests;

use super::PublishHealth;
use crate::gossip::{Reason, SEEN_TTL, Signature, TIMESTAMP_THRESHOLD};
use crate::payload::{EncodeError, Envelope, PayloadVersion};
use crate::time::{Instant, Now};
use alloy_primitives::{B256, Bytes};
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of publications in the queue, including the one being worked on.
pub const QUEUE_LENGTH: usize = 512;
/// Maximum size of their blocks in bytes. A single block may be larger.
pub const QUEUE_BYTES: usize = 64 << 20;
/// Time between two attempts at the same publication.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time that one attempt waits for the signer or the network.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of sent blocks remembered, which is more than a chain with a block time of 200 ms
/// produces in [`SEEN_TTL`].
const RECENT: usize = 512;

/// Id of a publication, chosen by the caller and unique among those in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// A block to be published.
#[derive(Clone, Debug)]
pub enum Publication {
    /// A block that is still to be encoded and signed.
    Envelope(Box<Envelope>),
    /// A block that is already signed.
    Signed {
        /// Version of the payload.
        version: PayloadVersion,
        /// The whole message, decompressed: signature, then the envelope's encoding.
        contents: Bytes,
    },
}

impl Publication {
    /// Returns the approximate size of the block in bytes: its transactions, or the whole message.
    fn size(&self) -> usize {
        match self {
            Self::Envelope(envelope) => {
                envelope.payload.transactions.iter().map(|raw| raw.len()).sum()
            }
            Self::Signed { contents, .. } => contents.len(),
        }
    }
}

/// An encoded envelope, ready to be signed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Payload version that the fields require.
    pub version: PayloadVersion,
    /// Space for the signature, followed by the encoding.
    pub contents: Vec<u8>,
    /// Hash of the encoding.
    pub payload_hash: B256,
    /// Hash to be signed.
    pub signing_hash: B256,
}

/// Reason why a block was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The block can't be encoded.
    #[error("the block can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The block exceeds the size limit of a gossip message.
    #[error("the block has {0} bytes, more than a gossip message may have")]
    TooLarge(usize),
    /// The node has no signer.
    #[error("node has no p2p signer, the block cannot be published")]
    NoSigner,
    /// The block violates the network's rules, so every other node would refuse it too.
    #[error("the block does not pass validation: {0}")]
    Refused(Reason),
    /// The block became too old before it could be sent. Contains the last obstacle.
    #[error("the block grew too old before it could be sent: {0}")]
    Expired(Obstacle),
    /// Newer blocks displaced it from the full queue. Contains the last obstacle.
    #[error("newer blocks pushed it out of the publish queue: {0}")]
    Displaced(Obstacle),
}

impl PublishError {
    /// The names of all reasons, in the order of [`Self::index`].
    pub const NAMES: [&str; 6] =
        ["encode", "too_large", "no_signer", "refused", "expired", "displaced"];

    /// Returns the position in [`Self::NAMES`].
    pub const fn index(&self) -> usize {
        match self {
            Self::Encode(_) => 0,
            Self::TooLarge(_) => 1,
            Self::NoSigner => 2,
            Self::Refused(_) => 3,
            Self::Expired(_) => 4,
            Self::Displaced(_) => 5,
        }
    }

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Reason why a publication is delayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It waits behind another block.
    #[error("it waited behind another block")]
    Waiting,
    /// The signer returned an error.
    #[error("the signer failed: {0}")]
    Signer(String),
    /// The signer or the network did not answer in time.
    #[error("no answer within 5 s")]
    Timeout,
    /// No peer is subscribed to the topic.
    #[error("no peer is subscribed to the topic")]
    NoPeers,
    /// The network returned an error.
    #[error("the network refused it: {0}")]
    Network(String),
}

/// The network's answer to one of our messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is on its way to at least one peer.
    Sent,
    /// The same bytes were sent before.
    AlreadySent,
    /// No peer is subscribed. The queue tries again, whereas the reference would treat the message
    /// as sent: a sequencer that starts before its first peer loses no block.
    NoPeers,
    /// Another failure, possibly temporary.
    Failed(String),
}

/// The next step for the publication at the head.
#[derive(Clone, Debug)]
pub enum Step {
    /// Encode and hash the block.
    Seal(PublishId, Box<Envelope>),
    /// Have the block signed.
    Sign(PublishId, Sealed),
    /// Run the validator on the block.
    Judge(PublishId, PayloadVersion, Bytes),
    /// Send the block to the network.
    Send(PublishId, PayloadVersion, Bytes),
    /// The publication is finished.
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
    /// Time at which it was pushed.
    pushed: Instant,
    /// Approximate size of the block in bytes.
    size: usize,
    /// Timestamp of the block in Unix seconds; 0 while unknown.
    timestamp: u64,
    /// Whether our own signer signs it.
    is_ours: bool,
    stage: Stage,
    /// Time at which the next attempt is due, or at which the current one times out.
    due: Option<Instant>,
    obstacle: Obstacle,
}

/// The publish queue.
#[derive(Clone, Debug)]
pub struct PublishQueue {
    entries: VecDeque<Entry>,
    finished: VecDeque<(PublishId, Result<B256, PublishError>)>,
    recent: VecDeque<(B256, Instant)>,
    window: Duration,
    health: PublishHealth,
}

impl PublishQueue {
    /// Creates an empty queue for a network that accepts blocks up to the age
    /// `timestamp_threshold`. Zero selects [`TIMESTAMP_THRESHOLD`].
    pub const fn new(timestamp_threshold: Duration) -> Self {
        // With a threshold of zero, every block would be too old at once.
        let window =
            if timestamp_threshold.is_zero() { TIMESTAMP_THRESHOLD } else { timestamp_threshold };
        Self {
            entries: VecDeque::new(),
            finished: VecDeque::new(),
            recent: VecDeque::new(),
            window,
            health: PublishHealth::new(),
        }
    }

    /// Returns the newest failures to sign and to send blocks.
    pub const fn health(&self) -> &PublishHealth {
        &self.health
    }

    /// Returns the number of publications in the queue, including the one being worked on.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the approximate size in bytes of the blocks in the queue.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Adds a publication. A block that was sent recently is finished at once. If the queue is
    /// full, the oldest publications whose jobs are not running are dropped.
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
        let size = publication.size();
        while self.entries.len() >= QUEUE_LENGTH || self.bytes().saturating_add(size) > QUEUE_BYTES
        {
            // A publication whose job is running stays: if it were dropped, the next one would
            // start another job while the first still runs.
            let is_working =
                |entry: &Entry| matches!(entry.stage, Stage::Sealing | Stage::Judging(..));
            let oldest = usize::from(self.entries.front().is_some_and(is_working));
            let Some(oldest) = self.entries.remove(oldest) else { break };
            self.finished.push_back((oldest.id, Err(PublishError::Displaced(oldest.obstacle))));
        }
        self.entries.push_back(Entry {
            id,
            pushed: now.monotonic,
            size,
            timestamp,
            is_ours: matches!(publication, Publication::Envelope(_)),
            stage: Stage::Start(publication),
            due: None,
            obstacle: Obstacle::Waiting,
        });
    }

    /// Returns the next step, if any. The caller repeats this until it returns `None`.
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
            // Our own jobs always answer; the signer and the network may not.
            if entry.due.is_none_or(|due| now.monotonic < due) {
                return None;
            }
            self.retry(now, id, Obstacle::Timeout);
            return self.poll(now);
        }
        if entry.due.is_some_and(|due| now.monotonic < due) {
            return None;
        }
        // If the block was already old when it arrived, the validator judges the first attempt,
        // because its verdict names the rule.
        let tried = entry.obstacle != Obstacle::Waiting;
        let is_old = now.unix_seconds().saturating_sub(entry.timestamp) >= window.as_secs();
        if tried && is_old || now.monotonic.since(entry.pushed) >= window {
            let obstacle = entry.obstacle.clone();
            self.finish(id, Err(PublishError::Expired(obstacle)));
            return self.poll(now);
        }
        let attempt = Some(now.monotonic + ATTEMPT_TIMEOUT);
        let (stage, due, step) = match std::mem::replace(&mut entry.stage, Stage::Sealing) {
            Stage::Start(Publication::Envelope(envelope)) => {
                (Stage::Sealing, None, Step::Seal(id, envelope))
            }
            Stage::Start(Publication::Signed { version, contents })
            | Stage::ToJudge(version, contents) => (
                Stage::Judging(version, contents.clone()),
                None,
                Step::Judge(id, version, contents),
            ),
            Stage::ToSign(sealed) => {
                (Stage::Signing(sealed.clone()), attempt, Step::Sign(id, *sealed))
            }
            Stage::ToSend(version, contents, hash) => (
                Stage::Sending(version, contents.clone(), hash),
                attempt,
                Step::Send(id, version, contents),
            ),
            waiting => {
                entry.stage = waiting;
                return None;
            }
        };
        entry.stage = stage;
        entry.due = due;
        Some(step)
    }

    /// Handles the result of the sealing job of `id`.
    pub fn sealed(&mut self, id: PublishId, result: Result<Sealed, PublishError>) {
        match (result, self.head(id)) {
            (_, None) => {}
            (Err(error), Some(_)) => self.finish(id, Err(error)),
            (Ok(sealed), Some(entry)) => entry.stage = Stage::ToSign(Box::new(sealed)),
        }
    }

    /// Handles the signer's answer for `id`. A signature that arrives after its attempt timed out
    /// is still used, since it covers the same hash; a late error is ignored.
    pub fn signed(&mut self, now: Now, id: PublishId, result: Result<Signature, String>) {
        let Some(entry) = self.head(id) else { return };
        let is_late = matches!(entry.stage, Stage::ToSign(_));
        let (Stage::Signing(sealed) | Stage::ToSign(sealed)) = &mut entry.stage else { return };
        match result {
            Ok(signature) => {
                let version = sealed.version;
                let mut contents = std::mem::take(&mut sealed.contents);
                contents[..signature.len()].copy_from_slice(&signature);
                entry.stage = Stage::ToJudge(version, contents.into());
                entry.due = None;
            }
            Err(_) if is_late => {}
            Err(error) => self.retry(now, id, Obstacle::Signer(error)),
        }
    }

    /// Handles the validator's verdict on `id`: the block's hash and timestamp, or the check that
    /// failed.
    pub fn judged(&mut self, now: Now, id: PublishId, result: Result<(B256, u64), Reason>) {
        let Some(entry) = self.head(id) else { return };
        let Stage::Judging(version, contents) = &entry.stage else { return };
        let is_ours = entry.is_ours;
        match result {
            Ok((hash, timestamp)) => {
                entry.timestamp = timestamp;
                entry.stage = Stage::ToSend(*version, contents.clone(), hash);
                if is_ours {
                    self.health.signed();
                }
            }
            Err(reason) => {
                if is_ours && matches!(reason, Reason::Signature | Reason::WrongSigner) {
                    self.health.not_signed(now.monotonic, reason.to_string());
                }
                self.finish(id, Err(PublishError::Refused(reason)));
            }
        }
    }

    /// Handles the network's answer for `id`. After the attempt timed out, only a success counts.
    pub fn sent(&mut self, now: Now, id: PublishId, outcome: SendOutcome) {
        let Some(entry) = self.head(id) else { return };
        let is_late = matches!(entry.stage, Stage::ToSend(..));
        let (Stage::Sending(_, _, hash) | Stage::ToSend(_, _, hash)) = entry.stage else { return };
        match outcome {
            SendOutcome::Sent | SendOutcome::AlreadySent => {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back((hash, now.monotonic));
                self.health.sent();
                self.finish(id, Ok(hash));
            }
            SendOutcome::NoPeers | SendOutcome::Failed(_) if is_late => {}
            SendOutcome::NoPeers => self.retry(now, id, Obstacle::NoPeers),
            SendOutcome::Failed(error) => self.retry(now, id, Obstacle::Network(error)),
        }
    }

    /// Returns `true` if the network's answer for `id` would still count.
    pub fn is_sending(&self, id: PublishId) -> bool {
        self.entries.front().is_some_and(|entry| {
            entry.id == id && matches!(entry.stage, Stage::Sending(..) | Stage::ToSend(..))
        })
    }

    /// Returns the time of the next [`Self::poll`] if nothing happens earlier.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.entries.front().and_then(|entry| entry.due)
    }

    /// Returns the entry at the head if its id is `id`. Answers to an abandoned attempt may still
    /// arrive; only those for the head count.
    fn head(&mut self, id: PublishId) -> Option<&mut Entry> {
        self.entries.front_mut().filter(|entry| entry.id == id)
    }

    fn finish(&mut self, id: PublishId, result: Result<B256, PublishError>) {
        self.entries.pop_front();
        self.finished.push_back((id, result));
    }

    fn retry(&mut self, now: Now, id: PublishId, obstacle: Obstacle) {
        let Some(entry) = self.head(id) else { return };
        let is_signing = matches!(entry.stage, Stage::Signing(_));
        let text = match &obstacle {
            Obstacle::Signer(error) => error.clone(),
            other => other.to_string(),
        };
        entry.due = Some(now.monotonic + RETRY_INTERVAL);
        entry.obstacle = obstacle;
        entry.stage = match std::mem::replace(&mut entry.stage, Stage::Sealing) {
            Stage::Signing(sealed) => Stage::ToSign(sealed),
            Stage::Sending(version, contents, hash) => Stage::ToSend(version, contents, hash),
            other => other,
        };
        match is_signing {
            true => self.health.not_signed(now.monotonic, text),
            false => self.health.not_sent(now.monotonic, text),
        }
    }
}
