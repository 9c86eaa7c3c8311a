//! Translation between libp2p's ids and the core's: events become inputs, and requests are matched
//! with their answers.
//!
//! # Bounds
//! Those of the core, which bounds the requests that it sends, and peers' requests that wait or are
//! being answered. A request that the core has not seen yet is refused by it in the same turn. Of
//! the mesh, the members at the last update.

use crate::payload::request_failure;
use crate::score::peer_info;
use crate::{Behaviour, Event, PayloadEvent, PayloadRequest, from_libp2p, to_libp2p};
use libp2p::gossipsub::{self, TopicHash};
use libp2p::request_response::{InboundRequestId, Message, OutboundRequestId, ResponseChannel};
use libp2p::{identify, ping};
use opp2p_core::gossip::{Mesh, version_of_topic};
use opp2p_core::node::Input;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::sync::{RequestFailure, RequestId, ServeId};
use std::collections::{BTreeMap, BTreeSet};

/// A whole answer to a request for a block, as it is written to the stream.
pub type Response = Vec<u8>;

/// Requests in progress, by their ids on both sides.
#[derive(Debug)]
pub(super) struct Translator {
    chain_id: u64,
    sent: BTreeMap<OutboundRequestId, RequestId>,
    came: BTreeMap<InboundRequestId, ServeId>,
    channels: BTreeMap<ServeId, ResponseChannel<Response>>,
    next: u64,
    /// Members of the mesh of each topic at the last update.
    mesh: BTreeSet<(libp2p::PeerId, PayloadVersion)>,
}

impl Translator {
    /// Creates a translator for the topics and protocols of this chain.
    pub(super) const fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            channels: BTreeMap::new(),
            next: 0,
            mesh: BTreeSet::new(),
        }
    }

    /// Converts an event of the wiring to an input of the core, if the core needs it.
    pub(super) fn input(&mut self, wire: &mut Behaviour, event: Event) -> Option<Input> {
        match event {
            Event::Gossipsub(mesh, event) => self.gossipsub(wire, mesh, *event),
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

    fn gossipsub(
        &self,
        wire: &mut Behaviour,
        mesh: Mesh,
        event: gossipsub::Event,
    ) -> Option<Input> {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                wire.received(self.chain_id, mesh, propagation_source, &message_id, message)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.subscribed(&peer_id, &topic, true)
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.subscribed(&peer_id, &topic, false)
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "a peer takes messages slower than they come");
                None
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "a peer does not speak gossipsub");
                None
            }
        }
    }

    fn subscribed(
        &self,
        peer: &libp2p::PeerId,
        topic: &TopicHash,
        is_subscribed: bool,
    ) -> Option<Input> {
        let version = version_of_topic(self.chain_id, topic.as_str())?;
        news(peer, PeerNews::Subscribed(version, is_subscribed))
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

    /// Returns the members that entered or left the mesh since the last call; the library does not
    /// report them itself.
    pub(super) fn mesh_changes(&mut self, wire: &Behaviour) -> Vec<Input> {
        let present = wire.mesh(self.chain_id);
        let before = std::mem::replace(&mut self.mesh, present);
        let left = before.difference(&self.mesh).map(|who| (who, false));
        let entered = self.mesh.difference(&before).map(|who| (who, true));
        left.chain(entered)
            .filter_map(|((peer, version), is_member)| {
                news(peer, PeerNews::Mesh(*version, is_member))
            })
            .collect()
    }

    /// Returns `true` if the peer was in a mesh at the last update.
    pub(super) fn is_in_mesh(&self, peer: &libp2p::PeerId) -> bool {
        self.mesh.iter().any(|(member, _)| member == peer)
    }
}

fn news(peer: &libp2p::PeerId, news: PeerNews) -> Option<Input> {
    Some(Input::Peer(from_libp2p(peer)?, news))
}
