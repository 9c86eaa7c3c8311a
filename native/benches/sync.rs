//! Speed at which one node fetches blocks from another: two native nodes with their stores, over
//! TCP, Noise and Yamux on loopback, without limits.
//!
//! For each size, a server's store is filled, and a follower with an empty store learns of one new
//! block by gossip. The benchmark measures the time until the follower has delivered all blocks
//! below. The share of validation is the time that the checks of those answers take on one thread,
//! measured in the same run, as a share of that time. The time in which the server's store reads
//! and packs the same blocks for ranges is measured before, likewise.
//!
//! `cargo bench -p opp2p --bench sync` runs all sizes, each by ranges and by number; a number of
//! blocks and their size in bytes can be given: `-- 5000 2600`. `ranges` or `numbers` selects one
//! of the two ways.

use alloy_primitives::{B256, Bytes, U256};
use opp2p_core::chain::{BlockId, ChainConfig, ChainEvent, Fork};
use opp2p_core::node::{Event, SyncConfig};
use opp2p_core::payload::{Block, Envelope, ExecutionPayload, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::range::{First, Next, ReadOrder};
use opp2p_core::sync::{ServerConfig, decode_response, encode_response};
use opp2p_node::host::{Host, HostConfig, HostEventKind};
use opp2p_node::key::SecretKey;
use opp2p_store::{Batch, Store, StoreConfig, StoredBlock};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CHAIN_ID: u64 = 901;

fn signer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).expect("a key")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns a chain whose block `blocks` has the current time.
fn chain(blocks: u64) -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    let address = signer().address();
    ChainConfig::development(CHAIN_ID, genesis, now() - blocks - 1, 1, Fork::Isthmus, address)
}

/// Returns a block with about `bytes` of transactions, which compress no better than real ones.
fn envelope(chain: &ChainConfig, number: u64, parent: B256, bytes: usize) -> Envelope {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut transaction = |length: usize| -> Bytes {
        let word = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Half of the bytes are zeros, as in calldata.
            if state & 1 == 0 { [0; 8] } else { state.to_be_bytes() }
        };
        (0..length.div_ceil(8)).flat_map(word).collect::<Vec<u8>>().into()
    };
    let mut payload = ExecutionPayload {
        parent_hash: parent,
        block_number: number,
        gas_limit: 30_000_000,
        timestamp: chain.timestamp_of(number).expect("in range"),
        base_fee_per_gas: U256::from(7),
        transactions: (0..bytes.div_ceil(300)).map(|_| transaction(bytes.min(300))).collect(),
        withdrawals: Some(Vec::new()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        withdrawals_root: Some(B256::repeat_byte(6)),
        ..ExecutionPayload::default()
    };
    let root = Some(B256::with_last_byte(0x34));
    payload.seal(root).expect("complete");
    Envelope { parent_beacon_block_root: root, payload }
}

/// Fills a store with the chain; returns its last block and a sample.
fn fill(path: &Path, chain: &ChainConfig, blocks: u64, bytes: usize) -> (BlockId, Vec<Block>) {
    let store = Store::open(StoreConfig {
        path: path.to_path_buf(),
        chain_id: CHAIN_ID,
        genesis_hash: chain.genesis.hash,
        max_blocks: u64::MAX,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(1 << 30),
    })
    .expect("a new store");
    let (mut parent, mut sample) = (chain.genesis.hash, Vec::new());
    let mut batch = Batch::default();
    for number in 1..=blocks {
        let mut body = Vec::new();
        envelope(chain, number, parent, bytes).encode(&mut body).expect("complete");
        let block = Block::decode(PayloadVersion::V4, None, body.into()).expect("ours");
        parent = block.hash();
        batch.blocks.push(StoredBlock::new(&block, 0));
        batch.canonical.push((number, parent));
        if number <= 200 {
            sample.push(block);
        }
        if batch.blocks.len() == 200 || number == blocks {
            store.commit(&std::mem::take(&mut batch)).expect("room on the disk");
        }
    }
    (BlockId::new(blocks, parent), sample)
}

/// Way in which blocks are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ranges,
    Numbers,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Ranges => "ranges",
            Self::Numbers => "numbers",
        }
    }
}

/// Measures the time in which the store reads and packs a block for an answer, on one thread.
fn read_time(path: &Path, chain: &ChainConfig, last: BlockId) -> Duration {
    let store = Store::open(StoreConfig::for_memory(path.into(), CHAIN_ID, chain.genesis.hash));
    let store = store.expect("a store");
    let (mut first, mut blocks) = (First::Block(last), 0);
    let start = Instant::now();
    loop {
        let order = ReadOrder { first, blocks: u32::MAX, bytes: u64::MAX, held: Vec::new() };
        let done = store.read_range(&order).expect("it can be read");
        blocks += done.packed.map_or(0, |packed| u32::from(packed.blocks));
        match done.next {
            Next::Block(next) => first = next,
            _ => return start.elapsed() / blocks.max(1),
        }
    }
}

fn config(chain: &ChainConfig, directory: &Path, name: &str, way: Way) -> HostConfig {
    let key = SecretKey::generate().expect("randomness");
    let mut config = HostConfig::new(chain.clone(), key, directory.join(name));
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config.from_genesis = true;
    config.retention.max_bytes = u64::MAX;
    config.retention.max_age = Duration::from_secs(1 << 30);
    config.sync = Some(SyncConfig {
        serve: ServerConfig::unlimited(),
        ranges: way == Way::Ranges,
        ..SyncConfig::default()
    });
    config
}

/// Measures the time that checking the answers (decompressing, decoding, hashing) takes on one
/// thread.
fn check_time(sample: &[Block]) -> Duration {
    let answers: Vec<Vec<u8>> = sample.iter().map(encode_response).collect();
    let start = Instant::now();
    for answer in &answers {
        let (_, body) = decode_response(answer, 10 << 20).expect("ours");
        let block = Block::decode(PayloadVersion::V4, None, body.into()).expect("ours");
        assert!(block.has_true_hash());
    }
    start.elapsed() / u32::try_from(answers.len()).unwrap_or(1)
}

async fn run(blocks: u64, bytes: usize, way: Way) {
    let directory = tempfile::tempdir().expect("a directory");
    let chain = chain(blocks);
    let (last, sample) = fill(&directory.path().join("server"), &chain, blocks, bytes);
    let size = sample.last().map_or(0, |block| block.body().len());
    let check = check_time(&sample);
    let read = read_time(&directory.path().join("server"), &chain, last);

    let mut serving = config(&chain, directory.path(), "server", way);
    serving.sequencer = Some(signer().into());
    let server = Host::start(serving).await.expect("starts");
    let mut following = config(&chain, directory.path(), "follower", way);
    following.static_peers = vec![server.address()];
    let (follower, mut events) = Host::start_heard(following).await.expect("starts");
    let mut status = server.status();
    status.wait_for(|status| status.mesh == 1).await.expect("runs");

    let start = Instant::now();
    let newest = envelope(&chain, last.number + 1, last.hash, 100);
    server.publish(newest).await.expect("runs").expect("published");
    let mut handed_on = 0;
    while handed_on <= blocks {
        match events.recv().await {
            Ok(event) => {
                if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(_))) = event.kind {
                    handed_on += 1;
                }
            }
            // More events came at once than a listener's queue keeps: the head shows the progress.
            Err(_) => handed_on = follower.status().borrow().head.map_or(0, |head| head.number),
        }
        if follower.status().borrow().head.is_some_and(|head| head.number > blocks) {
            break;
        }
    }
    let handed_on = start.elapsed();
    let mut status = follower.status();
    status
        .wait_for(|status| status.stored.is_some_and(|head| head.number > blocks))
        .await
        .expect("runs");
    let on_disk = start.elapsed();
    let per_second = blocks as f64 / handed_on.as_secs_f64();
    let share = check.as_secs_f64() * blocks as f64 / handed_on.as_secs_f64();
    println!(
        "{blocks} blocks of {size} bytes by {}: {per_second:.0} blocks/s, {:.1} MB/s handed on in \
         {:.2} s, on the disk as canonical after {:.2} s; validation {:.0} µs a block, {:.0} % of \
         one core; a read for ranges {:.0} µs a block",
        way.name(),
        per_second * size as f64 / 1e6,
        handed_on.as_secs_f64(),
        on_disk.as_secs_f64(),
        check.as_secs_f64() * 1e6,
        share * 100.0,
        read.as_secs_f64() * 1e6,
    );
    follower.stop().await;
    server.stop().await;
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let runs = match numbers.as_slice() {
        [blocks, bytes] => vec![(*blocks, *bytes as usize)],
        _ => vec![(20_000, 1_700), (5_000, 60_000)],
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let ways = [Way::Ranges, Way::Numbers];
    let named = |way: &Way| std::env::args().any(|arg| arg == way.name());
    let is_one = ways.iter().any(named);
    for (blocks, bytes) in runs {
        for way in ways.into_iter().filter(|way| !is_one || named(way)) {
            runtime.block_on(run(blocks, bytes, way));
        }
    }
}
