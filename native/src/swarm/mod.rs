//! The libp2p wiring that every driver shares: native and browser alike.
//!
//! It holds no rules. It configures gossipsub with the core's numbers, decompresses and names
//! messages by the core's functions, and translates: libp2p's events into [`Input`]s, the core's
//! [`Output`](opp2p_core::node::Output)s into calls. Transport, clock, threads and storage are the
//! driver's. It compiles for wasm32 (`--no-default-features`).
//!
//! # Two meshes
//!
//! A mesh has few places, and a peer beyond them hears of a block only later, by the next heartbeat's gossip. Browsers
//! are many, can't be dialled, and are watched by people; so with [`Config::browsers`] the peers that come in over a
//! WebSocket have a gossipsub of their own ([`Only`]), whose mesh takes all of them: each gets each block at once, and
//! none of them takes a place in the nodes' mesh. Messages are the same in both, and are judged once for both
//! ([`Judging`]). Scores are counted alike in both, but for peers at one address: a family or an office is one.

mod connections;
mod door;
mod judging;
mod only;
mod payload;
mod score;
mod transform;
mod translate;

pub use connections::{Bandwidth, farewell};
pub use door::{Door, Gatekeeper, Knock, Refused, ip_of, is_browser};
pub use judging::Judging;
pub use only::{Mesh, Only};
pub use payload::{
    MAX_STREAMS, PayloadCodec, PayloadRequest, Payloads, STREAM_DEADLINE, payloads, request_failure,
};
pub use score::peer_info;
pub use transform::BlockTransform;
pub use translate::{Response, Translator, dial_failure, last_cause, refused_late};

use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAcceptance, MessageAuthenticity, PublishError, TopicHash,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, ping, request_response};
use opp2p_core::gossip::{
    self as rules, Acceptance, MAX_MESSAGE_SIZE, MeshParams, MessageId, Unpacked, block_topic,
};
use opp2p_core::node::{Input, Verdict};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{PeerId, ScoreParams};
use opp2p_core::sequencer::SendOutcome;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Between two pings of one connection, as in the reference.
pub const PING_INTERVAL: Duration = Duration::from_secs(3 * 60);
/// Stands for never.
const NO_PING_INTERVAL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// More peers than a mesh can have: the door bounds the browsers.
const ALL_OF_THEM: usize = 1 << 20;
/// Messages queued for one browser. Each of them is a copy, and browsers are many; one that is further behind fetches
/// what it missed by number.
const BROWSER_QUEUE: usize = 16;

/// Gossipsub with the block topics' transform and filter.
pub type Gossipsub = gossipsub::Behaviour<BlockTransform, WhitelistSubscriptionFilter>;

/// Who may come in, and what a node speaks: gossip of blocks, blocks by number, identify and ping.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub struct Behaviour {
    /// Who may come in. It is the first: the others never see a connection that it refuses.
    pub door: Door,
    /// Gossip of blocks, with all peers but browsers.
    pub gossipsub: Only<Gossipsub>,
    /// Gossip of blocks with browsers, if they have a mesh of their own.
    pub browsers: Toggle<Only<Gossipsub>>,
    /// What came on either mesh and has no verdict yet.
    pub judging: Judging,
    /// Blocks by number, if they are asked for and served at all.
    pub payloads: Toggle<Payloads>,
    /// Who is who.
    pub identify: identify::Behaviour,
    /// Is it still there.
    pub ping: ping::Behaviour,
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").finish_non_exhaustive()
    }
}

/// What happened to a request for a block, of ours or of a peer's.
pub type PayloadEvent = request_response::Event<PayloadRequest, Vec<u8>>;

/// What [`Behaviour`] tells its driver.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant is the event of the behaviour of that name")]
pub enum Event {
    /// Gossip, and on which mesh.
    Gossipsub(Mesh, Box<gossipsub::Event>),
    Payloads(PayloadEvent),
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

impl From<PayloadEvent> for Event {
    fn from(event: PayloadEvent) -> Self {
        Self::Payloads(event)
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

/// What the wiring is configured by.
#[derive(Clone)]
pub struct Config {
    /// The L2 chain whose topics are joined.
    pub chain_id: u64,
    /// What identify calls this node.
    pub agent: String,
    /// Sizes of the mesh.
    pub mesh: MeshParams,
    /// Whether who comes in over a WebSocket has a mesh apart: for whom browsers dial.
    pub browsers: bool,
    /// Whether blocks are asked for and served by number (`--p2p.sync.req-resp`).
    pub payloads: bool,
    /// Between two pings of one connection: [`PING_INTERVAL`] for a node (`p2p.ping`), less where silence is to be
    /// noticed soon. `None`: only one, when the connection is made. Peers' pings are answered either way.
    pub ping: Option<Duration>,
    /// How gossip scores its peers; `None`: not at all.
    pub scoring: Option<ScoreParams>,
    /// Who decides on connections; `None`: everybody may connect.
    pub gatekeeper: Option<Gatekeeper>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, agent, mesh, browsers, payloads, ping, scoring, gatekeeper } = self;
        f.debug_struct("Config")
            .field("chain_id", chain_id)
            .field("agent", agent)
            .field("mesh", mesh)
            .field("browsers", browsers)
            .field("payloads", payloads)
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

impl Behaviour {
    /// All of it for the node with this key, joined to all block topics: they are joined from the
    /// start and for ever, whichever fork is active.
    ///
    /// # Errors
    /// If the mesh parameters contradict each other.
    pub fn new(keypair: &Keypair, config: &Config) -> Result<Self, InvalidConfig> {
        Self::with_gossip(keypair, config, |mesh, transform| gossipsub(config, mesh, transform))
    }

    /// As [`Self::new`], with gossipsub's own counters registered in `registry`; those of the browsers' mesh have the
    /// prefix `browsers`.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "node")]
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
        let judging = Judging::default();
        let mut make = |mesh| join_all(make(mesh, judging.transform(mesh))?, config.chain_id);
        let nodes = make(Mesh::Nodes)?;
        let (gossipsub, browsers) = if config.browsers {
            let browsers = make(Mesh::Browsers)?;
            (Only::of(Mesh::Nodes, nodes), Some(Only::of(Mesh::Browsers, browsers)))
        } else {
            (Only::all(nodes), None)
        };
        let identify =
            identify::Config::new(String::new(), keypair.public()).with_agent_version(config.agent.clone());
        let interval = config.ping.unwrap_or(NO_PING_INTERVAL);
        Ok(Self {
            door: Door::new(config.gatekeeper.clone()),
            gossipsub,
            browsers: browsers.into(),
            judging,
            payloads: config.payloads.then(|| payloads(config.chain_id)).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(interval)),
        })
    }

    /// The gossip of one mesh, if there is that mesh.
    fn only(&self, mesh: Mesh) -> Option<&Only<Gossipsub>> {
        match mesh {
            Mesh::Nodes => Some(&self.gossipsub),
            Mesh::Browsers => self.browsers.as_ref(),
        }
    }

    fn gossip_mut(&mut self, mesh: Mesh) -> Option<&mut Gossipsub> {
        match mesh {
            Mesh::Nodes => Some(self.gossipsub.inner_mut()),
            Mesh::Browsers => self.browsers.as_mut().map(Only::inner_mut),
        }
    }

    /// Both gossipsubs, or the one that there is.
    fn meshes(&self) -> impl Iterator<Item = &Gossipsub> {
        Mesh::ALL.into_iter().filter_map(|mesh| self.only(mesh)).map(Only::inner)
    }

    fn meshes_mut(&mut self) -> impl Iterator<Item = &mut Gossipsub> {
        let browsers = self.browsers.as_mut().map(Only::inner_mut);
        [self.gossipsub.inner_mut()].into_iter().chain(browsers)
    }

    /// Takes a message that came on a mesh; the answer is what the core is to judge. `None` for messages that are none
    /// of ours, and for those that the core is judging already, because they came on the other mesh: they share its
    /// verdict.
    pub fn received(
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
        // With one mesh, that has dropped all copies.
        if self.browsers.is_enabled() && !self.judging.came(mesh, source, id, name, &message) {
            return None;
        }
        Some(Input::Gossip { from, topic, id: core_id, message })
    }

    /// Carries out a verdict of the core: on each mesh on which the message came, and what is accepted is published on
    /// the other one.
    pub fn report(&mut self, verdict: &Verdict) {
        let acceptance = || match verdict.result.map_err(rules::Reason::acceptance) {
            Ok(_) | Err(Acceptance::Accept) => MessageAcceptance::Accept,
            Err(Acceptance::Ignore) => MessageAcceptance::Ignore,
            Err(Acceptance::Reject) => MessageAcceptance::Reject,
        };
        let id = gossipsub::MessageId(verdict.id.to_vec());
        let Some(judged) = self.judging.judged(&id) else {
            if let Some(from) = to_libp2p(&verdict.from) {
                let gossipsub = self.gossipsub.inner_mut();
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
                    self.publish_on(mesh, &judged.topic, judged.message.clone());
                }
                None => {}
            }
        }
    }

    /// Publishes on one mesh what came on the other.
    fn publish_on(&mut self, mesh: Mesh, topic: &TopicHash, message: Unpacked) {
        // Compressing it for nobody would be a waste.
        if self.only(mesh).is_none_or(|only| only.count() == 0) {
            return;
        }
        let Some(gossipsub) = self.gossip_mut(mesh) else { return };
        // That it was accepted does not depend on anybody taking it.
        if let Err(error) = gossipsub.publish(topic.clone(), message.into_marked()) {
            tracing::debug!(?mesh, %error, "a block does not go on");
        }
    }

    /// Publishes a message of our own on both meshes. It is sent if it is on its way on one of them.
    pub fn publish(&mut self, chain_id: u64, version: PayloadVersion, contents: &[u8]) -> SendOutcome {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        let outcomes = Mesh::ALL.into_iter().map(|mesh| {
            // Compressing it for nobody would be a waste.
            if self.only(mesh).is_none_or(|only| only.count() == 0) {
                return SendOutcome::NoPeers;
            }
            let Some(gossipsub) = self.gossip_mut(mesh) else { return SendOutcome::NoPeers };
            outcome(gossipsub.publish(topic.clone(), Unpacked::from_contents(contents).into_marked()))
        });
        let best_last = |outcome: &SendOutcome| match outcome {
            SendOutcome::NoPeers => 0,
            SendOutcome::Failed(_) => 1,
            SendOutcome::AlreadySent => 2,
            SendOutcome::Sent => 3,
        };
        outcomes.max_by_key(best_last).unwrap_or(SendOutcome::NoPeers)
    }

    /// RPCs that peers sent on gossip, on both meshes.
    #[cfg(feature = "node")]
    pub fn gossip_rpcs(&self) -> u64 {
        Mesh::ALL.into_iter().filter_map(|mesh| self.only(mesh)).map(Only::rpcs).sum()
    }

    /// Peers in the mesh of the nodes that are subscribed to the topic of `version`.
    pub fn subscribers(&self, chain_id: u64, version: PayloadVersion) -> usize {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        self.gossipsub.inner().all_peers().filter(|(_, topics)| topics.contains(&&topic)).count()
    }

    /// Peers in the nodes' mesh of the topic of `version`.
    pub fn mesh_size(&self, chain_id: u64, version: PayloadVersion) -> usize {
        self.gossipsub.inner().mesh_peers(&TopicHash::from_raw(block_topic(chain_id, version))).count()
    }

    /// Peers in the browsers' mesh of the topic of `version`.
    pub fn browser_mesh_size(&self, chain_id: u64, version: PayloadVersion) -> usize {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        self.browsers.as_ref().map_or(0, |browsers| browsers.inner().mesh_peers(&topic).count())
    }

    /// Connected peers that are browsers, subscribed or not.
    pub fn browser_count(&self) -> usize {
        self.browsers.as_ref().map_or(0, Only::count)
    }
}

fn outcome(published: Result<gossipsub::MessageId, PublishError>) -> SendOutcome {
    match published {
        Ok(_) => SendOutcome::Sent,
        Err(PublishError::Duplicate) => SendOutcome::AlreadySent,
        Err(PublishError::NoPeersSubscribedToTopic) => SendOutcome::NoPeers,
        Err(PublishError::MessageTooLarge) => {
            SendOutcome::Failed("the compressed block is larger than a gossip message may be".into())
        }
        Err(PublishError::AllQueuesFull(peers)) => {
            SendOutcome::Failed(format!("the send queues of all {peers} peers are full"))
        }
        Err(PublishError::SigningError(error)) => SendOutcome::Failed(error.to_string()),
        Err(PublishError::TransformFailed(error)) => SendOutcome::Failed(error.to_string()),
    }
}

/// A libp2p peer id as the core's. `None` can't happen for ids that libp2p makes.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::try_from(peer.to_bytes().as_slice()).ok()
}

/// The core's peer id as libp2p's. `None` can't happen for ids that came from libp2p.
pub fn to_libp2p(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

fn gossipsub(config: &Config, mesh: Mesh, transform: &BlockTransform) -> Result<Gossipsub, InvalidConfig> {
    let names = transform.clone();
    let MeshParams { d, low, high, lazy, flood_publish } = match mesh {
        Mesh::Nodes => config.mesh,
        // Whoever subscribes is taken in, and what comes from elsewhere goes to all of them at once.
        Mesh::Browsers => MeshParams {
            d: ALL_OF_THEM,
            low: ALL_OF_THEM,
            high: ALL_OF_THEM,
            flood_publish: true,
            ..config.mesh
        },
    };
    let outbound = match mesh {
        Mesh::Nodes => 2.min(d / 2).min(low.saturating_sub(1)),
        // None is ever dialled.
        Mesh::Browsers => 0,
    };
    let queue = match mesh {
        Mesh::Nodes => rules::OUTBOUND_QUEUE,
        Mesh::Browsers => BROWSER_QUEUE,
    };
    let gossip = ConfigBuilder::default()
        .mesh_n(d)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(outbound)
        .gossip_lazy(lazy)
        .flood_publish(flood_publish)
        .heartbeat_interval(rules::HEARTBEAT)
        .heartbeat_initial_delay(rules::HEARTBEAT_INITIAL_DELAY)
        .fanout_ttl(rules::FANOUT_TTL)
        .history_length(rules::HISTORY_LENGTH)
        .history_gossip(rules::HISTORY_GOSSIP)
        .duplicate_cache_time(rules::SEEN_TTL)
        .max_transmit_size(MAX_MESSAGE_SIZE)
        .connection_handler_queue_len(queue)
        .max_control_messages_sent(rules::ADVERTISED)
        // The library drops what waits longer than a few seconds for a slow peer; the reference only
        // what its queue can't hold. A block is worth sending for as long as it would be accepted.
        .publish_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .forward_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .idontwant_message_size_threshold(rules::IDONTWANT_THRESHOLD)
        // Strict no-sign: a message with author, number, key or signature is invalid.
        .validation_mode(ValidationMode::Anonymous)
        // Nothing is relayed before the core has said so.
        .validate_messages()
        .message_id_fn(move |message| names.id(message))
        .build()
        .map_err(|error| InvalidConfig(error.to_string()))?;
    let topics =
        PayloadVersion::ALL.map(|version| TopicHash::from_raw(block_topic(config.chain_id, version)));
    let filter = WhitelistSubscriptionFilter(HashSet::from(topics));
    let mut gossipsub = Gossipsub::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        gossip,
        filter,
        transform.clone(),
    )
    .map_err(|error| InvalidConfig(error.into()))?;
    if let Some(params) = &config.scoring {
        let params = match mesh {
            Mesh::Nodes => *params,
            Mesh::Browsers => ScoreParams { ip_colocation_weight: 0.0, ..*params },
        };
        score::score_peers(&mut gossipsub, config.chain_id, &params)?;
    }
    Ok(gossipsub)
}

fn join_all(mut gossipsub: Gossipsub, chain_id: u64) -> Result<Gossipsub, InvalidConfig> {
    for version in PayloadVersion::ALL {
        let topic = IdentTopic::new(block_topic(chain_id, version));
        gossipsub.subscribe(&topic).map_err(|error| InvalidConfig(error.to_string()))?;
    }
    Ok(gossipsub)
}
