//! The node's RPC: the shapes of its answers.

pub mod types;
