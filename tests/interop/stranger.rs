//! A rust-libp2p peer that supports gossip and follows no rules.

use crate::ours::PATIENCE;
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::timeout;

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

/// A stranger that is connected to one node. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Stranger {
    /// Its peer id.
    pub(crate) id: PeerId,
    to_send: mpsc::UnboundedSender<Vec<u8>>,
}

impl Stranger {
    /// Connects to a node and waits until it is subscribed to the topic.
    pub(crate) async fn meet(address: &Multiaddr, topic: &str) -> Self {
        let mut swarm = swarm();
        let id = *swarm.local_peer_id();
        let topic = IdentTopic::new(topic);
        swarm.behaviour_mut().gossipsub.subscribe(&topic).unwrap();
        swarm.dial(address.clone()).unwrap();
        let subscribed = async {
            loop {
                let event = swarm.select_next_some().await;
                if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(
                    gossipsub::Event::Subscribed { topic: theirs, .. },
                )) = event
                    && theirs == topic.hash()
                {
                    break;
                }
            }
        };
        timeout(PATIENCE, subscribed).await.expect("the node subscribes");
        let (to_send, mut sent) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    data = sent.recv() => match data {
                        Some(data) => {
                            swarm.behaviour_mut().gossipsub.publish(topic.clone(), data).unwrap();
                        }
                        None => break,
                    },
                    _ = swarm.select_next_some() => {}
                }
            }
        });
        Self { id, to_send }
    }

    /// Sends raw bytes.
    pub(crate) fn send(&self, data: Vec<u8>) {
        self.to_send.send(data).unwrap();
    }
}

fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keypair| {
            let config = gossipsub::ConfigBuilder::default()
                .validation_mode(ValidationMode::Anonymous)
                .max_transmit_size(20 << 20)
                .message_id_fn(|message| MessageId::new(&message.data))
                .build()?;
            Ok(Behaviour {
                gossipsub: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config)?,
                identify: identify::Behaviour::new(identify::Config::new(
                    "x".into(),
                    keypair.public(),
                )),
            })
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 10))
        .build()
}
