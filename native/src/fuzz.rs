//! Private decoders of bytes from outside, for the fuzz targets of `tests/fuzz`. No part of the interface.

use alloy_primitives::B256;

use crate::store::StoredBlock;

/// A record of the block store.
///
/// # Errors
/// What is wrong with it.
pub fn read_record(hash: &B256, record: &[u8]) -> Result<StoredBlock, String> {
    crate::store::fuzz::read(hash, record)
}

/// The bytes to keep for a block.
///
/// # Errors
/// If its message is too long.
pub fn write_record(block: &StoredBlock) -> std::io::Result<Vec<u8>> {
    crate::store::fuzz::write(block)
}

/// The arguments of a call, each read as everything that an argument may be. What the errors say.
pub fn call_arguments(text: &str) -> Vec<String> {
    crate::rpc::fuzz::arguments(text)
}
