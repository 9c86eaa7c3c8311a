//! Peers: who they are, which of them are dialled for ever, and how they behave.

mod bans;
mod conduct;
mod gate;
mod id;
mod limits;
pub mod score;
mod static_peers;
mod subnet;
mod tide;

pub use bans::BanPolicy;
pub use conduct::Conduct;
pub use gate::{BanEntry, BlockEntry, Denied, Gate, GateChange, GateConfig, GateCounts, ListFull, Standing};
pub use id::{InvalidPeerId, PeerId};
pub use limits::{ConnectionCounts, ConnectionId, ConnectionLimits, Door, DoorLimits, LimitsConfig};
pub use static_peers::{FIRST_BACKOFF, LONGEST_BACKOFF, StaticPeers};
pub use subnet::{InvalidSubnet, Subnet};
pub use tide::{Tide, TideConfig, TideStep};
