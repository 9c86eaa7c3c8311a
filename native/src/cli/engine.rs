//! Flags for the execution client: its endpoint, the shared secret, and block building.

use super::path;
use super::values::boolean;
use opp2p_core::engine::{EngineEvent, EngineFailure};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Execution client")]
#[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "the flags are only refused"))]
pub(super) struct EngineArgs {
    /// Engine API of an execution client, on http(s):// or ws(s)://: it is fed with the chain, and
    /// asked for blocks that the store lacks.
    #[arg(
        long = "l2",
        alias = "l2-engine-rpc",
        env = "OP_NODE_L2_ENGINE_RPC",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(super) l2: Option<String>,
    /// File with the secret that the execution client shares with this node: 32 bytes in
    /// hexadecimal.
    #[arg(
        long = "l2.jwt-secret", alias = "l2-engine-jwt-secret", env = "OP_NODE_L2_ENGINE_AUTH",
        value_name = "FILE", value_parser = path()
    )]
    pub(super) jwt_secret: Option<PathBuf>,
    /// The secret itself, used if the file of --l2.jwt-secret does not exist. Entry scripts of Base
    /// and Lisk write this variable to that file.
    #[arg(
        long = "l2.jwt-secret.raw",
        env = "OP_NODE_L2_ENGINE_AUTH_RAW",
        value_name = "HEX",
        hide_env_values = true
    )]
    pub(super) jwt_secret_raw: Option<String>,
    /// RPC of a node that derives the chain; its safe and finalized blocks are set on the execution
    /// client.
    #[arg(long = "l2.labels", env = "OPP2P_L2_LABELS", value_name = "URL", hide_env_values = true)]
    pub(super) labels: Option<String>,
    /// Have the execution client build the blocks of a development chain, and publish them.
    #[arg(
        long = "sequencer.enabled", env = "OP_NODE_SEQUENCER_ENABLED", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean,
        help_heading = "Sequencer"
    )]
    pub(super) sequencer: bool,
    /// Start to build only when admin_startSequencer is called.
    #[arg(
        long = "sequencer.stopped", env = "OP_NODE_SEQUENCER_STOPPED", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean,
        help_heading = "Sequencer"
    )]
    pub(super) stopped: bool,
}

/// Logs an event of the engine.
pub(super) fn log(event: &EngineEvent) {
    match event {
        EngineEvent::Ready(head) => {
            tracing::info!(head = head.number, "the execution client is ready");
        }
        EngineEvent::Followed(head) => {
            tracing::debug!(head = head.number, "the execution client follows");
        }
        EngineEvent::Syncing { at, to } => {
            tracing::info!(
                at = at.number,
                to = to.number,
                "the execution client fetches blocks by itself"
            );
        }
        // The trouble list has the block, but not this reason.
        EngineEvent::Invalid { block, reason } => tracing::info!(
            number = block.number, hash = %block.hash, reason,
            "the execution client's reason to call a block invalid; other blocks of this height \
             are offered as they come"
        ),
        EngineEvent::NoGenesis(number) => tracing::warn!(
            number,
            "the execution client has removed the chain's first block (pruned history), so it is \
             not checked that it was set up for this chain"
        ),
        EngineEvent::LabelsRefused { reason } => tracing::warn!(
            reason,
            "the execution client refuses the safe or finalized block, and is told of the head \
             alone until they change"
        ),
        // The next block may resolve it; otherwise it is reported as a mismatch.
        EngineEvent::Failed(failure @ EngineFailure::OtherFork(_)) => {
            tracing::warn!(%failure, "the execution client refuses a block");
        }
        // Troubles, which have lines of their own.
        EngineEvent::Failed(failure) => tracing::debug!(%failure, "the execution client fails"),
        EngineEvent::Mismatched(mismatch) => {
            tracing::debug!(%mismatch, "the execution client is not the one for this chain");
        }
        EngineEvent::NotTaken => {
            tracing::error!("a block that was built did not become the head of this node's chain");
        }
    }
}
