//! `tests/REPORT.md`: every figure, the command that reproduces it, and its bound.

use std::fs;
use std::path::PathBuf;

use opp2p_tests::report::{FOLDER, Section};

use crate::shell::{self, Shell};

/// Path of the report.
const FILE: &str = "tests/REPORT.md";

/// The measuring steps, in order of execution: each in a process of its own, so that a failed one
/// costs only its own figures.
const SOURCES: &[&str] = &[
    "validation",
    "counts",
    "path",
    "denim",
    "cost",
    "crash-rounds",
    "store-writes",
    "attack-report",
    "fuzz",
    "soak-ours",
];

fn folder(shell: &Shell) -> PathBuf {
    shell.target().join("report")
}

/// Measures everything and writes the report.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let mut failed = Vec::new();
    for source in SOURCES {
        let mut step = shell.command(&program);
        if shell::run(step.arg(source).env(FOLDER, folder(shell))).is_err() {
            failed.push(*source);
        }
    }
    let note = write(shell)?;
    if failed.is_empty() {
        Ok(note)
    } else {
        Err(format!("{note}; these steps failed: {}", failed.join(", ")))
    }
}

/// Writes the report from the latest measurements.
pub(crate) fn write(shell: &Shell) -> Result<String, String> {
    let folder = folder(shell);
    if let Ok(section) = super::validation::section(&shell.target().join("criterion")) {
        section.keep(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let sections =
        Section::kept(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let text = format!(
        "{}\n{}",
        head(shell),
        sections.iter().map(Section::to_markdown).collect::<Vec<_>>().join("\n")
    );
    fs::write(shell.root().join(FILE), text)
        .map_err(|error| format!("{FILE} cannot be written: {error}"))?;
    let rows: Vec<_> = sections.iter().flat_map(|section| &section.rows).collect();
    let missed = rows.iter().filter(|row| row.bound.as_ref().is_some_and(|(_, met)| !met)).count();
    Ok(format!(
        "{} sections with {} figures are in {FILE}; {missed} missed their bounds",
        sections.len(),
        rows.len()
    ))
}

/// Returns the head of the report: its purpose, and the machine.
fn head(shell: &Shell) -> String {
    let rustc = shell::output(shell.command("rustc").arg("--version")).unwrap_or_default();
    let commit = shell::output(shell.command("git").args(["rev-parse", "--short", "HEAD"]))
        .unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "# What a node costs and withstands\n\n\
         Written by `cargo all-tests -- report`, which runs everything below; `cargo all-tests -- \
         report-write` puts together what was measured last. Machines differ: compare figures of \
         one run, above all ratios.\n\n\
         {cores} cores of {processor}, {memory}, {}, {rustc}, commit {commit}.\n\
         ",
        std::env::consts::OS,
    )
}

/// Runs the benchmark of validation, and makes a section of it.
pub(crate) fn validation(shell: &Shell) -> Result<String, String> {
    let mut bench = shell.cargo_command();
    bench
        .args(["bench", "--locked", "--package", "opp2p-core", "--bench", "validate"])
        .args(["--features", "asm-keccak,fixtures,libsecp256k1"]);
    shell::run(&mut bench)?;
    let criterion = shell.target().join("criterion");
    let section = super::validation::section(&criterion)?;
    section.tell().map_err(|error| format!("the section cannot be kept: {error}"))?;
    Ok(String::new())
}
