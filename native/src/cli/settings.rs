//! Where settings come from: a flag, else the environment, else the configuration file, else the default.
//!
//! The file is TOML and its keys are the flags' names: `p2p.listen.tcp = 9222`, or `tcp = 9222` below `[p2p.listen]`.
//! Where the name of one flag begins that of another (`l1`, `l1.runtime-config-reload-interval`), TOML takes a dotted key
//! for a table, and the longer one is put into quotes. A value is what the flag takes, as text, number or boolean; a list is an
//! array, or one text with commas. A key that is no flag's name, and a value that the flag would refuse, are refused.
//!
//! An environment variable that is empty is one that is not set.
//!
//! # Bounds
//! The file: [`MAX_FILE`]. The operator writes it.

use super::{Cli, Failure};
use clap::builder::{OsStr as ClapText, Resettable};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a configuration file.
const MAX_FILE: u64 = 1 << 20;
/// The commands that take a file, whose flags it sets.
const COMMANDS: [&str; 2] = ["node", "config"];
/// The flag that names the file.
pub(super) const CONFIG: &str = "config";

/// Why the command line can't be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The parser's answer, which may be the help that was asked for.
    Usage(clap::Error),
    /// One sentence.
    Failure(Failure),
}

impl From<clap::Error> for Unreadable {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl From<Failure> for Unreadable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What was read, and where each setting of the command comes from.
#[derive(Debug)]
pub(super) struct Reading {
    /// The command line.
    pub(super) cli: Cli,
    /// The settings of the command, if it is one of those that take a file.
    pub(super) settings: Vec<Setting>,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The flag's name, without dashes.
    pub(super) name: String,
    /// Its environment variable.
    pub(super) variable: Option<String>,
    /// What it is set to; `None`: to nothing.
    pub(super) value: Option<String>,
    /// Where that comes from.
    pub(super) source: Source,
    /// Whether it must not be shown.
    pub(super) is_secret: bool,
}

/// Where a setting comes from, the one that counts most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Flag,
    Environment,
    File,
    Default,
}

impl Source {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// Reads the command line of this process, its environment, and the file that they name.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Reading, Unreadable> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = without_empty_variables(Cli::command());
    // What is wrong with the rest is said by the second reading.
    let found = command.clone().ignore_errors(true).try_get_matches_from(&arguments).ok();
    let found = found.as_ref().and_then(|found| found.subcommand());
    let Some((name, given)) = found.filter(|(name, _)| COMMANDS.contains(name)) else {
        return Ok(Reading {
            cli: Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)?,
            settings: Vec::new(),
        });
    };
    let name = name.to_owned();
    let path = given.get_one::<PathBuf>(CONFIG).filter(|path| !path.as_os_str().is_empty()).cloned();
    let file = match &path {
        Some(path) => load(path)?,
        None => BTreeMap::new(),
    };
    if let Some(path) = &path {
        for (key, value) in &file {
            command = set(command, &name, key, value).map_err(|why| {
                Failure::new(format!("the configuration file {} is refused: {why}", path.display()))
            })?;
        }
        warn_if_open(path, &command, &name, &file);
    }
    let matches = command.clone().try_get_matches_from(arguments)?;
    let settings = match (command.find_subcommand(&name), matches.subcommand()) {
        (Some(command), Some((_, matches))) => settings(command, matches, &file),
        _ => Vec::new(),
    };
    Ok(Reading { cli: Cli::from_arg_matches(&matches)?, settings })
}

/// The same command, in which a variable that is empty has no say.
fn without_empty_variables(command: Command) -> Command {
    let command = command.mut_args(|argument| match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => argument.env(Resettable::<ClapText>::Reset),
        _ => argument,
    });
    command.mut_subcommands(without_empty_variables)
}

/// Reads a file into the texts that the flags of its names take.
fn load(path: &Path) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let refused =
        |why: &str| Failure::new(format!("the configuration file {} is refused: {why}", path.display()));
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Failure::new(format!(
            "can't read the configuration file {}: {error}; give a TOML file that this user may read with --config",
            path.display()
        ))
    })?;
    if text.len() as u64 > MAX_FILE {
        return Err(refused("it has more than 1 MiB, and a configuration has a few lines"));
    }
    let text = String::from_utf8(text).map_err(|_| refused("it is not text in UTF-8"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let hint =
            match error.message().contains("duplicate key") || error.message().contains("cannot extend") {
                true => "; if one flag's name begins another's, put the longer name into quotes",
                false => "",
            };
        refused(&format!("line {line}: {}{hint}", error.message().replace('\n', ", ")))
    })?;
    let mut found = BTreeMap::new();
    for (key, value) in table {
        flatten(&key, value, &mut found).map_err(|why| refused(&why))?;
    }
    Ok(found)
}

fn flatten(key: &str, value: toml::Value, into: &mut BTreeMap<String, Vec<String>>) -> Result<(), String> {
    let texts = match value {
        toml::Value::Table(table) => {
            for (inner, value) in table {
                flatten(&format!("{key}.{inner}"), value, into)?;
            }
            return Ok(());
        }
        toml::Value::Array(values) => {
            values.into_iter().map(|value| text(key, value)).collect::<Result<_, _>>()?
        }
        value => vec![text(key, value)?],
    };
    match into.insert(key.to_owned(), texts) {
        Some(_) => Err(format!("{key} is set twice: remove one of the two")),
        None => Ok(()),
    }
}

fn text(key: &str, value: toml::Value) -> Result<String, String> {
    Ok(match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            return Err(format!("{key} should be a text, a number, true or false, or a list of such"));
        }
    })
}

/// Makes a value of the file the default of its flag, if the flag would take it.
fn set(command: Command, of: &str, key: &str, values: &[String]) -> Result<Command, String> {
    let known = command.find_subcommand(of).and_then(|of| {
        let argument = of.get_arguments().find(|argument| argument.get_long() == Some(key))?;
        Some((
            argument.get_id().clone(),
            is_list(argument),
            matches!(argument.get_action(), ArgAction::SetTrue),
        ))
    });
    let own = ["help", "version", CONFIG];
    let Some((id, is_list, is_switch)) = known.filter(|_| !own.contains(&key)) else {
        let near = command.find_subcommand(of).and_then(|of| nearest(of, key));
        let tip = near.map_or_else(
            || "; opp2p config lists the names".into(),
            |near| format!("; a similar one is {near}"),
        );
        return Err(format!("it sets {key}, which is no setting{tip}"));
    };
    if values.len() != 1 && !is_list {
        return Err(format!("{key} takes one value, and the file has a list of {}", values.len()));
    }
    // An empty text is as good as none, as in the environment.
    if values.iter().all(String::is_empty) {
        return Ok(command);
    }
    if is_switch && !matches!(values, [value] if value == "true" || value == "false") {
        return Err(format!("{key} is true or false"));
    }
    check(&command, of, key, values, is_switch)?;
    let values: Vec<String> = values.to_vec();
    let set = |argument: clap::Arg| argument.default_values(values.into_iter().map(ClapText::from));
    Ok(command.mut_subcommand(of, |of| of.mut_arg(id, set)))
}

/// Asks the parser whether a flag takes these values.
fn check(command: &Command, of: &str, key: &str, values: &[String], is_switch: bool) -> Result<(), String> {
    if is_switch {
        return Ok(());
    }
    // Nothing but this flag, and nothing from the environment.
    let alone = command
        .clone()
        .mut_subcommand(of, |of| of.mut_args(|argument| argument.env(Resettable::<ClapText>::Reset)));
    let flag = format!("--{key}={}", values.join(","));
    match alone.try_get_matches_from(["opp2p", of, &flag]) {
        Ok(_) => Ok(()),
        Err(error) => Err(super::usage::one_line(&error.render().to_string())),
    }
}

fn is_list(argument: &clap::Arg) -> bool {
    argument.get_value_delimiter().is_some()
}

/// The name that is most like `key`, if one is much like it.
fn nearest(command: &Command, key: &str) -> Option<String> {
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    let (distance, name) = names.map(|name| (distance(name, key), name)).min()?;
    (distance <= key.len() / 3).then(|| name.to_owned())
}

/// Characters to be changed, added or removed to make one of the other. Names are short.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Every setting of a command, as it is in force.
fn settings(command: &Command, matches: &ArgMatches, file: &BTreeMap<String, Vec<String>>) -> Vec<Setting> {
    let arguments = command.get_arguments().filter(|argument| {
        argument.get_long().is_some_and(|name| !["help", "version", CONFIG].contains(&name))
            && !is_local(argument)
    });
    let mut settings: Vec<Setting> =
        arguments.filter_map(|argument| setting(argument, matches, file)).collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    settings
}

/// Flags of `opp2p config` itself.
fn is_local(argument: &clap::Arg) -> bool {
    argument.get_id() == super::config::JSON
}

fn setting(
    argument: &clap::Arg,
    matches: &ArgMatches,
    file: &BTreeMap<String, Vec<String>>,
) -> Option<Setting> {
    let name = argument.get_long()?.to_owned();
    let id = argument.get_id().as_str();
    let is_in_file = file.get(&name).is_some_and(|values| !values.iter().all(String::is_empty));
    let source = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Source::Flag,
        Some(ValueSource::EnvVariable) => Source::Environment,
        _ if is_in_file => Source::File,
        _ => Source::Default,
    };
    let value = match argument.get_action() {
        ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
        _ => matches.get_raw(id).map(|values| {
            let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
            values.join(",")
        }),
    };
    Some(Setting {
        variable: argument.get_env().map(|name| name.to_string_lossy().into_owned()),
        value: value.filter(|value| !value.is_empty()),
        source,
        is_secret: argument.is_hide_env_values_set(),
        name,
    })
}

/// A word on a file that holds a secret and that others can read.
fn warn_if_open(path: &Path, command: &Command, of: &str, file: &BTreeMap<String, Vec<String>>) {
    let Some(command) = command.find_subcommand(of) else { return };
    let secrets = command.get_arguments().filter(|argument| argument.is_hide_env_values_set());
    let mut held = secrets.filter_map(clap::Arg::get_long).filter(|name| file.contains_key(*name));
    if let Some(name) = held.next()
        && crate::key::is_open_to_others(path)
    {
        let path = path.display();
        super::remark(format_args!(
            "warning: others can read or write the configuration file {path}, which holds {name}; chmod 600 it"
        ));
    }
}

/// Variables of this program and of the reference's p2p that are set and that nobody reads: a typo, most likely. Others of
/// the reference's are for parts that this program does not have.
pub(super) fn unread_variables() -> Vec<String> {
    let command = Cli::command();
    let mut known: Vec<&OsStr> = Vec::new();
    for subcommand in command.get_subcommands() {
        known.extend(subcommand.get_arguments().filter_map(clap::Arg::get_env));
    }
    let ours = |name: &str| ["OP_NODE_P2P_", "OPP2P_"].iter().any(|prefix| name.starts_with(prefix));
    let mut unread: Vec<String> = std::env::vars_os()
        .filter(|(name, value)| !value.is_empty() && !known.contains(&name.as_os_str()))
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, value)| ours(name) && !is_a_container_managers(name, value))
        .map(|(name, _)| name)
        .collect();
    unread.sort();
    unread
}

/// Container managers tell each service of the others by such variables.
fn is_a_container_managers(name: &str, value: &str) -> bool {
    let has = |part| name.contains(part);
    has("_SERVICE_HOST") || has("_SERVICE_PORT") || has("_PORT_") || value.starts_with("tcp://")
}
