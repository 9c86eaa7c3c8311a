//! Networks of gossip routers alone, without the rest of a node: so many fit into one run.
//!
//! Routers are real ([`opp2p_core::mesh::Router`]), and so are their frames and naming jobs. Lines
//! have latency by distance, uplinks have bandwidth, and verdicts take time. A table knows the
//! valid blocks, so they need no signatures. A node closes and refuses connections of a peer that
//! its router wants banned, or whose score is below -100. Incoming bandwidth and connections have
//! no limit, and nothing is lost: a line is a TCP connection.
//!
//! [`attacks`] has the runs. Each seed replays, bit for bit.

pub(crate) mod attacks;
pub(crate) mod cli;
mod net;
mod plan;
mod plots;
mod record;
mod report;
mod sybil;
mod trace;

pub(crate) use net::Net;
pub(crate) use report::Report;
pub(crate) use trace::{MAX_BLOCKS, MAX_NODES};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
/// The topic of all routers.
pub(crate) const TOPIC: &str = "/optimism/10/3/blocks";

/// Size of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: u32,
    pub(crate) blocks: u32,
    /// Sybils for each honest node.
    pub(crate) sybils: u32,
}

/// Runs a scene with a seed, and checks it.
pub(crate) fn run(scene: attacks::Scene, seed: u64, size: Size) -> Report {
    let mut net = Net::new(seed, scene(size.nodes, size.blocks, size.sybils));
    net.run();
    net.report()
}
