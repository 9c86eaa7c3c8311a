//! Write amplification: bytes written per byte of blocks.
//!
//! A process stores blocks as a node does, and does nothing else: either one commit for each block,
//! as for blocks that arrive live; or first in the pending area, then on the chain, as for a gap
//! that is filled. The operating system counts the written bytes (`/proc/self/io`): `wchar` is the
//! number of bytes passed to the system, and the process waited for most of them.

use crate::support::{chain, open};
use alloy_primitives::{B256, keccak256};
use opp2p_store::{Batch, StoredBlock, Writer, WriterConfig};
use opp2p_tests::report::{Row, Section};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc;

/// First argument that makes this program the process that stores.
pub(crate) const WRITE: &str = "--write";

/// Block size in bytes, and number of blocks.
const SIZES: [(usize, u64); 3] = [(2_600, 400), (61_000, 200), (1_000_000, 40)];

/// Maximum bytes written per byte of blocks of these sizes, live and in bulk. Each byte is written
/// once for a new page, and twice in a bulk sync; each commit has a cost of its own on top.
const BOUNDS: [(f64, f64); 3] = [(24.0, 5.0), (2.5, 2.0), (1.5, 2.5)];

/// Stores blocks in the way that `how` describes (`live` or `bulk`, then size and number), and
/// prints the bytes written.
pub(crate) fn write(how: &str, file: &str) -> ExitCode {
    let words: Vec<&str> = how.split(',').collect();
    let [way, size, count] = words[..] else { return ExitCode::FAILURE };
    let (size, count): (usize, u64) = (size.parse().unwrap(), count.parse().unwrap());
    let store = open(Path::new(file), &chain_of_all());
    let writer = Writer::start(store, WriterConfig::default()).unwrap();
    let blocks: Vec<StoredBlock> = (1..=count).map(|number| block(number, size)).collect();
    // The first commit creates the tables.
    commit(&writer, vec![Batch { memory: vec![(vec![1], Some(vec![1]))], ..Batch::default() }]);
    let before = written();
    match way {
        "live" => blocks.into_iter().for_each(|block| commit(&writer, vec![extend(block)])),
        _ => {
            for some in blocks.chunks(64) {
                let hold = |block: &StoredBlock| Batch {
                    pending: vec![block.clone()],
                    ..Batch::default()
                };
                let promote = |block: &StoredBlock| Batch {
                    canonical: vec![(block.number, block.hash)],
                    head: Some(block.number),
                    ..Batch::default()
                };
                commit(&writer, some.iter().map(hold).collect());
                commit(&writer, some.iter().map(promote).collect());
            }
        }
    }
    let after = written();
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    ExitCode::SUCCESS
}

/// Returns the chain, with the same genesis in each process.
fn chain_of_all() -> opp2p_core::chain::ChainConfig {
    let mut chain = chain();
    chain.genesis.time = 1_700_000_000;
    chain
}

fn extend(block: StoredBlock) -> Batch {
    Batch {
        canonical: vec![(block.number, block.hash)],
        head: Some(block.number),
        blocks: vec![block],
        ..Batch::default()
    }
}

/// Queues all batches, then waits for all of them.
fn commit(writer: &Writer, batches: Vec<Batch>) {
    let (send, receive) = mpsc::channel();
    let count = batches.len();
    for batch in batches {
        let send = send.clone();
        let mut batch = Some(batch);
        while let Some(next) = batch.take() {
            let send = send.clone();
            let done = move |outcome: Result<(), _>| {
                let _: Result<(), Box<opp2p_store::WriteFailed>> = outcome;
                send.send(()).unwrap();
            };
            if let Err(full) = writer.submit(next, done) {
                batch = Some(full.batch);
                std::thread::yield_now();
            }
        }
    }
    for _ in 0..count {
        receive.recv().unwrap();
    }
}

fn block(number: u64, size: usize) -> StoredBlock {
    let hash = |number: u64| keccak256(number.to_be_bytes());
    let mut message = Vec::with_capacity(size + 32);
    let mut piece = hash(number);
    while message.len() < size {
        message.extend_from_slice(piece.as_slice());
        piece = keccak256(piece);
    }
    message.truncate(size);
    let parent_hash = if number == 0 { B256::ZERO } else { hash(number - 1) };
    let timestamp = opp2p::devnet::unix_seconds();
    StoredBlock {
        number,
        hash: hash(number),
        parent_hash,
        timestamp,
        received_unix_ms: timestamp * 1000,
        version: 4,
        message,
    }
}

/// Returns the bytes passed to the system, and the bytes written to the disk. Zero where the system
/// does not report them.
fn written() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    (field("wchar"), field("write_bytes"))
}

/// Returns the bytes written per byte of blocks: passed to the system, and written to the disk.
fn measure(way: &str, size: usize, count: u64) -> (f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blocks.redb");
    let how = format!("{way},{size},{count}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([WRITE, &how])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap());
    let bytes = size as f64 * count as f64;
    let mut next = || numbers.next().unwrap() / bytes;
    (next(), next())
}

/// Returns the report's section, with every figure and its bound.
fn measured() -> Section {
    let mut rows = Vec::new();
    for ((size, count), (live_bound, bulk_bound)) in SIZES.into_iter().zip(BOUNDS) {
        for (way, bound) in [("live", live_bound), ("bulk", bulk_bound)] {
            let (handed, disk) = measure(way, size, count);
            let what = match way {
                "live" => "one commit each",
                _ => "a gap filled, 64 at a time",
            };
            rows.push(
                Row::new(format!("{count} blocks of {size} bytes, {what}"), format!("{handed:.2}"))
                    .held_to(format!("{bound}"), handed <= bound)
                    .noted(format!("to the disk: {disk:.2}")),
            );
        }
    }
    Section {
        name: "31-store".to_owned(),
        title: "Bytes written for a byte of blocks".to_owned(),
        command: "cargo all-tests -- store-writes".to_owned(),
        about:
            "Two-phase commits with checksums: each costs some pages whatever is in it, which a \
             small block pays for alone. When a gap is filled, a block is written once, and \
             marked twice."
                .to_owned(),
        rows,
    }
}

pub(crate) async fn report() {
    measured().tell().expect("the report is written");
}

pub(crate) async fn bytes_written_per_block_are_bounded() {
    if written().0 == 0 {
        println!("left out: this system does not say what a process has written");
        return;
    }
    let section = tokio::task::spawn_blocking(measured).await.unwrap();
    print!("{}", section.to_markdown());
    let missed: Vec<&Row> =
        section.rows.iter().filter(|row| matches!(row.bound, Some((_, false)))).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
