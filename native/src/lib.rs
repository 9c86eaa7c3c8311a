//! lib

#[cfg(feature = "node")]
pub mod key;
#[cfg(feature = "node")]
pub mod store;
