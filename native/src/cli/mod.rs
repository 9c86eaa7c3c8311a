//! The command line: what a person types, and one clear sentence when it can't be done.
//!
//! Exit codes: 0 done, 1 done with a negative answer, 2 not done because something given is wrong.

mod chain;
mod config;
mod connect;
mod devnet;
mod discovery;
mod engine;
mod feed;
mod gossip;
mod inspect;
mod key;
mod log_events;
mod log_fmt;
mod log_limit;
mod logging;
mod metrics;
mod node;
mod peers;
mod rpc;
mod settings;
mod shells;
mod signer;
mod stdin;
mod tools;
mod usage;
mod values;
mod web;
mod ws;

use alloy_primitives::Address;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use settings::{Reading, Unreadable};
use std::fmt;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The OP Stack's peer-to-peer layer: joins the gossip of a chain's unsafe blocks, checks every
/// block, relays and keeps them.
#[derive(Debug, Parser)]
#[command(name = "opp2p", version, max_term_width = 110)]
#[command(after_help = "To see it work: opp2p devnet\nTo follow a chain: opp2p node --network op-mainnet")]
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
    /// Says how a running node is.
    Status(tools::status::Args),
    /// Lists the peers of a running node, and does something about one.
    Peers(tools::peers::Args),
    /// Shows a running node live.
    Watch(tools::watch::Args),
    /// Prints the settings of a node as they are in force, and where each comes from.
    Config(Box<config::Args>),
    /// Makes keys, and shows whose a key is.
    #[command(visible_alias = "p2p")]
    Key(key::Args),
    /// Prints what a shell needs to complete this program's commands and flags.
    Completions(shells::CompletionArgs),
    /// Prints the manual page, or writes one for each command into a folder.
    Man(shells::ManArgs),
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
    let Reading { cli: Cli { command }, settings } = match settings::read(std::env::args_os()) {
        Ok(reading) => reading,
        Err(Unreadable::Usage(error)) => return usage::answer(&error),
        Err(Unreadable::Failure(Failure(sentence))) => {
            remark(sentence);
            return ExitCode::from(UNUSABLE);
        }
    };
    let result = match command {
        Command::Devnet(args) => devnet::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Status(args) => tools::status::run(&args),
        Command::Peers(args) => tools::peers::run(&args),
        Command::Watch(args) => tools::watch::run(&args),
        Command::Config(args) => config::run(&args, &settings),
        Command::Key(args) => key::run(args),
        Command::Completions(args) => shells::completions(&args),
        Command::Man(args) => shells::man(&args),
    };
    result.unwrap_or_else(|Failure(sentence)| {
        remark(sentence);
        ExitCode::from(UNUSABLE)
    })
}

/// Prints an answer on standard output; tells whether anybody still reads it.
///
/// Who closes the pipe (`opp2p devnet | head`) has read enough, which is no failure.
fn answer(text: impl fmt::Display) -> Result<bool, Failure> {
    match writeln!(stdout(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(Failure::new(format!("can't write to standard output: {error}; check where it goes")))
        }
    }
}

/// Says something on standard error, in the name of the program.
fn remark(text: impl fmt::Display) {
    // If nobody can hear it, there is nobody to tell.
    let _ = writeln!(stderr(), "opp2p: {text}");
}

/// Takes any path, also an empty one: an environment variable that is empty is one that is not set.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads an address that a flag holds.
fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|_| "an address is 0x and 40 hexadecimal digits".into())
}

/// The runtime that a node's tasks run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("the system refused threads or sockets: {error}")))
}

/// Hears SIGINT and SIGTERM, from the moment it is made and also while nobody waits for them.
#[derive(Debug)]
struct End {
    interrupt: Signal,
    terminate: Signal,
    asked: Option<Instant>,
}

/// Signals that come together are one wish: `timeout` and others signal the process and its group.
const ONE_WISH: Duration = Duration::from_secs(1);

impl End {
    /// Takes both signals over from the system, which would end the process at once.
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(format!("the system refused a signal handler: {error}")))
        };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, asked: None })
    }

    /// Completes when the process is asked to end, and again when it is asked again.
    async fn asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            if self.asked.is_none_or(|before| before.elapsed() > ONE_WISH) {
                self.asked = Some(Instant::now());
                return;
            }
        }
    }
}
