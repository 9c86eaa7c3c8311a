//! `--override.<fork> UNIX` for each fork: takes precedence over the chain configuration and the
//! built-in table.

use super::Failure;
use clap::builder::OsStr as ClapText;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use opp2p_core::chain::{ChainConfig, Fork};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The forks whose times the operator sets.
#[derive(Clone, Debug, Default)]
pub(super) struct OverrideArgs {
    /// Forks with their times in unix seconds, in the order of activation.
    times: Vec<(Fork, u64)>,
}

/// Returns the flag's name without dashes.
fn flag(fork: Fork) -> String {
    format!("override.{}", fork.name())
}

impl Args for OverrideArgs {
    fn augment_args(command: Command) -> Command {
        Fork::ALL.into_iter().fold(command, |command, fork| {
            let variable = format!("OP_NODE_OVERRIDE_{}", fork.name().to_ascii_uppercase());
            command.arg(
                Arg::new(flag(fork))
                    .long(flag(fork))
                    .env(ClapText::from(variable))
                    .action(ArgAction::Set)
                    .value_name("UNIX")
                    .value_parser(value_parser!(u64))
                    .help(format!(
                        "Unix time at which {fork} activates, whatever the chain configuration says"
                    ))
                    .help_heading("Fork overrides"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OverrideArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let time = |fork| Some((fork, *matches.get_one::<u64>(&flag(fork))?));
        Ok(Self { times: Fork::ALL.into_iter().filter_map(time).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl OverrideArgs {
    /// Sets the times in a configuration, and checks the result.
    pub(super) fn apply(&self, chain: &mut ChainConfig) -> Result<(), Failure> {
        for (fork, time) in &self.times {
            let before = chain.forks.activation(*fork);
            chain.forks = chain.forks.with(*fork, Some(*time));
            tracing::info!(%fork, time, before, "the operator sets the time of a fork");
        }
        chain.check().map_err(|error| {
            let flags: Vec<_> =
                self.times.iter().map(|(fork, _)| format!("--{}", flag(*fork))).collect();
            Failure::new(format!(
                "the chain's forks contradict each other with {}: {error}",
                flags.join(" ")
            ))
        })
    }

    /// Returns the operator's `rollup.json` with these times.
    pub(super) fn apply_to_json(&self, rollup: Box<RawValue>) -> Result<Box<RawValue>, Failure> {
        if self.times.is_empty() {
            return Ok(rollup);
        }
        let mut fields: Map<String, Value> = serde_json::from_str(rollup.get())?;
        for (fork, time) in &self.times {
            fields.insert(fork.field().into(), (*time).into());
        }
        Ok(serde_json::value::to_raw_value(&fields)?)
    }
}
