//! How a node reaches others: TCP or a WebSocket over it, names resolved, secured, multiplexed; counted and, before a dial,
//! asked for.
//!
//! # Bounds
//! * A WebSocket's request: 32 headers and 8 KiB, the library's. A message on one that was accepted: [`MAX_WS_DATA`];
//!   one that is longer ends the connection.
//! * Setting up a connection: the dial timeout, or the accept timeout.
//! * Streams of one connection: see [`upgrade`](super::upgrade), whoever opened them. The peer that opens one more loses
//!   the connection. Streams that the peers of all connections have opened: see [`streams`](super::streams).
//! * What a peer has sent on a connection and nobody has read: 256 KiB a stream, 2 MiB on its own streams and all peers
//!   together 80 MiB on the spare ones, as long as no window grows; 1 GiB in all whatever the peer does. yamux doubles the window of a stream when half of it was
//!   read within two round trips, and the peer, which answers the pings that measure them, can stretch those. So it
//!   can reach the 1 GiB, by having us read about as much first, on a stream that is read on and on: gossip alone,
//!   as a request is 8 bytes long and an answer as long as was asked for. `libp2p-yamux` 0.48 leaves no way to
//!   set that limit. How many connections there are is the gatekeeper's to bound.

use super::HostError;
use super::upgrade::{Muxers, Securities};
use crate::swarm::{Bandwidth, Gatekeeper, Knock, Refused, ip_of};
use futures::future::{MapOk, TryFutureExt};
use futures::prelude::*;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, TransportError, TransportEvent, timeout::TransportTimeout,
};
use libp2p::core::upgrade::Version;
use libp2p::websocket::{self, tls};
use libp2p::{Multiaddr, PeerId, Transport, dns, tcp};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Bytes of one WebSocket message. Noise's have 64 KiB; a client may put several of them into one.
const MAX_WS_DATA: usize = 1 << 20;

/// How connections are set up.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The protocols that secure them, the preferred one first.
    pub(super) securities: Securities,
    /// The protocols that carry their streams, the preferred one first.
    pub(super) muxers: Muxers,
    /// Time in which one that is dialled must be set up.
    pub(super) dial_timeout: Duration,
    /// Time in which one that is accepted must be set up.
    pub(super) accept_timeout: Duration,
}

/// The node's transport. What a name resolves to is asked for like any other address.
///
/// It dials `/ws` and `/wss` with or without `tls`, which is the certificate to listen with on `/wss`.
///
/// # Errors
/// The system has no configuration for names.
pub(super) fn transport(
    setup: Setup,
    gatekeeper: Option<&Gatekeeper>,
    bandwidth: &Arc<Bandwidth>,
    tls: Option<tls::Config>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, HostError> {
    // Each has sockets of its own: the WebSocket layer takes all events of what lies below it.
    let named = || {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let (gatekeeper, bandwidth) = (gatekeeper.cloned(), Arc::clone(bandwidth));
        dns::tokio::Transport::system(Metered { inner: tcp, gatekeeper, bandwidth })
            .map_err(|source| HostError::System { what: "a DNS resolver", source })
    };
    let mut websocket = websocket::Config::new(named()?);
    websocket.set_max_data_size(MAX_WS_DATA);
    if let Some(tls) = tls {
        websocket.set_tls_config(tls);
    }
    let Setup { securities, muxers, dial_timeout, accept_timeout } = setup;
    // What is no WebSocket's address the first passes on.
    let secured =
        websocket.or_transport(named()?).upgrade(Version::V1Lazy).authenticate(securities).multiplex(muxers);
    let dialled = TransportTimeout::with_outgoing_timeout(secured, dial_timeout);
    Ok(TransportTimeout::with_ingoing_timeout(dialled, accept_timeout).boxed())
}

/// A transport that asks before it dials, and counts.
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

/// Makes a connection a counted one.
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

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
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
            gatekeeper(&Knock::DialAddress { ip }).map_err(|why| {
                TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, Refused(why)))
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
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
    use super::super::upgrade::{Muxer, Security};
    use super::*;
    use crate::swarm::last_cause;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::identity::Keypair;
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
        let TransportEvent::NewAddress { listen_addr, .. } = next().await else { panic!("no address") };
        let (ours, theirs) =
            future::join(async { dialler.dial(listen_addr, OPTIONS).unwrap().await.unwrap() }, async {
                next().await.into_incoming().unwrap().0.await.unwrap()
            })
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

    /// The default.
    pub(in crate::host) fn setup(key: &Keypair) -> Setup {
        let time = Duration::from_secs(10);
        Setup {
            securities: Securities::new(&[Security::Noise], key, time).unwrap(),
            muxers: Muxers::new(&[Muxer::Yamux], time, &Streams::default()),
            dial_timeout: time,
            accept_timeout: time,
        }
    }

    /// What was asked for when `address` was dialled, and the answer's last cause.
    async fn refused(address: &str) -> (Vec<Knock>, String) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let gatekeeper: Gatekeeper = Arc::new(move |knock: &Knock| {
            record.lock().unwrap().push(knock.clone());
            Err("that address is blocked".into())
        });
        let key = Keypair::generate_secp256k1();
        let mut transport = transport(setup(&key), Some(&gatekeeper), &Arc::default(), None).unwrap();
        let error = match transport.dial(address.parse().unwrap(), OPTIONS) {
            Ok(dial) => last_cause(&dial.await.err().unwrap()),
            Err(error) => last_cause(&error),
        };
        let asked = asked.lock().unwrap().clone();
        (asked, error)
    }

    #[tokio::test]
    async fn an_address_is_asked_for_before_it_is_dialled() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let plain = ["/ip4/127.0.0.1/tcp/9", "/ip6/::ffff:127.0.0.1/tcp/9"];
        for address in plain.into_iter().chain(["/ip4/127.0.0.1/tcp/9/ws", "/ip4/127.0.0.1/tcp/9/wss"]) {
            let (asked, error) = refused(address).await;
            assert_eq!(asked, [Knock::DialAddress { ip }], "{address}");
            assert!(error.contains("that address is blocked"), "{error}");
        }
        let (mut metered, _) = counted(Some(Arc::new(|_: &Knock| Err("no".into()))));
        let Err(TransportError::Other(error)) =
            metered.dial("/ip4/127.0.0.1/tcp/9".parse().unwrap(), OPTIONS)
        else {
            panic!("must be refused")
        };
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::PermissionDenied, "no".to_owned()));
    }

    #[tokio::test]
    async fn what_a_name_resolves_to_is_asked_for_too() {
        for address in ["/dns4/localhost/tcp/9", "/dns4/localhost/tcp/9/ws"] {
            let (asked, error) = refused(address).await;
            assert_eq!(asked.first(), Some(&Knock::DialAddress { ip: [127, 0, 0, 1].into() }), "{error}");
            assert!(error.contains("that address is blocked"), "{error}");
        }
    }
}
