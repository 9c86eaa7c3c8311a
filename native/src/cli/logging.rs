//! Where the log goes: standard error, so that standard output stays for answers.

use super::Failure;
use super::log_fmt::Logfmt;
use super::log_limit::{Limiter, Watch};
use std::io::IsTerminal;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _};
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The levels by name, the quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Other names that the reference takes. Nothing here is above an error.
const OTHER_NAMES: [(&str, &str); 5] =
    [("crit", "error"), ("eror", "error"), ("dbug", "debug"), ("trce", "trace"), ("warning", "warn")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Lines for people, also called `terminal`.
    Text,
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// What to log: crit, error, warn, info, debug or trace; or levels by module, such as
    /// `info,libp2p_gossipsub=debug`.
    #[arg(long = "log.level", env = "OP_NODE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    level: String,
    /// How to log it: lines for people (text or terminal, which are the same), logfmt or json.
    #[arg(
        long = "log.format", env = "OP_NODE_LOG_FORMAT", default_value = "text", value_name = "FORMAT",
        value_parser = format
    )]
    format: Format,
    /// Whether lines for people have colours [default: on a terminal, unless NO_COLOR is set].
    #[arg(
        long = "log.color",
        env = "OP_NODE_LOG_COLOR",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_name = "BOOL",
        value_parser = colour
    )]
    color: Option<Colour>,
}

/// Whether to have colours, or whatever fits: an empty environment variable is one that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour(Option<bool>);

fn format(text: &str) -> Result<Format, String> {
    match text {
        "" | "text" | "terminal" => Ok(Format::Text),
        // Newer ones of the reference differ in how exact the time is; here it is always exact.
        "logfmt" | "logfmtms" => Ok(Format::Logfmt),
        "json" | "jsonms" => Ok(Format::Json),
        _ => Err("use text, terminal, logfmt or json".into()),
    }
}

fn colour(text: &str) -> Result<Colour, String> {
    match text {
        "" => Ok(Colour(None)),
        "true" | "1" => Ok(Colour(Some(true))),
        "false" | "0" => Ok(Colour(Some(false))),
        _ => Err("use true or false".into()),
    }
}

impl LogArgs {
    /// Starts the log of this process. What peers cause is limited, and what was left out is said while the answer
    /// lives.
    pub(super) fn start(&self) -> Result<Watch, Failure> {
        let limiter = Limiter::default();
        // An empty environment variable is one that is not set.
        let level = if self.level.is_empty() { "info" } else { &self.level };
        let filter = filter(level)?.and(limiter.clone());
        // A log that can't be written is complained about on standard error, of all places, and
        // ends the program where that is a closed pipe.
        let log = Layer::default().with_writer(std::io::stderr).log_internal_errors(false);
        let log = match self.format {
            Format::Text => log.with_ansi(self.has_colours()).with_target(false).boxed(),
            Format::Logfmt => log.with_ansi(false).event_format(Logfmt).boxed(),
            Format::Json => log.json().boxed(),
        };
        // A second start in one process keeps the first log.
        let _ = tracing_subscriber::registry().with(log.with_filter(filter)).try_init();
        Ok(limiter.watch())
    }

    fn has_colours(&self) -> bool {
        let no_colour = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let asked = self.color.and_then(|Colour(asked)| asked);
        asked.unwrap_or_else(|| !no_colour() && std::io::stderr().is_terminal())
    }
}

fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let named = |part: &str| {
        let (module, level) =
            part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        let level = level.trim().to_ascii_lowercase();
        let other = OTHER_NAMES.iter().find(|(name, _)| *name == level);
        let level = other.map_or(level.as_str(), |(_, level)| level);
        module.map_or_else(|| level.to_owned(), |module| format!("{}={level}", module.trim()))
    };
    let parts: Vec<String> = text.split(',').map(|part| named(part.trim())).collect();
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
    // unless somebody asks for all there is. NATS's calls it an error each time that a server goes; the feed says it once.
    let directives = match parts.as_slice() {
        [level] if level == "info" || level == "debug" => {
            format!("warn,async_nats=off,opp2p={level},opp2p_core={level}")
        }
        parts => parts.join(","),
    };
    EnvFilter::builder().parse(directives).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_levels_by_module_are_taken() {
        for text in
            ["off", "error", "INFO", "trace", "crit", "info,libp2p=debug", "warn, opp2p=trace", "dbug,x=crit"]
        {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_rather_than_taken_for_a_module() {
        for text in ["verbose", "info,", "libp2p", "opp2p=loud", "crit,"] {
            let Failure(sentence) = filter(text).expect_err(text);
            assert!(sentence.contains(&format!("{text:?}")), "{sentence}");
        }
    }

    #[test]
    fn a_level_alone_keeps_libraries_quiet_and_the_reference_s_names_are_taken() {
        let shown = |text: &str| filter(text).expect("a level").to_string();
        assert!(shown("debug").contains("opp2p=debug") && shown("debug").contains("warn"));
        assert_eq!(shown("dbug"), shown("debug"));
        assert_eq!((shown("error"), shown("crit")), ("error".into(), "error".into()));
        assert_eq!(shown("x=eror"), "x=error");
    }

    #[test]
    fn formats_have_the_reference_s_names_and_an_empty_variable_is_not_set() {
        let formats = ["", "text", "terminal", "logfmt", "json"].map(|name| format(name).unwrap());
        assert_eq!(formats, [Format::Text, Format::Text, Format::Text, Format::Logfmt, Format::Json]);
        assert_eq!([format("logfmtms"), format("jsonms")], [Ok(Format::Logfmt), Ok(Format::Json)]);
        assert!(format("xml").is_err());
        assert_eq!([colour(""), colour("false")], [Ok(Colour(None)), Ok(Colour(Some(false)))]);
        assert!(colour("maybe").is_err());
    }
}
