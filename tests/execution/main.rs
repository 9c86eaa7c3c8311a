//! Our nodes with real execution clients: op-geth, which `cargo all-tests -- execution` builds through its Go module.
//!
//! Nodes and engines are processes of their own; with `node` or `status` as its first argument this program is `opp2p` itself. Without
//! op-geth, in the folder that `OPP2P_INTEROP` names, nothing runs here, and this says so.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod chain;
mod geth;
mod refusals;
mod support;

use libtest_mimic::{Arguments, Trial};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

/// What bounds a test: a hundred blocks, one a second, and engines that start.
const LIMIT: Duration = Duration::from_secs(300);

/// The folder of the built programs, if op-geth is there.
fn programs() -> Option<PathBuf> {
    std::env::var_os("OPP2P_INTEROP").map(PathBuf::from).filter(|folder| folder.join("op-geth").exists())
}

/// A test under its own name, in a runtime of its own.
macro_rules! trials {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($(trial(
            concat!(stringify!($module), "::", stringify!($name)),
            || Box::pin($module::$name()),
        )),+),+]
    };
}

fn main() -> ExitCode {
    if matches!(std::env::args().nth(1).as_deref(), Some("node" | "status")) {
        return opp2p::cli::main();
    }
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    if programs().is_none() {
        println!(
            "Left out: the tests with execution clients need op-geth, which `cargo all-tests -- execution` builds; it \
             then runs them.\n"
        );
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    let trials = trials! {
        chain: a_chain_is_built_gossiped_and_executed_and_outages_are_made_up_for,
            an_engine_serves_what_the_store_lacks_and_a_fresh_one_catches_up;
        refusals: a_wrong_secret_or_chain_is_said_in_one_sentence_before_anything_starts,
            an_engine_of_another_fork_is_named_and_gets_nothing_more,
            blocks_that_are_handed_in_are_published_or_taken_and_false_ones_refused;
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Run = fn() -> Pin<Box<dyn Future<Output = ()>>>;

fn trial(name: &'static str, run: Run) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime
            .block_on(async { timeout(LIMIT, run()).await })
            .map_err(|_| format!("it does not end within {} s", LIMIT.as_secs()).into())
    })
}
