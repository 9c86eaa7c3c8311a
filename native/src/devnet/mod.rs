//! The devnet's parts: its nodes, what makes their blocks, what keeps the books, what shows them.
//!
//! [`Network`] is the nodes. The others know no network and no clock: [`BlockMaker`] makes
//! envelopes, [`Report`] is told what happened and when, and [`Screen`](crate::screen::Screen)
//! shows a [`Snapshot`] of it as [`draw`] draws it.

mod blocks;
mod draw;
mod latency;
mod network;
mod outage;
mod report;
mod snapshot;
mod summary;
mod tally;

pub use blocks::BlockMaker;
pub use draw::draw;
pub use network::{CHAIN_ID, Network, NetworkConfig, NetworkError, NetworkEvent, Publication, unix_seconds};
pub use report::{Member, NodeInfo, Report, Setup};
pub use snapshot::Snapshot;
pub use summary::{FollowerSummary, LatencySummary, OutageSummary, SequencerSummary, Summary, Verdicts};
