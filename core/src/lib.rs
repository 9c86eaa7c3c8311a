//! The OP Stack's peer-to-peer layer as pure state machines.
//!
//! This crate decides everything about gossip of *unsafe* L2 blocks: what a message must look like,
//! who may have signed it, which blocks form the chain, what is published, kept and told. It does
//! not open a socket or file, start a thread, read a clock, log, or make up a random number. A
//! *driver* does, and there are several: the native node and the browser node by libp2p, the
//! simulator by nothing at all. A rule that lives in a driver is a rule that the others lack, so
//! the rules live here.
//!
//! # A driver's loop
//!
//! [`node::Node`] is the one machine made of the others. Its driver
//!
//! 1. reads both clocks, and calls [`handle`](node::Node::handle) with what happened;
//! 2. drains [`poll`](node::Node::poll), and does what it says;
//! 3. sleeps until something happens or [`next_wakeup`](node::Node::next_wakeup) comes.
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
//! let chain = ChainConfig::development(901, Default::default(), 0, 2, Fork::Canyon, signer.address());
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
//!             Output::Verdict(_) | Output::Store(_) | Output::Remember(_) => {}
//!             Output::Dial(_) | Output::Disconnect(_) => {}
//!             Output::ApplicationScore(..) | Output::LiveTopics(_) | Output::TakeScores | Output::ReadSigner => {}
//!             Output::Event(Event::Peers(_)) => {}
//!             Output::Event(event) => told.push(event),
//!             // Blocks by number, which this node neither fetches nor serves.
//!             Output::Request { .. } | Output::Serve { .. } | Output::Refuse { .. } | Output::Load(_) => {}
//!         }
//!     }
//! }
//! assert!(matches!(&told[0], Event::Chain(ChainEvent::Extended(block)) if block.number() == 1));
//! assert!(matches!(&told[1], Event::Published { result: Ok(_), .. }));
//! # Ok(())
//! # }
//! ```
//!
//! # The parts alone
//!
//! Each part is a machine of its own with the same small vocabulary, and useful without the rest:
//!
//! | room | holds |
//! |---|---|
//! | [`chain`] | configuration and fork schedule, built-in networks, the unsafe chain view |
//! | [`payload`] | execution payloads v1–v4, their encoding and hash, bounded snappy |
//! | [`gossip`] | topics, message ids, signatures, validation, the seen list |
//! | [`sequencer`] | signing and the publish queue |
//! | [`sync`] | blocks by number: filling gaps, the range client, the payload server |
//! | [`feed`] | the canonical chain for somebody who keeps a log of it, exactly once |
//! | [`discovery`] | what node records say, who is worth dialling, how fast to look |
//! | [`peers`] | scores, the gate, bans, connection limits, the tide, static peers, what is remembered |
//! | [`node`] | the one machine made of them |
//! | [`engine`] | what an execution client is asked: it gets the chain, and builds blocks of a development chain |
//! | [`time`] | the clocks' readings, as values |

pub mod chain;
pub mod discovery;
pub mod engine;
pub mod feed;
#[cfg(feature = "fixtures")]
pub mod fixtures;
pub mod gossip;
mod keccak;
pub mod l1;
pub mod node;
pub mod payload;
pub mod peers;
pub mod sequencer;
mod sorted;
pub mod sync;
pub mod time;
