//! The other side: libp2p's own gossipsub.

use crate::{TOPIC, compressed, name, transport};
use futures::Stream;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, ValidationMode,
};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, identity::Keypair};
use opp2p_core::gossip::Unpacked;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

pub(crate) struct Foreign {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) key: Keypair,
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) received: Vec<Vec<u8>>,
}

fn gossipsub() -> gossipsub::Behaviour {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .heartbeat_interval(Duration::from_millis(200))
        .heartbeat_initial_delay(Duration::from_millis(100))
        .flood_publish(false)
        .max_transmit_size(10 << 20)
        .message_id_fn(|message| MessageId(name(&message.data).as_bytes().to_vec()))
        .build()
        .unwrap();
    let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    // Only breaches count, and the first one does.
    let params = PeerScoreParams {
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 0.0,
        behaviour_penalty_decay: 0.999,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -1000.0,
        publish_threshold: -2000.0,
        graylist_threshold: -3000.0,
        ..PeerScoreThresholds::default()
    };
    gossipsub.with_peer_score(params, thresholds).unwrap();
    gossipsub
}

impl Foreign {
    pub(crate) fn new() -> Self {
        Self::with(Keypair::generate_secp256k1())
    }

    pub(crate) fn with(key: Keypair) -> Self {
        let identify = identify::Config::new("/test".into(), key.public());
        let identify = identify::Behaviour::new(identify);
        let mut swarm = transport::swarm(&key, Behaviour { gossipsub: gossipsub(), identify });
        let address = transport::listen(&mut swarm);
        let peer = key.public().to_peer_id();
        let mut foreign = Self { swarm, key, peer, address, received: Vec::new() };
        foreign.subscribe();
        foreign
    }

    pub(crate) fn subscribe(&mut self) {
        self.gossipsub().subscribe(&IdentTopic::new(TOPIC)).unwrap();
    }

    pub(crate) fn unsubscribe(&mut self) {
        assert!(self.gossipsub().unsubscribe(&IdentTopic::new(TOPIC)));
    }

    pub(crate) fn publish(&mut self, contents: &[u8]) {
        self.gossipsub().publish(IdentTopic::new(TOPIC), compressed(contents)).unwrap();
    }

    /// Returns `true` if the peer is in the mesh.
    pub(crate) fn has_in_mesh(&self, peer: PeerId) -> bool {
        let topic = IdentTopic::new(TOPIC).hash();
        self.swarm.behaviour().gossipsub.mesh_peers(&topic).any(|member| *member == peer)
    }

    /// Returns the peer's score, which is 0 as long as it has broken no rule.
    pub(crate) fn score(&self, peer: PeerId) -> f64 {
        self.swarm.behaviour().gossipsub.peer_score(&peer).unwrap()
    }

    fn gossipsub(&mut self) -> &mut gossipsub::Behaviour {
        &mut self.swarm.behaviour_mut().gossipsub
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(event)) = Pin::new(&mut self.swarm).poll_next(cx) {
            if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
                message,
                ..
            })) = event
            {
                let contents = Unpacked::new(&message.data).into_contents().unwrap();
                self.received.push(contents.to_vec());
            }
        }
    }
}
