//! Records, for the fuzz targets.

use std::io;

use alloy_primitives::B256;

use super::record::{self, StoredBlock};

/// Reads a whole record, whose identity must be the same when only that is read.
pub(crate) fn read(hash: &B256, bytes: &[u8]) -> Result<StoredBlock, String> {
    let (whole, id) = (record::decode(hash, bytes), record::decode_id(hash, bytes));
    if let Ok(block) = &whole {
        assert_eq!(id, Ok(block.id()), "two identities of one record");
    }
    whole
}

/// The bytes to keep.
pub(crate) fn write(block: &StoredBlock) -> io::Result<Vec<u8>> {
    record::encode(block)
}
