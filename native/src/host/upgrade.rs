//! What two nodes agree on when they are connected: how the connection is secured, then how it carries many streams
//! (`p2p.security`, `p2p.mux`). Whoever dialled proposes in its own order; the first that both know is taken.
//!
//! # Bounds
//! * Each of the two agreements with its handshake: the negotiation timeout (`p2p.timeout.negotiation`).
//! * mplex can't tell its peer to wait. What nobody has read: [`MPLEX_FRAMES`] frames of at most 1 MiB a stream,
//!   [`MPLEX_STREAMS`] streams. A stream that has more is reset.

use super::HostError;
use super::streams::Streams;
use futures::future::BoxFuture;
use futures::prelude::*;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, plaintext, tls, yamux};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

/// Streams of one connection over yamux.
const MAX_STREAMS: usize = 256;
/// Streams of one connection over mplex.
const MPLEX_STREAMS: usize = 16;
/// Frames of one stream over mplex that nobody has read.
const MPLEX_FRAMES: usize = 4;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Noise, which every node of the OP Stack speaks.
    Noise,
    /// TLS 1.3 as libp2p has it.
    Tls,
    /// Not at all: whoever can read the wire reads along, and anybody can claim to be anybody. For debugging.
    Plaintext,
}

impl FromStr for Security {
    type Err = String;

    /// By the reference's names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "noise" => Ok(Self::Noise),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::Plaintext),
            _ => Err("use noise, tls, or none".into()),
        }
    }
}

/// How a connection carries many streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Muxer {
    /// yamux, which every node of the OP Stack speaks.
    Yamux,
    /// mplex, which libp2p gave up: it has no flow control.
    Mplex,
}

impl FromStr for Muxer {
    type Err = String;

    /// By the reference's names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "yamux" => Ok(Self::Yamux),
            "mplex" => Ok(Self::Mplex),
            _ => Err("use yamux or mplex".into()),
        }
    }
}

/// A connection whichever protocol secures it.
pub(super) type Secured = Pin<Box<dyn Stream>>;

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// One protocol that secures connections, ready.
#[derive(Clone)]
enum SecurityConfig {
    Noise(noise::Config),
    Tls(tls::Config),
    Plaintext(plaintext::Config),
}

/// The protocols that may secure a connection, the preferred one first.
#[derive(Clone)]
pub(super) struct Securities {
    list: Vec<SecurityConfig>,
    timeout: Duration,
}

impl fmt::Debug for Securities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Securities").finish_non_exhaustive()
    }
}

impl Securities {
    pub(super) fn new(list: &[Security], keypair: &Keypair, timeout: Duration) -> Result<Self, HostError> {
        let system = |what, error: String| HostError::System { what, source: io::Error::other(error) };
        let ready = list.iter().map(|security| match security {
            Security::Noise => noise::Config::new(keypair)
                .map(SecurityConfig::Noise)
                .map_err(|error| system("a Noise key", error.to_string())),
            Security::Tls => tls::Config::new(keypair)
                .map(SecurityConfig::Tls)
                .map_err(|error| system("a TLS certificate", error.to_string())),
            Security::Plaintext => Ok(SecurityConfig::Plaintext(plaintext::Config::new(keypair))),
        });
        Ok(Self { list: ready.collect::<Result<_, _>>()?, timeout })
    }

    fn find(self, name: &str) -> Option<SecurityConfig> {
        self.list.into_iter().find(|config| config.name() == name)
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

/// What a protocol makes of a socket.
type Made<T> = BoxFuture<'static, io::Result<T>>;

/// With its peer, as any protocol says it.
fn secured<S, E>(
    handshake: impl Future<Output = Result<(PeerId, S), E>> + Send + 'static,
    timeout: Duration,
) -> Made<(PeerId, Secured)>
where
    S: Stream + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    within(
        timeout,
        handshake.map_ok(|(peer, stream)| (peer, Box::pin(stream) as Secured)).map_err(io::Error::other),
    )
}

fn within<T: 'static>(
    timeout: Duration,
    work: impl Future<Output = io::Result<T>> + Send + 'static,
) -> Made<T> {
    Box::pin(async move {
        let late =
            || io::Error::new(io::ErrorKind::TimedOut, "the peer took too long to agree on a protocol");
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
        let timeout = self.timeout;
        match self.find(name) {
            Some(SecurityConfig::Noise(config)) => secured(config.upgrade_inbound(socket, name), timeout),
            Some(SecurityConfig::Tls(config)) => secured(config.upgrade_inbound(socket, name), timeout),
            Some(SecurityConfig::Plaintext(config)) => secured(config.upgrade_inbound(socket, name), timeout),
            None => unknown(),
        }
    }
}

impl<S: Stream + Unpin + 'static> OutboundConnectionUpgrade<S> for Securities {
    type Output = (PeerId, Secured);
    type Error = io::Error;
    type Future = Made<(PeerId, Secured)>;

    fn upgrade_outbound(self, socket: S, name: &'static str) -> Self::Future {
        let timeout = self.timeout;
        match self.find(name) {
            Some(SecurityConfig::Noise(config)) => secured(config.upgrade_outbound(socket, name), timeout),
            Some(SecurityConfig::Tls(config)) => secured(config.upgrade_outbound(socket, name), timeout),
            Some(SecurityConfig::Plaintext(config)) => {
                secured(config.upgrade_outbound(socket, name), timeout)
            }
            None => unknown(),
        }
    }
}

/// The protocols that may carry streams, the preferred one first; and where those are counted.
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
