//! The libp2p wiring that every driver shares: native and browser alike.
//!
//! It holds no rules. It configures gossipsub with the core's numbers, decompresses and names
//! messages by the core's functions, and translates: libp2p's events into [`Input`]s, the core's
//! [`Output`](opp2p_core::node::Output)s into calls. Transport, clock, threads and storage are the
//! driver's. It compiles for wasm32 (`--no-default-features`).

mod door;
mod payload;
mod score;
mod transform;
mod translate;

pub use door::{Door, Gatekeeper, Knock, Refused, ip_of, is_browser};
pub use payload::{
    MAX_STREAMS, PayloadCodec, PayloadRequest, Payloads, STREAM_DEADLINE, payloads, request_failure,
};
pub use score::peer_info;
pub use transform::BlockTransform;
pub use translate::{Response, Translator, dial_failure};

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

/// Gossipsub with the block topics' transform and filter.
pub type Gossipsub = gossipsub::Behaviour<BlockTransform, WhitelistSubscriptionFilter>;

/// Who may come in, and what a node speaks: gossip of blocks, blocks by number, identify and ping.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub struct Behaviour {
    /// Who may come in. It is the first: the others never see a connection that it refuses.
    pub door: Door,
    /// Gossip of blocks.
    pub gossipsub: Gossipsub,
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
    Gossipsub(Box<gossipsub::Event>),
    Payloads(PayloadEvent),
    Identify(Box<identify::Event>),
    Ping(ping::Event),
}

impl From<Infallible> for Event {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<gossipsub::Event> for Event {
    fn from(event: gossipsub::Event) -> Self {
        Self::Gossipsub(Box::new(event))
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
        let Self { chain_id, agent, mesh, payloads, ping, scoring, gatekeeper } = self;
        f.debug_struct("Config")
            .field("chain_id", chain_id)
            .field("agent", agent)
            .field("mesh", mesh)
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
        let gossipsub = gossipsub(config)?;
        let identify =
            identify::Config::new(String::new(), keypair.public()).with_agent_version(config.agent.clone());
        let interval = config.ping.unwrap_or(NO_PING_INTERVAL);
        Ok(Self {
            door: Door::new(config.gatekeeper.clone()),
            gossipsub: join_all(gossipsub, config.chain_id)?,
            payloads: config.payloads.then(|| payloads(config.chain_id)).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(interval)),
        })
    }

    /// As [`Self::new`], with gossipsub's own counters registered in `registry`.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "node")]
    pub fn with_metrics(
        keypair: &Keypair,
        config: &Config,
        registry: &mut libp2p::metrics::Registry,
    ) -> Result<Self, InvalidConfig> {
        let gossipsub = gossipsub(config)?.with_metrics(registry, gossipsub::MetricsConfig::default());
        let rest = Self::new(keypair, config)?;
        Ok(Self { gossipsub: join_all(gossipsub, config.chain_id)?, ..rest })
    }

    /// Carries out a verdict of the core.
    pub fn report(&mut self, verdict: &Verdict) {
        let acceptance = match verdict.result.map_err(rules::Reason::acceptance) {
            Ok(_) | Err(Acceptance::Accept) => MessageAcceptance::Accept,
            Err(Acceptance::Ignore) => MessageAcceptance::Ignore,
            Err(Acceptance::Reject) => MessageAcceptance::Reject,
        };
        let Some(from) = to_libp2p(&verdict.from) else { return };
        let id = gossipsub::MessageId(verdict.id.to_vec());
        self.gossipsub.report_message_validation_result(&id, &from, acceptance);
    }

    /// Publishes a message of our own.
    pub fn publish(&mut self, chain_id: u64, version: PayloadVersion, contents: &[u8]) -> SendOutcome {
        let topic = IdentTopic::new(block_topic(chain_id, version));
        match self.gossipsub.publish(topic, Unpacked::from_contents(contents).into_marked()) {
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

    /// Peers that are subscribed to the topic of `version`.
    pub fn subscribers(&self, chain_id: u64, version: PayloadVersion) -> usize {
        let topic = TopicHash::from_raw(block_topic(chain_id, version));
        self.gossipsub.all_peers().filter(|(_, topics)| topics.contains(&&topic)).count()
    }

    /// Peers in the mesh of the topic of `version`.
    pub fn mesh_size(&self, chain_id: u64, version: PayloadVersion) -> usize {
        self.gossipsub.mesh_peers(&TopicHash::from_raw(block_topic(chain_id, version))).count()
    }
}

/// A received message as the core's input; `None` for messages that are none of ours.
pub fn gossip_input(
    chain_id: u64,
    source: libp2p::PeerId,
    id: &gossipsub::MessageId,
    message: gossipsub::Message,
) -> Option<Input> {
    Some(Input::Gossip {
        from: from_libp2p(&source)?,
        topic: rules::version_of_topic(chain_id, message.topic.as_str())?,
        id: MessageId::try_from(id.0.as_slice()).ok()?,
        message: Unpacked::from_marked(message.data)?,
    })
}

/// A libp2p peer id as the core's. `None` can't happen for ids that libp2p makes.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::try_from(peer.to_bytes().as_slice()).ok()
}

/// The core's peer id as libp2p's. `None` can't happen for ids that came from libp2p.
pub fn to_libp2p(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

fn gossipsub(config: &Config) -> Result<Gossipsub, InvalidConfig> {
    let MeshParams { d, low, high, lazy, flood_publish } = config.mesh;
    let gossip = ConfigBuilder::default()
        .mesh_n(d)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(2.min(d / 2).min(low.saturating_sub(1)))
        .gossip_lazy(lazy)
        .flood_publish(flood_publish)
        .heartbeat_interval(rules::HEARTBEAT)
        .heartbeat_initial_delay(rules::HEARTBEAT_INITIAL_DELAY)
        .fanout_ttl(rules::FANOUT_TTL)
        .history_length(rules::HISTORY_LENGTH)
        .history_gossip(rules::HISTORY_GOSSIP)
        .duplicate_cache_time(rules::SEEN_TTL)
        .max_transmit_size(MAX_MESSAGE_SIZE)
        .connection_handler_queue_len(rules::OUTBOUND_QUEUE)
        // The library drops what waits longer than a few seconds for a slow peer; the reference only
        // what its queue can't hold. A block is worth sending for as long as it would be accepted.
        .publish_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .forward_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .idontwant_message_size_threshold(rules::IDONTWANT_THRESHOLD)
        // Strict no-sign: a message with author, number, key or signature is invalid.
        .validation_mode(ValidationMode::Anonymous)
        // Nothing is relayed before the core has said so.
        .validate_messages()
        .message_id_fn(|message| {
            let id = Unpacked::message_id_of_marked(&message.data, message.topic.as_str());
            gossipsub::MessageId(id.to_vec())
        })
        .build()
        .map_err(|error| InvalidConfig(error.to_string()))?;
    let topics =
        PayloadVersion::ALL.map(|version| TopicHash::from_raw(block_topic(config.chain_id, version)));
    let filter = WhitelistSubscriptionFilter(HashSet::from(topics));
    let mut gossipsub = Gossipsub::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        gossip,
        filter,
        BlockTransform,
    )
    .map_err(|error| InvalidConfig(error.into()))?;
    if let Some(params) = &config.scoring {
        score::score_peers(&mut gossipsub, config.chain_id, params)?;
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
