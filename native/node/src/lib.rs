//! A running OP Stack peer-to-peer node, as a library.
//!
//! The crate connects [`opp2p_core`], which makes all decisions, to the network, the disk and the
//! clocks. [`host::Host::start`] runs one node, and is the place to start reading. [`opp2p_wire`]
//! is the libp2p wiring, which the browser shell shares; [`opp2p_store`] is the block store. The
//! program around it, with its command line and RPC, is the crate `opp2p`.
//!
//! # Modules
//!
//! | layer | module | contents |
//! |---|---|---|
//! | basics | [`clock`] | wall clock, and one that tests can shift |
//! | | [`measure`] | histograms, and Prometheus' text format |
//! | | [`panics`] | containment, counting and reporting of panics |
//! | resources | [`key`] | secp256k1 keys and key files |
//! | | [`http`] | JSON client over HTTP or a WebSocket; server of in-memory content |
//! | | [`remote_signer`] | client of a remote signer |
//! | node | [`discovery`] | search for peers by discv5 |
//! | | [`host`] | the running node: the driver of the core, its threads and sockets |
//!
//! A module uses only modules of the rows above it. The test `no_import_cycles` checks that there
//! are not cycles.

pub mod clock;
pub mod discovery;
pub mod host;
pub mod http;
pub mod key;
pub mod measure;
pub mod panics;
pub mod remote_signer;
