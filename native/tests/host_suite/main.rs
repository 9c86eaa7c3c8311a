//! Real nodes on loopback TCP, and their handling of strangers.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod browser_addresses;
mod browsers;
mod connect;
mod engine;
mod engine_answers;
mod engine_labels;
mod fake_rpc;
mod fake_ws;
#[path = "../kit/mod.rs"]
mod kit;
mod mesh;
mod payloads;
mod peers;
mod publish;
mod ranges;
mod shims;
mod signer;
mod support;
mod sync;
mod ws_client;

use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{HEARTBEAT, Reason, block_topic};
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::Scoring;
use opp2p_core::sequencer::{Obstacle, PublishError};
use opp2p_node::host::{Host, Status};
use opp2p_node::key::SecretKey;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::*;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_node_has_all_its_heartbeats() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(config(directory.path(), "quiet", &[])).await.unwrap();
    let beats = || host.core(|node, _| node.router().expect("the node has a router").heartbeats());
    let (before, start) = (beats(), Instant::now());
    tokio::time::sleep(HEARTBEAT * 12).await;
    let due = (start.elapsed().as_millis() / HEARTBEAT.as_millis()) as u64;
    let counted = beats() - before;
    assert!(counted + 3 >= due && counted <= due + 1, "{counted} heartbeats where {due} were due");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_relayed_along_a_line_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    let third = follower(directory.path(), "third", &[&second]).await;
    until(&second, |status| status.mesh == 2).await;
    until(&first, |status| status.mesh == 1).await;
    let mut events = third.events();

    let mut maker = BlockMaker::new(&chain(), 1);
    let mut published = Vec::new();
    for _ in 0..20 {
        published.push(first.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    }
    assert_eq!(blocks(&mut events, 20).await, published);
    // The third has no connection to the first.
    assert_eq!(third.status().borrow().peers, 1);
    until(&third, |status| status.accepted == 20).await;

    let last =
        until(&third, |status| status.stored.is_some_and(|stored| stored.number == 20)).await;
    assert_eq!(last.stored.map(|stored| stored.hash), published.last().copied());
    for host in [first, second, third] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_resumes_at_its_stored_head() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 2);
    for _ in 0..5 {
        first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    }
    until(&second, |status| status.stored.is_some_and(|stored| stored.number == 5)).await;
    second.stop().await;
    until(&first, |status| status.peers == 0).await;

    let second = follower(directory.path(), "second", &[&first]).await;
    assert_eq!(second.status().borrow().head.map(|head| head.number), Some(5));
    let mut events = second.events();
    until(&first, |status| status.mesh == 1).await;
    let sixth = first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    assert_eq!(blocks(&mut events, 1).await, [sixth], "exactly the next block, none again");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_waits_for_the_first_peer() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let envelope = BlockMaker::new(&chain(), 3).next(unix_seconds());
    let hash = envelope.payload.block_hash;
    let joining = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let second = follower(directory.path(), "second", &[&first]).await;
        let mut events = second.events();
        (blocks(&mut events, 1).await, second)
    };
    let (published, (received, second)) = tokio::join!(first.publish(envelope), joining);
    assert_eq!(published, Ok(Ok(hash)));
    assert_eq!(received, [hash]);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_signer_publishes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let host = follower(directory.path(), "follower", &[]).await;
    let envelope = BlockMaker::new(&chain(), 4).next(unix_seconds());
    assert_eq!(host.publish(envelope).await, Ok(Err(PublishError::NoSigner)));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_no_peer_takes_expires() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "alone", &[]);
    config.sequencer = Some(signer().into());
    config.timestamp_threshold = Duration::from_secs(3);
    let host = Host::start(config).await.unwrap();
    let envelope = BlockMaker::new(&chain(), 5).next(unix_seconds());
    assert_eq!(host.publish(envelope).await, Ok(Err(PublishError::Expired(Obstacle::NoPeers))));
    host.stop().await;
}

/// A peer that speaks gossipsub and keeps no rule.
#[derive(NetworkBehaviour)]
struct Stranger {
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

/// Returns a stranger that is connected to `host` and knows that it is subscribed to the last
/// topic.
async fn stranger(host: &Host, author: fn(&Keypair) -> MessageAuthenticity) -> Swarm<Stranger> {
    stranger_at(host.address(), author).await
}

/// Like [`stranger`], at this address.
async fn stranger_at(
    address: Multiaddr,
    author: fn(&Keypair) -> MessageAuthenticity,
) -> Swarm<Stranger> {
    let mut swarm = lone_stranger(author).await;
    swarm.dial(address).unwrap();
    let last = topic(PayloadVersion::V4).hash();
    let subscribed = async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(StrangerEvent::Gossipsub(gossipsub::Event::Subscribed {
                topic,
                ..
            })) = event
                && topic == last
            {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), subscribed).await.expect("the node subscribes");
    swarm
}

/// Returns a stranger without connections.
async fn lone_stranger(author: fn(&Keypair) -> MessageAuthenticity) -> Swarm<Stranger> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_websocket(noise::Config::new, yamux::Config::default)
        .await
        .unwrap()
        .with_behaviour(|keypair| {
            let mut config = gossipsub::ConfigBuilder::default();
            // The library refuses to publish with an author what it would not accept without one.
            let config = match author(keypair) {
                MessageAuthenticity::Anonymous => config.validation_mode(ValidationMode::Anonymous),
                _ => config.validation_mode(ValidationMode::Strict),
            };
            let config = config
                .max_transmit_size(20 << 20)
                .message_id_fn(|message| MessageId::new(&message.data))
                .build()?;
            Ok(Stranger {
                gossipsub: gossipsub::Behaviour::new(author(keypair), config)?,
                identify: identify::Behaviour::new(identify::Config::new(
                    "x".into(),
                    keypair.public(),
                )),
            })
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

fn anonymous(_: &Keypair) -> MessageAuthenticity {
    MessageAuthenticity::Anonymous
}

fn topic(version: PayloadVersion) -> IdentTopic {
    IdentTopic::new(block_topic(CHAIN_ID, version))
}

/// Drives the stranger while waiting for a future.
async fn driving<T>(swarm: &mut Swarm<Stranger>, future: impl Future<Output = T>) -> T {
    tokio::pin!(future);
    loop {
        tokio::select! {
            result = &mut future => return result,
            _ = swarm.select_next_some() => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_any_shape_is_rejected_and_the_node_continues() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    // One of them would suffice for a ban; here all must be judged.
    let mut lenient = config(directory.path(), "second", &[&first]);
    lenient.peers.scoring = Scoring::None;
    let second = Host::start(lenient).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    let mut stranger = stranger(&second, anonymous).await;

    let mut maker = BlockMaker::new(&chain(), 6);
    let good = signed(&maker.next(unix_seconds()));
    let mut forged = good.clone();
    forged[100] ^= 1;
    let unsigned = [&[0; 65], &good[65..]].concat();
    let garbage = [
        (vec![0xff; 5], Reason::SnappyHeader),
        (vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], Reason::AnnouncedTooLong),
        (snappy::compress(&vec![0x5a; (10 << 20) + 1]), Reason::AnnouncedTooLong),
        (snappy::compress(&[1; 65]), Reason::AnnouncedTooShort),
        (vec![200, 1, 0xff, 0xff], Reason::SnappyBody),
        (snappy::compress(&[0; 66]), Reason::Payload),
        (snappy::compress(&vec![0; 10 << 20]), Reason::Payload),
        (snappy::compress(&unsigned), Reason::Signature),
        (snappy::compress(&forged), Reason::SignerInDoubt),
    ];
    let mut wanted = BTreeMap::new();
    for (data, reason) in garbage {
        stranger.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), data).unwrap();
        *wanted.entry(reason).or_default() += 1;
    }
    // The right block on the wrong topic.
    stranger
        .behaviour_mut()
        .gossipsub
        .publish(topic(PayloadVersion::V3), snappy::compress(&good))
        .unwrap();
    *wanted.entry(Reason::Payload).or_default() += 1;
    // It is charged to the sender, but needs no verdict.
    wanted.remove(&Reason::AnnouncedTooLong);
    driving(&mut stranger, until(&second, |status| status.refused == wanted)).await;

    // Nothing of it reached the next node, and blocks still do, from any sender.
    assert_eq!(first.status().borrow().refused.len(), 0);
    let next = signed(&maker.next(unix_seconds()));
    stranger
        .behaviour_mut()
        .gossipsub
        .publish(topic(PayloadVersion::V4), snappy::compress(&next))
        .unwrap();
    driving(&mut stranger, until(&first, |status| status.accepted == 1)).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_the_highest_block_above_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let host = follower(directory.path(), "host", &[]).await;
    let mut stranger = stranger(&host, anonymous).await;
    let mut maker = BlockMaker::new(&chain(), 7);
    for number in 1..=5 {
        let block = snappy::compress(&signed(&maker.next(unix_seconds())));
        if number != 2 {
            stranger.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), block).unwrap();
        }
    }
    let number = |block: Option<BlockId>| block.map(|block| block.number);
    let all = |status: &Status| number(status.highest) == Some(5) && status.accepted == 4;
    let status = driving(&mut stranger, until(&host, all)).await;
    assert_eq!(number(status.head), Some(1));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_an_author_is_never_judged() {
    let directory = tempfile::tempdir().unwrap();
    let host = follower(directory.path(), "host", &[]).await;
    let mut author = stranger(&host, |keypair| MessageAuthenticity::Signed(keypair.clone())).await;
    let mut nobody = stranger(&host, anonymous).await;
    let [with_author, without] = [7, 8]
        .map(|seed| signed(&BlockMaker::new(&chain(), seed).next(unix_seconds())))
        .map(|message| snappy::compress(&message));
    author.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), with_author).unwrap();
    driving(&mut author, tokio::time::sleep(Duration::from_millis(500))).await;
    nobody.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), without).unwrap();
    let at_first = |status: &Status| status.head.is_some_and(|head| head.number == 1);
    let status = driving(&mut nobody, until(&host, at_first)).await;
    assert_eq!((status.accepted, status.refused.len()), (1, 0));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_identifies_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "host", &[]);
    assert_eq!(config.agent, concat!("opp2p/", env!("CARGO_PKG_VERSION")));
    config.agent = "somebody".into();
    let host = Host::start(config).await.unwrap();
    // The stranger's own wait swallows identify's event, so this one waits for nothing else.
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keypair| {
            identify::Behaviour::new(identify::Config::new("x".into(), keypair.public()))
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.dial(host.address()).unwrap();
    let info = async {
        loop {
            match swarm.select_next_some().await {
                // The library may identify itself before gossip has named its protocols, and its
                // push may come before the stranger listens to any: then another connection is
                // tried.
                SwarmEvent::Behaviour(identify::Event::Received { info, .. }) => {
                    if info
                        .protocols
                        .iter()
                        .any(|protocol| protocol.as_ref().starts_with("/meshsub/"))
                    {
                        break info;
                    }
                    swarm.disconnect_peer_id(host.peer_id()).unwrap();
                }
                SwarmEvent::ConnectionClosed { .. } => swarm.dial(host.address()).unwrap(),
                _ => {}
            }
        }
    };
    let info = timeout(Duration::from_secs(20), info).await.expect("identifies itself");
    assert_eq!(info.agent_version, "somebody");
    assert_eq!(info.protocol_version, "");
    let protocols: Vec<_> = info.protocols.iter().map(ToString::to_string).collect();
    for expected in ["/meshsub/1.2.0", "/meshsub/1.1.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"] {
        assert!(
            protocols.iter().any(|protocol| protocol == expected),
            "{expected} in {protocols:?}"
        );
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_static_peer_is_connected_again() {
    let directory = tempfile::tempdir().unwrap();
    let key = SecretKey::generate().unwrap();
    let start = |port| {
        let mut config = config(directory.path(), "first", &[]);
        config.key = key.clone();
        config.listen_tcp = port;
        Host::start(config)
    };
    let first = start(0).await.unwrap();
    let port = first.address().iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&second, |status| status.peers == 1).await;
    first.stop().await;
    until(&second, |status| status.peers == 0).await;
    let first = start(port.unwrap()).await.unwrap();
    until(&second, |status| status.peers == 1).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_through_the_sockets_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = sequencer(directory.path()).await;
    assert_eq!(sequencer.bandwidth(), (0, 0));
    let follower = follower(directory.path(), "follower", &[&sequencer]).await;
    until(&sequencer, |status| status.subscribers == 1).await;
    let ((ins, outs), (follower_in, follower_out)) = (sequencer.bandwidth(), follower.bandwidth());
    assert!(ins > 0 && outs > 0 && follower_in > 0 && follower_out > 0);
    sequencer.stop().await;
    follower.stop().await;
}
