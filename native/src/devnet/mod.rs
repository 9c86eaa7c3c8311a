//! The devnet's parts: what makes its blocks, what keeps the books, what shows them.
//!
//! None of them knows the network, a clock or another node: [`BlockMaker`] makes envelopes,
//! [`Report`] is told what happened and when, and [`Screen`] shows a [`Snapshot`] of it.

mod blocks;
mod draw;
mod latency;
mod report;
mod screen;
mod snapshot;
mod summary;
mod tally;
mod text;

pub use blocks::BlockMaker;
pub use draw::draw;
pub use report::{Member, NodeInfo, Report, Setup};
pub use screen::Screen;
pub use snapshot::Snapshot;
pub use summary::{FollowerSummary, LatencySummary, SequencerSummary, Summary, Verdicts};
