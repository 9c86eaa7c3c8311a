//! A chain of the tests' own: its configuration file, its signer, its blocks.

use alloy_primitives::{Address, B256, Bytes, hex};
use opp2p_core::chain::Fork;
use opp2p_core::payload::{Envelope, ExecutionPayload};
use opp2p_core::sequencer::LocalSigner;
use std::time::{SystemTime, UNIX_EPOCH};

/// The sequencer's key.
pub(super) const SEQUENCER_KEY: &str = "0000000000000000000000000000000000000000000000000000000000000007";

/// Hash of the chain's genesis block.
pub(super) const GENESIS_HASH: B256 = B256::repeat_byte(0x11);

/// The address that belongs to [`SEQUENCER_KEY`].
pub(super) fn signer() -> Address {
    let mut key = [0; 32];
    key[31] = 7;
    LocalSigner::from_bytes(&key).unwrap().address()
}

/// A `rollup.json` for a chain that begins at time 0 with all forks up to `fork`.
pub(super) fn rollup_json(chain_id: u64, fork: Option<Fork>) -> serde_json::Value {
    let mut file = serde_json::json!({
        "genesis": {
            "l1": { "hash": B256::repeat_byte(0x22), "number": 0 },
            "l2": { "hash": GENESIS_HASH, "number": 0 },
            "l2_time": 0,
        },
        "block_time": 2,
        "l1_chain_id": 900,
        "l2_chain_id": chain_id,
        "regolith_time": 0,
    });
    for active in Fork::ALL.into_iter().filter(|active| Some(*active) <= fork) {
        file[active.field()] = 0.into();
    }
    file
}

/// Makes linked blocks of the Jovian fork.
pub(super) struct Blocks {
    parent: (u64, B256),
}

/// A block, ready to be published.
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) hash: B256,
    /// What `node --publish.stdin` takes.
    pub(super) line: String,
}

impl Blocks {
    /// From genesis.
    pub(super) fn new() -> Self {
        Self { parent: (0, GENESIS_HASH) }
    }

    /// The next block, with one made-up transaction of this size.
    pub(super) fn next(&mut self, transaction_bytes: usize) -> Made {
        let (parent, parent_hash) = self.parent;
        let beacon_root = Some(B256::repeat_byte(0x33));
        let mut payload = ExecutionPayload {
            parent_hash,
            block_number: parent + 1,
            gas_limit: 30_000_000,
            gas_used: 21_000,
            timestamp: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
            extra_data: Bytes::from([1; 17]),
            transactions: vec![vec![0x02; transaction_bytes].into()],
            withdrawals: Some(Vec::new()),
            blob_gas_used: Some(40_000),
            excess_blob_gas: Some(0),
            withdrawals_root: Some(B256::repeat_byte(0x44)),
            ..ExecutionPayload::default()
        };
        let hash = payload.seal(beacon_root).unwrap();
        self.parent = (parent + 1, hash);
        let mut body = Vec::new();
        Envelope { parent_beacon_block_root: beacon_root, payload }.encode(&mut body).unwrap();
        Made { number: parent + 1, hash, line: hex::encode(body) }
    }
}
