//! What befalls a node and is nobody's attack: it is killed, its disk is full or gone, its clock jumps, it runs out of
//! file descriptors, a part of it panics. `cargo all-tests -- crash`; two hundred rounds of `kill -9` and half an hour of
//! coming and going are `crash-rounds` and `soak-ours`.
//!
//! The victims are processes of their own: this program again, which with `node` as its first argument is `opp2p`
//! itself. Whatever a test waits for has a bound, and a process ends with its test.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod amplification;
mod clock;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod disk;
mod feed;
mod kill;
mod panics;
mod secrets;
mod soak;
mod support;

use libtest_mimic::{Arguments, Trial};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

/// What bounds a test.
const LIMIT: Duration = Duration::from_secs(240);

/// How long the rounds of `kill -9` may take where they are one test among others.
const ROUNDS_TIME: Duration = Duration::from_secs(75);

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
    let own: Vec<String> = std::env::args().skip(1).collect();
    match own.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["node", ..] => {
            panics::fail_if_asked();
            return opp2p::cli::main();
        }
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
    // They wait most of the time, but each has processes that do not.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let mut trials = trials! {
        kill: a_node_that_is_killed_again_and_again_keeps_what_it_said_to_have_stored;
        clock: a_clock_that_jumps_costs_no_peer_and_when_it_is_back_the_node_catches_up;
        panics: a_panic_is_logged_counted_and_shown_and_the_node_goes_on,
            who_looks_at_a_node_and_panics_harms_nobody_else;
        secrets: no_secret_is_in_the_log_or_any_answer_and_key_files_are_their_owners;
        amplification: what_is_written_for_a_block_is_bounded;
        feed: a_server_and_a_node_that_are_killed_mid_stream_lose_and_double_nothing,
            what_is_written_to_standard_output_is_the_chain_from_the_block_that_was_asked_for;
        soak: a_minute_of_coming_and_going_leaves_nothing_behind;
    };
    #[cfg(target_os = "linux")]
    trials.extend(trials! {
        disk: a_full_disk_is_said_and_relaying_goes_on_and_nothing_is_lost_when_there_is_room,
            what_the_queue_had_no_room_for_is_stored_from_memory,
            a_disk_that_is_gone_and_comes_back_is_used_again;
        descriptors: a_node_without_file_descriptors_relays_and_recovers;
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Run = fn() -> Pin<Box<dyn Future<Output = ()>>>;

fn trial(name: &'static str, run: Run) -> Trial {
    Trial::test(name, move || {
        runtime()
            .block_on(async { timeout(LIMIT, run()).await })
            .map_err(|_| format!("it does not end within {} s", LIMIT.as_secs()).into())
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

/// A run that is no test; it panics if it fails.
fn run(work: impl Future<Output = ()>) -> ExitCode {
    runtime().block_on(work);
    ExitCode::SUCCESS
}
