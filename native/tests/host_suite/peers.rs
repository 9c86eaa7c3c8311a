//! Admission and removal of peers, and their memory across a restart: real nodes on loopback.

use super::support::*;
use super::{anonymous, driving, stranger, topic};
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::node::Event;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{
    BlockEntry, DisconnectReason, Door, ListFull, PeerCommand, PeerEvent, PeerId,
};
use opp2p_node::host::{ConnectError, Host, HostConfig, HostEvent, HostEventKind, Peerstore};
use opp2p_node::key::SecretKey;
use opp2p_store::{Store, StoreConfig};
use opp2p_wire::from_libp2p;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// A node that can be restarted with the same identity.
struct Again {
    key: [u8; 32],
    config: Box<dyn Fn() -> HostConfig>,
}

impl Again {
    fn new(directory: &Path, name: &'static str) -> Self {
        let directory = directory.to_owned();
        let config = move || config(&directory, name, &[]);
        let key = *SecretKey::generate().unwrap().secret_bytes();
        Self { key, config: Box::new(config) }
    }

    async fn start(&self) -> Host {
        let mut config = (self.config)();
        config.key = SecretKey::from_bytes(&self.key).unwrap();
        Host::start(config).await.unwrap()
    }
}

fn core(host: &Host) -> PeerId {
    from_libp2p(&host.peer_id()).unwrap()
}

async fn order(host: &Host, command: PeerCommand) {
    assert_eq!(host.command(command).await, Ok(Ok::<(), ListFull>(())));
}

async fn wait_for(
    events: &mut broadcast::Receiver<HostEvent>,
    mut wanted: impl FnMut(&PeerEvent) -> bool,
) {
    let found = async {
        loop {
            let event = events.recv().await.unwrap();
            if let HostEventKind::Core(Event::Peers(event)) = &event.kind
                && wanted(event)
            {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("in time");
}

/// Asserts that neither can connect to the other; the refusing node's error contains `says`.
async fn refused(host: &Host, other: &Host, says: &str) {
    let out = host.connect(other.address()).await.unwrap();
    let Err(ConnectError::Failed(why)) = out else { panic!("it could connect: {out:?}") };
    assert!(why.contains(says), "{why:?} does not say {says:?}");
    // A refusal after the handshake ends a connection that the other side has seen.
    let _ = other.connect(host.address()).await.unwrap();
    until(other, |status| status.peers == 0).await;
    assert_eq!(host.status().borrow().peers, 0);
}

async fn connected(host: &Host, other: &Host) {
    assert_eq!(other.connect(host.address()).await, Ok(Ok(())));
    until(host, |status| status.peers == 1).await;
    until(other, |status| status.peers == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_and_blocks_hold_in_both_directions_and_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let again = Again::new(directory.path(), "host");
    let other = follower(directory.path(), "other", &[]).await;
    let peer = core(&other);
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let hour = Duration::from_secs(3600);
    for (put, lift, says) in [
        (
            PeerCommand::BanPeer(peer, hour),
            PeerCommand::Unblock(BlockEntry::Peer(peer)),
            "banned until",
        ),
        (
            PeerCommand::Block(BlockEntry::Peer(peer)),
            PeerCommand::Unblock(BlockEntry::Peer(peer)),
            "the peer is blocked",
        ),
        (
            PeerCommand::BanIp(loopback, hour),
            PeerCommand::UnbanIp(loopback),
            "127.0.0.1 is banned until",
        ),
        (
            PeerCommand::Block(BlockEntry::Ip(loopback)),
            PeerCommand::Unblock(BlockEntry::Ip(loopback)),
            "127.0.0.1 is blocked",
        ),
        (
            PeerCommand::Block(BlockEntry::Subnet("127.0.0.0/8".parse().unwrap())),
            PeerCommand::Unblock(BlockEntry::Subnet("127.0.0.0/8".parse().unwrap())),
            "127.0.0.0/8 is blocked",
        ),
    ] {
        let host = again.start().await;
        connected(&host, &other).await;
        order(&host, put).await;
        // Open connections are closed.
        until(&host, |status| status.peers == 0).await;
        until(&other, |status| status.peers == 0).await;
        refused(&host, &other, says).await;
        // An abrupt end without a farewell.
        host.kill().await.unwrap();
        let host = again.start().await;
        refused(&host, &other, says).await;
        order(&host, lift).await;
        connected(&host, &other).await;
        host.stop().await;
        until(&other, |status| status.peers == 0).await;
    }
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_connects_leave_the_peers_connected() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let [first, second] = ["first", "second"].map(|name| format!("{name}-{round}"));
        let first = follower(directory.path(), &first, &[]).await;
        let second = follower(directory.path(), &second, &[]).await;
        let both = tokio::join!(first.connect(second.address()), second.connect(first.address()));
        assert_eq!(both, (Ok(Ok(())), Ok(Ok(()))));
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_an_invalid_block_is_banned_and_blocks_still_flow() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut events = second.events();
    let mut villain = stranger(&second, anonymous).await;
    let id = from_libp2p(villain.local_peer_id()).unwrap();
    villain.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), vec![0xff; 9]).unwrap();
    let banned = wait_for(
        &mut events,
        |event| matches!(event, PeerEvent::Banned { peer, .. } if *peer == id),
    );
    driving(&mut villain, banned).await;
    // Its end may have been read while the ban was awaited.
    let gone = async {
        while villain.connected_peers().next().is_some() {
            villain.select_next_some().await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("it is turned out");
    let (score, bans) =
        second.peers(|peers, now| (peers.score(now, &id), peers.gate().peer_bans().count()));
    assert!(score < -100.0, "the book says why: {score}");
    assert_eq!(bans, 1);
    // It knocks again, and its connection ends before any message.
    villain.dial(second.address()).unwrap();
    let again = async {
        loop {
            match villain.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. }
                | SwarmEvent::OutgoingConnectionError { .. } => break,
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(20), again).await.expect("it is refused");
    let mut maker = BlockMaker::new(&chain(), 21);
    first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&second, |status| status.accepted == 1).await;
    assert_eq!(second.peers(|peers, _| peers.connected_peers().len()), 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_connections_is_limited_and_peers_are_served_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let mut config = config(directory.path(), "second", &[&first]);
    config.peers.limits.tcp.half_open = 16;
    config.dial_timeout = Duration::from_secs(3);
    let second = Host::start(config).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    let address = format!("127.0.0.1:{}", port(&second));
    // A thousand silent connections.
    let mut attempts = Vec::new();
    for _ in 0..1000 {
        attempts.push(tokio::spawn(TcpStream::connect(address.clone())));
    }
    let mut streams = Vec::new();
    let mut most = 0;
    for attempt in attempts {
        streams.extend(attempt.await.unwrap());
        most = most.max(second.peers(|peers, _| peers.limits().counts(Door::Tcp).half_open));
    }
    assert!(most <= 16, "{most} are half open");
    let mut maker = BlockMaker::new(&chain(), 22);
    for number in 1..=5 {
        first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        until(&second, |status| status.accepted == number).await;
    }
    // All of them are closed: most at once, the admitted ones when their time is up.
    let closed = async {
        for stream in &mut streams {
            let mut byte = [0; 64];
            while matches!(stream.read(&mut byte).await, Ok(1..)) {}
        }
    };
    timeout(Duration::from_secs(20), closed).await.expect("nobody is kept");
    until_peers(&second, |half_open| half_open == 0).await;
    let counts = second.peers(|peers, _| peers.counts());
    assert!(counts.accepts_allowed >= 16, "{counts:?}");
    assert_eq!(second.status().borrow().peers, 1);
    first.stop().await;
    second.stop().await;
}

async fn until_peers(host: &Host, wanted: impl Fn(usize) -> bool) {
    let reached = async {
        while !wanted(host.peers(|peers, _| peers.limits().counts(Door::Tcp).half_open)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.expect("in time");
}

fn port(host: &Host) -> u16 {
    let tcp = host.address().iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    tcp.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused_except_a_static_peer() {
    let directory = tempfile::tempdir().unwrap();
    let friend = Again::new(directory.path(), "friend");
    let friend_host = friend.start().await;
    let mut config = config(directory.path(), "full", &[&friend_host]);
    config.peers.limits.tcp.inbound = 2;
    friend_host.stop().await;
    let full = Host::start(config).await.unwrap();
    let mut others = Vec::new();
    for name in ["a", "b"] {
        let other = follower(directory.path(), name, &[]).await;
        assert_eq!(other.connect(full.address()).await, Ok(Ok(())));
        others.push(other);
    }
    until(&full, |status| status.peers == 2).await;
    let late = follower(directory.path(), "c", &[]).await;
    let _ = late.connect(full.address()).await.unwrap();
    until(&late, |status| status.peers == 0).await;
    assert_eq!(full.status().borrow().peers, 2);
    let friend_host = friend.start().await;
    assert_eq!(friend_host.connect(full.address()).await, Ok(Ok(())));
    until(&full, |status| status.peers == 3).await;
    for host in others.into_iter().chain([late, friend_host, full]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn surplus_peers_are_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "popular", &[]);
    config.peers.connections.low = 1;
    config.peers.connections.high = 2;
    config.peers.connections.grace = Duration::from_millis(500);
    // No peer is in the mesh, so all have the same value.
    let (popular, mut events) = Host::start_heard(config).await.unwrap();
    let mut others = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let other = follower(directory.path(), name, &[]).await;
        assert_eq!(other.connect(popular.address()).await, Ok(Ok(())));
        others.push(other);
    }
    wait_for(&mut events, |event| {
        matches!(event, PeerEvent::Dropped { why: DisconnectReason::Surplus, .. })
    })
    .await;
    until(&popular, |status| status.peers <= 2).await;
    for host in others.into_iter().chain([popular]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_earn_scores_and_are_remembered_and_redialled_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let again = Again::new(directory.path(), "second");
    let second = again.start().await;
    assert_eq!(second.connect(first.address()).await, Ok(Ok(())));
    until(&first, |status| status.mesh == 1).await;
    until(&second, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 23);
    for number in 1..=3 {
        first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        until(&second, |status| status.accepted == number).await;
    }
    let peer = core(&first);
    let known = async {
        loop {
            let record = second.peers(|peers, now| {
                let record = peers.book().get(&peer).cloned().unwrap_or_default();
                (record, peers.scores(now, &peer))
            });
            let blocks = record.1.gossip.blocks;
            let is_scored = blocks.time_in_mesh > 0.0 && blocks.first_message_deliveries > 2.0;
            if record.0.latency.is_some() && is_scored {
                break record;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (record, scores) = timeout(Duration::from_secs(20), known).await.expect("in time");
    assert!(scores.gossip.total > 0.0, "{scores:?}");
    assert!(record.agent.starts_with("opp2p/"), "{record:?}");
    assert!(
        record.protocols.iter().any(|protocol| protocol.contains("payload_by_number")),
        "{record:?}"
    );
    assert!(record.addresses.iter().any(|known| known.address.contains("/tcp/")), "{record:?}");
    second.stop().await;
    until(&first, |status| status.peers == 0).await;

    // It was not given any peer address this time.
    let second = again.start().await;
    until(&second, |status| status.peers == 1).await;
    let scores =
        second.peers(|peers, _| peers.book().get(&peer).cloned().unwrap_or_default().scores);
    assert!(scores.gossip.total > 0.0, "{scores:?}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_kept_in_the_block_store_of_another_node_cost_it_no_block() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = config(directory.path(), "old", &[]);
    old.sequencer = Some(signer().into());
    let (path, node) = (old.store.clone(), Host::start(old).await.unwrap());
    let follower = follower(directory.path(), "follower", &[&node]).await;
    until(&node, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 51);
    for _ in 0..5 {
        node.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    }
    until(&node, |status| status.stored.is_some_and(|stored| stored.number == 5)).await;
    node.stop().await;
    follower.stop().await;
    let mut new = config(directory.path(), "new", &[]);
    new.peerstore = Peerstore::File(path.clone());
    let node = Host::start(new).await.unwrap();
    order(&node, PeerCommand::Block(BlockEntry::Ip(IpAddr::from([192, 0, 2, 7])))).await;
    node.stop().await;
    let (chain_id, genesis) = (CHAIN_ID, chain().genesis.hash);
    let store = Store::open(StoreConfig::for_memory(path, chain_id, genesis)).unwrap();
    assert_eq!(store.len().unwrap(), 5);
    assert!(!store.memory().unwrap().is_empty());
}
