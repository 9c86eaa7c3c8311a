//! Counting of the open streams on all connections, with a bound on those that peers open.
//!
//! A peer may send 256 KiB on a stream before anything reads it: yamux grants that with the stream
//! itself. The number of their streams therefore bounds what peers can make a node hold. A muxer
//! bounds it for one connection, but many connections with many streams each add up to gigabytes;
//! here it is bounded for all of them together.
//!
//! # Bounds
//! * Streams that peers have opened: [`OWN`] for each connection, and beyond those, for all
//!   connections together, as many as the requests that the core has waiting or being answered. A
//!   stream without a place is reset at once, and the connection stays. Any connected peer can take
//!   all the spare places, but leaves the others their own, for gossip, identify, ping and a few
//!   requests.
//! * Of these, streams that the swarm has not taken yet wait in a queue.

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

/// Number of streams that the peer of each connection may have open, whatever others do.
const OWN: usize = 8;
/// Maximum number of streams of a connection handled in one poll.
const TURN: usize = 64;

/// Counters of open streams, shared by all clones.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    open: Arc<AtomicU64>,
    spare: Arc<Semaphore>,
}

impl Streams {
    /// Creates the counters, with this number of spare streams.
    pub(super) fn new(spare: usize) -> Self {
        Self { open: Arc::default(), spare: Arc::new(Semaphore::new(spare)) }
    }

    /// Returns the number of open streams, whichever side opened them.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Wraps a connection so that its streams are counted.
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
    /// Streams opened by the peer that have a place and that the swarm has not taken yet.
    waiting: VecDeque<CountedStream<M::Substream>>,
}

impl<M: StreamMuxer> fmt::Debug for CountedMuxer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedMuxer").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl<M: StreamMuxer + Unpin> CountedMuxer<M> {
    /// Takes the streams that have arrived, so that the muxer holds none uncounted; at most
    /// [`TURN`] per poll, so that other connections get their turn.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<(), M::Error> {
        for _ in 0..TURN {
            let Poll::Ready(stream) = Pin::new(&mut self.inner).poll_inbound(cx) else {
                return Ok(());
            };
            let stream = stream?;
            let place = Arc::clone(&self.own).try_acquire_owned();
            // A stream without a place is dropped, which resets it.
            if let Ok(place) =
                place.or_else(|_| Arc::clone(&self.streams.spare).try_acquire_owned())
            {
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

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        let before = self.waiting.len();
        // Takes streams even if the swarm does not ask for them.
        self.take(cx)?;
        if self.waiting.len() > before {
            // An earlier poll for streams returned `Pending`.
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
    /// Place of a stream that the peer opened.
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
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
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

    const SPARE: usize = 40;

    /// A muxer with this many inbound streams, each with the same three bytes.
    struct Opens(usize);

    impl StreamMuxer for Opens {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            Poll::Ready(Ok(Cursor::new(vec![1, 2, 3])))
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
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
    async fn a_stream_is_counted_until_it_is_dropped() {
        let streams = Streams::new(SPARE);
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
        // The end of a connection does not end the holders of its streams.
        drop(muxer);
        assert_eq!(streams.open(), 1);
        drop(second);
        assert_eq!(streams.open(), 0);
    }

    /// Polls a connection on which the peer opens `count` streams, until all of them have arrived.
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
    async fn a_flood_of_streams_takes_only_spare_places_and_its_own() {
        let streams = Streams::new(SPARE);
        let mut greedy = opens(&streams, 10_000).await;
        assert_eq!((greedy.waiting.len(), streams.open()), (OWN + SPARE, (OWN + SPARE) as u64));
        let second = opens(&streams, 10_000).await;
        let third = opens(&streams, OWN).await;
        assert_eq!((second.waiting.len(), third.waiting.len()), (OWN, OWN));
        // A place that is given back is free for the next stream.
        let taken = future::poll_fn(|cx| Pin::new(&mut greedy).poll_inbound(cx)).await.unwrap();
        assert_eq!(streams.open(), (3 * OWN + SPARE) as u64);
        drop(taken);
        greedy.inner.0 = 1;
        assert!(
            future::poll_fn(|cx| Poll::Ready(Pin::new(&mut greedy).poll(cx).is_pending())).await
        );
        assert_eq!(greedy.waiting.len(), OWN + SPARE);
        drop((greedy, second, third));
        assert_eq!((streams.open(), streams.spare.available_permits()), (0, SPARE));
    }
}
