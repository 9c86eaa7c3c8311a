//! Charges against servers whose blocks did not link, and the test of a charge that falls due: the
//! server is asked for the block of the same number again.
//!
//! An honest server that followed a branch of the sequencer's unknown to us has left it by now. It
//! answers with the right block, with another one that we know, or that it has no block. A liar
//! must stop lying to pass the test, and was not asked meanwhile, so it gained nothing. A block
//! that is too large for the test proves nothing against its server.
//!
//! # Bounds
//! One test at a time, for which [`FRONTIER_RESERVE`](super::FRONTIER_RESERVE) has room. Further
//! charges wait.

use alloy_primitives::B256;

use super::servers::Rest;
use super::stream::{Breach, Stream};
use super::{
    CODECS, CheckId, LARGEST_LOWER, Request, SegmentClient, SegmentStep, StreamClose, StreamId,
};
use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::{Conduct, PeerId};
use crate::sync::client::Accused;
use crate::sync::range::chunk::{Checked, ChunkError};
use crate::sync::range::decoder::StreamError;
use crate::sync::range::wire::First;
use crate::time::Instant;

/// A request that tests a charge.
#[derive(Debug)]
pub(super) struct Recheck {
    /// Its stream, which has no segment.
    stream: StreamId,
    peer: PeerId,
    accused: Accused,
    /// The block that the server names now.
    answer: Option<BlockId>,
}

impl SegmentClient {
    /// Charges a server with a block that did not link, in the place of the one with the hash
    /// `right`.
    pub(super) fn charge(&mut self, now: Instant, peer: PeerId, block: &Block, right: B256) {
        if self.servers.get(&peer).is_some()
            && let Some(oldest) = self.charges.add(now, peer, Accused::of(block, right))
        {
            self.reject(oldest);
        }
    }

    /// Records that the sequencer signed a block with this parent, or a descendant of it: a server
    /// that sent one of them is honest.
    pub fn is_signed(&mut self, id: BlockId, parent: B256) {
        if self.charges.len() > 0 {
            for peer in self.charges.is_signed(id, parent) {
                self.excuse(peer);
            }
        }
    }

    /// Ends the held charges that are due: those with blocks that are not excused are tested once
    /// more before they count. `is_excused` returns `true` if the sequencer may have signed this
    /// block, as far as the caller knows by now, and `knows` if it is known that it did.
    pub fn settle_charges(
        &mut self,
        now: Instant,
        is_excused: impl Fn(&BlockId) -> bool,
        knows: impl Fn(&BlockId) -> bool,
    ) {
        if let Some(Recheck { peer, accused, answer: Some(id), .. }) =
            self.recheck.take_if(|recheck| recheck.answer.is_some())
        {
            let is_honest = accused.is_right(&id) || knows(&id);
            if is_honest { self.excuse(peer) } else { self.reject(peer) }
        }
        while self.may_recheck() {
            match self.charges.settle(now, &is_excused) {
                Some((peer, Some(accused))) => self.recheck(now, peer, accused),
                Some((peer, None)) => self.excuse(peer),
                None => break,
            }
        }
    }

    /// Returns the number of charges that are held, or tested.
    pub fn charges(&self) -> usize {
        self.charges.len() + usize::from(self.recheck.is_some())
    }

    /// Returns `true` if there is room for a test.
    pub(super) const fn may_recheck(&self) -> bool {
        self.recheck.is_none() && !self.is_paused
    }

    /// Returns when [`Self::settle_charges`] next has something to do.
    pub(super) fn next_charge(&self) -> Option<Instant> {
        self.charges.next_due().filter(|_| self.may_recheck())
    }

    /// Tests a charge. A peer that left can't be asked: the charge counts.
    fn recheck(&mut self, now: Instant, peer: PeerId, accused: Accused) {
        let Some(server) = self.servers.get_mut(&peer).filter(|server| server.is_connected) else {
            return self.reject(peer);
        };
        server.streams += 1;
        let request = Request {
            chain_id: self.config.chain_id,
            first: First::Canonical(accused.id().number),
            blocks: 1,
            bytes: LARGEST_LOWER as u64,
            codecs: CODECS,
        };
        let id = StreamId(self.next_id);
        self.next_id += 1;
        let mut stream = Stream::new(now, peer, &request, false);
        stream.has_segment = false;
        self.streams.insert(id, stream);
        self.recheck = Some(Recheck { stream: id, peer, accused, answer: None });
        self.steps.push_back(SegmentStep::Open { id, peer, request });
    }

    fn reject(&mut self, peer: PeerId) {
        self.steps.push_back(SegmentStep::Conduct(peer, Conduct::RejectedPayload));
    }

    fn excuse(&mut self, peer: PeerId) {
        if let Some(server) = self.servers.get_mut(&peer) {
            server.excuse();
        }
    }

    /// Returns `true` if this stream tests a charge.
    pub(super) fn is_recheck(&self, id: StreamId) -> bool {
        self.recheck.as_ref().is_some_and(|recheck| recheck.stream == id)
    }

    /// Takes bytes of the answer to a test.
    pub(super) fn recheck_received(&mut self, now: Instant, id: StreamId, piece: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.heard = now;
            stream.push(piece);
            self.recheck_proceed(id);
        }
    }

    /// Records the end of the stream of a test.
    pub(super) fn recheck_closed(&mut self, now: Instant, id: StreamId, close: StreamClose) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let peer = stream.peer;
        match close {
            StreamClose::Finished => {
                stream.close();
                self.recheck_proceed(id);
            }
            StreamClose::Unsupported => {
                self.drop_stream(id);
                self.rest(now, &peer, Rest::Unsupported);
            }
            StreamClose::Reset | StreamClose::Lost => self.drop_stream(id),
        }
    }

    /// Takes the result of the check of a test.
    pub(super) fn recheck_checked(&mut self, id: StreamId, checked: &Checked) {
        match (checked.blocks.first(), &checked.fault) {
            (Some(block), None) => {
                if let Some(recheck) = &mut self.recheck {
                    recheck.answer = Some(BlockId::of(block));
                }
                self.recheck_ended(id, true);
            }
            (_, fault) => self.recheck_ended(id, *fault == Some(ChunkError::Panicked)),
        }
    }

    fn recheck_proceed(&mut self, id: StreamId) {
        let accused = self.recheck.as_ref().map(|recheck| recheck.accused.id());
        let Some(BlockId { number, .. }) = accused else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let check = CheckId(self.next_id);
        if let Some(work) = stream.next_check(check, number, None) {
            self.next_id += 1;
            self.steps.push_back(SegmentStep::Check(check, work));
        }
        if stream.checking.is_some() {
            return;
        }
        match stream.end.take() {
            None => {}
            // It has no such block that fits, or limits us.
            Some(Ok(_)) => self.recheck_ended(id, true),
            Some(Err(breach)) => {
                let is_large = matches!(breach, Breach::Stream(StreamError::Contents { limit, .. })
                    if limit == LARGEST_LOWER);
                self.recheck_ended(id, is_large);
            }
        }
    }

    /// Ends the stream of a test. The charge counts unless the server may be honest.
    fn recheck_ended(&mut self, id: StreamId, may_be_honest: bool) {
        if !may_be_honest && let Some(recheck) = self.recheck.take() {
            self.reject(recheck.peer);
        }
        self.drop_stream(id);
        self.steps.push_back(SegmentStep::Cancel(id));
    }

    /// Records that the stream of a test is dropped. Without an answer, its charge is dropped too.
    pub(super) fn recheck_dropped(&mut self, id: StreamId) {
        let is_open = |recheck: &mut Recheck| recheck.stream == id && recheck.answer.is_none();
        if let Some(recheck) = self.recheck.take_if(is_open) {
            self.excuse(recheck.peer);
        }
    }
}
