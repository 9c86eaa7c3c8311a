//! Between libp2p's names and the core's: events become inputs, requests and answers find their way.
//!
//! # Bounds
//! Those of the core: it bounds the requests that it sends, and those of peers that wait or are answered. A request
//! that the core has not heard of yet is refused by it in the same turn. Of the mesh, its members at the last look.

use super::{
    Behaviour, Event, Mesh, PayloadEvent, PayloadRequest, from_libp2p, peer_info, request_failure, to_libp2p,
};
use libp2p::core::upgrade::NegotiationError;
use libp2p::gossipsub::{self, TopicHash};
use libp2p::request_response::{InboundRequestId, Message, OutboundRequestId, ResponseChannel};
use libp2p::swarm::{ConnectionError, DialError};
use libp2p::{identify, ping};
use opp2p_core::gossip::version_of_topic;
use opp2p_core::node::Input;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::sync::{RequestFailure, RequestId, ServeId};
use std::collections::{BTreeMap, BTreeSet};

/// A whole answer to a request for a block, as it goes onto the stream.
pub type Response = Vec<u8>;

/// Everything under way that has a name on both sides.
#[derive(Debug)]
pub struct Translator {
    chain_id: u64,
    sent: BTreeMap<OutboundRequestId, RequestId>,
    came: BTreeMap<InboundRequestId, ServeId>,
    channels: BTreeMap<ServeId, ResponseChannel<Response>>,
    next: u64,
    /// Who was in the mesh of which topic at the last look.
    mesh: BTreeSet<(libp2p::PeerId, PayloadVersion)>,
}

impl Translator {
    /// For the topics and protocols of this chain.
    pub const fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            channels: BTreeMap::new(),
            next: 0,
            mesh: BTreeSet::new(),
        }
    }

    /// What an event of the wiring is to the core, if it is anything.
    pub fn input(&mut self, wire: &mut Behaviour, event: Event) -> Option<Input> {
        match event {
            Event::Gossipsub(mesh, event) => self.gossipsub(wire, mesh, *event),
            Event::Payloads(event) => self.payloads(event),
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

    fn gossipsub(&self, wire: &mut Behaviour, mesh: Mesh, event: gossipsub::Event) -> Option<Input> {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                wire.received(self.chain_id, mesh, propagation_source, &message_id, message)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => self.subscribed(&peer_id, &topic, true),
            gossipsub::Event::Unsubscribed { peer_id, topic } => self.subscribed(&peer_id, &topic, false),
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

    fn subscribed(&self, peer: &libp2p::PeerId, topic: &TopicHash, is_subscribed: bool) -> Option<Input> {
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

    /// Sends a request for a block by its number. What it gives back at once says that it can't.
    pub fn request(
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

    /// Answers a peer's request. What it gives back at once says that the stream is gone.
    pub fn respond(&mut self, wire: &mut Behaviour, id: ServeId, response: Response) -> Option<Input> {
        let is_sent = match (self.channels.remove(&id), wire.payloads.as_mut()) {
            (Some(channel), Some(payloads)) => payloads.send_response(channel, response).is_ok(),
            _ => false,
        };
        (!is_sent).then_some(Input::Responded(id))
    }

    /// Who entered or left the mesh since the last look: the library does not say so itself.
    pub fn mesh_changes(&mut self, wire: &Behaviour) -> Vec<Input> {
        let present = wire.mesh(self.chain_id);
        let before = std::mem::replace(&mut self.mesh, present);
        let left = before.difference(&self.mesh).map(|who| (who, false));
        let entered = self.mesh.difference(&before).map(|who| (who, true));
        left.chain(entered)
            .filter_map(|((peer, version), is_member)| news(peer, PeerNews::Mesh(*version, is_member)))
            .collect()
    }

    /// Whether the peer was in a mesh at the last look.
    pub fn is_in_mesh(&self, peer: &libp2p::PeerId) -> bool {
        self.mesh.iter().any(|(member, _)| member == peer)
    }
}

fn news(peer: &libp2p::PeerId, news: PeerNews) -> Option<Input> {
    Some(Input::Peer(from_libp2p(peer)?, news))
}

/// What is wrong with a peer that answers and can't be talked to.
const NOTHING_IN_COMMON: &str =
    "the peer and this node have no protocol in common to secure the connection or to carry its streams";
/// The same of one with which the connection is secured.
const NO_MUXER: &str = "the peer and this node have no protocol in common to carry the connection's streams";

/// The last cause of an error: what the system said.
pub fn last_cause(mut error: &dyn std::error::Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    let text = error.to_string();
    // The library's words are for those who know its inside, and the operator can do something about it.
    if text == NegotiationError::Failed.to_string() { NOTHING_IN_COMMON.into() } else { text }
}

/// Why a connection that we dialled was none: the dialler does not wait for the other side to agree on what it
/// proposed, and hears of a refusal when the connection seems to stand. `None` if it ended for another reason.
pub fn refused_late(cause: &ConnectionError) -> Option<String> {
    (last_cause(cause) == NOTHING_IN_COMMON).then(|| NO_MUXER.into())
}

/// What a person can make of a failed dial: the last cause, which is what the system said, for each
/// address. libp2p's own text repeats every layer, over several lines.
pub fn dial_failure(error: &DialError) -> String {
    let text = match error {
        DialError::Transport(failures) => {
            let each = failures.iter().map(|(address, error)| format!("{address}: {}", last_cause(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => last_cause(other),
    };
    // A name with several addresses has a list of causes, one a line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_peer_with_nothing_in_common_is_told_of_in_plain_words() {
        let refused = ConnectionError::IO(io::Error::other(NegotiationError::Failed));
        assert_eq!(refused_late(&refused).as_deref(), Some(NO_MUXER));
        assert_eq!(last_cause(&refused), NOTHING_IN_COMMON);
        let closed = ConnectionError::IO(io::ErrorKind::ConnectionReset.into());
        assert_eq!(last_cause(&closed), "connection reset");
        assert_eq!(refused_late(&closed), None);
        assert_eq!(refused_late(&ConnectionError::KeepAliveTimeout), None);
    }
}
