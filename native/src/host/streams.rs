//! Streams that are open on all connections, counted.

use futures::prelude::*;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// How many there are. A clone counts the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<AtomicU64>);

impl Streams {
    /// Streams that are open, whoever opened them.
    pub(super) fn open(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A connection whose streams are counted.
    pub(super) fn of<M>(&self, inner: M) -> CountedMuxer<M> {
        CountedMuxer { inner, streams: self.clone() }
    }

    fn count<S>(&self, inner: S) -> CountedStream<S> {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedStream { inner, streams: self.clone() }
    }
}

/// A connection whose streams are counted.
#[derive(Debug)]
pub(super) struct CountedMuxer<M> {
    inner: M,
    streams: Streams,
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
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.streams.count(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.streams.count(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct CountedStream<S> {
    inner: S,
    streams: Streams,
}

impl<S> Drop for CountedStream<S> {
    fn drop(&mut self) {
        self.streams.0.fetch_sub(1, Ordering::Relaxed);
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

    /// Each stream has the same three bytes; there are as many as somebody wants.
    struct Endless;

    impl StreamMuxer for Endless {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
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
        let mut muxer = StreamMuxerBox::new(streams.of(Endless));
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
}
