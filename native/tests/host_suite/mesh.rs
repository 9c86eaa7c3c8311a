//! The mesh of whole nodes: lines, browsers, rubbish and restarts.

use super::browsers::with_door;
use super::support::*;
use super::{anonymous, driving, stranger, topic};
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::gossip::Reason;
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_node::host::{Host, HostConfig, Status};
use opp2p_wire::from_libp2p;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Starts a node that is to be connected to `peers`. It fetches nothing, so all of its blocks come
/// from gossip.
async fn node(directory: &Path, name: &str, peers: &[&Host]) -> Host {
    let config = HostConfig { sync: None, ..config(directory, name, peers) };
    Host::start(config).await.unwrap()
}

/// Starts the sequencer.
async fn source(directory: &Path) -> Host {
    let sequencer = Some(signer().into());
    let config = HostConfig { sequencer, ..config(directory, "sequencer", &[]) };
    Host::start(config).await.unwrap()
}

/// Starts a sequencer and followers in a line behind it, and waits for their meshes.
async fn line(directory: &Path, count: usize) -> Vec<Host> {
    let mut hosts = Vec::new();
    for number in 0..count {
        hosts.push(match hosts.last() {
            None => source(directory).await,
            Some(last) => node(directory, &format!("node-{number}"), &[last]).await,
        });
    }
    for (number, host) in hosts.iter().enumerate() {
        let neighbours = if number == 0 || number == count - 1 { 1 } else { 2 };
        until(host, |status| status.mesh == neighbours).await;
    }
    hosts
}

/// Publishes blocks at the first node. Asserts that all others get them in order and accept each
/// once.
async fn exchange(hosts: &[Host], maker: &mut BlockMaker, count: usize) {
    let (first, others) = hosts.split_first().unwrap();
    let mut heard: Vec<_> = others.iter().map(|host| host.events()).collect();
    let before: Vec<u64> = others.iter().map(|host| host.status().borrow().accepted).collect();
    let mut published = Vec::new();
    for _ in 0..count {
        published.push(first.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    }
    for events in &mut heard {
        assert_eq!(blocks(events, count).await, published);
    }
    for (host, before) in others.iter().zip(before) {
        let accepted = |status: &Status| status.accepted == before + count as u64;
        let status = until(host, accepted).await;
        assert_eq!(status.refused.len(), 0);
    }
}

async fn stop(hosts: impl IntoIterator<Item = Host>) {
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_exchange_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = line(directory.path(), 2).await;
    exchange(&hosts, &mut BlockMaker::new(&chain(), 301), 10).await;
    let [first, second] = &hosts[..] else { panic!("two") };
    assert_eq!(first.status().borrow().subscribers, 1);
    // The heartbeat counts what was sent and received.
    let counted = async {
        while first.meter().rpcs_sent.get() < 10 || second.meter().rpcs.get() < 10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), counted).await.expect("RPCs are counted");
    let id = from_libp2p(&first.peer_id()).unwrap();
    let score = second.peers(|peers, now| peers.scores(now, &id).gossip);
    assert!(score.blocks.first_message_deliveries > 1.0, "{score:?}");
    stop(hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_travel_along_a_line_of_five() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = line(directory.path(), 5).await;
    exchange(&hosts, &mut BlockMaker::new(&chain(), 302), 20).await;
    stop(hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_have_a_mesh_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let door = with_door(directory.path(), "gateway", &[]);
    let sequencer = Some(signer().into());
    let gateway = Host::start(HostConfig { sequencer, ..door }).await.unwrap();
    let mut maker = BlockMaker::new(&chain(), 304);
    let mut hosts = vec![gateway];
    for number in 0..2 {
        let browser = node(directory.path(), &format!("browser-{number}"), &[]).await;
        let address = hosts[0].browser_addresses().remove(0);
        assert_eq!(browser.connect(address).await, Ok(Ok(())));
        hosts.push(browser);
    }
    let both = |status: &Status| (status.browsers, status.browser_mesh) == (2, 2);
    let status = until(&hosts[0], both).await;
    assert_eq!((status.peers, status.subscribers, status.mesh), (0, 0, 0));
    // Browsers suffice for this gateway.
    exchange(&hosts, &mut maker, 5).await;
    hosts.push(node(directory.path(), "node", &[&hosts[0]]).await);
    until(&hosts[0], |status| (status.mesh, status.browser_mesh) == (1, 2)).await;
    until(&hosts[3], |status| status.mesh == 1).await;
    exchange(&hosts, &mut maker, 5).await;
    stop(hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_rubbish_is_banned_and_stays_banned_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = source(directory.path()).await;
    let victim = node(directory.path(), "victim", &[&first]).await;
    until(&victim, |status| status.mesh == 1).await;
    let mut stranger = stranger(&victim, anonymous).await;
    let id = from_libp2p(stranger.local_peer_id()).unwrap();
    for number in 0..5 {
        let rubbish = snappy::compress(&[number; 100]);
        // It may be banned before it has sent all.
        let _ = stranger.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), rubbish);
    }
    let gone = async {
        while !matches!(stranger.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
    };
    timeout(Duration::from_secs(20), gone).await.expect("it is turned out");
    let rubbish = until(&victim, |status| status.refused.contains_key(&Reason::Payload)).await;
    assert_eq!(rubbish.accepted, 0);
    let (score, is_banned) =
        victim.peers(|peers, now| (peers.score(now, &id), peers.gate().ban_of(&id).is_some()));
    assert!(score < -100.0 && is_banned, "{score}");
    assert_eq!(first.status().borrow().refused.len(), 0, "nothing went on");
    victim.stop().await;

    let victim = node(directory.path(), "victim", &[&first]).await;
    assert!(victim.peers(|peers, _| peers.gate().ban_of(&id).is_some()));
    stranger.dial(victim.address()).unwrap();
    let refused = async {
        loop {
            match stranger.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. }
                | SwarmEvent::OutgoingConnectionError { .. } => break,
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(20), refused).await.expect("it is refused");
    for host in [&first, &victim] {
        driving(&mut stranger, until(host, |status| status.mesh == 1)).await;
    }
    let hosts = [first, victim];
    exchange(&hosts, &mut BlockMaker::new(&chain(), 305), 3).await;
    stop(hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_joins_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = source(directory.path()).await;
    let mut maker = BlockMaker::new(&chain(), 306);
    let mut hosts = vec![first];
    for _ in 0..3 {
        let head = hosts[0].status().borrow().head.map_or(0, |head| head.number);
        let second = node(directory.path(), "second", &[&hosts[0]]).await;
        assert_eq!(second.status().borrow().head.map_or(0, |head| head.number), head);
        hosts.push(second);
        for host in &hosts {
            until(host, |status| status.mesh == 1).await;
        }
        exchange(&hosts, &mut maker, 3).await;
        let stored = |status: &Status| status.stored.is_some_and(|at| at.number == head + 3);
        until(&hosts[1], stored).await;
        hosts.pop().unwrap().stop().await;
        until(&hosts[0], |status| status.peers == 0).await;
    }
    stop(hosts).await;
}
