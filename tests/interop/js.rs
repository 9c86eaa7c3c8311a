//! Peers of js-libp2p, a second implementation of all lower layers. The program in the folder
//! `js-libp2p` reads and checks messages with libraries of its own.

use crate::foreign::{self, Foreign};
use crate::op_node::{OpNodes, Setup};
use crate::ours::{
    self, ANY_AGE, PATIENCE, chain_of, config, message, padded, until, until_true, verdict,
};
use alloy_primitives::{B256, hex};
use libp2p::{Multiaddr, PeerId};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::fixtures;
use opp2p_core::gossip::{MeshParams, Reason, block_topic};
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::sync::protocol_id;
use opp2p_node::host::{Host, HostConfig, WsConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Returns `true` if the program and its dependencies are present.
pub(crate) fn is_built() -> bool {
    foreign::programs()
        .is_some_and(|programs| programs.join("js-libp2p/node_modules/.stamp").exists())
}

/// A running peer of js-libp2p, in a process of its own.
#[derive(Debug)]
struct JsPeer {
    process: Foreign,
    id: PeerId,
    events: broadcast::Receiver<Value>,
}

/// A message as received and checked by a peer.
#[derive(Debug, Deserialize)]
struct Heard {
    from: String,
    topic: String,
    number: Option<u64>,
    hash: Option<B256>,
    verdict: String,
}

impl JsPeer {
    /// Starts a peer that uses TCP or WebSocket, with these mesh settings.
    async fn start(chain: &ChainConfig, transport: &str, mesh: Value) -> Self {
        let program = foreign::programs().unwrap().join("js-libp2p/main.mjs");
        let process = Foreign::start("js-libp2p", Command::new("node").arg(program));
        let params = json!({
            "chain_id": chain.chain_id, "signer": chain.unsafe_block_signer, "transport": transport,
            "mesh": mesh,
        });
        let started = process.call("start", params).await;
        let id = started["peer_id"].as_str().unwrap().parse().unwrap();
        Self { events: process.events(), id, process }
    }

    async fn call(&self, method: &str, mut params: Value) -> Value {
        params["node"] = 1.into();
        self.process.call(method, params).await
    }

    /// Dials one of our nodes and waits until each is in the other's mesh.
    async fn join(&self, host: &Host, address: &Multiaddr, topic: &str) {
        self.call("connect", json!({ "address": address })).await;
        let ours = host.peer_id().to_string();
        until_true("it has us in its mesh", PATIENCE, async || {
            let mesh = self.call("mesh", json!({ "topic": topic })).await;
            mesh.as_array().unwrap().iter().any(|peer| *peer == ours)
        })
        .await;
        until(host, |status| status.mesh + status.browser_mesh >= 1).await;
    }

    async fn publish(&self, topic: &str, data: &[u8]) {
        let sent = self.call("publish", json!({ "topic": topic, "data": hex::encode(data) })).await;
        assert!(sent.as_u64() >= Some(1), "it went to {sent}");
    }

    /// Returns the peer's result for the next message.
    async fn heard(&mut self) -> Heard {
        let next = async { serde_json::from_value(self.events.recv().await.unwrap()).unwrap() };
        timeout(PATIENCE, next).await.expect("js-libp2p hears a message in time")
    }
}

/// Returns blocks of the version: the bundled ones, a generated one, a large and a very large one.
fn blocks(chain: &ChainConfig, version: PayloadVersion, largest: usize) -> Vec<Envelope> {
    let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
    let mut maker = BlockMaker::new(chain, 1);
    let mut made = || maker.next(unix_seconds());
    let made = [made(), padded(made(), 1 << 20), padded(made(), largest)];
    real.map(|block| block.envelope).chain(made).collect()
}

/// Starts one of our nodes that publishes blocks of any age.
async fn sequencer(directory: &TempDir, chain: &ChainConfig) -> Host {
    let config = HostConfig {
        timestamp_threshold: ANY_AGE,
        sequencer: Some(ours::signer().into()),
        ws: Some(WsConfig { suffices: true, ..WsConfig::default() }),
        ..config(directory, chain)
    };
    Host::start(config).await.unwrap()
}

/// Checks that every block of every version is accepted over this transport.
async fn all_versions_are_accepted(transport: &str, address: impl Fn(&Host) -> Multiaddr) {
    let directory = tempfile::tempdir().unwrap();
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let topic = block_topic(chain.chain_id, version);
        let host = sequencer(&directory, &chain).await;
        let mut js = JsPeer::start(&chain, transport, json!({})).await;
        js.join(&host, &address(&host), &topic).await;
        for block in blocks(&chain, version, 9 << 20) {
            let hash = host.publish(block.clone()).await.unwrap().unwrap();
            let heard = js.heard().await;
            assert_eq!((heard.hash, heard.number), (Some(hash), Some(block.payload.block_number)));
            assert_eq!((heard.from, heard.topic), (host.peer_id().to_string(), topic.clone()));
            assert_eq!(heard.verdict, "accept");
        }
        host.stop().await;
    }
}

pub(crate) async fn every_version_of_our_blocks_is_accepted_over_tcp() {
    all_versions_are_accepted("tcp", |host| host.address()).await;
}

pub(crate) async fn every_version_of_our_blocks_is_accepted_over_websocket() {
    all_versions_are_accepted("websocket", |host| host.browser_addresses().remove(0)).await;
}

pub(crate) async fn its_messages_are_judged_like_any_others() {
    let directory = tempfile::tempdir().unwrap();
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let topic = block_topic(chain.chain_id, version);
        let host = sequencer(&directory, &chain).await;
        let js = JsPeer::start(&chain, "tcp", json!({})).await;
        js.join(&host, &host.address(), &topic).await;
        let mut events = host.events();
        for block in blocks(&chain, version, 4 << 20) {
            js.publish(&topic, &message(&chain, &block)).await;
            assert_eq!(verdict(&mut events).await.map(|id| id.hash), Ok(block.payload.block_hash));
        }
        // It sends anything that its user asks for, and is disconnected for that.
        js.publish(&topic, &[0xff; 5]).await;
        assert_eq!(verdict(&mut events).await, Err(Reason::SnappyHeader));
        until(&host, |status| status.peers == 0).await;
        host.stop().await;
    }
}

pub(crate) async fn blocks_travel_from_go_through_us_to_javascript_and_back() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let topic = block_topic(chain.chain_id, version);
    let go = OpNodes::start().node(&chain, Setup { sequencer: true, ..Setup::default() }).await;
    let static_peers = vec![go.address.clone()];
    let host =
        Host::start(HostConfig { static_peers, ..config(&directory, &chain) }).await.unwrap();
    until(&host, |status| status.mesh == 1).await;
    let mut js = JsPeer::start(&chain, "tcp", json!({})).await;
    js.join(&host, &host.address(), &topic).await;
    until(&host, |status| status.mesh == 2).await;
    let (mut maker, mut taken) = (BlockMaker::new(&chain, 3), go.taken());
    for _ in 0..5 {
        let hash = go.publish(&maker.next(unix_seconds())).await;
        let heard = js.heard().await;
        assert_eq!((heard.hash, heard.verdict.as_str()), (Some(hash), "accept"));
        let block = maker.next(unix_seconds());
        js.publish(&topic, &message(&chain, &block)).await;
        assert_eq!(taken.next().await.hash, block.payload.block_hash);
    }
    assert!(go.scores(&host.peer_id()).await.total >= 0.0);
    host.stop().await;
}

pub(crate) async fn it_fetches_announced_blocks() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let topic = block_topic(chain.chain_id, version);
    let mesh = MeshParams { d: 1, low: 1, high: 1, lazy: 6, flood_publish: false };
    let config =
        HostConfig { mesh, sequencer: Some(ours::signer().into()), ..config(&directory, &chain) };
    let host = Host::start(config).await.unwrap();
    // One peer takes the only slot in the mesh. The other only gets blocks that it requests by our
    // ids, which must equal its own.
    let mut peers = [
        JsPeer::start(&chain, "tcp", json!({})).await,
        JsPeer::start(&chain, "tcp", json!({})).await,
    ];
    peers[0].join(&host, &host.address(), &topic).await;
    peers[1].call("connect", json!({ "address": host.address() })).await;
    until(&host, |status| status.subscribers == 2).await;
    let lazy = opp2p_wire::from_libp2p(&peers[1].id).unwrap();
    let mut maker = BlockMaker::new(&chain, 3);
    for _ in 0..5 {
        let hash = host.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        for peer in &mut peers {
            let heard = peer.heard().await;
            assert_eq!((heard.hash, heard.verdict.as_str()), (Some(hash), "accept"));
        }
        assert!(!host.peers(|peers, _| peers.is_in_mesh(&lazy, version)));
    }
    host.stop().await;
}

pub(crate) async fn it_identifies_us_and_pings_are_answered() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let host = sequencer(&directory, &chain).await;
    let js = JsPeer::start(&chain, "tcp", json!({})).await;
    js.join(&host, &host.address(), &block_topic(chain.chain_id, version)).await;
    let took = js.call("ping", json!({ "address": host.address() })).await;
    assert!(took.as_f64().is_some(), "{took}");
    let identified = js.call("identified", json!({ "peer": host.peer_id().to_string() })).await;
    assert_eq!(identified["agent"], host.agent());
    let protocols = identified["protocols"].as_array().unwrap();
    for protocol in
        ["/meshsub/1.1.0", "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0", &protocol_id(chain.chain_id)]
    {
        assert!(protocols.iter().any(|said| said == protocol), "no {protocol} in {protocols:?}");
    }
    // Our node also knows its agent.
    let id = opp2p_wire::from_libp2p(&js.id).unwrap();
    let agent = host.peers(|peers, _| peers.book().get(&id).map(|record| record.agent.clone()));
    assert!(agent.as_ref().is_some_and(|agent| agent.starts_with("js-libp2p/")), "{agent:?}");
    host.stop().await;
}
