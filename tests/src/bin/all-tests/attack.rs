//! Attacks on a node of ours: see `tests/attack/README.md`.

use crate::shell::Shell;

/// Each attack in its short form.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    shell.cargo(&["test", "--locked", "--package", "opp2p-tests", "--test", "attack"])
}

/// Each attack in its longer form, in release code, and what it costs.
pub(crate) fn report(shell: &Shell) -> Result<String, String> {
    let release = ["test", "--locked", "--release", "--package", "opp2p-tests", "--test", "attack"];
    shell.cargo(&[&release[..], &["--", "--report"]].concat())
}
