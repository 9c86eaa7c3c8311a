//! An execution client beside the node: it is fed with our chain, and asked for blocks that our store lacks.
//!
//! What is asked and when is the core's [`Engine`](opp2p_core::engine::Engine); here are the calls. [`EngineLink::start`] runs them in a task of its own
//! beside a [`Host`](crate::host::Host), whose own task never waits for the engine.
//!
//! # Bounds
//! One call of the follower at a time, and [`LOOKUPS`] blocks for peers. An answer takes as long as
//! [`TIMEOUT`] and is as long as a block can be. The operator's engine sends them.

mod client;
pub(crate) mod payload;
mod run;
mod source;
mod transport;

pub use client::EngineClient;
pub use payload::EnvelopeJson;
pub use run::{EngineLink, EngineSetup, StartError};
pub use source::{EngineSource, LOOKUPS};

use opp2p_core::engine::Activity;
use std::time::Duration;

/// Time for one answer. An engine executes a block before it answers.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the first answer, at the start of a node.
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a source of labels is asked.
pub const LABELS_EVERY: Duration = Duration::from_secs(12);

/// What the node's health says of its engine; `None` if all is well.
pub(crate) fn problem(activity: &Activity) -> Option<String> {
    match activity {
        Activity::Starting | Activity::Following | Activity::Syncing => None,
        Activity::Away(failure) => Some(format!("the execution client fails: {failure}")),
        Activity::Mismatched(mismatch) => {
            Some(format!("the execution client is not the one for this chain: {mismatch}"))
        }
        Activity::Stuck(block) => Some(format!("the execution client calls block {block} invalid")),
    }
}
