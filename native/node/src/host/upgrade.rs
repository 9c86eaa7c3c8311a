//! Negotiation of a connection's security, then of its multiplexing (`p2p.security`, `p2p.mux`).
//! The dialler proposes in its own order; the first protocol that both sides support is taken.
//!
//! # Bounds
//! * Each of the two negotiations, with its handshake: the negotiation timeout
//!   (`p2p.timeout.negotiation`).
//! * mplex has no flow control. Its unread data is bounded by [`MPLEX_FRAMES`] frames of at most 1
//!   MiB a stream, and [`MPLEX_STREAMS`] streams. A stream with more is reset.

use super::error::HostError;
use super::streams::Streams;
use super::twins::{OwnDials, OwnKey};
use futures::future::BoxFuture;
use futures::prelude::*;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, plaintext, tls, yamux};
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Maximum number of streams of one connection over yamux.
const MAX_STREAMS: usize = 256;
/// Maximum number of streams of one connection over mplex.
const MPLEX_STREAMS: usize = 16;
/// Maximum number of unread frames of one stream over mplex.
const MPLEX_FRAMES: usize = 4;

/// Protocol that secures a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Noise, which every OP Stack node supports.
    Noise,
    /// TLS 1.3, as specified by libp2p.
    Tls,
    /// No security: anyone on the path can read everything, and any peer can claim any id. For
    /// debugging.
    Plaintext,
}

impl FromStr for Security {
    type Err = String;

    /// Parses the reference's names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "noise" => Ok(Self::Noise),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::Plaintext),
            _ => Err("use noise, tls, or none".into()),
        }
    }
}

/// Protocol that multiplexes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Muxer {
    /// yamux, which every OP Stack node supports.
    Yamux,
    /// mplex, which libp2p deprecated: it has no flow control.
    Mplex,
}

impl FromStr for Muxer {
    type Err = String;

    /// Parses the reference's names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "yamux" => Ok(Self::Yamux),
            "mplex" => Ok(Self::Mplex),
            _ => Err("use yamux or mplex".into()),
        }
    }
}

/// A secured connection, whatever the protocol.
pub(super) type Secured = Pin<Box<dyn Stream>>;

/// A byte stream in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// A configured security protocol.
#[derive(Clone)]
enum SecurityConfig {
    Noise(noise::Config),
    Tls(tls::Config),
    Plaintext(plaintext::Config),
}

/// The protocols that may secure a connection, in order of preference.
#[derive(Clone)]
pub(super) struct Securities {
    list: Vec<SecurityConfig>,
    timeout: Duration,
    own: PeerId,
    own_dials: OwnDials,
}

impl fmt::Debug for Securities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Securities").finish_non_exhaustive()
    }
}

impl Securities {
    pub(super) fn new(
        list: &[Security],
        keypair: &Keypair,
        timeout: Duration,
        own_dials: OwnDials,
    ) -> Result<Self, HostError> {
        let system =
            |what, error: String| HostError::System { what, source: io::Error::other(error) };
        let ready = list.iter().map(|security| match security {
            Security::Noise => noise::Config::new(keypair)
                .map(SecurityConfig::Noise)
                .map_err(|error| system("a Noise key", error.to_string())),
            Security::Tls => tls::Config::new(keypair)
                .map(SecurityConfig::Tls)
                .map_err(|error| system("a TLS certificate", error.to_string())),
            Security::Plaintext => Ok(SecurityConfig::Plaintext(plaintext::Config::new(keypair))),
        });
        let own = keypair.public().to_peer_id();
        Ok(Self { list: ready.collect::<Result<_, _>>()?, timeout, own, own_dials })
    }

    fn find(&self, name: &str) -> Option<SecurityConfig> {
        self.list.iter().find(|config| config.name() == name).cloned()
    }

    /// Refuses a connection whose other side has our own id.
    fn check(&self, peer: PeerId, is_dialled: bool) -> io::Result<()> {
        if peer != self.own {
            return Ok(());
        }
        if is_dialled {
            self.own_dials.note(Instant::now());
        }
        Err(io::Error::other(OwnKey))
    }

    /// Runs a security handshake within the timeout and boxes its stream.
    fn secured<S, E>(
        self,
        handshake: impl Future<Output = Result<(PeerId, S), E>> + Send + 'static,
        is_dialled: bool,
    ) -> Made<(PeerId, Secured)>
    where
        S: Stream + 'static,
        E: Error + Send + Sync + 'static,
    {
        within(self.timeout, async move {
            let (peer, stream) = handshake.await.map_err(io::Error::other)?;
            self.check(peer, is_dialled)?;
            Ok((peer, Box::pin(stream) as Secured))
        })
    }
}

impl SecurityConfig {
    fn name(&self) -> &'static str {
        let mut names = match self {
            Self::Noise(config) => return first(config.protocol_info()),
            Self::Tls(config) => return first(config.protocol_info()),
            Self::Plaintext(config) => config.protocol_info(),
        };
        names.next().unwrap_or_default()
    }
}

fn first(mut names: impl Iterator<Item = &'static str>) -> &'static str {
    names.next().unwrap_or_default()
}

impl UpgradeInfo for Securities {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.list.iter().map(SecurityConfig::name).collect::<Vec<_>>().into_iter()
    }
}

/// Result of upgrading a socket.
type Made<T> = BoxFuture<'static, io::Result<T>>;

fn within<T: 'static>(
    timeout: Duration,
    work: impl Future<Output = io::Result<T>> + Send + 'static,
) -> Made<T> {
    Box::pin(async move {
        let late = || {
            io::Error::new(io::ErrorKind::TimedOut, "the peer took too long to agree on a protocol")
        };
        tokio::time::timeout(timeout, work).await.map_err(|_| late())?
    })
}

fn unknown<T: Send + 'static>() -> Made<T> {
    Box::pin(future::ready(Err(io::Error::other("a protocol was agreed on that was not offered"))))
}

impl<S: Stream + Unpin + 'static> InboundConnectionUpgrade<S> for Securities {
    type Output = (PeerId, Secured);
    type Error = io::Error;
    type Future = Made<(PeerId, Secured)>;

    fn upgrade_inbound(self, socket: S, name: &'static str) -> Self::Future {
        match self.find(name) {
            Some(SecurityConfig::Noise(config)) => {
                self.secured(config.upgrade_inbound(socket, name), false)
            }
            Some(SecurityConfig::Tls(config)) => {
                self.secured(config.upgrade_inbound(socket, name), false)
            }
            Some(SecurityConfig::Plaintext(config)) => {
                self.secured(config.upgrade_inbound(socket, name), false)
            }
            None => unknown(),
        }
    }
}

impl<S: Stream + Unpin + 'static> OutboundConnectionUpgrade<S> for Securities {
    type Output = (PeerId, Secured);
    type Error = io::Error;
    type Future = Made<(PeerId, Secured)>;

    fn upgrade_outbound(self, socket: S, name: &'static str) -> Self::Future {
        match self.find(name) {
            Some(SecurityConfig::Noise(config)) => {
                self.secured(config.upgrade_outbound(socket, name), true)
            }
            Some(SecurityConfig::Tls(config)) => {
                self.secured(config.upgrade_outbound(socket, name), true)
            }
            Some(SecurityConfig::Plaintext(config)) => {
                self.secured(config.upgrade_outbound(socket, name), true)
            }
            None => unknown(),
        }
    }
}

/// The protocols that may multiplex a connection, in order of preference, and the counter of
/// streams.
#[derive(Clone, Debug)]
pub(super) struct Muxers {
    list: Vec<MuxerConfig>,
    timeout: Duration,
    streams: Streams,
}

#[derive(Clone, Debug)]
enum MuxerConfig {
    Yamux(yamux::Config),
    Mplex(libp2p_mplex::Config),
}

impl MuxerConfig {
    fn name(&self) -> &'static str {
        match self {
            Self::Yamux(config) => first(config.protocol_info()),
            Self::Mplex(config) => first(config.protocol_info()),
        }
    }
}

impl Muxers {
    pub(super) fn new(list: &[Muxer], timeout: Duration, streams: &Streams) -> Self {
        let list = list.iter().map(|muxer| match muxer {
            Muxer::Yamux => {
                let mut yamux = yamux::Config::default();
                yamux.set_max_num_streams(MAX_STREAMS);
                MuxerConfig::Yamux(yamux)
            }
            Muxer::Mplex => {
                let mut mplex = libp2p_mplex::Config::new();
                mplex.set_max_num_streams(MPLEX_STREAMS).set_max_buffer_size(MPLEX_FRAMES);
                mplex.set_max_buffer_behaviour(libp2p_mplex::MaxBufferBehaviour::ResetStream);
                MuxerConfig::Mplex(mplex)
            }
        });
        Self { list: list.collect(), timeout, streams: streams.clone() }
    }

    fn find(self, name: &str) -> Option<MuxerConfig> {
        self.list.into_iter().find(|config| config.name() == name)
    }
}

impl UpgradeInfo for Muxers {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.list.iter().map(MuxerConfig::name).collect::<Vec<_>>().into_iter()
    }
}

impl<S: Stream + Unpin + 'static> InboundConnectionUpgrade<S> for Muxers {
    type Output = StreamMuxerBox;
    type Error = io::Error;
    type Future = Made<StreamMuxerBox>;

    fn upgrade_inbound(self, socket: S, name: &'static str) -> Self::Future {
        let (timeout, streams) = (self.timeout, self.streams.clone());
        match self.find(name) {
            Some(MuxerConfig::Yamux(config)) => within(
                timeout,
                config
                    .upgrade_inbound(socket, name)
                    .map_ok(move |muxer| StreamMuxerBox::new(streams.of(muxer))),
            ),
            Some(MuxerConfig::Mplex(config)) => within(
                timeout,
                config
                    .upgrade_inbound(socket, name)
                    .map_ok(move |muxer| StreamMuxerBox::new(streams.of(muxer))),
            ),
            None => unknown(),
        }
    }
}

impl<S: Stream + Unpin + 'static> OutboundConnectionUpgrade<S> for Muxers {
    type Output = StreamMuxerBox;
    type Error = io::Error;
    type Future = Made<StreamMuxerBox>;

    fn upgrade_outbound(self, socket: S, name: &'static str) -> Self::Future {
        let (timeout, streams) = (self.timeout, self.streams.clone());
        match self.find(name) {
            Some(MuxerConfig::Yamux(config)) => within(
                timeout,
                config
                    .upgrade_outbound(socket, name)
                    .map_ok(move |muxer| StreamMuxerBox::new(streams.of(muxer))),
            ),
            Some(MuxerConfig::Mplex(config)) => within(
                timeout,
                config
                    .upgrade_outbound(socket, name)
                    .map_ok(move |muxer| StreamMuxerBox::new(streams.of(muxer))),
            ),
            None => unknown(),
        }
    }
}
