//! A node that missed blocks gets them from its peers.

use super::fake_rpc::FakeRpc;
use super::support::*;
use alloy_primitives::{B256, hex};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::node::Event;
use opp2p_core::payload::rebuild::to_rlp;
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::sync::{HistoryConfig, HistoryEnd, RangeError, Reach, SyncEvent};
use opp2p_node::host::{Host, HostEvent, HostEventKind};
use opp2p_node::http::HttpConfig;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;

/// Publishes `count` blocks in turn.
async fn publish(host: &Host, maker: &mut BlockMaker, count: usize) -> Vec<alloy_primitives::B256> {
    let mut published = Vec::new();
    for _ in 0..count {
        published.push(host.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    }
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_node_fetches_missed_blocks_and_delivers_them_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 11);
    let mut published = publish(&first, &mut maker, 40).await;
    until(&second, |status| status.stored.is_some_and(|stored| stored.number == 40)).await;

    let (third, mut events) =
        Host::start_heard(config(directory.path(), "third", &[&first, &second])).await.unwrap();
    until(&third, |status| status.mesh == 2).await;
    published.extend(publish(&first, &mut maker, 1).await);
    assert_eq!(blocks(&mut events, 41).await, published);
    until(&third, |status| status.stored.is_some_and(|stored| stored.number == 41)).await;
    assert!(first.status().borrow().served + second.status().borrow().served >= 30);

    // It serves what it fetched, and a restart finds it.
    for number in [1, 20, 40] {
        let block = third.stored_block(number).unwrap().unwrap();
        assert_eq!(block.hash(), published[number as usize - 1]);
    }
    for host in [first, second, third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_fetch_leaves_the_gap_open() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 12);
    publish(&first, &mut maker, 5).await;
    // Longer than gossip offers old messages.
    tokio::time::sleep(Duration::from_secs(7)).await;

    let mut off = config(directory.path(), "third", &[&first]);
    off.sync = None;
    let third = Host::start(off).await.unwrap();
    // The sequencer's side of the mesh matters: the other side exists before the sequencer hears of
    // it.
    until(&first, |status| status.mesh == 2).await;
    publish(&first, &mut maker, 1).await;
    until(&third, |status| status.highest.is_some_and(|highest| highest.number == 6)).await;
    // A node that fetches has the missing blocks within this time.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = third.status().borrow().clone();
    assert_eq!(status.head.map(|head| head.number), Some(0));
    assert!(status.sync.is_none());
    assert_eq!(third.fetch_range(status.highest.unwrap()).await, Ok(Err(RangeError::Off)));
    for host in [first, second, third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_fetched_on_command_and_refused_without_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 13);
    let published = publish(&first, &mut maker, 12).await;
    until(&second, |status| status.stored.is_some_and(|stored| stored.number == 12)).await;
    tokio::time::sleep(Duration::from_secs(7)).await;

    // It gets no gossip at all.
    let (third, mut events) =
        Host::start_heard(config(directory.path(), "third", &[&second])).await.unwrap();
    until(&third, |status| status.peers == 1).await;
    let nowhere = BlockId::new(12, alloy_primitives::B256::ZERO);
    assert_eq!(third.fetch_range(nowhere).await, Ok(Err(RangeError::NoEnd)));
    let to = BlockId::new(12, published[11]);
    assert_eq!(third.fetch_range(to).await, Ok(Ok(())));
    assert_eq!(blocks(&mut events, 12).await, published);
    assert_eq!(third.fetch_range(to).await, Ok(Err(RangeError::NothingMissing(12))));
    for host in [first, second, third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_began_too_long_ago_is_not_requested() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 14);
    publish(&first, &mut maker, 5).await;
    tokio::time::sleep(Duration::from_secs(7)).await;

    let mut by_default = config(directory.path(), "third", &[&first]);
    by_default.sync = Some(Default::default());
    let (third, mut events) = Host::start_heard(by_default).await.unwrap();
    until(&third, |status| status.mesh == 1).await;
    // A block published before the first node knows of the third one never reaches it.
    until(&first, |status| status.mesh == 2).await;
    publish(&first, &mut maker, 1).await;
    let refused = loop {
        let event =
            tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap();
        match event.kind {
            HostEventKind::Core(Event::Sync(SyncEvent::Refused { error, .. })) => break error,
            HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) => panic!("{block:?}"),
            _ => {}
        }
    };
    assert!(matches!(refused, RangeError::TooOld { number: 0, limit: 43_200, .. }), "{refused:?}");
    for host in [first, second, third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_halfway_continues_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 15);
    let mut published = publish(&first, &mut maker, 50).await;
    until(&second, |status| status.stored.is_some_and(|stored| stored.number == 50)).await;
    second.stop().await;

    // One server of blocks by number at its default limits: the last blocks take some seconds.
    let late = || by_number(config(directory.path(), "third", &[&first]));
    let third = Host::start(late()).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    published.extend(publish(&first, &mut maker, 1).await);
    until(&third, |status| status.sync.is_some_and(|sync| sync.pending > 25)).await;
    let served = first.status().borrow().served;
    assert_eq!(third.kill().await.unwrap(), None, "nothing was handed on yet");

    until(&first, |status| status.peers == 0).await;
    let (third, mut events) = Host::start_heard(late()).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    published.extend(publish(&first, &mut maker, 1).await);
    assert_eq!(blocks(&mut events, 52).await, published);
    let again = first.status().borrow().served - served;
    assert!(again <= 52 - 25 + 10, "{again} blocks were fetched again");
    first.stop().await;
    third.stop().await;
}

/// Waits until the history is complete, and returns the number of its lowest block.
async fn history(events: &mut broadcast::Receiver<HostEvent>) -> u64 {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
        if let HostEventKind::Core(Event::Sync(SyncEvent::History { lowest, end })) =
            event.unwrap().unwrap().kind
        {
            assert_eq!(end, HistoryEnd::Complete);
            return lowest;
        }
    }
}

/// Returns the hash of the block with this number once it is stored.
async fn stored(host: &Host, number: u64) -> B256 {
    for _ in 0..100 {
        if let Some(block) = host.stored_block(number).unwrap() {
            return block.hash();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("block {number} is not stored in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_fetches_history_and_serves_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 17);
    let mut published = publish(&first, &mut maker, 40).await;
    until(&second, |status| status.stored.is_some_and(|stored| stored.number == 40)).await;
    // Longer than gossip offers old messages.
    tokio::time::sleep(Duration::from_secs(7)).await;

    let fresh = |name: &str, peers: &[&Host]| {
        let mut config = config(directory.path(), name, peers);
        config.from_genesis = false;
        let sync = config.sync.as_mut().unwrap();
        sync.fill.history = Some(HistoryConfig::new(Reach::Number(11)));
        config
    };
    let peers = [&first, &second];
    let (third, mut events) = Host::start_heard(fresh("third", &peers)).await.unwrap();
    until(&first, |status| status.mesh == 2).await;
    published.extend(publish(&first, &mut maker, 1).await);
    assert_eq!(history(&mut events).await, 11);
    assert_eq!(stored(&third, 11).await, published[10]);
    assert!(third.stored_block(10).unwrap().is_none());
    let head = Some(BlockId::new(41, published[40]));
    until(&third, |status| status.head == head).await;
    third.stop().await;

    // A restart fetches nothing again.
    until(&first, |status| status.peers == 1).await;
    let served = || first.status().borrow().served + second.status().borrow().served;
    let before = served();
    let (third, mut events) = Host::start_heard(fresh("third", &peers)).await.unwrap();
    assert_eq!(history(&mut events).await, 11);
    let (fourth, mut events) = Host::start_heard(fresh("fourth", &[&third])).await.unwrap();
    until(&third, |status| status.mesh == 3).await;
    until(&first, |status| status.mesh == 2).await;
    assert_eq!(served(), before);
    published.extend(publish(&first, &mut maker, 1).await);
    assert_eq!(history(&mut events).await, 11);
    for number in [11, 25, 41] {
        assert_eq!(stored(&fourth, number).await, published[number as usize - 1]);
    }
    for host in [first, second, third, fourth] {
        host.stop().await;
    }
}

/// Starts an endpoint that has these blocks, by hash.
fn endpoint(blocks: Arc<Mutex<BTreeMap<B256, Vec<u8>>>>) -> FakeRpc {
    FakeRpc::start(move |method, params| {
        if method != "debug_getRawBlock" {
            return Err((-32601, "the method does not exist".into()));
        }
        let hash: Option<B256> = serde_json::from_value(params[0].clone()).ok();
        let blocks = blocks.lock().unwrap();
        match hash.and_then(|hash| blocks.get(&hash)) {
            Some(raw) => Ok(json!(hex::encode_prefixed(raw))),
            None => Err((-32000, "block not found".into())),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_fills_a_gap_that_no_peer_serves() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = config(directory.path(), "sequencer", &[]);
    first.sequencer = Some(signer().into());
    first.sync = None;
    let first = Host::start(first).await.unwrap();
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let known = Arc::new(Mutex::new(BTreeMap::new()));
    let mut maker = BlockMaker::new(&chain(), 16);
    let mut published = Vec::new();
    for at in 0..7 {
        let envelope = maker.next(unix_seconds());
        let mut body = Vec::new();
        let version: PayloadVersion = envelope.encode(&mut body).unwrap();
        let block = Block::decode(version, None, body.into()).unwrap();
        known.lock().unwrap().insert(block.hash(), to_rlp(&block));
        if at < 6 {
            published.push(first.publish(envelope).await.unwrap().unwrap());
        } else {
            // Longer than gossip offers old messages.
            tokio::time::sleep(Duration::from_secs(7)).await;
            let (honest, empty) = (endpoint(Arc::clone(&known)), endpoint(Arc::default()));
            let mut third = config(directory.path(), "third", &[&first]);
            third.endpoints = [&empty, &honest]
                .map(|rpc| HttpConfig::new(&rpc.url(), Duration::from_secs(5)))
                .to_vec();
            let (third, mut events) = Host::start_heard(third).await.unwrap();
            until(&first, |status| status.mesh == 2).await;
            published.push(first.publish(envelope).await.unwrap().unwrap());
            assert_eq!(blocks(&mut events, 7).await, published);
            assert!(honest.methods().len() >= 5);
            third.stop().await;
        }
    }
    first.stop().await;
    second.stop().await;
}
