//! The command line, with one clear sentence for each failure.
//!
//! Exit codes: 0 for success, 1 for a negative answer, 2 if an argument or an input is unusable.

mod acme;
mod chain;
mod chains;
mod config;
mod connect;
#[cfg(feature = "devnet")]
mod devnet;
#[cfg(feature = "devnet")]
mod devnet_engines;
#[cfg(feature = "devnet")]
mod devnet_join;
#[cfg(feature = "devnet")]
mod devnet_page;
#[cfg(feature = "devnet")]
mod devnet_ports;
#[cfg(feature = "devnet")]
mod devnet_record;
mod discovery;
mod end;
mod engine;
mod engine_setup;
mod failure;
mod feed;
mod flags;
mod foreign;
mod gossip;
mod inspect;
mod key;
mod listeners;
mod log_events;
mod log_fmt;
mod log_json;
mod log_limit;
mod log_private;
mod logging;
mod metrics;
mod node;
mod overrides;
mod paths;
mod peers;
mod reload;
mod rollup_fields;
mod rpc;
mod settings;
mod shells;
mod signer;
mod stdin;
mod store;
mod sync;
mod tools;
mod usage;
mod values;
mod web;
mod ws;

use clap::{CommandFactory, Parser, Subcommand};
use end::{End, Request};
use failure::{Failure, NO, UNUSABLE, answer, remark, runtime};
use paths::{address, beside_a_folder, path};
use reload::{Again, Origin};
use settings::{Reading, Unreadable};
use std::process::ExitCode;

/// The OP Stack's peer-to-peer layer: joins the gossip of a chain's unsafe blocks, checks every
/// block, relays and keeps them.
#[derive(Debug, Parser)]
#[command(name = "opp2p", version = crate::version::LONG, max_term_width = 110)]
#[cfg_attr(
    feature = "devnet",
    command(after_help = "To see it work: opp2p devnet\n\
                      To follow a chain: opp2p node --network op-mainnet")
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a sequencer and several followers on loopback and shows blocks flow between them.
    #[cfg(feature = "devnet")]
    Devnet(devnet::Args),
    /// Joins a network and follows it.
    Node(Box<node::Args>),
    /// Validates a captured gossip message and reports the rule that decided.
    Inspect(inspect::Args),
    /// Shows the status of a running node. The exit code is 1 if the node is not ready.
    Status(tools::status::Args),
    /// Lists a running node's peers; connects, blocks, bans or protects one.
    Peers(tools::peers::Args),
    /// Shows a running node live.
    Watch(tools::watch::Args),
    /// Prints a node's effective settings and the source of each.
    Config(Box<config::Args>),
    /// Lists the built-in networks, or shows one.
    Chains(chains::Args),
    /// Shows, checks, exports, imports or prunes a node's stored blocks.
    Store(store::Args),
    /// Generates keys and shows the identities that belong to one.
    #[command(visible_alias = "p2p")]
    Key(key::Args),
    /// Not available: a command of base-consensus.
    #[command(hide = true)]
    Follow,
    /// Prints a shell completion script.
    Completions(shells::CompletionArgs),
    /// Prints the manual page, or writes one for each command into a folder.
    Man(shells::ManArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Reading { cli: Cli { command }, settings, cautions } =
        match settings::read::<Cli>(std::env::args_os()) {
            Ok(reading) => reading,
            Err(Unreadable::Usage(error)) => return usage::answer(&error),
            Err(Unreadable::Failure(Failure(sentence))) => {
                remark(sentence);
                return ExitCode::from(UNUSABLE);
            }
        };
    let result = match command {
        #[cfg(feature = "devnet")]
        Command::Devnet(args) => devnet::run(&args),
        Command::Node(args) => {
            let unread = settings::unread_variables(&Cli::command());
            node::run(&args, Origin { settings, cautions, unread, read_again })
        }
        Command::Inspect(args) => inspect::run(&args),
        Command::Status(args) => tools::status::run(&args),
        Command::Peers(args) => tools::peers::run(&args),
        Command::Watch(args) => tools::watch::run(&args),
        Command::Config(args) => config::run(&args, &settings, &cautions),
        Command::Chains(args) => chains::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Follow => Err(Failure::new(
            "opp2p does not follow the safe heads of another node by itself \
             (BASE_NODE_SOURCE_L2_RPC): use opp2p node, with --l2.labels URL for safe and \
             finalized blocks",
        )),
        Command::Key(args) => key::run(args),
        Command::Completions(args) => shells::completions(&args, Cli::command()),
        Command::Man(args) => shells::man(&args, Cli::command()),
    };
    result.unwrap_or_else(|Failure(sentence)| {
        logging::fail(&sentence);
        ExitCode::from(UNUSABLE)
    })
}

/// Reads the settings of this process's node again.
fn read_again() -> Result<Again, Failure> {
    let Reading { cli, settings, cautions } =
        settings::read::<Cli>(std::env::args_os()).map_err(|error| match error {
            Unreadable::Failure(failure) => failure,
            Unreadable::Usage(error) => Failure::new(usage::one_line(&error.render().to_string())),
        })?;
    cautions.iter().for_each(|text| logging::caution(text));
    match cli.command {
        Command::Node(args) => {
            let (live, log_level) = node::live(&args)?;
            Ok(Again { live, log_level, settings })
        }
        _ => Err(Failure::new("the command line is not that of a node any more")),
    }
}
