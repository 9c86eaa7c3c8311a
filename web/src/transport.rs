//! How an observer reaches its gateways: WebSocket, Noise, yamux, counted and watched.
//!
//! The library's WebSocket does not say when it was closed or could not be opened: its reader and writer wait for a
//! message that never comes. [`Watched`] asks them again every [`LOOK_INTERVAL`] while they wait, upon which they
//! answer. Nor does it wait for the browser to have sent everything: a flush there is a poll every 100 ms, and what
//! was handed to the browser is on its way.
//!
//! # Bounds
//! * Setting up a connection: [`DIAL_TIMEOUT`].
//! * Streams of one connection: [`MAX_STREAMS`], whoever opened them.
//! * What the gateway sent and nobody has read: the library drops a connection above 1 MiB.

use futures::prelude::*;
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, noise, yamux};
use opp2p::swarm::Bandwidth;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Time in which a gateway must have answered and proved who it is.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a connection that waits is asked whether it still stands.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Streams of one connection.
const MAX_STREAMS: usize = 256;

/// Why a connection can't be set up, or ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Lost {
    #[error("nothing there speaks WebSocket, or the network is down (browsers don't tell which)")]
    NotOpened,
    #[error("the WebSocket was closed")]
    Closed,
    #[error("no answer within {} s", DIAL_TIMEOUT.as_secs())]
    Timeout,
}

/// An observer's transport.
///
/// # Errors
/// One sentence, if the system has no randomness for a Noise key.
pub(crate) fn transport(
    keypair: &Keypair,
    bandwidth: Arc<Bandwidth>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let noise = noise::Config::new(keypair).map_err(|error| error.to_string())?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let secured = libp2p_websocket_websys::Transport::default()
        .map(move |connection, _| Watched::new(connection, Arc::clone(&bandwidth)))
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

/// A connection that notices its end and counts its bytes.
struct Watched<S> {
    inner: S,
    bandwidth: Arc<Bandwidth>,
    /// Whether anything was ever read or written: it was open once.
    was_open: bool,
    reading: Delay,
    writing: Delay,
}

impl<S> Watched<S> {
    fn new(inner: S, bandwidth: Arc<Bandwidth>) -> Self {
        let look = || Delay::new(LOOK_INTERVAL);
        Self { inner, bandwidth, was_open: false, reading: look(), writing: look() }
    }

    fn name(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::BrokenPipe {
            return error;
        }
        let lost = if self.was_open { Lost::Closed } else { Lost::NotOpened };
        io::Error::new(io::ErrorKind::BrokenPipe, lost)
    }
}

/// Polls again and again while `inner` waits, so that it notices by itself.
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
        let read = look_again(&mut this.reading, cx, |cx| Pin::new(&mut *inner).poll_read(cx, buffer));
        read.map(|result| match result {
            Ok(bytes) => {
                this.was_open = true;
                this.bandwidth.received(bytes);
                Ok(bytes)
            }
            Err(error) => Err(this.name(error)),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let inner = &mut this.inner;
        let written = look_again(&mut this.writing, cx, |cx| Pin::new(&mut *inner).poll_write(cx, buffer));
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
        // What was written is the browser's, which sends it without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let inner = &mut this.inner;
        look_again(&mut this.writing, cx, |cx| Pin::new(&mut *inner).poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// As the library's connection: it waits without a waker, and is closed without a word.
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
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            self.poll()
        }
    }

    impl AsyncWrite for Mute {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
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
    fn a_reader_and_a_writer_that_wait_notice_the_end() {
        let mute = Mute::default();
        let close = Arc::clone(&mute.is_closed);
        let closing = async move {
            Delay::new(LOOK_INTERVAL * 2).await;
            close.store(true, Ordering::SeqCst);
        };
        let mut watched = Watched::new(mute.clone(), Arc::default());
        let (read, ()) = block_on(future::join(watched.read(&mut [0; 8]), closing));
        assert_eq!(read.unwrap_err().to_string(), Lost::NotOpened.to_string());
        let mut watched = Watched::new(mute, Arc::default());
        watched.was_open = true;
        assert_eq!(block_on(watched.write(&[0; 8])).unwrap_err().to_string(), Lost::Closed.to_string());
    }

    #[test]
    fn bytes_are_counted_and_a_flush_does_not_wait() {
        let bandwidth = Arc::new(Bandwidth::default());
        let inner = futures::io::Cursor::new(vec![0; 100]);
        let mut watched = Watched::new(inner, Arc::clone(&bandwidth));
        block_on(async {
            watched.write_all(&[1; 40]).await.unwrap();
            watched.flush().await.unwrap();
            watched.read_exact(&mut [0; 60]).await.unwrap();
        });
        assert_eq!(bandwidth.totals(), (60, 40));
    }
}
