//! A file that the database may read at once, but write only after it has been checked.
//!
//! redb writes to a file while opening it: it marks the file as in use, and repairs what a crash
//! left behind. Whether the file is the store of this chain is only known afterwards. [`HeldFile`]
//! therefore holds all writes back, in memory and in order, until [`Gate::release`]. If the file
//! turns out to be foreign or damaged, the writes are dropped and no byte has changed.
//!
//! # Bounds
//! The held writes take at most [`MAX_HELD_BYTES`]. The file's content determines their size,
//! because a repair writes. Beyond the bound, opening fails and the file stays as it was. Opening a
//! sound store holds back a few kilobytes.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Maximum size of the held writes before the open is aborted, in bytes.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// The storage backend for redb.
#[derive(Debug)]
pub(super) struct HeldFile(Arc<Shared>);

/// The handle that releases the held writes.
#[derive(Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: FileBackend,
    mode: Mutex<Mode>,
    /// Whether the mode is [`Mode::Through`], which is final: readers need no lock then.
    is_through: AtomicBool,
}

#[derive(Debug)]
enum Mode {
    /// Writes are kept here, in the order in which redb issued them.
    Holding { writes: Vec<Held>, bytes: usize },
    /// Writes go to the file.
    Through,
    /// A release failed half-way: no further write is allowed.
    Broken,
}

#[derive(Debug)]
enum Held {
    Length(u64),
    Bytes(u64, Vec<u8>),
    Sync,
}

impl HeldFile {
    /// Wraps a file. Locking goes straight to the file; only writes are held back.
    pub(super) fn new(file: FileBackend) -> (Self, Gate) {
        let shared = Arc::new(Shared {
            file,
            mode: Mutex::new(Mode::Holding { writes: Vec::new(), bytes: 0 }),
            is_through: AtomicBool::new(false),
        });
        (Self(Arc::clone(&shared)), Gate(shared))
    }
}

impl Gate {
    /// Writes the held writes to the file, in the order in which redb issued them, so that a crash
    /// in between leaves the same state as a crash in redb's own open. Further writes go directly
    /// to the file.
    pub(super) fn release(self) -> io::Result<()> {
        let mut mode = self.0.mode();
        let Mode::Holding { writes, .. } = std::mem::replace(&mut *mode, Mode::Broken) else {
            return Err(io::Error::other("released twice"));
        };
        for write in writes {
            match write {
                Held::Length(length) => self.0.file.set_len(length)?,
                Held::Bytes(offset, bytes) => self.0.file.write(offset, &bytes)?,
                Held::Sync => self.0.file.sync_data()?,
            }
        }
        *mode = Mode::Through;
        self.0.is_through.store(true, Ordering::Release);
        Ok(())
    }
}

impl Shared {
    fn is_through(&self) -> bool {
        self.is_through.load(Ordering::Acquire)
    }

    fn mode(&self) -> MutexGuard<'_, Mode> {
        // The mode is replaced whole, so a panic elsewhere can't leave it half changed.
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a write back and returns its result, or returns `None` if it should go to the file.
    fn hold(&self, write: impl FnOnce() -> Held, size: usize) -> Option<io::Result<()>> {
        if self.is_through() {
            return None;
        }
        match &mut *self.mode() {
            Mode::Through => None,
            Mode::Broken => Some(Err(io::Error::other("an earlier write to this file failed"))),
            Mode::Holding { writes, bytes } => {
                // Every entry counts its own size, so that endless empty writes are bounded too.
                *bytes = bytes.saturating_add(size).saturating_add(size_of::<Held>());
                if *bytes > MAX_HELD_BYTES {
                    return Some(Err(io::Error::other(
                        "its repair is larger than any that a crash can call for",
                    )));
                }
                writes.push(write());
                Some(Ok(()))
            }
        }
    }
}

/// Copies the part of `bytes`, located at `from`, that overlaps `out`, located at `offset`.
fn overlay(out: &mut [u8], offset: u64, bytes: &[u8], from: u64) {
    let (skip_out, skip_bytes) =
        if from >= offset { (from - offset, 0) } else { (0, offset - from) };
    let (Ok(skip_out), Ok(skip_bytes)) = (usize::try_from(skip_out), usize::try_from(skip_bytes))
    else {
        return;
    };
    if let (Some(out), Some(bytes)) = (out.get_mut(skip_out..), bytes.get(skip_bytes..)) {
        let length = out.len().min(bytes.len());
        out[..length].copy_from_slice(&bytes[..length]);
    }
}

/// Zeroes the part of `out`, located at `offset`, that is at or after `end`.
fn zero_from(out: &mut [u8], offset: u64, end: u64) {
    let keep = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    if let Some(rest) = out.get_mut(keep..) {
        rest.fill(0);
    }
}

impl StorageBackend for HeldFile {
    fn len(&self) -> io::Result<u64> {
        if self.0.is_through() {
            return self.0.file.len();
        }
        if let Mode::Holding { writes, .. } = &*self.0.mode() {
            let resized = writes.iter().rev().find_map(|write| match write {
                Held::Length(length) => Some(*length),
                Held::Bytes(..) | Held::Sync => None,
            });
            if let Some(length) = resized {
                return Ok(length);
            }
        }
        self.0.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.is_through() {
            return self.0.file.read(offset, out);
        }
        let length = self.len()?;
        let mode = self.0.mode();
        let Mode::Holding { writes, .. } = &*mode else {
            drop(mode);
            return self.0.file.read(offset, out);
        };
        let wanted = offset.checked_add(out.len() as u64);
        if wanted.is_none_or(|end| end > length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The file's own bytes, zeros beyond its end, then every held write over them, in order.
        let on_file = usize::try_from(self.0.file.len()?.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(out.len());
        let (present, beyond) = out.split_at_mut(on_file);
        self.0.file.read(offset, present)?;
        beyond.fill(0);
        for write in writes {
            match write {
                Held::Length(end) => zero_from(out, offset, *end),
                Held::Bytes(from, bytes) => overlay(out, offset, bytes, *from),
                Held::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.hold(|| Held::Length(len), 0).unwrap_or_else(|| self.0.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.hold(|| Held::Sync, 0).unwrap_or_else(|| self.0.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0
            .hold(|| Held::Bytes(offset, data.to_vec()), data.len())
            .unwrap_or_else(|| self.0.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn held(content: &[u8]) -> (HeldFile, Gate, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content).expect("writes");
        let (backend, gate) =
            HeldFile::new(FileBackend::new(file.reopen().expect("reopens")).expect("a backend"));
        (backend, gate, file)
    }

    fn read_all(backend: &HeldFile) -> Vec<u8> {
        let mut out = vec![0xAA; usize::try_from(backend.len().expect("a length")).expect("small")];
        backend.read(0, &mut out).expect("reads");
        out
    }

    #[test]
    fn held_writes_are_read_back_and_reach_the_file_only_when_released() {
        let (backend, gate, file) = held(b"0123456789");
        backend.write(2, b"ab").expect("writes");
        backend.set_len(12).expect("resizes");
        backend.sync_data().expect("syncs");
        assert_eq!(read_all(&backend), b"01ab456789\0\0");
        assert_eq!(fs::read(file.path()).expect("reads"), b"0123456789");
        gate.release().expect("releases");
        assert_eq!(fs::read(file.path()).expect("reads"), b"01ab456789\0\0");
        backend.write(0, b"z").expect("writes");
        assert_eq!(read_all(&backend), b"z1ab456789\0\0");
    }

    #[test]
    fn a_file_that_is_never_released_is_never_changed() {
        let (backend, gate, file) = held(b"0123456789");
        backend.set_len(3).expect("resizes");
        backend.write(0, b"xyz").expect("writes");
        backend.close().expect("closes");
        drop((backend, gate));
        assert_eq!(fs::read(file.path()).expect("reads"), b"0123456789");
    }

    #[test]
    fn held_writes_are_bounded() {
        let (backend, _gate, file) = held(b"");
        let megabyte = vec![0; 1024 * 1024];
        let refused = (0..100).find(|i| backend.write(i * 1024 * 1024, &megabyte).is_err());
        assert_eq!(refused, Some(63));
        assert_eq!(fs::read(file.path()).expect("reads").len(), 0);
    }

    #[test]
    fn a_failed_release_lets_no_further_write_through() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"0123456789").expect("writes");
        let read_only = fs::File::open(file.path()).expect("opens");
        let (backend, gate) = HeldFile::new(FileBackend::new(read_only).expect("a backend"));
        backend.write(0, b"x").expect("held");
        assert!(gate.release().is_err());
        let error = backend.write(0, b"y").expect_err("broken");
        assert!(error.to_string().contains("earlier write"), "{error}");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Len(u64),
        Write(u64, Vec<u8>),
    }

    proptest! {
        #[test]
        fn reading_while_held_equals_reading_after_release(
            content in proptest::collection::vec(any::<u8>(), 0..64),
            ops in proptest::collection::vec(
                prop_oneof![
                    (0u64..96).prop_map(Op::Len),
                    (0u64..64, proptest::collection::vec(any::<u8>(), 0..32))
                        .prop_map(|(at, b)| Op::Write(at, b)),
                ],
                0..12,
            ),
        ) {
            let (backend, gate, file) = held(&content);
            for op in ops {
                match op {
                    Op::Len(len) => backend.set_len(len).expect("resizes"),
                    // redb never writes beyond the length it has set.
                    Op::Write(at, bytes) => {
                        if at + bytes.len() as u64 <= backend.len().expect("a length") {
                            backend.write(at, &bytes).expect("writes");
                        }
                    }
                }
            }
            let before = read_all(&backend);
            gate.release().expect("releases");
            prop_assert_eq!(&read_all(&backend), &before);
            prop_assert_eq!(fs::read(file.path()).expect("reads"), before);
        }
    }
}
