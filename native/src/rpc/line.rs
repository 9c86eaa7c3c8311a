//! A connection that makes its peer wait for itself: who does not read is not read from, and is given up after a while;
//! nobody is read from faster than the answers can be written.
//!
//! # Bounds
//! * 64 kB are read in each tenth of a second. A message that is no request has 7 bytes, so this is also how many
//!   answers can wait for their turn.
//! * While a write waits, nothing is read; one that waits for 30 s ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How fast, and how long.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Bytes that are read in one slot.
    burst: usize,
    /// How long a slot lasts.
    slot: Duration,
    /// How long a write may wait.
    stall: Duration,
}

const PACE: Pace =
    Pace { burst: 64 * 1024, slot: Duration::from_millis(100), stall: Duration::from_secs(30) };

pub(super) struct Line<S> {
    inner: S,
    pace: Pace,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    /// Who wants to read meanwhile.
    reader: Option<Waker>,
    /// Bytes that may still be read in this slot.
    credit: usize,
    slot_end: Instant,
    /// Runs while a read waits for the next slot.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    pub(super) fn new(inner: S) -> Self {
        Self::with_pace(inner, PACE)
    }

    fn with_pace(inner: S, pace: Pace) -> Self {
        let slot_end = Instant::now() + pace.slot;
        Self { inner, pace, stall: None, reader: None, credit: pace.burst, slot_end, pause: None }
    }

    /// Takes note of how a write went.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
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
        loop {
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
    async fn who_reads_nothing_is_given_up() {
        let (near, _far) = duplex(16);
        let mut line = Line::with_pace(near, pace(Duration::from_millis(30)));
        let error = line.write_all(&[7; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_read_from_until_it_reads_again() {
        let (near, mut far) = duplex(16);
        let (mut read, mut write) = split(Line::with_pace(near, pace(LONG)));
        far.write_all(b"q").await.unwrap();
        let mut writing = Box::pin(write.write_all(&[7; 100]));
        assert!(futures::poll!(&mut writing).is_pending());
        let mut reading = Box::pin(read.read_u8());
        assert!(futures::poll!(&mut reading).is_pending(), "what is there is not taken");
        let mut answer = [0; 100];
        let (written, answered, question) = tokio::join!(writing, far.read_exact(&mut answer), reading);
        written.unwrap();
        answered.unwrap();
        assert_eq!(question.unwrap(), b'q');
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_slots_allow() {
        let (near, mut far) = duplex(1 << 20);
        let pace = pace(LONG);
        let mut line = Line::with_pace(near, pace);
        far.write_all(&[7; 10_000]).await.unwrap();
        let start = Instant::now();
        // A read is not cut short at the end of a slot: it may be as long as its buffer.
        for _ in 0..100 {
            line.read_exact(&mut [0; 100]).await.unwrap();
        }
        assert!(start.elapsed() >= pace.slot * 8, "ten bursts were read in {:?}", start.elapsed());
    }
}
