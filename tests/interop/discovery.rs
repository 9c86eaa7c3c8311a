//! Our nodes and the reference's find each other by discv5, and read each other's node records.

use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{self, config};
use crate::rpc::Server;
use alloy_primitives::{B256, hex};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::discovery::{OpStackEntry, PaceConfig};
use opp2p_core::peers::ConnectionManagerConfig;
use opp2p_node::discovery::DiscoveryConfig;
use opp2p_node::host::{Host, HostConfig};
use opp2p_wire::from_libp2p;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::sleep;

/// The reference searches every five seconds, and only passes on nodes that it has contacted again
/// in the meantime.
const PATIENCE: Duration = Duration::from_secs(100);

fn chain(chain_id: u64) -> ChainConfig {
    let genesis = B256::repeat_byte(9);
    ChainConfig::development(
        chain_id,
        genesis,
        1_700_000_000,
        2,
        Fork::Jovian,
        ours::signer().address(),
    )
}

/// Returns the discovery settings of our nodes, with this record as the bootnode if there is one.
pub(crate) fn looking_from(bootnode: Option<&String>) -> DiscoveryConfig {
    DiscoveryConfig {
        bootnodes: Some(bootnode.iter().map(|record| record.parse().unwrap()).collect()),
        pace: PaceConfig { fast: Duration::from_millis(500), slow: Duration::from_secs(2) },
        ..DiscoveryConfig::default()
    }
}

/// Returns the same settings for the reference's nodes. They advertise an address only if one is
/// configured, or if many others report it.
fn setup(bootnode: Option<&String>) -> Setup {
    let mut args = vec!["--p2p.advertise.ip=127.0.0.1".to_owned()];
    args.extend(bootnode.map(|record| format!("--p2p.bootnodes={record}")));
    Setup { args, discovery: true, rpc: true, ..Setup::default() }
}

/// Nodes of both kinds, and a node that those with enough peers are connected to.
struct Place {
    directory: TempDir,
    nodes: OpNodes,
    chain: ChainConfig,
    partner: Host,
}

impl Place {
    async fn new() -> Self {
        let (directory, chain) = (tempfile::tempdir().unwrap(), chain(901));
        let partner = Host::start(config(&directory, &chain)).await.unwrap();
        Self { directory, nodes: OpNodes::start(), chain, partner }
    }

    /// Starts one of our nodes that searches for peers.
    async fn ours(&self, bootnode: Option<&String>) -> Host {
        let discovery = Some(looking_from(bootnode));
        Host::start(HostConfig { discovery, ..config(&self.directory, &self.chain) }).await.unwrap()
    }

    /// Starts one of our nodes that can be found, but searches for no peers, since it has enough.
    async fn content_ours(&self, bootnode: Option<&String>) -> Host {
        let mut config = HostConfig {
            discovery: Some(looking_from(bootnode)),
            static_peers: vec![self.partner.address()],
            ..config(&self.directory, &self.chain)
        };
        config.peers.connections = ConnectionManagerConfig { low: 1, ..config.peers.connections };
        let host = Host::start(config).await.unwrap();
        ours::until(&host, |status| status.peers == 1).await;
        host
    }

    /// Starts one of the reference's nodes that searches for peers.
    async fn theirs(&self, bootnode: Option<&String>) -> OpNode {
        self.nodes.node(&self.chain, setup(bootnode)).await
    }

    /// Starts one of the reference's nodes that can be found, but searches for no peers, since it
    /// has enough.
    async fn content_theirs(&self, bootnode: Option<&String>) -> OpNode {
        let mut setup = setup(bootnode);
        setup.args.push("--p2p.peers.lo=1".into());
        let node = self.nodes.node(&self.chain, setup).await;
        node.connect(&self.partner.address()).await;
        node
    }

    /// Starts one of our nodes with or without an advertised address.
    async fn advertised(&self, ip: Option<&str>, tcp: u16, udp: u16) -> Host {
        let ip: Option<IpAddr> = ip.map(|ip| ip.parse().unwrap());
        let discovery = DiscoveryConfig {
            advertise_ip: ip,
            advertise_tcp: tcp,
            advertise_udp: udp,
            ..looking_from(None)
        };
        Host::start(HostConfig {
            discovery: Some(discovery),
            ..config(&self.directory, &self.chain)
        })
        .await
        .unwrap()
    }

    /// Returns the contents of a record as geth and op-node read it.
    async fn read(&self, enr: &str) -> Told {
        let rollup: Value = serde_json::from_str(&self.chain.to_rollup_json()).unwrap();
        self.nodes.call("read_enr", json!({ "enr": enr, "rollup": rollup })).await
    }
}

/// Contents of a record as geth and op-node read it.
#[derive(Debug, Deserialize)]
struct Told {
    node_id: String,
    peer_id: String,
    ip: String,
    tcp: u16,
    udp: u16,
    entries: BTreeMap<String, String>,
    chain_id: Option<u64>,
    version: Option<u64>,
    taken: bool,
    written: String,
}

impl Told {
    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Returns `true` if they dialled us, `false` if we dialled them, and `None` if the two are not
/// connected.
fn is_inbound(ours: &Host, theirs: &OpNode) -> Option<bool> {
    ours.peers(|peers, _| peers.is_inbound(&from_libp2p(&theirs.id).unwrap()))
}

async fn meet(ours: &Host, theirs: &OpNode, what: &str) {
    until(what, || async {
        is_inbound(ours, theirs).is_some() && theirs.is_connected(&ours.peer_id()).await
    })
    .await;
}

/// Checks that our RPC reports their record.
async fn is_known_by_ours(ours: &Host, theirs: &OpNode) {
    let (rpc, _serving) = Server::start(ours).await;
    is_known(rpc, &theirs.id.to_string(), theirs.enr.as_ref().unwrap()).await;
    assert_eq!(&rpc.call("self", json!([])).await["ENR"], &json!(ours.local_enr()));
}

/// Checks that their RPC reports our record.
async fn is_known_by_theirs(theirs: &OpNode, ours: &Host) {
    let rpc = Server::of(theirs);
    is_known(rpc, &ours.peer_id().to_string(), &ours.local_enr().unwrap()).await;
    assert_eq!(&rpc.call("self", json!([])).await["ENR"], &json!(theirs.enr));
}

async fn is_known(rpc: Server, peer: &str, record: &String) {
    let known = |dump: &Value| {
        let peer = &dump["peers"][peer];
        peer["ENR"] == json!(record) && peer["chainID"] == 901 && peer["connectedness"] == 1
    };
    rpc.until("peers", json!([true]), known).await;
    let listed = |table: &Value| table.as_array().unwrap().contains(&json!(record));
    let table = rpc.until("discoveryTable", json!([]), listed).await;
    let stats = rpc.call("peerStats", json!([])).await;
    assert!(
        stats["table"].as_u64() >= Some(1) && stats["known"].as_u64() > Some(1),
        "{stats} {table}"
    );
}

pub(crate) async fn their_node_finds_ours_by_its_record() {
    let place = Place::new().await;
    let ours = place.content_ours(None).await;
    let theirs = place.theirs(ours.local_enr().as_ref()).await;
    meet(&ours, &theirs, "theirs dials ours").await;
    assert_eq!(is_inbound(&ours, &theirs), Some(true));
    is_known_by_theirs(&theirs, &ours).await;
    ours.stop().await;
}

pub(crate) async fn our_node_finds_theirs_by_its_record() {
    let place = Place::new().await;
    let theirs = place.content_theirs(None).await;
    let ours = place.ours(theirs.enr.as_ref()).await;
    meet(&ours, &theirs, "ours dials theirs").await;
    assert_eq!(is_inbound(&ours, &theirs), Some(false));
    is_known_by_ours(&ours, &theirs).await;
    ours.stop().await;
}

/// Checks that nodes that start from a bootnode of another chain meet each other, and that none of
/// them connects to the bootnode.
async fn all_meet_by(place: &Place, bootnode: &String) -> (Host, OpNode) {
    // First two that can be found, and do not search themselves.
    let found_ours = place.content_ours(Some(bootnode)).await;
    let found_theirs = place.content_theirs(Some(bootnode)).await;
    let ours = place.ours(Some(bootnode)).await;
    let theirs = place.theirs(Some(bootnode)).await;
    meet(&ours, &found_theirs, "ours dials theirs").await;
    assert_eq!(is_inbound(&ours, &found_theirs), Some(false));
    meet(&found_ours, &theirs, "theirs dials ours").await;
    assert_eq!(is_inbound(&found_ours, &theirs), Some(true));
    is_known_by_ours(&ours, &found_theirs).await;
    is_known_by_theirs(&theirs, &found_ours).await;
    found_ours.stop().await;
    // Both know the bootnode.
    let (rpc, _serving) = Server::start(&ours).await;
    for rpc in [rpc, Server::of(&theirs)] {
        let listed = |table: &Value| table.as_array().unwrap().contains(&json!(bootnode));
        rpc.until("discoveryTable", json!([]), listed).await;
    }
    (ours, theirs)
}

pub(crate) async fn our_bootnode_introduces_both_and_no_node_connects_to_another_chain() {
    let place = Place::new().await;
    let other_chain = config(&place.directory, &chain(902));
    let bootnode = HostConfig { discovery: Some(looking_from(None)), ..other_chain };
    let bootnode = Host::start(bootnode).await.unwrap();
    let record = bootnode.local_enr().unwrap();
    let told = place.read(&record).await;
    assert_eq!((told.chain_id, told.taken), (Some(902), false));
    let (ours, theirs) = all_meet_by(&place, &record).await;
    assert!(!theirs.is_connected(&bootnode.peer_id()).await);
    assert_eq!(bootnode.peers(|peers, _| peers.connected_peers().len()), 0);
    ours.stop().await;
    bootnode.stop().await;
}

pub(crate) async fn their_bootnode_introduces_both_and_no_node_connects_to_another_chain() {
    let place = Place::new().await;
    let bootnode = place.nodes.node(&chain(902), setup(None)).await;
    let (ours, theirs) = all_meet_by(&place, bootnode.enr.as_ref().unwrap()).await;
    assert!(is_inbound(&ours, &bootnode).is_none() && !theirs.is_connected(&bootnode.id).await);
    let stats = Server::of(&bootnode).call("peerStats", json!([])).await;
    assert_eq!(stats["connected"], 0);
    ours.stop().await;
}

pub(crate) async fn records_have_the_same_entries_and_are_read_the_same_way() {
    let place = Place::new().await;
    for ip in ["127.0.0.1", "192.168.7.7"] {
        // Without a port to listen on, the reference advertises its actual port, whatever it is
        // configured to advertise.
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut args = vec![format!("--p2p.advertise.ip={ip}"), format!("--p2p.listen.udp={port}")];
        args.extend(["--p2p.advertise.tcp=4000".into(), "--p2p.advertise.udp=4001".into()]);
        let theirs = Setup { args, ..setup(None) };
        let theirs = place.nodes.node(&place.chain, theirs).await;
        let ours = place.advertised(Some(ip), 4000, 4001).await;
        let (theirs_told, ours_told) = (
            place.read(theirs.enr.as_ref().unwrap()).await,
            place.read(&ours.local_enr().unwrap()).await,
        );
        assert_eq!(theirs_told.peer_id, theirs.id.to_string());
        assert_eq!(ours_told.peer_id, ours.peer_id().to_string());
        // Byte for byte, except for the key.
        let without_key = |told: &Told| {
            let mut entries = told.entries.clone();
            assert!(entries.remove("secp256k1").is_some_and(|key| key.starts_with("a1")));
            entries
        };
        assert_eq!(without_key(&theirs_told), without_key(&ours_told));
        assert_eq!(theirs_told.names(), ["id", "ip", "opstack", "secp256k1", "tcp", "udp"]);
        for told in [&theirs_told, &ours_told] {
            assert_eq!((told.ip.as_str(), told.tcp, told.udp), (ip, 4000, 4001));
            assert_eq!((told.chain_id, told.version, told.taken), (Some(901), Some(0), true));
            let entry = hex::decode(&told.entries["opstack"]).unwrap();
            assert_eq!(OpStackEntry::decode(&entry), Ok(OpStackEntry::new(901)));
        }
        // geth's encoding of our record is the same as ours.
        assert_eq!(ours_told.written, ours.local_enr().unwrap());
        let dumped = Server::of(&theirs).call("self", json!([])).await;
        assert_eq!(dumped["nodeID"], json!(theirs_told.node_id));
        ours.stop().await;
    }
}

pub(crate) async fn records_of_loopback_and_ipv6_are_read_too() {
    let place = Place::new().await;
    // The reference's nodes advertise an address only if one is configured. Ours also do if they
    // listen on loopback only, since no other address is possible.
    let theirs = place.nodes.node(&place.chain, Setup { args: Vec::new(), ..setup(None) }).await;
    let told = place.read(theirs.enr.as_ref().unwrap()).await;
    assert_eq!(
        (told.names(), told.taken),
        (vec!["id", "opstack", "secp256k1", "tcp", "udp"], true)
    );
    let ours = place.advertised(None, 0, 0).await;
    let told = place.read(&ours.local_enr().unwrap()).await;
    assert_eq!(
        (told.names(), told.taken),
        (vec!["id", "ip", "opstack", "secp256k1", "tcp", "udp"], true)
    );
    assert_eq!(told.ip, "127.0.0.1");
    ours.stop().await;
    // The reference can't advertise an IPv6 address, but it reads ours.
    let args = ["--p2p.advertise.ip=2001:db8::7"];
    let rollup: Value = serde_json::from_str(&place.chain.to_rollup_json()).unwrap();
    let refused = place
        .nodes
        .ask("start", json!({ "args": args, "rollup": rollup, "discovery": true }))
        .await;
    assert!(refused.unwrap_err().contains("failed to parse IP"));
    let ours = place.advertised(Some("2001:db8::7"), 4000, 4001).await;
    let told = place.read(&ours.local_enr().unwrap()).await;
    assert_eq!(
        (told.ip.as_str(), told.tcp, told.udp, told.taken),
        ("2001:db8::7", 4000, 4001, true)
    );
    assert_eq!(told.names(), ["id", "ip6", "opstack", "secp256k1", "tcp", "tcp6", "udp", "udp6"]);
    ours.stop().await;
}
