//! The sequencer's chain, its branches, and blocks that do not belong to it.

use alloy_primitives::{Address, B256, Bytes, U256};
use opp2p_core::chain::{BlockId, ChainConfig, ChainViewConfig, Fork};
use opp2p_core::gossip::Unpacked;
use opp2p_core::payload::{BaseTime, Block, Envelope, ExecutionPayload, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;
use std::time::Duration;

pub(crate) const CHAIN_ID: u64 = 901;
/// Unix seconds of the genesis block, at which virtual time also begins.
pub(crate) const GENESIS_TIME: u64 = 1_700_000_000;

pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).expect("a key")
}

/// The key of the sequencer after a rotation.
pub(crate) fn next_signer() -> LocalSigner {
    LocalSigner::from_bytes(&[8; 32]).expect("a key")
}

/// Hash of the genesis block.
pub(crate) const GENESIS_HASH: B256 = B256::repeat_byte(9);

/// Block interval of a simulated chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Every 2 s.
    Slow,
    /// Every 200 ms, as Base does since Denim: five blocks share a timestamp, and each carries its
    /// milliseconds in its second transaction.
    Denim,
}

impl Pace {
    /// Returns the milliseconds between two blocks.
    pub(crate) const fn interval(self) -> u64 {
        match self {
            Self::Slow => 2000,
            Self::Denim => 200,
        }
    }

    /// Returns the chain of the network: all forks from the start, so that its blocks are v4.
    pub(crate) fn config(self) -> ChainConfig {
        let fork = match self {
            Self::Slow => Fork::Isthmus,
            Self::Denim => Fork::Denim,
        };
        let signer = signer().address();
        ChainConfig::development(CHAIN_ID, GENESIS_HASH, GENESIS_TIME, 2, fork, signer)
    }

    /// Returns the bounds of a view of such a chain, which waits for gaps for ever.
    pub(crate) fn view(self) -> ChainViewConfig {
        let interval = Duration::from_millis(self.interval());
        ChainViewConfig { gap_patience: None, ..ChainViewConfig::for_interval(interval) }
    }

    /// Returns the deposit transactions at the start of a block.
    fn deposits(self, number: u64) -> Vec<Bytes> {
        match self {
            Self::Slow => Vec::new(),
            Self::Denim => {
                let millis = u16::try_from(number * 200 % 1000).expect("below 1000");
                let time = BaseTime::of_block(number, millis).to_transaction();
                vec![Bytes::from_static(&[0x7e, 0xc0]), Bytes::copy_from_slice(&time)]
            }
        }
    }
}

/// Makes an unsigned block with the parent `parent`, the salt `salt` and `bytes` of transactions.
pub(crate) fn block(pace: Pace, number: u64, parent: B256, salt: u64, bytes: usize) -> Block {
    let mut payload = payload(pace, number, parent, salt, bytes);
    payload.seal(Some(BEACON_ROOT)).expect("complete");
    encoded(payload)
}

/// Makes a block again whose hash is known, in a third of the time.
pub(crate) fn block_again(pace: Pace, id: BlockId, parent: B256, bytes: usize) -> Block {
    let mut payload = payload(pace, id.number, parent, 0, bytes);
    payload.block_hash = id.hash;
    encoded(payload)
}

const BEACON_ROOT: B256 = B256::with_last_byte(0x34);

fn encoded(payload: ExecutionPayload) -> Block {
    let mut body = Vec::new();
    let envelope = Envelope { parent_beacon_block_root: Some(BEACON_ROOT), payload };
    envelope.encode(&mut body).expect("complete");
    Block::decode(PayloadVersion::V4, None, body.into()).expect("ours")
}

fn payload(pace: Pace, number: u64, parent: B256, salt: u64, bytes: usize) -> ExecutionPayload {
    let mut payload = ExecutionPayload {
        parent_hash: parent,
        fee_recipient: Address::repeat_byte(0x22),
        block_number: number,
        gas_limit: 30_000_000,
        timestamp: GENESIS_TIME + number * pace.interval() / 1000,
        extra_data: Bytes::copy_from_slice(&salt.to_be_bytes()),
        base_fee_per_gas: U256::from(7),
        // Varied bytes, so that they do not compress to nothing.
        transactions: (0..bytes.div_ceil(1000))
            .map(|at| {
                let mut rng = super::rng::Rng::new(number ^ salt << 32 ^ (at as u64) << 48);
                let words = bytes.min(1000).div_ceil(8);
                let mut raw = Vec::with_capacity(1 + 8 * words);
                // A type byte: without it the transaction would have to be an RLP list.
                raw.push(2);
                for _ in 0..words {
                    raw.extend_from_slice(&rng.next().to_be_bytes());
                }
                raw.into()
            })
            .collect(),
        withdrawals: Some(Vec::new()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        withdrawals_root: Some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    payload.transactions.splice(0..0, pace.deposits(number));
    payload
}

/// Returns the message that the sequencer gossips for a block, signed by `key`.
pub(crate) fn message(key: &LocalSigner, block: &Block) -> Unpacked {
    Unpacked::from_contents(&key.sign_body(CHAIN_ID, block.body()))
}

/// Returns the block with one changed byte in the middle: its claimed hash is false.
pub(crate) fn forged(block: &Block) -> Block {
    let mut body = block.body().to_vec();
    // The state root: 32 bytes of the beacon root, then parent hash and fee recipient precede it.
    body[32 + 32 + 20] ^= 1;
    Block::decode(PayloadVersion::V4, None, body.into()).expect("the layout is the same")
}
