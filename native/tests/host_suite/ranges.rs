//! A node that was away gets ranges of blocks from its peers.

use super::support::*;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::BlockId;
use opp2p_core::node::Event;
use opp2p_core::sync::SyncEvent;
use opp2p_core::sync::range::PROTOCOL;
use opp2p_node::host::{Host, HostEvent, HostEventKind};
use std::time::Duration;
use tokio::sync::broadcast;

/// Publishes `count` blocks. Returns the last one.
async fn publish(host: &Host, maker: &mut BlockMaker, count: usize) -> BlockId {
    let mut last = None;
    for _ in 0..count {
        last = host.publish(maker.next(unix_seconds())).await.unwrap().ok();
    }
    BlockId::new(count as u64, last.expect("they are published"))
}

/// Returns the number of answers to requests by number so far.
fn answered(events: &mut broadcast::Receiver<HostEvent>) -> usize {
    let mut count = 0;
    loop {
        match events.try_recv() {
            Ok(event) => {
                let is_answer =
                    |event: &Event| matches!(event, Event::Sync(SyncEvent::Answered(_)));
                let HostEventKind::Core(event) = event.kind else { continue };
                count += usize::from(is_answer(&event));
            }
            // Only the newest events are kept, which suffices: requests would go on to the end.
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return count,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_2000_blocks_behind_catches_up_by_ranges() {
    const BLOCKS: u64 = 2000;
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 71);
    publish(&first, &mut maker, BLOCKS as usize - 1).await;
    // A fast machine publishes more at once than a peer may send. The next block shows the gap.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let top = BlockId::new(BLOCKS, publish(&first, &mut maker, 1).await.hash);
    until(&second, |status| status.stored == Some(top)).await;
    assert!(second.protocols().iter().any(|name| name == PROTOCOL));

    // It gets no gossip, and asks a single peer. By number, at a peer's default limits, this would
    // take eight minutes.
    let (third, mut events) =
        Host::start_heard(config(directory.path(), "third", &[&second])).await.unwrap();
    until(&third, |status| status.peers == 1).await;
    assert_eq!(third.fetch_range(top).await, Ok(Ok(())));
    until(&third, |status| status.stored == Some(top)).await;
    assert_eq!(answered(&mut events), 0, "no block was asked for by its number");
    let served = second.status().borrow().served;
    assert!((BLOCKS..=BLOCKS + BLOCKS / 4).contains(&served), "{served}");
    for number in [1, 1000, BLOCKS] {
        let block = third.stored_block(number).unwrap().unwrap();
        assert_eq!(block.hash(), second.stored_block(number).unwrap().unwrap().hash());
    }

    // It serves what it fetched.
    let fourth = follower(directory.path(), "fourth", &[&third]).await;
    until(&fourth, |status| status.peers == 1).await;
    assert_eq!(fourth.fetch_range(top).await, Ok(Ok(())));
    for host in [first, second, third, fourth] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_peer_asks_and_serves_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let old = Host::start(by_number(config(directory.path(), "old", &[&first]))).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 72);
    let top = publish(&first, &mut maker, 12).await;
    until(&old, |status| status.stored == Some(top)).await;
    assert!(!old.protocols().iter().any(|name| name == PROTOCOL));

    let new = follower(directory.path(), "new", &[&old]).await;
    until(&new, |status| status.peers == 1).await;
    assert_eq!(new.fetch_range(top).await, Ok(Ok(())));
    assert!(old.status().borrow().served >= 12);

    let older = by_number(config(directory.path(), "older", &[&new]));
    let older = Host::start(older).await.unwrap();
    until(&older, |status| status.peers == 1).await;
    assert_eq!(older.fetch_range(top).await, Ok(Ok(())));
    assert!(new.status().borrow().served >= 12);
    for host in [first, old, new, older] {
        host.stop().await;
    }
}
