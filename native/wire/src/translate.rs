//! Translation between libp2p's ids and the core's: events become inputs, and requests are matched
//! with their answers.
//!
//! # Bounds
//! Those of the core, which bounds the requests that it sends, and peers' requests that wait or are
//! being answered. A request that the core has not seen yet is refused by it in the same turn.

use crate::payload::request_failure;
use crate::{Behaviour, Event, PayloadEvent, PayloadRequest, from_libp2p, to_libp2p};
use libp2p::request_response::{InboundRequestId, Message, OutboundRequestId, ResponseChannel};
use libp2p::{identify, ping};
use opp2p_core::node::Input;
use opp2p_core::peers::{PeerId, PeerInfo, PeerNews};
use opp2p_core::sync::{RequestFailure, RequestId, ServeId};
use std::collections::BTreeMap;

/// A whole answer to a request for a block, as it is written to the stream.
pub type Response = Vec<u8>;

/// Requests in progress, by their ids on both sides.
#[derive(Debug)]
pub(super) struct Translator {
    sent: BTreeMap<OutboundRequestId, RequestId>,
    came: BTreeMap<InboundRequestId, ServeId>,
    channels: BTreeMap<ServeId, ResponseChannel<Response>>,
    next: u64,
}

impl Translator {
    /// Creates a translator without requests.
    pub(super) const fn new() -> Self {
        Self { sent: BTreeMap::new(), came: BTreeMap::new(), channels: BTreeMap::new(), next: 0 }
    }

    /// Converts an event of the wiring to an input of the core, if the core needs it.
    pub(super) fn input(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Mesh(event) => Some(Input::Mesh(event)),
            Event::Payloads(event) => self.payloads(event),
            Event::Ranges(input) => Some(Input::Range(input)),
            Event::Identify(event) => match *event {
                identify::Event::Received { peer_id, info, .. } => {
                    news(&peer_id, PeerNews::Identified(peer_info(info)))
                }
                _ => None,
            },
            Event::Ping(ping::Event { peer, result, .. }) => match result {
                Ok(round_trip) => news(&peer, PeerNews::Pinged(round_trip)),
                Err(error) => {
                    tracing::debug!(%peer, %error, "a ping failed");
                    None
                }
            },
        }
    }

    fn payloads(&mut self, event: PayloadEvent) -> Option<Input> {
        match event {
            PayloadEvent::Message { peer, message, .. } => match message {
                Message::Request { request_id, request, channel } => {
                    let from = from_libp2p(&peer)?;
                    let id = ServeId(self.next);
                    self.next += 1;
                    self.came.insert(request_id, id);
                    self.channels.insert(id, channel);
                    Some(Input::Requested { from, id, number: request.number })
                }
                Message::Response { request_id, response } => {
                    let id = self.sent.remove(&request_id)?;
                    Some(Input::Response { id, result: Ok(response.into()) })
                }
            },
            PayloadEvent::OutboundFailure { request_id, error, .. } => {
                let id = self.sent.remove(&request_id)?;
                Some(Input::Response { id, result: Err(request_failure(&error)) })
            }
            PayloadEvent::InboundFailure { request_id, .. }
            | PayloadEvent::ResponseSent { request_id, .. } => {
                let id = self.came.remove(&request_id)?;
                self.channels.remove(&id);
                Some(Input::Responded(id))
            }
        }
    }

    /// Sends a request for a block by its number. Returns an input at once if it can't be sent.
    pub(super) fn request(
        &mut self,
        wire: &mut Behaviour,
        id: RequestId,
        to: &PeerId,
        number: u64,
        limit: usize,
    ) -> Option<Input> {
        match (wire.payloads.as_mut(), to_libp2p(to)) {
            (Some(payloads), Some(to)) => {
                let sent = payloads.send_request(&to, PayloadRequest { number, limit });
                self.sent.insert(sent, id);
                None
            }
            _ => Some(Input::Response { id, result: Err(RequestFailure::Unsupported) }),
        }
    }

    /// Answers a peer's request. Returns an input at once if the stream is gone.
    pub(super) fn respond(
        &mut self,
        wire: &mut Behaviour,
        id: ServeId,
        response: Response,
    ) -> Option<Input> {
        let is_sent = match (self.channels.remove(&id), wire.payloads.as_mut()) {
            (Some(channel), Some(payloads)) => payloads.send_response(channel, response).is_ok(),
            _ => false,
        };
        (!is_sent).then_some(Input::Responded(id))
    }
}

/// Converts a peer's identify information to the core's form.
fn peer_info(info: identify::Info) -> PeerInfo {
    PeerInfo {
        agent: info.agent_version,
        protocol_version: info.protocol_version,
        protocols: info.protocols.iter().map(ToString::to_string).collect(),
        addresses: info.listen_addrs.iter().map(ToString::to_string).collect(),
    }
}

fn news(peer: &libp2p::PeerId, news: PeerNews) -> Option<Input> {
    Some(Input::Peer(from_libp2p(peer)?, news))
}
