//! opp2p-core

pub mod chain;
pub mod peers;
pub mod time;
