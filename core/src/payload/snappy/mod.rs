//! Snappy, as the protocol uses it: the *block* format in gossip, the *framing* format in responses.
//!
//! Both are decompressed within a limit that the caller sets. What a message announces is never
//! believed: nothing is allocated beyond the limit, nor beyond what the compressed bytes could
//! possibly decompress to.

mod block;
mod frame;

pub use block::{BlockError, announced_length, compress, decompress};
pub use frame::{FrameDecoder, FrameError, encode as encode_frames};
