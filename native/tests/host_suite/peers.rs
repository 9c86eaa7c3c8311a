//! Who is let in, who is turned out, and what a restart knows of it: real nodes on loopback.

use super::support::*;
use super::{anonymous, driving, stranger, topic};
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{ConnectError, Host, HostConfig, HostEvent, HostEventKind};
use opp2p::key::SecretKey;
use opp2p::swarm::from_libp2p;
use opp2p_core::node::Event;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{BlockEntry, Door, Farewell, ListFull, PeerCommand, PeerEvent, PeerId};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// A node that can be started again as the same one.
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

async fn wait_for(events: &mut broadcast::Receiver<HostEvent>, mut wanted: impl FnMut(&PeerEvent) -> bool) {
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

/// Neither can connect to the other; `says` is in what the refusing one says of it.
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
async fn a_ban_or_block_of_any_kind_holds_in_and_out_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let again = Again::new(directory.path(), "host");
    let other = follower(directory.path(), "other", &[]).await;
    let peer = core(&other);
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let hour = Duration::from_secs(3600);
    for (put, lift, says) in [
        (PeerCommand::BanPeer(peer, hour), PeerCommand::Unblock(BlockEntry::Peer(peer)), "banned until"),
        (
            PeerCommand::Block(BlockEntry::Peer(peer)),
            PeerCommand::Unblock(BlockEntry::Peer(peer)),
            "the peer is blocked",
        ),
        (PeerCommand::BanIp(loopback, hour), PeerCommand::UnbanIp(loopback), "127.0.0.1 is banned until"),
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
        // What stands is closed.
        until(&host, |status| status.peers == 0).await;
        until(&other, |status| status.peers == 0).await;
        refused(&host, &other, says).await;
        // Not a farewell, but an end in the middle.
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
async fn two_that_connect_to_each_other_at_once_are_connected() {
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
async fn a_peer_that_sends_an_invalid_block_is_banned_at_once_and_blocks_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let second = follower(directory.path(), "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut events = second.events();
    let mut villain = stranger(&second, anonymous).await;
    let id = from_libp2p(villain.local_peer_id()).unwrap();
    villain.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), vec![0xff; 9]).unwrap();
    let banned =
        wait_for(&mut events, |event| matches!(event, PeerEvent::Banned { peer, .. } if *peer == id));
    driving(&mut villain, banned).await;
    let gone =
        async { while !matches!(villain.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {} };
    timeout(Duration::from_secs(20), gone).await.expect("it is turned out");
    let (score, bans) = second.peers(|peers, now| (peers.score(now, &id), peers.gate().peer_bans().count()));
    assert!(score < -100.0, "the book says why: {score}");
    assert_eq!(bans, 1);
    // It knocks again, and its connection ends before anything is said.
    villain.dial(second.address()).unwrap();
    let again = async {
        loop {
            match villain.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => break,
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
async fn a_burst_of_connections_is_refused_beyond_the_limits_and_peers_are_served_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let mut config = config(directory.path(), "second", &[&first]);
    config.peers.limits.tcp.half_open = 16;
    config.dial_timeout = Duration::from_secs(3);
    let second = Host::start(config).await.unwrap();
    until(&first, |status| status.mesh == 1).await;
    let address = format!("127.0.0.1:{}", port(&second));
    // A thousand connections that say nothing.
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
    // All of them are closed: most at once, those that were let in when their time is up.
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
async fn more_connections_than_there_are_places_are_refused_and_a_static_peer_gets_in() {
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
async fn the_tide_turns_out_the_surplus() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "popular", &[]);
    config.peers.tide.low = 1;
    config.peers.tide.high = 2;
    config.peers.tide.grace = Duration::from_millis(500);
    // Nobody is in the mesh, so that all are worth the same.
    let (popular, mut events) = Host::start_heard(config).await.unwrap();
    let mut others = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let other = follower(directory.path(), name, &[]).await;
        assert_eq!(other.connect(popular.address()).await, Ok(Ok(())));
        others.push(other);
    }
    wait_for(&mut events, |event| matches!(event, PeerEvent::Dropped { why: Farewell::Surplus, .. })).await;
    until(&popular, |status| status.peers <= 2).await;
    for host in others.into_iter().chain([popular]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_earn_scores_are_remembered_and_dialled_again_after_a_restart() {
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
            if record.0.latency.is_some() && record.1.gossip.blocks.time_in_mesh > 0.0 {
                break record;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (record, scores) = timeout(Duration::from_secs(20), known).await.expect("in time");
    assert!(scores.gossip.blocks.first_message_deliveries > 2.0, "{scores:?}");
    assert!(scores.gossip.total > 0.0, "{scores:?}");
    assert!(record.agent.starts_with("opp2p/"), "{record:?}");
    assert!(record.protocols.iter().any(|protocol| protocol.contains("payload_by_number")), "{record:?}");
    assert!(record.addresses.iter().any(|known| known.address.contains("/tcp/")), "{record:?}");
    second.stop().await;
    until(&first, |status| status.peers == 0).await;

    // Nobody told it of any peer this time.
    let second = again.start().await;
    until(&second, |status| status.peers == 1).await;
    let scores = second.peers(|peers, _| peers.book().get(&peer).cloned().unwrap_or_default().scores);
    assert!(scores.gossip.total > 0.0, "{scores:?}");
    first.stop().await;
    second.stop().await;
}
