//! A foreign peer: rust-libp2p's gossipsub with the network's topics and message ids. It judges and
//! relays nothing.
#![allow(dead_code, reason = "each program uses some of it")]

use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAuthenticity, TopicHash, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, ping};
use opp2p_core::gossip::{MAX_MESSAGE_SIZE, Unpacked, block_topic};
use opp2p_core::payload::{PayloadVersion, snappy};
use std::error::Error;

#[derive(NetworkBehaviour)]
pub(crate) struct Gossiper {
    pub(crate) gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The topic of a version.
pub(crate) fn topic(chain_id: u64, version: PayloadVersion) -> TopicHash {
    TopicHash::from_raw(block_topic(chain_id, version))
}

impl Gossiper {
    /// Creates a peer with this key that has joined all topics of a chain.
    pub(crate) fn new(
        key: &Keypair,
        chain_id: u64,
        agent: &str,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let config = ConfigBuilder::default()
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .max_transmit_size(MAX_MESSAGE_SIZE)
            .message_id_fn(|message| {
                let contents = Unpacked::new(&message.data);
                contents.message_id(message.topic.as_str()).to_vec().into()
            })
            .build()?;
        let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config)?;
        for version in PayloadVersion::ALL {
            gossipsub.subscribe(&IdentTopic::new(block_topic(chain_id, version)))?;
        }
        let identify = identify::Config::new(String::new(), key.public());
        let identify = identify::Behaviour::new(identify.with_agent_version(agent.into()));
        Ok(Self { gossipsub, identify, ping: ping::Behaviour::default() })
    }

    /// Publishes a message, given uncompressed.
    pub(crate) fn publish(
        &mut self,
        chain_id: u64,
        version: PayloadVersion,
        contents: &[u8],
    ) -> Result<(), gossipsub::PublishError> {
        let data = snappy::compress(contents);
        self.gossipsub.publish(topic(chain_id, version), data).map(drop)
    }
}
