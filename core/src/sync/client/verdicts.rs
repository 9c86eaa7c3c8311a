//! Verdicts on sources: what follows from failed requests, and from blocks that are not the
//! chain's.

use super::fault::{endpoints_fault, is_silent, peers_fault};
use super::pace::Permit;
use super::servers::Rest;
use super::{ClientStep, Flight, RangeClient, RequestId, Source};
use crate::chain::BlockId;
use crate::peers::{Conduct, PeerId};
use crate::sync::check::{AnswerError, RequestFailure, RpcError};
use crate::sync::wire::MAX_RESPONSE_SIZE;
use crate::time::Instant;
use alloy_primitives::B256;

impl RangeClient {
    /// Records that the sequencer signed a block, or a descendant of it: a server that sent the
    /// block is honest.
    pub fn is_signed(&mut self, id: BlockId, parent: B256) {
        for peer in self.charges.is_signed(id, parent) {
            self.excuse(peer);
        }
    }

    /// Returns `true` if the sequencer is known to have signed this block lately.
    pub fn was_signed(&self, id: &BlockId) -> bool {
        self.charges.was_signed(id)
    }

    /// Ends the held charges that are due: those with blocks that are not excused are tested once
    /// more before they count. `is_excused` returns `true` if the sequencer may have
    /// signed this block, as far as the caller knows by now.
    pub fn settle_charges(&mut self, now: Instant, is_excused: impl Fn(&BlockId) -> bool) {
        while self.may_recheck() {
            match self.charges.settle(now, &is_excused) {
                Some((peer, Some(accused))) => self.recheck(peer, accused),
                Some((peer, None)) => self.excuse(peer),
                None => break,
            }
        }
    }

    /// Returns the number of charges that are held, or tested.
    pub fn charges(&self) -> usize {
        self.charges.len() + usize::from(self.recheck.is_some())
    }

    pub(super) fn reject(&mut self, peer: PeerId) {
        self.steps.push_back(ClientStep::Conduct(peer, Conduct::RejectedPayload));
    }

    pub(super) fn excuse(&mut self, peer: PeerId) {
        if let Some(server) = self.servers.get_mut(&Source::Peer(peer)) {
            server.excuse();
        }
    }

    /// Penalises the sources of other answers for a number, now that the right block, of `size`
    /// bytes, is known.
    pub(super) fn judge(&mut self, now: Instant, number: u64, size: usize) {
        for (suspect, accused) in self.window.suspects(number) {
            // The server is honest, and follows another branch of the sequencer's.
            let is_signed = self.charges.was_signed(&accused.id());
            if let Some(server) = self.servers.get_mut(&suspect) {
                server.rest(now, if is_signed { Rest::Unproved } else { Rest::Wrong });
            }
            if !is_signed
                && let Source::Peer(peer) = suspect
                && let Some(peer) = self.charges.add(now, peer, accused)
            {
                self.reject(peer);
            }
        }
        // An answer beyond a limit into which this block fits was not this block.
        for padder in self.window.padders(number, size) {
            if let Some(server) = self.servers.get_mut(&padder) {
                server.rest(now, Rest::Failed);
            }
            if let Source::Peer(peer) = padder {
                self.steps.push_back(ClientStep::Conduct(peer, Conduct::ErrorResponse));
            }
        }
    }

    pub(super) fn failed(&mut self, now: Instant, id: RequestId, error: AnswerError) {
        let Some(flight) = self.take_flight(id) else { return };
        let (source, number) = (flight.source, flight.number);
        // An unknown error may mean a rate limit if the server is asked beyond the default limits.
        let may_be_limited = self.may_be_limited(&flight);
        let has_served = self.servers.get_mut(&source).is_some_and(|server| server.has_served());
        let is_ours = error.is_too_long() && flight.limit < MAX_RESPONSE_SIZE;
        let (rest, conduct) = match (&source, is_ours) {
            (_, true) => (None, None),
            (Source::Peer(_), _) => peers_fault(&error, may_be_limited, has_served),
            (Source::Endpoint(_), _) => (endpoints_fault(&error), None),
        };
        if let Some(server) = self.servers.get_mut(&source) {
            if rest == Some(Rest::Limited) {
                server.pace.lost(now, id, now.since(flight.sent));
            }
            match &error {
                AnswerError::Request(RequestFailure::Unsupported) => server.refused_protocol(),
                AnswerError::Rpc(RpcError::Unsupported(_)) => server.change_method(now),
                _ if matches!(rest, Some(Rest::Missed)) || is_silent(&error) => {
                    server.lacked(now, number);
                }
                _ => {}
            }
            if let Some(rest) = rest {
                server.rest(now, rest);
            }
        }
        // A peer that disconnected can't answer, which is not its fault. What it answered before
        // is.
        if let (Source::Peer(peer), Some(conduct)) = (source, conduct)
            && (self.servers.is_connected(&source) || error.concerns_an_answer())
        {
            self.steps.push_back(ClientStep::Conduct(peer, conduct));
        }
        if matches!(error, AnswerError::Rpc(RpcError::Unsupported(_))) {
            self.window.voided(id, number, &source);
        } else {
            let longer_than = is_ours.then_some(flight.limit);
            self.window.failed(now, id, number, &source, longer_than, rest == Some(Rest::Wrong));
        }
        self.tell(now, &flight, Err(error));
    }

    fn may_be_limited(&mut self, flight: &Flight) -> bool {
        let server = self.servers.get_mut(&flight.source);
        flight.permit == Permit::Probe
            || server.is_some_and(|server| server.in_flight > 0 || server.pace.is_beyond_assumed())
    }
}
