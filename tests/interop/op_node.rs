//! The reference's nodes: op-node's own p2p package, in the program of the folder `op-node`.
//!
//! The program is built from two releases, and the bare hosts of the folder `pubsub` understand the
//! same calls. A test does not choose between them: it runs [with](with_reference) one.

use crate::foreign::{self, Foreign};
use crate::ours::{self, PATIENCE};
use alloy_primitives::{Address, B256, hex};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::{Envelope, PayloadVersion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

tokio::task_local! {
    /// The program that a test uses.
    static REFERENCE: &'static str;
}

/// Runs a test with this program as the reference, wherever the test starts nodes of the reference.
pub(crate) async fn with_reference(program: &'static str, test: impl Future<Output = ()>) {
    REFERENCE.scope(program, test).await;
}

/// Returns the program whose nodes this test uses.
pub(crate) fn reference() -> &'static str {
    REFERENCE.try_with(|program| *program).unwrap_or(crate::OP_NODE)
}

/// A process in which nodes of the reference run.
#[derive(Clone, Debug)]
pub(crate) struct OpNodes(Arc<Foreign>);

/// Settings of a node, apart from its chain.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Flags of op-node.
    pub(crate) args: Vec<String>,
    /// Whether it publishes, with the chain's signer.
    pub(crate) sequencer: bool,
    /// Signer whose blocks it accepts, if not the chain's.
    pub(crate) signer: Option<Address>,
    /// Whether it searches for peers.
    pub(crate) discovery: bool,
    /// Whether it serves its RPC.
    pub(crate) rpc: bool,
    /// Versions of blocks to whose topics a bare host subscribes, if not all four.
    pub(crate) topics: Option<Vec<PayloadVersion>>,
}

/// A running node of the reference.
#[derive(Clone, Debug)]
pub(crate) struct OpNode {
    nodes: OpNodes,
    number: u64,
    /// Its peer id.
    pub(crate) id: PeerId,
    /// Its TCP address, with its peer id.
    pub(crate) address: Multiaddr,
    /// Its node record, if it has discovery.
    pub(crate) enr: Option<String>,
    /// Address of its RPC, if it serves one.
    pub(crate) rpc: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    node: u64,
    peer_id: String,
    addresses: Vec<Multiaddr>,
    enr: Option<String>,
    rpc: Option<String>,
}

/// Counts of a node's gossip, by peer and name.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Heard {
    /// Results of messages: `delivered`, `duplicate`, or the reason for a refusal.
    pub(crate) verdicts: Counts,
    /// Received messages and control messages.
    pub(crate) received: Counts,
    /// Sent messages and control messages.
    pub(crate) sent: Counts,
    /// Peers in each topic's mesh.
    pub(crate) mesh: BTreeMap<String, Vec<String>>,
}

/// Counts by peer and name.
pub(crate) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Returns the peer's count under this name.
pub(crate) fn count(counts: &Counts, peer: &PeerId, word: &str) -> u64 {
    counts.get(&peer.to_string()).and_then(|words| words.get(word)).copied().unwrap_or(0)
}

/// Scores that a node gives a peer.
#[derive(Debug, Deserialize)]
pub(crate) struct Scores {
    /// Sum of the gossip score and the application's score.
    pub(crate) total: f64,
    /// The parts of the score.
    pub(crate) scores: Parts,
}

/// Parts of a score.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parts {
    /// Gossip's part of the score.
    pub(crate) gossip: GossipScores,
    /// Part of the score for requests and answers.
    pub(crate) req_resp: ReqResp,
}

/// Gossip's part of a score.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GossipScores {
    /// Penalty for broken promises and similar conduct.
    pub(crate) behavioral_penalty: f64,
}

/// Part of a score for requests and answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReqResp {
    /// Number of valid answers.
    pub(crate) valid_responses: f64,
    /// Number of errors in place of answers.
    pub(crate) error_responses: f64,
    /// Number of answers with a block that was rejected.
    pub(crate) rejected_payloads: f64,
}

/// Encodes a block for the reference's program.
pub(crate) fn encoded(envelope: &Envelope) -> Value {
    let mut ssz = Vec::new();
    let version = envelope.encode(&mut ssz).unwrap();
    json!({ "version": version.index(), "ssz": hex::encode(ssz) })
}

impl OpNodes {
    /// Starts a process without nodes.
    pub(crate) fn start() -> Self {
        Self::start_program(reference())
    }

    /// Starts a process whose nodes have no rate limits.
    pub(crate) fn start_lifted() -> Self {
        Self::start_program("op-node-lifted")
    }

    fn start_program(name: &'static str) -> Self {
        let program = foreign::programs().unwrap().join(name);
        Self(Arc::new(Foreign::start(name, &mut Command::new(program))))
    }

    /// Returns the program's answer to a call that must not fail.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        let answer = self.0.call(method, params).await;
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("op-node answers to {method}: {answer}: {error}"))
    }

    /// Returns the program's answer, or its error.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        self.0.ask(method, params).await
    }

    /// Returns the process.
    pub(crate) fn process(&self) -> &Foreign {
        &self.0
    }

    /// Starts a node on the chain.
    pub(crate) async fn node(&self, chain: &ChainConfig, setup: Setup) -> OpNode {
        let rollup: Value = serde_json::from_str(&chain.to_rollup_json()).unwrap();
        let key =
            if setup.sequencer { format!("0x{}", hex::encode(ours::SIGNER)) } else { "0x".into() };
        let mut params = json!({
            "args": setup.args, "rollup": rollup, "discovery": setup.discovery, "rpc": setup.rpc,
            "key": key,
            "signer": setup.signer.or(chain.unsafe_block_signer).unwrap_or_default(),
        });
        if let Some(topics) = setup.topics {
            let indices: Vec<_> = topics.iter().map(|version| version.index()).collect();
            params["topics"] = json!(indices);
        }
        let started: Started = self.call("start", params).await;
        OpNode {
            nodes: self.clone(),
            number: started.node,
            id: started.peer_id.parse().unwrap(),
            address: started.addresses.into_iter().next().expect("it listens"),
            enr: started.enr,
            rpc: started.rpc,
        }
    }
}

impl OpNode {
    /// Returns the node's answer to a method with these parameters, besides the node's number. The
    /// call must not fail.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        self.nodes.call(method, self.of(params)).await
    }

    /// Returns the answer to such a call, or its error.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        self.nodes.ask(method, self.of(params)).await
    }

    fn of(&self, mut params: Value) -> Value {
        params["node"] = self.number.into();
        params
    }

    /// Makes the node dial a peer.
    pub(crate) async fn connect(&self, address: &Multiaddr) {
        let _: Value = self.call("connect", json!({ "address": address })).await;
    }

    /// Publishes a block, signed with the node's key. Returns the block's hash.
    pub(crate) async fn publish(&self, envelope: &Envelope) -> B256 {
        let published: Value = self.call("publish", json!({ "block": encoded(envelope) })).await;
        serde_json::from_value(published["hash"].clone()).unwrap()
    }

    /// Returns the counts of the node's gossip.
    pub(crate) async fn heard(&self) -> Heard {
        self.call("heard", json!({})).await
    }

    /// Returns the node's scores for a peer.
    pub(crate) async fn scores(&self, peer: &PeerId) -> Scores {
        self.call("scores", json!({ "peer": peer.to_string() })).await
    }

    /// Returns the node's scores for a peer once they meet a condition: the node updates them every
    /// fifteen seconds.
    pub(crate) async fn scored(&self, peer: &PeerId, wanted: impl Fn(&Scores) -> bool) -> Scores {
        let started = Instant::now();
        loop {
            let scores = self.scores(peer).await;
            if wanted(&scores) {
                return scores;
            }
            assert!(started.elapsed() < PATIENCE, "not in time: {scores:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Gives the node blocks to serve.
    pub(crate) async fn hold(&self, blocks: &[Envelope]) {
        let blocks: Vec<Value> = blocks.iter().map(encoded).collect();
        let _: Value = self.call("hold", json!({ "blocks": blocks })).await;
    }

    /// Returns `true` if the node is connected to the peer.
    pub(crate) async fn is_connected(&self, peer: &PeerId) -> bool {
        self.call("connected", json!({ "peer": peer.to_string() })).await
    }

    /// Returns `true` if the peer is in the node's mesh of the version's topic.
    pub(crate) async fn meshed(
        &self,
        chain: &ChainConfig,
        version: PayloadVersion,
        peer: &PeerId,
    ) -> bool {
        let topic = opp2p_core::gossip::block_topic(chain.chain_id, version);
        self.heard().await.mesh.get(&topic).is_some_and(|mesh| mesh.contains(&peer.to_string()))
    }

    /// Ends the node.
    pub(crate) async fn stop(self) {
        let _: Value = self.call("stop", json!({})).await;
    }

    /// Returns the blocks that the node accepts from now on.
    pub(crate) fn taken(&self) -> Taken {
        Taken { number: self.number, events: self.nodes.0.events() }
    }
}

/// The blocks that one node accepts, in order.
#[derive(Debug)]
pub(crate) struct Taken {
    number: u64,
    events: broadcast::Receiver<Value>,
}

/// A block that a node of the reference accepted.
#[derive(Debug, Deserialize)]
pub(crate) struct TakenBlock {
    /// Peer that sent it.
    pub(crate) from: String,
    /// Its height.
    pub(crate) number: u64,
    /// Its hash.
    pub(crate) hash: B256,
    /// Time of acceptance, in nanoseconds since the Unix epoch.
    pub(crate) at: u64,
}

impl Taken {
    /// Returns the next block.
    pub(crate) async fn next(&mut self) -> TakenBlock {
        let next = async {
            loop {
                let event = self
                    .events
                    .recv()
                    .await
                    .expect("op-node runs, and its events are read in time");
                if event["event"] == "block" && event["node"] == self.number {
                    break serde_json::from_value(event).unwrap();
                }
            }
        };
        timeout(PATIENCE, next).await.expect("op-node takes a block in time")
    }
}
