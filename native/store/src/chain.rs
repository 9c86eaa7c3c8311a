//! The canonical chain within a write transaction: which blocks are canonical and which were.
//!
//! Three tables hold it (see `schema`): `canonical` has the positions whose blocks are stored,
//! `past` the positions remembered only by their hashes, and `abandoned` the blocks that a rewind
//! left.
//!
//! # Invariants
//!
//! * The lower of two adjacent canonical positions is the parent of the upper one. A block that
//!   contradicts this removes the other branch from the chain: everything above it if it replaces
//!   another block, everything below it if it does not build on the block there. A number without a
//!   position is a hole: the block was never received, or was not stored.
//! * The parent of every canonical block is a position, so the hash of the block below a hole's
//!   upper end is known.
//! * A change is one transaction, whatever its length. Its working memory is [`STEP`] entries and
//!   the database's page cache.
//!
//! # Bounds
//!
//! `past` reaches [`REMEMBERED`] numbers below the head. `abandoned` has an entry for each
//! abandoned block that is stored, which retention bounds. Beyond [`MAX_ABANDONED`] entries in
//! total, those whose blocks are not stored are removed, lowest first.

use alloy_primitives::B256;
use opp2p_core::feed::LONGEST_BRANCH;
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::fault::Fault;
use super::record;
use super::schema::{ABANDONED, Before, CANONICAL, PAST};

/// Number of canonical positions below the head that are remembered by their hashes.
pub(super) const REMEMBERED: u64 = LONGEST_BRANCH as u64;

/// Maximum number of entries of abandoned blocks, above which those without a stored block are
/// removed.
const MAX_ABANDONED: u64 = 2 * REMEMBERED;

/// Number of entries moved at a time.
const STEP: usize = 1 << 14;

/// The table of block records, for looking up parents that are not known otherwise.
type Records<'txn> = Table<'txn, [u8; 32], &'static [u8]>;

/// A position that leaves the chain.
struct Leaving {
    number: u64,
    hash: [u8; 32],
    is_stored: bool,
    /// Whether the block was never received.
    is_missing: bool,
}

/// The tables of one write transaction.
pub(super) struct Chain<'txn> {
    canonical: Table<'txn, u64, [u8; 32]>,
    past: Table<'txn, u64, ([u8; 32], bool)>,
    abandoned: Table<'txn, (bool, u64, [u8; 32]), Before>,
}

impl<'txn> Chain<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            canonical: transaction.open_table(CANONICAL)?,
            past: transaction.open_table(PAST)?,
            abandoned: transaction.open_table(ABANDONED)?,
        })
    }

    /// Returns the highest canonical position whose block is stored.
    pub(super) fn stored_head(&self) -> Result<Option<(u64, [u8; 32])>, Fault> {
        Ok(self.canonical.last()?.map(|(number, hash)| (number.value(), hash.value())))
    }

    /// Returns the lowest stored canonical block.
    pub(super) fn stored_lowest(&self) -> Result<Option<(u64, [u8; 32])>, Fault> {
        Ok(self.canonical.first()?.map(|(number, hash)| (number.value(), hash.value())))
    }

    /// Returns the number of stored canonical blocks.
    pub(super) fn len(&self) -> Result<u64, Fault> {
        Ok(self.canonical.len()?)
    }

    /// Returns the canonical block with this number, if it is stored.
    pub(super) fn at(&self, number: u64) -> Result<Option<[u8; 32]>, Fault> {
        Ok(self.canonical.get(number)?.map(|entry| entry.value()))
    }

    pub(super) fn is_canonical(&self, number: u64, hash: &[u8; 32]) -> Result<bool, Fault> {
        Ok(self.at(number)?.is_some_and(|entry| entry == *hash))
    }

    /// Returns `true` if this is the parent of a canonical block that is stored.
    pub(super) fn is_parent(
        &self,
        number: u64,
        hash: &[u8; 32],
        records: &Records<'_>,
    ) -> Result<bool, Fault> {
        let Some(above) = number.checked_add(1) else { return Ok(false) };
        let Some(child) = self.at(above)? else { return Ok(false) };
        Ok(parent_in_record(&child, records)?.is_some_and(|parent| parent == *hash))
    }

    /// Returns the canonical position with this number, whether or not its block is stored.
    fn position(&self, number: u64) -> Result<Option<[u8; 32]>, Fault> {
        if let Some(hash) = self.at(number)? {
            return Ok(Some(hash));
        }
        Ok(self.past.get(number)?.map(|entry| entry.value().0))
    }

    /// Removes the positions with this number and above from the chain.
    pub(super) fn cut(&mut self, from: u64, records: &Records<'_>) -> Result<(), Fault> {
        self.leave(from, u64::MAX, records)
    }

    /// Makes a stored block canonical. `parent` is its parent's hash, if the caller knows it.
    pub(super) fn put(
        &mut self,
        number: u64,
        hash: [u8; 32],
        parent: Option<[u8; 32]>,
        records: &Records<'_>,
    ) -> Result<(), Fault> {
        let before = self.position(number)?;
        if before.is_some_and(|before| before != hash) {
            // The blocks above build on the replaced block.
            self.cut(number, records)?;
        }
        self.canonical.insert(number, hash)?;
        self.past.remove(number)?;
        self.reinstate(number, hash)?;
        if before.is_none()
            && let Some(above) = number.checked_add(1)
            && let Some(child) = self.position(above)?
            && parent_in_record(&child, records)?.is_some_and(|parent| parent != hash)
        {
            self.cut(above, records)?;
        }
        let parent = match parent {
            Some(parent) => Some(parent),
            None => parent_in_record(&hash, records)?,
        };
        let (Some(below), Some(parent)) = (number.checked_sub(1), parent) else { return Ok(()) };
        match self.position(below)? {
            Some(position) if position == parent => return Ok(()),
            // The blocks below belong to another branch.
            Some(_) => self.leave(0, below, records)?,
            None => {}
        }
        self.past.insert(below, (parent, true))?;
        Ok(())
    }

    /// Records that retention removes this block. If it was canonical or abandoned, its hash is
    /// remembered.
    pub(super) fn forget_block(&mut self, number: u64, hash: [u8; 32]) -> Result<(), Fault> {
        if self.is_canonical(number, &hash)? {
            self.canonical.remove(number)?;
            self.past.insert(number, (hash, false))?;
        } else {
            let before = self.abandoned.remove((true, number, hash))?.map(|before| before.value());
            if let Some(before) = before {
                self.abandoned.insert((false, number, hash), before)?;
            }
        }
        Ok(())
    }

    /// Records that a block is stored, perhaps again after retention removed it: its position then
    /// counts as stored.
    pub(super) fn restore_block(&mut self, number: u64, hash: [u8; 32]) -> Result<(), Fault> {
        if self.past.get(number)?.is_some_and(|entry| entry.value() == (hash, false)) {
            self.past.remove(number)?;
            self.canonical.insert(number, hash)?;
        }
        if self.abandoned.is_empty()? {
            return Ok(());
        }
        let before = self.abandoned.remove((false, number, hash))?.map(|before| before.value());
        if let Some(before) = before {
            self.abandoned.insert((true, number, hash), before)?;
        }
        Ok(())
    }

    /// Returns `true` if this block was once canonical, no longer is, and is stored.
    pub(super) fn is_abandoned(&self, number: u64, hash: [u8; 32]) -> Result<bool, Fault> {
        Ok(self.abandoned.get((true, number, hash))?.is_some())
    }

    /// Returns the stored abandoned blocks, lowest first.
    pub(super) fn stored_abandoned(
        &self,
    ) -> Result<impl Iterator<Item = Result<(u64, [u8; 32]), Fault>>, Fault> {
        let entries = self.abandoned.range((true, 0, [0; 32])..)?;
        Ok(entries.map(|entry| {
            let (_, number, hash) = entry?.0.value();
            Ok((number, hash))
        }))
    }

    /// Removes entries beyond the bounds, lowest first, at most `limit` of each table.
    pub(super) fn trim(&mut self, limit: u64) -> Result<(), Fault> {
        if let Some((head, _)) = self.stored_head()? {
            let kept_from = head.saturating_sub(REMEMBERED);
            for _ in 0..limit {
                let first = self.past.first()?.map(|(number, _)| number.value());
                if first.is_none_or(|number| number >= kept_from) {
                    break;
                }
                self.past.pop_first()?;
            }
        }
        for _ in 0..limit.min(self.abandoned.len()?.saturating_sub(MAX_ABANDONED)) {
            let first = self.abandoned.first()?.map(|(key, _)| key.value());
            match first {
                Some(key @ (false, ..)) => drop(self.abandoned.remove(key)?),
                _ => break,
            }
        }
        Ok(())
    }

    /// Returns the highest position below this number.
    fn position_below(&self, number: u64) -> Result<Option<(u64, [u8; 32])>, Fault> {
        let stored = self.canonical.range(..number)?.next_back().transpose()?;
        let stored = stored.map(|(number, hash)| (number.value(), hash.value()));
        let past = self.past.range(..number)?.next_back().transpose()?;
        let past = past.map(|(number, value)| (number.value(), value.value().0));
        Ok(stored.into_iter().chain(past).max_by_key(|(number, _)| *number))
    }

    /// Removes a block from the abandoned ones, because it is canonical again.
    fn reinstate(&mut self, number: u64, hash: [u8; 32]) -> Result<(), Fault> {
        if !self.abandoned.is_empty()? {
            self.abandoned.remove((true, number, hash))?;
            self.abandoned.remove((false, number, hash))?;
        }
        Ok(())
    }

    /// Moves the positions `from..=to`, highest first, to the abandoned blocks.
    fn leave(&mut self, from: u64, to: u64, records: &Records<'_>) -> Result<(), Fault> {
        loop {
            let leaving = self.highest(from, to)?;
            let (Some(lowest), Some(highest)) = (leaving.first(), leaving.last()) else {
                return Ok(());
            };
            let (lowest, highest) = (lowest.number, highest.number);
            let mut before = self.position_below(lowest)?;
            for Leaving { number, hash, is_stored, is_missing } in leaving {
                let (number_before, hash_before) = match before.replace((number, hash)) {
                    Some(before) => before,
                    None => {
                        let parent = parent_in_record(&hash, records)?.unwrap_or_default();
                        (number.saturating_sub(1), parent)
                    }
                };
                let value = (number_before, hash_before, is_missing);
                self.abandoned.insert((is_stored, number, hash), value)?;
            }
            self.canonical.retain_in(lowest..=highest, |_, _| false)?;
            self.past.retain_in(lowest..=highest, |_, _| false)?;
        }
    }

    /// Returns the highest [`STEP`] positions of a range, lowest first.
    fn highest(&self, from: u64, to: u64) -> Result<Vec<Leaving>, Fault> {
        let mut found = Vec::new();
        for entry in self.canonical.range(from..=to)?.rev().take(STEP) {
            let (number, hash) = entry?;
            let (number, hash) = (number.value(), hash.value());
            found.push(Leaving { number, hash, is_stored: true, is_missing: false });
        }
        for entry in self.past.range(from..=to)?.rev().take(STEP) {
            let (number, value) = entry?;
            let (number, (hash, is_missing)) = (number.value(), value.value());
            found.push(Leaving { number, hash, is_stored: false, is_missing });
        }
        found.sort_unstable_by_key(|position| std::cmp::Reverse(position.number));
        found.truncate(STEP);
        found.reverse();
        Ok(found)
    }
}

fn parent_in_record(hash: &[u8; 32], records: &Records<'_>) -> Result<Option<[u8; 32]>, Fault> {
    let record = records.get(*hash)?;
    let id = record.and_then(|record| record::decode_id(&B256::new(*hash), record.value()).ok());
    Ok(id.map(|id| id.parent_hash.0))
}
