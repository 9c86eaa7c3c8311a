//! Nodes to test with.

use alloy_primitives::B256;
use opp2p::host::{Host, HostConfig, HostEvent, HostEventKind, Status};
use opp2p::key::SecretKey;
use opp2p_core::chain::{ChainConfig, ChainEvent, Fork};
use opp2p_core::gossip::{BLOCK_DOMAIN, SIGNATURE_SIZE, payload_hash, signing_hash};
use opp2p_core::node::Event;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::LocalSigner;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::timeout;

pub(crate) const CHAIN_ID: u64 = 901;

pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn chain() -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    ChainConfig::development(CHAIN_ID, genesis, 1_700_000_000, 2, Fork::Jovian, signer().address())
}

pub(crate) fn config(directory: &Path, name: &str, peers: &[&Host]) -> HostConfig {
    let key = SecretKey::generate().unwrap();
    let mut config = HostConfig::new(chain(), key, directory.join(name));
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config.from_genesis = true;
    // The chain's genesis is long ago, and its first blocks are of now.
    config.sync.as_mut().unwrap().fill.max_age = None;
    config.static_peers = peers.iter().map(|host| host.address()).collect();
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

/// Waits until the node's status is as wanted.
pub(crate) async fn until(host: &Host, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = host.status();
    let reached = timeout(Duration::from_secs(20), status.wait_for(wanted)).await;
    let reached = reached.map(|status| status.unwrap().clone());
    reached.unwrap_or_else(|_| panic!("not in time: {:?}", host.status().borrow()))
}

/// The hashes of the next `count` blocks that the node hands on.
pub(crate) async fn blocks(events: &mut broadcast::Receiver<HostEvent>, count: usize) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < count {
        let event = timeout(Duration::from_secs(20), events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("{} of {count} blocks in time", hashes.len())).unwrap();
        if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = event.kind {
            hashes.push(block.hash());
        }
    }
    hashes
}

/// A message as the sequencer would sign it.
pub(crate) fn signed(envelope: &Envelope) -> Vec<u8> {
    let mut contents = vec![0; SIGNATURE_SIZE];
    envelope.encode(&mut contents).unwrap();
    let hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(&contents[SIGNATURE_SIZE..]));
    contents[..SIGNATURE_SIZE].copy_from_slice(&signer().sign(&hash));
    contents
}
