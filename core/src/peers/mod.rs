//! Peers: who they are, and which of them are dialled for ever.

mod id;

pub use id::{InvalidPeerId, PeerId};
