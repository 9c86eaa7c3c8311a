//! The feed: accepted canonical blocks for programs, as newline-delimited JSON on standard output, over the RPC's WebSocket,
//! and into a stream of NATS JetStream.
//!
//! What it promises, and how, is said in [`opp2p_core::feed`]: each canonical position once, in ascending order, only what is
//! on the disk, and reorgs and omissions said. This module reads the store, writes the JSON, and has the sockets.
//!
//! # The format
//! One JSON object a line. Its `event` says what it is:
//!
//! * `{"event":"block","number":7,"hash":"0x…","parentHash":"0x…","timestamp":1700000000,"envelope":{…}}`: the next block.
//!   `envelope` is as the Engine API has it: `parentBeaconBlockRoot` where the fork has one, and `executionPayload`.
//! * `{"event":"reorg","ancestor":{…},"abandoned":[{…}],"adopted":[{…}]}`: the blocks above `ancestor` are not canonical any
//!   more. Those of `adopted` follow as blocks.
//! * `{"event":"skipped","from":{…},"to":{…}}`: the next block is `to`, whose parent is not `from`: the positions between
//!   were left out, or are not kept any more. When it comes, what there is at its number or above is void. `from` is `null`
//!   at the beginning.
//!
//! A block's name is `{"number":7,"hash":"0x…"}`. Numbers outside of `executionPayload` are plain.
//!
//! # Ways
//! * `opp2p node --feed stdout` ([`lines`](write_lines)): from the next block on, or from `--feed.from`.
//! * `opp2p_subscribe ["feed", {"from": 7}]` or `["feed", {"after": {"number": 6, "hash": "0x…"}}]` on the RPC's
//!   WebSocket; without the second argument from the next block on. What is stored comes first, and there is no seam.
//! * `opp2p node --feed.nats nats://host` ([`NatsFeed`]).
//!
//! # Bounds
//! A page of blocks for each consumer, see [`opp2p_core::feed`], and a message's JSON, about twice as long as the block. Who
//! is slow is behind in the store.

mod follow;
mod format;
mod meter;
mod nats;

pub use follow::{FollowError, Follower, write_lines};
pub use format::{json, position};
pub use meter::FeedMeter;
pub use nats::{MESSAGES_KEPT, NatsConfig, NatsError, NatsFeed};
