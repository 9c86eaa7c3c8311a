//! A native OP Stack peer-to-peer node, as a library and a binary.
//!
//! [`swarm`] is the libp2p wiring that the browser shell shares; everything else needs an operating
//! system and the feature `node`, which is on by default.

pub mod swarm;
