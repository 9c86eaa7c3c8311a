//! Blocks by number (`payload_by_number`): fetching what is missing, and serving what others miss.
//!
//! [`GapFiller`] closes the gaps of a [`ChainView`](crate::chain::ChainView); it drives a [`RangeClient`], which
//! decides who is asked for what and proves what comes. [`PayloadServer`] decides who is answered when. Both count
//! with a [`TokenBucket`]. The bytes on a stream are made and read by functions. Each part is of use alone.
//!
//! # What makes a fetched block true
//! Its hash is recomputed from its contents, and it must be the parent hash of a block that is true: down from one
//! that the sequencer signed, or whose hash the caller vouches for. Nothing else is ever handed on.

mod check;
pub mod client;
pub mod fill;
mod pending;
pub mod rate;
pub mod server;
pub mod wire;

pub use check::{AnswerError, CheckWork, RequestFailure};
pub use client::{Answered, ClientConfig, ClientStep, Range, RangeClient, RequestId};
pub use fill::{
    FillConfig, FillStep, GapFiller, LOAD_BLOCKS, LOAD_BYTES, RangeError, RangeId, SyncEvent, SyncStatus,
};
pub use pending::PendingBlock;
pub use rate::{Rate, TokenBucket};
pub use server::{PayloadServer, ServeId, ServeStep, ServerConfig};
pub use wire::{
    InvalidRequest, MAX_RESPONSE_SIZE, REQUEST_SIZE, RESPONSE_HEADER_SIZE, ResponseError, ResponseVersion,
    ResultCode, answer, chain_of_protocol, decode_request, decode_response, encode_request, encode_response,
    protocol_id, spec_protocol_id,
};
