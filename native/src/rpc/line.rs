//! A stream with backpressure: while the peer does not read, nothing is read from it, and it is
//! disconnected after a while. Reads are limited to the rate at which answers can be written.
//!
//! # Bounds
//! * 64 kB are read per tenth of a second. The shortest message that is not a request has 7 bytes,
//!   so this also bounds the number of waiting answers. [`Trust`] lifts this limit for callers that
//!   may publish blocks, since a block must not wait.
//! * While a write waits, nothing is read. A write that waits for 30 s ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Rate and time limits of a connection.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Maximum number of bytes to read per slot.
    burst: usize,
    /// Length of a slot.
    slot: Duration,
    /// Maximum time that a write may wait.
    stall: Duration,
}

const PACE: Pace =
    Pace { burst: 64 * 1024, slot: Duration::from_millis(100), stall: Duration::from_secs(30) };

/// Whether a connection's current caller may send as fast as it can. By default it may not.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust(Arc<AtomicBool>);

impl Trust {
    pub(super) fn set(&self, is_trusted: bool) {
        self.0.store(is_trusted, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Line<S> {
    inner: S,
    pace: Pace,
    trust: Trust,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    /// Task that wants to read while a write waits.
    reader: Option<Waker>,
    /// Bytes that may still be read in this slot.
    credit: usize,
    slot_end: Instant,
    /// Runs while a read waits for the next slot.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    pub(super) fn new(inner: S, trust: Trust) -> Self {
        Self::with_pace(inner, PACE, trust)
    }

    fn with_pace(inner: S, pace: Pace, trust: Trust) -> Self {
        let (credit, slot_end) = (pace.burst, Instant::now() + pace.slot);
        Self { inner, pace, trust, stall: None, reader: None, credit, slot_end, pause: None }
    }

    /// Records the result of a write, and fails it once it has waited too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return result;
        }
        let limit = self.pace.stall;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.stall.is_some() {
            this.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while !this.trust.get() {
            let now = Instant::now();
            if now >= this.slot_end {
                (this.credit, this.slot_end) = (this.pace.burst, now + this.pace.slot);
            }
            if this.credit > 0 {
                break;
            }
            let slot_end = this.slot_end;
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep_until(slot_end)));
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        this.credit = this.credit.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

    const LONG: Duration = Duration::from_secs(60);

    fn pace(stall: Duration) -> Pace {
        Pace { burst: 1000, slot: Duration::from_millis(20), stall }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_disconnected() {
        let (near, _far) = duplex(16);
        let mut line = Line::with_pace(near, pace(Duration::from_millis(30)), Trust::default());
        let error = line.write_all(&[7; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_read_from_until_it_does() {
        let (near, mut far) = duplex(16);
        let (mut read, mut write) = split(Line::with_pace(near, pace(LONG), Trust::default()));
        far.write_all(b"q").await.unwrap();
        let mut writing = Box::pin(write.write_all(&[7; 100]));
        assert!(futures::poll!(&mut writing).is_pending());
        let mut reading = Box::pin(read.read_u8());
        assert!(futures::poll!(&mut reading).is_pending(), "what is there is not taken");
        let mut answer = [0; 100];
        let (written, answered, question) =
            tokio::join!(writing, far.read_exact(&mut answer), reading);
        written.unwrap();
        answered.unwrap();
        assert_eq!(question.unwrap(), b'q');
    }

    #[tokio::test]
    async fn reading_is_limited_to_the_slots() {
        let (near, mut far) = duplex(1 << 20);
        let pace = pace(LONG);
        let mut line = Line::with_pace(near, pace, Trust::default());
        far.write_all(&[7; 10_000]).await.unwrap();
        let start = Instant::now();
        // The end of a slot does not cut a read short: a read may fill its buffer.
        for _ in 0..100 {
            line.read_exact(&mut [0; 100]).await.unwrap();
        }
        assert!(start.elapsed() >= pace.slot * 8, "ten bursts were read in {:?}", start.elapsed());
    }
    #[tokio::test]
    async fn a_trusted_caller_is_read_at_full_speed() {
        let (near, mut far) = duplex(1 << 20);
        let pace = Pace { slot: Duration::from_secs(3600), ..pace(LONG) };
        let trust = Trust::default();
        let mut line = Line::with_pace(near, pace, trust.clone());
        far.write_all(&[7; 10_000]).await.unwrap();
        let mut read = [0; 1000];
        line.read_exact(&mut read).await.unwrap();
        let mut next = Box::pin(line.read_exact(&mut read));
        assert!(futures::poll!(&mut next).is_pending(), "the slot's bytes are used up");
        trust.set(true);
        next.await.unwrap();
        line.read_exact(&mut [0; 8000]).await.unwrap();
        trust.set(false);
        far.write_all(&[7; 1000]).await.unwrap();
        assert!(futures::poll!(Box::pin(line.read_u8())).is_pending(), "the pace holds again");
    }
}
