//! The behaviour: connection control and the protocols of a node.

use crate::gossip::{gossipsub, join_all};
use crate::mesh::Streams;
use crate::payload::payloads;
use crate::{
    Admission, BlockTransform, Farewell, Gatekeeper, Gossipsub, Judging, Only, PayloadRequest,
    Payloads, RangeUse, Ranges, from_libp2p, to_libp2p,
};
use libp2p::gossipsub::{self, MessageAcceptance, TopicHash};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, ping, request_response};
use opp2p_core::gossip::{
    self as rules, Acceptance, Mesh, MeshParams, MessageId, Verdict, block_topic,
};
use opp2p_core::mesh::StreamEvent;
use opp2p_core::node::{Input, RangeInput, RangeOutput};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::ScoreParams;
use opp2p_core::sequencer::SendOutcome;
use opp2p_core::sync::range::StreamClose;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Interval between two pings of one connection, as in the reference.
pub const PING_INTERVAL: Duration = Duration::from_secs(3 * 60);
/// Ping interval that stands for never.
const NO_PING_INTERVAL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The streams of the core's gossip router. Without the feature `router` there are none, so that a
/// page does not load their code.
#[cfg(feature = "router")]
type RouterStreams = Toggle<Streams>;
#[cfg(not(feature = "router"))]
type RouterStreams = libp2p::swarm::dummy::Behaviour;

/// Connection control and the protocols of a node: gossip of blocks, blocks by number and ranges,
/// identify and ping.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub struct Behaviour {
    /// Admission of connections. It must be first: the others never see a connection that it
    /// refuses.
    pub admission: Admission,
    /// Gossip of blocks with all peers, or with all except browsers if [`Config::browsers`] is set.
    /// Only with [`Router::Libp2p`].
    pub gossipsub: Toggle<Only<Gossipsub>>,
    /// Gossip of blocks with browsers, if they have a mesh of their own. Only with
    /// [`Router::Libp2p`].
    pub browsers: Toggle<Only<Gossipsub>>,
    /// Messages from either of these meshes that have no verdict yet.
    pub judging: Judging,
    /// The streams of the core's gossip router. Only with [`Router::Own`].
    pub streams: RouterStreams,
    /// Blocks by number, if they are requested and served at all.
    pub payloads: Toggle<Payloads>,
    /// Ranges of blocks, if they are requested and served at all.
    pub ranges: Toggle<Ranges>,
    /// Agent, protocols and addresses of peers.
    pub identify: identify::Behaviour,
    /// Liveness and round-trip time of peers.
    pub ping: ping::Behaviour,
    /// What is said before a browser's older connection is closed.
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
    /// A gossip event, with its mesh.
    Gossipsub(Mesh, Box<gossipsub::Event>),
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

impl From<(Mesh, gossipsub::Event)> for Event {
    fn from((mesh, event): (Mesh, gossipsub::Event)) -> Self {
        Self::Gossipsub(mesh, Box::new(event))
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

/// The gossip router that runs the meshes of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Router {
    /// The core's: see [`opp2p_core::mesh`]. It needs a node with
    /// [`NodeConfig::mesh`](opp2p_core::node::NodeConfig::mesh).
    /// Needs the feature `router`.
    Own,
    /// libp2p's gossipsub. This choice goes away when the core's router is the default.
    #[default]
    Libp2p,
}

impl Router {
    /// Both routers.
    pub const ALL: [Self; 2] = [Self::Own, Self::Libp2p];

    /// Returns the name by which a flag chooses the router.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Libp2p => "libp2p",
        }
    }
}

/// Configuration of the wiring.
#[derive(Clone)]
pub struct Config {
    /// L2 chain whose topics are joined.
    pub chain_id: u64,
    /// Agent version that identify reports.
    pub agent: String,
    /// The gossip router. With [`Router::Own`], `mesh`, `browsers` and `scoring` have no effect:
    /// the core is told them.
    pub router: Router,
    /// Sizes of the mesh.
    pub mesh: MeshParams,
    /// Whether peers that connect over a WebSocket, as browsers do, have a mesh of their own.
    pub browsers: bool,
    /// Whether blocks are requested and served by number (`--p2p.sync.req-resp`).
    pub payloads: bool,
    /// Whether ranges of blocks are requested and served.
    pub ranges: RangeUse,
    /// Interval between two pings of one connection: [`PING_INTERVAL`] for a node (`p2p.ping`),
    /// less where a silent peer must be noticed soon. With `None` there is only one ping, when the
    /// connection is made. Peers' pings are answered either way.
    pub ping: Option<Duration>,
    /// Parameters of the gossip score; `None` disables scoring.
    pub scoring: Option<ScoreParams>,
    /// Gatekeeper of connections; `None` admits every peer.
    pub gatekeeper: Option<Gatekeeper>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain_id,
            agent,
            router,
            mesh,
            browsers,
            payloads,
            ranges,
            ping,
            scoring,
            gatekeeper,
        } = self;
        f.debug_struct("Config")
            .field("chain_id", chain_id)
            .field("agent", agent)
            .field("router", router)
            .field("mesh", mesh)
            .field("browsers", browsers)
            .field("payloads", payloads)
            .field("ranges", ranges)
            .field("ping", ping)
            .field("scoring", scoring)
            .field("gatekeeper", &gatekeeper.is_some())
            .finish()
    }
}

/// The mesh parameters contradict each other; the text is libp2p's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gossip can't be configured: {0}")]
pub struct InvalidConfig(pub String);

#[cfg(feature = "router")]
fn router_streams(router: Router) -> RouterStreams {
    (router == Router::Own).then(Streams::new).into()
}

#[cfg(not(feature = "router"))]
const fn router_streams(_: Router) -> RouterStreams {
    libp2p::swarm::dummy::Behaviour
}

impl Behaviour {
    /// Returns the streams of the core's gossip router, if that one runs the meshes.
    #[cfg(feature = "router")]
    pub fn streams(&mut self) -> Option<&mut Streams> {
        self.streams.as_mut()
    }

    /// Returns `None`: the feature `router` is off.
    #[cfg(not(feature = "router"))]
    pub const fn streams(&mut self) -> Option<&mut Streams> {
        None
    }

    /// Creates the behaviour for the node with this key and joins all block topics, which stay
    /// joined whichever fork is active.
    ///
    /// # Errors
    /// If the mesh parameters contradict each other.
    pub fn new(keypair: &Keypair, config: &Config) -> Result<Self, InvalidConfig> {
        Self::with_gossip(keypair, config, |mesh, transform| gossipsub(config, mesh, transform))
    }

    /// Like [`Self::new`], with gossipsub's own counters registered in `registry`. Those of the
    /// browsers' mesh have the prefix `browsers`.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "metrics")]
    pub fn with_metrics(
        keypair: &Keypair,
        config: &Config,
        registry: &mut libp2p::metrics::Registry,
    ) -> Result<Self, InvalidConfig> {
        Self::with_gossip(keypair, config, |mesh, transform| {
            let registry = match mesh {
                Mesh::Nodes => &mut *registry,
                Mesh::Browsers => registry.sub_registry_with_prefix("browsers"),
            };
            Ok(gossipsub(config, mesh, transform)?
                .with_metrics(registry, gossipsub::MetricsConfig::default()))
        })
    }

    fn with_gossip(
        keypair: &Keypair,
        config: &Config,
        mut make: impl FnMut(Mesh, &BlockTransform) -> Result<Gossipsub, InvalidConfig>,
    ) -> Result<Self, InvalidConfig> {
        let admission = Admission::new(config.gatekeeper.clone());
        let judging = Judging::default();
        let mut make = |mesh| join_all(make(mesh, judging.transform(mesh))?, config.chain_id);
        let only = |mesh, inner| Only::of(mesh, inner, admission.meshes().clone());
        let (gossipsub, browsers) = match (config.router, config.browsers) {
            (Router::Own, _) => (None, None),
            (Router::Libp2p, false) => (Some(Only::all(make(Mesh::Nodes)?)), None),
            (Router::Libp2p, true) => (
                Some(only(Mesh::Nodes, make(Mesh::Nodes)?)),
                Some(only(Mesh::Browsers, make(Mesh::Browsers)?)),
            ),
        };
        let identify = identify::Config::new(String::new(), keypair.public())
            .with_agent_version(config.agent.clone());
        let interval = config.ping.unwrap_or(NO_PING_INTERVAL);
        Ok(Self {
            admission,
            gossipsub: gossipsub.into(),
            browsers: browsers.into(),
            judging,
            streams: router_streams(config.router),
            payloads: config.payloads.then(|| payloads(config.chain_id)).into(),
            ranges: Ranges::for_use(config.ranges).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(interval)),
            farewell: Farewell::default(),
        })
    }

    /// Returns the gossip of one mesh, if that mesh exists.
    pub(super) fn only(&self, mesh: Mesh) -> Option<&Only<Gossipsub>> {
        match mesh {
            Mesh::Nodes => self.gossipsub.as_ref(),
            Mesh::Browsers => self.browsers.as_ref(),
        }
    }

    fn gossip_mut(&mut self, mesh: Mesh) -> Option<&mut Gossipsub> {
        let only = match mesh {
            Mesh::Nodes => self.gossipsub.as_mut(),
            Mesh::Browsers => self.browsers.as_mut(),
        };
        only.map(Only::inner_mut)
    }

    /// Returns the gossipsub of each mesh that exists.
    pub(super) fn meshes(&self) -> impl Iterator<Item = &Gossipsub> {
        Mesh::ALL.into_iter().filter_map(|mesh| self.only(mesh)).map(Only::inner)
    }

    pub(super) fn meshes_mut(&mut self) -> impl Iterator<Item = &mut Gossipsub> {
        let meshes = [self.gossipsub.as_mut(), self.browsers.as_mut()];
        meshes.into_iter().flatten().map(Only::inner_mut)
    }

    /// Takes a message that arrived on a mesh and returns the input for the core to validate.
    /// Returns `None` for messages that are not ours, and for those that the core is already
    /// validating because they arrived on the other mesh: they share its verdict.
    pub(super) fn received(
        &mut self,
        chain_id: u64,
        mesh: Mesh,
        source: libp2p::PeerId,
        id: &gossipsub::MessageId,
        message: gossipsub::Message,
    ) -> Option<Input> {
        let from = from_libp2p(&source)?;
        let topic = rules::version_of_topic(chain_id, message.topic.as_str())?;
        let name = message.topic.clone();
        let core_id = MessageId::try_from(id.0.as_slice()).ok()?;
        let message = self.judging.transform(mesh).unpack(&core_id, message)?;
        // If there is only one mesh, it has dropped all copies.
        if self.browsers.is_enabled() && !self.judging.arrived(mesh, source, id, name, &message) {
            return None;
        }
        Some(Input::Gossip { from, topic, id: core_id, message })
    }

    /// Applies a verdict of the core on each mesh on which the message arrived. An accepted message
    /// is also published on the other mesh.
    pub(super) fn report(&mut self, verdict: &Verdict) {
        let acceptance = || match verdict.result.map_err(rules::Reason::acceptance) {
            Ok(_) | Err(Acceptance::Accept) => MessageAcceptance::Accept,
            Err(Acceptance::Ignore) => MessageAcceptance::Ignore,
            Err(Acceptance::Reject) => MessageAcceptance::Reject,
        };
        let id = gossipsub::MessageId(verdict.id.to_vec());
        let Some(judged) = self.judging.judged(&id) else {
            let gossipsub = self.gossip_mut(Mesh::Nodes);
            if let Some((gossipsub, from)) = gossipsub.zip(to_libp2p(&verdict.from)) {
                gossipsub.report_message_validation_result(&id, &from, acceptance());
            }
            return;
        };
        for mesh in Mesh::ALL {
            match judged.from(mesh) {
                Some(from) => {
                    if let Some(gossipsub) = self.gossip_mut(mesh) {
                        gossipsub.report_message_validation_result(&id, &from, acceptance());
                    }
                }
                None if matches!(acceptance(), MessageAcceptance::Accept) => {
                    // The verdict does not depend on whether any peer takes the message.
                    let outcome = self.publish_on(mesh, &judged.topic, &id, judged.message.clone());
                    if let SendOutcome::Failed(error) = outcome {
                        let mesh = match mesh {
                            Mesh::Nodes => "nodes",
                            Mesh::Browsers => "browsers",
                        };
                        tracing::debug!(mesh, %error, "a block does not go on");
                    }
                }
                None => {}
            }
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

    /// Returns the number of gossip RPCs that peers sent on both meshes.
    #[cfg(feature = "metrics")]
    pub(super) fn gossip_rpcs(&self) -> u64 {
        Mesh::ALL.into_iter().filter_map(|mesh| self.only(mesh)).map(Only::rpcs).sum()
    }

    /// Returns the number of peers of the nodes' gossip that are subscribed to the topic of
    /// `version`. With [`Router::Own`], the core knows it.
    pub fn subscribers(&self, chain_id: u64, version: PayloadVersion) -> usize {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        self.only(Mesh::Nodes).map_or(0, |nodes| {
            nodes.inner().all_peers().filter(|(_, topics)| topics.contains(&&topic)).count()
        })
    }

    /// Returns the number of peers in a mesh of the topic of `version`. With [`Router::Own`], the
    /// core knows it.
    pub(super) fn mesh_size(&self, chain_id: u64, mesh: Mesh, version: PayloadVersion) -> usize {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        self.only(mesh).map_or(0, |only| only.inner().mesh_peers(&topic).count())
    }
}
