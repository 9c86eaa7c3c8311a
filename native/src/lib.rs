//! The program `opp2p`: a native OP Stack peer-to-peer node with its command line and interfaces.
//!
//! [`opp2p_core`] makes all decisions. [`opp2p_node`] runs one node: it connects the core to the
//! network, the disk and the clocks, and is the place to start reading. [`opp2p_store`] is the
//! block store, [`opp2p_wire`] the libp2p wiring. This crate adds what the program has besides:
//! links to an execution client and to consumers, RPC, metrics, the page, the devnet and the
//! command line.
//!
//! # Modules
//!
//! | layer | module | contents |
//! |---|---|---|
//! | basics | `text`, `schedule` | values as text; message about unknown forks |
//! | | [`version`] | version of the program, and the commit that it was built from |
//! | | [`json`] | JSON types that several interfaces share |
//! | links | [`sequencer`] | handle that starts and stops block building |
//! | | [`engine`] | link to an execution client; building of blocks |
//! | | [`feed`] | canonical blocks for consumers, as JSON lines or in NATS |
//! | interfaces | [`rpc`] | JSON-RPC over HTTP and WebSocket; health endpoints |
//! | | [`metrics`] | Prometheus metrics |
//! | | [`page`] | server of the observer page |
//! | programs | `devnet`, `screen` | a whole network in one process; its live view |
//! | | [`cli`] | the command line |
//!
//! The features `devnet`, `engine`, `evm`, `nats` and `tui`, all on by default, leave out what they
//! are named after, with its dependencies. The flags remain, and a node that needs what is left out
//! does not start. Without `evm`, the methods that execute a call do not exist.
//!
//! A module uses only modules of the rows above it. The test `no_import_cycles` checks that there
//! are not cycles.

pub mod cli;
#[cfg(feature = "devnet")]
pub mod devnet;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(not(feature = "engine"))]
#[path = "engine/absent.rs"]
pub mod engine;
pub mod feed;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod json;
pub mod metrics;
pub mod page;
pub mod rpc;
mod schedule;
#[cfg(feature = "tui")]
pub mod screen;
pub mod sequencer;
mod text;
pub mod version;
