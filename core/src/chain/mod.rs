//! The chain: its configuration and fork schedule, the built-in networks, the unsafe chain view, and
//! the words for its blocks.
//!
//! A [`ChainConfig`] comes from one of three places: a built-in network ([`networks`]), the `rollup.json` that
//! operators already have ([`ChainConfig::from_rollup_json`]), or [`ChainConfig::development`]. Whoever
//! starts a machine with one calls [`ChainConfig::check`] first; the first two have passed it already.

mod config;
mod fork;
mod labels;
pub mod networks;
mod rollup;
pub mod view;

pub use config::{ChainConfig, ConfigError, Genesis};
pub use fork::{Fork, ForkSchedule, UnknownFork};
pub use labels::{BlockTag, Labels, Meant, Unlabelled};
pub use rollup::MAX_ROLLUP_JSON_BYTES;
pub use view::{
    BlockId, ChainBlock, ChainEvent, ChainView, ChainViewConfig, Gap, GapEnd, GapId, Inserted, OnFull,
    Origin, SkipReason, Standing,
};

/// The start of a piece of outside text, for an error message: one line, and short whatever came in.
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
