//! Reasons why blocks can't be exported or imported, and the version that decides on one of them.

use std::io;

use alloy_primitives::B256;
use opp2p_core::sync::range::{ChunkError, StreamError};

use crate::StoreError;

/// Version of the format that this program writes and reads.
pub const FORMAT_VERSION: u16 = 1;

/// Reason why blocks can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store has no block.
    #[error("the store has no block")]
    Empty,
    /// The store lacks the block to begin with.
    #[error("the store has no block {number}, and its highest is {highest}: name one that it has")]
    Missing {
        /// Number of the block.
        number: u64,
        /// Number of the highest block.
        highest: u64,
    },
    /// The lowest block is above the highest.
    #[error("block {lowest} is above block {highest}: exchange the two numbers")]
    Order {
        /// Number of the lowest block.
        lowest: u64,
        /// Number of the highest block.
        highest: u64,
    },
    /// The stream can't be written.
    #[error("can't write the blocks: {0}")]
    Write(#[source] io::Error),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reason why an import ended before the end of the file. Blocks that were stored before are right.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The stream can't be read.
    #[error("it can't be read: {0}")]
    Read(#[source] io::Error),
    /// The stream does not begin like a file of blocks.
    #[error("it is not a file of blocks, which opp2p store export writes")]
    NotAFile,
    /// The format has another version.
    #[error("its format has version {0}, and this program reads version {FORMAT_VERSION}")]
    Version(u16),
    /// The file belongs to another chain.
    #[error("it has blocks of chain {found}, and the store is of chain {expected}")]
    OtherChain {
        /// Chain of the file.
        found: u64,
        /// Chain of the store.
        expected: u64,
    },
    /// The file belongs to a chain with another genesis block.
    #[error("it is of the chain with genesis block {found}, and the store of that with {expected}")]
    OtherGenesis {
        /// Genesis block of the file's chain.
        found: B256,
        /// Genesis block of the store's chain.
        expected: B256,
    },
    /// The highest block is not the one that the caller knows.
    #[error("its highest block is {found}, not {expected}")]
    OtherHead {
        /// Hash of the file's highest block.
        found: B256,
        /// Hash that the caller knows.
        expected: B256,
    },
    /// The layout is broken, or the file is cut.
    #[error("it is damaged or cut below block {above}: {error}")]
    Layout {
        /// Number of the block above the fault; one more than the highest if that is missing.
        above: u64,
        /// The fault.
        error: StreamError,
    },
    /// A block is not the right one.
    #[error("it is damaged below block {above}: {error}")]
    Block {
        /// Number of the block above the fault.
        above: u64,
        /// The fault.
        error: ChunkError,
    },
    /// The file has no block.
    #[error("it has no block")]
    Empty,
    /// The store has another chain.
    #[error(
        "its block {number} is not on the store's chain, which has {stored} there: use a store of \
         its own, or export again from a node on the right chain"
    )]
    OtherBranch {
        /// Number of the block.
        number: u64,
        /// Hash of the store's block.
        stored: B256,
    },
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
