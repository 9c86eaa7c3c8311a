//! Block lookup: in the chain view for recent blocks, then in the store.
//!
//! All of these functions may wait for the disk, so they need a thread that may block.

use super::given::Place;
use crate::rpc::error::CallError;
use crate::rpc::params::failed;
use alloy_primitives::B256;
use opp2p_core::chain::{Labels, Meant};
use opp2p_core::payload::Block;
use opp2p_node::host::HostHandle;

type Found = Result<Option<Block>, CallError>;

/// Returns the block with this hash, canonical or not.
pub(in crate::rpc) fn by_hash(host: &HostHandle, hash: B256) -> Found {
    match host.core(|node, _| node.view().get(&hash).cloned()) {
        Some(block) => Ok(Some(block)),
        None => host.stored_block_by_hash(hash).map_err(failed),
    }
}

/// Returns the block at a place of the canonical chain.
pub(in crate::rpc) fn at(host: &HostHandle, labels: Labels, place: Place) -> Found {
    let tag = match place {
        Place::Number(number) => return host.canonical_block(number).map_err(failed),
        Place::Tag(tag) => tag,
    };
    let head = host.core(|node, _| node.view().head());
    match labels.meant(tag, head).map_err(failed)? {
        Meant::Block(id) => by_hash(host, id.hash),
        Meant::Lowest => host.lowest_block().map_err(failed),
        Meant::Nothing => Ok(None),
    }
}
