//! Our nodes and their blocks.

use alloy_primitives::Bytes;
use opp2p::devnet::BlockMaker;
use opp2p_core::chain::{BlockId, ChainConfig};
use opp2p_core::fixtures;
use opp2p_core::gossip::SIGNATURE_SIZE;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{Host, HostConfig, Status};
use opp2p_node::key::SecretKey;
use opp2p_store::{Batch, Store, StoreConfig, StoredBlock};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Maximum wait for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The sequencer's key.
pub(crate) const SIGNER: [u8; 32] = [7; 32];

/// Returns the sequencer's signer.
pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&SIGNER).unwrap()
}

/// Returns a node's configuration, with its store in the directory.
pub(crate) fn config(directory: impl AsRef<Path>, chain: &ChainConfig) -> HostConfig {
    let key = SecretKey::generate().unwrap();
    let store = directory.as_ref().join(key.peer_id().to_string());
    let mut config = HostConfig::new(chain.clone(), key, store);
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config
}

/// Waits until the node's status meets a condition.
pub(crate) async fn until(host: &Host, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = host.status();
    let reached = timeout(PATIENCE, status.wait_for(wanted)).await;
    let reached = reached.map(|status| status.unwrap().clone());
    reached.unwrap_or_else(|_| panic!("not in time: {:?}", host.status().borrow()))
}

/// Waits for a condition that no event reports.
pub(crate) async fn until_true(
    what: &str,
    patience: Duration,
    mut wanted: impl AsyncFnMut() -> bool,
) {
    let started = Instant::now();
    while !wanted().await {
        assert!(started.elapsed() < patience, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns an uncompressed message with the sequencer's signature.
pub(crate) fn signed(chain: &ChainConfig, envelope: &Envelope) -> Vec<u8> {
    signer().sign_block(chain.chain_id, envelope).unwrap().1
}

/// Makes the next block, with about this many bytes of real transactions, some of them cut off.
pub(crate) fn sized(maker: &mut BlockMaker, timestamp: u64, bytes: usize) -> Envelope {
    let mut envelope = maker.clone().next(timestamp);
    let blocks = fixtures::blocks();
    let mut left = bytes.saturating_sub(700);
    let mut transactions = Vec::new();
    for real in blocks.iter().flat_map(|block| &block.envelope.payload.transactions).cycle() {
        if left == 0 {
            break;
        }
        let length = real.len().min(left);
        transactions.push(Bytes::copy_from_slice(&real[..length]));
        left -= length;
    }
    envelope.payload.transactions = transactions;
    let hash = envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
    maker.resume(BlockId::new(envelope.payload.block_number, hash), timestamp);
    envelope
}

/// Puts the blocks into the node's store.
pub(crate) fn fill(config: &HostConfig, blocks: &[Envelope]) {
    let store = Store::open(StoreConfig {
        path: config.store.clone(),
        chain_id: config.chain.chain_id,
        genesis_hash: config.chain.genesis.hash,
        max_blocks: u64::MAX,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(1 << 30),
    })
    .unwrap();
    for some in blocks.chunks(200) {
        let mut batch = Batch::default();
        for envelope in some {
            let payload = &envelope.payload;
            let mut message = vec![0; SIGNATURE_SIZE];
            let version = envelope.encode(&mut message).unwrap();
            batch.canonical.push((payload.block_number, payload.block_hash));
            batch.blocks.push(StoredBlock {
                number: payload.block_number,
                hash: payload.block_hash,
                parent_hash: payload.parent_hash,
                timestamp: payload.timestamp,
                received_unix_ms: payload.timestamp * 1000,
                version: version.number(),
                message,
            });
        }
        store.commit(&batch).unwrap();
    }
}
