//! One validation for both meshes: what the core is judging, and who brought it where.
//!
//! Each mesh drops the copies that come on itself. A message that comes on both is judged once, and what is accepted
//! goes on in both.
//!
//! # Bounds
//! Messages: those that the core has under way or waiting, which it bounds in number and bytes, each with at most two
//! peers; the contents are shared with the core. Peers cause them; each goes with its verdict.

use super::{BlockTransform, Mesh};
use libp2p::PeerId;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{MessageId, TopicHash};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use opp2p_core::gossip::Unpacked;
use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

/// A message that the core is judging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Who brought the first copy to each mesh, in the order of [`Mesh`].
    from: [Option<PeerId>; 2],
    /// Its topic.
    pub(super) topic: TopicHash,
    /// Its contents, which the core has too.
    pub(super) message: Unpacked,
}

impl UnderWay {
    /// Who brought it to this mesh; `None`: it did not come there.
    pub(super) const fn from(&self, mesh: Mesh) -> Option<PeerId> {
        self.from[mesh as usize]
    }
}

/// The messages that the core is judging. It is a behaviour only since all parts of one must be; it does nothing.
#[derive(Debug, Default)]
pub struct Judging {
    under_way: HashMap<MessageId, UnderWay>,
    /// What each mesh knows of the messages that came last, in the order of [`Mesh`].
    transforms: [BlockTransform; 2],
}

impl Judging {
    /// The transform of a mesh.
    pub(super) const fn transform(&self, mesh: Mesh) -> &BlockTransform {
        &self.transforms[mesh as usize]
    }

    /// A message came; whether it is to be judged, or is being judged already.
    pub(super) fn came(
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

    /// A message was judged; `None` if it did not come.
    pub(super) fn judged(&mut self, id: &MessageId) -> Option<UnderWay> {
        self.under_way.remove(id)
    }

    /// How many messages are being judged.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether none is.
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

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
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
    fn a_message_that_comes_on_both_meshes_is_judged_once_and_its_bringers_are_known() {
        let mut judging = Judging::default();
        let (id, contents) = message(1);
        let (first, second, late) = (PeerId::random(), PeerId::random(), PeerId::random());
        assert!(judging.came(Mesh::Browsers, first, &id, topic(), &contents));
        assert!(!judging.came(Mesh::Nodes, second, &id, topic(), &contents));
        assert!(!judging.came(Mesh::Nodes, late, &id, topic(), &contents));
        let judged = judging.judged(&id).expect("it came");
        assert_eq!((judged.from(Mesh::Browsers), judged.from(Mesh::Nodes)), (Some(first), Some(second)));
        assert_eq!((judged.message, judged.topic), (contents, topic()));
        assert!(judging.is_empty());
        assert_eq!(judging.judged(&id), None);
    }

    #[test]
    fn a_message_on_one_mesh_is_nobody_s_on_the_other() {
        let mut judging = Judging::default();
        let peer = PeerId::random();
        for byte in 0..3 {
            let (id, contents) = message(byte);
            assert!(judging.came(Mesh::Nodes, peer, &id, topic(), &contents));
        }
        assert_eq!(judging.len(), 3);
        let judged = judging.judged(&message(1).0).expect("it came");
        assert_eq!((judged.from(Mesh::Nodes), judged.from(Mesh::Browsers)), (Some(peer), None));
        // Once judged, it would be judged again.
        let (id, contents) = message(1);
        assert!(judging.came(Mesh::Browsers, peer, &id, topic(), &contents));
    }
}
