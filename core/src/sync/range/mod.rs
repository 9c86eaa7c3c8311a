//! Ranges of blocks in one stream (`/opp2p/req/payloads/1`): layouts, server and client.
//!
//! A request names a block by number and hash and asks for it and the blocks below. The answer
//! holds them highest first, so each is proved by the parent hash of the one before. Blocks travel
//! in chunks that are compressed together, and the last frame says why the answer ended.
//! `core/RANGE.md` is the page for other implementers.

mod chunk;
mod client;
mod cost;
mod counts;
mod decoder;
mod order;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use chunk::{Checked, Chunk, ChunkError, ChunkWork, Packed, Packer};
pub use client::{
    Breach, CheckId, FIRST_BLOCKS, FRONTIER_RESERVE, LOWER_OVERHEAD, PRAISE, SEGMENT_TIME, STALL,
    SegmentClient, SegmentClientConfig, SegmentStep, StreamClose, StreamId,
};
pub use cost::{CostRate, Limits};
pub use counts::{ENDINGS, RangeCounts};
pub use decoder::{AnswerDecoder, Frame, StreamError};
pub use order::{Encoded, EncodedBlocks, NoBlocks, ReadOrder};
pub use server::{
    Class, Next, RangeServeId, RangeServeStep, RangeServer, RangeServerConfig, ReadDone,
};
pub use wire::{
    CHUNK_CONTENTS, CODECS, Codec, End, First, MAX_CONTENTS, MAX_REQUEST_SIZE, PROTOCOL,
    REQUEST_SIZE, Request, RequestError,
};
