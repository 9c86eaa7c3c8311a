//! The node's transport: TCP, or WebSocket over it; DNS, security and multiplexing; with bytes
//! counted, and each dial approved by the gatekeeper.
//!
//! # Bounds
//! * A WebSocket request: 32 headers and 8 KiB, the library's limits. A message on an accepted
//!   WebSocket: [`MAX_WS_DATA`]; a longer one ends the connection.
//! * Setting up a connection: the dial timeout, or the accept timeout. A browser that is turned
//!   away because the door is full: [`REFUSAL_TIME`].
//! * Streams of one connection, whichever side opened them: see [`upgrade`](super::upgrade). A peer
//!   that opens one more loses the connection. Streams opened by the peers of all connections: see
//!   [`streams`](super::streams).
//! * Bytes that a peer has sent on a connection and that are not read yet: 256 KiB a stream. That
//!   is 2 MiB on a connection's own streams, and 80 MiB on the spare ones for all peers together,
//!   as long as no window grows; and 1 GiB a connection whatever the peer does. yamux doubles the
//!   window of a stream when half of it was read within two round trips, and the peer, which
//!   answers the pings that measure them, can stretch those. It can therefore reach the 1 GiB, but
//!   only after this node has read about as much, on a stream that is read continuously: only
//!   gossip is, since a request is 8 bytes long and an answer as long as was requested.
//!   `libp2p-yamux` 0.48 has no setting for that limit. The gatekeeper bounds the number of
//!   connections.

use super::certificate::Certificate;
use super::error::HostError;
use super::upgrade::{Muxers, Securities};
use super::wss::Wss;
use futures::future::{MapOk, TryFutureExt};
use futures::prelude::*;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OptionalTransport, TransportError, TransportEvent,
    timeout::TransportTimeout,
};
use libp2p::core::upgrade::Version;
use libp2p::websocket;
use libp2p::{Multiaddr, PeerId, Transport, dns, tcp};
use opp2p_core::peers::{Door, Knock};
use opp2p_wire::{Bandwidth, FULL, Gatekeeper, ip_of};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Maximum size of one WebSocket message, in bytes. Noise's messages have 64 KiB; a client may put
/// several of them into one.
const MAX_WS_DATA: usize = 1 << 20;

/// Time for a browser that is turned away to read the reason.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// Maximum number of unsent bytes in a socket. At 1 Gbit/s they take one millisecond.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 128 << 10;

/// Settings for establishing connections.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Protocols that secure connections, in order of preference.
    pub(super) securities: Securities,
    /// Protocols that multiplex connections, in order of preference.
    pub(super) muxers: Muxers,
    /// Timeout for setting up an outbound connection.
    pub(super) dial_timeout: Duration,
    /// Timeout for setting up an inbound connection.
    pub(super) accept_timeout: Duration,
}

/// Builds the node's transport. The gatekeeper is asked about the addresses of a name like about
/// any other address.
///
/// It dials `/ws` and `/wss` with or without `certificate`, which is that for listening on `/wss`.
///
/// # Errors
/// If the system has no DNS configuration.
pub(super) fn transport(
    setup: Setup,
    gatekeeper: Option<&Gatekeeper>,
    bandwidth: &Arc<Bandwidth>,
    certificate: Option<Arc<Certificate>>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, HostError> {
    // Each has sockets of its own: the WebSocket layer takes all events of the layer below it.
    let metered = || {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .map(|stream, _| shallow(stream));
        let (gatekeeper, bandwidth) = (gatekeeper.cloned(), Arc::clone(bandwidth));
        Metered { inner: tcp, gatekeeper, bandwidth }
    };
    let named = || {
        dns::tokio::Transport::system(metered())
            .map_err(|source| HostError::System { what: "a DNS resolver", source })
    };
    let mut websocket = websocket::Config::new(named()?);
    websocket.set_max_data_size(MAX_WS_DATA);
    let guard = gatekeeper.cloned();
    let websocket = websocket
        .and_then(move |connection, way| begin(connection, way.is_listener(), guard.clone()));
    let guard = gatekeeper.cloned();
    let wss = certificate.map(|certificate| {
        Wss::new(metered(), certificate, MAX_WS_DATA)
            .and_then(move |connection, way| begin(connection, way.is_listener(), guard.clone()))
    });
    let wss = wss.map_or_else(OptionalTransport::none, OptionalTransport::some);
    let Setup { securities, muxers, dial_timeout, accept_timeout } = setup;
    // Each WebSocket transport passes on all other addresses. The first one dials `/wss`, but can't
    // listen on it.
    let secured = websocket
        .or_transport(wss)
        .or_transport(named()?)
        .upgrade(Version::V1Lazy)
        .authenticate(securities)
        .multiplex(muxers);
    let dialled = TransportTimeout::with_outgoing_timeout(secured, dial_timeout);
    Ok(TransportTimeout::with_ingoing_timeout(dialled, accept_timeout).boxed())
}

/// Limits the unsent bytes in the kernel, so that queued messages can still be cancelled or
/// overtaken.
///
/// Otherwise the kernel accepts megabytes at once: a large block to a slow peer counts as sent long
/// before it is, and a small block waits behind it. Other systems lack the option.
fn shallow(stream: tcp::tokio::TcpStream) -> tcp::tokio::TcpStream {
    // The socket works without the option, too.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream.0).set_tcp_notsent_lowat(MAX_UNSENT);
    stream
}

/// Asks the gatekeeper whether the handshake of an accepted WebSocket may begin. If it may not, the
/// browser is told that this node is full.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: S,
    is_inbound: bool,
    gatekeeper: Option<Gatekeeper>,
) -> io::Result<S> {
    let Some(gatekeeper) = gatekeeper.filter(|_| is_inbound) else { return Ok(connection) };
    let Err(why) = gatekeeper(&Knock::Begin(Door::Browser)) else { return Ok(connection) };
    // The browser closes the connection when it has read the line. Bytes that were not read when
    // this side closes would have the system discard the line.
    let farewell = async {
        connection.write_all(FULL).await?;
        connection.flush().await?;
        let mut rest = [0; 1024];
        while connection.read(&mut rest).await? > 0 {}
        connection.close().await
    };
    // Whether the browser got the line or not, it is turned away.
    let _ = tokio::time::timeout(REFUSAL_TIME, farewell).await;
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// A transport that asks the gatekeeper before it dials, and counts bytes.
struct Metered<T> {
    inner: T,
    gatekeeper: Option<Gatekeeper>,
    bandwidth: Arc<Bandwidth>,
}

impl<T: fmt::Debug> fmt::Debug for Metered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Wraps a connection in a [`Counted`] one.
type Count<S> = Box<dyn FnOnce(S) -> Counted<S> + Send>;

impl<T> Metered<T> {
    fn count<S>(&self) -> Count<S> {
        let bandwidth = Arc::clone(&self.bandwidth);
        Box::new(move |inner| Counted { inner, bandwidth })
    }
}

impl<T: Transport<Error = io::Error> + Unpin> Transport for Metered<T> {
    type Output = Counted<T::Output>;
    type Error = io::Error;
    type ListenerUpgrade = MapOk<T::ListenerUpgrade, Count<T::Output>>;
    type Dial = MapOk<T::Dial, Count<T::Output>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        if let (Some(gatekeeper), Some(ip)) = (&self.gatekeeper, ip_of(&address)) {
            gatekeeper(&Knock::DialAddress(ip)).map_err(|why| {
                TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, why))
            })?;
        }
        Ok(self.inner.dial(address, options)?.map_ok(self.count()))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        Poll::Ready(event.map_upgrade(|upgrade| upgrade.map_ok(self.count())))
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
struct Counted<S> {
    inner: S,
    bandwidth: Arc<Bandwidth>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.bandwidth.received(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read_vectored(cx, buffers))?;
        self.bandwidth.received(bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        self.bandwidth.sent(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, buffers))?;
        self.bandwidth.sent(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::super::streams::Streams;
    use super::super::twins::OwnDials;
    use super::super::upgrade::{Muxer, Security};
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::identity::Keypair;
    use opp2p_core::peers::Denied;
    use opp2p_wire::last_cause;
    use std::net::IpAddr;
    use std::sync::Mutex;

    const OPTIONS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };

    fn counted(gatekeeper: Option<Gatekeeper>) -> (Metered<tcp::tokio::Transport>, Arc<Bandwidth>) {
        let bandwidth = Arc::new(Bandwidth::default());
        let inner = tcp::tokio::Transport::new(tcp::Config::default());
        (Metered { inner, gatekeeper, bandwidth: Arc::clone(&bandwidth) }, bandwidth)
    }

    #[tokio::test]
    async fn every_byte_is_counted_on_both_sides() {
        let (mut listener, heard) = counted(None);
        let (mut dialler, said) = counted(None);
        listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut next = async || future::poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
        let TransportEvent::NewAddress { listen_addr, .. } = next().await else {
            panic!("no address")
        };
        let (ours, theirs) = future::join(
            async { dialler.dial(listen_addr, OPTIONS).unwrap().await.unwrap() },
            async { next().await.into_incoming().unwrap().0.await.unwrap() },
        )
        .await;
        let (mut ours, mut theirs) = (ours, theirs);
        ours.write_all(&[1; 100_000]).await.unwrap();
        ours.close().await.unwrap();
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        theirs.write_all(&[2; 70]).await.unwrap();
        theirs.close().await.unwrap();
        ours.read_to_end(&mut read).await.unwrap();
        assert_eq!((said.totals(), heard.totals()), ((70, 100_000), (100_000, 70)));
    }

    /// Returns the default setup.
    pub(in crate::host) fn setup(key: &Keypair) -> Setup {
        let time = Duration::from_secs(10);
        Setup {
            securities: Securities::new(&[Security::Noise], key, time, OwnDials::default())
                .unwrap(),
            muxers: Muxers::new(&[Muxer::Yamux], time, &Streams::new(64)),
            dial_timeout: time,
            accept_timeout: time,
        }
    }

    /// Returns the questions to the gatekeeper when `address` was dialled, and the last cause of
    /// the error.
    async fn refused(address: &str) -> (Vec<Knock>, String) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let gatekeeper: Gatekeeper = Arc::new(move |knock: &Knock| {
            record.lock().unwrap().push(*knock);
            Err(Denied::PeerBlocked)
        });
        let key = Keypair::generate_secp256k1();
        let mut transport =
            transport(setup(&key), Some(&gatekeeper), &Arc::default(), None).unwrap();
        let error = match transport.dial(address.parse().unwrap(), OPTIONS) {
            Ok(dial) => last_cause(&dial.await.err().unwrap()),
            Err(error) => last_cause(&error),
        };
        let asked = asked.lock().unwrap().clone();
        (asked, error)
    }

    #[tokio::test]
    async fn an_address_is_checked_before_it_is_dialled() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let plain = ["/ip4/127.0.0.1/tcp/9", "/ip6/::ffff:127.0.0.1/tcp/9"];
        for address in
            plain.into_iter().chain(["/ip4/127.0.0.1/tcp/9/ws", "/ip4/127.0.0.1/tcp/9/wss"])
        {
            let (asked, error) = refused(address).await;
            assert_eq!(asked, [Knock::DialAddress(ip)], "{address}");
            assert!(error.contains("the peer is blocked"), "{error}");
        }
        let (mut metered, _) = counted(Some(Arc::new(|_: &Knock| Err(Denied::PeerBlocked))));
        let Err(TransportError::Other(error)) =
            metered.dial("/ip4/127.0.0.1/tcp/9".parse().unwrap(), OPTIONS)
        else {
            panic!("must be refused")
        };
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::PermissionDenied, Denied::PeerBlocked.to_string())
        );
    }

    #[tokio::test]
    async fn addresses_that_a_name_resolves_to_are_checked_too() {
        for address in ["/dns4/localhost/tcp/9", "/dns4/localhost/tcp/9/ws"] {
            let (asked, error) = refused(address).await;
            assert_eq!(asked.first(), Some(&Knock::DialAddress([127, 0, 0, 1].into())), "{error}");
            assert!(error.contains("the peer is blocked"), "{error}");
        }
    }
}
