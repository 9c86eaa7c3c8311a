//! Answers to a command line that can't be parsed: one sentence, like any other failure.

use super::{UNUSABLE, remark};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::process::ExitCode;

/// Prints help if it was asked for or there was no other argument, and the error otherwise.
pub(super) fn answer(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed output is not a failure.
            let _ = error.print();
        }
        kind => {
            let sentence = one_line(&error.render().to_string());
            // For a wrong value, the error already names the valid ones.
            let sentence = match wants_equals(error) {
                true => format!("{sentence}; a switch takes its value after =, such as =false"),
                false => sentence,
            };
            let told = matches!(kind, ErrorKind::ValueValidation | ErrorKind::InvalidValue);
            remark(format_args!("{sentence}{}", if told { "" } else { "; try --help" }));
        }
    }
    if error.use_stderr() { ExitCode::from(UNUSABLE) } else { ExitCode::SUCCESS }
}

/// Returns `true` if a boolean stands alone, probably behind a switch.
fn wants_equals(error: &clap::Error) -> bool {
    let argument = error.get(ContextKind::InvalidArg);
    error.kind() == ErrorKind::UnknownArgument
        && matches!(
            argument, Some(ContextValue::String(text)) if super::values::boolean(text).is_ok()
        )
}

/// Joins the parser's message into one line: its error and its tips, without the usage and the
/// pointer to help.
pub(super) fn one_line(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut sentence = String::new();
    for line in lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
    {
        let tip = line.strip_prefix("tip: ");
        let part = tip.or(line.strip_prefix("error: ")).unwrap_or(line);
        // Lists, such as that of missing arguments, have one item per line.
        let joint = match (tip, sentence.chars().last()) {
            (_, None) => "",
            (None, Some(':')) => " ",
            (None, Some(_)) if part.starts_with('[') => " ",
            (None, Some(_)) => ", ",
            (Some(_), Some(_)) => "; ",
        };
        sentence.push_str(joint);
        sentence.push_str(part);
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::{CommandFactory, Parser};

    fn line(arguments: &[&str]) -> String {
        let arguments = ["opp2p"].iter().chain(arguments);
        one_line(&Cli::try_parse_from(arguments).expect_err("wrong usage").render().to_string())
    }

    #[test]
    fn the_help_shows_no_variable_that_may_hold_a_secret() {
        // A URL may hold a password.
        let secret = ["URL", "URLS", "HEX", "HEADERS", "KEY", "SECRET", "PASSWORD"];
        let mut found = 0;
        for command in Cli::command().get_subcommands() {
            let nested = command.get_subcommands().flat_map(clap::Command::get_arguments);
            for argument in command.get_arguments().chain(nested) {
                let mut names = argument.get_value_names().unwrap_or_default().iter();
                if argument.get_env().is_some() && names.any(|name| secret.contains(&name.as_str()))
                {
                    found += 1;
                    let name = argument.get_id();
                    assert!(argument.is_hide_env_values_set(), "{} {name}", command.get_name());
                }
            }
        }
        assert!(found >= 8, "{found}");
    }

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_one_line() {
        assert_eq!(
            line(&["devnet", "--followers", "0"]),
            "invalid value '0' for '--followers <N>': 0 is not in 1..=64"
        );
        assert_eq!(
            line(&["node", "--log.format", "xml"]),
            "invalid value 'xml' for '--log.format <FORMAT>': use text, terminal, logfmt, json or \
             json-pretty"
        );
    }

    #[test]
    fn possible_values_stay_on_the_error_line() {
        let rendered = "error: invalid value 'c' for '--x <X>'\n  [possible values: a, b]\n\nFor \
                        more information, try '--help'.\n";
        assert_eq!(one_line(rendered), "invalid value 'c' for '--x <X>' [possible values: a, b]");
    }

    #[test]
    fn a_similar_subcommand_is_suggested() {
        assert_eq!(
            line(&["nod"]),
            "unrecognized subcommand 'nod'; a similar subcommand exists: 'node'"
        );
    }

    #[test]
    fn a_boolean_behind_a_switch_is_recognized() {
        let error = |arguments: &[&str]| {
            let arguments = ["opp2p", "node"].iter().chain(arguments);
            Cli::try_parse_from(arguments).expect_err("wrong usage")
        };
        assert!(wants_equals(&error(&["--metrics.enabled", "false"])));
        assert!(!wants_equals(&error(&["--metrics.enabled", "please"])));
    }

    #[test]
    fn missing_arguments_are_listed() {
        assert_eq!(
            line(&["inspect"]),
            "the following required arguments were not provided: --topic <TOPIC>, <FILE>"
        );
    }
}
