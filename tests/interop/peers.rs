//! Life cycle of peers between our nodes and the reference's: admission, bans, disconnects, and the
//! knowledge of each node about the other.

use crate::go_stranger::GoStranger;
use crate::op_node::{self, OpNode, OpNodes, Setup, count};
use crate::ours::{self, PATIENCE, chain_of, config, until, until_true};
use alloy_primitives::hex;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::gossip::{Reason, SIGNATURE_SIZE, block_topic};
use opp2p_core::node::Event;
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::{BlockEntry, PeerCommand, PeerEvent};
use opp2p_core::sync::{protocol_id, spec_protocol_id};
use opp2p_node::host::{ConnectError, Host, HostConfig, HostEvent, HostEventKind, Muxer, Security};
use opp2p_node::key::SecretKey;
use opp2p_wire::from_libp2p;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

fn the_chain() -> ChainConfig {
    chain_of(PayloadVersion::V4)
}

/// Starts one of our nodes without any peers.
async fn alone(directory: &TempDir, chain: &ChainConfig) -> Host {
    Host::start(config(directory, chain)).await.unwrap()
}

async fn order(host: &Host, command: PeerCommand) {
    assert_eq!(host.command(command).await, Ok(Ok(())));
}

fn core(peer: &PeerId) -> opp2p_core::peers::PeerId {
    from_libp2p(peer).unwrap()
}

/// Waits until both nodes know that they are disconnected.
async fn until_apart(ours: &Host, theirs: &OpNode) {
    until(ours, |status| status.peers == 0).await;
    until_true("they see the end", PATIENCE, async || !theirs.is_connected(&ours.peer_id()).await)
        .await;
}

/// Checks that both nodes are connected and stay connected.
async fn until_together(ours: &Host, theirs: &OpNode) {
    until(ours, |status| status.peers == 1 && status.subscribers == 1).await;
    assert!(theirs.is_connected(&ours.peer_id()).await);
}

/// Makes their node dial ours, whatever the result.
async fn dial(theirs: &OpNode, ours: &Host) -> Result<(), String> {
    theirs.ask("connect", json!({ "address": ours.address() })).await.map(drop)
}

/// Checks that no dial of either side connects them, because one of them refuses.
async fn stay_apart(ours: &Host, theirs: &OpNode) {
    // The dialler may see a connection before the other side has refused it.
    let _ = ours.connect(theirs.address.clone()).await.unwrap();
    until_apart(ours, theirs).await;
    let _ = dial(theirs, ours).await;
    until_apart(ours, theirs).await;
}

/// Returns the answer of a reference node to a call of its RPC.
async fn call(theirs: &OpNode, method: &str, params: Value) -> Value {
    let address =
        theirs.rpc.as_ref().expect("its RPC is served").trim_start_matches("http://").to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let request = format!(
        "POST / HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: \
         {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    let mut answer: Value = serde_json::from_str(body).unwrap();
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].take()
}

pub(crate) async fn a_peer_banned_by_them_is_admitted_after_the_ban() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    // Our node dials theirs by itself, repeatedly.
    let ours =
        HostConfig { static_peers: vec![theirs.address.clone()], ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    until_together(&ours, &theirs).await;
    let ban = async |ban: Duration| {
        let params = json!({ "peer": ours.peer_id().to_string(), "seconds": ban.as_secs() });
        let _: Value = theirs.call("ban", params).await;
    };
    ban(LONG).await;
    until_apart(&ours, &theirs).await;
    stay_apart(&ours, &theirs).await;
    ban(Duration::from_secs(1)).await;
    until_true("let in again", PATIENCE, async || theirs.is_connected(&ours.peer_id()).await).await;
    until_together(&ours, &theirs).await;
    ours.stop().await;
}

pub(crate) async fn a_peer_banned_by_us_is_admitted_after_the_ban() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;
    order(&ours, PeerCommand::BanPeer(core(&theirs.id), LONG)).await;
    until_apart(&ours, &theirs).await;
    let out = ours.connect(theirs.address.clone()).await.unwrap();
    assert!(
        matches!(&out, Err(ConnectError::Failed(why)) if why.contains("banned until")),
        "{out:?}"
    );
    stay_apart(&ours, &theirs).await;
    // The longer of two bans counts, so one must be lifted first.
    order(&ours, PeerCommand::UnbanPeer(core(&theirs.id))).await;
    order(&ours, PeerCommand::BanPeer(core(&theirs.id), Duration::from_secs(1))).await;
    until_true("let in again", PATIENCE, async || {
        let _ = dial(&theirs, &ours).await;
        sleep(Duration::from_millis(200)).await;
        ours.status().borrow().peers == 1
    })
    .await;
    until_together(&ours, &theirs).await;
    ours.stop().await;
}

pub(crate) async fn a_peer_blocked_by_either_side_is_refused_until_unblocked() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let ours = alone(&directory, &chain).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;

    // In the reference, blocking a peer does not close its connections.
    let us = json!([ours.peer_id().to_string()]);
    call(&theirs, "opp2p_blockPeer", us.clone()).await;
    call(&theirs, "opp2p_disconnectPeer", us.clone()).await;
    until_apart(&ours, &theirs).await;
    // In the reference, disconnecting a peer also unblocks it.
    call(&theirs, "opp2p_blockPeer", us.clone()).await;
    stay_apart(&ours, &theirs).await;
    call(&theirs, "opp2p_unblockPeer", us.clone()).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;

    let them = BlockEntry::Peer(core(&theirs.id));
    order(&ours, PeerCommand::Block(them)).await;
    until_apart(&ours, &theirs).await;
    let out = ours.connect(theirs.address.clone()).await.unwrap();
    assert!(
        matches!(&out, Err(ConnectError::Failed(why)) if why.contains("the peer is blocked")),
        "{out:?}"
    );
    stay_apart(&ours, &theirs).await;
    order(&ours, PeerCommand::Unblock(them)).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;
    ours.stop().await;
}

pub(crate) async fn a_node_of_theirs_beyond_our_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let mut config = config(&directory, &chain);
    config.peers.limits.tcp.inbound = 2;
    let ours = Host::start(config).await.unwrap();
    for count in 1..=2 {
        let theirs = nodes.node(&chain, Setup::default()).await;
        theirs.connect(&ours.address()).await;
        until(&ours, |status| status.peers == count).await;
    }
    let late = nodes.node(&chain, Setup::default()).await;
    let _ = dial(&late, &ours).await;
    until_true("it is refused", PATIENCE, async || !late.is_connected(&ours.peer_id()).await).await;
    assert_eq!(ours.status().borrow().peers, 2);
    // A peer that leaves frees its slot.
    let first = ours.peers(|peers, _| peers.connected_peers().next().copied().unwrap());
    order(&ours, PeerCommand::Disconnect(first)).await;
    until(&ours, |status| status.peers == 1).await;
    late.connect(&ours.address()).await;
    until(&ours, |status| status.peers == 2).await;
    assert!(late.is_connected(&ours.peer_id()).await);
    ours.stop().await;
}

fn port(address: &Multiaddr) -> u16 {
    let tcp = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    tcp.expect("a TCP address")
}

pub(crate) async fn they_redial_their_static_peer_after_its_restart() {
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let key = *SecretKey::generate().unwrap().secret_bytes();
    // A new store each time, so that our node knows no peer to dial.
    let start = async |tcp: u16| {
        let directory = tempfile::tempdir().unwrap();
        let key = SecretKey::from_bytes(&key).unwrap();
        let config = HostConfig { key, listen_tcp: tcp, ..config(&directory, &chain) };
        (Host::start(config).await.unwrap(), directory)
    };
    let (ours, first_directory) = start(0).await;
    let address = ours.address();
    let theirs = Setup { args: vec![format!("--p2p.static={address}")], ..Setup::default() };
    let theirs = nodes.node(&chain, theirs).await;
    until_together(&ours, &theirs).await;
    assert_eq!(ours.peers(|peers, _| peers.is_inbound(&core(&theirs.id))), Some(true));
    ours.stop().await;
    let (ours, second_directory) = start(port(&address)).await;
    assert_eq!(ours.address(), address);
    // They check once a minute.
    let minute = Duration::from_secs(90);
    until_true("they dial again", minute, async || theirs.is_connected(&ours.peer_id()).await)
        .await;
    until_together(&ours, &theirs).await;
    assert_eq!(ours.peers(|peers, _| peers.is_inbound(&core(&theirs.id))), Some(true));
    ours.stop().await;
    drop((first_directory, second_directory));
}

pub(crate) async fn we_redial_our_static_peer_after_its_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let key = hex::encode(SecretKey::generate().unwrap().secret_bytes());
    let start = async |tcp: u16| {
        let args = vec![format!("--p2p.priv.raw={key}"), format!("--p2p.listen.tcp={tcp}")];
        nodes.node(&chain, Setup { args, ..Setup::default() }).await
    };
    let theirs = start(0).await;
    let (id, address) = (theirs.id, theirs.address.clone());
    let ours = HostConfig { static_peers: vec![address.clone()], ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    until_together(&ours, &theirs).await;
    theirs.stop().await;
    until(&ours, |status| status.peers == 0).await;
    let theirs = start(port(&address)).await;
    assert_eq!((theirs.id, &theirs.address), (id, &address));
    until_together(&ours, &theirs).await;
    assert_eq!(ours.peers(|peers, _| peers.is_inbound(&core(&id))), Some(false));
    ours.stop().await;
}

/// Identify data that a reference node received from a peer.
#[derive(Debug, Deserialize)]
struct Identified {
    agent: String,
    protocol_version: Option<String>,
    protocols: BTreeSet<String>,
    addresses: Vec<Multiaddr>,
}

pub(crate) async fn each_identifies_the_other_and_its_protocols() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;
    let known = async || {
        ours.peers(|peers, _| peers.book().get(&core(&theirs.id)).cloned()).unwrap_or_default()
    };
    let told = async || {
        theirs.call::<Identified>("identified", json!({ "peer": ours.peer_id().to_string() })).await
    };
    // Identify may list the gossip protocols only in a later message than the first.
    let has_gossip = |name: &String| name.starts_with("/meshsub/");
    until_true("both said it all", PATIENCE, async || {
        known().await.protocols.iter().any(has_gossip)
            && told().await.protocols.iter().any(has_gossip)
    })
    .await;
    let (them, us) = (known().await, told().await);
    assert_eq!((us.agent.as_str(), us.protocol_version.as_deref()), (ours.agent(), Some("")));
    assert_eq!((them.agent.as_str(), them.protocol_version.as_str()), ("optimism", ""));
    assert!(us.addresses.iter().any(|address| port(address) == port(&ours.address())), "{us:?}");
    assert!(
        them.addresses.iter().any(|known| theirs.address.to_string().starts_with(&known.address)),
        "{them:?}"
    );
    let them: BTreeSet<String> = them.protocols.into_iter().collect();
    let named =
        |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut both = named(&["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]);
    both.extend(named(&["/meshsub/1.0.0", "/meshsub/1.1.0", "/meshsub/1.2.0"]));
    both.insert("/floodsub/1.0.0".into());
    both.insert(protocol_id(chain.chain_id));
    // Ranges of blocks, and the other name of the protocol for blocks by number.
    let by_number = spec_protocol_id(chain.chain_id);
    let ours_alone = named(&["/opp2p/req/payloads/1", &by_number]);
    let newer: &[&str] =
        if op_node::reference() == crate::NEWEST { &["/meshsub/1.3.0"] } else { &[] };
    assert_eq!(us.protocols.intersection(&them).cloned().collect::<BTreeSet<_>>(), both);
    assert_eq!(us.protocols.difference(&them).cloned().collect::<BTreeSet<_>>(), ours_alone);
    assert_eq!(them.difference(&us.protocols).cloned().collect::<BTreeSet<_>>(), named(newer));
    assert_eq!(us.protocols, ours.protocols().iter().cloned().collect());
    ours.stop().await;
}

pub(crate) async fn pings_are_answered_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;
    for _ in 0..3 {
        let nanoseconds: u64 =
            theirs.call("ping", json!({ "peer": ours.peer_id().to_string() })).await;
        assert!(nanoseconds > 0);
    }
    let latency = || {
        ours.peers(|peers, _| peers.book().get(&core(&theirs.id)).and_then(|known| known.latency))
    };
    until_true("they answer a ping", PATIENCE, async || latency().is_some()).await;
    ours.stop().await;
}

pub(crate) async fn a_peer_without_our_security_or_multiplexers_is_refused_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let ours = alone(&directory, &chain).await;
    for (security, mux, we_say, they_say) in [
        (
            "tls",
            "yamux",
            "no protocol in common to secure the connection",
            "negotiate security protocol",
        ),
        (
            "noise",
            "mplex",
            "no protocol in common to carry the connection's streams",
            "negotiate stream multiplexer",
        ),
    ] {
        let stranger = GoStranger::start(&nodes, &chain, &[security], &[mux], &[]).await;
        let mut events = ours.events();
        // A dialler that proposes a single protocol does not wait for the answer, and may only
        // learn later that the protocol is refused.
        let _ = ours.connect(stranger.address.clone()).await.unwrap();
        let why = dial_failed(&mut events, &stranger.id).await;
        assert!(why.contains(we_say), "{why}");
        until(&ours, |status| status.peers == 0).await;
        let refused = stranger.connect(&ours.address()).await.unwrap_err();
        assert!(
            refused.contains(they_say) && refused.contains("protocols not supported"),
            "{refused}"
        );
    }
    // Our node still accepts others.
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;
    ours.stop().await;
}

/// Returns the reason why our node can't connect to the peer.
async fn dial_failed(events: &mut broadcast::Receiver<HostEvent>, wanted: &PeerId) -> String {
    let failed = async {
        loop {
            match events.recv().await.unwrap().kind {
                HostEventKind::DialFailed { peer, error } if peer == *wanted => break error,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, failed).await.expect("our node tells why it is not connected")
}

pub(crate) async fn a_peer_with_our_security_and_multiplexer_is_admitted_in_either_direction() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let ours = HostConfig {
        security: vec![Security::Noise, Security::Tls],
        mux: vec![Muxer::Yamux, Muxer::Mplex],
        ..config(&directory, &chain)
    };
    let ours = Host::start(ours).await.unwrap();
    let topic = block_topic(chain.chain_id, PayloadVersion::V4);
    for (security, mux) in [("tls", "yamux"), ("noise", "mplex"), ("tls", "mplex")] {
        for we_dial in [true, false] {
            let stranger = GoStranger::start(
                &nodes,
                &chain,
                &[security],
                &[mux],
                std::slice::from_ref(&topic),
            )
            .await;
            if we_dial {
                assert_eq!(ours.connect(stranger.address.clone()).await, Ok(Ok(())));
            } else {
                stranger.connect(&ours.address()).await.unwrap();
            }
            // Streams work: the peer subscribes.
            until(&ours, |status| status.subscribers == 1).await;
            stranger.stop().await;
            until(&ours, |status| status.peers == 0).await;
        }
    }
    // op-node's own flags lead to the same result.
    for flag in ["--p2p.security=tls", "--p2p.mux=mplex"] {
        let theirs =
            nodes.node(&chain, Setup { args: vec![flag.into()], ..Setup::default() }).await;
        theirs.connect(&ours.address()).await;
        until_together(&ours, &theirs).await;
        theirs.stop().await;
        until(&ours, |status| status.peers == 0).await;
    }
    ours.stop().await;
}

pub(crate) async fn a_forger_is_banned_by_us_across_restarts_and_tolerated_by_them() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let topic = block_topic(chain.chain_id, PayloadVersion::V4);
    let stranger =
        GoStranger::start(&nodes, &chain, &["noise"], &["yamux"], std::slice::from_ref(&topic))
            .await;
    // A block signed with another key; everything else is valid.
    let forged = |seed: u64| {
        let block = BlockMaker::new(&chain, seed).next(unix_seconds());
        let mut contents = ours::signed(&chain, &block);
        contents[SIGNATURE_SIZE + 1] ^= 1;
        snappy::compress(&contents)
    };
    let key = *SecretKey::generate().unwrap().secret_bytes();
    let start = async || {
        let config = HostConfig {
            key: SecretKey::from_bytes(&key).unwrap(),
            store: directory.path().join("forged"),
            ..config(&directory, &chain)
        };
        Host::start(config).await.unwrap()
    };
    let ours = start().await;
    let mut events = ours.events();
    stranger.connect(&ours.address()).await.unwrap();
    until(&ours, |status| status.subscribers == 1).await;
    let banned = async {
        loop {
            if let HostEventKind::Core(Event::Peers(PeerEvent::Banned { peer, .. })) =
                events.recv().await.unwrap().kind
            {
                break peer;
            }
        }
    };
    // The signer has signed a block, so it was not configured before a switch.
    let first = BlockMaker::new(&chain, 3).next(unix_seconds());
    stranger.send(&topic, &ours::message(&chain, &first)).await;
    until(&ours, |status| status.accepted > 0).await;
    // One block is enough, once a later block shows that the signer has not changed.
    stranger.send(&topic, &forged(1)).await;
    // Both are validated at the same time, and the later block proves only earlier suspicions.
    until(&ours, |status| status.refused.contains_key(&Reason::SignerInDoubt)).await;
    let later = BlockMaker::new(&chain, 2).next(unix_seconds() + 2);
    stranger.send(&topic, &ours::message(&chain, &later)).await;
    let banned = timeout(PATIENCE, banned).await;
    assert_eq!(banned.expect("it is banned"), core(&stranger.id));
    until(&ours, |status| status.peers == 0).await;
    ours.stop().await;
    let ours = start().await;
    let _ = stranger.connect(&ours.address()).await;
    let out = ours.connect(stranger.address.clone()).await.unwrap();
    assert!(
        matches!(&out, Err(ConnectError::Failed(why)) if why.contains("banned until")),
        "{out:?}"
    );
    until(&ours, |status| status.peers == 0).await;

    // Their node no longer scores topics: it refuses each block, but does not ban the peer.
    let theirs = nodes.node(&chain, Setup::default()).await;
    stranger.connect(&theirs.address).await.unwrap();
    let refused = async || count(&theirs.heard().await.verdicts, &stranger.id, "validation failed");
    for seed in 100..110 {
        stranger.send(&topic, &forged(seed)).await;
    }
    until_true("it refuses them", PATIENCE, async || refused().await == 10).await;
    assert!(theirs.is_connected(&stranger.id).await);
    assert!(theirs.scores(&stranger.id).await.total >= 0.0);
    ours.stop().await;
}
