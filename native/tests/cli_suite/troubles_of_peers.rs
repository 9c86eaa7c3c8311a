//! Troubles that come from a node's peers and from what it keeps of them, and those that take a
//! minute to show.

use crate::chain::{Blocks, rollup_json, signer};
use crate::support::Place;
use crate::troubles::{Node, PATIENCE, arguments, follower, node, sequencer, until};
use opp2p_core::chain::Fork;
use opp2p_core::trouble::TroubleKind;
use std::fs::rename;
use std::thread::{scope, sleep};
use std::time::Duration;

fn is_connected(node: &Node) {
    node.daemon.wait_for(0, PATIENCE, |line| line.contains("\"msg\":\"connected\""));
}

/// Their times are long, so they wait side by side.
#[test]
fn peers_of_another_chain_and_refused_blocks_are_reported_until_they_end() {
    scope(|scope| {
        scope.spawn(peers_of_another_chain_are_reported);
        scope.spawn(refused_blocks_are_reported);
    });
}

fn peers_of_another_chain_are_reported() {
    let place = Place::new();
    let (address, other) = (signer().to_string(), rollup_json(200, Some(Fork::Jovian)));
    let other = arguments(&place, "other", &other, &["--signer", &address]);
    let other = Node::start(place.opp2p(&other));
    let second = follower(&place, "second", &[&other], &[]);
    let text = second.told(&place, TroubleKind::NoMesh);
    assert!(text.starts_with("1 peer is connected, but none is in the mesh"), "{text}");
    let third = follower(&place, "third", &[&second], &[]);
    second.over(TroubleKind::NoMesh);
    for node in [other, second, third] {
        node.daemon.end("TERM");
    }
}

fn refused_blocks_are_reported() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    let strict = ["--p2p.gossip.timestamp.threshold", "10s"];
    let second = follower(&place, "second", &[&first], &strict);
    is_connected(&first);
    // It shows that the second's clock is right.
    let mut blocks = Blocks::new();
    let one = blocks.next(10);
    first.publish(&one);
    second.has(&one);
    (0..30).for_each(|_| first.publish(&blocks.aged(20)));
    until("the trouble", || {
        first.publish(&blocks.aged(20));
        sleep(Duration::from_secs(1));
        second.trouble(TroubleKind::Refused).map(drop)
    });
    let text = second.told(&place, TroubleKind::Refused);
    assert!(text.contains("older than this node is configured to accept"), "{text}");
    (0..60).for_each(|_| first.publish(&blocks.next(10)));
    second.over(TroubleKind::Refused);
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_rewound_sequencer_is_reported_until_the_node_follows_it() {
    let place = Place::new();
    let mut first = sequencer(&place, "first", &[]);
    let second = follower(&place, "second", &[&first], &[]);
    is_connected(&first);
    let (mut old, mut new) = (Blocks::new(), Blocks::new());
    let shown: Vec<_> = (0..5).map(|_| old.next(10)).collect();
    shown.iter().for_each(|block| first.publish(block));
    second.has(&shown[4]);
    // One block below the head proves nothing yet.
    first.publish(&new.next(20));
    let text = second.told(&place, TroubleKind::OffBranch);
    assert!(text.contains("the head is 5 ("), "{text}");
    let more: Vec<_> = (0..6).map(|_| new.next(20)).collect();
    more.iter().for_each(|block| first.publish(block));
    second.over(TroubleKind::OffBranch);
    second.has(&more[5]);
    for node in [first, second] {
        node.daemon.end("TERM");
    }
}

#[test]
fn a_removed_peer_store_is_reported_until_it_returns() {
    let place = Place::new();
    let (store, aside) = (place.name_in("node", "peers"), place.name_in("node", "aside"));
    let node = node(&place, "node", &["--p2p.peerstore.path", &store]);
    rename(&store, &aside).unwrap();
    let text = node.told(&place, TroubleKind::PeerStore);
    assert!(text.contains("was removed") && text.contains(&store), "{text}");
    // It is as old as the look, although the node reports it only once.
    sleep(Duration::from_secs(2));
    let trouble = node.trouble(TroubleKind::PeerStore).unwrap();
    let [since, last] = ["since", "last"].map(|name| trouble[name].as_u64().unwrap());
    assert!(last >= since + 2, "{trouble}");
    rename(&aside, &store).unwrap();
    node.over(TroubleKind::PeerStore);
    node.daemon.end("TERM");
}
