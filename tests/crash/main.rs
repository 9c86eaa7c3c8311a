//! Accidents of a node, as opposed to attacks: the node is killed, its disk is full or missing, its
//! clock jumps, it runs out of file descriptors, a part of it panics. `cargo all-tests -- crash`
//! runs these tests; `crash-rounds` runs two hundred rounds of `kill -9`, and `soak-ours` half an
//! hour in which peers connect and leave.
//!
//! The victims run in processes of their own: this program again, which is `opp2p` itself if its
//! first argument is `node` or `status`. Every wait of a test is bounded, and a process ends with
//! its test.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod amplification;
mod clock;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod disk;
mod feed;
mod kill;
#[path = "../kit/mod.rs"]
mod kit;
mod panics;
mod secrets;
mod soak;
mod support;

use kit::trials;
use libtest_mimic::Arguments;
use std::process::ExitCode;
use std::time::Duration;

/// Maximum time of a test.
const LIMIT: Duration = Duration::from_secs(240);

/// Maximum time of the rounds of `kill -9` when they run among other tests.
const ROUNDS_TIME: Duration = Duration::from_secs(75);

/// The test that needs a NATS server.
const NEEDS_NATS: &str = "feed::a_server_and_a_node_killed_mid_stream_lose_and_repeat_nothing";

fn main() -> ExitCode {
    let own: Vec<String> = std::env::args().skip(1).collect();
    match own.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["node", ..] => {
            panics::fail_if_asked();
            panics::lose_part_on_request();
            return opp2p::cli::main();
        }
        ["status", ..] => return opp2p::cli::main(),
        [amplification::WRITE, how, file] => return amplification::write(how, file),
        ["--rounds", rounds] if let Ok(rounds) = rounds.parse() => {
            return run(kill::rounds(rounds, Duration::MAX));
        }
        ["--soak"] => return run(soak::run(30.0)),
        ["--soak", minutes] if let Ok(minutes) = minutes.parse() => return run(soak::run(minutes)),
        ["--amplification"] => return run(amplification::report()),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Tests wait most of the time, but each has busy processes.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let mut trials = trials! {
        kill: a_repeatedly_killed_node_loses_no_block_that_it_reported_stored;
        clock: a_clock_jump_costs_no_peer_and_the_node_catches_up_after_it;
        panics: a_panic_is_logged_counted_and_shown_and_the_node_continues,
            a_lost_part_is_reported_everywhere_until_it_returns,
            a_panicking_reader_of_a_node_harms_no_other;
        secrets: no_secret_is_in_the_log_or_an_answer_and_key_files_are_private;
        amplification: bytes_written_per_block_are_bounded;
        feed: a_server_and_a_node_killed_mid_stream_lose_and_repeat_nothing,
            standard_output_has_the_chain_from_the_requested_block;
        soak: a_minute_of_churn_leaks_nothing;
    };
    #[cfg(target_os = "linux")]
    trials.extend(trials! {
        disk: a_full_disk_is_reported_relaying_continues_and_nothing_is_lost,
            blocks_beyond_the_queue_are_stored_from_memory,
            a_disk_that_returns_is_used_again;
        descriptors: a_node_without_file_descriptors_relays_and_recovers;
    });
    let has_server = feed::program().is_some();
    let trials = trials.into_iter().map(|(name, run)| {
        let is_lacking = name == NEEDS_NATS && !has_server;
        kit::trial(name, LIMIT, run).with_ignored_flag(is_lacking)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs something other than a test. Panics on failure.
fn run(work: impl Future<Output = ()>) -> ExitCode {
    kit::runtime().block_on(work);
    ExitCode::SUCCESS
}
