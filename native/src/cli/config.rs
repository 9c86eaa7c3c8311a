//! `opp2p config`: prints the settings in force with their sources.

use super::settings::{JSON, Setting, Source};
use super::{Failure, answer, node};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
// Without this, the fields' group would have the name of the flattened one.
#[group(skip)]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(id = JSON, long = "json")]
    json: bool,
    // Last, since its headings would apply to the flag after it.
    #[command(flatten)]
    node: node::Args,
}

/// Prints the settings, and then checks them as a node would.
pub(super) fn run(
    args: &Args,
    settings: &[Setting],
    cautions: &[String],
) -> Result<ExitCode, Failure> {
    let derived = args.node.derived();
    answer(if args.json {
        json(settings, &derived).to_string()
    } else {
        text(settings, &derived)
    })?;
    node::check(&args.node, cautions)?;
    Ok(ExitCode::SUCCESS)
}

/// Formats the settings as an equivalent configuration file, without secrets. `derived` has values
/// of settings that were not given; they follow from the others and stay out of the file.
fn text(settings: &[Setting], derived: &[(&str, String)]) -> String {
    // A setting without effect is shown only if it was given.
    let settings: Vec<&Setting> = settings
        .iter()
        .filter(|setting| setting.value.is_some() || setting.ignored.is_none())
        .collect();
    let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
    let lines = settings.iter().map(|setting| {
        let key = key(&setting.name, &names);
        match &setting.value {
            Some(_) if setting.is_secret => format!("# {key} is set, and not shown"),
            Some(value) => format!("{key} = {}", value_of(value)),
            None => match derived_of(derived, &setting.name) {
                Some(value) => format!("# {key} is not set; in force is {}", value_of(value)),
                None => format!("# {key} is not set"),
            },
        }
    });
    let lines: Vec<String> = lines.collect();
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .filter(|width| *width <= 60)
        .max()
        .unwrap_or(0);
    let mut text = String::from(
        "# The settings of opp2p node as they are in force. As a file for --config it says the \
         same.\n\
         ",
    );
    let hidden: Vec<&str> = settings
        .iter()
        .filter(|setting| setting.is_secret && setting.value.is_some())
        .map(|setting| setting.name.as_str())
        .collect();
    if !hidden.is_empty() {
        let _ = writeln!(
            text,
            "# Secrets are not shown, and without them the file gives another node: {}.",
            hidden.join(", ")
        );
    }
    for (line, setting) in lines.iter().zip(&settings) {
        let _ = match (setting.source, &setting.variable) {
            (Source::Environment, Some(variable)) => {
                writeln!(text, "{line:width$}  # environment, {variable}")
            }
            (source, _) if setting.value.is_some() => {
                writeln!(text, "{line:width$}  # {}", source.name())
            }
            _ => writeln!(text, "{line}"),
        };
    }
    text.truncate(text.trim_end().len());
    text
}

/// Returns the name, in quotes if it extends another flag's name: TOML takes a dotted key for a
/// table.
fn key(name: &str, names: &[&str]) -> String {
    let begins =
        |shorter: &str| name.strip_prefix(shorter).is_some_and(|rest| rest.starts_with('.'));
    if names.iter().any(|other| begins(other)) { format!("\"{name}\"") } else { name.to_owned() }
}

/// Formats a number or a boolean as such, and anything else as text.
fn value_of(value: &str) -> String {
    let is_plain = matches!(value, "true" | "false")
        || value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_plain { value.to_owned() } else { Value::from(value).to_string() }
}

fn derived_of<'a>(derived: &'a [(&str, String)], name: &str) -> Option<&'a String> {
    derived.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn json(settings: &[Setting], derived: &[(&str, String)]) -> Value {
    let entries = settings.iter().map(|setting| {
        let hidden = setting.is_secret && setting.value.is_some();
        let value = if hidden {
            Value::from("(hidden)")
        } else {
            json!(setting.value.as_ref().or(derived_of(derived, &setting.name)))
        };
        let (source, variable) = (setting.source.name(), &setting.variable);
        let mut entry = json!({ "value": value, "source": source, "variable": variable });
        if let Some(why) = setting.ignored {
            entry["ignored"] = why.into();
        }
        (setting.name.clone(), entry)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}
