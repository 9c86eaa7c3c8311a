//! Sources of settings: a flag, else the environment, else the configuration file, else the
//! default.
//!
//! The file is TOML and its keys are the flags' names: `p2p.listen.tcp = 9222`, or `tcp = 9222`
//! below `[p2p.listen]`. If one flag's name is a prefix of another's (`l1`,
//! `l1.runtime-config-reload-interval`), TOML takes a dotted key for a table, so the longer name
//! must be quoted. A value is a text, number or boolean that the flag accepts; a list is an array,
//! or one text with commas. Unknown keys and invalid values are refused.
//!
//! An empty environment variable counts as unset. If a variable of op-node (`OP_NODE_…`) is unset,
//! that of base-consensus (`BASE_NODE_…`) applies.
//!
//! If the program is called by the name of op-node or base-consensus, for example through a link,
//! it is `opp2p node`, and flags may have one dash, as in Go.
//!
//! # Bounds
//! The file: [`MAX_FILE`]. The operator writes it.

use super::failure::readable;
use super::{Failure, foreign};
use clap::builder::{OsStr as ClapText, Resettable};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, Parser};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Maximum size of a configuration file in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The commands that take a configuration file.
const COMMANDS: [&str; 2] = ["node", "config"];
/// Id of `opp2p config`'s own flag.
pub(super) const JSON: &str = "config_json";
/// The flag that names the file.
pub(super) const CONFIG: &str = "config";

/// Reasons why the command line can't be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The parser's message, which may be requested help.
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

/// The command line, and the sources of the command's settings.
#[derive(Debug)]
pub(super) struct Reading<C> {
    /// The command line.
    pub(super) cli: C,
    /// The settings of the command, if it takes a file.
    pub(super) settings: Vec<Setting>,
    /// Warnings about the file, for the log once it has started.
    pub(super) cautions: Vec<String>,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The flag's name without dashes.
    pub(super) name: String,
    /// Its environment variable.
    pub(super) variable: Option<String>,
    /// Its value; `None` if it has none.
    pub(super) value: Option<String>,
    /// Source of the value.
    pub(super) source: Source,
    /// Whether the value must not be shown.
    pub(super) is_secret: bool,
    /// The reason why it has no effect, if it has none.
    pub(super) ignored: Option<&'static str>,
}

/// Source of a setting, in order of precedence.
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
pub(super) fn read<C: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Reading<C>, Unreadable> {
    let mut command = with_environment(C::command());
    let arguments = translate_arguments(arguments.into_iter().collect(), &command);
    // Errors are left to the second parse.
    let found = command.clone().ignore_errors(true).try_get_matches_from(&arguments).ok();
    let found = found.as_ref().and_then(|found| found.subcommand());
    let Some((name, given)) = found.filter(|(name, _)| COMMANDS.contains(name)) else {
        return Ok(Reading {
            cli: C::from_arg_matches(&command.try_get_matches_from(arguments)?)?,
            settings: Vec::new(),
            cautions: Vec::new(),
        });
    };
    let name = name.to_owned();
    let path =
        given.get_one::<PathBuf>(CONFIG).filter(|path| !path.as_os_str().is_empty()).cloned();
    let file = match &path {
        Some(path) => load(path)?,
        None => BTreeMap::new(),
    };
    let mut cautions = Vec::new();
    if let Some(path) = &path {
        for (key, value) in &file {
            command = set(command, &name, key, value).map_err(|why| {
                Failure::new(format!("the configuration file {} is refused: {why}", path.display()))
            })?;
        }
        cautions.extend(open_secret(path, &command, &name, &file));
    }
    let matches = command.clone().try_get_matches_from(arguments)?;
    let settings = match (command.find_subcommand(&name), matches.subcommand()) {
        (Some(command), Some((_, matches))) => settings(command, matches, &file),
        _ => Vec::new(),
    };
    Ok(Reading { cli: C::from_arg_matches(&matches)?, settings, cautions })
}

/// Converts a command line of op-node or base-consensus to one of `opp2p node`; returns any other
/// unchanged.
fn translate_arguments(mut arguments: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let name = arguments.first().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    let own = ["-h", "--help", "-V", "--version"];
    let is_flag = |text: &OsString| {
        text.to_str().is_some_and(|text| text.starts_with('-') && !own.contains(&text))
    };
    if name.is_some_and(|name| ["op-node", "base-consensus"].contains(&name))
        && arguments.get(1).is_none_or(is_flag)
    {
        arguments.insert(1, "node".into());
    }
    let of = arguments.get(1).and_then(|of| of.to_str()).filter(|of| COMMANDS.contains(of));
    let Some(of) = of.and_then(|of| command.find_subcommand(of)) else { return arguments };
    let is_known = |name: &str| {
        of.get_arguments().any(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(name) || aliases.contains(&name)
        })
    };
    for argument in arguments.iter_mut().skip(2) {
        let Some(rest) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
            continue;
        };
        let name = rest.split_once('=').map_or(rest, |(name, _)| name);
        if name.len() > 1 && !name.starts_with('-') && is_known(name) {
            *argument = format!("-{}", argument.display()).into();
        }
    }
    arguments
}

/// Returns the command with two rules: an empty variable counts as unset, and base-consensus'
/// variable applies if op-node's is unset. If a flag is given repeatedly, the last one applies.
fn with_environment(command: Command) -> Command {
    let is_set = |name: &OsStr| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let command = command.args_override_self(true).mut_args(|argument| {
        let Some(variable) = argument.get_env() else { return argument };
        if is_set(variable) {
            return argument;
        }
        match base_variables(variable).into_iter().find(|other| is_set(OsStr::new(other))) {
            Some(other) => argument.env(ClapText::from(other)),
            None if std::env::var_os(variable).is_some() => {
                argument.env(Resettable::<ClapText>::Reset)
            }
            None => argument,
        }
    });
    command.mut_subcommands(with_environment)
}

/// Returns base-consensus' variables for the same setting, in order of precedence.
fn base_variables(variable: &OsStr) -> Vec<String> {
    let Some(variable) = variable.to_str() else { return Vec::new() };
    let own = match variable {
        "OPP2P_SIGNER" => Some("BASE_NODE_P2P_UNSAFE_BLOCK_SIGNER"),
        "OP_NODE_L2_FOLLOW_SOURCE" => Some("BASE_NODE_SOURCE_L2_RPC"),
        "OP_NODE_LOG_LEVEL" => Some("BASE_NODE_LOG_VERBOSITY"),
        "OP_NODE_P2P_ADVERTISE_TCP" => Some("BASE_NODE_P2P_ADVERTISE_TCP_PORT"),
        "OP_NODE_P2P_ADVERTISE_UDP" => Some("BASE_NODE_P2P_ADVERTISE_UDP_PORT"),
        _ => None,
    };
    let same = variable.strip_prefix("OP_NODE_").map(|name| format!("BASE_NODE_{name}"));
    own.map(str::to_owned).into_iter().chain(same).collect()
}

/// Reads a file into texts by flag name.
fn load(path: &Path) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let refused = |why: &str| {
        Failure::new(format!("the configuration file {} is refused: {why}", path.display()))
    };
    let mut text = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Failure::new(format!(
            "can't read the configuration file {}: {error}; give a TOML file {} with --config",
            path.display(),
            readable(&error)
        ))
    })?;
    if text.len() as u64 > MAX_FILE {
        return Err(refused("it has more than 1 MiB, and a configuration has a few lines"));
    }
    let text = String::from_utf8(text).map_err(|_| refused("it is not text in UTF-8"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let hint = match error.message().contains("duplicate key")
            || error.message().contains("cannot extend")
        {
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

fn flatten(
    key: &str,
    value: toml::Value,
    into: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
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
            return Err(format!(
                "{key} should be a text, a number, true or false, or a list of such"
            ));
        }
    })
}

/// Makes a file's value the default of its flag, if the flag accepts it.
fn set(command: Command, of: &str, key: &str, values: &[String]) -> Result<Command, String> {
    let known = command.find_subcommand(of).and_then(|of| {
        let argument = of.get_arguments().find(|argument| argument.get_long() == Some(key))?;
        Some((
            argument.get_id().clone(),
            is_list(argument),
            matches!(argument.get_action(), ArgAction::SetTrue),
        ))
    });
    if key == CONFIG {
        return Err("it sets config, and a configuration file can't name another".into());
    }
    let own = ["help", "version"];
    let Some((id, is_list, is_switch)) = known.filter(|_| !own.contains(&key)) else {
        let near = command.find_subcommand(of).and_then(|of| nearest(of, key));
        let tip = near.map_or_else(
            || "; opp2p config lists the names".into(),
            |near| format!("; a similar one is {near}"),
        );
        return Err(format!("it sets {key}, which is not a setting{tip}"));
    };
    if values.len() != 1 && !is_list {
        return Err(format!("{key} takes one value, and the file has a list of {}", values.len()));
    }
    // An empty text counts as unset, as in the environment.
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

/// Asks the parser whether a flag accepts these values.
fn check(
    command: &Command,
    of: &str,
    key: &str,
    values: &[String],
    is_switch: bool,
) -> Result<(), String> {
    if is_switch {
        return Ok(());
    }
    // Parses only this flag, without the environment.
    let alone = command.clone().mut_subcommand(of, |of| {
        of.mut_args(|argument| argument.env(Resettable::<ClapText>::Reset))
    });
    let flag = format!("--{key}={}", values.join(","));
    match alone.try_get_matches_from(["opp2p", of, &flag]) {
        Ok(_) => Ok(()),
        Err(error) => Err(super::usage::one_line(&error.render().to_string())),
    }
}

fn is_list(argument: &clap::Arg) -> bool {
    argument.get_value_delimiter().is_some()
}

/// Returns the flag's name that is most similar to `key`, if one is similar enough.
fn nearest(command: &Command, key: &str) -> Option<String> {
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    let (distance, name) = names.map(|name| (distance(name, key), name)).min()?;
    (distance <= key.len() / 3).then(|| name.to_owned())
}

/// Returns the edit distance of two names in characters. Names are short.
pub(super) fn distance(one: &str, other: &str) -> usize {
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

/// Returns every setting of a command with its value in force.
fn settings(
    command: &Command,
    matches: &ArgMatches,
    file: &BTreeMap<String, Vec<String>>,
) -> Vec<Setting> {
    let arguments = command.get_arguments().filter(|argument| {
        argument.get_long().is_some_and(|name| !["help", "version", CONFIG].contains(&name))
            && !is_local(argument)
    });
    let mut settings: Vec<Setting> =
        arguments.filter_map(|argument| setting(argument, matches, file)).collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    settings
}

/// Returns `true` for flags of `opp2p config` itself.
fn is_local(argument: &clap::Arg) -> bool {
    argument.get_id() == JSON
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
            let values: Vec<String> =
                values.map(|value| value.to_string_lossy().into_owned()).collect();
            values.join(",")
        }),
    };
    // Go has several words for true and false.
    let is_boolean =
        argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "BOOL"));
    let value = value.map(|value| match super::values::boolean(&value) {
        Ok(boolean) if is_boolean => boolean.to_string(),
        _ => value,
    });
    Some(Setting {
        variable: argument.get_env().map(|name| name.to_string_lossy().into_owned()),
        value: value.filter(|value| !value.is_empty()),
        source,
        is_secret: argument.is_hide_env_values_set(),
        ignored: foreign::why(&name),
        name,
    })
}

/// Returns a warning if the file holds a secret and is readable by others.
fn open_secret(
    path: &Path,
    command: &Command,
    of: &str,
    file: &BTreeMap<String, Vec<String>>,
) -> Option<String> {
    let command = command.find_subcommand(of)?;
    let secrets = command.get_arguments().filter(|argument| argument.is_hide_env_values_set());
    let mut held = secrets.filter_map(clap::Arg::get_long).filter(|name| file.contains_key(*name));
    let name = held.next().filter(|_| opp2p_node::key::is_open_to_others(path))?;
    let path = path.display();
    Some(format!(
        "others can read or write the configuration file {path}, which holds {name}; chmod 600 it"
    ))
}

/// Returns variables with this program's or the reference's prefix that are set but unknown,
/// probably typos. Variables of the reference for parts that this program does not have are known.
/// base-consensus has more variables than are known here, so only those for peers count.
pub(super) fn unread_variables(command: &Command) -> Vec<String> {
    let mut known: Vec<OsString> = Vec::new();
    for subcommand in command.get_subcommands() {
        for variable in subcommand.get_arguments().filter_map(clap::Arg::get_env) {
            known.push(variable.to_owned());
            known.extend(base_variables(variable).into_iter().map(OsString::from));
        }
    }
    let prefixes = ["OP_NODE_", "BASE_NODE_P2P_", "OPP2P_"];
    let ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut unread: Vec<String> = std::env::vars_os()
        .filter(|(name, value)| !value.is_empty() && !known.contains(name))
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        })
        .filter(|(name, value)| ours(name) && !is_set_by_container_manager(name, value))
        .map(|(name, _)| name)
        .collect();
    unread.sort();
    unread
}

/// Returns `true` for variables that container managers set to announce other services.
fn is_set_by_container_manager(name: &str, value: &str) -> bool {
    let has = |part| name.contains(part);
    has("_SERVICE_HOST") || has("_SERVICE_PORT") || has("_PORT_") || value.starts_with("tcp://")
}
