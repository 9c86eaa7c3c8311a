//! Lookups of canonical positions, by number and hash, in one snapshot. No whole block is read.

use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, Descent};
use opp2p_core::feed::{LONGEST_BRANCH, Tip, Way};
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError, Value,
};

use super::fault::Fault;
use super::record;
use super::schema::{ABANDONED, BLOCKS, Before, CANONICAL, PAST, PENDING};

/// Maximum number of records read to follow a branch left by an older version of this program,
/// which kept no table of abandoned blocks.
const MAX_RECORDS: usize = 4096;

/// Abandoned blocks, keyed by whether the block is stored, number and hash.
type Abandoned = ReadOnlyTable<(bool, u64, [u8; 32]), Before>;
/// Pending blocks: number and hash, then the parent's hash and the size of the message.
type Pending = ReadOnlyTable<(u64, [u8; 32]), ([u8; 32], u64)>;

/// The tables of one snapshot.
pub(super) struct Ids {
    canonical: ReadOnlyTable<u64, [u8; 32]>,
    past: Option<ReadOnlyTable<u64, ([u8; 32], bool)>>,
    abandoned: Option<Abandoned>,
    pending: Option<Pending>,
    records: ReadOnlyTable<[u8; 32], &'static [u8]>,
}

/// Opens a table that a file of an older version may lack.
fn optional<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, Fault> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Result of looking up a block that is not canonical.
enum Left {
    /// It was once canonical, is pending, or has a record.
    Known {
        /// The position before it, if known.
        before: Option<BlockId>,
        /// Whether the block was never received, and so was never reported to a reader.
        is_missing: bool,
    },
    Unknown,
}

impl Ids {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self {
            canonical: transaction.open_table(CANONICAL)?,
            past: optional(transaction, PAST)?,
            abandoned: optional(transaction, ABANDONED)?,
            pending: optional(transaction, PENDING)?,
            records: transaction.open_table(BLOCKS)?,
        })
    }

    /// Returns the highest canonical position.
    pub(super) fn head(&self) -> Result<Option<BlockId>, Fault> {
        let stored = self.canonical.last()?.map(|(number, hash)| (number.value(), hash.value()));
        let past = match &self.past {
            Some(past) => past.last()?.map(|(number, value)| (number.value(), value.value().0)),
            None => None,
        };
        let highest = stored.into_iter().chain(past).max_by_key(|(number, _)| *number);
        Ok(highest.map(|(number, hash)| BlockId::new(number, hash.into())))
    }

    /// Returns the canonical block with this number.
    fn at(&self, number: u64) -> Result<Option<[u8; 32]>, Fault> {
        if let Some(hash) = self.canonical.get(number)? {
            return Ok(Some(hash.value()));
        }
        let Some(past) = &self.past else { return Ok(None) };
        Ok(past.get(number)?.map(|entry| entry.value().0))
    }

    /// Returns up to `limit` canonical positions from `from` downwards, highest first. Numbers are
    /// missing where blocks were left out.
    pub(super) fn below(&self, from: u64, limit: usize) -> Result<Vec<BlockId>, Fault> {
        let mut found = Vec::new();
        for entry in self.canonical.range(..=from)?.rev().take(limit) {
            let (number, hash) = entry?;
            found.push(BlockId::new(number.value(), hash.value().into()));
        }
        if let Some(past) = &self.past {
            for entry in past.range(..=from)?.rev().take(limit) {
                let (number, value) = entry?;
                found.push(BlockId::new(number.value(), value.value().0.into()));
            }
        }
        found.sort_unstable_by_key(|id| std::cmp::Reverse(id.number));
        found.truncate(limit);
        Ok(found)
    }

    /// Returns the relation of a block to the canonical chain.
    pub(super) fn way(&self, tip: Tip) -> Result<Way, Fault> {
        let mut abandoned = Descent::default();
        let mut records = 0;
        let mut next = Some(tip);
        let mut is_known = false;
        while let Some(Tip { id, parent }) = next {
            if self.at(id.number)?.is_some_and(|hash| hash == id.hash.0) {
                return Ok(Way::To { ancestor: id, abandoned: abandoned.finish() });
            }
            if abandoned.count() > LONGEST_BRANCH as u64 {
                break;
            }
            let below = id.number.checked_sub(1);
            let parent = below.zip(parent).map(|(number, hash)| BlockId::new(number, hash));
            let (before, is_missing) = match self.left(id, &mut records)? {
                Left::Known { before, is_missing } => {
                    is_known |= abandoned.count() == 0;
                    (before.or(parent), is_missing)
                }
                Left::Unknown => (parent, false),
            };
            if !is_missing {
                abandoned.push(id);
            }
            next = before.filter(|before| before.number < id.number).map(Tip::new);
        }
        if is_known {
            return Ok(Way::Lost);
        }
        let may_come = self.head()?.is_none_or(|head| head.number < tip.id.number);
        Ok(Way::Unknown { may_come })
    }

    /// Looks up a block that is not canonical. Reads its record if no table has it.
    fn left(&self, id: BlockId, records: &mut usize) -> Result<Left, Fault> {
        if let Some(abandoned) = &self.abandoned {
            for is_stored in [true, false] {
                if let Some(before) = abandoned.get((is_stored, id.number, id.hash.0))? {
                    let (number, hash, is_missing) = before.value();
                    let before = (hash != [0; 32]).then_some(BlockId::new(number, hash.into()));
                    return Ok(Left::Known { before, is_missing });
                }
            }
        }
        let below = id.number.checked_sub(1);
        let of_parent = |parent: Option<B256>| Left::Known {
            before: below.zip(parent).map(|(number, hash)| BlockId::new(number, hash)),
            is_missing: false,
        };
        if let Some(pending) = &self.pending
            && let Some(entry) = pending.get((id.number, id.hash.0))?
        {
            return Ok(of_parent(Some(entry.value().0.into())));
        }
        *records += 1;
        if *records > MAX_RECORDS {
            return Ok(Left::Unknown);
        }
        let Some(record) = self.records.get(id.hash.0)? else { return Ok(Left::Unknown) };
        // A record that can't be decoded gives no parent.
        let found = record::decode_id(&id.hash, record.value()).ok();
        Ok(of_parent(found.map(|found| found.parent_hash)))
    }
}
