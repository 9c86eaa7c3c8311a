//! Checks of the configured peers.

use super::error::HostError;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::peers::{BlockEntry, GateConfig, ListFull, StaticPeer};
use std::collections::BTreeMap;

/// Checks that the block lists have room for the configuration's entries.
pub(super) fn check_lists(entries: &[BlockEntry]) -> Result<(), HostError> {
    let limit = GateConfig::default().blocks_per_list;
    let of = |kind: fn(&BlockEntry) -> bool| entries.iter().filter(|entry| kind(entry)).count();
    let counts = [
        of(|entry| matches!(entry, BlockEntry::Peer(_))),
        of(|entry| matches!(entry, BlockEntry::Ip(_))),
        of(|entry| matches!(entry, BlockEntry::Subnet(_))),
    ];
    if counts.iter().any(|count| *count > limit) {
        return Err(HostError::BlockList(ListFull(limit)));
    }
    Ok(())
}

/// Groups the addresses of static peers by peer. Our own id is left out, as in the reference.
pub(super) fn static_peers(list: &[Multiaddr], own: PeerId) -> Result<Vec<StaticPeer>, HostError> {
    let mut peers: BTreeMap<PeerId, Vec<String>> = BTreeMap::new();
    for address in list {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err(HostError::StaticPeer(address.clone()));
        };
        if peer == own {
            tracing::info!(
                %address,
                "a static peer has this node's own id and is left out; if it is another machine, \
                 give each a key of its own"
            );
        } else {
            peers.entry(peer).or_default().push(address.to_string());
        }
    }
    let each = peers.into_iter().filter_map(|(peer, addresses)| {
        opp2p_wire::from_libp2p(&peer).map(|id| StaticPeer { id, addresses })
    });
    Ok(each.collect())
}
