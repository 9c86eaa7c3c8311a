//! Configuration of a router.

use super::{MAX_TOPICS, Version};
use crate::gossip::{HEARTBEAT, MeshParams};
use crate::peers::{ScoreParams, Thresholds};
use std::time::Duration;

/// Configuration of a [`Router`](super::Router).
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// Names of the topics, at most [`MAX_TOPICS`]; further ones are ignored. Their positions are
    /// the [`Topic`](super::Topic)s. At first, no topic is joined.
    pub topics: Vec<String>,
    /// Length of a message id in bytes. Other ids are skipped.
    pub id_length: usize,
    /// Sizes of the mesh of nodes.
    pub mesh: MeshParams,
    /// Parameters of the score, or `None` for no scoring: then all peers score 0.
    pub score: Option<ScoreParams>,
    /// Thresholds of the score, which determine how a peer is treated.
    pub thresholds: Thresholds,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Budget of each node.
    pub node: Allowances,
    /// Budget of each browser.
    pub browser: Allowances,
    /// Number of large messages that are on their way to nodes at the same time: few, because the
    /// first to have a message relay it, and the others then say that they are receiving it.
    pub large_at_once: usize,
    /// Number of large messages that are on their way to browsers at the same time: more, because a
    /// browser that reads nothing delays others of its kind.
    pub browsers_at_once: usize,
    /// Number of naming jobs that run at the same time.
    pub naming_at_once: usize,
    /// Whether a message of our own counts as published if browsers have it and no node does. A
    /// node that serves only browsers needs this. Otherwise the message is published again until a
    /// node has it.
    pub browsers_suffice: bool,
    /// Source of all random choices. Keep it secret.
    pub seed: u64,
}

impl MeshConfig {
    /// Returns the network's configuration.
    pub fn new(topics: Vec<String>, seed: u64) -> Self {
        Self {
            topics,
            id_length: 20,
            mesh: MeshParams::default(),
            score: Some(ScoreParams::light(2)),
            thresholds: Thresholds::REFERENCE,
            heartbeat: HEARTBEAT,
            node: Allowances::NODE,
            browser: Allowances::BROWSER,
            large_at_once: 2,
            browsers_at_once: 16,
            naming_at_once: 4,
            browsers_suffice: false,
            seed,
        }
    }

    pub(super) fn topic_names(&self) -> impl Iterator<Item = &String> {
        self.topics.iter().take(MAX_TOPICS)
    }
}

/// A token bucket: its rate and its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Tokens per second.
    pub per_second: u64,
    /// Tokens in a full bucket.
    pub burst: u64,
}

/// Budget of one peer. Each allowance is several times what an honest peer of any implementation
/// needs on a chain with five blocks a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// Bytes of frames that are not message data.
    pub control_bytes: Allowance,
    /// Entries of control messages: ids, GRAFTs, PRUNEs, subscriptions.
    pub control_entries: Allowance,
    /// Bytes to decompress and hash: those received or those announced, whichever are more.
    pub naming_bytes: Allowance,
    /// New messages.
    pub messages: Allowance,
    /// Copies of known messages.
    pub copies: Allowance,
    /// Bytes of answers to IWANT.
    pub served_bytes: Allowance,
}

const fn allowance(per_second: u64, burst: u64) -> Allowance {
    Allowance { per_second, burst }
}

impl Allowances {
    /// Allowances of a node.
    pub const NODE: Self = Self {
        control_bytes: allowance(32 << 10, 128 << 10),
        control_entries: allowance(500, 2000),
        naming_bytes: allowance(12 << 20, 48 << 20),
        messages: allowance(128, 1024),
        copies: allowance(256, 2048),
        served_bytes: allowance(4 << 20, 20 << 20),
    };
    /// Allowances of a browser.
    pub const BROWSER: Self = Self {
        control_bytes: allowance(8 << 10, 32 << 10),
        control_entries: allowance(100, 400),
        naming_bytes: allowance(1 << 20, 12 << 20),
        messages: allowance(4, 32),
        copies: allowance(16, 64),
        served_bytes: allowance(1 << 20, 12 << 20),
    };
}

/// Class of a peer. Its first connection determines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A node.
    Node,
    /// A node that the operator configured. It is treated as a node, but the mesh always has room
    /// for it.
    Static,
    /// A browser. The mesh takes every browser that sends a GRAFT, beside the nodes.
    Browser,
}

impl Class {
    /// Returns `true` for a browser.
    pub const fn is_browser(self) -> bool {
        matches!(self, Self::Browser)
    }
}

/// Version of a peer as far as it is known: `None` until our stream to it is open.
pub(super) type Spoken = Option<Version>;
