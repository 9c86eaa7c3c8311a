//! The log: written to standard error, since standard output is for answers.

use super::Failure;
use super::log_fmt::{Logfmt, PlainFields, PlainFormat};
use super::log_json::Json;
use super::log_limit::{Limiter, Watch};
use super::log_private::Private;
use crate::rpc::LogLevel;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _};
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The level names, quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Other names that the reference accepts. No level here is above error.
const OTHER_NAMES: [(&str, &str); 11] = [
    ("crit", "error"),
    ("eror", "error"),
    ("dbug", "debug"),
    ("trce", "trace"),
    ("warning", "warn"),
    // Those of base-consensus (BASE_NODE_LOG_VERBOSITY).
    ("0", "off"),
    ("1", "error"),
    ("2", "warn"),
    ("3", "info"),
    ("4", "debug"),
    ("5", "trace"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Lines for people, also called `terminal`.
    Text,
    /// `key=value`.
    Logfmt,
    /// One JSON object per line.
    Json,
    /// JSON objects with one member per line.
    JsonPretty,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// Log level: crit, error, warn, info, debug or trace; or levels by module, such as
    /// `info,libp2p_swarm=debug`. Libraries that handle secrets show nothing below info.
    #[arg(
        long = "log.level",
        env = "OP_NODE_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    level: String,
    /// Log format: lines for people (text or terminal, which are the same), logfmt, json or
    /// json-pretty.
    #[arg(
        long = "log.format", env = "OP_NODE_LOG_FORMAT", default_value = "text",
        value_name = "FORMAT",
        value_parser = format
    )]
    format: Format,
    /// Use colours in lines for people [default: on a terminal, unless NO_COLOR is set].
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

/// Whether to use colours; `None` decides by the terminal. An empty environment variable counts as
/// unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour(Option<bool>);

fn format(text: &str) -> Result<Format, String> {
    match text {
        "" | "text" | "terminal" | "full" | "pretty" | "compact" => Ok(Format::Text),
        // The reference's newer formats differ in the precision of the time; here it is always
        // exact.
        "logfmt" | "logfmtms" => Ok(Format::Logfmt),
        "json" | "jsonms" => Ok(Format::Json),
        "json-pretty" => Ok(Format::JsonPretty),
        _ => Err("use text, terminal, logfmt, json or json-pretty".into()),
    }
}

fn colour(text: &str) -> Result<Colour, String> {
    match text {
        "" => Ok(Colour(None)),
        text => super::values::boolean(text).map(|asked| Colour(Some(asked))),
    }
}

/// `true` once the log has started. Global because the process has one standard error.
static STARTED: AtomicBool = AtomicBool::new(false);
/// `true` once the log has started in a format that programs read.
static MACHINE_READABLE: AtomicBool = AtomicBool::new(false);

/// Reports the failure that ends the command: as a line of the log if programs read the log, else
/// as a sentence.
pub(super) fn fail(sentence: &str) {
    if MACHINE_READABLE.load(Ordering::Relaxed) && tracing::enabled!(Level::ERROR) {
        tracing::error!("{sentence}");
    } else {
        super::remark(sentence);
    }
}

/// Warns of a setting: as a line of the log if it has started, else as a sentence.
pub(super) fn caution(text: &str) {
    if STARTED.load(Ordering::Relaxed) {
        tracing::warn!("{text}");
    } else {
        super::remark(format_args!("warning: {text}"));
    }
}

/// The log of this process.
pub(super) struct Log {
    /// Reports suppressed lines while it lives.
    _watch: Watch,
    levels: Levels,
}

impl Log {
    /// Returns a handle that changes the log level.
    pub(super) fn levels(&self) -> Levels {
        self.levels.clone()
    }
}

/// Handle that changes the log level while the process runs.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The level in force, as it was given.
    current: Arc<Mutex<String>>,
}

impl Levels {
    /// Sets a level that [`LogArgs::check`] accepts. Returns `true` if it is another one.
    pub(super) fn change(&self, level: &str) -> Result<bool, Failure> {
        self.filter.reload(filter(level)?)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *current, level.to_owned()) != level)
    }
}

impl LogLevel for Levels {
    fn set(&self, level: &str) -> Result<(), String> {
        // op-node's error text.
        self.change(level).map(drop).map_err(|_| format!("unknown level: {level}"))
    }
}

impl LogArgs {
    /// Starts the log of this process. Lines that peers cause are limited, and suppressed lines are
    /// reported while the returned value lives.
    pub(super) fn start(&self) -> Result<Log, Failure> {
        let limiter = Limiter::default();
        let level = self.level();
        let (filter, levels) = reload::Layer::new(filter(level)?);
        let filter = filter.and(limiter.clone()).and(Private);
        // By default, a failure to write the log is reported on standard error itself, and ends the
        // program if that is a closed pipe.
        let log = Layer::default().with_writer(std::io::stderr).log_internal_errors(false);
        let log = match self.format {
            Format::Text => log
                .with_ansi(self.has_colours())
                .fmt_fields(PlainFields)
                .event_format(PlainFormat::default())
                .boxed(),
            Format::Logfmt => log.with_ansi(false).event_format(Logfmt).boxed(),
            Format::Json => log.event_format(Json { is_pretty: false }).boxed(),
            Format::JsonPretty => log.event_format(Json { is_pretty: true }).boxed(),
        };
        // A second start in one process keeps the first log.
        let _ = tracing_subscriber::registry().with(log.with_filter(filter)).try_init();
        STARTED.store(true, Ordering::Relaxed);
        MACHINE_READABLE.store(self.format != Format::Text, Ordering::Relaxed);
        let levels = Levels { filter: levels, current: Arc::new(Mutex::new(level.into())) };
        Ok(Log { levels, _watch: limiter.watch() })
    }

    /// Returns the level. An empty environment variable counts as unset.
    pub(super) fn level(&self) -> &str {
        if self.level.is_empty() { "info" } else { &self.level }
    }

    /// Checks the level; an error is one sentence.
    pub(super) fn check(&self) -> Result<(), Failure> {
        filter(self.level()).map(drop)
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
            "--log.level {text:?} is not a level: use {known}, or a level for a module such as \
             libp2p=debug"
        ))
    };
    // The filter accepts any word as a module name, and then shows nothing else.
    if !parts.iter().all(|part| part.contains('=') || LEVELS.contains(&part.as_str())) {
        return Err(wrong());
    }
    // A level alone applies to this program. Libraries' messages below warning are for their
    // authors, unless the operator asks for everything. The NATS library logs an error each time a
    // server disconnects; the feed reports it once.
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
    fn levels_and_per_module_levels_are_accepted() {
        for text in [
            "off",
            "error",
            "INFO",
            "trace",
            "crit",
            "info,libp2p=debug",
            "warn, opp2p=trace",
            "dbug,x=crit",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_invalid_level_is_refused_rather_than_read_as_a_module() {
        for text in ["verbose", "info,", "libp2p", "opp2p=loud", "crit,"] {
            let Failure(sentence) = filter(text).expect_err(text);
            assert!(sentence.contains(&format!("{text:?}")), "{sentence}");
        }
    }

    #[test]
    fn a_plain_level_keeps_libraries_quiet_and_reference_names_work() {
        let shown = |text: &str| filter(text).expect("a level").to_string();
        assert!(shown("debug").contains("opp2p=debug") && shown("debug").contains("warn"));
        assert_eq!(shown("dbug"), shown("debug"));
        assert_eq!((shown("error"), shown("crit")), ("error".into(), "error".into()));
        assert_eq!(shown("x=eror"), "x=error");
    }

    #[test]
    fn formats_have_the_reference_names_and_empty_means_unset() {
        let formats = ["", "text", "terminal", "logfmt", "json"].map(|name| format(name).unwrap());
        assert_eq!(
            formats,
            [Format::Text, Format::Text, Format::Text, Format::Logfmt, Format::Json]
        );
        assert_eq!([format("logfmtms"), format("jsonms")], [Ok(Format::Logfmt), Ok(Format::Json)]);
        assert_eq!(format("json-pretty"), Ok(Format::JsonPretty));
        assert!(format("xml").is_err());
        assert_eq!([colour(""), colour("false")], [Ok(Colour(None)), Ok(Colour(Some(false)))]);
        assert!(colour("maybe").is_err());
    }
}
