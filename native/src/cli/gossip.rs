//! Flags for the gossip of blocks.

use super::flags::sentence;
use super::values::{boolean, duration};
use opp2p_core::gossip::{MAX_MESH_SIZE, MeshParams};
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Gossip")]
pub(super) struct GossipArgs {
    /// Maximum age of a gossiped block: seconds, or a duration such as 1m30s.
    #[arg(
        long = "p2p.gossip.timestamp.threshold",
        env = "OP_NODE_P2P_GOSSIP_TIMESTAMP_THRESHOLD",
        default_value = "60s",
        value_name = "TIME",
        value_parser = threshold
    )]
    pub(super) timestamp_threshold: Duration,
    /// Target number of peers in a topic's mesh.
    #[arg(
        long = "p2p.gossip.mesh.d", env = "OP_NODE_P2P_GOSSIP_MESH_D", default_value_t = 8,
        value_name = "N", value_parser = mesh_size
    )]
    d: usize,
    /// Minimum number of peers in a mesh; below it, peers are added.
    #[arg(
        long = "p2p.gossip.mesh.lo", env = "OP_NODE_P2P_GOSSIP_MESH_DLO", default_value_t = 6,
        value_name = "N", value_parser = mesh_size
    )]
    low: usize,
    /// Maximum number of peers in a mesh; above it, peers are removed.
    #[arg(
        long = "p2p.gossip.mesh.dhi", env = "OP_NODE_P2P_GOSSIP_MESH_DHI", default_value_t = 12,
        value_name = "N", value_parser = mesh_size
    )]
    high: usize,
    /// Number of peers outside the mesh that are told of available blocks.
    #[arg(
        long = "p2p.gossip.mesh.dlazy", env = "OP_NODE_P2P_GOSSIP_MESH_DLAZY", default_value_t = 6,
        value_name = "N", value_parser = mesh_size
    )]
    lazy: usize,
    /// Publish own blocks to every subscribed peer instead of only to the mesh.
    #[arg(
        long = "p2p.gossip.mesh.floodpublish", env = "OP_NODE_P2P_GOSSIP_FLOOD_PUBLISH",
        default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    flood_publish: bool,
}

/// Parses the maximum age of a block. Every block is older than zero when it arrives.
fn threshold(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time.is_zero() => {
            Err("use some time, such as 60s: with 0 every block is too old".into())
        }
        time => Ok(time),
    }
}

impl GossipArgs {
    /// Returns the mesh parameters after checking that the sizes fit together; an error is one
    /// sentence.
    pub(super) fn mesh(&self) -> Result<MeshParams, String> {
        let Self { d, low, high, lazy, flood_publish, .. } = *self;
        let mesh = MeshParams { d, low, high, lazy, flood_publish };
        mesh.check().map_err(|error| sentence(&error))?;
        Ok(mesh)
    }
}

/// Parses a mesh size.
fn mesh_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=MAX_MESH_SIZE) => Ok(size),
        _ => Err(format!("use a number from 1 to {MAX_MESH_SIZE}")),
    }
}
