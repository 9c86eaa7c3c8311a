//! Tests of the protocol.

mod client;
mod misled;
mod order;
mod segments;
mod server;
mod share;
mod vectors;
mod wire;

use super::*;
use crate::fixtures::{self, RealBlock};
use crate::gossip::tests::support::{decoded, sealed, sealed_block};
use crate::payload::{Block, ExecutionPayload, PayloadVersion};
use crate::peers::PeerId;
use crate::time::Instant;
use alloy_primitives::B256;
use std::time::Duration;

/// The four consecutive real blocks, highest first.
fn real() -> Vec<Block> {
    let mut blocks: Vec<Block> = fixtures::blocks()[5..].iter().map(RealBlock::to_block).collect();
    blocks.reverse();
    blocks
}

/// Linked blocks 0 to `last`, lowest first, each with a transaction of this many bytes.
fn chain(last: u64, salt: u8, bytes: usize) -> Vec<Block> {
    let mut made: Vec<Block> = Vec::new();
    for number in 0..=last {
        let block = sealed_block(ExecutionPayload {
            parent_hash: made.last().map_or(B256::ZERO, Block::hash),
            block_number: number,
            timestamp: 9000 + 2 * number,
            extra_data: vec![salt].into(),
            transactions: vec![vec![number as u8; bytes].into()],
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        });
        assert_eq!(block.version(), PayloadVersion::V2);
        made.push(block);
    }
    made
}

fn packed<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Packed {
    let mut packer = Packer::new(u64::MAX);
    for block in blocks {
        assert!(packer.add(block.version(), block.body()));
    }
    packer.finish().expect("there are blocks")
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}
