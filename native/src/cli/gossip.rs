//! Flags about the gossip of blocks.

use super::values::duration;
use opp2p_core::gossip::MeshParams;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Gossip")]
pub(super) struct GossipArgs {
    /// How old a gossiped block may be: seconds, or a duration such as 1m30s.
    #[arg(
        long = "p2p.gossip.timestamp.threshold",
        env = "OP_NODE_P2P_GOSSIP_TIMESTAMP_THRESHOLD",
        default_value = "60s",
        value_name = "TIME",
        value_parser = duration
    )]
    pub(super) timestamp_threshold: Duration,
    /// Peers wanted in the mesh of a topic.
    #[arg(
        long = "p2p.gossip.mesh.d", env = "OP_NODE_P2P_GOSSIP_MESH_D", default_value_t = 8,
        value_name = "N", value_parser = mesh_size
    )]
    d: usize,
    /// Fewest peers in a mesh: with less, more are taken in.
    #[arg(
        long = "p2p.gossip.mesh.lo", env = "OP_NODE_P2P_GOSSIP_MESH_DLO", default_value_t = 6,
        value_name = "N", value_parser = mesh_size
    )]
    low: usize,
    /// Most peers in a mesh: with more, some are put out of it.
    #[arg(
        long = "p2p.gossip.mesh.dhi", env = "OP_NODE_P2P_GOSSIP_MESH_DHI", default_value_t = 12,
        value_name = "N", value_parser = mesh_size
    )]
    high: usize,
    /// Peers beside the mesh that are told which blocks there are.
    #[arg(
        long = "p2p.gossip.mesh.dlazy", env = "OP_NODE_P2P_GOSSIP_MESH_DLAZY", default_value_t = 6,
        value_name = "N", value_parser = mesh_size
    )]
    lazy: usize,
    /// Publish own blocks to every subscribed peer rather than to the mesh.
    #[arg(
        long = "p2p.gossip.mesh.floodpublish", env = "OP_NODE_P2P_GOSSIP_FLOOD_PUBLISH", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL"
    )]
    flood_publish: bool,
}

impl GossipArgs {
    /// The mesh, if its sizes fit together; an error is one sentence.
    pub(super) fn mesh(&self) -> Result<MeshParams, String> {
        let Self { d, low, high, lazy, flood_publish, .. } = *self;
        if low > d || d > high {
            return Err(format!(
                "--p2p.gossip.mesh.lo is {low}, --p2p.gossip.mesh.d is {d} and --p2p.gossip.mesh.dhi is {high}: \
                 give them in growing order"
            ));
        }
        Ok(MeshParams { d, low, high, lazy, flood_publish })
    }
}

/// The reference's bounds (`p2p/config.go`, `Check`).
fn mesh_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=1000) => Ok(size),
        _ => Err("use a number from 1 to 1000".into()),
    }
}
