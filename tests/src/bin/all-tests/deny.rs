//! cargo-deny, by the rules of `deny.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{self, Shell};

/// The one version that is used, so that its findings do not change under our feet.
const VERSION: &str = "0.20.2";

/// Where it is built if it is not on the path.
const TOOLS: &str = "target/tools";

/// Checks licences, bans and sources; installs cargo-deny first if need be.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let (program, note) = find_or_install(shell)?;
    // Duplicate versions are allowed, and warn at great length: errors only.
    let arguments = ["--locked", "--log-level", "error", "check", "licenses", "bans", "sources"];
    shell::run(shell.command(program).args(arguments))?;
    Ok(note)
}

fn find_or_install(shell: &Shell) -> Result<(PathBuf, String), String> {
    let tools = shell.root().join(TOOLS);
    let own = tools.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    for program in [Path::new("cargo-deny"), &own] {
        if is_right(shell, program) {
            return Ok((program.to_path_buf(), String::new()));
        }
    }
    println!("cargo-deny {VERSION} is not here: installing it into {TOOLS}, which takes a minute or two");
    let build = tools.join("build");
    let mut install = shell.cargo_command();
    install
        .args(["install", "--locked", "--force", "cargo-deny", "--version", VERSION, "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &build)
        // It runs for a second: its own release profile takes four times as long to build.
        .envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")])
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    shell::run(&mut install)?;
    fs::remove_dir_all(&build).map_err(|error| format!("{TOOLS}/build cannot be removed: {error}"))?;
    if !is_right(shell, &own) {
        return Err(format!("cargo-deny was installed into {TOOLS}, but does not answer as {VERSION}"));
    }
    Ok((own, format!("installed cargo-deny {VERSION} into {TOOLS}")))
}

fn is_right(shell: &Shell, program: &Path) -> bool {
    let answer = shell::output(shell.command(program).arg("--version"));
    answer.is_some_and(|answer| answer.split_whitespace().nth(1) == Some(VERSION))
}
