//! The reference's nodes: op-node's own p2p package, in the program of the folder `op-node`.

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

/// A process in which nodes of the reference run.
#[derive(Clone, Debug)]
pub(crate) struct OpNodes(Arc<Foreign>);

/// What a node is started with, beside its chain.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Flags of op-node.
    pub(crate) args: Vec<String>,
    /// Whether it publishes, signed by the chain's signer.
    pub(crate) sequencer: bool,
    /// Whose blocks it takes, if not the chain's signer's.
    pub(crate) signer: Option<Address>,
    /// Whether it looks for peers.
    pub(crate) discovery: bool,
    /// Whether its RPC is served.
    pub(crate) rpc: bool,
}

/// A running node of the reference.
#[derive(Clone, Debug)]
pub(crate) struct OpNode {
    nodes: OpNodes,
    number: u64,
    /// Its identity.
    pub(crate) id: PeerId,
    /// Where it is reached by TCP, with its identity.
    pub(crate) address: Multiaddr,
    /// Its record, where it has discovery.
    pub(crate) enr: Option<String>,
    /// Where its RPC is, if that is served.
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

/// What a node's gossip has seen: counts by peer and word.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Heard {
    /// What became of messages: `delivered`, `duplicate`, or why not.
    pub(crate) verdicts: Counts,
    /// Control messages that came, and messages.
    pub(crate) received: Counts,
    /// Those that went out.
    pub(crate) sent: Counts,
    /// Who is in which topic's mesh.
    pub(crate) mesh: BTreeMap<String, Vec<String>>,
}

/// Counts by peer and word.
pub(crate) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// How often this was counted of the peer.
pub(crate) fn count(counts: &Counts, peer: &PeerId, word: &str) -> u64 {
    counts.get(&peer.to_string()).and_then(|words| words.get(word)).copied().unwrap_or(0)
}

/// What a node thinks of a peer.
#[derive(Debug, Deserialize)]
pub(crate) struct Scores {
    /// Gossip's and the application's together.
    pub(crate) total: f64,
    /// What they are made of.
    pub(crate) scores: Parts,
}

/// What a score is made of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parts {
    /// Gossip's.
    pub(crate) gossip: GossipScores,
    /// Of requests and answers.
    pub(crate) req_resp: ReqResp,
}

/// Gossip's part.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GossipScores {
    /// Broken promises and the like.
    pub(crate) behavioral_penalty: f64,
}

/// The part of requests and answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReqResp {
    /// Answers that were right.
    pub(crate) valid_responses: f64,
    /// Answers that were none.
    pub(crate) error_responses: f64,
    /// Answers with a block that was refused.
    pub(crate) rejected_payloads: f64,
}

/// A block as the reference's program takes it.
pub(crate) fn encoded(envelope: &Envelope) -> Value {
    let mut ssz = Vec::new();
    let version = envelope.encode(&mut ssz).unwrap();
    json!({ "version": version.index(), "ssz": hex::encode(ssz) })
}

impl OpNodes {
    /// A process without nodes.
    pub(crate) fn start() -> Self {
        Self::start_program("op-node")
    }

    /// One whose nodes keep to no limits of rate.
    pub(crate) fn start_lifted() -> Self {
        Self::start_program("op-node-lifted")
    }

    fn start_program(name: &str) -> Self {
        let program = foreign::programs().unwrap().join(name);
        Self(Arc::new(Foreign::start("op-node", &mut Command::new(program))))
    }

    /// What it answers to what it has to answer.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        let answer = self.0.call(method, params).await;
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("op-node answers to {method}: {answer}: {error}"))
    }

    /// What it answers.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        self.0.ask(method, params).await
    }

    /// The process.
    pub(crate) fn process(&self) -> &Foreign {
        &self.0
    }

    /// Starts a node on the chain.
    pub(crate) async fn node(&self, chain: &ChainConfig, setup: Setup) -> OpNode {
        let rollup: Value = serde_json::from_str(&chain.to_rollup_json()).unwrap();
        let key = if setup.sequencer { format!("0x{}", hex::encode(ours::SIGNER)) } else { "0x".into() };
        let params = json!({
            "args": setup.args, "rollup": rollup, "discovery": setup.discovery, "rpc": setup.rpc, "key": key,
            "signer": setup.signer.or(chain.unsafe_block_signer).unwrap_or_default(),
        });
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
    /// What the node answers, to a method that needs no more than these parameters beside its number.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        self.nodes.call(method, self.of(params)).await
    }

    /// The same for what it may refuse.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        self.nodes.ask(method, self.of(params)).await
    }

    fn of(&self, mut params: Value) -> Value {
        params["node"] = self.number.into();
        params
    }

    /// Dials somebody.
    pub(crate) async fn connect(&self, address: &Multiaddr) {
        let _: Value = self.call("connect", json!({ "address": address })).await;
    }

    /// Publishes a block, signed by its key. The answer is the block's hash.
    pub(crate) async fn publish(&self, envelope: &Envelope) -> B256 {
        let published: Value = self.call("publish", json!({ "block": encoded(envelope) })).await;
        serde_json::from_value(published["hash"].clone()).unwrap()
    }

    /// What its gossip has seen.
    pub(crate) async fn heard(&self) -> Heard {
        self.call("heard", json!({})).await
    }

    /// What it thinks of a peer.
    pub(crate) async fn scores(&self, peer: &PeerId) -> Scores {
        self.call("scores", json!({ "peer": peer.to_string() })).await
    }

    /// What it thinks of a peer once that is as wanted: it looks every fifteen seconds.
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

    /// Gives it blocks to serve.
    pub(crate) async fn hold(&self, blocks: &[Envelope]) {
        let blocks: Vec<Value> = blocks.iter().map(encoded).collect();
        let _: Value = self.call("hold", json!({ "blocks": blocks })).await;
    }

    /// Whether it is connected with the peer.
    pub(crate) async fn is_connected(&self, peer: &PeerId) -> bool {
        self.call("connected", json!({ "peer": peer.to_string() })).await
    }

    /// Whether the peer is in its mesh of the version's topic.
    pub(crate) async fn meshed(&self, chain: &ChainConfig, version: PayloadVersion, peer: &PeerId) -> bool {
        let topic = opp2p_core::gossip::block_topic(chain.chain_id, version);
        self.heard().await.mesh.get(&topic).is_some_and(|mesh| mesh.contains(&peer.to_string()))
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        let _: Value = self.call("stop", json!({})).await;
    }

    /// The blocks that it takes from now on.
    pub(crate) fn taken(&self) -> Taken {
        Taken { number: self.number, events: self.nodes.0.events() }
    }
}

/// The blocks that one node takes.
#[derive(Debug)]
pub(crate) struct Taken {
    number: u64,
    events: broadcast::Receiver<Value>,
}

/// A block that a node of the reference took.
#[derive(Debug, Deserialize)]
pub(crate) struct TakenBlock {
    /// Who it is from.
    pub(crate) from: String,
    /// Its height.
    pub(crate) number: u64,
    /// Its hash.
    pub(crate) hash: B256,
    /// When, in nanoseconds since the Unix epoch.
    pub(crate) at: u64,
}

impl Taken {
    /// The next block.
    pub(crate) async fn next(&mut self) -> TakenBlock {
        let next = async {
            loop {
                let event = self.events.recv().await.expect("op-node runs, and its events are read in time");
                if event["event"] == "block" && event["node"] == self.number {
                    break serde_json::from_value(event).unwrap();
                }
            }
        };
        timeout(PATIENCE, next).await.expect("op-node takes a block in time")
    }
}
