//! `opp2p config`: the settings of a node as they are in force, and where each comes from.

use super::settings::{Setting, Source};
use super::{Failure, answer, node};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Names the flag that is this command's own.
pub(super) const JSON: &str = "config_json";

#[derive(Debug, clap::Args)]
// The group that its fields would make has the name of the one that is flattened in.
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    node: node::Args,
    /// Print one JSON object.
    #[arg(id = JSON, long = "json")]
    json: bool,
}

/// Prints the settings; then what contradicts itself, as a node would say it.
pub(super) fn run(args: &Args, settings: &[Setting]) -> Result<ExitCode, Failure> {
    answer(if args.json { json(settings).to_string() } else { text(settings) })?;
    node::check(&args.node)?;
    Ok(ExitCode::SUCCESS)
}

/// A configuration file that says the same, but for secrets.
fn text(settings: &[Setting]) -> String {
    let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
    let lines = settings.iter().map(|setting| {
        let key = key(&setting.name, &names);
        match &setting.value {
            Some(_) if setting.is_secret => format!("# {key} is set, and not shown"),
            Some(value) => format!("{key} = {}", value_of(value)),
            None => format!("# {key} is not set"),
        }
    });
    let lines: Vec<String> = lines.collect();
    let width = lines.iter().map(|line| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let mut text = String::from(
        "# The settings of opp2p node as they are in force. As a file for --config it says the same.\n",
    );
    for (line, setting) in lines.iter().zip(settings) {
        let _ = match (setting.source, &setting.variable) {
            (Source::Environment, Some(variable)) => {
                writeln!(text, "{line:width$}  # environment, {variable}")
            }
            (source, _) if setting.value.is_some() => writeln!(text, "{line:width$}  # {}", source.name()),
            _ => writeln!(text, "{line}"),
        };
    }
    text.truncate(text.trim_end().len());
    text
}

/// The name, in quotes where another flag's name stands in the way: TOML takes a dotted key for a table.
fn key(name: &str, names: &[&str]) -> String {
    let begins = |shorter: &str| name.strip_prefix(shorter).is_some_and(|rest| rest.starts_with('.'));
    if names.iter().any(|other| begins(other)) { format!("\"{name}\"") } else { name.to_owned() }
}

/// A number or a boolean as such, all else as text.
fn value_of(value: &str) -> String {
    let is_plain = matches!(value, "true" | "false")
        || value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_plain { value.to_owned() } else { Value::from(value).to_string() }
}

fn json(settings: &[Setting]) -> Value {
    let entries = settings.iter().map(|setting| {
        let hidden = setting.is_secret && setting.value.is_some();
        let value = if hidden { Value::from("(hidden)") } else { json!(setting.value) };
        let entry = json!({ "value": value, "source": setting.source.name(), "variable": setting.variable });
        (setting.name.clone(), entry)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}
