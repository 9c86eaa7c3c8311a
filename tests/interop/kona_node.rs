//! The program in the folder `kona`, in which nodes of kona run, and those nodes.

use crate::foreign::{self, Foreign};
use crate::op_node::encoded;
use crate::ours::{self, PATIENCE};
use alloy_primitives::{Address, B256, hex};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::ChainConfig;
use opp2p_core::gossip::block_topic;
use opp2p_core::payload::{Envelope, PayloadVersion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// Interval between two polls of a condition.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Returns the path of the program, if it is built.
pub(crate) fn program() -> Option<PathBuf> {
    let name = format!("kona{}", std::env::consts::EXE_SUFFIX);
    foreign::programs().map(|folder| folder.join(name)).filter(|program| program.exists())
}

/// A process in which nodes of kona run.
#[derive(Clone, Debug)]
pub(crate) struct Konas(Arc<Foreign>);

/// Settings of a node, apart from its chain.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Signer whose blocks it accepts, if not the chain's.
    pub(crate) signer: Option<Address>,
    /// Whether it scores by topic, which kona's node only does on request.
    pub(crate) topic_scores: bool,
    /// Whether it scores no peers at all.
    pub(crate) scoreless: bool,
    /// Maximum number of peers in a mesh, if not the default.
    pub(crate) mesh: Option<usize>,
    /// Records of its bootnodes, and the folder of its table; `None` for no discovery.
    pub(crate) discovery: Option<(Vec<String>, PathBuf)>,
}

/// A running node of kona.
#[derive(Debug)]
pub(crate) struct Kona {
    pub(crate) konas: Konas,
    pub(crate) number: u64,
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) enr: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    node: u64,
    peer_id: String,
    addresses: Vec<Multiaddr>,
    enr: Option<String>,
}

/// Knowledge of a node of kona about a connected peer.
#[derive(Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) agent: Option<String>,
    pub(crate) protocols: Option<Vec<String>>,
    pub(crate) topics: Vec<String>,
    pub(crate) score: Option<f64>,
    /// Round-trip time of a ping, in seconds.
    pub(crate) ping: Option<f64>,
}

/// A block as kona published it.
#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    pub(crate) hash: B256,
    pub(crate) topic: String,
    /// Id of the message.
    pub(crate) id: String,
}

/// Verdict of kona's validator on a message, and the reason.
#[derive(Debug, Deserialize)]
pub(crate) struct Judged {
    pub(crate) verdict: String,
    pub(crate) why: String,
}

/// A kona node's result for a received message.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) event: String,
    pub(crate) from: String,
    pub(crate) topic: String,
    pub(crate) hash: Option<B256>,
}

impl Konas {
    pub(crate) fn start() -> Self {
        let program = program().expect("main has looked");
        Self(Arc::new(Foreign::start("kona", &mut Command::new(program))))
    }

    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        let answer = self.0.call(method, params).await;
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("kona answers to {method}: {answer}: {error}"))
    }

    pub(crate) async fn node(&self, chain: &ChainConfig, start: Start) -> Kona {
        let discovery = start
            .discovery
            .map(|(bootnodes, store)| json!({ "bootnodes": bootnodes, "store": store }));
        let params = json!({
            "rollup": rollup(chain), "key": hex::encode(ours::SIGNER),
            "topic_scores": start.topic_scores, "scores": !start.scoreless,
            "signer": start.signer.or(chain.unsafe_block_signer).unwrap_or_default(),
            "mesh": start.mesh,
            "discovery": discovery,
        });
        let started: Started = self.call("start", params).await;
        Kona {
            konas: self.clone(),
            number: started.node,
            id: started.peer_id.parse().unwrap(),
            address: started.addresses.into_iter().next().expect("it listens"),
            enr: started.enr,
        }
    }

    /// Returns the verdicts of kona's validator on messages, one after another.
    pub(crate) async fn judge(
        &self,
        chain: &ChainConfig,
        signer: Address,
        version: PayloadVersion,
        messages: &[Vec<u8>],
    ) -> Vec<Judged> {
        let messages: Vec<String> = messages.iter().map(hex::encode).collect();
        let params = json!({
            "rollup": rollup(chain), "signer": signer, "version": version.index(),
            "messages": messages,
        });
        self.call("judge", params).await
    }
}

pub(crate) fn rollup(chain: &ChainConfig) -> Value {
    serde_json::from_str(&chain.to_rollup_json()).unwrap()
}

impl Kona {
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, mut params: Value) -> R {
        params["node"] = self.number.into();
        self.konas.call(method, params).await
    }

    pub(crate) async fn connect(&self, address: &Multiaddr) {
        let _: Value = self.call("connect", json!({ "address": address })).await;
    }

    pub(crate) async fn publish(&self, block: &Envelope) -> Published {
        self.call("publish", json!({ "block": encoded(block) })).await
    }

    /// Returns the node's knowledge about a peer, once it meets a condition.
    pub(crate) async fn peer(&self, id: &PeerId, wanted: impl Fn(&Peer) -> bool) -> Peer {
        let known = async {
            loop {
                let mut peers: BTreeMap<String, Peer> = self.call("peers", json!({})).await;
                match peers.remove(&id.to_string()) {
                    Some(peer) if wanted(&peer) => break peer,
                    _ => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, known).await.expect("kona knows the peer in time")
    }

    pub(crate) async fn score(&self, id: &PeerId) -> f64 {
        self.peer(id, |_| true).await.score.expect("kona scores its peers")
    }

    /// Waits until the node's mesh of the version's topic has this many peers, and returns them.
    pub(crate) async fn meshed(
        &self,
        chain: &ChainConfig,
        version: PayloadVersion,
        size: usize,
    ) -> Vec<String> {
        let topic = block_topic(chain.chain_id, version);
        let meshed = async {
            loop {
                let mut meshes: BTreeMap<String, Vec<String>> =
                    self.call("meshed", json!({})).await;
                match meshes.remove(&topic) {
                    Some(mesh) if mesh.len() >= size => break mesh,
                    _ => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, meshed).await.expect("kona fills its mesh in time")
    }

    /// Returns the node's results for messages from now on.
    pub(crate) fn heard(&self) -> Heard {
        Heard { number: self.number, events: self.konas.0.events() }
    }

    pub(crate) async fn stop(self) {
        let _: Value = self.call("stop", json!({})).await;
    }
}

/// Results of one node for messages, in order.
pub(crate) struct Heard {
    number: u64,
    events: broadcast::Receiver<Value>,
}

impl Heard {
    pub(crate) async fn next(&mut self) -> Told {
        let next = async {
            loop {
                let event =
                    self.events.recv().await.expect("kona runs, and its events are read in time");
                if event["node"] == self.number {
                    break serde_json::from_value(event).unwrap();
                }
            }
        };
        timeout(PATIENCE, next).await.expect("kona judges a message in time")
    }
}
