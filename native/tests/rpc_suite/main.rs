//! The RPC of real nodes on loopback, queried with raw bytes.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod access;
mod calls;
mod changes;
mod eth;
mod feeds;
mod garbage;
mod health;
mod ids;
#[path = "../kit/mod.rs"]
mod kit;
mod limits;
mod memory;
mod optimism;
mod origins;
mod pace;
mod proofs;
mod publish;
mod reference;
mod shapes;
mod subscriptions;
mod support;
mod troubles;
