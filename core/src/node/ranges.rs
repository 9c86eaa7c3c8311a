//! Ranges of blocks: their inputs and outputs, and routing between the gap filler, the range server
//! and the driver.

use alloy_primitives::Bytes;

use super::Node;
use super::Output;
use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sync::GapFiller;
use crate::sync::range::{
    CHUNK_CONTENTS, CheckId, Checked, Class, End, First, Next, RangeCounts, RangeServeId,
    RangeServeStep, RangeServer, ReadDone, ReadOrder, Request, RequestError, StreamClose, StreamId,
};
use crate::time::Now;

#[cfg(doc)]
use crate::sync::range::PROTOCOL;

/// Maximum number of held blocks in one order to read.
const MOST_HELD: usize = 256;

/// An event of a stream of the range protocol, see [`PROTOCOL`].
#[derive(Clone, Debug)]
pub enum RangeInput {
    /// A [`RangeOutput::Receive`] was carried out.
    Received {
        /// Id of the stream.
        id: StreamId,
        /// At least one byte, and at most as many as allowed.
        bytes: Bytes,
    },
    /// A stream of ours ended: it could not be opened, or nothing more can be read from it.
    Closed {
        /// Id of the stream.
        id: StreamId,
        /// How it ended.
        close: StreamClose,
    },
    /// A peer opened a stream and sent a request.
    Requested {
        /// The requesting peer.
        from: PeerId,
        /// Id that the driver assigned to the stream.
        id: RangeServeId,
        /// The request, or the reason why the bytes are not one.
        request: Result<Request, RequestError>,
    },
    /// A [`RangeOutput::Read`] was carried out.
    Read {
        /// Id of the stream.
        id: RangeServeId,
        /// What was read, see [`ReadOrder::run`].
        done: ReadDone,
    },
    /// The stream has taken the chunk of a [`RangeOutput::Write`].
    Written(RangeServeId),
    /// The peer reset the stream, or its connection is lost.
    Cancelled(RangeServeId),
}

/// An action for a stream of the range protocol.
///
/// # Our requests
/// The driver opens a stream for [`Self::Open`]. It reads from it only by [`Self::Receive`], so
/// that the peer can't send more than there is room for. After [`RangeInput::Closed`] or
/// [`Self::Cancel`], the stream is forgotten on both sides.
///
/// # Requests of peers
/// The driver reads one request of at most
/// [`MAX_REQUEST_SIZE`](crate::sync::range::MAX_REQUEST_SIZE) bytes from each stream that a peer
/// opens, within a deadline of its own. After [`Self::End`], [`Self::Reset`] or
/// [`RangeInput::Cancelled`], the stream is forgotten on both sides.
#[derive(Clone, Debug)]
pub enum RangeOutput {
    /// Open a stream to a peer and write the encoded request. If that fails, return
    /// [`RangeInput::Closed`].
    Open {
        /// Id of the stream.
        id: StreamId,
        /// The peer to ask.
        to: PeerId,
        /// The request.
        request: Request,
    },
    /// Read what comes next from a stream, and return [`RangeInput::Received`] or
    /// [`RangeInput::Closed`]. There is no deadline: the node cancels the stream if it waits too
    /// long.
    Receive {
        /// Id of the stream.
        id: StreamId,
        /// Maximum number of bytes.
        limit: usize,
    },
    /// Drop a stream of ours, and reset it if it has not ended. It may have ended already.
    Cancel(StreamId),
    /// Carry out this order with the blocks of the store, and return [`RangeInput::Read`] in any
    /// case, even if the stream is gone.
    Read {
        /// Id of the stream.
        id: RangeServeId,
        /// The order.
        order: ReadOrder,
    },
    /// Write this to a stream of a peer, and return [`RangeInput::Written`] when the stream has
    /// taken it.
    Write {
        /// Id of the stream.
        id: RangeServeId,
        /// The bytes.
        frame: Bytes,
    },
    /// Write the encoded end to a stream of a peer and close it.
    End {
        /// Id of the stream.
        id: RangeServeId,
        /// The reason.
        end: End,
    },
    /// Reset a stream of a peer, which does not read.
    Reset(RangeServeId),
}

impl Node {
    pub(super) fn on_range(&mut self, now: Now, input: RangeInput) {
        let at = now.monotonic;
        match input {
            RangeInput::Received { id, bytes } => {
                if let Some(filler) = &mut self.filler {
                    filler.stream_received(at, id, &bytes);
                }
            }
            RangeInput::Closed { id, close } => {
                if let Some(filler) = &mut self.filler {
                    filler.stream_closed(at, id, close);
                }
            }
            RangeInput::Requested { from, id, request } => {
                let is_browser = self.peers.is_browser(&from) == Some(true);
                let class = if is_browser { Class::Browser } else { Class::Node };
                match &mut self.ranges {
                    Some(server) => server.request(at, from, class, id, request),
                    None => self.range_output(RangeOutput::End { id, end: End::Refused }),
                }
            }
            RangeInput::Read { id, done } => {
                if let Some(server) = &mut self.ranges {
                    server.read(at, id, done);
                }
            }
            RangeInput::Written(id) => {
                if let Some(server) = &mut self.ranges {
                    server.written(at, id);
                }
            }
            RangeInput::Cancelled(id) => {
                if let Some(server) = &mut self.ranges {
                    server.cancelled(at, id);
                }
            }
        }
    }

    /// Returns what was served by ranges so far, if the node serves them.
    pub fn ranges_served(&self) -> Option<&RangeCounts> {
        self.ranges.as_ref().map(RangeServer::counts)
    }

    /// Returns what was fetched by ranges so far, if the node fetches blocks.
    pub fn ranges_fetched(&self) -> Option<&RangeCounts> {
        self.filler.as_ref().map(GapFiller::range_counts)
    }

    pub(super) fn range_output(&mut self, output: RangeOutput) {
        self.outputs.push_back(Output::Range(output));
    }

    pub(super) fn chunk_checked(&mut self, now: Now, id: CheckId, checked: Checked) {
        if let Some(filler) = &mut self.filler {
            filler.chunk_checked(now.monotonic, id, checked);
        }
    }

    /// Runs the due actions of the range server. Messages that wait for their validation go first.
    pub(super) fn settle_ranges(&mut self, now: Now) {
        if let Some(server) = &mut self.ranges {
            server.hold(self.validator.waiting() > 0);
        }
        while let Some(step) = self.ranges.as_mut().and_then(|server| server.poll(now.monotonic)) {
            let output = match step {
                RangeServeStep::Read { id, first, blocks, bytes } => {
                    match (self.never_had(&first), &mut self.ranges) {
                        (Some(highest), Some(server)) => {
                            let next = Next::NeverHad { highest };
                            server.read(now.monotonic, id, ReadDone { packed: None, next });
                            continue;
                        }
                        _ => {
                            let held = self.held(&first, blocks);
                            let first = self.resolved(first);
                            let order = ReadOrder { first, blocks, bytes, held };
                            RangeOutput::Read { id, order }
                        }
                    }
                }
                RangeServeStep::Write { id, frame } => RangeOutput::Write { id, frame },
                RangeServeStep::End { id, end, .. } => RangeOutput::End { id, end },
                RangeServeStep::Reset { id, .. } => RangeOutput::Reset(id),
            };
            self.range_output(output);
        }
    }

    /// Returns the head's number if the chain is known not to have this block.
    fn never_had(&self, first: &First) -> Option<u64> {
        let head = self.view.head()?;
        let is_other = || {
            let known = self.view.canonical_hash(first.number());
            known.zip(first.hash()).is_some_and(|(known, wanted)| known != wanted)
        };
        (first.number() > head.number || is_other()).then_some(head.number)
    }

    /// Returns the block with its hash if that is known: the store may be behind, and still have
    /// another branch there.
    fn resolved(&self, first: First) -> First {
        let number = first.number();
        let known = self.view.canonical_hash(number);
        known.map_or(first, |hash| First::Block(BlockId::new(number, hash)))
    }

    /// Returns the blocks from `first` downwards that the view holds, as many as a chunk may have.
    fn held(&self, first: &First, blocks: u32) -> Vec<Block> {
        let most = MOST_HELD.min(usize::try_from(blocks).unwrap_or(MOST_HELD));
        let (mut held, mut bytes) = (Vec::new(), 0);
        let mut next = self.view.canonical(first.number());
        while let Some(block) = next {
            let above = held.last().map(Block::parent_hash);
            let is_linked = above.is_none_or(|parent| parent == block.hash());
            if held.len() >= most || bytes > CHUNK_CONTENTS || !is_linked {
                break;
            }
            bytes += block.body().len();
            held.push(block.clone());
            next = block.number().checked_sub(1).and_then(|below| self.view.canonical(below));
        }
        held
    }

    /// Returns the time of the range server's next action.
    pub(super) fn ranges_wakeup(&self) -> Option<crate::time::Instant> {
        self.ranges.as_ref().and_then(RangeServer::next_wakeup)
    }
}
