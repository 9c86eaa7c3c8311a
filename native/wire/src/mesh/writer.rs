//! Writer of the stream on which we write to a peer.

use super::link::Link;
use futures::{AsyncRead, AsyncWrite};
use opp2p_core::mesh::Frame;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Number of bytes after which progress is reported.
const STEP: usize = 64 << 10;
/// Pieces of at least this many bytes are written without a copy. Shorter ones are joined first,
/// because each piece becomes a frame of the multiplexer and is encrypted separately.
const WHOLE: usize = 4 << 10;

/// Result of writing to the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It accepted this many bytes since the last report.
    Bytes(usize),
    /// It is closed.
    End,
}

/// Writes frames to a stream. After [`Wrote::End`], drop it: that resets the stream.
#[derive(Debug)]
pub(super) struct Writer<S> {
    stream: S,
    /// Its number among all writers.
    pub(super) number: u64,
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that were written.
    at: usize,
    unreported: usize,
    is_flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Writer<S> {
    pub(super) const fn new(stream: S, number: u64) -> Self {
        let frames = VecDeque::new();
        Self { stream, number, frames, at: 0, unreported: 0, is_flushed: true }
    }

    /// Writes what the stream accepts, at most about [`STEP`] bytes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Wrote> {
        // A peer never writes here. If it does, or closes its half, it has given up the stream.
        if Pin::new(&mut self.stream).poll_read(cx, &mut [0]).is_ready() {
            return Poll::Ready(Wrote::End);
        }
        while self.unreported < STEP {
            if self.frames.is_empty() {
                link.take(self.number, &mut self.frames);
            }
            if self.frames.is_empty() {
                break;
            }
            match self.write(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Wrote::End),
                Poll::Pending => break,
            }
        }
        if self.frames.is_empty() && !self.is_flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.is_flushed = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Wrote::End),
                Poll::Pending => {}
            }
        }
        match std::mem::take(&mut self.unreported) {
            0 => Poll::Pending,
            bytes => {
                link.wrote(self.number, bytes);
                Poll::Ready(Wrote::Bytes(bytes))
            }
        }
    }

    /// Writes one piece. Returns `false` if the stream is closed.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut buffer = [0; WHOLE];
        let piece = next_piece(&self.frames, self.at, &mut buffer);
        match Pin::new(&mut self.stream).poll_write(cx, piece) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(false),
            Poll::Ready(Ok(bytes)) => {
                self.wrote(bytes);
                Poll::Ready(true)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.is_flushed = false;
        self.unreported += bytes;
        self.at += bytes;
        while let Some(frame) = self.frames.front().filter(|frame| frame.len() <= self.at) {
            self.at -= frame.len();
            self.frames.pop_front();
        }
    }
}

/// Returns what to write next of these frames, after the first `skipped` bytes: a long piece as it
/// is, or short ones together.
fn next_piece<'a>(
    frames: &'a VecDeque<Frame>,
    skipped: usize,
    buffer: &'a mut [u8; WHOLE],
) -> &'a [u8] {
    let mut length = 0;
    for piece in pieces(frames, skipped) {
        if length == 0 && piece.len() >= WHOLE {
            return piece;
        }
        let part = &piece[..piece.len().min(WHOLE - length)];
        buffer[length..length + part.len()].copy_from_slice(part);
        length += part.len();
        if length == WHOLE {
            break;
        }
    }
    &buffer[..length]
}

/// Returns the pieces of these frames after the first `skipped` bytes, without empty ones.
fn pieces(frames: &VecDeque<Frame>, mut skipped: usize) -> impl Iterator<Item = &[u8]> {
    frames.iter().flat_map(Frame::parts).filter_map(move |part| {
        let skips = skipped.min(part.len());
        skipped -= skips;
        Some(&part[skips..]).filter(|part| !part.is_empty())
    })
}
