//! Blocks by number: fetching what is missing, and serving what others miss.

mod check;
mod client;
mod fill;
mod pending;
mod rate;
mod server;
mod wire;

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
    ResultCode, answer, decode_request, decode_response, encode_request, encode_response, protocol_id,
    spec_protocol_id,
};
