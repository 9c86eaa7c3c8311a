//! Real OP Stack blocks and signed gossip messages, compiled in, for tests, benchmarks and the
//! devnet's transactions. This module exists only with the feature `fixtures`, and in the
//! unit tests of this crate.
//!
//! The blocks are unsigned. A test that needs a signature signs them with its own key.

use crate::payload::{Block, Envelope, PayloadVersion};
use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

/// A real block and its hash on its chain.
#[derive(Clone, Debug)]
pub struct RealBlock {
    /// Id of the L2 chain of the block.
    pub chain_id: u64,
    /// The block's hash on that chain.
    pub block_hash: B256,
    /// The block itself.
    pub envelope: Envelope,
    /// Version of the payload.
    pub version: PayloadVersion,
    /// SSZ encoding of the payload, as the chain's nodes produce it.
    pub payload_ssz: Bytes,
}

impl RealBlock {
    /// Returns the block as a node holds it, without a signature.
    pub fn to_block(&self) -> Block {
        let mut body = Vec::new();
        let version = self.envelope.encode(&mut body).expect("bundled file");
        Block::decode(version, None, body.into()).expect("bundled file")
    }
}

/// A signed gossip message.
#[derive(Clone, Debug)]
pub struct SignedMessage {
    /// Id of the (test) chain for which it is signed: block time 2 s, genesis 0 at time 0, all
    /// forks up to the topic's active.
    pub chain_id: u64,
    /// Payload version of the topic.
    pub version: PayloadVersion,
    /// Address of the signer.
    pub signer: Address,
    /// Timestamp of the block in Unix seconds. The message is valid at this time.
    pub timestamp: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// The message's data field (compressed).
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

/// Returns all bundled blocks: five of OP Mainnet from June 2024, and four consecutive ones of OP
/// Sepolia from April 2025, linked by their parent hashes.
pub fn blocks() -> Vec<RealBlock> {
    BLOCKS.iter().map(|text| block(text)).collect()
}

/// Returns all bundled messages, v1 to v3.
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
    RealBlock {
        chain_id: file.chain_id,
        block_hash: file.block_hash,
        envelope,
        version,
        payload_ssz,
    }
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
