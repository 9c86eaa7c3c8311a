//! Memory that clients who read nothing can take.
//!
//! Other tests run in the same process, so each measurement is made in a process of its own: this
//! program, called for this test alone.

use crate::feeds::{narrow, read_all, subscribe};
use crate::subscriptions::Socket;
use crate::support::{Node, chain, looking};
use alloy_primitives::Bytes;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::rpc::{FEEDS, SUBSCRIPTIONS};
use opp2p_core::chain::BlockId;

/// Set in the process that measures.
const MEASURES: &str = "OPP2P_TEST_MEASURES_MEMORY";
const BLOCKS: u64 = 32;
/// Size of a block in bytes.
const SIZE: usize = 300_000;
/// Maximum growth in kB. If each idle feed held its page, it would be above 600 MB.
const MOST: u64 = 300_000;

/// Returns the maximum memory of this process so far, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn unread_feeds_take_bounded_memory() {
    if !cfg!(target_os = "linux") {
        return;
    }
    if std::env::var_os(MEASURES).is_some() {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return threads.block_on(measure());
    }
    let name = "memory::unread_feeds_take_bounded_memory";
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(MEASURES, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success() && text.contains("1 passed"), "{outcome:?}");
}

async fn measure() {
    let node = Node::start(looking(), &[]).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    for _ in 0..BLOCKS {
        let mut envelope = maker.next(unix_seconds());
        // One transaction whose contents do not matter to gossip.
        let filler = vec![0xf8; SIZE];
        envelope.payload.transactions.push(Bytes::from(filler));
        let root = envelope.parent_beacon_block_root;
        let hash = envelope.payload.seal(root).unwrap();
        maker.resume(BlockId::new(envelope.payload.block_number, hash), envelope.payload.timestamp);
        node.host.insert(envelope).await.unwrap().unwrap();
    }
    node.until(|status| status.stored.is_some_and(|stored| stored.number == BLOCKS)).await;
    let before = peak();
    let address = node.rpc.address();
    let mut idle = Vec::new();
    for at in 0..FEEDS - 1 {
        if at % SUBSCRIPTIONS == 0 {
            idle.push(narrow(address).await);
        }
        let socket = idle.last_mut().unwrap();
        socket.say(&subscribe(1)).await;
    }
    // Once this reader has all blocks, each of the others has had its turn to read the store.
    let mut reader = Socket::open(address).await;
    let answer = reader.ask(&subscribe(1)).await;
    assert!(answer.get("error").is_none(), "{answer}");
    read_all(&mut reader, BLOCKS).await;
    let growth = peak().saturating_sub(before);
    assert!(growth < MOST, "{growth} kB");
    drop(idle);
    node.stop().await;
}
