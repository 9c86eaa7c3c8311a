//! Nodes for tests.

pub(crate) use super::kit::{CHAIN_ID, chain, signer, until};

use super::kit;
use alloy_primitives::B256;
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::Event;
use opp2p_core::payload::Envelope;
use opp2p_node::host::{Host, HostConfig, HostEvent, HostEventKind};
use std::path::Path;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::timeout;

pub(crate) fn config(directory: &Path, name: &str, peers: &[&Host]) -> HostConfig {
    let peers = peers.iter().map(|host| host.address()).collect();
    kit::config(directory.join(name), peers)
}

/// Returns the configuration without the range protocol, as an older node has it.
pub(crate) fn by_number(mut config: HostConfig) -> HostConfig {
    config.sync.as_mut().unwrap().ranges = false;
    config
}

pub(crate) async fn follower(directory: &Path, name: &str, peers: &[&Host]) -> Host {
    Host::start(config(directory, name, peers)).await.unwrap()
}

pub(crate) async fn sequencer(directory: &Path) -> Host {
    let mut config = config(directory, "sequencer", &[]);
    config.sequencer = Some(signer().into());
    Host::start(config).await.unwrap()
}

/// Returns the hashes of the next `count` blocks that the node hands on.
pub(crate) async fn blocks(events: &mut broadcast::Receiver<HostEvent>, count: usize) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < count {
        let event = timeout(Duration::from_secs(20), events.recv()).await;
        let event =
            event.unwrap_or_else(|_| panic!("{} of {count} blocks in time", hashes.len())).unwrap();
        if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = event.kind {
            hashes.push(block.hash());
        }
    }
    hashes
}

/// Returns a message signed like the sequencer's.
pub(crate) fn signed(envelope: &Envelope) -> Vec<u8> {
    signer().sign_block(CHAIN_ID, envelope).unwrap().1
}
