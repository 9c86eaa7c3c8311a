//! What can go wrong with a block store, one variant per remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::B256;

use super::record::MAX_MESSAGE_BYTES;
use super::{MAX_MEMORY_KEY, MAX_MEMORY_VALUE};

/// Why the store could not be opened, read or written.
///
/// Each message is one sentence that names the file and the remedy. None of these situations
/// overwrites anything.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory that should hold the store is missing and can't be made, isn't a directory, or
    /// refuses new files.
    #[error(
        "the directory {} can't hold the block store ({source}): give this user permission to write there, or choose another data directory",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Something other than a regular file stands at the path: a directory, a device, a pipe.
    #[error(
        "{} is {found}, not a block store file: move it away, or choose another data directory",
        path.display()
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there, with its article.
        found: &'static str,
    },
    /// The file exists and can't be opened for reading and writing, or its file system is read-only.
    #[error(
        "the block store {} can't be written ({source}): make the file and its file system writable for this user, or choose another data directory",
        path.display()
    )]
    NotWritable {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The file belongs to another program, or is empty.
    #[error(
        "{} is not a block store of opp2p ({found}) and was left untouched: move it away, or choose another data directory",
        path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// How it was recognised as foreign.
        found: &'static str,
    },
    /// The store was written by another version of this program.
    #[error(
        "the block store {} has schema {found} and this program reads schema {known}: use the version that wrote it, or choose another data directory",
        path.display()
    )]
    UnknownSchema {
        /// The store's file.
        path: PathBuf,
        /// What the file says.
        found: u32,
        /// What this program reads and writes.
        known: u32,
    },
    /// The store holds blocks of another chain.
    #[error(
        "the block store {} belongs to chain {found}, not to chain {expected}: choose another data directory for this chain",
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
    /// The store holds blocks of a chain with the same id and another genesis block.
    #[error(
        "the block store {} belongs to the chain with genesis block {found}, not {expected}: choose another data directory for this chain",
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
        "the block store {} is in use by another process: stop that process, or choose another data directory",
        path.display()
    )]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk, a quota or a file size limit is exhausted.
    #[error("the disk is full at {} ({source}): free some space, or keep fewer blocks", path.display())]
    DiskFull {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The file is a store, but its structure is damaged.
    #[error(
        "the block store {} is damaged ({detail}): move it away and start again, its blocks will be fetched anew",
        path.display()
    )]
    Corrupted {
        /// The store's file.
        path: PathBuf,
        /// What was found, in the words of whoever found it.
        detail: String,
    },
    /// The store's structure holds, but one block's bytes are not those that were written.
    #[error(
        "block {hash} in the block store {} is damaged ({detail}): move the store away and start again, its blocks will be fetched anew",
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
    #[error("{doing} the block store {} failed ({source}): check the disk and its file system", path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What was being done: `opening`, `reading`, `writing`.
        doing: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The batch contradicts itself or the store, and nothing of it was written.
    #[error("a batch was refused and nothing of it was stored: {0}")]
    Refused(#[from] BatchError),
}

/// How a [`Batch`](super::Batch) contradicts itself or the store: a fault of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A message longer than any that the protocol allows.
    #[error(
        "the message of block {hash} has {len} bytes, more than the {MAX_MESSAGE_BYTES} that a message may have"
    )]
    TooLarge {
        /// The block.
        hash: B256,
        /// The message's length, bytes.
        len: usize,
    },
    /// The same hash at two numbers.
    #[error("block {hash} was given number {given} and is known with number {known}")]
    TwoNumbers {
        /// The block.
        hash: B256,
        /// The number in the batch.
        given: u64,
        /// The number in the store, or earlier in the batch.
        known: u64,
    },
    /// A canonical entry names a block that is neither in the batch nor in the store at that number.
    #[error("block {hash} can't be canonical at number {number}: no such block is stored")]
    UnknownBlock {
        /// The number.
        number: u64,
        /// The block.
        hash: B256,
    },
    /// The head names a number that has no canonical block.
    #[error("number {number} can't be the head: it has no canonical block")]
    HeadNotCanonical {
        /// The number.
        number: u64,
    },
    /// A canonical entry above the head of the same batch, which the head would remove.
    #[error("number {number} is above the batch's own head {head}")]
    AboveHead {
        /// The entry's number.
        number: u64,
        /// The batch's head.
        head: u64,
    },
    /// An entry of the memory with a key that is too long.
    #[error("a key of the memory has {len} bytes, more than the {MAX_MEMORY_KEY} that a key may have")]
    KeyTooLong {
        /// The key's length, bytes.
        len: usize,
    },
    /// An entry of the memory with a value that is too long.
    #[error("a value of the memory has {len} bytes, more than the {MAX_MEMORY_VALUE} that a value may have")]
    ValueTooLong {
        /// The value's length, bytes.
        len: usize,
    },
}

/// Whether the error means that there is no room left, for whatever reason.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the error means that writing is not allowed here.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
