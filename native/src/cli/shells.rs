//! `opp2p completions` and `opp2p man`: shell completions and manual pages.

use super::{Failure, answer};
use crate::version;
use clap::builder::{PossibleValuesParser, ValueHint};
use clap::{Arg, Command};
use clap_complete::Shell;
use opp2p_core::chain::{Fork, networks};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell. Bash: opp2p completions bash > ~/.local/share/bash-completion/completions/opp2p
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Folder for the pages: opp2p.1, opp2p-node.1 and so on. Without one, opp2p(1) is printed.
    folder: Option<PathBuf>,
}

/// Prints the completions of a shell for the program `command`.
pub(super) fn completions(args: &CompletionArgs, command: Command) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    let mut command = with_values(command);
    clap_complete::generate(args.shell, &mut command, "opp2p", &mut script);
    answer(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the values that a shell may offer. The parser of the program accepts more than these, such
/// as other names of a network, and says more about a wrong value.
fn with_values(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        if !argument.get_action().takes_values() {
            return argument;
        }
        if let Some(values) = values(&argument) {
            return argument.value_parser(PossibleValuesParser::new(values));
        }
        // Without a hint, shells offer files for everything.
        let hint = match argument.get_value_names().and_then(|names| names.first()) {
            Some(name) if name == "DIR" || name == "FOLDER" => ValueHint::DirPath,
            Some(name) if name == "FILE" => ValueHint::FilePath,
            _ => ValueHint::Other,
        };
        argument.value_hint(hint)
    });
    command.mut_subcommands(with_values)
}

/// Returns the values of a flag, if they can be listed.
fn values(argument: &Arg) -> Option<Vec<&'static str>> {
    Some(match argument.get_long().unwrap_or_else(|| argument.get_id().as_str()) {
        "network" => networks::all().map(|network| network.slug).collect(),
        // The network of `opp2p chains`.
        "name" => networks::all().map(|network| network.slug).collect(),
        "fork" => Fork::ALL.iter().map(|fork| fork.name()).collect(),
        "log.level" => vec!["crit", "error", "warn", "info", "debug", "trace"],
        "log.format" => vec!["text", "terminal", "logfmt", "json", "json-pretty"],
        "p2p.scoring" => vec!["light", "none"],
        "p2p.security" => vec!["noise", "tls", "none"],
        "p2p.mux" => vec!["yamux", "mplex"],
        "feed" => vec!["stdout"],
        "topic" => vec!["v1", "v2", "v3", "v4"],
        _ if is_boolean(argument) => vec!["true", "false"],
        _ => return None,
    })
}

fn is_boolean(argument: &Arg) -> bool {
    argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "BOOL"))
}

/// Prints the manual page of the program `command`, or writes those of all its commands.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<ExitCode, Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        render(&command, &mut page)?;
        answer(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let mut pages = Vec::new();
        collect(&command, &mut pages)?;
        pages.into_iter().try_for_each(|(name, page)| std::fs::write(folder.join(name), page))
    });
    written.map_err(|error| {
        Failure::new(format!(
            "can't write the manual pages into {}: {error}; name another folder",
            folder.display()
        ))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Collects the pages of a command and all commands below it, with their file names.
fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let mut page = Vec::new();
    render(command, &mut page)?;
    pages.push((format!("{}.1", title(command)), page));
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| collect(command, pages))
}

fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// Writes the page of a command. The synopsis has no flags: some commands have dozens, and the
/// options follow below.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = clap_mangen::Man::new(command.clone())
        .title(title(command).to_uppercase())
        .date(version::COMMIT_DATE)
        .source(format!("opp2p {}", version::VERSION))
        .manual("Manual of opp2p");
    man.render_title(page)?;
    man.render_name_section(page)?;
    synopsis(command, page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    if command.get_after_long_help().is_some() || command.get_after_help().is_some() {
        man.render_extra_section(page)?;
    }
    Ok(())
}

fn synopsis(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    write!(page, ".SH SYNOPSIS\n\\fB{}\\fR [\\fIOPTIONS\\fR]", name.replace('-', "\\-"))?;
    for argument in command.get_positionals().filter(|argument| !argument.is_hide_set()) {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.first().map_or_else(|| argument.get_id().as_str(), |name| name.as_str());
        match argument.is_required_set() {
            true => write!(page, " \\fI{name}\\fR")?,
            false => write!(page, " [\\fI{name}\\fR]")?,
        }
    }
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        let is_needed = command.is_subcommand_required_set();
        write!(page, "{}", if is_needed { " \\fICOMMAND\\fR" } else { " [\\fICOMMAND\\fR]" })?;
    }
    writeln!(page)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    fn completions_of(shell: Shell) -> String {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut with_values(Cli::command()), "opp2p", &mut script);
        String::from_utf8(script).expect("text")
    }

    #[test]
    fn completions_offer_known_values_and_no_files_otherwise() {
        let bash = completions_of(Shell::Bash);
        for part in
            ["op-mainnet", "base-sepolia", "json-pretty", "jovian", "true false", "light none"]
        {
            assert!(bash.contains(part), "{part}");
        }
        let zsh = completions_of(Shell::Zsh);
        let line = |flag: &str| {
            let lines = zsh.lines().filter(|line| line.contains(&format!("'--{flag}=")));
            lines.map(str::to_owned).next().unwrap_or_else(|| panic!("no {flag}"))
        };
        assert!(line("rollup.config").contains("_files"), "{}", line("rollup.config"));
        assert!(line("data-dir").contains("_files -/"), "{}", line("data-dir"));
        assert!(!line("p2p.peers.hi").contains("_files"), "{}", line("p2p.peers.hi"));
        assert!(line("network").contains("op-mainnet"), "{}", line("network"));
    }

    #[test]
    fn each_manual_page_has_a_header_with_the_version_and_a_short_synopsis() {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        collect(&command, &mut pages).expect("written to memory");
        let page = |name: &str| {
            let page = pages.iter().find(|(title, _)| title == name).expect(name);
            String::from_utf8(page.1.clone()).expect("text")
        };
        assert!(pages.len() > 12 && pages.iter().all(|(name, _)| name.starts_with("opp2p")));
        for name in ["opp2p.1", "opp2p-node.1", "opp2p-peers-ban.1"] {
            let text = page(name);
            let header = text.lines().find(|line| line.starts_with(".TH ")).expect("a header");
            assert!(header.contains(&format!("opp2p {}", version::VERSION)), "{header}");
            let after = text.split(".SH SYNOPSIS\n").nth(1).expect("a synopsis");
            let line = after.lines().next().expect("a line");
            assert!(line.len() < 100 && line.contains("OPTIONS"), "{line}");
        }
        assert!(
            page("opp2p-peers-ban.1")
                .contains("\\fBopp2p peers ban\\fR [\\fIOPTIONS\\fR] \\fIWHO\\fR")
        );
    }
}
