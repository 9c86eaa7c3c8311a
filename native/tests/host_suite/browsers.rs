//! The browsers' listener: real nodes, and clients over WebSockets.

use super::support::*;
use super::{
    Stranger, StrangerEvent, anonymous, driving, lone_stranger, stranger, stranger_at, topic,
};
use futures::{SinkExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, Swarm, gossipsub};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::gossip::{MeshParams, Reason};
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::{Door, DoorLimits, PeerId};
use opp2p_node::host::{Host, HostConfig, Status, WsConfig};
use opp2p_node::key::SecretKey;
use opp2p_wire::{FULL, from_libp2p};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

pub(super) fn with_door(directory: &Path, name: &str, peers: &[&Host]) -> HostConfig {
    let ws = WsConfig { suffices: true, ..WsConfig::default() };
    HostConfig { ws: Some(ws), ..config(directory, name, peers) }
}

/// Returns the address that a page would dial.
fn door(host: &Host) -> Multiaddr {
    host.browser_addresses().into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_over_a_websocket_gets_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let gateway = Host::start(config).await.unwrap();
    let address = door(&gateway);
    let way: Vec<_> = address.iter().collect();
    assert!(
        matches!(
            way[..],
            [Protocol::Ip4(_), Protocol::Tcp(1..), Protocol::Ws(_), Protocol::P2p(peer)]
                if peer == gateway.peer_id()
        ),
        "{address}"
    );
    let client = follower(directory.path(), "client", &[]).await;
    assert_eq!(client.connect(address).await, Ok(Ok(())));
    let mut events = client.events();
    until(&gateway, |status| status.browser_mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 31);
    let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    assert_eq!(blocks(&mut events, 1).await, [hash]);
    gateway.stop().await;
    client.stop().await;
}

/// Starts a client that follows gossip alone: it fetches nothing, so all of its blocks were
/// delivered.
async fn client(directory: &Path, name: &str, gateway: Multiaddr) -> Host {
    let client =
        Host::start(HostConfig { sync: None, ..config(directory, name, &[]) }).await.unwrap();
    assert_eq!(client.connect(gateway).await, Ok(Ok(())));
    client
}

async fn clients(directory: &Path, count: usize, gateway: &Host) -> Vec<Host> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(client(directory, &format!("client-{number}"), door(gateway)).await);
    }
    clients
}

/// Returns a small mesh: a peer outside it learns of few messages, and late.
fn strict_mesh() -> MeshParams {
    MeshParams { d: 2, low: 1, high: 2, lazy: 1, flood_publish: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_browser_gets_every_block_without_taking_a_place_in_the_mesh() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let mut config = with_door(directory.path(), "gateway", &[&first]);
    config.mesh = strict_mesh();
    let gateway = Host::start(config).await.unwrap();
    let second = follower(directory.path(), "second", &[&gateway]).await;
    // Both places are taken.
    until(&gateway, |status| status.mesh == 2 && status.peers == 2).await;
    let clients = clients(directory.path(), 12, &gateway).await;
    until(&gateway, |status| (status.browsers, status.browser_mesh) == (12, 12)).await;
    let mut heard: Vec<_> = clients.iter().chain([&second]).map(|host| host.events()).collect();
    let mut maker = BlockMaker::new(&chain(), 32);
    let mut published = Vec::new();
    for _ in 0..20 {
        published.push(first.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    }
    for events in &mut heard {
        assert_eq!(blocks(events, 20).await, published);
    }
    let status = gateway.status().borrow().clone();
    assert_eq!((status.peers, status.subscribers, status.mesh, status.browsers), (2, 2, 2, 12));
    assert_eq!(status.accepted, 20, "each is judged once");
    // The tide wants two peers, and all browsers are in a mesh.
    let (is_browser, missing) = gateway.peers(|peers, _| {
        let is_browser =
            peers.connected_peers().filter(|peer| peers.is_browser(peer) == Some(true)).count();
        (is_browser, peers.missing())
    });
    assert_eq!((is_browser, missing), (12, 18));
    for host in clients.into_iter().chain([first, second, gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_serves_browsers_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    (config.sequencer, config.mesh) = (Some(signer().into()), strict_mesh());
    let gateway = Host::start(config).await.unwrap();
    let clients = clients(directory.path(), 4, &gateway).await;
    until(&gateway, |status| status.browser_mesh == 4).await;
    let mut heard: Vec<_> = clients.iter().map(|host| host.events()).collect();
    let mut maker = BlockMaker::new(&chain(), 33);
    let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    for events in &mut heard {
        assert_eq!(blocks(events, 1).await, [hash]);
    }
    for host in clients.into_iter().chain([gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_a_browser_has_first_reaches_nodes_and_browsers() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.mesh = strict_mesh();
    let gateway = Host::start(config).await.unwrap();
    let node = follower(directory.path(), "node", &[&gateway]).await;
    let clients = clients(directory.path(), 3, &gateway).await;
    until(&gateway, |status| (status.mesh, status.browser_mesh) == (1, 3)).await;
    let mut heard: Vec<_> = clients.iter().chain([&node]).map(|host| host.events()).collect();
    let mut page = stranger_at(door(&gateway), anonymous).await;
    let mut other = stranger(&gateway, anonymous).await;
    let mut maker = BlockMaker::new(&chain(), 34);
    let mut hashes = Vec::new();
    for _ in 0..5 {
        let envelope = maker.next(unix_seconds());
        hashes.push(envelope.payload.block_hash);
        // It comes from both meshes at about the same time.
        let block = snappy::compress(&signed(&envelope));
        for stranger in [&mut page, &mut other] {
            stranger
                .behaviour_mut()
                .gossipsub
                .publish(topic(PayloadVersion::V4), block.clone())
                .unwrap();
        }
        let number = hashes.len() as u64;
        let taken = until(&gateway, |status| status.head.is_some_and(|head| head.number == number));
        driving(&mut page, driving(&mut other, taken)).await;
    }
    for events in &mut heard {
        assert_eq!(blocks(events, 5).await, hashes);
    }
    for host in clients.iter().chain([&node, &gateway]) {
        let status = host.status().borrow().clone();
        assert_eq!((status.accepted, status.refused.len()), (5, 0), "each is judged once");
    }
    for host in clients.into_iter().chain([node, gateway]) {
        host.stop().await;
    }
}

/// A page that was reloaded, or that changed its network, has the same id as its older connection,
/// which may stay half open for long. The newer one has to get all blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_reconnecting_browser_gets_every_block_on_its_newer_connection() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = with_door(directory.path(), "gateway", &[]);
    gateway.sequencer = Some(signer().into());
    let gateway = Host::start(gateway).await.unwrap();
    let mut maker = BlockMaker::new(&chain(), 36);
    let mut older: Option<Host> = None;
    for number in 0..3 {
        let mut config = config(directory.path(), &format!("page-{number}"), &[]);
        // It fetches nothing: each block has to be gossiped.
        (config.sync, config.key) = (None, SecretKey::from_bytes(&[7; 32]).unwrap());
        let page = Host::start(config).await.unwrap();
        let mut events = page.events();
        assert_eq!(page.connect(door(&gateway)).await, Ok(Ok(())));
        if let Some(older) = older.replace(page) {
            until(&older, |status| status.peers == 0).await;
            older.stop().await;
        }
        until(&gateway, |status| (status.browsers, status.browser_mesh) == (1, 1)).await;
        let places = gateway.peers(|peers, _| peers.limits().counts(Door::Browser).inbound);
        assert_eq!(places, 1, "the older connection has no place");
        let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        assert_eq!(blocks(&mut events, 1).await, [hash]);
    }
    for host in older.into_iter().chain([gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_learns_that_the_door_is_full_before_any_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.peers.limits.browser = DoorLimits::browsers(1);
    let gateway = Host::start(config).await.unwrap();
    let address = door(&gateway);
    let page = client(directory.path(), "page", address.clone()).await;
    until(&gateway, |status| status.browsers == 1).await;
    let Some(Protocol::Tcp(port)) = address.iter().nth(1) else { panic!("{address}") };
    let url = format!("ws://127.0.0.1:{port}/");
    for _ in 0..3 {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        // What a dialler says before it has heard anything must not keep it from hearing.
        let proposal = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
        socket.send(Message::binary(proposal)).await.unwrap();
        let said = timeout(Duration::from_secs(20), socket.next()).await.expect("an answer");
        assert_eq!(said.unwrap().unwrap().into_data()[..], *FULL);
        socket.close(None).await.unwrap();
    }
    // Other clients see a failed negotiation.
    let other = follower(directory.path(), "other", &[]).await;
    let refused = other.connect(address.clone()).await.unwrap();
    assert!(refused.is_err(), "{refused:?}");
    let counts = gateway.peers(|peers, _| peers.limits().counts(Door::Browser));
    assert_eq!((counts.inbound, gateway.status().borrow().browsers), (1, 1));
    // When the page leaves, there is room.
    page.stop().await;
    until(&gateway, |status| status.browsers == 0).await;
    assert_eq!(other.connect(address).await, Ok(Ok(())));
    for host in [other, gateway] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forging_browser_is_banned_while_others_of_its_address_stay() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let gateway = Host::start(with_door(directory.path(), "gateway", &[&first])).await.unwrap();
    let clients = clients(directory.path(), 2, &gateway).await;
    until(&gateway, |status| status.browser_mesh == 2).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 35);
    // The signer's first block: until then, the signer may have been configured before a switch.
    first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    for host in &clients {
        until(host, |status| status.accepted == 1).await;
    }
    let block = maker.next(unix_seconds());
    let mut forged = signed(&block);
    forged[100] ^= 1;
    let mut villain = stranger_at(door(&gateway), anonymous).await;
    let id = from_libp2p(villain.local_peer_id()).unwrap();
    let forged = snappy::compress(&forged);
    villain.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), forged).unwrap();
    // A later block shows that the signer has not changed.
    let in_doubt = |status: &Status| status.refused.contains_key(&Reason::SignerInDoubt);
    driving(&mut villain, until(&gateway, in_doubt)).await;
    while unix_seconds() <= block.payload.timestamp {
        driving(&mut villain, tokio::time::sleep(Duration::from_millis(50))).await;
    }
    let block = maker.next(unix_seconds());
    let mut heard: Vec<_> = clients.iter().map(|host| host.events()).collect();
    let hash = first.publish(block).await.unwrap().unwrap();
    let gone = async {
        while !matches!(villain.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
    };
    timeout(Duration::from_secs(20), gone).await.expect("it is turned out");
    let (score, is_banned) =
        gateway.peers(|peers, now| (peers.score(now, &id), peers.gate().ban_of(&id).is_some()));
    assert!(score < -100.0 && is_banned, "{score}");
    for address in [door(&gateway), gateway.address()] {
        villain.dial(address).unwrap();
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
    }
    for events in &mut heard {
        assert_eq!(blocks(events, 1).await, [hash]);
    }
    assert_eq!(gateway.status().borrow().browsers, 2);
    assert!(
        clients.iter().all(|client| client.status().borrow().refused.is_empty()),
        "nothing went on"
    );
    for host in clients.into_iter().chain([first, gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_by_both_ways_stays_in_its_mesh_and_is_what_it_was_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let gateway = Host::start(config).await.unwrap();
    let mut maker = BlockMaker::new(&chain(), 37);
    let (ws, tcp) = (door(&gateway), gateway.address());
    for (first, second) in [(&ws, &tcp), (&tcp, &ws)] {
        for leaves_first in [true, false] {
            let mut peer = lone_stranger(anonymous).await;
            for version in PayloadVersion::ALL {
                peer.behaviour_mut().gossipsub.subscribe(&topic(version)).unwrap();
            }
            let kinds = |status: &Status| (status.peers, status.browsers);
            let expected = if first == &ws { (0, 1) } else { (1, 0) };
            let mut ways = Vec::new();
            for address in [first, second] {
                let way = DialOpts::peer_id(gateway.peer_id())
                    .addresses(vec![address.clone()])
                    .condition(PeerCondition::Always)
                    .build();
                ways.push(way.connection_id());
                peer.dial(way).unwrap();
                let stands = async {
                    while !matches!(
                        peer.select_next_some().await,
                        SwarmEvent::ConnectionEstablished { .. }
                    ) {}
                };
                timeout(Duration::from_secs(20), stands).await.expect("it connects");
                driving(&mut peer, until(&gateway, |status| kinds(status) == expected)).await;
            }
            let id = from_libp2p(peer.local_peer_id()).unwrap();
            let is_browser = first == &ws;
            driving(&mut peer, known(&gateway, &id, 2, is_browser)).await;
            driving(&mut peer, publish_to(&gateway, &mut maker)).await;
            assert!(peer.close_connection(ways[usize::from(!leaves_first)]));
            let closed = async {
                while !matches!(peer.select_next_some().await, SwarmEvent::ConnectionClosed { .. })
                {
                }
            };
            timeout(Duration::from_secs(20), closed).await.expect("it is closed");
            // A message sent before the node notices the end may be lost with the connection.
            driving(&mut peer, known(&gateway, &id, 1, is_browser)).await;
            if leaves_first {
                // The library sends nothing on a connection that never sent until something else
                // happens on it.
                drop(peer);
                until(&gateway, |status| kinds(status) == (0, 0)).await;
                continue;
            }
            let last = maker.next(unix_seconds());
            let (hash, wanted) = (last.payload.block_hash, snappy::compress(&signed(&last)));
            let (published, ()) = tokio::join!(gateway.publish(last), comes(&mut peer, &wanted));
            assert_eq!(published, Ok(Ok(hash)));
            drop(peer);
            until(&gateway, |status| kinds(status) == (0, 0)).await;
        }
    }
    gateway.stop().await;
}

/// Waits until the core knows this number of connections of a peer, and whether it is a browser.
async fn known(gateway: &Host, peer: &PeerId, connections: usize, is_browser: bool) {
    let is_known = || {
        gateway.peers(|peers, _| (peers.limits().of_peer(peer), peers.is_browser(peer)))
            == (connections, Some(is_browser))
    };
    let known = async {
        while !is_known() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), known).await.expect("the core knows it");
}

async fn publish_to(gateway: &Host, maker: &mut BlockMaker) {
    gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
}

/// Waits for this message.
async fn comes(peer: &mut Swarm<Stranger>, wanted: &[u8]) {
    let message = async {
        loop {
            let event = peer.select_next_some().await;
            if let SwarmEvent::Behaviour(StrangerEvent::Gossipsub(gossipsub::Event::Message {
                message,
                ..
            })) = event
                && message.data == wanted
            {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), message).await.expect("the block comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_browser_door_refuses_browsers_and_admits_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.peers.limits.browser.inbound = 2;
    config.peers.connections.high = 1;
    config.peers.connections.low = 1;
    config.peers.connections.grace = Duration::ZERO;
    let gateway = Host::start(config).await.unwrap();
    let inside = clients(directory.path(), 2, &gateway).await;
    let late = Host::start(self::config(directory.path(), "late", &[])).await.unwrap();
    let _ = late.connect(door(&gateway)).await.unwrap();
    until(&late, |status| status.peers == 0).await;
    let node = follower(directory.path(), "node", &[&gateway]).await;
    until(&gateway, |status| status.mesh == 1).await;
    let status = gateway.status().borrow().clone();
    // Three peers, though the connection manager wants one.
    assert_eq!((status.peers, status.browsers), (1, 2));
    for host in inside.into_iter().chain([late, node, gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_fetches_missed_blocks_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let gateway = Host::start(config).await.unwrap();
    let early = client(directory.path(), "early", door(&gateway)).await;
    until(&gateway, |status| status.browser_mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 36);
    let mut hashes = Vec::new();
    for _ in 0..5 {
        hashes.push(gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    }
    until(&gateway, |status| status.stored.is_some_and(|stored| stored.number == 5)).await;
    let late = follower(directory.path(), "late", &[]).await;
    let mut events = late.events();
    assert_eq!(late.connect(door(&gateway)).await, Ok(Ok(())));
    until(&gateway, |status| status.browser_mesh == 2).await;
    hashes.push(gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap());
    assert_eq!(blocks(&mut events, 6).await, hashes);
    until(&gateway, |status| status.served >= 5).await;
    for host in [early, late, gateway] {
        host.stop().await;
    }
}
