//! Where a block is found: in the chain view while it is young, in the store after that.
//!
//! All of these may wait for the disk, so they are for threads that may.

use super::given::Place;
use crate::host::HostHandle;
use crate::rpc::params::failed;
use alloy_primitives::B256;
use jsonrpsee::types::ErrorObjectOwned;
use opp2p_core::chain::{Labels, Meant};
use opp2p_core::payload::Block;

type Found = Result<Option<Block>, ErrorObjectOwned>;

/// The block with this hash, canonical or not.
pub(super) fn by_hash(host: &HostHandle, hash: B256) -> Found {
    match host.core(|node, _| node.view().get(&hash).cloned()) {
        Some(block) => Ok(Some(block)),
        None => host.stored_block_by_hash(hash).map_err(failed),
    }
}

/// The block at a place of the canonical chain.
pub(super) fn at(host: &HostHandle, labels: Labels, place: Place) -> Found {
    let tag = match place {
        Place::Number(number) => return host.canonical_block(number).map_err(failed),
        Place::Tag(tag) => tag,
    };
    let head = host.core(|node, _| node.view().head());
    match labels.meant(tag, head).map_err(failed)? {
        Meant::Block(id) => by_hash(host, id.hash),
        Meant::Lowest => lowest(host),
        Meant::Nothing => Ok(None),
    }
}

/// The lowest canonical block that is held.
fn lowest(host: &HostHandle) -> Found {
    let stored = host.lowest_stored_block().map_err(failed)?;
    let held = host.core(|node, _| node.view().recent().next().cloned());
    Ok([stored, held].into_iter().flatten().min_by_key(Block::number))
}
