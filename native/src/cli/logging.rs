//! Where the log goes: standard error, so that standard output stays for answers.

use super::Failure;
use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The levels by name, the quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// What to log: error, warn, info, debug or trace; or levels by module, such as
    /// `info,libp2p_gossipsub=debug`.
    #[arg(long = "log.level", env = "OP_NODE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    level: String,
    /// How to log it.
    #[arg(long = "log.format", env = "OP_NODE_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl LogArgs {
    /// Starts the log of this process.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter(&self.level)?)
            .with_writer(std::io::stderr)
            // A log that can't be written is complained about on standard error, of all places, and
            // ends the program where that is a closed pipe.
            .log_internal_errors(false);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let started = match self.format {
            Format::Text => {
                let colour = !no_colour && std::io::stderr().is_terminal();
                log.with_ansi(colour).with_target(false).try_init()
            }
            Format::Json => log.json().try_init(),
        };
        // A second start in one process keeps the first log.
        let _ = started;
        Ok(())
    }
}

fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let parts: Vec<String> = text.split(',').map(|part| part.trim().to_ascii_lowercase()).collect();
    let wrong = || {
        let known = LEVELS.join(", ");
        Failure::new(format!(
            "--log.level {text:?} is no level: use {known}, or such for a module as libp2p=debug"
        ))
    };
    // The filter takes any word for the name of a module, and then shows nothing else.
    if !parts.iter().all(|part| part.contains('=') || LEVELS.contains(&part.as_str())) {
        return Err(wrong());
    }
    // A level alone is for this program. What libraries tell below a warning is for their authors,
    // unless somebody asks for all there is.
    let directives = match parts.as_slice() {
        [level] if level == "info" || level == "debug" => format!("warn,opp2p={level},opp2p_core={level}"),
        parts => parts.join(","),
    };
    EnvFilter::builder().parse(directives).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_levels_by_module_are_taken() {
        for text in ["off", "error", "INFO", "trace", "info,libp2p=debug", "warn, opp2p=trace"] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_rather_than_taken_for_a_module() {
        for text in ["", "verbose", "info,", "libp2p", "opp2p=loud"] {
            let Failure(sentence) = filter(text).expect_err(text);
            assert!(sentence.contains(&format!("{text:?}")), "{sentence}");
        }
    }

    #[test]
    fn a_level_alone_keeps_libraries_quiet() {
        let shown = |text: &str| filter(text).expect("a level").to_string();
        assert!(shown("debug").contains("opp2p=debug") && shown("debug").contains("warn"));
        assert_eq!(shown("error"), "error");
    }
}
