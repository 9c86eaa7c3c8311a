//! Attacks on a node of ours: see `tests/attack/README.md`.

use crate::shell::Shell;

/// Runs each attack in its short form.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    shell.cargo(&["test", "--locked", "--workspace", "--test", "attack"])
}

/// Runs each attack in its longer form, with a release build, and measures its cost.
pub(crate) fn report(shell: &Shell) -> Result<String, String> {
    let release = ["test", "--locked", "--release", "--package", "opp2p-tests", "--test", "attack"];
    shell.cargo(&[&release[..], &["--", "--report"]].concat())
}
