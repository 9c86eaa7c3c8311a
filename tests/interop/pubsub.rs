//! Bare go-libp2p hosts with the pubsub library of the current op-node. Some of them subscribe as
//! Base's nodes do: only to the topic of the last version, since the other versions' forks are long
//! past.

use crate::op_node::{OpNode, OpNodes, Setup, count};
use crate::ours::{self, PATIENCE, chain_of, config, until, until_true, verdict};
use libp2p::PeerId;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sequencer::{Obstacle, PublishError};
use opp2p_node::host::{Host, HostConfig};
use opp2p_wire::from_libp2p;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

/// The version of all blocks here.
const VERSION: PayloadVersion = PayloadVersion::V4;

/// Number of hosts in the full mesh. From eleven peers on, the library treats their common address
/// as that of one attacker.
const HOSTS: usize = 10;

/// Starts a host that only subscribes to the topic of this version, and that also publishes.
async fn host_on(nodes: &OpNodes, chain: &ChainConfig, version: PayloadVersion) -> OpNode {
    let setup = Setup { sequencer: true, topics: Some(vec![version]), ..Setup::default() };
    nodes.node(chain, setup).await
}

async fn sequencer(directory: &TempDir, chain: &ChainConfig) -> Host {
    let sequencer = Some(ours::signer().into());
    Host::start(HostConfig { sequencer, ..config(directory, chain) }).await.unwrap()
}

fn score(host: &Host, peer: &PeerId) -> f64 {
    host.peers(|peers, now| peers.score(now, &from_libp2p(peer).unwrap()))
}

async fn until_meshed(host: &OpNode, chain: &ChainConfig, peer: &PeerId) {
    until_true("in the mesh", PATIENCE, async || host.meshed(chain, VERSION, peer).await).await;
}

pub(crate) async fn a_peer_on_the_last_topic_only_is_a_full_peer() {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain_of(VERSION));
    let ours = sequencer(&directory, &chain).await;
    let theirs = host_on(&OpNodes::start(), &chain, VERSION).await;
    theirs.connect(&ours.address()).await;
    until(&ours, |status| (status.peers, status.subscribers, status.mesh) == (1, 1, 1)).await;
    until_meshed(&theirs, &chain, &ours.peer_id()).await;

    let (mut events, mut taken) = (ours.events(), theirs.taken());
    let mut maker = BlockMaker::new(&chain, 81);
    for _ in 0..3 {
        let hash = ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        let block = taken.next().await;
        assert_eq!((block.hash, block.from), (hash, ours.peer_id().to_string()));
        let hash = theirs.publish(&maker.next(unix_seconds())).await;
        assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
    }
    until(&ours, |status| status.head.is_some_and(|head| head.number == 6)).await;

    // The host is in the mesh of its only topic, and received nothing on another.
    let heard = theirs.heard().await;
    assert_eq!(heard.mesh.len(), 1, "{heard:?}");
    assert_eq!(count(&heard.verdicts, &ours.peer_id(), "delivered"), 3, "{heard:?}");
    assert!(score(&ours, &theirs.id) >= 0.0);
    assert!(theirs.scores(&ours.peer_id()).await.total >= 0.0);
    ours.stop().await;
}

pub(crate) async fn a_peer_on_the_first_topic_only_gets_no_block_of_the_last() {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain_of(VERSION));
    let config = HostConfig {
        sequencer: Some(ours::signer().into()),
        // A block is announced for this long.
        timestamp_threshold: Duration::from_secs(3),
        ..config(&directory, &chain)
    };
    let ours = Host::start(config).await.unwrap();
    let theirs = host_on(&OpNodes::start(), &chain, PayloadVersion::V1).await;
    theirs.connect(&ours.address()).await;
    let first = opp2p_core::gossip::block_topic(chain.chain_id, PayloadVersion::V1);
    let id = ours.peer_id().to_string();
    until_true("in the first topic's mesh", PATIENCE, async || {
        theirs.heard().await.mesh.get(&first).is_some_and(|mesh| mesh.contains(&id))
    })
    .await;
    let status = ours.status().borrow().clone();
    assert_eq!((status.peers, status.subscribers, status.mesh), (1, 0, 0));
    let block = BlockMaker::new(&chain, 82).next(unix_seconds());
    assert_eq!(
        ours.publish(block).await,
        Ok(Err(PublishError::Expired(Obstacle::NoPeers))),
        "no peer is on the topic"
    );
    let heard = theirs.heard().await;
    assert_eq!(count(&heard.received, &ours.peer_id(), "message"), 0, "{heard:?}");
    assert!(score(&ours, &theirs.id) >= 0.0);
    ours.stop().await;
}

pub(crate) async fn no_peer_loses_score_in_a_full_mesh_on_the_last_topic() {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain_of(VERSION));
    let ours = sequencer(&directory, &chain).await;
    let nodes = OpNodes::start();
    let mut hosts = Vec::<OpNode>::new();
    for _ in 0..HOSTS {
        let host = host_on(&nodes, &chain, VERSION).await;
        host.connect(&ours.address()).await;
        // So that a block reaches each host by several paths.
        for earlier in hosts.iter().rev().take(3) {
            host.connect(&earlier.address).await;
        }
        hosts.push(host);
    }
    let status = until(&ours, |status| status.subscribers == HOSTS && status.mesh >= 6).await;
    assert_eq!(status.peers, HOSTS);
    // A block that is published before a host is in any mesh is never announced to that host.
    until_true("each host is in another's mesh", PATIENCE, async || {
        let mut meshed = BTreeSet::new();
        for host in &hosts {
            meshed.extend(host.heard().await.mesh.into_values().flatten());
        }
        hosts.iter().all(|host| meshed.contains(&host.id.to_string()))
    })
    .await;

    let mut taken: Vec<_> = hosts.iter().map(OpNode::taken).collect();
    let mut events = ours.events();
    let mut maker = BlockMaker::new(&chain, 83);
    for round in 0..20 {
        // Large enough that a host which has it announces it.
        let block = ours::padded(maker.next(unix_seconds()), 50_000);
        let author = (round % 2 == 1).then_some(round % HOSTS);
        let hash = match author {
            None => ours.publish(block).await.unwrap().unwrap(),
            Some(author) => hosts[author].publish(&block).await,
        };
        if author.is_some() {
            assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
        }
        for (host, taken) in taken.iter_mut().enumerate() {
            if author != Some(host) {
                assert_eq!(taken.next().await.hash, hash);
            }
        }
    }
    let mut unwanted = [0, 0];
    for host in &hosts {
        let heard = host.heard().await;
        unwanted[0] += count(&heard.received, &ours.peer_id(), "idontwant");
        unwanted[1] += count(&heard.sent, &ours.peer_id(), "idontwant");
        assert!(score(&ours, &host.id) >= 0.0, "{heard:?}");
        let scores = host.scores(&ours.peer_id()).await;
        assert!(
            scores.total >= 0.0 && scores.scores.gossip.behavioral_penalty == 0.0,
            "{scores:?} {heard:?}"
        );
    }
    assert!(unwanted[0] > 0 && unwanted[1] > 0, "IDONTWANT of ours and of theirs: {unwanted:?}");
    ours.stop().await;
}
