//! What is said about a command line that can't be understood: one sentence, like any other failure.

use super::{UNUSABLE, remark};
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Prints help where it was asked for or nothing else was, and otherwise what is wrong.
pub(super) fn answer(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody reading is no failure.
            let _ = error.print();
        }
        kind => {
            let sentence = one_line(&error.render().to_string());
            // Whoever gave a wrong value is told the right ones.
            let told = matches!(kind, ErrorKind::ValueValidation | ErrorKind::InvalidValue);
            remark(format_args!("{sentence}{}", if told { "" } else { "; try --help" }));
        }
    }
    if error.use_stderr() { ExitCode::from(UNUSABLE) } else { ExitCode::SUCCESS }
}

/// The parser's paragraph as one line: its error and its tips, without the usage and the pointer to help.
pub(super) fn one_line(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut sentence = String::new();
    for line in
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
    {
        let tip = line.strip_prefix("tip: ");
        let part = tip.or(line.strip_prefix("error: ")).unwrap_or(line);
        // Lists, such as that of missing arguments, have one item a line.
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
            "invalid value 'xml' for '--log.format <FORMAT>': use text, terminal, logfmt or json"
        );
    }

    #[test]
    fn what_is_possible_stays_on_the_line() {
        let rendered = "error: invalid value 'c' for '--x <X>'\n  [possible values: a, b]\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(rendered), "invalid value 'c' for '--x <X>' [possible values: a, b]");
    }

    #[test]
    fn a_tip_is_kept() {
        assert_eq!(line(&["nod"]), "unrecognized subcommand 'nod'; a similar subcommand exists: 'node'");
    }

    #[test]
    fn missing_arguments_are_listed() {
        assert_eq!(
            line(&["inspect"]),
            "the following required arguments were not provided: --topic <TOPIC>, <FILE>"
        );
    }
}
