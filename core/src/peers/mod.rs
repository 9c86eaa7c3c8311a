//! Peers: who may connect, how they behave, who is kept, who is banned, and what is remembered.
//!
//! [`PeerManager`] is the one machine made of the others; each of them is of use alone.

mod bans;
pub mod book;
mod conduct;
mod gate;
mod id;
mod limits;
pub mod manager;
pub mod memory;
pub mod score;
mod static_peers;
mod subnet;
mod tide;
mod vigil;

pub use bans::BanPolicy;
pub use book::{
    ADDRESS_TTL, KnownAddress, MAX_ADDRESS_LENGTH, MAX_ADDRESSES, MAX_PROTOCOLS, MAX_TEXT, PeerBook,
    PeerInfo, PeerMetadata, PeerRecord, RECORD_TTL,
};
pub use conduct::Conduct;
pub use gate::{BanEntry, BlockEntry, Denied, Gate, GateChange, GateConfig, GateCounts, ListFull, Standing};
pub use id::{InvalidPeerId, PeerId};
pub use limits::{ConnectionCounts, ConnectionId, ConnectionLimits, Door, DoorLimits, LimitsConfig};
pub use manager::{
    COLLECT_INTERVAL, CommandId, DIALS_AT_ONCE, FIRST_REDIAL, Farewell, Knock, LONGEST_REDIAL, MAX_PROTECTED,
    PeerCommand, PeerEvent, PeerManager, PeerNews, PeerStep, PeersConfig, SHORT_STAY, SNAPSHOT_INTERVAL,
};
pub use memory::MemoryChange;
pub use score::{ApplicationScores, GossipScores, PeerScores, ScoreParams, Scoring, Thresholds};
pub use static_peers::{Backoff, Stage, StaticPeers};
pub use subnet::{InvalidSubnet, Subnet};
pub use tide::{Tide, TideConfig, TideStep};
