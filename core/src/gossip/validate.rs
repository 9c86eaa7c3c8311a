//! The stateless checks of a gossip message, as a job that runs anywhere
//! (`op-node/p2p/gossip.go`, `BuildBlocksValidator`).
//!
//! What it costs to refuse a message is bounded by the check that refuses it. Layout, timestamp and fields are read in
//! passing, so they come first, where the reference has the signature before them: a message that fails either is
//! invalid either way, and garbage is not even hashed. Behind them anyone can make a node hash a message once and recover one
//! key; only the sequencer can make it hash transactions.
//!
//! A large block's two hashes, of the payload and of the transactions, take each other's time if there is a second thread to
//! do one of them: [`Threads`]. That is before the signature is known to be good, so the [`Node`](crate::node::Node)
//! allows it only if nothing forged came for a minute.
//!
//! The two checks that need memory, and the decision itself, are the
//! [`Node`](crate::node::Node)'s: see [`SeenBlocks`](super::SeenBlocks).

use super::signature::{BLOCK_DOMAIN, payload_hash, recover, signing_hash};
use super::{Reason, SIGNATURE_SIZE, Signers, Unpacked};
use crate::chain::{Fork, ForkSchedule};
use crate::payload::{Block, PayloadVersion};
use alloy_primitives::Address;
use std::time::Duration;

/// How old a block's timestamp may be (`p2p.gossip.timestamp.threshold` of the newer reference).
pub const TIMESTAMP_THRESHOLD: Duration = Duration::from_secs(60);
/// How far ahead of the wall clock a block's timestamp may be.
pub const TIMESTAMP_AHEAD: Duration = Duration::from_secs(5);

/// What messages are judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The L2 chain.
    pub chain_id: u64,
    /// When which fork is active.
    pub forks: ForkSchedule,
    /// Whose signature counts.
    pub signers: Signers,
    /// How old a timestamp may be; counts in whole seconds.
    pub timestamp_threshold: Duration,
}

/// A message that passed the stateless checks.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The block, with its signature.
    pub block: Block,
    /// Who signed it: one of [`Rules::signers`].
    pub signer: Address,
}

/// Bytes of a signed block from which on a second thread is worth its while.
const LARGE: usize = 256 << 10;

/// Who does two pieces of work: the driver knows whether it has threads.
pub trait Threads {
    /// Does both, maybe at the same time.
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B);
}

/// Does one after the other.
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

/// Runs all stateless checks over a message of topic `version`, at `now` (Unix seconds).
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

/// As [`validate`]; the transactions of a large block are hashed while its payload is, if there are `threads`.
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
    let contents = message.into_contents()?;
    let Some(current) = rules.signers.current else {
        return Err(Reason::NoSigner);
    };
    let (signature, body) =
        contents.split_first_chunk::<SIGNATURE_SIZE>().ok_or(Reason::AnnouncedTooShort)?;

    let block = Block::decode(version, Some(*signature), contents.slice(SIGNATURE_SIZE..))
        .map_err(|_| Reason::Payload)?;
    check_timestamp(block.timestamp(), now, rules.timestamp_threshold)?;
    check_fields(&block, version, &rules.forks)?;

    let (payload_hash, root) = match threads {
        Some(threads) if body.len() >= LARGE => {
            let (hash, root) = threads.both(|| payload_hash(body), || block.transactions_root());
            (hash, Some(root))
        }
        _ => (payload_hash(body), None),
    };
    let hash = signing_hash(BLOCK_DOMAIN, rules.chain_id.into(), payload_hash);
    let signer = recover(signature, &hash).map_err(|_| Reason::Signature)?;
    if signer != current && Some(signer) != rules.signers.previous {
        return Err(Reason::WrongSigner);
    }

    if !block.has_true_hash_by(root.unwrap_or_else(|| block.transactions_root())) {
        return Err(Reason::BlockHash);
    }
    Ok(Verified { block, signer })
}

/// Both ends of the window are inside it.
pub(crate) fn check_timestamp(timestamp: u64, now: u64, threshold: Duration) -> Result<(), Reason> {
    if timestamp < now.saturating_sub(threshold.as_secs()) {
        return Err(Reason::TooOld);
    }
    if timestamp > now.saturating_add(TIMESTAMP_AHEAD.as_secs()) {
        return Err(Reason::TooNew);
    }
    Ok(())
}

/// What each version must and must not have. The decoder settles most of it; the checks stay,
/// because a rule that holds by construction elsewhere is one refactoring away from not holding.
fn check_fields(block: &Block, version: PayloadVersion, forks: &ForkSchedule) -> Result<(), Reason> {
    let payload = block.payload();
    match (version.has_withdrawals(), payload.withdrawal_count()) {
        (false, Some(_)) => return Err(Reason::WithdrawalsPresent),
        (true, None) => return Err(Reason::WithdrawalsMissing),
        (true, Some(1..)) => return Err(Reason::WithdrawalsNotEmpty),
        (false, None) | (true, Some(0)) => {}
    }
    let (used, excess) = (payload.blob_gas_used(), payload.excess_blob_gas());
    if version.has_beacon_root() {
        let footprint_allowed = forks.is_active(Fork::Jovian, block.timestamp());
        if used.is_none_or(|used| used != 0 && !footprint_allowed) {
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
