//! Snappy: the *block* format in gossip and the *framing* format in responses.
//!
//! Both are decompressed within a limit that the caller sets. Announced lengths are not trusted:
//! allocations exceed neither the limit nor the maximum size to which the compressed bytes can
//! decompress.

mod block;
mod frame;

pub use block::{BlockError, announced_length, compress, decompress};
pub use frame::{FrameDecoder, FrameError, encode as encode_frames};
