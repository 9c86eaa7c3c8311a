//! Check that the open file is still the one at its path. The operating system lets a program keep
//! writing to a file that was removed or replaced, and discards all of it when the program ends.

use std::fs::{self, Metadata};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::error::StoreError;

/// Device and inode number of a file, which together identify it among all existing files.
type FileId = (u64, u64);

/// Identity of the file that was opened last; `None` if the operating system does not report it.
#[derive(Debug, Default)]
pub(super) struct Place(Mutex<Option<FileId>>);

impl Place {
    /// Records the file that was just opened at the path.
    pub(super) fn opened(&self, path: &Path) {
        let found = fs::metadata(path).ok().as_ref().and_then(identity);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Checks that the file is still at the path.
    ///
    /// # Errors
    /// [`StoreError::Gone`]. If the operating system does not report the identity, the file counts
    /// as present.
    pub(super) fn check(&self, path: &Path) -> Result<(), StoreError> {
        let gone = |what| Err(StoreError::Gone { path: path.to_path_buf(), what });
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::metadata(path) {
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => gone("removed"),
            Err(_) => Ok(()),
            Ok(found) => match (known, identity(&found)) {
                (Some(known), Some(found)) if known != found => gone("replaced by another file"),
                _ => Ok(()),
            },
        }
    }
}

#[cfg(unix)]
fn identity(file: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<FileId> {
    None
}
