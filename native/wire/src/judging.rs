//! One validation for both meshes: the messages that the core is validating, and their senders on
//! each mesh. It also keeps what the wiring must remember of messages that it publishes.
//!
//! Each mesh drops its own duplicates. A message that arrives on both is validated once, and
//! relayed on both if it is accepted.
//!
//! # Bounds
//! The messages that the core is validating or has queued, which it bounds in number and bytes,
//! each with at most two peers. The contents are shared with the core. Peers cause the entries;
//! each is removed with its verdict.

use crate::BlockTransform;
use crate::publish::Untaken;
use libp2p::PeerId;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{MessageId, TopicHash};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use opp2p_core::gossip::{Mesh, Unpacked};
use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

/// A message that the core is validating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Peer that sent the first copy on each mesh, in the order of [`Mesh`].
    from: [Option<PeerId>; 2],
    /// Topic of the message.
    pub(super) topic: TopicHash,
    /// Contents of the message, shared with the core.
    pub(super) message: Unpacked,
}

impl UnderWay {
    /// Returns the peer that sent it on this mesh, or `None` if it did not arrive there.
    pub(super) const fn from(&self, mesh: Mesh) -> Option<PeerId> {
        self.from[mesh as usize]
    }
}

/// Messages that the core is validating. It implements `NetworkBehaviour` only because all fields
/// of a behaviour must; it does nothing.
#[derive(Debug, Default)]
pub struct Judging {
    under_way: HashMap<MessageId, UnderWay>,
    /// Recently received messages of each mesh, in the order of [`Mesh`].
    transforms: [BlockTransform; 2],
    /// Messages of each mesh that no queue took, in the order of [`Mesh`].
    untaken: [Untaken; 2],
    /// The last message of our own that browsers took and no node has taken yet.
    browsers_have: Option<MessageId>,
    /// See [`Behaviour::let_browsers_suffice`](crate::Behaviour::let_browsers_suffice).
    pub(super) browsers_suffice: bool,
}

impl Judging {
    /// Returns the transform of a mesh.
    pub(super) const fn transform(&self, mesh: Mesh) -> &BlockTransform {
        &self.transforms[mesh as usize]
    }

    pub(super) const fn untaken(&self, mesh: Mesh) -> &Untaken {
        &self.untaken[mesh as usize]
    }

    pub(super) const fn untaken_mut(&mut self, mesh: Mesh) -> &mut Untaken {
        &mut self.untaken[mesh as usize]
    }

    /// Returns `true` if the browsers' mesh took this message at an earlier attempt.
    pub(super) fn browsers_have(&self, id: &MessageId) -> bool {
        self.browsers_have.as_ref() == Some(id)
    }

    pub(super) fn set_browsers_have(&mut self, id: Option<MessageId>) {
        self.browsers_have = id;
    }

    /// Records a message that arrived. Returns `true` if it must be validated, `false` if it
    /// already is under validation.
    pub(super) fn arrived(
        &mut self,
        mesh: Mesh,
        from: PeerId,
        id: &MessageId,
        topic: TopicHash,
        message: &Unpacked,
    ) -> bool {
        let is_new = !self.under_way.contains_key(id);
        if is_new {
            let message = message.clone();
            self.under_way.insert(id.clone(), UnderWay { from: [None; 2], topic, message });
        }
        if let Some(under_way) = self.under_way.get_mut(id) {
            under_way.from[mesh as usize].get_or_insert(from);
        }
        is_new
    }

    /// Removes a message that has its verdict; `None` if it did not arrive here.
    pub(super) fn judged(&mut self, id: &MessageId) -> Option<UnderWay> {
        self.under_way.remove(id)
    }

    /// Returns the number of messages under validation.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Returns `true` if no message is under validation.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

impl NetworkBehaviour for Judging {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &libp2p::Multiaddr,
        _: &libp2p::Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &libp2p::Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicHash {
        TopicHash::from_raw("blocks")
    }

    fn message(byte: u8) -> (MessageId, Unpacked) {
        (MessageId::new(&[byte]), Unpacked::from_contents(&[byte]))
    }

    #[test]
    fn a_message_on_both_meshes_is_judged_once_with_all_senders_known() {
        let mut judging = Judging::default();
        let (id, contents) = message(1);
        let (first, second, late) = (PeerId::random(), PeerId::random(), PeerId::random());
        assert!(judging.arrived(Mesh::Browsers, first, &id, topic(), &contents));
        assert!(!judging.arrived(Mesh::Nodes, second, &id, topic(), &contents));
        assert!(!judging.arrived(Mesh::Nodes, late, &id, topic(), &contents));
        let judged = judging.judged(&id).expect("it came");
        assert_eq!(
            (judged.from(Mesh::Browsers), judged.from(Mesh::Nodes)),
            (Some(first), Some(second))
        );
        assert_eq!((judged.message, judged.topic), (contents, topic()));
        assert!(judging.is_empty());
        assert_eq!(judging.judged(&id), None);
    }

    #[test]
    fn a_message_on_one_mesh_has_no_sender_on_the_other() {
        let mut judging = Judging::default();
        let peer = PeerId::random();
        for byte in 0..3 {
            let (id, contents) = message(byte);
            assert!(judging.arrived(Mesh::Nodes, peer, &id, topic(), &contents));
        }
        assert_eq!(judging.len(), 3);
        let judged = judging.judged(&message(1).0).expect("it came");
        assert_eq!((judged.from(Mesh::Nodes), judged.from(Mesh::Browsers)), (Some(peer), None));
        // After its verdict, it would be validated again.
        let (id, contents) = message(1);
        assert!(judging.arrived(Mesh::Browsers, peer, &id, topic(), &contents));
    }
}
