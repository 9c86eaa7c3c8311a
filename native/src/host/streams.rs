//! Streams that are open on all connections: counted, and those that peers open bounded.
//!
//! A peer may send 256 KiB on a stream before anybody reads it: yamux gives that right with the stream itself. So what
//! peers can have a node hold is the number of their streams. A muxer bounds that for a connection, but many connections
//! with many streams each are gigabytes; here it is bounded for all of them together.
//!
//! # Bounds
//! * Streams that peers have opened: [`OWN`] of each connection, and [`SPARE`] of all connections beyond those. What
//!   finds no place is reset as it comes, and the connection stays. Anyone who is connected can take the spare ones, and
//!   leaves the others their own: gossip, identify, ping and a few requests.
//! * Of these, those that the swarm has not taken yet wait in a queue.

use futures::prelude::*;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams that the peer of each connection may have opened, whatever the others do.
const OWN: usize = 8;
/// Streams beyond those, of all connections together: as many as there are requests of peers that wait or are answered
/// by default.
const SPARE: usize = 320;

/// Streams of a connection that are looked at in one go.
const TURN: usize = 64;

/// How many there are. A clone counts the same.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    open: Arc<AtomicU64>,
    spare: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Arc::default(), spare: Arc::new(Semaphore::new(SPARE)) }
    }
}

impl Streams {
    /// Streams that are open, whoever opened them.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A connection whose streams are counted.
    pub(super) fn of<M: StreamMuxer>(&self, inner: M) -> CountedMuxer<M> {
        let own = Arc::new(Semaphore::new(OWN));
        CountedMuxer { inner, streams: self.clone(), own, waiting: VecDeque::new() }
    }

    fn count<S>(&self, inner: S, place: Option<OwnedSemaphorePermit>) -> CountedStream<S> {
        self.open.fetch_add(1, Ordering::Relaxed);
        CountedStream { inner, streams: self.clone(), _place: place }
    }
}

/// A connection whose streams are counted.
pub(super) struct CountedMuxer<M: StreamMuxer> {
    inner: M,
    streams: Streams,
    own: Arc<Semaphore>,
    /// Streams of the peer that have a place and were not asked for yet.
    waiting: VecDeque<CountedStream<M::Substream>>,
}

impl<M: StreamMuxer> fmt::Debug for CountedMuxer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedMuxer").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl<M: StreamMuxer + Unpin> CountedMuxer<M> {
    /// Takes all streams that have come, so that none of them is held by the muxer uncounted; at most so many that
    /// others get their turn.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<(), M::Error> {
        for _ in 0..TURN {
            let Poll::Ready(stream) = Pin::new(&mut self.inner).poll_inbound(cx) else { return Ok(()) };
            let stream = stream?;
            let place = Arc::clone(&self.own).try_acquire_owned();
            // Without a place it is dropped, which resets it.
            if let Ok(place) = place.or_else(|_| Arc::clone(&self.streams.spare).try_acquire_owned()) {
                self.waiting.push_back(self.streams.count(stream, Some(place)));
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for CountedMuxer<M>
where
    M::Substream: Unpin,
{
    type Substream = CountedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        if self.waiting.is_empty() {
            self.take(cx)?;
        }
        self.waiting.pop_front().map_or(Poll::Pending, |stream| Poll::Ready(Ok(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.streams.count(stream, None)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        let before = self.waiting.len();
        // Also while nobody asks for them.
        self.take(cx)?;
        if self.waiting.len() > before {
            // Whoever asked before was told that there is none.
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct CountedStream<S> {
    inner: S,
    streams: Streams,
    /// Of a stream that the peer has opened.
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Drop for CountedStream<S> {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(cx, buffers)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::*;
    use futures::io::Cursor;
    use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};

    /// Each stream has the same three bytes; there are so many.
    struct Opens(usize);

    impl StreamMuxer for Opens {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            Poll::Ready(Ok(Cursor::new(vec![1, 2, 3])))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_stream_counts_from_its_beginning_until_it_is_dropped() {
        let streams = Streams::default();
        let mut muxer = StreamMuxerBox::new(streams.of(Opens(2)));
        let mut first = future::poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
        let second = future::poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
        assert!(future::poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.is_err());
        assert_eq!(streams.open(), 2);
        let mut bytes = Vec::new();
        first.read_to_end(&mut bytes).await.unwrap();
        assert_eq!((bytes, streams.open()), (vec![1, 2, 3], 2));
        drop(first);
        assert_eq!(streams.open(), 1);
        // A connection that ends does not end what holds a stream of it.
        drop(muxer);
        assert_eq!(streams.open(), 1);
        drop(second);
        assert_eq!(streams.open(), 0);
    }

    /// Drives a connection on which the peer opens so many streams, until all of them have come.
    async fn opens(streams: &Streams, count: usize) -> CountedMuxer<Opens> {
        let mut muxer = streams.of(Opens(count));
        while muxer.inner.0 > 0 {
            future::poll_fn(|cx| {
                assert!(Pin::new(&mut muxer).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        muxer
    }

    #[tokio::test]
    async fn a_flood_of_streams_takes_the_spare_places_and_leaves_each_connection_its_own() {
        let streams = Streams::default();
        let mut greedy = opens(&streams, 10_000).await;
        assert_eq!((greedy.waiting.len(), streams.open()), (OWN + SPARE, (OWN + SPARE) as u64));
        let second = opens(&streams, 10_000).await;
        let third = opens(&streams, OWN).await;
        assert_eq!((second.waiting.len(), third.waiting.len()), (OWN, OWN));
        // A place that is given back is the next one's.
        let taken = future::poll_fn(|cx| Pin::new(&mut greedy).poll_inbound(cx)).await.unwrap();
        assert_eq!(streams.open(), (3 * OWN + SPARE) as u64);
        drop(taken);
        greedy.inner.0 = 1;
        assert!(future::poll_fn(|cx| Poll::Ready(Pin::new(&mut greedy).poll(cx).is_pending())).await);
        assert_eq!(greedy.waiting.len(), OWN + SPARE);
        drop((greedy, second, third));
        assert_eq!((streams.open(), streams.spare.available_permits()), (0, SPARE));
    }
}
