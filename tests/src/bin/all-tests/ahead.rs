//! Builds of later steps, made while the tests of the workspace run.
//!
//! Those tests wait for sockets, timers and processes half of the time. This program starts itself
//! with the names of the steps that only build, at the lowest priority, so that the build uses the
//! processors while the tests wait. The steps themselves then find their work done. A build that
//! fails here fails again in its own step, which reports it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::shell::{self, Shell};

/// Step during which the builds run.
pub(crate) const DURING: &str = "test";

/// Steps that only build, in order. None of them uses cargo's folder of the debug build: its lock
/// would stop the tests.
pub(crate) const STEPS: &[&str] = &[
    "wasm-tools",
    "web-package",
    "web-page",
    "op-node",
    "op-node-newest",
    "pubsub",
    "js-libp2p",
    "web3",
    "op-geth",
    "pebble",
];

/// The builds, while they run.
#[derive(Debug)]
pub(crate) struct Ahead {
    child: Option<Child>,
}

impl Ahead {
    /// No builds yet.
    pub(crate) const fn new() -> Self {
        Self { child: None }
    }

    /// Starts the builds. Without them everything takes longer, so an error is only printed.
    pub(crate) fn start(&mut self, shell: &Shell) {
        match start(shell) {
            Ok(child) => self.child = Some(child),
            Err(reason) => println!("Nothing is built ahead: {reason}"),
        }
    }

    /// Waits for the builds to end.
    pub(crate) fn wait(&mut self, shell: &Shell) {
        let Some(mut child) = self.child.take() else { return };
        let waits = Instant::now();
        let log = log(shell);
        let end = match child.wait() {
            Ok(status) if status.success() => "are done".to_owned(),
            Ok(status) => format!("ended with {status}"),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        println!(
            "The builds ahead {end}, after waiting for {} s; their output is in {}",
            waits.elapsed().as_secs(),
            log.display()
        );
    }
}

fn log(shell: &Shell) -> std::path::PathBuf {
    shell.target().join("ahead.log")
}

fn start(shell: &Shell) -> Result<Child, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let path = log(shell);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(shell.target()).map_err(failed)?;
    let output = File::create(&path).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let mut command: Command = match shell::find("nice") {
        Some(nice) => {
            let mut command = shell.command(nice);
            command.args(["-n", "19"]).arg(own);
            command
        }
        None => shell.command(own),
    };
    command.args(STEPS).stdout(Stdio::from(output)).stderr(Stdio::from(errors));
    println!("Building ahead, at the lowest priority: {}", STEPS.join(", "));
    command.spawn().map_err(|error| format!("{} does not start: {error}", shell::shown(&command)))
}
