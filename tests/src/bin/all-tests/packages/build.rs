//! Static programs: one file that every Linux of its processor runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup;
use crate::shell::{self, Shell};

/// The profile of the workspace for shipped binaries.
pub(super) const PROFILE: &str = "dist";

/// Rust's names for the machines.
const INTEL: &str = "x86_64-unknown-linux-musl";
const ARM: &str = "aarch64-unknown-linux-musl";

/// Cargo's arguments for the program.
const BUILD: [&str; 8] =
    ["build", "--locked", "--profile", PROFILE, "--package", "opp2p", "--bin", "opp2p"];

/// C compiler for [`ARM`]. Debian's packages `gcc-aarch64-linux-gnu` and `musl-dev:arm64` have it.
const ARM_COMPILER: &str = "aarch64-linux-musl-gcc";

/// Programs that make libraries for [`ARM`].
const ARM_ARCHIVERS: [&str; 3] = ["aarch64-linux-musl-ar", "aarch64-linux-gnu-ar", "llvm-ar"];

/// Programs that run a program for ARM on another processor.
const EMULATORS: [&str; 2] = ["qemu-aarch64-static", "qemu-aarch64"];

/// A program for one kind of machine.
#[derive(Debug)]
pub(super) struct Built {
    /// Rust's name for the machine.
    pub(super) target: &'static str,
    /// Debian's name for its processor.
    pub(super) debian: &'static str,
    pub(super) program: PathBuf,
    /// Its size, and how it was tried.
    pub(super) note: String,
}

/// Builds for the machine that most operators have, and checks the program.
pub(super) fn here(shell: &Shell) -> Result<Built, String> {
    setup::musl(shell, INTEL)?;
    let program = build(shell, &mut shell.cargo_command(), INTEL)?;
    let version = shell::output(shell.command(&program).arg("--version"));
    check(shell, &program, version)?;
    let note = format!("{:.1} MB", super::megabytes(&program));
    Ok(Built { target: INTEL, debian: "amd64", program, note })
}

/// Builds for ARM, where Rust's target and a C compiler for it are here. The inner error says what
/// is missing.
pub(super) fn arm(shell: &Shell) -> Result<Result<Built, String>, String> {
    let archiver = ARM_ARCHIVERS.iter().find(|archiver| shell::has(archiver));
    let Some(archiver) = archiver.filter(|_| shell::has(ARM_COMPILER)) else {
        return Ok(Err(format!("there is no `{ARM_COMPILER}` with an archiver here")));
    };
    if let Err(reason) = setup::rust_target(shell, ARM) {
        return Ok(Err(reason));
    }
    let mut cargo = shell.cargo_command();
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", ARM_COMPILER);
    cargo.env("CC_aarch64_unknown_linux_musl", ARM_COMPILER);
    cargo.env("AR_aarch64_unknown_linux_musl", archiver);
    let program = build(shell, &mut cargo, ARM)?;
    let size = super::megabytes(&program);
    let note = match EMULATORS.iter().find(|emulator| shell::has(emulator)) {
        Some(emulator) => {
            let mut version = shell.command(emulator);
            check(shell, &program, shell::output(version.arg(&program).arg("--version")))?;
            format!("{size:.1} MB, runs in QEMU")
        }
        None => format!("{size:.1} MB, not run, since there is no `{}` here", EMULATORS[0]),
    };
    Ok(Ok(Built { target: ARM, debian: "arm64", program, note }))
}

/// Builds with the C library of this machine, to compare.
pub(super) fn dynamic(shell: &Shell) -> Result<PathBuf, String> {
    shell::run(shell.cargo_command().args(BUILD))?;
    Ok(shell.target().join(PROFILE).join("opp2p"))
}

fn build(shell: &Shell, cargo: &mut Command, target: &str) -> Result<PathBuf, String> {
    shell::run(cargo.args(BUILD).args(["--target", target]))?;
    Ok(shell.target().join(target).join(PROFILE).join("opp2p"))
}

/// Checks that the program runs, needs no library of the machine, and names its commit.
fn check(shell: &Shell, program: &Path, version: Option<String>) -> Result<(), String> {
    let version = version.ok_or_else(|| format!("{} does not run", program.display()))?;
    println!("{version}");
    if !version.contains('(') || version.contains("no commit") {
        return Err(format!("the binary names no commit: {version}"));
    }
    let headers = shell::output(shell.command("readelf").arg("--program-headers").arg(program))
        .ok_or("`readelf` does not answer: install binutils")?;
    if headers.contains("INTERP") {
        return Err("the binary needs a loader: it is not static".to_owned());
    }
    Ok(())
}
