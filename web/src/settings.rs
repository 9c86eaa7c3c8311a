//! Settings of the observer's node and its network.

use crate::options::Plan;
use alloy_primitives::Bytes;
use libp2p::PeerId;
use opp2p_core::chain::BlockId;
use opp2p_core::node::{MeshSettings, NodeConfig, ObserverConfig};
use opp2p_core::peers::StaticPeer;
use opp2p_wire::from_libp2p;

pub(crate) use opp2p_core::node::{OBSERVER_PINGS as PING_INTERVAL, OBSERVER_SILENCE as SILENCE};

/// Returns the swarm's configuration.
pub(crate) fn swarm_config() -> libp2p::swarm::Config {
    #[cfg(target_arch = "wasm32")]
    let config = libp2p::swarm::Config::with_wasm_executor();
    #[cfg(not(target_arch = "wasm32"))]
    let config = libp2p::swarm::Config::without_executor();
    config.with_idle_connection_timeout(opp2p_wire::IDLE_TIMEOUT)
}

fn entry((key, value): &(Bytes, Bytes)) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

/// Returns the configuration of the core. `secret` is a random number that no peer knows.
pub(crate) fn node_config(plan: &Plan, own: PeerId, secret: u64) -> NodeConfig {
    let gateways = plan.peers.iter().filter(|(peer, _)| **peer != own);
    let gateways = gateways.filter_map(|(peer, addresses)| {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        from_libp2p(peer).map(|id| StaticPeer { id, addresses })
    });
    let config = ObserverConfig {
        gateways: gateways.collect(),
        from_genesis: plan.from_genesis,
        endpoints: plan.endpoints.len(),
        gap_memory: plan.gap_memory,
        gap_patience: plan.gap_patience,
        max_gap: plan.max_gap,
    };
    let observer = NodeConfig::observer(plan.chain.clone(), &config);
    NodeConfig {
        memory: plan.memory.iter().flatten().map(entry).collect(),
        head: plan.kept.as_ref().map(BlockId::of),
        recent: plan.kept.iter().cloned().collect(),
        seed: from_libp2p(&own).map_or(0, |own| own.seed()),
        signer: plan.signer,
        reads_signer: plan.reads_signer,
        mesh: Some(MeshSettings::new(secret)),
        ..observer
    }
}
