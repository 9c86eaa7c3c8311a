//! The behaviour: connection control and the protocols of a node.

use crate::mesh::Streams;
use crate::payload::payloads;
use crate::{Admission, Farewell, Gatekeeper, PayloadRequest, Payloads, RangeUse, Ranges};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, ping, request_response};
use opp2p_core::mesh::StreamEvent;
use opp2p_core::node::{RangeInput, RangeOutput};
use opp2p_core::sync::range::StreamClose;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Interval between two pings of one connection, as in the reference.
pub const PING_INTERVAL: Duration = Duration::from_secs(3 * 60);
/// Ping interval that stands for never.
const NO_PING_INTERVAL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Connection control and the protocols of a node: gossip of blocks, blocks by number and ranges,
/// identify and ping.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub struct Behaviour {
    /// Admission of connections. It must be first: the others never see a connection that it
    /// refuses.
    pub admission: Admission,
    /// Streams of the core's gossip router.
    pub streams: Streams,
    /// Blocks by number, if they are requested and served at all.
    pub payloads: Toggle<Payloads>,
    /// Ranges of blocks, if they are requested and served at all.
    pub ranges: Toggle<Ranges>,
    /// Agent, protocols and addresses of peers.
    pub identify: identify::Behaviour,
    /// Liveness and round-trip time of peers.
    pub ping: ping::Behaviour,
    /// Notice to a browser before its older connection is closed.
    pub farewell: Farewell,
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").finish_non_exhaustive()
    }
}

/// Event of a request for a block, ours or a peer's.
pub type PayloadEvent = request_response::Event<PayloadRequest, Vec<u8>>;

/// Event of [`Behaviour`] for its driver.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant is the event of the behaviour of that name")]
pub enum Event {
    /// An event of the streams of the core's gossip router.
    Mesh(StreamEvent),
    Payloads(PayloadEvent),
    /// An event of a stream of a range, as an input of the core.
    Ranges(RangeInput),
    Identify(Box<identify::Event>),
    Ping(ping::Event),
}

impl From<Infallible> for Event {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<StreamEvent> for Event {
    fn from(event: StreamEvent) -> Self {
        Self::Mesh(event)
    }
}

impl From<PayloadEvent> for Event {
    fn from(event: PayloadEvent) -> Self {
        Self::Payloads(event)
    }
}

impl From<RangeInput> for Event {
    fn from(event: RangeInput) -> Self {
        Self::Ranges(event)
    }
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        Self::Identify(Box::new(event))
    }
}

impl From<ping::Event> for Event {
    fn from(event: ping::Event) -> Self {
        Self::Ping(event)
    }
}

/// Configuration of the wiring.
#[derive(Clone)]
pub struct Config {
    /// L2 chain whose blocks are requested and served by number.
    pub chain_id: u64,
    /// Agent version that identify reports.
    pub agent: String,
    /// Whether blocks are requested and served by number (`--p2p.sync.req-resp`).
    pub payloads: bool,
    /// Whether ranges of blocks are requested and served.
    pub ranges: RangeUse,
    /// Interval between two pings of one connection: [`PING_INTERVAL`] for a node (`p2p.ping`),
    /// less where a silent peer must be noticed soon. With `None` there is only one ping, when the
    /// connection is made. Peers' pings are answered either way.
    pub ping: Option<Duration>,
    /// Gatekeeper of connections; `None` admits every peer.
    pub gatekeeper: Option<Gatekeeper>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, agent, payloads, ranges, ping, gatekeeper } = self;
        f.debug_struct("Config")
            .field("chain_id", chain_id)
            .field("agent", agent)
            .field("payloads", payloads)
            .field("ranges", ranges)
            .field("ping", ping)
            .field("gatekeeper", &gatekeeper.is_some())
            .finish()
    }
}

impl Behaviour {
    /// Creates the behaviour for the node with this key.
    pub fn new(keypair: &Keypair, config: &Config) -> Self {
        let identify = identify::Config::new(String::new(), keypair.public())
            .with_agent_version(config.agent.clone());
        let interval = config.ping.unwrap_or(NO_PING_INTERVAL);
        Self {
            admission: Admission::new(config.gatekeeper.clone()),
            streams: Streams::new(),
            payloads: config.payloads.then(|| payloads(config.chain_id)).into(),
            ranges: Ranges::for_use(config.ranges).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(interval)),
            farewell: Farewell::default(),
        }
    }

    /// Carries out an action for a stream of a range: see [`Ranges::carry_out`].
    #[allow(clippy::result_large_err, reason = "the error is the argument, which is not a failure")]
    pub(super) fn range(&mut self, output: RangeOutput) -> Result<Option<RangeInput>, RangeOutput> {
        match (self.ranges.as_mut(), output) {
            (Some(ranges), output) => ranges.carry_out(output),
            (None, RangeOutput::Open { id, .. }) => {
                Ok(Some(RangeInput::Closed { id, close: StreamClose::Unsupported }))
            }
            (None, output) => Err(output),
        }
    }
}
