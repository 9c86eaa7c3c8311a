//! cargo-deny, by the rules of `deny.toml`.

use crate::shell::{self, Shell};
use crate::tools::{self, Tool};

/// It runs for a second: as little optimised as can be.
const DENY: Tool<'_> =
    Tool { package: "cargo-deny", program: "cargo-deny", version: "0.20.2", opt_level: "0" };

/// Checks licences, bans and sources; installs cargo-deny first if need be.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let (program, note) = tools::ensure(shell, &DENY)?;
    // Duplicate versions are allowed, and warn at great length: errors only.
    let arguments = ["--locked", "--log-level", "error", "check", "licenses", "bans", "sources"];
    shell::run(shell.command(program).args(arguments))?;
    Ok(note)
}
