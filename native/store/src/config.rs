//! Configuration of a store, and the bounds of its memory.

use alloy_primitives::B256;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum length of a memory key, in bytes.
pub const MAX_MEMORY_KEY: usize = 256;

/// Maximum length of a memory value, in bytes.
pub const MAX_MEMORY_VALUE: usize = 64 * 1024;

/// An entry of the memory: key and value.
pub type MemoryEntry = (Vec<u8>, Vec<u8>);

/// Location, chain and retention limits of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Path of the store's file. Its directory is created if it is missing.
    pub path: PathBuf,
    /// L2 chain id.
    pub chain_id: u64,
    /// Hash of the chain's genesis block.
    pub genesis_hash: B256,
    /// Maximum number of blocks kept, canonical or not. The head is always kept.
    pub max_blocks: u64,
    /// Maximum size of the kept blocks in the file, in bytes, compressed. The head is always kept.
    pub max_bytes: u64,
    /// Maximum age of a block relative to the head, by their timestamps. The head is always kept.
    pub max_age: Duration,
}

impl StoreConfig {
    /// Returns the configuration of a store that is opened only for its memory: no limit removes
    /// its blocks.
    pub const fn for_memory(path: PathBuf, chain_id: u64, genesis_hash: B256) -> Self {
        let (max_blocks, max_bytes, max_age) = (u64::MAX, u64::MAX, Duration::MAX);
        Self { path, chain_id, genesis_hash, max_blocks, max_bytes, max_age }
    }
}
