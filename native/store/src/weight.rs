//! Total size of the stored blocks in the file, updated as blocks are added and removed.
//!
//! The sum is an entry of the `meta` table, and changes in the transaction that changes the blocks.
//! The entry also has the number of blocks and the head's number. A version of this program that
//! does not keep the sum leaves those two out of date, and then all records are measured again.

use redb::{ReadableTable, Table};

use super::fault::Fault;

/// Name of the entry in `meta`: bytes, blocks, and number of the head, 8 bytes big-endian each.
const ENTRY: &str = "block_bytes";
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
        let entry = meta.get(ENTRY)?;
        let written: Option<[u8; 24]> = entry.and_then(|entry| entry.value().try_into().ok());
        let bytes = written.and_then(|written| {
            let bytes = written.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
            (written == encoded(bytes, state)).then_some(bytes)
        });
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => measured(blocks)?,
        };
        Ok(Self { bytes, written })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Accounts for the replacement of a record of length `old` by one of length `new`; `None`
    /// means no record.
    pub(super) fn replaced(&mut self, old: Option<usize>, new: Option<usize>) {
        let size = |length: Option<usize>| length.map_or(0, of_record);
        self.bytes = self.bytes.saturating_sub(size(old)).saturating_add(size(new));
    }

    /// Writes the sum if it differs from the stored one.
    pub(super) fn write(
        &self,
        meta: &mut Table<'_, &'static str, &'static [u8]>,
        state: (u64, u64),
    ) -> Result<(), Fault> {
        let entry = encoded(self.bytes, state);
        if self.written != Some(entry) {
            meta.insert(ENTRY, entry.as_slice())?;
        }
        Ok(())
    }
}

fn encoded(bytes: u64, (blocks, head): (u64, u64)) -> [u8; 24] {
    let mut entry = [0; 24];
    for (place, number) in entry.chunks_exact_mut(8).zip([bytes, blocks, head]) {
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
