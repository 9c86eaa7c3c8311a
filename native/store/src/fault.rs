//! Failures of one operation on the database, before they are mapped to a [`StoreError`].

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;

use super::error::{BatchError, StoreError, is_forbidden, is_full};

/// A failure without the file's name.
#[derive(Debug)]
pub(super) enum Fault {
    /// Error from redb or the operating system.
    Database(redb::Error),
    /// One block's record is damaged.
    Block { hash: B256, detail: String },
    /// The caller's batch was refused.
    Batch(BatchError),
    /// redb panicked, as it does on some kinds of damage.
    Panicked(String),
}

impl Fault {
    /// Returns the fault for damage that was detected outside redb.
    pub(super) fn corrupted(detail: impl Into<String>) -> Self {
        Self::Database(redb::Error::Corrupted(detail.into()))
    }

    /// Returns `true` if the open database can still be used after this fault.
    pub(super) fn leaves_database_usable(&self) -> bool {
        matches!(self, Self::Block { .. } | Self::Batch(_))
    }

    /// Returns `true` if an earlier failure, in another call, made the open database unusable.
    pub(super) fn is_from_another_call(&self) -> bool {
        matches!(self, Self::Database(redb::Error::PreviousIo))
    }

    /// Converts this to the error for the store at `path`, while `doing` (`opening`, `reading`,
    /// `writing`).
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
            // redb read a page beyond the end of the file.
            Self::Database(Error::Io(source)) if source.kind() == io::ErrorKind::UnexpectedEof => {
                StoreError::Corrupted {
                    path,
                    detail: "it is shorter than its own header says".to_owned(),
                }
            }
            Self::Database(Error::Io(source)) => {
                StoreError::Io { path, doing, source: Arc::new(source) }
            }
            Self::Database(Error::PreviousIo) => {
                let source = Arc::new(io::Error::other("an earlier read or write failed"));
                StoreError::Io { path, doing, source }
            }
            Self::Database(Error::Corrupted(detail)) => StoreError::Corrupted { path, detail },
            // The remaining errors are disagreements about tables and transactions, which a sound
            // file of this schema can't cause.
            Self::Database(error) => StoreError::Corrupted { path, detail: error.to_string() },
        }
    }
}

/// Runs work on the database and turns a panic in it into a [`Fault`].
///
/// redb checks the whole file when it opens it, but trusts what it reads later: a page that goes
/// bad on the disk while the node runs makes it panic. The database is closed after that, so no
/// state that the panic may have left half changed is used.
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
