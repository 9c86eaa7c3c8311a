//! What goes wrong inside one piece of work on the database, before it is known as a [`StoreError`].

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;

use super::error::{BatchError, StoreError, is_forbidden, is_full};

/// A failure without the file's name.
#[derive(Debug)]
pub(super) enum Fault {
    /// redb or the operating system.
    Database(redb::Error),
    /// One block's record.
    Block { hash: B256, detail: String },
    /// The caller's batch.
    Batch(BatchError),
    /// redb stopped with a panic, which it does on some damage.
    Panicked(String),
}

impl Fault {
    /// Damage that we found ourselves.
    pub(super) fn corrupted(detail: impl Into<String>) -> Self {
        Self::Database(redb::Error::Corrupted(detail.into()))
    }

    /// Whether the open database can be used further after this.
    pub(super) fn leaves_database_usable(&self) -> bool {
        matches!(self, Self::Block { .. } | Self::Batch(_))
    }

    /// The error to hand out, for the store at `path`, while `doing` (`opening`, `reading`, `writing`).
    pub(super) fn at(self, path: &Path, doing: &'static str) -> StoreError {
        use redb::Error;

        let path = path.to_path_buf();
        match self {
            Self::Block { hash, detail } => StoreError::CorruptedBlock { path, hash, detail },
            Self::Batch(error) => StoreError::Refused(error),
            Self::Panicked(detail) => StoreError::Corrupted { path, detail },
            Self::Database(Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch) => {
                StoreError::Locked { path }
            }
            Self::Database(Error::Io(source)) if is_full(&source) => {
                StoreError::DiskFull { path, source: Arc::new(source) }
            }
            Self::Database(Error::Io(source)) if is_forbidden(&source) => {
                StoreError::NotWritable { path, source: Arc::new(source) }
            }
            // A page beyond the end of the file.
            Self::Database(Error::Io(source)) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                StoreError::Corrupted { path, detail: "it is shorter than its own header says".to_owned() }
            }
            Self::Database(Error::Io(source)) => StoreError::Io { path, doing, source: Arc::new(source) },
            Self::Database(Error::Corrupted(detail)) => StoreError::Corrupted { path, detail },
            // What is left are disagreements about tables and transactions that a sound file of this schema
            // can't cause.
            Self::Database(error) => StoreError::Corrupted { path, detail: error.to_string() },
        }
    }
}

/// Runs work on the database; a panic in it becomes a [`Fault`].
///
/// redb checks a whole file when it opens it, but trusts what it reads later: a page that goes bad on the
/// disk while the node runs makes it panic. The database is given up after that, so nothing is used that the
/// panic may have left half changed.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Fault::Panicked(words(panic.as_ref()))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "the database gave up without a reason".to_owned())
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    std::io::Error
);

impl From<BatchError> for Fault {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}
