//! The life of peers between our nodes and the reference's: who is let in, who is turned out, what each knows of the other.

use crate::go_stranger::GoStranger;
use crate::op_node::{OpNode, OpNodes, Setup, count};
use crate::ours::{self, PATIENCE, chain_of, config, until, until_true};
use alloy_primitives::hex;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{ConnectError, Host, HostConfig, HostEvent, HostEventKind, Muxer, Security};
use opp2p::key::SecretKey;
use opp2p::swarm::from_libp2p;
use opp2p_core::chain::ChainConfig;
use opp2p_core::gossip::{SIGNATURE_SIZE, block_topic};
use opp2p_core::node::Event;
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::peers::{BlockEntry, PeerCommand, PeerEvent};
use opp2p_core::sync::{protocol_id, spec_protocol_id};
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

/// A node of ours that knows nobody.
async fn alone(directory: &TempDir, chain: &ChainConfig) -> Host {
    Host::start(config(directory, chain)).await.unwrap()
}

async fn order(host: &Host, command: PeerCommand) {
    assert_eq!(host.command(command).await, Ok(Ok(())));
}

fn core(peer: &PeerId) -> opp2p_core::peers::PeerId {
    from_libp2p(peer).unwrap()
}

/// Neither knows of a connection with the other.
async fn until_apart(ours: &Host, theirs: &OpNode) {
    until(ours, |status| status.peers == 0).await;
    until_true("they see the end", PATIENCE, async || !theirs.is_connected(&ours.peer_id()).await).await;
}

/// Both know of a connection, and go on to.
async fn until_together(ours: &Host, theirs: &OpNode) {
    until(ours, |status| status.peers == 1 && status.subscribers == 1).await;
    assert!(theirs.is_connected(&ours.peer_id()).await);
}

/// They dial us, whatever becomes of it.
async fn dial(theirs: &OpNode, ours: &Host) -> Result<(), String> {
    theirs.ask("connect", json!({ "address": ours.address() })).await.map(drop)
}

/// Whoever dials, they are not connected: one of the two does not want to.
async fn stay_apart(ours: &Host, theirs: &OpNode) {
    // Whoever dials may see a connection before the other has refused it.
    let _ = ours.connect(theirs.address.clone()).await.unwrap();
    until_apart(ours, theirs).await;
    let _ = dial(theirs, ours).await;
    until_apart(ours, theirs).await;
}

/// What a node of the reference answers to a call of its RPC.
async fn call(theirs: &OpNode, method: &str, params: Value) -> Value {
    let address = theirs.rpc.as_ref().expect("its RPC is served").trim_start_matches("http://").to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let request = format!(
        "POST / HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
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

pub(crate) async fn whom_they_ban_is_let_in_again_when_that_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    // It dials them by itself, again and again.
    let ours = HostConfig { static_peers: vec![theirs.address.clone()], ..config(&directory, &chain) };
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

pub(crate) async fn whom_we_ban_is_let_in_again_when_that_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;
    order(&ours, PeerCommand::BanPeer(core(&theirs.id), LONG)).await;
    until_apart(&ours, &theirs).await;
    let out = ours.connect(theirs.address.clone()).await.unwrap();
    assert!(matches!(&out, Err(ConnectError::Failed(why)) if why.contains("banned until")), "{out:?}");
    stay_apart(&ours, &theirs).await;
    // Of two bans the longer one holds, so that one must be lifted first.
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

pub(crate) async fn whom_either_side_blocks_is_refused_until_that_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup { rpc: true, ..Setup::default() }).await;
    let ours = alone(&directory, &chain).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;

    // A block of theirs closes nothing by itself.
    let us = json!([ours.peer_id().to_string()]);
    call(&theirs, "opp2p_blockPeer", us.clone()).await;
    call(&theirs, "opp2p_disconnectPeer", us.clone()).await;
    until_apart(&ours, &theirs).await;
    // To disconnect a peer lifts a block of it, as the reference has it.
    call(&theirs, "opp2p_blockPeer", us.clone()).await;
    stay_apart(&ours, &theirs).await;
    call(&theirs, "opp2p_unblockPeer", us.clone()).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;

    let them = BlockEntry::Peer(core(&theirs.id));
    order(&ours, PeerCommand::Block(them)).await;
    until_apart(&ours, &theirs).await;
    let out = ours.connect(theirs.address.clone()).await.unwrap();
    assert!(matches!(&out, Err(ConnectError::Failed(why)) if why.contains("the peer is blocked")), "{out:?}");
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
    // Who left makes room.
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

pub(crate) async fn a_static_peer_of_theirs_that_starts_again_is_dialled_by_them() {
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let key = *SecretKey::generate().unwrap().secret_bytes();
    // A store of its own each time: it knows nobody whom it could dial itself.
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
    // They look each minute.
    let minute = Duration::from_secs(90);
    until_true("they dial again", minute, async || theirs.is_connected(&ours.peer_id()).await).await;
    until_together(&ours, &theirs).await;
    assert_eq!(ours.peers(|peers, _| peers.is_inbound(&core(&theirs.id))), Some(true));
    ours.stop().await;
    drop((first_directory, second_directory));
}

pub(crate) async fn a_static_peer_of_ours_that_starts_again_is_dialled_by_us() {
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

/// What a node of the reference was told by a peer.
#[derive(Debug, Deserialize)]
struct Identified {
    agent: String,
    protocol_version: Option<String>,
    protocols: BTreeSet<String>,
    addresses: Vec<Multiaddr>,
}

pub(crate) async fn each_knows_who_the_other_is_and_what_it_speaks() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;
    let known =
        async || ours.peers(|peers, _| peers.book().get(&core(&theirs.id)).cloned()).unwrap_or_default();
    let told =
        async || theirs.call::<Identified>("identified", json!({ "peer": ours.peer_id().to_string() })).await;
    // Gossip may name its protocols only after the first time that a node says who it is.
    let has_gossip = |name: &String| name.starts_with("/meshsub/");
    until_true("both said it all", PATIENCE, async || {
        known().await.protocols.iter().any(has_gossip) && told().await.protocols.iter().any(has_gossip)
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
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut both = named(&["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]);
    both.extend(named(&["/meshsub/1.0.0", "/meshsub/1.1.0", "/meshsub/1.2.0"]));
    both.insert(protocol_id(chain.chain_id));
    assert_eq!(us.protocols.intersection(&them).cloned().collect::<BTreeSet<_>>(), both);
    // Ours is newer gossip, which theirs need not know, and the other name of blocks by number.
    let spec = spec_protocol_id(chain.chain_id);
    let ours_alone = named(&["/meshsub/1.3.0", &spec]);
    assert_eq!(us.protocols.difference(&them).cloned().collect::<BTreeSet<_>>(), ours_alone);
    // Theirs is flooding, for peers that have no mesh: a node of ours always has one.
    assert_eq!(them.difference(&us.protocols).cloned().collect::<BTreeSet<_>>(), named(&["/floodsub/1.0.0"]));
    assert_eq!(us.protocols, ours.protocols().iter().cloned().collect());
    ours.stop().await;
}

pub(crate) async fn pings_come_back_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let theirs = nodes.node(&chain, Setup::default()).await;
    let ours = alone(&directory, &chain).await;
    assert_eq!(ours.connect(theirs.address.clone()).await, Ok(Ok(())));
    until_together(&ours, &theirs).await;
    for _ in 0..3 {
        let nanoseconds: u64 = theirs.call("ping", json!({ "peer": ours.peer_id().to_string() })).await;
        assert!(nanoseconds > 0);
    }
    let latency =
        || ours.peers(|peers, _| peers.book().get(&core(&theirs.id)).and_then(|known| known.latency));
    until_true("they answer a ping", PATIENCE, async || latency().is_some()).await;
    ours.stop().await;
}

pub(crate) async fn who_has_no_security_or_multiplexer_of_ours_is_refused_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let ours = alone(&directory, &chain).await;
    for (security, mux, we_say, they_say) in [
        ("tls", "yamux", "no protocol in common to secure the connection", "negotiate security protocol"),
        (
            "noise",
            "mplex",
            "no protocol in common to carry the connection's streams",
            "negotiate stream multiplexer",
        ),
    ] {
        let stranger = GoStranger::start(&nodes, &chain, &[security], &[mux], &[]).await;
        let mut events = ours.events();
        // Who proposes a single protocol does not wait for the answer, and may be told only later that it is no.
        let _ = ours.connect(stranger.address.clone()).await.unwrap();
        let why = dial_failed(&mut events, &stranger.id).await;
        assert!(why.contains(we_say), "{why}");
        until(&ours, |status| status.peers == 0).await;
        let refused = stranger.connect(&ours.address()).await.unwrap_err();
        assert!(refused.contains(they_say) && refused.contains("protocols not supported"), "{refused}");
    }
    // It goes on.
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&ours.address()).await;
    until_together(&ours, &theirs).await;
    ours.stop().await;
}

/// Why our node can't connect to the peer.
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

pub(crate) async fn who_has_a_security_or_multiplexer_of_ours_is_let_in_whoever_dials() {
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
            let stranger =
                GoStranger::start(&nodes, &chain, &[security], &[mux], std::slice::from_ref(&topic)).await;
            if we_dial {
                assert_eq!(ours.connect(stranger.address.clone()).await, Ok(Ok(())));
            } else {
                stranger.connect(&ours.address()).await.unwrap();
            }
            // Streams get through: they subscribe.
            until(&ours, |status| status.subscribers == 1).await;
            stranger.stop().await;
            until(&ours, |status| status.peers == 0).await;
        }
    }
    // op-node's own flags choose the same.
    for flag in ["--p2p.security=tls", "--p2p.mux=mplex"] {
        let theirs = nodes.node(&chain, Setup { args: vec![flag.into()], ..Setup::default() }).await;
        theirs.connect(&ours.address()).await;
        until_together(&ours, &theirs).await;
        theirs.stop().await;
        until(&ours, |status| status.peers == 0).await;
    }
    ours.stop().await;
}

pub(crate) async fn who_forges_a_block_is_banned_by_ours_over_a_restart_and_borne_by_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, chain) = (OpNodes::start(), the_chain());
    let topic = block_topic(chain.chain_id, PayloadVersion::V4);
    let stranger =
        GoStranger::start(&nodes, &chain, &["noise"], &["yamux"], std::slice::from_ref(&topic)).await;
    // A block that somebody else signed: all is right but whose it is.
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
    // One is enough.
    stranger.send(&topic, &forged(1)).await;
    let banned = timeout(PATIENCE, banned).await;
    assert_eq!(banned.expect("it is banned"), core(&stranger.id));
    until(&ours, |status| status.peers == 0).await;
    ours.stop().await;
    let ours = start().await;
    let _ = stranger.connect(&ours.address()).await;
    let out = ours.connect(stranger.address.clone()).await.unwrap();
    assert!(matches!(&out, Err(ConnectError::Failed(why)) if why.contains("banned until")), "{out:?}");
    until(&ours, |status| status.peers == 0).await;

    // Theirs scores no topic any more: it refuses each block, and bans nobody for it.
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
