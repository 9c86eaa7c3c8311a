//! The protocol's name, and the bounds of its streams.

use libp2p::StreamProtocol;
use opp2p_core::sync::range::PROTOCOL;
use std::time::Duration;

/// Maximum number of streams of a peer on one connection. The core allows fewer.
pub(super) const MAX_INCOMING: usize = 16;
/// Time in which a peer must send its request.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time in which a peer must take the end of an answer.
pub(super) const END_TIME: Duration = Duration::from_secs(10);
/// Maximum size in bytes of a piece of an answer.
pub(super) const PIECE: usize = 256 << 10;

/// Name of the protocol.
pub(super) const NAME: StreamProtocol = StreamProtocol::new(PROTOCOL);
