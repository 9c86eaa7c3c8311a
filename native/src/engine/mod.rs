//! Link to an execution client: the node sends it our chain, and asks it for blocks that our store
//! lacks.
//!
//! The core's [`Engine`](opp2p_core::engine::Engine) decides on the calls; this module makes them.
//! [`EngineLink::start`] runs them in a separate task beside a [`Host`], whose own task never waits
//! for the engine.
//!
//! [`Host`]: opp2p_node::host::Host
//!
//! # Bounds
//! The follower has one call in progress at a time, and peers have [`LOOKUPS`] block lookups. An
//! answer is bounded in time by the timeout of [`EngineSetup::http`], and in size by the longest
//! block. It comes from the operator's own engine.

mod client;
mod run;
mod source;
mod transport;

pub use client::EngineClient;
pub use run::{EngineLink, EngineSetup, FIRST_TIMEOUT, StartError};
pub use source::{EngineSource, LOOKUPS};

use std::time::Duration;

/// Timeout of a call. An engine executes a block before it answers.
pub const TIMEOUT: Duration = Duration::from_secs(20);
