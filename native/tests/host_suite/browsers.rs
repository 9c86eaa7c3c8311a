//! The browsers' door: real nodes, and clients over WebSockets.

use super::support::*;
use super::{Stranger, StrangerEvent, anonymous, driving, lone_stranger, stranger, stranger_at, topic};
use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::websocket::{self, tls};
use libp2p::{Multiaddr, Swarm, Transport, gossipsub, identify, noise, tcp, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{ConnectError, Host, HostConfig, HostError, Status, WsConfig, WsTls};
use opp2p::swarm::from_libp2p;
use opp2p_core::gossip::MeshParams;
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::PeerId;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

fn with_door(directory: &Path, name: &str, peers: &[&Host]) -> HostConfig {
    HostConfig { ws: Some(WsConfig::default()), ..config(directory, name, peers) }
}

/// Where a page would dial.
fn door(host: &Host) -> Multiaddr {
    host.browser_addresses().into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_over_a_websocket_gets_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let gateway = Host::start(config).await.unwrap();
    let address = door(&gateway);
    let way: Vec<_> = address.iter().collect();
    assert!(
        matches!(way[..], [Protocol::Ip4(_), Protocol::Tcp(1..), Protocol::Ws(_), Protocol::P2p(peer)]
            if peer == gateway.peer_id()),
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

/// Follows gossip alone: it fetches nothing, so that what it has came to it.
async fn client(directory: &Path, name: &str, gateway: Multiaddr) -> Host {
    let client = Host::start(HostConfig { sync: None, ..config(directory, name, &[]) }).await.unwrap();
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

/// Small, and never gossips lazily: a peer outside the mesh gets nothing.
fn strict_mesh() -> MeshParams {
    MeshParams { d: 2, low: 1, high: 2, lazy: 0, flood_publish: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_browser_gets_every_block_however_full_the_mesh_is_and_takes_no_place_in_it() {
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
    // The tide is of two peers, and all browsers are in a mesh.
    let (is_browser, missing) = gateway.peers(|peers, _| {
        let is_browser = peers.connected_peers().filter(|peer| peers.is_browser(peer) == Some(true)).count();
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
        // It comes on both meshes at about the same time.
        let block = snappy::compress(&signed(&envelope));
        for stranger in [&mut page, &mut other] {
            stranger.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), block.clone()).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_forges_is_banned_and_stays_out_while_others_from_there_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let first = sequencer(directory.path()).await;
    let gateway = Host::start(with_door(directory.path(), "gateway", &[&first])).await.unwrap();
    let clients = clients(directory.path(), 2, &gateway).await;
    until(&gateway, |status| status.browser_mesh == 2).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 35);
    let block = maker.next(unix_seconds());
    let mut forged = signed(&block);
    forged[100] ^= 1;
    let mut villain = stranger_at(door(&gateway), anonymous).await;
    let id = from_libp2p(villain.local_peer_id()).unwrap();
    let forged = snappy::compress(&forged);
    villain.behaviour_mut().gossipsub.publish(topic(PayloadVersion::V4), forged).unwrap();
    let gone =
        async { while !matches!(villain.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {} };
    timeout(Duration::from_secs(20), gone).await.expect("it is turned out");
    let (score, is_banned) =
        gateway.peers(|peers, now| (peers.score(now, &id), peers.gate().ban_of(&id).is_some()));
    assert!(score < -100.0 && is_banned, "{score}");
    for address in [door(&gateway), gateway.address()] {
        villain.dial(address).unwrap();
        let again = async {
            loop {
                match villain.select_next_some().await {
                    SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => break,
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(20), again).await.expect("it is refused");
    }
    let mut heard: Vec<_> = clients.iter().map(|host| host.events()).collect();
    let hash = first.publish(block).await.unwrap().unwrap();
    for events in &mut heard {
        assert_eq!(blocks(events, 1).await, [hash]);
    }
    assert_eq!(gateway.status().borrow().browsers, 2);
    assert!(clients.iter().all(|client| client.status().borrow().refused.is_empty()), "nothing went on");
    for host in clients.into_iter().chain([first, gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_by_both_ways_stays_in_its_mesh_and_is_a_browser_while_only_the_websocket_is_left() {
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
                    while !matches!(peer.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {
                    }
                };
                timeout(Duration::from_secs(20), stands).await.expect("it connects");
                driving(&mut peer, until(&gateway, |status| kinds(status) == expected)).await;
            }
            let id = from_libp2p(peer.local_peer_id()).unwrap();
            driving(&mut peer, sorted(&gateway, &id, 2, false)).await;
            driving(&mut peer, publish_to(&gateway, &mut maker)).await;
            assert!(peer.close_connection(ways[usize::from(!leaves_first)]));
            let closed = async {
                while !matches!(peer.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
            };
            timeout(Duration::from_secs(20), closed).await.expect("it is closed");
            let left = if leaves_first { second } else { first };
            let is_browser = left == &ws;
            // What is sent before the node knows of the end may be lost with the connection.
            driving(&mut peer, sorted(&gateway, &id, 1, is_browser)).await;
            if leaves_first {
                // The library sends nothing on a connection that never sent until something else happens on it.
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

/// Waits until the core knows so many connections of a peer, and whether it is a browser.
async fn sorted(gateway: &Host, peer: &PeerId, connections: usize, is_browser: bool) {
    let known = || {
        gateway.peers(|peers, _| (peers.limits().of_peer(peer), peers.is_browser(peer)))
            == (connections, Some(is_browser))
    };
    let sorted = async {
        while !known() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), sorted).await.expect("the core sorts it anew");
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
                message, ..
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
async fn a_full_door_refuses_browsers_and_lets_nodes_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.peers.limits.browser.inbound = 2;
    config.peers.tide.high = 1;
    config.peers.tide.low = 1;
    config.peers.tide.grace = Duration::ZERO;
    let gateway = Host::start(config).await.unwrap();
    let inside = clients(directory.path(), 2, &gateway).await;
    let late = Host::start(self::config(directory.path(), "late", &[])).await.unwrap();
    let _ = late.connect(door(&gateway)).await.unwrap();
    until(&late, |status| status.peers == 0).await;
    let node = follower(directory.path(), "node", &[&gateway]).await;
    until(&gateway, |status| status.mesh == 1).await;
    let status = gateway.status().borrow().clone();
    // Three peers, though the tide wants one.
    assert_eq!((status.peers, status.browsers), (1, 2));
    for host in inside.into_iter().chain([late, node, gateway]) {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_fetches_what_it_missed_by_number() {
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

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_door_is_wss_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let certified = certificate();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let ws = config.ws.as_mut().unwrap();
    ws.tls = Some(WsTls { cert, key });
    ws.advertise = vec!["/dns4/gw.example/tcp/443/wss".parse().unwrap()];
    let gateway = Host::start(config).await.unwrap();
    // What is advertised is what pages dial; where it listens, identify says.
    let info = identified(&gateway.address(), None).await;
    assert!(info.contains(&"/dns4/gw.example/tcp/443/wss".parse().unwrap()), "{info:?}");
    let wss = info
        .iter()
        .find(|address| {
            let way: Vec<_> = address.iter().collect();
            matches!(way[..], [Protocol::Ip4(_), Protocol::Tcp(_), Protocol::Wss(_)])
        })
        .unwrap();
    let again = identified(wss, Some(certified.cert.der())).await;
    assert_eq!(BTreeSet::from_iter(again), BTreeSet::from_iter(info.clone()));
    // Who does not know the certificate does not come in, and learns why.
    let client = follower(directory.path(), "client", &[]).await;
    let way = wss.clone().with(Protocol::P2p(gateway.peer_id()));
    let Ok(Err(ConnectError::Failed(why))) = client.connect(way).await else { panic!("it trusts anybody") };
    assert!(why.contains("certificate"), "{why}");
    client.stop().await;
    gateway.stop().await;
}

/// The addresses that the node at this address names when it says who it is.
async fn identified(address: &Multiaddr, trusts: Option<&[u8]>) -> Vec<Multiaddr> {
    let key = Keypair::generate_secp256k1();
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut tls = tls::Config::builder();
    if let Some(certificate) = trusts {
        tls.add_trust(&tls::Certificate::new(certificate.to_vec())).unwrap();
    }
    let mut websocket = websocket::Config::new(tcp());
    websocket.set_tls_config(tls.finish());
    let transport = websocket
        .or_transport(tcp())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = identify::Behaviour::new(identify::Config::new("x".into(), key.public()));
    let config = libp2p::swarm::Config::with_tokio_executor();
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    swarm.dial(address.clone()).unwrap();
    let info = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(identify::Event::Received { info, .. }) => break info.listen_addrs,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(20), info).await.expect("it says who it is")
}

#[tokio::test(flavor = "multi_thread")]
async fn advertised_addresses_are_what_a_page_dials() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    let advertised: Multiaddr = "/dns4/gw.example/tcp/443/wss".parse().unwrap();
    let own = config.key.peer_id();
    config.ws.as_mut().unwrap().advertise =
        vec![advertised.clone(), advertised.clone().with(Protocol::P2p(own))];
    let gateway = Host::start(config).await.unwrap();
    let whole = advertised.with(Protocol::P2p(own));
    assert_eq!(gateway.browser_addresses(), [whole.clone(), whole.clone()]);
    gateway.stop().await;

    let mut config = with_door(directory.path(), "other", &[]);
    config.ws.as_mut().unwrap().advertise = vec![whole.clone()];
    let refused = Host::start(config).await.unwrap_err();
    assert!(matches!(&refused, HostError::Advertised(address) if *address == whole), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_can_not_be_used_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let (one, other) = (certificate(), certificate());
    let (cert, key) = (file("cert.pem", &one.cert.pem()), file("key.pem", &one.signing_key.serialize_pem()));
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let (missing, empty) = (directory.path().join("missing.pem"), file("empty.pem", ""));
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    let garbage = file("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (cert, key, parts) in [
        (&missing, &key, ["missing.pem", "can't be read", "check the path"]),
        (&cert, &missing, ["missing.pem", "can't be read", "check the path"]),
        (&empty, &key, ["empty.pem", "no certificate", "PEM"]),
        (&broken, &key, ["broken.pem", "certificates", "chain"]),
        (&key, &key, ["key.pem", "no certificate", "PEM"]),
        (&cert, &cert, ["cert.pem", "no private key", "PKCS#8"]),
        (&cert, &garbage, ["garbage.pem", "private key", "PKCS#8"]),
        (&cert, &other_key, ["cert.pem", "other.pem", "its own key"]),
    ] {
        let mut config = with_door(directory.path(), "host", &[]);
        config.ws.as_mut().unwrap().tls = Some(WsTls { cert: cert.clone(), key: key.clone() });
        let refused = Host::start(config).await.unwrap_err();
        let HostError::Tls { .. } = &refused else { panic!("{refused}") };
        let text = refused.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && !text.contains('\n'), "{text}");
    }
}

/// A certificate for loopback that vouches for itself.
fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}
