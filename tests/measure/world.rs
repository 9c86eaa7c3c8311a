//! Nodes and blocks to measure with.

use alloy_primitives::{B256, Bytes};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{Host, HostConfig, HostEvent, HostEventKind, Status, WsConfig};
use opp2p::key::SecretKey;
use opp2p::store::{Batch, Store, StoreConfig, StoredBlock};
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::fixtures;
use opp2p_core::gossip::{BLOCK_DOMAIN, SIGNATURE_SIZE, payload_hash, signing_hash};
use opp2p_core::payload::Envelope;
use opp2p_core::peers::Scoring;
use opp2p_core::sequencer::LocalSigner;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// How long anything may take that is to happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The sequencer's signer.
pub(crate) fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).unwrap()
}

/// A chain of the newest fork, whose blocks so far are `age` old at most.
pub(crate) fn chain(age: Duration) -> ChainConfig {
    let start = unix_seconds() - age.as_secs();
    let genesis = B256::repeat_byte(9);
    let chain = ChainConfig::development(901, genesis, start, 1, Fork::Jovian, signer().address());
    ChainConfig { block_time: 1, ..chain }
}

/// What a node is started with, its store in the directory.
pub(crate) fn config(directory: &Path, chain: &ChainConfig) -> HostConfig {
    let key = SecretKey::generate().unwrap();
    let store = directory.join(key.peer_id().to_string());
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

/// The next block that the node accepts, and when it did.
pub(crate) async fn accepted(events: &mut broadcast::Receiver<HostEvent>) -> (BlockId, Instant) {
    let next = async {
        loop {
            let event = events.recv().await.expect("the listener keeps up");
            if let HostEventKind::Verdict(verdict) = event.kind {
                break (verdict.result.expect("all blocks are good"), event.at);
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a node accepts a block in time")
}

/// The next block, with about this many bytes of real transactions.
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

/// A message as the sequencer signs it, before compression.
pub(crate) fn signed(chain: &ChainConfig, envelope: &Envelope) -> Vec<u8> {
    let mut contents = vec![0; SIGNATURE_SIZE];
    envelope.encode(&mut contents).unwrap();
    let hash = signing_hash(BLOCK_DOMAIN, chain.chain_id.into(), payload_hash(&contents[SIGNATURE_SIZE..]));
    contents[..SIGNATURE_SIZE].copy_from_slice(&signer().sign(&hash));
    contents
}

/// Puts the blocks into the node's store.
pub(crate) fn fill(config: &HostConfig, blocks: &[Envelope]) {
    let store = Store::open(StoreConfig {
        path: config.store.clone(),
        chain_id: config.chain.chain_id,
        genesis_hash: config.chain.genesis.hash,
        max_blocks: u64::MAX,
        max_age: Duration::from_secs(1 << 30),
    })
    .unwrap();
    for some in blocks.chunks(200) {
        let mut batch = Batch::default();
        for envelope in some {
            let payload = &envelope.payload;
            batch.canonical.push((payload.block_number, payload.block_hash));
            let mut message = vec![0; SIGNATURE_SIZE];
            let version = envelope.encode(&mut message).unwrap();
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

/// What is at `part` of the sorted values, 0 to 1.
pub(crate) fn at(values: &[f64], part: f64) -> f64 {
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// The word with which this program is one node, to be looked at from outside.
pub(crate) const NODE: &str = "--node";

/// A node until standard input ends. Its first two lines say where it is, by TCP and for browsers.
pub(crate) async fn be_a_node() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), &chain(Duration::ZERO));
    config.ws = Some(WsConfig::default());
    // All peers come from one address.
    config.peers.scoring = Scoring::None;
    (config.peers.tide.low, config.peers.tide.high) = (10, 1000);
    config.peers.limits.tcp.inbound = 1000;
    config.peers.limits.tcp.half_open = 1000;
    config.peers.limits.browser.half_open = 1000;
    let host = Host::start(config).await.unwrap();
    println!("{}", host.address());
    println!("{}", host.browser_addresses().first().expect("there is a door for browsers"));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {}
    host.stop().await;
}
