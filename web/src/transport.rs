//! The transport of an observer to its gateways: WebSocket, Noise and yamux, with bytes counted and
//! closed sockets detected.
//!
//! The library's WebSocket does not report that it was closed or could not be opened: its reader
//! and writer wait for a message that never comes. [`Watched`] polls them every [`LOOK_INTERVAL`]
//! while they wait, which makes them return the error. Nor does it report when the browser has sent
//! everything: a flush there polls every 100 ms. [`Watched`] does not wait for it, since data
//! handed to the browser is on its way.
//!
//! Closing does not wait either. A browser reports the end of a WebSocket only after the other side
//! has answered the close, and waits for that for up to a minute. On a line that is dead, no answer
//! comes.
//!
//! A connection also records that bytes arrive ([`Senders`]): on a slow line, a large block holds
//! up the answers to pings.
//!
//! # Bounds
//! * Time to set up a connection: [`DIAL_TIMEOUT`].
//! * Streams of one connection: [`MAX_STREAMS`], of both directions together.
//! * Unread bytes from the gateway: the library drops a connection above 1 MiB.

use futures::prelude::*;
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Transport, noise, yamux};
use opp2p_wire::{Bandwidth, FullDetector, find_cause};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Time for a gateway to answer and prove its identity.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// Interval at which a waiting connection is polled for its end.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of streams of one connection.
const MAX_STREAMS: usize = 256;

/// Reason why a connection can't be set up, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The browser opened no WebSocket, and does not say why.
    #[error(
        "no WebSocket could be opened: the port is another one, the gateway is not running, the \
         page's content-security policy forbids it (`connect-src`), the browser does not trust the \
         certificate (`wss`), or the network is down; browsers don't say which"
    )]
    NotOpened,
    #[error("the WebSocket was closed")]
    Closed,
    #[error("the gateway is full")]
    Full,
    #[error("no answer within {} s", DIAL_TIMEOUT.as_secs())]
    Timeout,
}

impl Lost {
    /// Finds the reason among the causes of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        find_cause::<Self>(error).copied()
    }
}

/// Records which peers have sent bytes. Clones share the record.
///
/// # Bounds
/// One entry for each peer that was dialled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Senders(Arc<Mutex<BTreeMap<PeerId, Arc<AtomicBool>>>>);

impl Senders {
    /// Returns the mark of the peer at whose address this is.
    fn mark(&self, address: &Multiaddr) -> Arc<AtomicBool> {
        match address.iter().last() {
            Some(Protocol::P2p(peer)) => Arc::clone(self.lock().entry(peer).or_default()),
            // The swarm dials each peer with its id. Its bytes count for none.
            _ => Arc::default(),
        }
    }

    /// Returns the peers that have sent bytes since the last call.
    pub(crate) fn take(&self) -> Vec<PeerId> {
        let marks = self.lock();
        let set = marks.iter().filter(|(_, mark)| mark.swap(false, Ordering::Relaxed));
        set.map(|(peer, _)| *peer).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Arc<AtomicBool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the transport of an observer.
///
/// # Errors
/// One sentence, if the system has no randomness for a Noise key.
pub(crate) fn transport(
    keypair: &Keypair,
    bandwidth: Arc<Bandwidth>,
    senders: Senders,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let noise = noise::Config::new(keypair).map_err(|error| error.to_string())?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let secured = libp2p_websocket_websys::Transport::default()
        .map(move |connection, way| {
            let mark = senders.mark(way.get_remote_address());
            Watched::new(connection, Arc::clone(&bandwidth), mark)
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let in_time = TransportTimeout::new(secured, DIAL_TIMEOUT).map_err(|error| match error {
        libp2p::core::transport::timeout::TransportTimeoutError::Timeout => {
            io::Error::new(io::ErrorKind::TimedOut, Lost::Timeout)
        }
        other => io::Error::other(other),
    });
    Ok(in_time.boxed())
}

/// A connection that detects its end and counts its bytes.
struct Watched<S> {
    inner: S,
    bandwidth: Arc<Bandwidth>,
    /// Set when bytes are read.
    sender: Arc<AtomicBool>,
    /// Whether any bytes were read or written, so the connection was open.
    was_open: bool,
    full: FullDetector,
    reading: Delay,
    writing: Delay,
}

impl<S> Watched<S> {
    fn new(inner: S, bandwidth: Arc<Bandwidth>, sender: Arc<AtomicBool>) -> Self {
        let look = || Delay::new(LOOK_INTERVAL);
        Self {
            inner,
            bandwidth,
            sender,
            was_open: false,
            full: FullDetector::default(),
            reading: look(),
            writing: look(),
        }
    }

    fn name(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::BrokenPipe {
            return error;
        }
        let lost = if self.was_open { Lost::Closed } else { Lost::NotOpened };
        io::Error::new(io::ErrorKind::BrokenPipe, lost)
    }
}

/// Polls `inner` every [`LOOK_INTERVAL`] while it waits, so that it detects the end without being
/// woken.
fn look_again<R>(
    look: &mut Delay,
    cx: &mut Context<'_>,
    mut inner: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    loop {
        if let Poll::Ready(result) = inner(cx) {
            return Poll::Ready(result);
        }
        if look.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        look.reset(LOOK_INTERVAL);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let inner = &mut this.inner;
        let read =
            look_again(&mut this.reading, cx, |cx| Pin::new(&mut *inner).poll_read(cx, buffer));
        read.map(|result| match result {
            Ok(bytes) => {
                this.was_open = true;
                this.bandwidth.received(bytes);
                this.sender.store(true, Ordering::Relaxed);
                if this.full.read(&buffer[..bytes]) {
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, Lost::Full));
                }
                Ok(bytes)
            }
            Err(error) => Err(this.name(error)),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let inner = &mut this.inner;
        let written =
            look_again(&mut this.writing, cx, |cx| Pin::new(&mut *inner).poll_write(cx, buffer));
        written.map(|result| match result {
            Ok(bytes) => {
                this.was_open = true;
                this.bandwidth.sent(bytes);
                Ok(bytes)
            }
            Err(error) => Err(this.name(error)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Written data is with the browser, which sends it without a flush.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The browser closes the socket after it has sent everything. Dropping the connection,
        // which follows, detaches all handlers.
        match Pin::new(&mut self.inner).poll_close(cx) {
            Poll::Ready(closed) => Poll::Ready(closed),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    /// Behaves like the library's connection: waits without a waker, and closes without a notice.
    #[derive(Clone, Default)]
    struct Mute {
        is_closed: Arc<AtomicBool>,
    }

    impl Mute {
        fn poll(&self) -> Poll<io::Result<usize>> {
            if self.is_closed.load(Ordering::SeqCst) {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            } else {
                Poll::Pending
            }
        }
    }

    impl AsyncRead for Mute {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.poll()
        }
    }

    impl AsyncWrite for Mute {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll()
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll().map_ok(|_| ())
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll().map_ok(|_| ())
        }
    }

    #[test]
    fn waiting_readers_and_writers_notice_the_end() {
        let mute = Mute::default();
        let close = Arc::clone(&mute.is_closed);
        let closing = async move {
            Delay::new(LOOK_INTERVAL * 2).await;
            close.store(true, Ordering::SeqCst);
        };
        let mut watched = Watched::new(mute.clone(), Arc::default(), Arc::default());
        let (read, ()) = block_on(future::join(watched.read(&mut [0; 8]), closing));
        assert_eq!(read.unwrap_err().to_string(), Lost::NotOpened.to_string());
        let mut watched = Watched::new(mute, Arc::default(), Arc::default());
        watched.was_open = true;
        assert_eq!(
            block_on(watched.write(&[0; 8])).unwrap_err().to_string(),
            Lost::Closed.to_string()
        );
    }

    #[test]
    fn a_full_gateway_is_recognised_and_the_reason_is_found_among_the_causes() {
        let inner = futures::io::Cursor::new([opp2p_wire::FULL, b"more"].concat());
        let mut watched = Watched::new(inner, Arc::default(), Arc::default());
        let error = block_on(async {
            // As the negotiation reads: the length, then the rest.
            watched.read_exact(&mut [0; 1]).await.unwrap();
            watched.read(&mut [0; 100]).await.unwrap_err()
        });
        assert_eq!(Lost::of(&error), Some(Lost::Full));
        // As the security handshake and the transport wrap it.
        let outer = io::Error::other(io::Error::other(noise::Error::Io(error)));
        assert_eq!(Lost::of(&outer), Some(Lost::Full));
        assert_eq!(Lost::of(&io::Error::other("another")), None);
    }

    #[test]
    fn closing_does_not_wait_for_the_other_side() {
        let mut watched = Watched::new(Mute::default(), Arc::default(), Arc::default());
        assert!(matches!(watched.close().now_or_never(), Some(Ok(()))));
    }

    #[test]
    fn bytes_are_counted_and_a_flush_does_not_wait() {
        let bandwidth = Arc::new(Bandwidth::default());
        let inner = futures::io::Cursor::new(vec![0; 100]);
        let mut watched = Watched::new(inner, Arc::clone(&bandwidth), Arc::default());
        block_on(async {
            watched.write_all(&[1; 40]).await.unwrap();
            watched.flush().await.unwrap();
            watched.read_exact(&mut [0; 60]).await.unwrap();
        });
        assert_eq!(bandwidth.totals(), (60, 40));
    }

    #[test]
    fn bytes_are_noted_for_the_peer_that_sent_them_and_taken_once() {
        let senders = Senders::default();
        let (one, other) = (PeerId::random(), PeerId::random());
        let address = |peer| format!("/ip4/10.0.0.1/tcp/1/ws/p2p/{peer}").parse().unwrap();
        let read = |mark| {
            let inner = futures::io::Cursor::new(vec![0; 100]);
            let mut watched = Watched::new(inner, Arc::default(), mark);
            block_on(watched.read_exact(&mut [0; 60])).unwrap();
        };
        let (first, second) = (senders.mark(&address(one)), senders.mark(&address(one)));
        let _quiet = senders.mark(&address(other));
        assert_eq!(senders.take(), []);
        read(first);
        assert_eq!(senders.take(), [one]);
        assert_eq!(senders.take(), []);
        // A peer that is dialled again has the same mark.
        read(second);
        read(senders.mark(&"/ip4/10.0.0.1/tcp/1/ws".parse().unwrap()));
        assert_eq!(senders.take(), [one]);
    }
}
