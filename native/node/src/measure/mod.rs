//! Counters and their text form, for the modules that count and for those that
//! serve them.

mod histogram;
mod text;

pub use histogram::{DEFAULT_BOUNDS, Histogram};
pub use text::{Exposition, Family, Kind, Labels};

use std::fmt;

/// Source of metrics outside the node itself, such as the RPC server or the feed.
pub trait Source: fmt::Debug + Send + Sync {
    /// Writes the families. Called on a thread for blocking work; it should be quick. Family names
    /// must be unique, and peers must not be able to choose a label's value.
    fn write(&self, text: &mut Exposition);
}
