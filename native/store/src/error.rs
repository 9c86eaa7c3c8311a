//! Errors of the block store, one variant per remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::B256;

use super::record::MAX_MESSAGE_BYTES;
use super::{MAX_MEMORY_KEY, MAX_MEMORY_VALUE};

/// Losses when starting with an empty store, for error messages.
const LOST: &str = "the blocks, bans, scores, block lists and known peers in it are lost, and \
                    older blocks are not fetched again";

/// Reason why the store could not be opened, read or written.
///
/// Each message is one sentence that names the file and the remedy. None of these errors overwrites
/// anything.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory of the store is missing and can't be created, isn't a directory, or refuses
    /// new files.
    #[error(
        "the directory {} can't hold the block store ({source}): give this user permission to \
         write there, or choose another data directory",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Error from the operating system.
        source: Arc<io::Error>,
    },
    /// The path is something other than a regular file: a directory, a device, a pipe.
    #[error(
        "{} is {found}, not a block store file: move it away, or choose another data directory",
        path.display()
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is at the path, with its article.
        found: &'static str,
    },
    /// The file exists but can't be opened for reading and writing, or its file system is
    /// read-only.
    #[error(
        "the block store {} can't be written ({source}): make the file and its file system \
         writable for this user, or choose another data directory",
        path.display()
    )]
    NotWritable {
        /// The store's file.
        path: PathBuf,
        /// Error from the operating system.
        source: Arc<io::Error>,
    },
    /// The file belongs to another program, or is empty.
    #[error(
        "{} is not a block store of opp2p ({found}) and was left untouched: move it away, or \
         choose another data directory",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// Property by which it was recognised as foreign.
        found: &'static str,
    },
    /// The store was written by another version of this program.
    #[error(
        "the block store {} has schema {found} and this program reads schema {known}: use the \
         version that wrote it, or have that version export the blocks and import them here; with \
         an empty store in its place, {LOST}",
        path.display()
    )]
    UnknownSchema {
        /// The store's file.
        path: PathBuf,
        /// Schema number in the file.
        found: u32,
        /// Schema number that this program reads and writes.
        known: u32,
    },
    /// The store holds blocks of another chain.
    #[error(
        "the block store {} belongs to chain {found}, not to chain {expected}: choose another data \
         directory for this chain",
        path.display()
    )]
    OtherChain {
        /// The store's file.
        path: PathBuf,
        /// The L2 chain id in the file.
        found: u64,
        /// The configured L2 chain id.
        expected: u64,
    },
    /// The store holds blocks of a chain with the same id but another genesis block.
    #[error(
        "the block store {} belongs to the chain with genesis block {found}, not {expected}: \
         choose another data directory for this chain",
        path.display()
    )]
    OtherGenesis {
        /// The store's file.
        path: PathBuf,
        /// The genesis hash in the file.
        found: B256,
        /// The configured genesis hash.
        expected: B256,
    },
    /// Another process, or another part of this one, has the store open.
    #[error(
        "the block store {} is in use by another process: stop that process, or choose another \
         data directory",
        path.display()
    )]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is no longer at its path, although it is open.
    #[error(
        "the block store {} was {what} while it is in use, and the open file is lost when the node \
         ends: put the file back, or start the node again with what is there now",
        path.display()
    )]
    Gone {
        /// Path of the store's file.
        path: PathBuf,
        /// What happened to the file: `removed`, or `replaced by another file`.
        what: &'static str,
    },
    /// The disk, a quota or a file size limit is exhausted.
    #[error(
        "the disk is full at {} ({source}): free some space, or keep fewer blocks",
        path.display()
    )]
    DiskFull {
        /// The store's file.
        path: PathBuf,
        /// Error from the operating system.
        source: Arc<io::Error>,
    },
    /// The file is a store, but its structure is damaged.
    #[error(
        "the store {} is damaged ({detail}): with an empty store in its place, {LOST}; salvage the \
         intact data into a new store",
        path.display()
    )]
    Corrupted {
        /// The store's file.
        path: PathBuf,
        /// Description of the damage, by redb or the operating system.
        detail: String,
    },
    /// The store's structure is intact, but one block's bytes are not those that were written.
    #[error(
        "block {hash} in the block store {} is damaged ({detail}): check the disk, and if more \
         blocks are damaged, salvage the intact ones into a new store",
        path.display()
    )]
    CorruptedBlock {
        /// The store's file.
        path: PathBuf,
        /// The block's hash, which is its key.
        hash: B256,
        /// What is wrong with its bytes.
        detail: String,
    },
    /// The operating system failed in a way that no other variant describes.
    #[error(
        "{doing} the block store {} failed ({source}): check the disk and its file system",
        path.display()
    )]
    Io {
        /// The store's file.
        path: PathBuf,
        /// Operation that failed: `opening`, `reading`, `writing`.
        doing: &'static str,
        /// Error from the operating system.
        source: Arc<io::Error>,
    },
    /// The batch contradicts itself or the store, and nothing of it was written.
    #[error("a batch was refused and nothing of it was stored: {0}")]
    Refused(#[from] BatchError),
}

/// Contradiction of a [`Batch`](super::Batch) with itself or the store: a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A message is longer than the protocol allows.
    #[error(
        "the message of block {hash} has {len} bytes, more than the {MAX_MESSAGE_BYTES} that a \
         message may have"
    )]
    TooLarge {
        /// The block.
        hash: B256,
        /// Length of the message, in bytes.
        len: usize,
    },
    /// One hash appears with two numbers.
    #[error("block {hash} was given number {given} and is known with number {known}")]
    TwoNumbers {
        /// The block.
        hash: B256,
        /// The number in the batch.
        given: u64,
        /// The number in the store, or earlier in the batch.
        known: u64,
    },
    /// A canonical entry names a block that is neither in the batch nor in the store at that
    /// number.
    #[error("block {hash} can't be canonical at number {number}: no such block is stored")]
    UnknownBlock {
        /// The number.
        number: u64,
        /// The block.
        hash: B256,
    },
    /// The batch extends the chain downwards, and this block is not the parent of a stored one.
    #[error("block {hash} can't be canonical at number {number}: it is not below a stored block")]
    NotBelow {
        /// The number.
        number: u64,
        /// The block.
        hash: B256,
    },
    /// The batch extends the chain downwards, and retention would remove this block at once.
    #[error("block {number} would be the lowest, and the store's limits allow no more blocks")]
    NotKept {
        /// The number.
        number: u64,
    },
    /// The head names a number that has no canonical block.
    #[error("number {number} can't be the head: it has no canonical block")]
    HeadNotCanonical {
        /// The number.
        number: u64,
    },
    /// A canonical entry is above the head of the same batch, which would remove it.
    #[error("number {number} is above the batch's own head {head}")]
    AboveHead {
        /// The entry's number.
        number: u64,
        /// The batch's head.
        head: u64,
    },
    /// The key of a memory entry is too long.
    #[error(
        "a key of the memory has {len} bytes, more than the {MAX_MEMORY_KEY} that a key may have"
    )]
    KeyTooLong {
        /// Length of the key, in bytes.
        len: usize,
    },
    /// The value of a memory entry is too long.
    #[error(
        "a value of the memory has {len} bytes, more than the {MAX_MEMORY_VALUE} that a value may \
         have"
    )]
    ValueTooLong {
        /// Length of the value, in bytes.
        len: usize,
    },
}

/// Returns `true` if the error means that there is no room left, for whatever reason.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Returns `true` if the error means that writing is not allowed here.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
