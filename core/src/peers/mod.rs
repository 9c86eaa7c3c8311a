//! Peers: admission, scoring, bans, the number of connections, and records of past peers.
//!
//! [`PeerManager`] combines the other types into one state machine; each of them is also usable
//! alone.

mod bans;
pub mod book;
mod claims;
mod conduct;
mod connection_manager;
mod gate;
mod id;
mod limits;
pub mod manager;
pub mod memory;
pub mod score;
mod silence;
mod static_peers;
mod subnet;

pub use bans::BanPolicy;
pub use book::{
    ADDRESS_TTL, KnownAddress, MAX_ADDRESS_LENGTH, MAX_ADDRESSES, MAX_PROTOCOLS, MAX_TEXT,
    PeerBook, PeerInfo, PeerMetadata, PeerRecord, RECORD_TTL,
};
pub use conduct::Conduct;
pub use connection_manager::{
    ConnectionManager, ConnectionManagerConfig, ConnectionManagerStep, InvalidMarks,
};
pub use gate::{
    BanEntry, BlockEntry, Denied, Gate, GateChange, GateConfig, GateCounts, ListFull, PeerStanding,
};
pub use id::{InvalidPeerId, PeerId};
pub use limits::{
    ConnectionCounts, ConnectionId, ConnectionLimits, Door, DoorLimits, LimitsConfig,
};
pub use manager::{
    COLLECT_INTERVAL, CommandId, DIALS_AT_ONCE, DisconnectReason, FIRST_REDIAL, Knock,
    LONGEST_REDIAL, MAX_PROTECTED, PeerCommand, PeerEvent, PeerLists, PeerListsChange, PeerManager,
    PeerNews, PeerStep, PeersConfig, SHORT_STAY, SNAPSHOT_INTERVAL,
};
pub use memory::MemoryChange;
pub use score::{ApplicationScores, GossipScores, PeerScores, ScoreParams, Scoring, Thresholds};
pub use static_peers::{Backoff, LASTING, Stage, StaticPeer, StaticPeers};
pub use subnet::{InvalidSubnet, Subnet};
