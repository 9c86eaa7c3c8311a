//! Nodes, the way several suites of tests start them.
//!
//! Each suite has this file as its module `kit`.

use alloy_primitives::B256;
use libp2p::Multiaddr;
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{Host, HostConfig, Status};
use opp2p_node::key::SecretKey;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// Maximum wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const CHAIN_ID: u64 = 901;

pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn chain() -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    ChainConfig::development(CHAIN_ID, genesis, 1_700_000_000, 2, Fork::Jovian, signer().address())
}

/// Returns the configuration of a node that follows the chain from its beginning.
pub(crate) fn config(store: PathBuf, static_peers: Vec<Multiaddr>) -> HostConfig {
    let mut config = HostConfig::new(chain(), SecretKey::generate().unwrap(), store);
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config.from_genesis = true;
    // The chain's genesis is long ago, but its first blocks are recent.
    config.sync.as_mut().unwrap().fill.max_age = None;
    config.static_peers = static_peers;
    config
}

/// Waits until the node's status meets a condition.
pub(crate) async fn until(host: &Host, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = host.status();
    let reached = timeout(PATIENCE, status.wait_for(wanted)).await;
    let reached = reached.map(|status| status.unwrap().clone());
    reached.unwrap_or_else(|_| panic!("not in time: {:?}", host.status().borrow()))
}
