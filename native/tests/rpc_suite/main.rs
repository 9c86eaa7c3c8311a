//! The RPC of real nodes on loopback, asked with raw bytes.
#![cfg(feature = "node")]
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod access;
mod changes;
mod eth;
mod garbage;
mod health;
mod shapes;
mod subscriptions;
mod support;
