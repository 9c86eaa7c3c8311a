//! The test of a charge that falls due: the server is asked for the same number again.
//!
//! An honest server that was on a branch of the sequencer's that we never heard of has left it by
//! now, and answers with the right block, with another that we know, or that it has none. A liar
//! has to stop lying to pass, and rested meanwhile, so it gained nothing.
//!
//! # Bounds
//! One request at a time. Its answer has a limit and reserved room like those of other requests.
//! Further charges wait.

use super::{Accused, ClientStep, RangeClient, RequestId, Source};
use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sync::check::{AnswerError, CheckWork, RequestFailure};
use alloy_primitives::Bytes;

/// A request that tests a charge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recheck {
    id: RequestId,
    peer: PeerId,
    accused: Accused,
    limit: usize,
    is_answered: bool,
}

impl Recheck {
    /// Bytes reserved for the answer, raw and decompressed.
    const fn reserved(&self) -> usize {
        2 * self.limit
    }
}

impl RangeClient {
    /// Returns `true` if there is room for a test.
    pub(super) fn may_recheck(&self) -> bool {
        let reserved = 2 * self.limit(u64::MAX);
        self.recheck.is_none()
            && self.bytes().saturating_add(reserved) <= self.config.bytes - self.largest
    }

    /// Tests a charge because of this block. A peer that left can't be asked: the charge counts.
    pub(super) fn recheck(&mut self, peer: PeerId, accused: Accused) {
        if !self.servers.is_connected(&Source::Peer(peer)) {
            return self.reject(peer);
        }
        let request = RequestId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let (number, limit) = (accused.id().number, self.limit(u64::MAX));
        let recheck = Recheck { id: request, peer, accused, limit, is_answered: false };
        self.reserved = self.reserved.saturating_add(recheck.reserved());
        self.recheck = Some(recheck);
        self.steps.push_back(ClientStep::Ask { id: request, peer, number, limit });
    }

    /// Takes the answer to a request. Returns `false` if the request tests no charge.
    pub(super) fn recheck_received(
        &mut self,
        id: RequestId,
        result: &Result<Bytes, RequestFailure>,
    ) -> bool {
        let Some(recheck) = self.recheck.as_mut().filter(|recheck| recheck.id == id) else {
            return false;
        };
        if core::mem::replace(&mut recheck.is_answered, true) {
            return true;
        }
        let work = result.clone().map_err(AnswerError::Request);
        match work
            .and_then(|bytes| CheckWork::begin(bytes, recheck.accused.id().number, recheck.limit))
        {
            Ok(work) => self.steps.push_back(ClientStep::Check(id, work)),
            Err(error) => {
                self.recheck_ended(id, Err(&error), &|_| false);
            }
        }
        true
    }

    /// Takes the result of a check. Returns `false` if the request tests no charge.
    pub(super) fn recheck_ended(
        &mut self,
        id: RequestId,
        result: Result<&Block, &AnswerError>,
        knows: &impl Fn(&BlockId) -> bool,
    ) -> bool {
        let Some(recheck) = self.recheck.take_if(|recheck| recheck.id == id) else { return false };
        self.reserved = self.reserved.saturating_sub(recheck.reserved());
        let is_honest = match result {
            Ok(block) => {
                let id = BlockId::of(block);
                recheck.accused.is_right(&id) || knows(&id)
            }
            // It has no such block, limits us, or left.
            Err(AnswerError::Refused(_) | AnswerError::Request(_)) => true,
            Err(_) => false,
        };
        if is_honest {
            self.excuse(recheck.peer);
        } else {
            self.reject(recheck.peer);
        }
        true
    }
}
