//! The parts of the devnet: its nodes, the generator of their blocks, the record of a run, and the
//! live view.
//!
//! [`Network`] holds the nodes, and [`Stage`] plays each [`Scenario`] on them. [`Engines`] are
//! execution clients beside them. The other parts use neither network nor clock: [`BlockMaker`]
//! makes envelopes, [`Report`] records timed events, and with the feature `tui`, a screen shows a
//! [`Snapshot`] of it.

mod blocks;
#[cfg(feature = "tui")]
mod draw;
#[cfg(feature = "engine")]
mod engines;
#[cfg(not(feature = "engine"))]
#[path = "engines/absent.rs"]
mod engines;
mod latency;
mod liar;
mod network;
mod outage;
mod report;
mod scenario;
mod snapshot;
mod stage;
mod summary;
mod tally;

pub use blocks::BlockMaker;
#[cfg(feature = "tui")]
pub use draw::draw;
pub use engines::{Engines, EnginesError, FUNDED, Links, Program};
pub use network::{
    CHAIN_ID, Network, NetworkConfig, NetworkError, NetworkEvent, Publication, unix_seconds,
};
pub use report::{Member, NodeInfo, Report, Setup};
pub use scenario::{Cue, Scenario};
pub use snapshot::Snapshot;
pub use stage::{News, Stage};
pub use summary::{
    FollowerSummary, LatencySummary, OutageSummary, ScenarioSummary, SequencerSummary, Summary,
    Verdicts,
};
