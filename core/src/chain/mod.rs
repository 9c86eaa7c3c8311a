//! The chain: its configuration and fork schedule, the built-in networks, the unsafe chain view,
//! and the block tags.
//!
//! A [`ChainConfig`] comes from one of four sources: a built-in network ([`networks`]), the
//! operator's `rollup.json` ([`ChainConfig::from_rollup_json`]), a file of the superchain registry
//! ([`ChainConfig::from_registry`]), or [`ChainConfig::development`]. Call [`ChainConfig::check`]
//! before you start a state machine with a configuration; the first three sources have already done
//! so.

mod config;
mod fork;
mod labels;
pub mod networks;
mod registry;
mod rollup;
mod schedule;
mod span;
pub mod view;

pub use config::{ChainConfig, ConfigError, Genesis};
pub use fork::{Fork, ForkSchedule, UnknownFork};
pub use labels::{BlockTag, Labels, Meant, Unlabelled};
pub use rollup::MAX_ROLLUP_JSON_BYTES;
pub use schedule::BlockSchedule;
pub use span::{Descent, Span};
pub use view::{
    BlockId, ChainBlock, ChainEvent, ChainView, ChainViewConfig, GAP_PATIENCE, Gap, GapEnd, GapId,
    Inserted, OffBranch, OnFull, Origin, Position, SkipReason, Standing,
};

/// Returns an excerpt of untrusted text for an error message: one line with at most 40 characters
/// of the text.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 40;
    let mut shown = String::new();
    for char in text.chars().take(MAX_CHARS) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
