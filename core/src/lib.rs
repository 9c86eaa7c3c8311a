//! The OP Stack's peer-to-peer layer as pure state machines.
//!
//! This crate makes every decision about gossip of *unsafe* L2 blocks: the form of a valid message,
//! the accepted signers, the blocks that form the chain, and everything that is published, stored
//! and reported. It does not open a socket or file, start a thread, read a clock, log, or generate
//! a random number. A *driver* does that, and there are several: the native node and the browser
//! node use libp2p, and the simulator uses no network. A rule that lives in one driver is missing
//! in the others, so all rules live here.
//!
//! # A driver's loop
//!
//! [`node::Node`] is the state machine that combines all others. Its driver
//!
//! 1. reads both clocks, and passes each input to [`handle`](node::Node::handle);
//! 2. drains [`poll`](node::Node::poll), and executes the outputs;
//! 3. sleeps until the next input, or until [`next_wakeup`](node::Node::next_wakeup).
//!
//! ```
//! use opp2p_core::chain::{ChainConfig, ChainEvent, Fork};
//! use opp2p_core::node::{Event, Input, Node, NodeConfig, Output};
//! use opp2p_core::payload::{Envelope, ExecutionPayload};
//! use opp2p_core::sequencer::{LocalSigner, Publication, PublishId, SendOutcome};
//! use opp2p_core::time::Now;
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A chain of our own, whose blocks we sign ourselves.
//! let signer = LocalSigner::from_bytes(&[7; 32])?;
//! let key = signer.address();
//! let chain = ChainConfig::development(901, Default::default(), 0, 2, Fork::Canyon, key);
//! let now = Now::new(Duration::ZERO, Duration::from_secs(1_700_000_000));
//! let mut node = Node::new(now, NodeConfig { can_sign: true, ..NodeConfig::new(chain) })?;
//!
//! let mut payload = ExecutionPayload {
//!     block_number: 1,
//!     timestamp: now.unix_seconds(),
//!     withdrawals: Some(Vec::new()),
//!     ..Default::default()
//! };
//! payload.seal(None)?;
//! let envelope = Box::new(Envelope { parent_beacon_block_root: None, payload });
//!
//! let mut inputs = VecDeque::from([Input::Publish {
//!     id: PublishId(1),
//!     publication: Publication::Envelope(envelope),
//! }]);
//! let mut told = Vec::new();
//! while let Some(input) = inputs.pop_front() {
//!     node.handle(now, input);
//!     while let Some(output) = node.poll() {
//!         match output {
//!             // Any thread will do for these.
//!             Output::Job(job) => inputs.push_back(Input::JobDone(job.run())),
//!             Output::Sign(request) => inputs.push_back(Input::Signed {
//!                 id: request.id,
//!                 result: Ok(signer.sign(&request.signing_hash)),
//!             }),
//!             // A real driver hands these to gossip, the store and the network.
//!             Output::Send { id, .. } => {
//!                 inputs.push_back(Input::Sent { id, outcome: SendOutcome::Sent });
//!             }
//!             Output::Verdict(_) | Output::Store { .. } | Output::Remember(_) => {}
//!             Output::Dial { .. } | Output::Disconnect(_) | Output::Close(_) => {}
//!             Output::ApplicationScore(..) | Output::Mesh(_) => {}
//!             Output::LiveTopics(_) | Output::TakeScores | Output::ReadSigner => {}
//!             // A real driver shows these to the operator.
//!             Output::Event(Event::TroubleBegan(_) | Event::TroubleEnded(_)) => {}
//!             Output::Event(Event::Peers(_)) => {}
//!             Output::Event(event) => told.push(event),
//!             // Blocks of others, which this node neither fetches nor serves.
//!             Output::Request { .. } | Output::RequestRpc { .. } => {}
//!             Output::Load(_) | Output::Recall(_) => {}
//!             Output::Serve { .. } | Output::Refuse { .. } | Output::Range(_) => {}
//!         }
//!     }
//! }
//! let extended = matches!(&told[0], Event::Chain(ChainEvent::Extended(b)) if b.number() == 1);
//! assert!(extended);
//! assert!(matches!(&told[1], Event::Published { result: Ok(_), .. }));
//! # Ok(())
//! # }
//! ```
//!
//! # More examples
//!
//! * [Receive a message](node#example-receive-a-message)
//! * [Validate messages without a node](gossip::Validator#example)
//! * [Keep scores in the score book](peers::PeerBook#example-the-score-book)
//! * [Fill a gap](sync#example-a-gap)
//! * [Fetch a range of blocks](sync#example-the-range-client)
//! * [Follow the chain](chain::view#example)
//! * [Observe the live head](node#example-an-observer)
//!
//! # The parts alone
//!
//! Each part is a state machine of its own with the same small vocabulary, and can be used alone:
//!
//! | module | contents |
//! |---|---|
//! | [`chain`] | configuration and fork schedule, built-in networks, the unsafe chain view |
//! | [`payload`] | execution payloads v1–v4, their encoding and hash, bounded snappy |
//! | [`gossip`] | topics, message ids, signatures, the validator |
//! | [`mesh`] | gossipsub: mesh, control messages, what is sent to whom and when |
//! | [`sequencer`] | signing and the publish queue |
//! | [`sync`] | blocks by number: filling gaps, the range client, the payload server |
//! | [`feed`] | the canonical chain, exactly once, for a consumer that keeps a log of it |
//! | [`discovery`] | the search for nodes: records, candidates for dialling, pace |
//! | [`peers`] | scores, the gate, bans, connections and their limits, static peers, peer memory |
//! | [`node`] | the state machine that combines all others |
//! | [`trouble`] | the node's own problems: meaning, remedy, hysteresis |
//! | [`engine`] | execution client calls: feeding it, building blocks of a development chain |
//! | [`l1`] | the unsafe block signer, read from the chain's SystemConfig contract on L1 |
//! | `proof` (a feature) | proofs of state, receipts and headers against a block |
//! | [`json_rpc`] | the envelope of JSON-RPC responses |
//! | [`time`] | readings of the clocks, as values |
//!
//! # Protocol terms
//!
//! The words of the specifications and of the reference node, with the items that implement them:
//!
//! | term | items |
//! |---|---|
//! | application score | [`peers::ApplicationScores`] |
//! | back-off of dials | [`peers::Backoff`] |
//! | ban | [`peers::BanPolicy`], [`peers::Gate::ban_peer`] |
//! | BaseTime deposit | [`payload::BaseTime`] |
//! | block tag (`latest`, `safe`, …) | [`chain::BlockTag`], [`chain::Labels`] |
//! | block time | [`chain::BlockSchedule`] |
//! | boot node | [`discovery::bootnodes`] |
//! | connection gater | [`peers::Gate`] |
//! | connection manager (low and high mark) | [`peers::ConnectionManager`] |
//! | D, Dlo, Dhi, Dlazy | [`gossip::MeshParams`] |
//! | discv5 | [`discovery`] |
//! | Engine API | [`engine::Engine`], [`engine::ALL_METHODS`] |
//! | ENR (node record) | [`discovery::Record`], [`discovery::Filter`], [`discovery::Advertised`] |
//! | ENR entry `opstack` | [`discovery::OpStackEntry`] |
//! | equivocation | [`chain::ChainEvent::Equivocation`], [`gossip::BLOCKS_PER_HEIGHT`] |
//! | fanout | [`gossip::FANOUT_TTL`] |
//! | flood publishing | [`gossip::MeshParams::flood_publish`] |
//! | fork (network upgrade) | [`chain::Fork`], [`chain::ForkSchedule`], [`gossip::ScheduleRule`] |
//! | gap | [`chain::Gap`], [`sync::GapFiller`] |
//! | gossip score, P1 to P7 | [`peers::GossipScores`], [`peers::ScoreParams`] |
//! | grace period of a new peer | [`peers::ConnectionManagerConfig::grace`] |
//! | grace period of a replaced signer | [`gossip::GRACE_PERIOD`] |
//! | GRAFT, PRUNE | [`gossip::MeshParams::low`], [`gossip::MeshParams::high`] |
//! | graylist | [`peers::Thresholds::graylist`] |
//! | heartbeat | [`gossip::HEARTBEAT`] |
//! | IDONTWANT | [`gossip::IDONTWANT_THRESHOLD`] |
//! | IHAVE | [`gossip::HISTORY_GOSSIP`], [`gossip::MAX_IHAVE_IDS`] |
//! | IWANT | [`gossip::HISTORY_LENGTH`] |
//! | L1 attributes, L1 origin | [`payload::L1Info`] |
//! | L1 confirmations | [`l1::L1Config::confirmations`] |
//! | mesh | [`gossip::MeshParams`] |
//! | message id | [`gossip::MessageId`], [`gossip::Unpacked::message_id`] |
//! | message validation | [`gossip::Validator`], [`gossip::validate()`], [`gossip::Reason`] |
//! | output root | [`payload::output_root`] |
//! | parent beacon block root | [`payload::Envelope::parent_beacon_block_root`] |
//! | payload attributes | [`engine::PayloadAttributes`] |
//! | payload version (v1–v4) | [`payload::PayloadVersion`] |
//! | `payload_by_number` | [`sync::protocol_id`], [`sync::RangeClient`], [`sync::PayloadServer`] |
//! | peer exchange (PX) | [`peers::Thresholds::accept_px`] |
//! | protected peer | [`peers::PeerCommand::Protect`] |
//! | publish queue | [`sequencer::PublishQueue`] |
//! | quarantine | [`sync::ClientConfig`], [`sync::FillConfig`], [`chain::ChainViewConfig`] |
//! | rate limit, token bucket | [`sync::ServerConfig`], [`sync::Rate`], [`sync::TokenBucket`] |
//! | reorg | [`chain::ChainEvent::Reorg`], [rules of the view](chain::view#rules) |
//! | req/resp | [`sync::protocol_id`], [`sync::RangeClient`], [`sync::PayloadServer`] |
//! | `rollup.json` | [`chain::ChainConfig::from_rollup_json`] |
//! | seen cache | [`gossip::SEEN_TTL`], [`gossip::SeenBlocks`] |
//! | signing hash | [`gossip::signing_hash`], [`gossip::BLOCK_DOMAIN`] |
//! | snappy | [`payload::snappy`] |
//! | SSZ | [`payload::ssz`], [`payload::PayloadView`] |
//! | static peer | [`peers::StaticPeers`] |
//! | superchain registry | [`chain::ChainConfig::from_registry`], [`chain::networks`] |
//! | SystemConfig contract | [`l1::SignerSource`], [`chain::ChainConfig::system_config`] |
//! | timestamp window | [`gossip::TIMESTAMP_THRESHOLD`], [`gossip::TIMESTAMP_AHEAD`] |
//! | topic | [`gossip::block_topic`] |
//! | unsafe block signer | [`gossip::SignerRotation`], [`l1::SignerSource`] |
//! | unsafe head | [`chain::ChainView::head`] |

pub mod chain;
pub mod discovery;
pub mod engine;
pub mod feed;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod gossip;
pub mod json_rpc;
mod keccak;
pub mod l1;
pub mod mesh;
pub mod node;
pub mod payload;
pub mod peers;
#[cfg(feature = "proof")]
pub mod proof;
pub mod sequencer;
mod sorted;
pub mod sync;
pub mod time;
pub mod trouble;
