//! The feed: accepted canonical blocks for programs, as newline-delimited JSON on standard output,
//! over the RPC's WebSocket, and into a NATS JetStream stream.
//!
//! [`opp2p_core::feed`] defines its guarantees: each canonical position once, in ascending order,
//! only blocks on the disk, and explicit reorgs and omissions. This module reads the store, writes
//! the JSON, and owns the sockets.
//!
//! # Format
//! One JSON object per line. Its `event` is one of:
//!
//! * `{"event":"block","number":7,"hash":"0x…","parentHash":"0x…","timestamp":1700000000,
//!   "envelope":{…}}`: the next block. If the chain's blocks carry milliseconds,
//!   `"timestampMs":1700000000200` follows the timestamp. `envelope` has the Engine API's format:
//!   `parentBeaconBlockRoot` if the fork has one, and `executionPayload`.
//! * `{"event":"reorg","ancestor":{…},"abandoned":[{…}],"adopted":[{…}]}`: the blocks above
//!   `ancestor` are no longer canonical. It is sent as soon as the chain has left them, even if the
//!   chain continues lower. The blocks of `adopted`, at most 32, follow as blocks, and possibly
//!   more; it is empty if the chain currently ends in `ancestor`. `abandoned` is a list, lowest
//!   first, or for more than 256 blocks `{"count":20000,"lowest":{…},"highest":{…}}`.
//! * `{"event":"skipped","from":{…},"to":{…},"first":6,"last":8,"fork":false}`: the next block is
//!   `to`, whose parent is not `from`. The numbers from `first` to `last`, both included, were left
//!   out, or are no longer kept; both fields are absent if no number lies between. Once `to`
//!   arrives, earlier blocks at its number or above are void. `from` is `null` at the beginning. If
//!   `fork` is true, `to` is on another branch than `from`, and the fork point is unknown: the
//!   upper part of the earlier blocks below `to` may not be canonical either.
//!
//! A block's id is `{"number":7,"hash":"0x…"}`. Numbers outside of `executionPayload` are JSON
//! numbers.
//!
//! # Outputs
//! * `opp2p node --feed stdout` ([`lines`](write_lines)): from the next block on, or from
//!   `--feed.from`.
//! * `opp2p_subscribe ["feed", {"from": 7}]` or `["feed", {"after": {"number": 6, "hash": "0x…"}}]`
//!   on the RPC's WebSocket; without the second argument, from the next block on. Stored blocks
//!   come first, and new blocks follow without a gap.
//! * `opp2p node --feed.nats nats://host` ([`NatsFeed`]).
//!
//! # Bounds
//! Each consumer takes a page of blocks, see [`opp2p_core::feed`], and one message's JSON, about
//! twice as long as the block. A slow consumer's backlog stays in the store.

#[cfg(not(feature = "nats"))]
mod absent;
mod follow;
mod format;
#[cfg(feature = "nats")]
mod meter;
#[cfg(feature = "nats")]
mod nats;

#[cfg(not(feature = "nats"))]
pub use absent::{NatsConfig, NatsFeed};

pub use follow::{FollowError, Follower, write_lines};
pub use format::{json, position};
#[cfg(feature = "nats")]
pub use meter::FeedMeter;
#[cfg(feature = "nats")]
pub use nats::{NatsConfig, NatsError, NatsFeed};
