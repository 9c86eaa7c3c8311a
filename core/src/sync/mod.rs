//! Blocks by number (`payload_by_number`): fetching missing blocks, and serving blocks to peers.
//!
//! [`GapFiller`] closes the gaps of a [`ChainView`](crate::chain::ChainView). It drives a
//! [`RangeClient`], which decides which server is asked for which block, and proves the answers.
//! [`PayloadServer`] decides when each peer is answered. Both limit rates with a [`TokenBucket`].
//! Functions encode and decode the bytes on a stream. Each part is usable alone.
//!
//! # Sources of blocks
//! Peers serve them by `payload_by_number`. Few still do: op-node removed the protocol in v1.20,
//! and kona and base answer that they have nothing. So the client expects peers that serve nothing,
//! and the operator may name JSON-RPC endpoints as a further source. The core writes their requests
//! and reads their answers; a driver only posts bytes.
//!
//! # Verification of fetched blocks
//! The hash of a block is recomputed from its contents, and it must be the parent hash of a
//! verified block. The chain of verified blocks starts at one that the sequencer signed, or whose
//! hash the caller vouches for. No other blocks are ever passed on.

//!
//! # Example: the range client
//!
//! It proves three blocks of OP Sepolia by the hash of the highest one:
//!
//! ```
//! # #[cfg(feature = "fixtures")] {
//! use opp2p_core::chain::BlockId;
//! use opp2p_core::peers::PeerId;
//! use opp2p_core::sync::{ClientConfig, ClientStep, Range, RangeClient, encode_response};
//! use opp2p_core::time::Instant;
//!
//! let blocks: Vec<_> = opp2p_core::fixtures::blocks()[5..].iter().map(|b| b.to_block()).collect();
//! let server = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
//! let now = Instant::default();
//! let mut client = RangeClient::new(ClientConfig::default());
//! client.connected(server, false);
//! let wanted = BlockId::of(&blocks[3]);
//! client.aim(now, Some(Range { wanted, lowest: blocks[1].number() }));
//!
//! let mut proved = Vec::new();
//! while let Some(step) = client.poll(now) {
//!     match step {
//!         // A driver sends the request to the peer, and returns the bytes of the response.
//!         ClientStep::Ask { id, number, .. } => {
//!             let block = blocks.iter().find(|block| block.number() == number).expect("held");
//!             client.received(now, id, Ok(encode_response(block).into()));
//!         }
//!         // Any thread will do.
//!         ClientStep::Check(id, work) => client.checked(now, id, work.run(), |_| false),
//!         ClientStep::Proved(block, _) => proved.push(block.hash()),
//!         ClientStep::AskEndpoint { .. } | ClientStep::Conduct(..) | ClientStep::Answered(_) => {}
//!     }
//! }
//! assert_eq!(proved, [3, 2, 1].map(|at: usize| blocks[at].hash()));
//! # }
//! ```
//!
//! # Example: a gap
//!
//! Two blocks between the head and a signed block are missing. The filler fetches them, and the
//! chain view delivers all of them in order:
//!
//! ```
//! # #[cfg(feature = "fixtures")] {
//! use opp2p_core::chain::{BlockId, ChainEvent, ChainView, ChainViewConfig, Origin, networks};
//! use opp2p_core::peers::PeerId;
//! use opp2p_core::sync::{FillConfig, FillStep, GapFiller, encode_response};
//! use opp2p_core::time::{Instant, Now};
//! use std::time::Duration;
//!
//! let chain = networks::by_chain_id(11155420).expect("OP Sepolia is built in").config();
//! let blocks: Vec<_> = opp2p_core::fixtures::blocks()[5..].iter().map(|b| b.to_block()).collect();
//! let at = Instant::default();
//! let now = Now::new(Duration::ZERO, Duration::from_secs(blocks[3].timestamp()));
//! let mut view = ChainView::new(ChainViewConfig::default());
//! view.insert(at, blocks[0].clone(), Origin::Signed);
//! view.insert(at, blocks[3].clone(), Origin::Signed);
//!
//! let server = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
//! let mut filler = GapFiller::new(at, FillConfig::default(), []);
//! filler.client_mut().connected(server, false);
//! // The view has said so by `ChainEvent::GapOpened`.
//! filler.gaps_changed();
//! loop {
//!     filler.settle(now, &mut view, &chain);
//!     let Some(step) = filler.poll() else { break };
//!     match step {
//!         FillStep::Ask { id, number, .. } => {
//!             let block = blocks.iter().find(|block| block.number() == number).expect("held");
//!             filler.received(at, id, Ok(encode_response(block).into()));
//!         }
//!         FillStep::Check(id, work) => filler.checked(at, id, work.run(), &view),
//!         // A driver keeps the block in its store. This one fails to, so the filler keeps it.
//!         FillStep::Hold(block) => filler.held(at, &BlockId::of(&block), false),
//!         FillStep::Load(ids) => filler.loaded(at, vec![None; ids.len()], &mut view),
//!         // No peer supports the range protocol.
//!         FillStep::Open { .. } | FillStep::Receive { .. } | FillStep::Cancel(_) => {}
//!         FillStep::CheckChunk(..) | FillStep::AskEndpoint { .. } => {}
//!         // No history is fetched.
//!         FillStep::Prepend(_) | FillStep::Recall(_) => {}
//!         FillStep::Release(_) | FillStep::Event(_) => {}
//!     }
//! }
//! let delivered = std::iter::from_fn(|| view.poll_event()).filter_map(|event| match event {
//!     ChainEvent::Extended(block) => Some(block.number()),
//!     _ => None,
//! });
//! assert!(delivered.eq(blocks.iter().map(|block| block.number())));
//! # }
//! ```

mod check;
pub mod client;
pub mod fill;
mod pending;
pub mod range;
pub mod rate;
pub mod server;
pub mod wire;

pub use check::{AnswerError, CheckWork, RequestFailure, RpcError};
pub use client::{
    Answered, ClientConfig, ClientStep, Range, RangeClient, RequestId, RpcMethod, Source,
};
pub use fill::{
    FillConfig, FillStep, GapFiller, HistoryConfig, HistoryEnd, LOAD_BLOCKS, LOAD_BYTES, Lowest,
    RangeError, RangeId, Reach, Recalled, SyncEvent, SyncStatus,
};
pub use pending::{PendingBlock, UNSAVED_BLOCKS};
pub use rate::{Rate, TokenBucket};
pub use server::{PayloadServer, ServeId, ServeStep, ServerConfig};
pub use wire::{
    InvalidRequest, MAX_RESPONSE_SIZE, MAX_STREAMS, REQUEST_SIZE, RESPONSE_HEADER_SIZE,
    ResponseError, ResponseVersion, ResultCode, STREAM_DEADLINE, STREAM_LIFE, answer,
    chain_of_protocol, decode_request, decode_response, encode_request, encode_response,
    protocol_id, spec_protocol_id,
};
