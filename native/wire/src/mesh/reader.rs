//! Reader of the stream on which a peer writes.

use super::link::{Link, Memory, Shared};
use alloy_primitives::Bytes;
use futures::AsyncRead;
use opp2p_core::mesh::{FrameReader, Malformed};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Number of bytes that are taken from the stream at once.
const PIECE: usize = 16 << 10;

/// Result of reading the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A whole frame.
    Frame(Bytes),
    /// The peer closed or reset the stream, or other peers need the memory of its frame.
    End,
    /// The bytes are not gossipsub, or the frame does not end in time.
    Malformed,
}

/// Reads a stream. After [`Read::End`] or [`Read::Malformed`], drop it: that resets the stream, or
/// closes it if the peer has.
#[derive(Debug)]
pub(super) struct Reader<S> {
    stream: S,
    /// Its number among all readers.
    pub(super) number: u64,
    frames: FrameReader,
    /// Bytes that were taken from the stream. From `at` on, they belong to the next frames.
    rest: Vec<u8>,
    at: usize,
    memory: Arc<Memory>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(super) fn new(stream: S, memory: Arc<Memory>) -> Self {
        let number = memory.lock().number();
        Self { stream, number, frames: FrameReader::default(), rest: Vec::new(), at: 0, memory }
    }

    /// Reads until there is a frame, or the stream has no more, or too many earlier frames wait for
    /// the owner. In the last case, the link wakes the handler.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Read> {
        let mut memory = self.memory.lock();
        if self.frames.is_given_up(&memory.pool) {
            return Poll::Ready(Read::End);
        }
        if self.frames.is_stalled(memory.now) {
            return Poll::Ready(Read::Malformed);
        }
        if memory.is_full() {
            memory.sleep(self.number, cx.waker());
            return Poll::Pending;
        }
        drop(memory);
        if !link.accepts() {
            return Poll::Pending;
        }
        let mut piece = [0; PIECE];
        loop {
            let read = if self.rest.is_empty() {
                let length = match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Read::End),
                    Poll::Ready(Ok(length)) => length,
                    Poll::Pending => {
                        if !self.frames.is_idle() {
                            self.memory.lock().sleep(self.number, cx.waker());
                        }
                        return Poll::Pending;
                    }
                };
                let read = self.read(cx, &piece[..length]);
                if let Ok((taken, _)) = read {
                    self.rest = piece[taken..length].to_vec();
                }
                read
            } else {
                let rest = std::mem::take(&mut self.rest);
                let read = self.read(cx, &rest[self.at..]);
                if let Ok((taken, _)) = read {
                    self.at += taken;
                }
                if self.at < rest.len() {
                    self.rest = rest;
                } else {
                    self.at = 0;
                }
                read
            };
            match read {
                Ok((_, Some(frame))) => return Poll::Ready(Read::Frame(frame)),
                // There is no memory for the rest.
                Ok(_) if !self.rest.is_empty() => return Poll::Pending,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Read::Malformed),
            }
        }
    }

    /// Reads up to one frame, or as much as there is memory for; then sleeps.
    fn read(
        &mut self,
        cx: &Context<'_>,
        input: &[u8],
    ) -> Result<(usize, Option<Bytes>), Malformed> {
        let mut memory = self.memory.lock();
        let Shared { now, pool, .. } = &mut *memory;
        let before = pool.free();
        let (taken, frame) = self.frames.read(*now, input, pool)?;
        if pool.free() > before {
            memory.wake();
        }
        if frame.is_none() && taken < input.len() {
            memory.sleep(self.number, cx.waker());
        }
        Ok((taken, frame))
    }
}

impl<S> Drop for Reader<S> {
    fn drop(&mut self) {
        let mut memory = self.memory.lock();
        let before = memory.pool.free();
        self.frames.close(&mut memory.pool);
        memory.forget(self.number);
        if memory.pool.free() > before {
            memory.wake();
        }
    }
}
