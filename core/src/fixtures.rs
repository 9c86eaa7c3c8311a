//! Real OP Stack blocks and signed gossip messages, compiled in: material for tests, benchmarks and
//! the devnet's transactions. Only with the feature `fixtures`.
//!
//! The blocks are unsigned; whoever needs a signature signs them with a key of their own.

use crate::payload::{Block, Envelope, PayloadVersion};
use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

/// A real block, with the hash that its chain has for it.
#[derive(Clone, Debug)]
pub struct RealBlock {
    /// The L2 chain it is from.
    pub chain_id: u64,
    /// Its hash on that chain.
    pub block_hash: B256,
    /// The block itself.
    pub envelope: Envelope,
    /// Version of its payload.
    pub version: PayloadVersion,
    /// SSZ encoding of its payload, as the chain's nodes produce it.
    pub payload_ssz: Bytes,
}

impl RealBlock {
    /// The block as a node holds it, unsigned.
    pub fn to_block(&self) -> Block {
        let mut body = Vec::new();
        let version = self.envelope.encode(&mut body).expect("bundled file");
        Block::decode(version, None, body.into()).expect("bundled file")
    }
}

/// A signed gossip message as it travels.
#[derive(Clone, Debug)]
pub struct SignedMessage {
    /// The (test) chain it is signed for: block time 2 s, genesis 0 at time 0, all forks up to the
    /// topic's active.
    pub chain_id: u64,
    /// Version of its topic.
    pub version: PayloadVersion,
    /// Who signed it.
    pub signer: Address,
    /// Timestamp of its block; judged at this time it is to be accepted.
    pub timestamp: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// The message's data field.
    pub data: Bytes,
}

#[derive(Deserialize)]
struct BlockFile {
    chain_id: u64,
    topic: String,
    block_hash: B256,
    parent_beacon_block_root: Option<B256>,
    payload_ssz_hex: String,
}

#[derive(Deserialize)]
struct MessageFile {
    chain_id: u64,
    topic: String,
    signer: Address,
    timestamp: u64,
    block_hash: B256,
    message_snappy_hex: String,
}

const BLOCKS: [&str; 9] = [
    include_str!("../fixtures/block_op_mainnet_120794432.json"),
    include_str!("../fixtures/block_op_mainnet_121003241.json"),
    include_str!("../fixtures/block_op_mainnet_121049889.json"),
    include_str!("../fixtures/block_op_mainnet_121057303.json"),
    include_str!("../fixtures/block_op_mainnet_121135704.json"),
    include_str!("../fixtures/block_op_sepolia_26207960.json"),
    include_str!("../fixtures/block_op_sepolia_26207961.json"),
    include_str!("../fixtures/block_op_sepolia_26207962.json"),
    include_str!("../fixtures/block_op_sepolia_26207963.json"),
];

const MESSAGES: [&str; 3] = [
    include_str!("../fixtures/gossip_opalloy_v1.json"),
    include_str!("../fixtures/gossip_opalloy_v2.json"),
    include_str!("../fixtures/gossip_opalloy_v3.json"),
];

/// All bundled blocks: five of OP Mainnet of June 2024, and four consecutive ones of OP Sepolia of
/// April 2025 that link by their parent hashes.
pub fn blocks() -> Vec<RealBlock> {
    BLOCKS.iter().map(|text| block(text)).collect()
}

/// All bundled messages, v1 to v3.
pub fn messages() -> Vec<SignedMessage> {
    MESSAGES.iter().map(|text| message(text)).collect()
}

fn block(text: &str) -> RealBlock {
    let file: BlockFile = serde_json::from_str(text).expect("bundled file");
    let payload_ssz = bytes(&file.payload_ssz_hex);
    let version = version(&file.topic);
    let mut encoded = file.parent_beacon_block_root.map(|root| root.to_vec()).unwrap_or_default();
    encoded.extend_from_slice(&payload_ssz);
    let envelope = Envelope::decode(version, &encoded).expect("bundled file");
    RealBlock { chain_id: file.chain_id, block_hash: file.block_hash, envelope, version, payload_ssz }
}

fn message(text: &str) -> SignedMessage {
    let file: MessageFile = serde_json::from_str(text).expect("bundled file");
    SignedMessage {
        chain_id: file.chain_id,
        version: version(&file.topic),
        signer: file.signer,
        timestamp: file.timestamp,
        block_hash: file.block_hash,
        data: bytes(&file.message_snappy_hex),
    }
}

fn bytes(text: &str) -> Bytes {
    alloy_primitives::hex::decode(text).expect("bundled file").into()
}

fn version(topic: &str) -> PayloadVersion {
    let number = topic.trim_start_matches('v').parse().expect("bundled file");
    PayloadVersion::from_number(number).expect("bundled file")
}
