//! The decoder of records, for the fuzz targets in `tests/fuzz`. Not part of the public interface.

use std::io;

use alloy_primitives::B256;

use super::record::{self, StoredBlock};

/// Decodes a record of the block store and asserts that decoding only its identity gives the same
/// identity.
///
/// # Errors
///
/// A description of the first problem in the record.
pub fn read_record(hash: &B256, bytes: &[u8]) -> Result<StoredBlock, String> {
    let (whole, id) = (record::decode(hash, bytes), record::decode_id(hash, bytes));
    if let Ok(block) = &whole {
        assert_eq!(id, Ok(block.id()), "two identities of one record");
    }
    whole
}

/// Encodes a block as a record of the block store.
///
/// # Errors
///
/// If the message of the block is too long.
pub fn write_record(block: &StoredBlock) -> io::Result<Vec<u8>> {
    record::encode(block)
}
