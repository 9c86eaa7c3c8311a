//! The wire format of gossipsub: protobuf `RPC` messages, each behind its length as a varint.
//!
//! The codec is written by hand, because the bounds must hold *while* a frame is decoded: a list of
//! ids is two bytes per entry on the wire and twenty times as much in memory. [`Rpc::parse`] checks
//! a whole frame and stores nothing; its iterators borrow from the frame. A field that is unknown
//! is skipped by its wire type, at every level. A wrong wire type, a group, or a length beyond its
//! container makes the frame malformed, as for go and rust, which both give up the stream.
//!
//! One field of `RPC`, [`TRANSFERS`], is our own; other implementations skip it. See [`Transfer`].
//!
//! Message frames are built once and shared: see [`Frame`].
//!
//! # Bounds
//!
//! * [`Rpc`]: nothing is allocated. A frame has at most [`MAX_FRAME`] bytes; at most
//!   [`MAX_OVERHEAD`] of them belong to something other than message data. One pass over a frame
//!   therefore visits at most 32,768 fields.
//! * [`FrameReader`]: one unfinished frame. Up to [`FREE_BYTES`] of it are free; the rest counts
//!   against a [`Pool`] that all peers share, and in which slow peers give way to others.
//! * [`ControlWriter`]: frames of at most [`MAX_CONTROL_WRITTEN`] bytes.

mod decode;
mod encode;
mod proto;
mod reader;
#[cfg(test)]
mod tests;
mod transfers;

pub use decode::{Control, Ids, Message, Rpc, Subscription};
pub use encode::{ControlWriter, Frame, MAX_CONTROL_WRITTEN};
pub use proto::Malformed;
pub use reader::{FREE_BYTES, FrameReader, IDLE, POOL_BYTES, Pool, SLOW, STALLED_AFTER};
pub use transfers::{TRANSFERS, Transfer};

/// Maximum length of a frame in bytes, without its length prefix. The reference's limit, inclusive.
pub const MAX_FRAME: usize = 10 << 20;
/// Maximum number of bytes of a received frame that are not message data. Four times as much as
/// rust-libp2p accepts, and an eighth of go's limit.
pub const MAX_OVERHEAD: usize = 64 << 10;

/// A version of the protocol, as negotiated on the stream on which we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `/floodsub/1.0.0`: subscriptions and messages, without any control.
    Floodsub,
    /// `/meshsub/1.0.0`: GRAFT, PRUNE, IHAVE and IWANT.
    V1_0,
    /// `/meshsub/1.1.0`: PRUNE carries a back-off.
    V1_1,
    /// `/meshsub/1.2.0`: IDONTWANT.
    V1_2,
    /// `/meshsub/1.3.0`: extensions. A peer that sends none has none, so we send none.
    V1_3,
}

impl Version {
    /// Versions that we propose and accept, newest first. Version 1.3 adds nothing as long as no
    /// extension is in use, and proposing it costs a round trip with most peers.
    pub const SPOKEN: [Self; 4] = [Self::V1_2, Self::V1_1, Self::V1_0, Self::Floodsub];

    /// Returns the protocol's id in multistream-select.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Floodsub => "/floodsub/1.0.0",
            Self::V1_0 => "/meshsub/1.0.0",
            Self::V1_1 => "/meshsub/1.1.0",
            Self::V1_2 => "/meshsub/1.2.0",
            Self::V1_3 => "/meshsub/1.3.0",
        }
    }

    /// Returns `true` if a peer of this version can be in a mesh.
    pub const fn has_mesh(self) -> bool {
        !matches!(self, Self::Floodsub)
    }

    /// Returns `true` if PRUNE carries a back-off.
    pub const fn has_backoff(self) -> bool {
        matches!(self, Self::V1_1 | Self::V1_2 | Self::V1_3)
    }

    /// Returns `true` if the peer understands IDONTWANT.
    pub const fn has_idontwant(self) -> bool {
        matches!(self, Self::V1_2 | Self::V1_3)
    }
}
