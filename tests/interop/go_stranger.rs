//! Bare go-libp2p hosts, which send messages that no honest node would.

use crate::op_node::OpNodes;
use alloy_primitives::hex;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::ChainConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// A running stranger.
#[derive(Clone, Debug)]
pub(crate) struct GoStranger {
    nodes: OpNodes,
    number: u64,
    /// Its peer id.
    pub(crate) id: PeerId,
    /// Its address, with its peer id.
    pub(crate) address: Multiaddr,
}

#[derive(Deserialize)]
struct Started {
    node: u64,
    peer_id: String,
    addresses: Vec<Multiaddr>,
}

/// Result of one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// All bytes until the peer ended the stream, or the reason why there was no answer.
    pub(crate) result: Result<Vec<u8>, String>,
    /// Time from the first request to the end of this answer.
    pub(crate) after: Duration,
}

#[derive(Deserialize)]
struct Answered {
    bytes: String,
    refused: Option<String>,
    nanoseconds: u64,
}

impl GoStranger {
    /// Starts a stranger with only this security, these multiplexers and these topics.
    pub(crate) async fn start(
        nodes: &OpNodes,
        chain: &ChainConfig,
        security: &[&str],
        mux: &[&str],
        topics: &[String],
    ) -> Self {
        let rollup: Value = serde_json::from_str(&chain.to_rollup_json()).unwrap();
        let params =
            json!({ "rollup": rollup, "security": security, "mux": mux, "topics": topics });
        let started: Started = nodes.call("stranger", params).await;
        Self {
            nodes: nodes.clone(),
            number: started.node,
            id: started.peer_id.parse().unwrap(),
            address: started.addresses.into_iter().next().expect("it listens"),
        }
    }

    /// Starts a stranger with the usual protocols.
    pub(crate) async fn plain(nodes: &OpNodes, chain: &ChainConfig) -> Self {
        Self::start(nodes, chain, &["noise"], &["yamux"], &[]).await
    }

    /// Dials a peer and waits until both have identified each other. Returns the reason for a
    /// failure.
    pub(crate) async fn connect(&self, address: &Multiaddr) -> Result<(), String> {
        let params = json!({ "node": self.number, "address": address });
        self.nodes.ask("stranger_connect", params).await.map(drop)
    }

    /// Publishes raw bytes.
    pub(crate) async fn send(&self, topic: &str, data: &[u8]) {
        let params = json!({ "node": self.number, "topic": topic, "data": hex::encode(data) });
        let _: Value = self.nodes.call("stranger_send", params).await;
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        let _: Value = self.nodes.call("stranger_stop", json!({ "node": self.number })).await;
    }

    /// Sends this on a stream of the protocol, closes its own side, and reads the answer.
    pub(crate) async fn ask(
        &self,
        peer: &PeerId,
        protocol: &str,
        data: &[u8],
    ) -> Result<Vec<u8>, String> {
        self.ask_repeatedly(peer, protocol, data, false, 1).await.remove(0).result
    }

    /// Sends this on `times` streams at once; with `open`, the sending sides stay open. The answers
    /// are in the order of arrival.
    pub(crate) async fn ask_repeatedly(
        &self,
        peer: &PeerId,
        protocol: &str,
        data: &[u8],
        open: bool,
        times: usize,
    ) -> Vec<Answer> {
        let params = json!({
            "node": self.number, "peer": peer.to_string(), "protocol": protocol,
            "data": hex::encode(data),
            "open": open, "times": times,
        });
        let answers: Vec<Answered> = self.nodes.call("stranger_ask", params).await;
        let answer = |answered: Answered| Answer {
            result: answered.refused.map_or_else(|| Ok(hex::decode(answered.bytes).unwrap()), Err),
            after: Duration::from_nanos(answered.nanoseconds),
        };
        answers.into_iter().map(answer).collect()
    }
}
