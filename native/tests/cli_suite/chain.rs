//! The tests' own chain: its configuration file, its signer, its blocks.

use crate::support::Place;
use alloy_primitives::{Address, B256, Bytes, hex};
use opp2p_core::chain::Fork;
use opp2p_core::payload::{Envelope, ExecutionPayload};
use opp2p_core::sequencer::LocalSigner;
use std::time::{SystemTime, UNIX_EPOCH};

/// The sequencer's key.
pub(super) const SEQUENCER_KEY: &str =
    "0000000000000000000000000000000000000000000000000000000000000007";

/// Hash of the chain's genesis block.
pub(super) const GENESIS_HASH: B256 = B256::repeat_byte(0x11);

/// Returns the address of [`SEQUENCER_KEY`].
pub(super) fn signer() -> Address {
    let mut key = [0; 32];
    key[31] = 7;
    LocalSigner::from_bytes(&key).unwrap().address()
}

/// Returns a `rollup.json` for a chain that begins at time 0 with all forks up to `fork`.
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
    for active in
        Fork::ALL.into_iter().filter(|active| fork.is_some_and(|fork| fork.includes(*active)))
    {
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
    /// Input line for `node --publish.stdin`.
    pub(super) line: String,
}

impl Blocks {
    /// Starts at genesis.
    pub(super) fn new() -> Self {
        Self { parent: (0, GENESIS_HASH) }
    }

    /// Returns the next block, with one invented transaction of this size.
    pub(super) fn next(&mut self, transaction_bytes: usize) -> Made {
        self.with(vec![0x02; transaction_bytes])
    }

    /// Returns the next block, with this transaction.
    pub(super) fn with(&mut self, transaction: Vec<u8>) -> Made {
        self.make(transaction, 0)
    }

    /// Returns the next block, with a timestamp of so many seconds ago.
    pub(super) fn aged(&mut self, seconds: u64) -> Made {
        self.make(vec![0x02; 10], seconds)
    }

    fn make(&mut self, transaction: Vec<u8>, age: u64) -> Made {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (parent, parent_hash) = self.parent;
        let beacon_root = Some(B256::repeat_byte(0x33));
        let mut payload = ExecutionPayload {
            parent_hash,
            block_number: parent + 1,
            gas_limit: 30_000_000,
            gas_used: 21_000,
            timestamp: now - age,
            extra_data: Bytes::from([1; 17]),
            transactions: vec![transaction.into()],
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

/// Returns the arguments of a node that would start on loopback, with these added. The last of two
/// values of a flag counts.
pub(super) fn node_arguments(place: &Place, more: &[&str]) -> Vec<String> {
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let common = [
        "node",
        "--rollup.config",
        &rollup,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--p2p.priv.path",
        &place.name("p2p.key"),
        "--data-dir",
        &place.name("data"),
        "--signer",
        &signer().to_string(),
    ]
    .map(String::from);
    common.into_iter().chain(more.iter().map(|text| (*text).to_owned())).collect()
}
