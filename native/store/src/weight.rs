//! Total size of the stored blocks in the file, updated as blocks are added and removed.
//!
//! The sum is an entry of the `meta` table, and changes in the transaction that changes the blocks.
//! The entry also has the number of blocks and the head's number. A version of this program that
//! does not keep the sum leaves those two out of date, and then all records are measured again.
//!
//! The size of the pending blocks is kept likewise. Without these sums, each commit would read
//! whole tables, and filling a long gap would take quadratic time.

use redb::{ReadableTable, Table};

use super::fault::Fault;

/// Name of the entry in `meta`: bytes, blocks, and number of the head, 8 bytes big-endian each.
const ENTRY: &str = "block_bytes";
/// Name of the entry in `meta` for pending blocks: their bytes, their number, and the number of all
/// blocks, 8 bytes big-endian each.
const PENDING_ENTRY: &str = "pending_bytes";
/// Size of the smallest page of the database, in bytes.
const PAGE: u64 = 4096;
/// Maximum overhead of a page with one record, in bytes.
const PAGE_HEAD: u64 = 128;

/// Returns the size that a record of `length` bytes takes in the file. A record that fills a page
/// gets pages of its own, whose number is a power of two.
pub(super) fn of_record(length: usize) -> u64 {
    let length = length as u64;
    if length < PAGE / 2 { length } else { (length + PAGE_HEAD).next_power_of_two().max(PAGE) }
}

/// Total size of all stored blocks, in bytes.
#[derive(Debug, Default)]
pub(super) struct Weight {
    bytes: u64,
    pending: Pending,
    /// Entry as it is stored in `meta`.
    written: Option<[u8; 24]>,
}

impl Weight {
    /// Returns the stored sum, or measures `blocks` if a version that does not keep the sum changed
    /// them.
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        state: (u64, u64),
        blocks: &impl ReadableTable<[u8; 32], &'static [u8]>,
    ) -> Result<Self, Fault> {
        let (written, bytes) = stored(meta, ENTRY, state)?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => measured(blocks)?,
        };
        Ok(Self { bytes, pending: Pending::default(), written })
    }

    /// Reads the sum of the pending blocks as well. `blocks` is the number of all blocks.
    pub(super) fn with_pending(
        self,
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        blocks: u64,
        pending: &impl PendingTable,
    ) -> Result<Self, Fault> {
        Ok(Self { pending: Pending::read(meta, blocks, pending)?, ..self })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Size of the blocks that are not pending, in bytes.
    pub(super) fn kept(&self) -> u64 {
        self.bytes.saturating_sub(self.pending.bytes)
    }

    /// Accounts for the replacement of a pending block of `old` bytes by one of `new` bytes; zero
    /// means none.
    pub(super) fn pending_replaced(&mut self, old: u64, new: u64) {
        self.pending.bytes = self.pending.bytes.saturating_sub(old).saturating_add(new);
    }

    /// Accounts for the replacement of a record of length `old` by one of length `new`; `None`
    /// means no record.
    pub(super) fn replaced(&mut self, old: Option<usize>, new: Option<usize>) {
        let size = |length: Option<usize>| length.map_or(0, of_record);
        self.bytes = self.bytes.saturating_sub(size(old)).saturating_add(size(new));
    }

    /// Writes the sums if they differ from the stored ones. `pending` is the number of pending
    /// blocks.
    pub(super) fn write(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
        state: (u64, u64),
        pending: u64,
    ) -> Result<(), Fault> {
        let entry = encoded(self.bytes, state);
        if self.written != Some(entry) {
            meta.insert(ENTRY, entry.as_slice())?;
        }
        let entry = encoded(self.pending.bytes, (pending, state.0));
        if self.pending.written != Some(entry) {
            meta.insert(PENDING_ENTRY, entry.as_slice())?;
        }
        Ok(())
    }
}

/// Total size of all pending blocks, in bytes.
#[derive(Debug, Default)]
struct Pending {
    bytes: u64,
    /// Entry as it is stored in `meta`.
    written: Option<[u8; 24]>,
}

/// The table of pending blocks: parent and size by number and hash.
pub(super) trait PendingTable: ReadableTable<(u64, [u8; 32]), ([u8; 32], u64)> {}

impl<T: ReadableTable<(u64, [u8; 32]), ([u8; 32], u64)>> PendingTable for T {}

impl Pending {
    fn read(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        blocks: u64,
        table: &impl PendingTable,
    ) -> Result<Self, Fault> {
        let (written, bytes) = stored(meta, PENDING_ENTRY, (table.len()?, blocks))?;
        if let Some(bytes) = bytes {
            return Ok(Self { bytes, written });
        }
        let mut bytes = 0_u64;
        for entry in table.iter()? {
            bytes = bytes.saturating_add(entry?.1.value().1);
        }
        Ok(Self { bytes, written })
    }
}

/// Returns a stored entry, and its sum if it belongs to this state.
fn stored(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
    state: (u64, u64),
) -> Result<(Option<[u8; 24]>, Option<u64>), Fault> {
    let entry = meta.get(name)?;
    let written: Option<[u8; 24]> = entry.and_then(|entry| entry.value().try_into().ok());
    let sum = written.and_then(|written| {
        let sum = written.first_chunk().map(|sum| u64::from_be_bytes(*sum))?;
        (written == encoded(sum, state)).then_some(sum)
    });
    Ok((written, sum))
}

fn encoded(sum: u64, state: (u64, u64)) -> [u8; 24] {
    let mut entry = [0; 24];
    for (place, number) in entry.chunks_exact_mut(8).zip([sum, state.0, state.1]) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    entry
}

fn measured(blocks: &impl ReadableTable<[u8; 32], &'static [u8]>) -> Result<u64, Fault> {
    let mut bytes = 0_u64;
    for entry in blocks.iter()? {
        bytes = bytes.saturating_add(of_record(entry?.1.value().len()));
    }
    Ok(bytes)
}
