//! Our nodes, and the chains on which they meet foreign ones.

use alloy_primitives::{B256, Bytes};
use opp2p::host::{Host, HostConfig, HostEvent, HostEventKind, Status};
use opp2p::key::SecretKey;
use opp2p::store::{Batch, Store, StoreConfig, StoredBlock};
use opp2p_core::chain::{BlockId, ChainConfig, Fork, ForkSchedule};
use opp2p_core::gossip::{BLOCK_DOMAIN, Reason, SIGNATURE_SIZE, payload_hash, signing_hash};
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// How long anything may take that is to happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// The sequencer's key.
pub(crate) const SIGNER: [u8; 32] = [7; 32];

/// An age that no block has, for blocks of long ago. The reference computes in unsigned seconds since 1970, so that
/// it may not reach back before.
pub(crate) const ANY_AGE: Duration = Duration::from_secs(45 * 365 * 24 * 60 * 60);

/// The sequencer's signer.
pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&SIGNER).unwrap()
}

/// A chain of which no block is older than this one's fork, where blocks of any time are of `version`.
pub(crate) fn chain_of(version: PayloadVersion) -> ChainConfig {
    let forks = match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Delta),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Holocene),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    };
    chain(forks)
}

/// A chain with these forks.
pub(crate) fn chain(forks: ForkSchedule) -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    let chain = ChainConfig::development(901, genesis, 1_700_000_000, 2, Fork::Jovian, signer().address());
    ChainConfig { forks, ..chain }
}

/// What a node of ours is started with, its store in the directory.
pub(crate) fn config(directory: &TempDir, chain: &ChainConfig) -> HostConfig {
    let key = SecretKey::generate().unwrap();
    let store = directory.path().join(key.peer_id().to_string());
    let mut config = HostConfig::new(chain.clone(), key, store);
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config
}

/// Waits until the node's status is as wanted.
pub(crate) async fn until(host: &Host, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = host.status();
    let reached = timeout(PATIENCE, status.wait_for(wanted)).await;
    let reached = reached.map(|status| status.unwrap().clone());
    reached.unwrap_or_else(|_| panic!("not in time: {:?}", host.status().borrow()))
}

/// Waits until something is so that nobody tells of.
pub(crate) async fn until_true(what: &str, patience: Duration, mut wanted: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !wanted().await {
        assert!(started.elapsed() < patience, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The next verdict of the node on a message.
pub(crate) async fn verdict(events: &mut broadcast::Receiver<HostEvent>) -> Result<BlockId, Reason> {
    let next = async {
        loop {
            if let HostEventKind::Verdict(verdict) = events.recv().await.expect("our node runs").kind {
                break verdict.result;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("our node judges a message in time")
}

/// A message as the sequencer would sign it, before compression.
pub(crate) fn signed(chain: &ChainConfig, envelope: &Envelope) -> Vec<u8> {
    let mut body = Vec::new();
    envelope.encode(&mut body).unwrap();
    signed_bytes(chain, &body)
}

/// The same for what need be no block.
pub(crate) fn signed_bytes(chain: &ChainConfig, body: &[u8]) -> Vec<u8> {
    let hash = signing_hash(BLOCK_DOMAIN, chain.chain_id.into(), payload_hash(body));
    [&signer().sign(&hash)[..], body].concat()
}

/// The same as it travels.
pub(crate) fn message(chain: &ChainConfig, envelope: &Envelope) -> Vec<u8> {
    snappy::compress(&signed(chain, envelope))
}

/// The block with one more transaction, which brings its encoding to about this many bytes.
pub(crate) fn padded(mut envelope: Envelope, bytes: usize) -> Envelope {
    // Not all alike: compression has something to do, and too little to make it small.
    let filling: Vec<u8> = (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    envelope.payload.transactions.push(Bytes::from(filling));
    envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
    envelope
}

/// Puts the blocks into the node's store.
pub(crate) fn fill(config: &HostConfig, chain: &ChainConfig, blocks: &[Envelope]) {
    let store = Store::open(StoreConfig {
        path: config.store.clone(),
        chain_id: chain.chain_id,
        genesis_hash: chain.genesis.hash,
        max_blocks: u64::MAX,
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
