//! The chain that the sequencer makes, its branches, and blocks that are none of it.

use alloy_primitives::{Address, B256, Bytes, U256};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::gossip::{BLOCK_DOMAIN, SIGNATURE_SIZE, Unpacked, payload_hash, signing_hash};
use opp2p_core::payload::{Block, Envelope, ExecutionPayload, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;

pub(crate) const CHAIN_ID: u64 = 901;
pub(crate) const BLOCK_TIME: u64 = 2;
/// Unix seconds of the genesis block, which is also when virtual time begins.
pub(crate) const GENESIS_TIME: u64 = 1_700_000_000;

pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).expect("a key")
}

/// The chain of every simulated network: all forks from the start, so that its blocks are v4.
pub(crate) fn config() -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    ChainConfig::development(CHAIN_ID, genesis, GENESIS_TIME, BLOCK_TIME, Fork::Isthmus, signer().address())
}

/// A block without a signature that has `parent` and says `salt`, with `bytes` of transactions.
pub(crate) fn block(number: u64, parent: B256, salt: u64, bytes: usize) -> Block {
    let mut payload = ExecutionPayload {
        parent_hash: parent,
        fee_recipient: Address::repeat_byte(0x22),
        block_number: number,
        gas_limit: 30_000_000,
        timestamp: GENESIS_TIME + number * BLOCK_TIME,
        extra_data: Bytes::copy_from_slice(&salt.to_be_bytes()),
        base_fee_per_gas: U256::from(7),
        // Not all alike, so that they do not compress to nothing.
        transactions: (0..bytes.div_ceil(1000))
            .map(|at| {
                let mut rng = super::rng::Rng::new(number ^ salt << 32 ^ (at as u64) << 48);
                (0..bytes.min(1000).div_ceil(8))
                    .flat_map(|_| rng.next().to_be_bytes())
                    .collect::<Vec<u8>>()
                    .into()
            })
            .collect(),
        withdrawals: Some(Vec::new()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        withdrawals_root: Some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    let root = Some(B256::with_last_byte(0x34));
    payload.seal(root).expect("complete");
    let mut body = Vec::new();
    Envelope { parent_beacon_block_root: root, payload }.encode(&mut body).expect("complete");
    Block::decode(PayloadVersion::V4, None, body.into()).expect("ours")
}

/// The message that the sequencer gossips for a block.
pub(crate) fn message(block: &Block) -> Unpacked {
    let hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(block.body()));
    let mut contents = Vec::with_capacity(SIGNATURE_SIZE + block.body().len());
    contents.extend_from_slice(&signer().sign(&hash));
    contents.extend_from_slice(block.body());
    Unpacked::from_contents(&contents)
}

/// The same block with another byte in the middle: it does not have the hash that it claims.
pub(crate) fn forged(block: &Block) -> Block {
    let mut body = block.body().to_vec();
    // The state root: 32 bytes of root, then parent hash and fee recipient before it.
    body[32 + 32 + 20] ^= 1;
    Block::decode(PayloadVersion::V4, None, body.into()).expect("the layout is the same")
}
