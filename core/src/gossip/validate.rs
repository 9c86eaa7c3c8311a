//! Stateless checks of a gossip message, as a job that runs on any thread (`op-node/p2p/gossip.go`,
//! `BuildBlocksValidator`).
//!
//! The cost of refusing a message is bounded by the check that refuses it. Layout, timestamp and
//! fields are cheap to read, so they are checked before the signature, unlike in the reference. A
//! message that fails any of these checks is invalid in either order, and garbage is not even
//! hashed. After that, anyone can make a node hash a message once and recover one key, but only the
//! sequencer can make it hash transactions.
//!
//! If a second thread is available ([`Threads`]), the two hashes of a large block (of the payload
//! and of the transactions) are computed in parallel. This happens before the signature is
//! verified, so the [`Validator`](super::Validator) allows it only after a minute without forged
//! messages.
//!
//! The rules that depend on the fork schedule come last: see [`ScheduleRule`](super::ScheduleRule).
//!
//! The [`Validator`](super::Validator) makes the final decision and runs the two checks that need
//! memory: see [`SeenBlocks`](super::SeenBlocks).

use super::signature::{BLOCK_DOMAIN, payload_hash, recover, signing_hash};
use super::{Reason, SIGNATURE_SIZE, ScheduleBreach, Signers, Unpacked};
use crate::chain::{BlockId, BlockSchedule, ChainConfig, ForkSchedule};
use crate::payload::{BASE_TIME_INDEX, BaseTime, Block, PayloadVersion};
use alloy_primitives::Address;
use std::time::Duration;

/// Maximum age of a block's timestamp (`p2p.gossip.timestamp.threshold` of the newer reference).
pub const TIMESTAMP_THRESHOLD: Duration = Duration::from_secs(60);
/// Maximum time by which a block's timestamp may be ahead of the wall clock.
pub const TIMESTAMP_AHEAD: Duration = Duration::from_secs(5);

/// Parameters by which messages are judged.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Id of the L2 chain.
    pub chain_id: u64,
    /// Activation times of the forks.
    pub forks: ForkSchedule,
    /// Block times of the chain, which also determine the first block that needs a BaseTime
    /// deposit.
    pub schedule: BlockSchedule,
    /// The accepted signers.
    pub signers: Signers,
    /// Maximum age of a timestamp, in whole seconds.
    pub timestamp_threshold: Duration,
    /// Activation of the first fork that this software does not know, in Unix seconds. From then
    /// on, what a fork may change is ignored and not rejected ([`Reason::UnknownFork`]).
    pub unknown_from: Option<u64>,
}

impl Rules {
    /// Creates the rules of a chain with these accepted signers and the usual age limit.
    pub fn new(chain: &ChainConfig, signers: Signers) -> Self {
        Self {
            chain_id: chain.chain_id,
            forks: chain.forks,
            schedule: chain.schedule(),
            signers,
            timestamp_threshold: TIMESTAMP_THRESHOLD,
            unknown_from: chain.unknown_forks.values().copied().min(),
        }
    }
}

/// A message that passed the stateless checks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// The block, with its signature.
    pub block: Block,
    /// The signer: one of [`Rules::signers`].
    pub signer: Address,
}

/// A message that passed the stateless checks, except possibly those of the fork schedule.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// The block and its signer.
    pub(crate) verified: Verified,
    /// The rule of our fork schedule that the block breaks, if any.
    pub(crate) breach: Option<ScheduleBreach>,
}

impl Judged {
    /// Returns the reason for ignoring the message, or `None` if our schedule accepts it.
    pub(crate) fn doubt(&self) -> Option<Reason> {
        self.breach.and_then(|breach| breach.rule.reason())
    }
}

/// A failed stateless check, with the known facts about the message. Honest messages reveal the
/// node's own troubles by these facts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The check that failed.
    pub(crate) reason: Reason,
    /// Id of the block, as it says itself, and its timestamp in Unix seconds, if the payload was
    /// decoded.
    pub(crate) block: Option<BlockId>,
    pub(crate) timestamp: Option<u64>,
    /// The signer, if it was recovered before the check failed.
    pub(crate) signer: Option<Address>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, block: None, timestamp: None, signer: None }
    }
}

/// Minimum size in bytes of a signed block for which a second thread pays off.
const LARGE: usize = 256 << 10;

/// Executor for two pieces of work. The driver implements it, because only the driver knows whether
/// it has threads.
pub trait Threads {
    /// Runs both closures, possibly in parallel.
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B);
}

/// An executor that runs one closure after the other.
#[derive(Clone, Copy, Debug)]
pub struct OneThread;

impl Threads for OneThread {
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        (one(), other())
    }
}

/// Runs all stateless checks on a message of topic `version`, at `now` (Unix seconds).
///
/// # Errors
/// The first check that fails, in the order of [`Reason::ALL`].
pub fn validate(
    rules: &Rules,
    version: PayloadVersion,
    message: Unpacked,
    now: u64,
) -> Result<Verified, Reason> {
    validate_on(None::<&OneThread>, rules, version, message, now)
}

/// Like [`validate`], but hashes the transactions of a large block in parallel with its payload if
/// `threads` is given.
///
/// # Errors
/// As [`validate`].
pub fn validate_on(
    threads: Option<&impl Threads>,
    rules: &Rules,
    version: PayloadVersion,
    message: Unpacked,
    now: u64,
) -> Result<Verified, Reason> {
    let check = Check { threads, rules, version, message, now, names_untimely: false };
    let judged = check.judge().map_err(|Refusal { reason, .. }| reason)?;
    match judged.doubt() {
        Some(reason) => Err(reason),
        None => Ok(judged.verified),
    }
}

/// The stateless checks of one message.
pub(crate) struct Check<'a, T> {
    pub(crate) threads: Option<&'a T>,
    pub(crate) rules: &'a Rules,
    /// Version of the topic.
    pub(crate) version: PayloadVersion,
    pub(crate) message: Unpacked,
    /// Unix seconds.
    pub(crate) now: u64,
    /// Whether the signer of a block with a refused timestamp is recovered too, at the same cost as
    /// for a timely block.
    pub(crate) names_untimely: bool,
}

impl<T: Threads> Check<'_, T> {
    /// Like [`validate_on`], but a block refused only by the fork schedule is not an error, and an
    /// error carries more facts.
    pub(crate) fn judge(self) -> Result<Judged, Refusal> {
        let (rules, now) = (self.rules, self.now);
        self.judge_by_known_forks().map_err(|mut refusal| {
            let time = refusal.timestamp.unwrap_or(now);
            let is_unknown = rules.unknown_from.is_some_and(|from| from <= time);
            if is_unknown && refusal.reason.may_change_by_fork() {
                refusal.reason = Reason::UnknownFork;
            }
            refusal
        })
    }

    /// Runs all checks by the rules of the known forks.
    fn judge_by_known_forks(self) -> Result<Judged, Refusal> {
        let Self { threads, rules, version, message, now, names_untimely } = self;
        let contents = message.into_contents()?;
        let Some(current) = rules.signers.current else {
            return Err(Reason::NoSigner.into());
        };
        let (signature, body) =
            contents.split_first_chunk::<SIGNATURE_SIZE>().ok_or(Reason::AnnouncedTooShort)?;

        let block = Block::decode(version, Some(*signature), contents.slice(SIGNATURE_SIZE..))
            .map_err(|_| Reason::Payload)?;
        let timestamp = Some(block.timestamp());
        let id = Some(BlockId::of(&block));
        let refused = |reason, signer| Refusal { reason, block: id, timestamp, signer };
        if let Err(reason) = check_timestamp(block.timestamp(), now, rules.timestamp_threshold) {
            let hash = || signing_hash(BLOCK_DOMAIN, rules.chain_id.into(), payload_hash(body));
            let signer = names_untimely.then(|| recover(signature, &hash()).ok()).flatten();
            return Err(refused(reason, signer));
        }
        check_fields(&block, version)
            .and_then(|()| check_base_time(&block, rules))
            .map_err(|reason| refused(reason, None))?;

        let (payload_hash, root) = match threads {
            Some(threads) if body.len() >= LARGE => {
                let (hash, root) =
                    threads.both(|| payload_hash(body), || block.transactions_root());
                (hash, Some(root))
            }
            _ => (payload_hash(body), None),
        };
        let hash = signing_hash(BLOCK_DOMAIN, rules.chain_id.into(), payload_hash);
        let signer = recover(signature, &hash).map_err(|_| refused(Reason::Signature, None))?;
        if signer != current && Some(signer) != rules.signers.previous {
            return Err(refused(Reason::WrongSigner, Some(signer)));
        }

        if !block.has_true_hash_by(root.unwrap_or_else(|| block.transactions_root())) {
            return Err(refused(Reason::BlockHash, Some(signer)));
        }
        let breach = ScheduleBreach::of(rules, &block);
        Ok(Judged { verified: Verified { block, signer }, breach })
    }
}

/// Checks that `timestamp` is in the accepted window; both ends are inclusive.
pub(crate) fn check_timestamp(timestamp: u64, now: u64, threshold: Duration) -> Result<(), Reason> {
    if timestamp < now.saturating_sub(threshold.as_secs()) {
        let is_usual = timestamp >= now.saturating_sub(TIMESTAMP_THRESHOLD.as_secs());
        return Err(if is_usual { Reason::TooOldHere } else { Reason::TooOld });
    }
    if timestamp > now.saturating_add(TIMESTAMP_AHEAD.as_secs()) {
        return Err(Reason::TooNew);
    }
    Ok(())
}

/// Checks the fields that each version must and must not have. The decoder guarantees most of this.
/// The checks stay, because a rule that holds by construction elsewhere is one refactoring away
/// from not holding.
fn check_fields(block: &Block, version: PayloadVersion) -> Result<(), Reason> {
    let payload = block.payload();
    match (version.has_withdrawals(), payload.withdrawal_count()) {
        (false, Some(_)) => return Err(Reason::WithdrawalsPresent),
        (true, None) => return Err(Reason::WithdrawalsMissing),
        (true, Some(1..)) => return Err(Reason::WithdrawalsNotEmpty),
        (false, None) | (true, Some(0)) => {}
    }
    let (used, excess) = (payload.blob_gas_used(), payload.excess_blob_gas());
    if version.has_beacon_root() {
        if used.is_none() {
            return Err(Reason::BlobGasUsed);
        }
        if excess != Some(0) {
            return Err(Reason::ExcessBlobGas);
        }
        if block.parent_beacon_block_root().is_none() {
            return Err(Reason::BeaconRootMissing);
        }
    } else if used.is_some() {
        return Err(Reason::BlobGasUsedPresent);
    } else if excess.is_some() {
        return Err(Reason::ExcessBlobGasPresent);
    }
    if version.has_withdrawals_root() && payload.withdrawals_root().is_none() {
        return Err(Reason::WithdrawalsRootMissing);
    }
    Ok(())
}

/// Checks the BaseTime deposits for errors that no schedule explains, from the first block that
/// needs a deposit by our schedule. Before that block, and on chains without such blocks, these
/// transactions have no known meaning.
fn check_base_time(block: &Block, rules: &Rules) -> Result<(), Reason> {
    let first = rules.schedule.first_with_base_time();
    if first.is_none_or(|first| block.number() < first) {
        return Ok(());
    }
    let payload = block.payload();
    let calls = |index: &usize| payload.transaction(*index).is_some_and(BaseTime::is_addressed_by);
    let Some(time) = block.base_time() else {
        return if calls(&BASE_TIME_INDEX) { Err(Reason::BaseTimeForm) } else { Ok(()) };
    };
    if time.millis >= 1000 {
        return Err(Reason::BaseTimeMillis);
    }
    let mut others = (0..payload.transaction_count()).filter(|index| *index != BASE_TIME_INDEX);
    if others.any(|index| calls(&index)) {
        return Err(Reason::BaseTimeTwice);
    }
    Ok(())
}
