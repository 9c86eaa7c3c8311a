//! Readers, writers and the behaviour, without a network.

mod reading;
mod streams;
mod writing;

use futures::{AsyncRead, AsyncWrite};
use opp2p_core::mesh::Frame;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts the calls of its waker.
#[derive(Debug, Default)]
struct Calls(AtomicUsize);

impl Calls {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream whose other side is the test.
#[derive(Debug, Default)]
struct Fake {
    /// What the peer sent, in the pieces in which it arrives.
    input: VecDeque<Vec<u8>>,
    has_ended: bool,
    /// Number of bytes that are accepted.
    room: usize,
    /// What was written, each with its address.
    written: Vec<(usize, Vec<u8>)>,
    flushes: usize,
}

impl Fake {
    fn receiving(input: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { input: input.into_iter().collect(), ..Self::default() }
    }

    fn written(&self) -> Vec<u8> {
        self.written.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

/// A stream that both the test and its user hold.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<std::sync::Mutex<Fake>>);

impl Shared {
    fn new(fake: Fake) -> Self {
        Self(Arc::new(std::sync::Mutex::new(fake)))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Fake) -> R) -> R {
        change(&mut self.0.lock().expect("no panic"))
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|fake| {
            let Some(mut piece) = fake.input.pop_front() else {
                return if fake.has_ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
            };
            let length = piece.len().min(buffer.len());
            buffer[..length].copy_from_slice(&piece[..length]);
            let rest = piece.split_off(length);
            if !rest.is_empty() {
                fake.input.push_front(rest);
            }
            Poll::Ready(Ok(length))
        })
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|fake| {
            let length = bytes.len().min(fake.room);
            if length == 0 {
                return Poll::Pending;
            }
            fake.room -= length;
            fake.written.push((bytes.as_ptr() as usize, bytes[..length].to_vec()));
            Poll::Ready(Ok(length))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|fake| fake.flushes += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A waker that counts, and the count.
fn counting() -> (Waker, Arc<Calls>) {
    let calls = Arc::<Calls>::default();
    (calls.clone().into(), calls)
}

/// A message frame with this many bytes of data.
fn message(fill: u8, length: usize) -> Frame {
    Frame::message("blocks", vec![fill; length].into())
}

/// The frame with this many bytes after its prefix, as it is on the stream.
fn framed(fill: u8, length: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = length;
    while rest >= 0x80 {
        stream.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    stream.push(rest as u8);
    stream.resize(stream.len() + length, fill);
    stream
}
