//! The chain: its configuration and fork schedule, the built-in networks, and the unsafe chain view.

pub mod view;
pub use view::{
    BlockId, ChainBlock, ChainEvent, ChainView, ChainViewConfig, Gap, GapEnd, GapId, Inserted, OnFull,
    Origin, SkipReason,
};
