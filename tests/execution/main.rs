//! Our nodes with real execution clients: op-geth, which `cargo all-tests -- execution` builds from
//! its Go module.
//!
//! Nodes and engines run in processes of their own; this program is `opp2p` itself if its first
//! argument is `node` or `status`. If op-geth is not in the folder that `OPP2P_INTEROP` names, all
//! tests count as ignored.
//!
//! # op-reth and reth
//! Operators run op-reth since op-geth ended in May 2026, but neither it nor reth is available from
//! a package registry (as of November 2026). Rust's registry has placeholders for both names and
//! for their crates (`reth` 0.1.0, `op-reth`, `reth-optimism-node` and `reth-node-ethereum` 0.0.0)
//! and no `reth-ethereum`. npm and PyPI have no package of these names and none that contains the
//! binary, nor does Debian. So these tests continue with op-geth's last version, which does not
//! know Karst. op-reth's answers (its errors, its list of capabilities, SYNCING, INVALID with the
//! last valid block) are scripted in `native/tests/host_suite/engine_answers.rs`.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod chain;
mod geth;
#[path = "../kit/mod.rs"]
mod kit;
mod liar;
mod proofs;
mod refusals;
mod support;

use kit::trials;
use libtest_mimic::Arguments;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Maximum time of a test: a hundred blocks, one per second, and the start of engines.
const LIMIT: Duration = Duration::from_secs(300);

/// Returns the folder of the built programs, if op-geth is in it.
fn programs() -> Option<PathBuf> {
    std::env::var_os("OPP2P_INTEROP")
        .map(PathBuf::from)
        .filter(|folder| folder.join("op-geth").exists())
}

fn main() -> ExitCode {
    if matches!(std::env::args().nth(1).as_deref(), Some("node" | "status")) {
        return opp2p::cli::main();
    }
    let mut arguments = Arguments::from_args();
    // The tests wait most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let trials = trials! {
        chain: a_chain_is_built_gossiped_and_executed_despite_outages,
            an_engine_serves_missing_blocks_and_a_fresh_one_catches_up,
            a_gap_without_servers_is_filled_by_an_engine_beside_an_endpoint_that_lies;
        refusals: a_wrong_secret_or_chain_is_reported_before_anything_starts,
            an_engine_of_another_fork_is_reported_and_gets_nothing_more,
            submitted_blocks_are_published_or_inserted_and_false_ones_refused;
        proofs: proved_reads_equal_the_endpoints_answers, no_lie_of_an_endpoint_gets_through;
    };
    let is_built = programs().is_some();
    if !is_built {
        println!("Ignored: `cargo all-tests -- execution` builds op-geth, and runs these tests.\n");
    }
    // The tests of proved reads run only if they are named. They have not completed a run yet.
    let is_named = arguments.filter.as_deref().is_some_and(|word| word.contains("proofs"));
    let trials = trials
        .into_iter()
        .filter(|(name, _)| is_named || !name.starts_with("proofs"))
        .map(|(name, run)| kit::trial(name, LIMIT, run).with_ignored_flag(!is_built));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
