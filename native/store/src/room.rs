//! Free space on a disk that was full. A commit that meets a full disk makes the open database
//! unusable, and reopening it checks the whole file. While the disk stays full, each further commit
//! is therefore tried on another file first, and the store stays open for its readers.
//!
//! # Bounds
//! The other file has the size of one commit, plus a quarter and [`SLACK`], and is removed at once.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::{StoreError, is_full};
use super::new_file::NewFile;

/// Room that a commit needs for the pages of its tables, besides its content, in bytes.
const SLACK: u64 = 256 * 1024;

/// Interval between commits that are attempted although the other file found no room: they may fit
/// into free pages of the store. It is this multiple of the time that opening the file takes.
const ATTEMPT_FACTOR: u32 = 16;

/// Limits on that interval.
const ATTEMPTS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));

/// Size of one write to the other file.
const PIECE: usize = 64 * 1024;

/// The last commit, if it met a full disk: its time and error.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Option<(Instant, StoreError)>>);

impl Room {
    /// Checks for the room that a commit of this size needs, if the last one met a full disk.
    /// `opening` is the time that opening the file takes.
    ///
    /// # Errors
    /// The error of the last commit, if there is still no room.
    pub(super) fn look(
        &self,
        path: &Path,
        size: usize,
        opening: Duration,
    ) -> Result<(), StoreError> {
        self.look_by(size, opening, |size| fill(path, size))
    }

    /// Implements [`Self::look`] with `fill`, which fails if a file of that size finds no room.
    fn look_by(
        &self,
        size: usize,
        opening: Duration,
        fill: impl FnOnce(u64) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((at, error)) = last.filter(|_| size > 0) else { return Ok(()) };
        if at.elapsed() >= (opening * ATTEMPT_FACTOR).clamp(ATTEMPTS.0, ATTEMPTS.1) {
            return Ok(());
        }
        let size = size as u64;
        match fill(size.saturating_add(size / 4).saturating_add(SLACK)) {
            Err(full) if is_full(&full) => Err(error),
            // Any other error is the store's own to find.
            _ => Ok(()),
        }
    }

    /// Records the outcome of a commit of this size.
    pub(super) fn committed<T>(&self, size: usize, outcome: &Result<T, StoreError>) {
        let full = match outcome {
            Err(error @ StoreError::DiskFull { .. }) => Some((Instant::now(), error.clone())),
            Ok(_) if size == 0 => return,
            _ => None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = full;
    }
}

/// Writes as many bytes as a commit may need to a file beside the store, at the place where the
/// store's file ends, and removes that file.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    let end = std::fs::metadata(path)?.len();
    let (new, mut file) = NewFile::beside(path, true)?;
    // Unix keeps a removed file until it is closed, and a crash then leaves nothing behind.
    let _kept = (!cfg!(unix)).then_some(new);
    write_noise(&mut file, end, size)
}

fn write_noise(file: &mut File, from: u64, size: u64) -> io::Result<()> {
    file.set_len(from.saturating_add(size))?;
    file.seek(SeekFrom::Start(from))?;
    // Random content, so that no file system can compress it.
    let mut piece = vec![0; PIECE];
    getrandom::fill(&mut piece).map_err(io::Error::other)?;
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    while left > 0 {
        let length = left.min(PIECE);
        file.write_all(&piece[..length])?;
        left -= length;
    }
    // Some file systems allocate space only now.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn full() -> StoreError {
        let source = Arc::new(io::ErrorKind::StorageFull.into());
        StoreError::DiskFull { path: "blocks".into(), source }
    }

    #[test]
    fn a_disk_with_room_takes_the_next_commit_and_no_file_remains() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks");
        std::fs::write(&path, "content").expect("writes");
        let room = Room::default();
        room.committed::<()>(9, &Err(full()));
        room.look(&path, 1_000_000, Duration::ZERO).expect("there is room");
        assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 1);
        assert_eq!(std::fs::read(&path).expect("reads"), b"content");
    }

    #[test]
    fn a_full_disk_refuses_until_a_commit_succeeds() {
        let room = Room::default();
        let no_room = |_| Err(io::ErrorKind::StorageFull.into());
        room.look_by(9, Duration::ZERO, no_room).expect("nothing failed");
        room.committed::<()>(9, &Err(full()));
        let refused = room.look_by(9, Duration::ZERO, no_room);
        assert!(matches!(refused, Err(StoreError::DiskFull { .. })), "{refused:?}");
        room.look_by(0, Duration::ZERO, no_room).expect("nothing to write");
        room.committed(0, &Ok(()));
        assert!(room.look_by(9, Duration::ZERO, no_room).is_err(), "that wrote nothing");
        room.committed(9, &Ok(()));
        room.look_by(9, Duration::ZERO, no_room).expect("the last commit succeeded");
    }
}
