//! Looks up blocks and facts for a read, and reports missing ones as needs.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, address};
use serde_json::Value;

use super::cache::Cache;
use super::chain::Chain;
use super::config::{HISTORY_BLOCKS, MAX_LINKS};
use super::error::ReadError;
use super::execute::Execution;
use super::need::{Fact, Key, Need};
use super::params::Place;
use crate::chain::{BlockId, ForkSchedule, Meant};
use crate::payload::Block;
use crate::proof::call::{Job, RuleSchedule};
use crate::proof::json::MAX_SLOTS;
use crate::proof::{BlockHeader, ProvedReceipts};
use crate::sorted::SortedMap;

/// The contract that stores the hashes of the last [`HISTORY_BLOCKS`] blocks (EIP-2935).
pub(super) const HISTORY: Address = address!("0000F90827F1C53a10cb7A02335B175320002935");

/// Maximum number of block hashes in one proof, which takes 200 kB.
const HASHES_AT_ONCE: usize = 64;
const _: () = assert!(HASHES_AT_ONCE <= MAX_SLOTS);

/// Proved facts of earlier reads.
///
/// # Bounds
/// Each cache has at most [`MAX_CACHE_BYTES`](super::config::MAX_CACHE_BYTES).
#[derive(Debug, Default)]
pub(super) struct Caches {
    pub(super) headers: Cache<Arc<BlockHeader>>,
    pub(super) blocks: Cache<Block>,
    pub(super) receipts: Cache<Arc<ProvedReceipts>>,
    pub(super) code: Cache<alloy_primitives::Bytes>,
}

/// Reason why a read can't be answered now.
#[derive(Debug)]
pub(super) enum Stop {
    /// These facts are missing.
    Need(Vec<Need>),
    /// There is no head yet.
    Head,
    /// An endpoint's claim is false.
    False {
        endpoint: usize,
        method: &'static str,
        part: String,
    },
    /// An endpoint's claim names a block that is not on the chain, perhaps because of a reorg.
    Distrust {
        endpoint: usize,
    },
    /// Everything that the call is known to read in the state of this block is proved.
    Execute(BlockId, Box<Job>),
    /// The rules for the call are unknown, but an endpoint may answer: method and parameters.
    Pass(Box<(String, Value)>),
    Fail(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Fail(error)
    }
}

/// Everything that an answer depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) chain_id: u64,
    /// The chain's rules, if calls are executed.
    pub(super) rules: Option<&'a RuleSchedule>,
    pub(super) chain: &'a Chain,
    pub(super) caches: &'a Caches,
    /// The chain's forks, if receipts have L1 fees.
    pub(super) forks: Option<&'a ForkSchedule>,
    /// The block that `latest` names for this read, and whose state proves older blocks.
    pub(super) anchor: Option<BlockId>,
    pub(super) facts: &'a SortedMap<Key, Fact>,
    pub(super) execution: &'a Execution,
}

impl<'a> Context<'a> {
    pub(super) fn anchor(&self) -> Result<BlockId, Stop> {
        self.anchor.ok_or(Stop::Head)
    }

    /// Returns the fact for a need, which may be [`Fact::Absent`].
    pub(super) fn fact(&self, need: Need) -> Result<&'a Fact, Stop> {
        match self.facts.get(&need.key()) {
            Some(Fact::Failed(error)) => Err(Stop::Fail(error.clone())),
            Some(fact) => Ok(fact),
            None => Err(Stop::Need(vec![need])),
        }
    }

    /// Returns the header of a block that is not a recent one, or `None` if no endpoint has it.
    fn fetched_header(&self, hash: B256) -> Result<Option<Arc<BlockHeader>>, Stop> {
        if let Some(header) = self.caches.headers.get(&hash) {
            return Ok(Some(header.clone()));
        }
        match self.fact(Need::Header { hash })? {
            Fact::Header(header) => Ok(Some(header.clone())),
            _ => Ok(None),
        }
    }

    /// Returns the header of a canonical block.
    pub(super) fn header(&self, id: BlockId) -> Result<Arc<BlockHeader>, Stop> {
        if let Some(header) = self.chain.header(id) {
            return Ok(header.clone());
        }
        match self.fetched_header(id.hash)? {
            Some(header) => Ok(header),
            None => Err(self.absent(&Need::Header { hash: id.hash })),
        }
    }

    /// Returns the error for a canonical block that no endpoint has.
    fn absent(&self, need: &Need) -> Stop {
        match self.facts.get(&need.key()) {
            Some(Fact::Absent(error)) => Stop::Fail(error.clone()),
            _ => Stop::Fail(ReadError::UnknownBlock),
        }
    }

    /// Returns the whole block with this hash, or `None` if no endpoint has it.
    pub(super) fn whole_if_any(&self, hash: B256) -> Result<Option<Block>, Stop> {
        match self.chain.id_of(hash).and_then(|id| self.chain.block(id)) {
            Some(block) => Ok(Some(block.clone())),
            None => self.fetched_block(hash),
        }
    }

    /// Returns a whole block that is not among the recent ones, or `None` if no endpoint has it.
    fn fetched_block(&self, hash: B256) -> Result<Option<Block>, Stop> {
        if let Some(block) = self.caches.blocks.get(&hash) {
            return Ok(Some(block.clone()));
        }
        match self.fact(Need::Body { hash })? {
            Fact::Body(block) => Ok(Some(block.clone())),
            _ => Ok(None),
        }
    }

    /// Returns a whole canonical block.
    pub(super) fn whole(&self, id: BlockId) -> Result<Block, Stop> {
        if let Some(block) = self.chain.block(id) {
            return Ok(block.clone());
        }
        let hash = id.hash;
        self.fetched_block(hash)?.ok_or_else(|| self.absent(&Need::Body { hash }))
    }

    /// Returns the canonical block that `place` names.
    pub(super) fn id(&self, place: Place) -> Result<BlockId, Stop> {
        match place {
            Place::Tag(tag) => match self.chain.labels.meant(tag, Some(self.anchor()?)) {
                Ok(Meant::Block(id)) => Ok(id),
                Ok(Meant::Lowest) => self.id(Place::Number(0)),
                Ok(Meant::Nothing) => Err(Stop::Head),
                Err(error) => Err(Stop::Fail(error.into())),
            },
            Place::Number(number) => Ok(BlockId::new(number, self.hash(number)?)),
            Place::Hash(hash) => {
                self.anchor()?;
                if let Some(id) = self.chain.id_of(hash) {
                    return Ok(id);
                }
                let header = self.fetched_header(hash)?.ok_or(ReadError::UnknownBlock)?;
                self.canonical(BlockId::new(header.number, hash))
            }
        }
    }

    /// Checks that a block is canonical.
    pub(super) fn canonical(&self, id: BlockId) -> Result<BlockId, Stop> {
        let labels = [self.chain.labels.safe, self.chain.labels.finalized];
        if labels.contains(&Some(id)) || self.hash(id.number)? == id.hash {
            Ok(id)
        } else {
            Err(ReadError::UnknownBlock.into())
        }
    }

    /// Returns the hash of the canonical block with this number.
    fn hash(&self, number: u64) -> Result<B256, Stop> {
        let hashes = self.hashes(number, number)?;
        hashes.first().copied().ok_or(Stop::Fail(ReadError::UnknownBlock))
    }

    /// Returns the hashes of the canonical blocks in a range.
    pub(super) fn hashes(&self, first: u64, last: u64) -> Result<Vec<B256>, Stop> {
        let anchor = self.anchor()?;
        if last > anchor.number && self.chain.at(last).is_none() {
            return Err(ReadError::UnknownBlock.into());
        }
        let unknown: Vec<u64> =
            (first..=last).take_while(|number| self.chain.at(*number).is_none()).collect();
        let mut hashes = if unknown.is_empty() { Vec::new() } else { self.older(&unknown)? };
        let recent = first + unknown.len() as u64..=last;
        hashes.extend(recent.filter_map(|number| self.chain.at(number)).map(|id| id.hash));
        Ok(hashes)
    }

    /// Returns the hashes of blocks below the recent ones, given consecutive ascending numbers.
    fn older(&self, numbers: &[u64]) -> Result<Vec<B256>, Stop> {
        let anchor = self.anchor()?;
        let (Some(first), Some(lowest)) = (numbers.first(), self.chain.lowest()) else {
            return Err(Stop::Head);
        };
        let can_follow_links = lowest.number - first <= MAX_LINKS;
        let is_isthmus =
            self.chain.header(anchor).is_some_and(|header| header.requests_hash.is_some());
        let is_in_history = is_isthmus && anchor.number.saturating_sub(*first) <= HISTORY_BLOCKS;
        if is_in_history {
            match self.by_history(anchor, numbers) {
                Ok(Some(hashes)) => return Ok(hashes),
                Ok(None) => {}
                // No endpoint proves the state. Parent hashes remain.
                Err(Stop::Fail(_)) if can_follow_links => {}
                Err(stop) => return Err(stop),
            }
        }
        if can_follow_links {
            return self.by_links(lowest, numbers);
        }
        let by_links = lowest.number.saturating_sub(MAX_LINKS);
        let by_history = anchor.number.saturating_sub(HISTORY_BLOCKS);
        let lowest = if is_isthmus && !is_in_history { by_history.min(by_links) } else { by_links };
        Err(ReadError::TooOld { number: *first, lowest }.into())
    }

    /// Returns the hashes from the anchor's state, or `None` if it lacks one of them.
    fn by_history(&self, anchor: BlockId, numbers: &[u64]) -> Result<Option<Vec<B256>>, Stop> {
        let state_root = self.header(anchor)?.state_root;
        let (mut hashes, mut needs) = (Vec::with_capacity(numbers.len()), Vec::new());
        for part in numbers.chunks(HASHES_AT_ONCE) {
            let slots = part.iter().map(|number| U256::from(number % HISTORY_BLOCKS).into());
            let slots = slots.collect();
            let need = Need::Account { block: anchor, state_root, address: HISTORY, slots };
            match self.fact(need) {
                Ok(Fact::Account(proved)) => {
                    hashes.extend(proved.1.values.iter().map(|value| B256::from(*value)));
                }
                Ok(_) => return Ok(None),
                Err(Stop::Need(need)) => needs.extend(need),
                Err(stop) => return Err(stop),
            }
        }
        if !needs.is_empty() {
            return Err(Stop::Need(needs));
        }
        // The genesis may lack the contract, or the history may begin later.
        Ok((!hashes.contains(&B256::ZERO)).then_some(hashes))
    }

    /// Follows parent hashes down from the lowest recent block.
    fn by_links(&self, lowest: BlockId, numbers: &[u64]) -> Result<Vec<B256>, Stop> {
        let mut below = self.header(lowest)?.parent_hash;
        let mut hashes = Vec::with_capacity(numbers.len());
        let first = numbers.first().copied().unwrap_or(lowest.number);
        for number in (first..lowest.number).rev() {
            if numbers.last().is_some_and(|last| number <= *last) {
                hashes.push(below);
            }
            if number > first {
                below = self.header(BlockId::new(number, below))?.parent_hash;
            }
        }
        hashes.reverse();
        Ok(hashes)
    }

    /// Returns `true` for a need of block hashes from the anchor's state.
    pub(super) fn is_history(need: &Need) -> bool {
        matches!(need, Need::Account { address: HISTORY, .. })
    }
}
