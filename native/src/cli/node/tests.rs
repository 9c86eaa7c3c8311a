//! The flags of a node: each reaches its configuration.

use super::super::{Cli, Command};
use super::doors::doors;
use super::*;
use clap::Parser;
use opp2p_core::peers::Scoring;

#[test]
fn if_listening_on_all_addresses_the_page_dials_the_host_it_came_from() {
    let id = "16Uiu2HAmJs8DPmkCTVkvCDnCZsF3HPUBTJ7Cx5vXpN2JQ2nZvHFn";
    let addresses =
        ["/ip4/127.0.0.1/tcp/9223/ws", "/ip4/10.0.0.7/tcp/9223/ws", "/dns4/gw.example/tcp/443/wss"];
    let addresses = addresses.map(|way| format!("{way}/p2p/{id}"));
    let parsed: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    assert_eq!(doors(&parsed, false), addresses);
    let host = format!("/dns4/{{host}}/tcp/9223/ws/p2p/{id}");
    assert_eq!(doors(&parsed, true), [host, addresses[2].clone()]);
}

/// Returns the node's settings for these arguments.
fn configured(arguments: &[&str]) -> HostConfig {
    let line = ["opp2p", "node", "--network", "base"].iter().chain(arguments);
    let Command::Node(args) = Cli::try_parse_from(line).expect("good arguments").command else {
        panic!("it is a node's")
    };
    let plan = plan(&args).unwrap_or_else(|Failure(why)| panic!("{why}"));
    let configuring =
        async { configure(&args, plan).await.unwrap_or_else(|Failure(why)| panic!("{why}")) };
    runtime().unwrap_or_else(|Failure(why)| panic!("{why}")).block_on(configuring)
}

const FRIEND: &str =
    "/ip4/127.0.0.1/tcp/9/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
const RAW: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn every_flag_reaches_the_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (data, peers) = (path("data"), path("peers"));
    let config = configured(&[
        "--p2p.listen.ip=127.0.0.1",
        "--p2p.listen.tcp=0",
        "--p2p.priv.raw",
        RAW,
        "--p2p.static",
        FRIEND,
        "--p2p.useragent=me",
        "--p2p.security=tls,noise",
        "--p2p.mux=mplex",
        "--p2p.timeout.dial=1s",
        "--p2p.timeout.accept=2s",
        "--p2p.timeout.negotiation=3s",
        "--p2p.listen.ws=0",
        "--p2p.scoring=none",
        "--p2p.ban.peers=false",
        "--p2p.ban.threshold=-3.5",
        "--p2p.ban.duration=4m",
        "--p2p.peers.lo=5",
        "--p2p.peers.hi=6",
        "--p2p.peers.grace=7s",
        "--p2p.nat",
        "--p2p.ping=false",
        "--p2p.gossip.timestamp.threshold=8s",
        "--p2p.gossip.mesh.d=9",
        "--p2p.gossip.mesh.lo=8",
        "--p2p.gossip.mesh.dhi=11",
        "--p2p.gossip.mesh.dlazy=12",
        "--p2p.gossip.mesh.floodpublish",
        "--p2p.sync.onlyreqtostatic",
        "--p2p.peerstore.path",
        &peers,
        "--data-dir",
        &data,
        "--store.blocks=13",
        "--store.gigabytes=0.5",
        "--store.hours=14",
        "--l1=http://127.0.0.1:1",
        "--verifier.l1-confs=15",
        "--l1.runtime-config-reload-interval=16m",
    ]);
    let seconds = Duration::from_secs;
    assert_eq!((config.listen_ip.to_string().as_str(), config.listen_tcp), ("127.0.0.1", 0));
    assert_eq!(
        *config.key.secret_bytes(),
        RAW.parse::<SecretKey>().expect("a key").secret_bytes()[..]
    );
    assert_eq!(config.static_peers[0].to_string(), FRIEND);
    assert_eq!(config.agent, "me");
    assert_eq!(
        (config.security, config.mux),
        (vec![Security::Tls, Security::Noise], vec![Muxer::Mplex])
    );
    assert_eq!((config.dial_timeout, config.accept_timeout), (seconds(1), seconds(2)));
    assert_eq!(config.negotiation_timeout, seconds(3));
    assert!(config.ws.is_some() && config.nat && !config.ping);
    assert_eq!(config.peers.scoring, Scoring::None);
    let bans = config.peers.bans;
    assert_eq!((bans.is_enabled, bans.threshold, bans.duration), (false, -3.5, seconds(240)));
    assert!(config.peers.dials_remembered);
    let connections = config.peers.connections;
    assert_eq!((connections.low, connections.high, connections.grace), (5, 6, seconds(7)));
    assert_eq!(config.timestamp_threshold, seconds(8));
    let mesh = MeshParams { d: 9, low: 8, high: 11, lazy: 12, flood_publish: true };
    assert_eq!(config.mesh, mesh);
    assert!(config.sync.expect("it fetches").fill.client.only_static);
    assert_eq!(config.peerstore, Peerstore::File(peers.into()));
    assert_eq!(config.store, Path::new(&data).join("8453").join("blocks.redb"));
    assert_eq!(
        (config.retention.max_blocks, config.retention.max_bytes, config.retention.max_age),
        (13, 500_000_000, seconds(14 * 3600))
    );
    let l1 = config.l1.expect("L1 is read").config;
    assert_eq!((l1.chain_id, l1.confirmations, l1.reload), (1, 15, Some(seconds(960))));
    assert_eq!(Some(l1.contract), config.chain.system_config);
}

#[test]
fn a_node_without_flags_has_the_defaults() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key").display().to_string();
    let config = configured(&["--p2p.priv.path", &key, "--p2p.listen.tcp", "0"]);
    assert_eq!(config.mesh, MeshParams::default());
    assert_eq!((config.security, config.mux), (vec![Security::Noise], vec![Muxer::Yamux]));
    assert_eq!(
        (config.listen_ip.to_string(), config.peerstore),
        ("0.0.0.0".into(), Peerstore::WithBlocks)
    );
    assert!(config.ping && !config.nat && !config.offline && config.sync.is_some());
}

#[test]
fn parts_of_a_node_can_be_switched_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key").display().to_string();
    let config = configured(&[
        "--p2p.disable",
        "--p2p.no-discovery",
        "--p2p.priv.path",
        &key,
        "--p2p.sync.req-resp=false",
        "--p2p.peerstore.path=memory",
        "--l1.runtime-config-reload-interval=-1s",
        "--l1=http://127.0.0.1:1",
    ]);
    assert!(!config.peers.dials_remembered && config.discovery.is_none());
    assert!(config.offline && config.sync.is_none() && config.endpoints.is_empty());
    assert_eq!(config.view.gap_patience, Some(Duration::from_secs(10)));
    assert_eq!(config.peerstore, Peerstore::Memory);
    assert_eq!(config.l1.expect("L1 is read").config.reload, None);
    let signer = "0x0000000000000000000000000000000000000011";
    let config = configured(&[
        "--p2p.disable",
        "--p2p.priv.path",
        &key,
        "--signer",
        signer,
        "--l1=http://h",
    ]);
    assert_eq!(config.signer.map(|signer| signer.to_string()).as_deref(), Some(signer));
    assert!(config.l1.is_none());
}

#[test]
fn static_peers_need_a_peer_id_and_a_tcp_address() {
    let id = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
    for way in
        ["/ip4/1.2.3.4/tcp/9", "/ip6/::1/tcp/9", "/dns4/example.com/tcp/9", "/dnsaddr/example.com"]
    {
        assert!(static_peer(&format!("{way}/p2p/{id}")).is_ok(), "{way}");
        assert!(static_peer(way).is_err(), "{way}");
    }
    for way in ["", "/ip4/1.2.3.4/udp/9/quic-v1", "/tcp/9"] {
        assert!(static_peer(&format!("{way}/p2p/{id}")).is_err(), "{way}");
    }
}
