//! cargo-deny, with the rules of `deny.toml`.

use crate::shell::{self, Shell};
use crate::tools::{self, Tool};

/// It runs for a second, so it is built with the least optimisation.
const DENY: Tool<'_> =
    Tool { package: "cargo-deny", program: "cargo-deny", version: "0.20.2", opt_level: "0" };

/// Checks licences, bans and sources. Installs cargo-deny first if needed.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let (program, note) = tools::ensure(shell, &DENY)?;
    // Duplicate versions are allowed, but their warnings are long: show errors only.
    let arguments = ["--locked", "--log-level", "error", "check", "licenses", "bans", "sources"];
    shell::run(shell.command(program).args(arguments))?;
    Ok(note)
}
