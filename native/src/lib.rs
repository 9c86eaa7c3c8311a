//! A native OP Stack peer-to-peer node, as a library and a binary.
//!
//! [`swarm`] is the libp2p wiring that the browser shell shares; everything else needs an operating
//! system and the feature `node`, which is on by default.

#[cfg(feature = "node")]
pub mod cli;
#[cfg(feature = "node")]
mod clock;
#[cfg(feature = "node")]
pub mod devnet;
#[cfg(feature = "node")]
pub mod discovery;
#[cfg(feature = "node")]
pub mod engine;
#[cfg(feature = "node")]
pub mod feed;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "node")]
pub mod host;
#[cfg(feature = "node")]
pub mod http;
#[cfg(feature = "node")]
pub mod key;
#[cfg(feature = "node")]
pub mod metrics;
#[cfg(feature = "node")]
pub mod page;
#[cfg(feature = "node")]
pub mod panics;
#[cfg(feature = "node")]
pub mod remote_signer;
#[cfg(feature = "node")]
pub mod rpc;
#[cfg(feature = "node")]
pub mod screen;
#[cfg(feature = "node")]
pub mod store;
pub mod swarm;
#[cfg(feature = "node")]
mod text;
