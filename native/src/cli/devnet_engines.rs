//! `opp2p devnet --engines`: the execution clients, and what they need.

use super::{Failure, remark};
use crate::devnet::{Engines, Links, Network, Program, Stage};
use opp2p_core::chain::Fork;
use std::path::Path;
use std::time::Duration;

/// Returns the program of the execution clients. Refuses a chain that they can't build.
pub(super) fn program(fork: Fork, block_time: Duration) -> Result<Program, Failure> {
    if cfg!(not(feature = "engine")) {
        return Err(Failure::new("--engines: this program was built without its feature engine"));
    }
    if fork != Fork::Jovian {
        return Err(Failure::new(format!(
            "--engines with --fork {fork}: the execution clients start with jovian; leave out \
             --fork"
        )));
    }
    if block_time.as_secs() == 0 || block_time.subsec_nanos() > 0 {
        return Err(Failure::new(format!(
            "--engines with --block-time {}: the execution clients build blocks at whole seconds; \
             use 1 or more without a fraction",
            block_time.as_secs_f64()
        )));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    Program::find(&folders).ok_or_else(|| {
        Failure::new(
            "--engines: neither op-geth nor op-reth is on the path; install one, or leave out \
             --engines",
        )
    })
}

/// Starts the execution clients with files in this directory, if there is a program for them.
pub(super) async fn start(
    program: Option<&Program>,
    directory: &Path,
) -> Result<Option<Engines>, Failure> {
    let Some(program) = program else { return Ok(None) };
    Engines::start(program, directory).await.map(Some).map_err(Failure::from)
}

/// Links the nodes to the execution clients, if there are any, so that the stage reports the blocks
/// that one of them builds.
pub(super) fn link<'a>(
    stage: Stage<'a>,
    network: &Network,
    engines: Option<&Engines>,
) -> Result<(Stage<'a>, Option<Links>), Failure> {
    let Some(engines) = engines else { return Ok((stage, None)) };
    // Before the first block is built.
    let heard = network.sequencer_handle().events();
    let links = engines.link(network)?;
    let [builder, follower] = engines.urls();
    remark(format_args!(
        "{} builds the sequencer's blocks, with its RPC at {builder}; another executes those of \
         follower 1, with its RPC at {follower}",
        engines.name()
    ));
    Ok((stage.following(links.sequencer(), heard), Some(links)))
}
