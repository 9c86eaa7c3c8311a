//! Tests of the node, each a conversation in virtual time.

mod admission;
mod branches;
mod browsers;
mod catching_up;
mod chain;
mod clock;
mod conversation;
mod courses;
mod eras;
mod frames;
mod gaps;
mod gossip;
mod mesh;
mod mesh_properties;
mod peers;
mod properties;
mod publish;
mod publish_retry;
mod ranges;
mod schedule;
mod signer;
mod storing;
mod sync;
mod troubles;
mod walks;
mod world;

use super::*;
use crate::chain::ChainEvent;
use crate::chain::{ChainConfig, Fork};
use crate::gossip::tests::support::*;
use crate::gossip::{
    Acceptance, BLOCK_DOMAIN, MIN_MESSAGE_SIZE, SCHEDULE_DOUBT_BLOCKS, SCHEDULE_DOUBT_TTL,
    Unpacked, VALIDATION_CONCURRENCY, Verdict, WAITING_BYTES,
};
use crate::payload::{Envelope, PayloadVersion};
use crate::peers::PeerId;
use crate::sequencer::{Obstacle, Publication, PublishError, SendOutcome};
use PayloadVersion::{V1, V2, V3, V4};
use alloy_primitives::{Address, B256};
use conversation::{Conversation, Network, Said, Signing};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Returns a node's configuration for a chain with blocks of `version`, with a signer available.
fn config(version: PayloadVersion) -> NodeConfig {
    let signer = sequencer().address();
    let mut chain = ChainConfig::development(CHAIN_ID, B256::ZERO, 0, 2, Fork::Canyon, signer);
    chain.forks = forks(version);
    NodeConfig { can_sign: true, ..NodeConfig::new(chain) }
}

/// Returns a block of `version` with this timestamp.
fn block_at(version: PayloadVersion, timestamp: u64) -> Envelope {
    changed(version, |payload| payload.timestamp = timestamp)
}

/// Returns a child of `parent`, a different one for each `salt`.
fn child(parent: &Envelope, salt: u64) -> Envelope {
    let version = parent.payload.version().expect("a version");
    changed(version, |payload| {
        payload.block_number = parent.payload.block_number + 1;
        payload.parent_hash = parent.payload.block_hash;
        payload.timestamp = parent.payload.timestamp;
        payload.gas_used = salt;
    })
}

/// Returns `length` blocks, each the child of the one before.
fn chain(version: PayloadVersion, length: usize) -> Vec<Envelope> {
    let first = block(version);
    std::iter::successors(Some(first), |parent| Some(child(parent, 0))).take(length).collect()
}

fn id(envelope: &Envelope) -> BlockId {
    BlockId::new(envelope.payload.block_number, envelope.payload.block_hash)
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}
