//! Peers: who they are, and which of them are dialled for ever.

mod id;
mod static_peers;

pub use id::{InvalidPeerId, PeerId};
pub use static_peers::{FIRST_BACKOFF, LONGEST_BACKOFF, StaticPeers};
