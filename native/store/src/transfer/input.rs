//! Reading of a file's chunks, and their checks on several threads.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use opp2p_core::sync::range::{
    AnswerDecoder, Checked, Chunk, ChunkError, ChunkWork, Frame, MAX_CONTENTS, StreamError,
};

use super::error::ImportError;

/// Size in bytes of one read.
const PIECE: usize = 256 << 10;

/// Fills `field` from a stream; `None` if the stream ends before.
pub(super) fn fill(input: &mut impl Read, field: &mut [u8]) -> Result<Option<()>, ImportError> {
    match input.read_exact(field) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(ImportError::Read(error)),
    }
}

/// What follows in the file: blocks that are being checked, or a fault.
pub(super) enum Item {
    Blocks(Receiver<Checked>),
    Fault(ImportError),
}

/// A check, and where its result goes.
pub(super) type Check = (ChunkWork, SyncSender<Checked>);

/// Runs checks until no more come.
pub(super) fn check(checks: &Mutex<Receiver<Check>>) {
    loop {
        let next = checks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((work, to)) = next else { return };
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run()));
        // The import may have ended meanwhile.
        let _ = to.send(run.unwrap_or_else(|_| Checked::panicked()));
    }
}

/// The reader of a file, behind its header.
pub(super) struct Reader {
    /// Number of the next block; `None` below block 0.
    next: Option<u64>,
    checks: SyncSender<Check>,
    items: SyncSender<Item>,
}

impl Reader {
    pub(super) const fn new(
        highest: u64,
        checks: SyncSender<Check>,
        items: SyncSender<Item>,
    ) -> Self {
        Self { next: Some(highest), checks, items }
    }

    /// Reads the file to its end, to its first fault, or until the import ends.
    pub(super) fn run(mut self, input: &mut impl Read) {
        if let Err(fault) = self.read(input) {
            let _ = self.items.send(Item::Fault(fault));
        }
    }

    fn above(&self) -> u64 {
        self.next.map_or(0, |next| next.saturating_add(1))
    }

    fn read(&mut self, input: &mut impl Read) -> Result<(), ImportError> {
        let mut decoder = AnswerDecoder::new(MAX_CONTENTS);
        let mut piece = vec![0; PIECE];
        loop {
            let length = match input.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ImportError::Read(error)),
            };
            let mut rest = &piece[..length];
            loop {
                match decoder.next(&mut rest) {
                    Ok(Some(Frame::Chunk(chunk))) => {
                        if !self.chunk(chunk)? {
                            return Ok(());
                        }
                    }
                    Ok(Some(Frame::End(_))) => {}
                    Ok(None) => break,
                    Err(error) => return Err(self.layout(error)),
                }
            }
            if length == 0 {
                return decoder.finish().map_err(|error| self.layout(error));
            }
        }
    }

    fn layout(&self, error: StreamError) -> ImportError {
        ImportError::Layout { above: self.above(), error }
    }

    /// Starts the check of a chunk. Returns `false` if the import has ended.
    fn chunk(&mut self, chunk: Chunk) -> Result<bool, ImportError> {
        let below_zero = ImportError::Block { above: self.above(), error: ChunkError::BelowZero };
        let Some(number) = self.next else { return Err(below_zero) };
        self.next = match (number.saturating_add(1)).checked_sub(u64::from(chunk.blocks)) {
            None => return Err(below_zero),
            Some(0) => None,
            Some(above) => Some(above - 1),
        };
        let (to, checked) = sync_channel(1);
        let sent = self.checks.send((ChunkWork::new(chunk, number, None), to)).is_ok();
        Ok(sent && self.items.send(Item::Blocks(checked)).is_ok())
    }
}
