//! `cargo devnet`: makes the page if what it is made of has changed, then becomes the devnet.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use crate::shell::{self, Shell};
use crate::web;

/// Runs the devnet with these flags, in the folder and with the terminal of whoever called. Standard output is the
/// devnet's alone. Returns only what an error or, where programs cannot replace themselves, the devnet ended with.
pub(crate) fn run(shell: &Shell, flags: &[String]) -> ExitCode {
    if let Err(reason) = page(shell) {
        eprintln!("The devnet runs without a new page for browsers: {reason}.");
    }
    let mut devnet = shell.cargo_command();
    devnet.args(["run", "--release", "--package", "opp2p", "--bin", "opp2p", "--", "devnet"]).args(flags);
    devnet.stdin(Stdio::inherit());
    match env::current_dir() {
        Ok(folder) => become_it(devnet.current_dir(folder)),
        Err(error) => failed(&format!("the current folder is not known: {error}")),
    }
}

/// Makes the page, and what is needed for it, by this program's own steps.
fn page(shell: &Shell) -> Result<(), String> {
    if web::page_is_fresh(shell)? {
        return Ok(());
    }
    // Who wants to see a devnet has not asked for packages of the system.
    if !(shell::has("node") && shell::has("npm")) {
        return Err("there is no Node.js with npm here (`cargo web-page` installs it)".to_owned());
    }
    eprintln!("Setting up the page for browsers, which takes some minutes the first time.");
    let own = env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let mut steps = Command::new(own);
    steps.arg("web-page").stdin(Stdio::null()).stdout(std::io::stderr());
    match steps.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("see above for the step that failed".to_owned()),
        Err(error) => Err(format!("this program cannot start itself: {error}")),
    }
}

#[cfg(unix)]
fn become_it(command: &mut Command) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    failed(&format!("cargo does not start: {error}"))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into(),
        Err(error) => failed(&format!("cargo does not start: {error}")),
    }
}

fn failed(sentence: &str) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::FAILURE
}
