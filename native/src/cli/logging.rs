//! Where the log goes: standard error, so that standard output stays for answers.

use super::Failure;
use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or levels by module such as `info,libp2p=debug`.
    #[arg(long = "log.level", env = "OP_NODE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    level: String,
    /// How to log it.
    #[arg(long = "log.format", env = "OP_NODE_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl LogArgs {
    /// Starts the log of this process.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let level = self.level.to_ascii_lowercase();
        let filter = EnvFilter::builder().parse(&level).map_err(|error| {
            Failure::new(format!("--log.level {level:?} is no level ({error}): use info, debug, …"))
        })?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let started = match self.format {
            Format::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
            Format::Json => log.json().try_init(),
        };
        // A second start in one process keeps the first log.
        let _ = started;
        Ok(())
    }
}
