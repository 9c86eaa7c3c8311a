//! The state machine that combines all others. It passes each input to the machine that it
//! concerns, and the results on to the machines that depend on them.
//!
//! [`Node::handle`] takes an input, [`Node::poll`] returns the next output, and
//! [`Node::next_wakeup`] returns the time of the next call. [`Node::knock`] decides whether a
//! connection may go on, and counts it. Nothing else changes the node, and the same inputs give the
//! same outputs.
//!
//! # Invariant
//! The driver must carry out outputs in order, and all of them before it sleeps: `poll` until
//! `None`. It may pass results back through `handle` while draining.
//!
//! # Gossip
//! A gossip library of the driver runs the mesh, passes messages in ([`Input::Gossip`]), and gets
//! verdicts. Or the node has a [router](crate::mesh) of its own ([`NodeConfig::mesh`]): then the
//! driver only opens streams and carries frames ([`Input::Mesh`], [`Output::Mesh`],
//! [`Node::transmit`]).
//!
//! # Example: receive a message
//!
//! A signed message of the test fixtures becomes the head:
//!
//! ```
//! # #[cfg(feature = "fixtures")] {
//! use opp2p_core::chain::{ChainConfig, ChainEvent, Fork};
//! use opp2p_core::gossip::{Unpacked, block_topic};
//! use opp2p_core::node::{Event, Input, Node, NodeConfig, Output};
//! use opp2p_core::peers::PeerId;
//! use opp2p_core::time::Now;
//! use std::time::Duration;
//!
//! let message = opp2p_core::fixtures::messages().remove(2);
//! let chain = ChainConfig::development(
//!     message.chain_id, Default::default(), 0, 2, Fork::Ecotone, message.signer,
//! );
//! let now = Now::new(Duration::ZERO, Duration::from_secs(message.timestamp));
//! let mut node = Node::new(now, NodeConfig::new(chain)).expect("a sound configuration");
//!
//! let from = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
//! let unpacked = Unpacked::new(&message.data);
//! let id = unpacked.message_id(&block_topic(message.chain_id, message.version));
//! node.handle(now, Input::Gossip { from, topic: message.version, id, message: unpacked });
//!
//! let mut head = None;
//! while let Some(output) = node.poll() {
//!     match output {
//!         Output::Job(job) => node.handle(now, Input::JobDone(job.run())),
//!         Output::Verdict(verdict) => assert!(verdict.result.is_ok()),
//!         Output::Event(Event::Chain(ChainEvent::Extended(block))) => head = Some(block.hash()),
//!         _ => {}
//!     }
//! }
//! assert_eq!(head, Some(message.block_hash));
//! # }
//! ```
//!
//! # Example: an observer
//!
//! An observer shows the live head to a user. It follows a few gateways, stores nothing, and leaves
//! out what it can't fetch:
//!
//! ```
//! use opp2p_core::chain::{ChainConfig, Fork};
//! use opp2p_core::node::{Input, Node, NodeConfig, NotReady, ObserverConfig, Output};
//! use opp2p_core::peers::PeerId;
//! use opp2p_core::time::Now;
//! use std::time::Duration;
//!
//! let signer = [7; 20].into();
//! let chain = ChainConfig::development(901, Default::default(), 0, 2, Fork::Ecotone, signer);
//! let gateway = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
//! let config = ObserverConfig { gateways: vec![gateway.into()], ..ObserverConfig::default() };
//! let config = NodeConfig::observer(chain, &config);
//! let now = Now::new(Duration::ZERO, Duration::from_secs(1_700_000_000));
//! let mut node = Node::new(now, config).expect("a sound configuration");
//!
//! let is_dial = |output| matches!(output, Output::Dial { peer, .. } if peer == gateway);
//! assert!(std::iter::from_fn(|| node.poll()).any(is_dial));
//! assert_eq!(node.not_ready(now), [NotReady::NoHead, NotReady::NoPeer]);
//! node.handle(now, Input::Connected(gateway));
//! assert_eq!(node.not_ready(now), [NotReady::NoHead]);
//! ```
//!
//! # Bounds
//! * Messages under validation and messages that wait: see [`Validator`].
//! * Publications: see [`PublishQueue`]. Chain: see [`ChainView`].
//! * Gossip, if the node has a router: see [`mesh`](crate::mesh) and `routing.rs`.
//! * Blocks by number, and ranges: see [`GapFiller`], [`PayloadServer`] and [`RangeServer`].
//! * Peers: see [`PeerManager`].
//! * Changes of the store: see `storing.rs`.
//! * Troubles: see [`trouble`](crate::trouble).
//! * Outputs: those of one `handle`, if the driver drains them; at most one block for each that the
//!   chain view holds.

mod config;
mod forks;
mod gossip;
mod insert;
mod io;
mod job;
mod observer;
mod peers;
mod publish;
mod ranges;
mod ready;
mod routing;
mod storing;
mod sync;
#[cfg(test)]
mod tests;
mod troubles;

pub use config::{MeshSettings, NodeConfig, SyncConfig};
pub use forks::UnknownFork;
pub use insert::{InsertError, vouched};
pub use io::{Event, Input, Output, SignRequest, StoreChange};
pub use job::{Job, JobId, JobKind, JobResult};
pub use observer::{MAX_GATEWAYS, OBSERVER_PINGS, OBSERVER_SILENCE, ObserverConfig};
pub use ranges::{RangeInput, RangeOutput};
pub use ready::{HEAD_INTERVALS, NotReady, OLDEST_HEAD};
pub use routing::TopicSizes;
pub use storing::{REISSUED, STORE_RETRY, StoreId, UNSTORED};
pub use troubles::{
    FORK_NOTICE, GAP_STUCK, SILENCE, SILENT_INTERVALS, STRANGERS_TTL, UNCONFIRMED,
    UNCONFIRMED_INTERVALS,
};

use crate::chain::{BlockId, ChainConfig, ChainView, ChainViewConfig, ConfigError};
use crate::gossip::{Reason, ScheduleDoubt, Signers, Validator, ValidatorConfig};
use crate::payload::{Block, PayloadVersion};
use crate::peers::{Denied, Knock, PeerManager};
use crate::sequencer::{PublishError, PublishId, PublishQueue};
use crate::sorted::SortedMap;
use crate::sync::range::{CheckId, Checked, RangeServer, RangeServerConfig};
use crate::sync::{AnswerError, GapFiller, PayloadServer, RequestId, SyncStatus};
use crate::time::{Instant, Now};
use forks::ForkWatch;
use job::{IdKind, Outcome, Work};
use publish::check_size;
use routing::Routing;
use std::collections::VecDeque;
use std::time::Duration;
use storing::Storing;
use troubles::Troubles;

/// Purpose of a running job other than a validation.
#[derive(Debug)]
enum Running {
    Seal(PublishId),
    Check(RequestId),
    Pack(PublishId, PayloadVersion),
    CheckChunk(CheckId),
}

/// The node: see the [module's documentation](self).
#[derive(Debug)]
pub struct Node {
    chain: ChainConfig,
    can_sign: bool,
    validator: Validator,
    forks: ForkWatch,
    is_offline: bool,
    view: ChainView<Block>,
    storing: Storing,
    queue: PublishQueue,
    peers: PeerManager,
    mesh: Option<Routing>,
    /// Topics on which a current block may arrive, as last set in the peers' scores.
    live: [bool; PayloadVersion::ALL.len()],
    filler: Option<GapFiller>,
    server: Option<PayloadServer>,
    /// Serves ranges of blocks.
    ranges: Option<RangeServer>,
    /// Time of the filler's next action, as of the last call.
    filler_wakeup: Option<Instant>,
    jobs: SortedMap<u64, Running>,
    next_job: u64,
    troubles: Troubles,
    outputs: VecDeque<Output>,
}

impl Node {
    /// Creates a node at `now`.
    ///
    /// # Errors
    /// If the chain configuration is wrong or contradicts itself.
    pub fn new(now: Now, config: NodeConfig) -> Result<Self, ConfigError> {
        config.chain.check()?;
        let validator = Validator::new(
            now,
            &config.chain,
            ValidatorConfig {
                signer: config.signer,
                timestamp_threshold: config.timestamp_threshold,
                reads_signer: config.reads_signer,
            },
        );
        let interval = config.chain.interval_at(now.unix);
        let view_config = ChainViewConfig { interval, ..config.view };
        let genesis = BlockId::new(config.chain.genesis.number, config.chain.genesis.hash);
        let scheduled = config.head.and_then(|head| config.chain.timestamp_of(head.number));
        let head_time = config.recent.first().map(Block::timestamp).or(scheduled);
        let mesh = config.mesh.map(|settings| Routing::new(now, &config, settings));
        let troubles = Troubles::new(now, config.role, head_time.unwrap_or(0), interval);
        let view = match config.head.or(config.from_genesis.then_some(genesis)) {
            Some(head) => ChainView::resume(
                now.monotonic,
                view_config,
                head,
                config.recent,
                config.remembered,
            ),
            None => ChainView::new(view_config),
        };
        let mut node = Self {
            can_sign: config.can_sign,
            validator,
            forks: ForkWatch::default(),
            is_offline: config.offline,
            view,
            storing: Storing::default(),
            queue: PublishQueue::new(config.timestamp_threshold),
            peers: PeerManager::new(
                now,
                config.peers,
                config.chain.block_time,
                config.static_peers.into_iter().filter(|_| !config.offline),
                config.memory,
            )
            .with_seed(config.seed),
            mesh,
            live: Default::default(),
            filler: config.sync.map(|sync| {
                let fill = sync.fill_for(config.chain.chain_id);
                GapFiller::new(now.monotonic, fill, config.pending)
                    .with_seed(config.seed)
                    .with_lowest(config.lowest)
            }),
            server: config
                .sync
                .filter(|sync| sync.serves)
                .map(|sync| PayloadServer::new(sync.serve)),
            ranges: config.sync.filter(|sync| sync.serves && sync.ranges).map(|sync| {
                let chain_id = config.chain.chain_id;
                RangeServer::new(RangeServerConfig { chain_id, ..sync.serve_ranges })
            }),
            filler_wakeup: None,
            jobs: SortedMap::new(),
            next_job: 0,
            troubles,
            outputs: VecDeque::new(),
            chain: config.chain,
        };
        if node.mesh.is_some() {
            node.peers = node.peers.with_router();
        }
        node.peers.block_configured(config.blocked);
        node.settle(now);
        Ok(node)
    }

    /// Handles something that happened at `now`.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.watch_clock(now);
        match input {
            Input::Gossip { from, topic, id, message } => {
                self.peers.heard(now, &from);
                self.validator.receive(now, from, topic, id, message);
            }
            Input::Mesh(event) => self.stream_event(now, event),
            Input::JobDone(result) => self.job_done(now, result),
            Input::Publish { id, publication } => self.queue.push(now, id, publication),
            Input::Signed { id, result } => self.queue.signed(now, id, result),
            Input::Sent { id, outcome } => self.queue.sent(now, id, outcome),
            Input::SetSigner(signer) => {
                self.validator.set_signer(now, signer, now.unix_seconds());
            }
            Input::SignerRead { signer, as_of } => self.validator.set_signer(now, signer, as_of),
            Input::Connected(peer) => self.connected(now, peer),
            Input::Disconnected(peer) => self.disconnected(now, &peer),
            Input::DialFailed(peer) => self.peers.dial_failed(now, &peer),
            Input::NetworkChanged => self.peers.network_changed(now),
            Input::Peer(peer, news) => self.on_peer_news(now, &peer, news),
            Input::GossipScores(scores) => self.peers.gossip_scores(now, scores),
            Input::Command { id, command } => self.command(now, id, command),
            Input::Configure { id, lists } => self.configure(now, id, lists),
            Input::Stopping => {
                self.read_scores(now);
                self.peers.stopping(now);
                self.storing.stopping();
            }
            Input::Requested { from, id, number } => self.requested(now, from, id, number),
            Input::Responded(id) => self.responded(now, id),
            Input::Response { id, result } => self.response(now, id, result),
            Input::Range(input) => self.on_range(now, input),
            Input::Stored { id, is_stored } => self.stored(now, id, is_stored),
            Input::NotKept(id) => self.not_kept(now, id),
            Input::Loaded(blocks) => self.loaded(now, blocks),
            Input::Recalled { from, blocks } => self.recalled(from, blocks),
            Input::FetchRange { id, to } => self.fetch_range(now, id, to),
            Input::Insert(block) => self.validator.vouched(now, &block),
            Input::Report(report) => self.report(now, report),
            Input::Wake => {}
        }
        self.settle(now);
    }

    /// Decides whether a connection may go on, and counts it if so. A connection can't wait for an
    /// output, so this is the only call that returns its answer at once. Further consequences come
    /// out of the next [`Self::handle`].
    ///
    /// # Errors
    /// The reason for refusing the connection.
    pub fn knock(&mut self, now: Now, knock: &Knock) -> Result<(), Denied> {
        self.watch_clock(now);
        self.peers.knock(now, knock)
    }

    /// Returns the next output, or `None` when all is done for now.
    #[must_use = "each output must be carried out"]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the time at which to call [`Self::handle`] with [`Input::Wake`] if nothing happens
    /// before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let server = self.server.as_ref().and_then(PayloadServer::next_wakeup);
        let others = [
            self.queue.next_wakeup(),
            self.peers.next_wakeup(),
            self.forks.next_wakeup(),
            server,
            self.ranges_wakeup(),
            self.filler_wakeup,
            self.validator.next_wakeup(),
            self.storing.next_wakeup(),
            self.troubles.next_wakeup(),
            self.mesh.as_ref().map(Routing::next_wakeup),
        ];
        others.into_iter().flatten().chain(self.view.next_wakeup()).min()
    }

    /// Returns the configuration of the chain that the node follows.
    pub const fn chain(&self) -> &ChainConfig {
        &self.chain
    }

    /// Returns the maximum age at which a block is accepted.
    pub fn timestamp_threshold(&self) -> Duration {
        self.validator.rules().timestamp_threshold
    }

    /// Returns the view of the unsafe chain.
    pub const fn view(&self) -> &ChainView<Block> {
        &self.view
    }

    /// Returns the accepted signers of unsafe blocks, as of the last [`Self::handle`].
    pub fn signers(&self) -> Signers {
        self.validator.signers()
    }

    /// Returns the peers: their scores, bans and remembered facts.
    pub const fn peers(&self) -> &PeerManager {
        &self.peers
    }

    /// Returns the state of fetching blocks, or `None` if fetching is off.
    pub fn sync_status(&self) -> Option<SyncStatus> {
        self.filler.as_ref().map(GapFiller::status)
    }

    /// Returns the queue of our own blocks that are not yet sent.
    pub const fn publishing(&self) -> &PublishQueue {
        &self.queue
    }

    /// Returns the number of messages that wait for validation.
    pub fn waiting(&self) -> usize {
        self.validator.waiting()
    }

    /// Returns the doubt in our fork schedule, or `None` while the sequencer's blocks keep to it.
    pub fn schedule_doubt(&self) -> Option<ScheduleDoubt> {
        self.validator.schedule_doubt()
    }

    /// Returns the version of the topic on which the sequencer's blocks come at `now`: by our
    /// schedule, or by the blocks themselves while they break it.
    pub fn topic_in_use(&self, now: Now) -> PayloadVersion {
        self.validator.topic_in_use(now)
    }

    /// Takes a reading of the clocks.
    fn watch_clock(&mut self, now: Now) {
        self.validator.watch_clock(now);
        self.follow_validator(now);
    }

    /// Ends every call: handles due timers and everything that follows from them.
    fn settle(&mut self, now: Now) {
        self.validator.handle_timeout(now);
        self.follow_validator(now);
        // First, because relays should not wait for anything else.
        self.settle_mesh(now);
        self.view.set_interval(self.chain.interval_at(now.unix));
        self.settle_forks(now);
        self.settle_sync(now);
        self.settle_ranges(now);
        self.settle_store(now);
        loop {
            self.settle_peers(now);
            while let Some(step) = self.queue.poll(now) {
                self.publish_step(now, step);
            }
            if !self.settle_mesh(now) {
                break;
            }
        }
        self.settle_troubles(now);
    }

    fn start(&mut self, work: Work, running: Running) {
        let id = self.next_job;
        self.next_job += 1;
        self.jobs.insert(id, running);
        self.outputs.push_back(Output::Job(Job { id: JobId(IdKind::Node(id)), work }));
    }

    fn job_done(&mut self, now: Now, result: JobResult) {
        let id = match result.id.0 {
            IdKind::Validator(id) => return self.validated(now, id, result.outcome),
            IdKind::Router(entry) => return self.named(now, entry, result.outcome),
            IdKind::Node(id) => id,
        };
        match self.jobs.remove(&id) {
            Some(Running::Seal(id)) => {
                let sealed = match result.outcome {
                    Outcome::Sealed(sealed) => sealed,
                    _ => Err(PublishError::Refused(Reason::Panicked)),
                };
                self.queue.sealed(id, sealed.and_then(check_size));
            }
            Some(Running::Check(id)) => {
                let checked = match result.outcome {
                    Outcome::Checked(checked) => checked,
                    _ => Err(AnswerError::Panicked),
                };
                self.checked(now, id, checked);
            }
            Some(Running::Pack(id, topic)) => self.packed(now, id, topic, result.outcome),
            Some(Running::CheckChunk(id)) => {
                let checked = match result.outcome {
                    Outcome::CheckedChunk(checked) => checked,
                    _ => Checked::panicked(),
                };
                self.chunk_checked(now, id, checked);
            }
            None => {}
        }
    }
}
