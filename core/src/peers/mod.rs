//! Peers: who they are, which of them are dialled for ever, and how they behave.

mod conduct;
mod id;
mod static_peers;

pub use conduct::Conduct;
pub use id::{InvalidPeerId, PeerId};
pub use static_peers::{FIRST_BACKOFF, LONGEST_BACKOFF, StaticPeers};
