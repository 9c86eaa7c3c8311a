//! The command line: what a person types, and one clear sentence when it can't be done.
//!
//! Exit codes: 0 done, 1 done with a negative answer, 2 not done because something given is wrong.

mod chain;
mod devnet;
mod inspect;
mod key;
mod logging;
mod node;

use clap::{Parser, Subcommand};
use std::fmt;
use std::process::ExitCode;

/// The OP Stack's peer-to-peer layer: joins the gossip of a chain's unsafe blocks, checks every
/// block, relays and keeps them.
#[derive(Debug, Parser)]
#[command(name = "opp2p", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a sequencer and several followers on loopback and shows blocks flow between them.
    Devnet(devnet::Args),
    /// Joins a network and follows it.
    Node(Box<node::Args>),
    /// Judges one captured gossip message and says which rule decided.
    Inspect(inspect::Args),
    /// Makes keys, and shows whose a key is.
    Key(key::Args),
}

/// Why a command was not done: one sentence for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    fn new(sentence: impl fmt::Display) -> Self {
        Self(sentence.to_string())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Exit code of a negative answer.
const NO: u8 = 1;
/// Exit code when something given is wrong.
const UNUSABLE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Devnet(args) => devnet::run(args),
        Command::Node(args) => node::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Key(args) => key::run(args),
    };
    result.unwrap_or_else(|Failure(sentence)| {
        eprintln!("opp2p: {sentence}");
        ExitCode::from(UNUSABLE)
    })
}

/// The runtime that a node's tasks run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("the system refused threads or sockets: {error}")))
}

/// Completes when the process is asked to end: SIGINT or SIGTERM.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signals end the process as they always do.
        _ => std::future::pending().await,
    }
}
