//! Instruction counts of the hot paths, compared with the file `core/benches/counts.json`.
//!
//! Valgrind counts the same on every run, whatever the machine's load, so a change of a few per
//! cent is a change of the code. It is acknowledged by rewriting the file (`counts-accept`) and
//! committing it. Another compiler makes other code, and another processor takes other paths: then
//! the counts are not comparable, and the step reports that.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

use opp2p_tests::report::{Row, Section};

use crate::plan::left_out;
use crate::setup;
use crate::shell::{self, Shell};
use crate::tools::{self, Tool};

/// Maximum difference between a count and the file's, in per cent.
const TOLERANCE: f64 = 3.0;

/// Installs Valgrind, where it is available.
pub(crate) fn valgrind(shell: &Shell) -> Result<String, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(left_out("the counts are those of Linux on x86-64"));
    }
    Ok(setup::valgrind(shell).unwrap_or_else(left_out))
}

/// Counts, and compares with the file.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let Some(counted) = count(shell)? else {
        return Ok(left_out("there is no Valgrind here"));
    };
    let text = fs::read_to_string(file(shell))
        .map_err(|error| format!("{FILE} cannot be read: {error}"))?;
    let held: Value = serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))?;
    let here = conditions(shell);
    if held["conditions"] != here {
        return Ok(left_out(format_args!(
            "{FILE} was counted with {}, and here is {here}",
            held["conditions"]
        )));
    }
    let expected: Vec<(String, u64)> = held["instructions"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
        .collect();
    section(&expected, &counted)
        .tell()
        .map_err(|error| format!("the section cannot be kept: {error}"))?;
    let changes = changes(&expected, &counted);
    if changes.is_empty() {
        return Ok(format!("{} counts within {TOLERANCE} %", counted.len()));
    }
    Err(format!(
        "instructions changed by more than {TOLERANCE} %: {}. If that is meant, `cargo all-tests \
         -- counts-accept` writes them into {FILE}",
        changes.join(", ")
    ))
}

/// Counts, and writes the file.
pub(crate) fn accept(shell: &Shell) -> Result<String, String> {
    let counted = count(shell)?.ok_or("there is no Valgrind here")?;
    let instructions: Map<String, Value> =
        counted.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
    let held = json!({ "conditions": conditions(shell), "instructions": instructions });
    let text = serde_json::to_string_pretty(&held).map_err(|error| error.to_string())?;
    fs::write(file(shell), text + "\n")
        .map_err(|error| format!("{FILE} cannot be written: {error}"))?;
    Ok(format!("{} counts are in {FILE}", counted.len()))
}

const FILE: &str = "core/benches/counts.json";

fn file(shell: &Shell) -> PathBuf {
    shell.root().join(FILE)
}

/// Returns the conditions, apart from the code, that the counts depend on.
fn conditions(shell: &Shell) -> Value {
    let rustc = shell::output(shell.command("rustc").arg("--version")).unwrap_or_default();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |feature: &str| processor.split_whitespace().any(|word| word == feature);
    let features: Vec<&str> = ["avx2", "bmi2"].into_iter().filter(|feature| has(feature)).collect();
    json!({ "compiler": rustc, "processor": features })
}

/// Returns name and count of each benchmark; `None` without Valgrind.
fn count(shell: &Shell) -> Result<Option<Vec<(String, u64)>>, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) || !shell::has("valgrind") {
        return Ok(None);
    }
    let version = tools::locked_version(shell, "gungraun-runner")?;
    let tool = Tool {
        package: "gungraun-runner",
        program: "gungraun-runner",
        version: &version,
        opt_level: "0",
    };
    let (runner, _) = tools::ensure(shell, &tool)?;
    let results = shell.target().join("gungraun");
    // Counts of an earlier run must not be taken for this one's.
    let _ = fs::remove_dir_all(&results);
    let mut bench = shell.cargo_command();
    bench
        .args(["bench", "--locked", "--package", "opp2p-core", "--bench", "counts"])
        .args(["--features", "asm-keccak,counts,fixtures,libsecp256k1"])
        .env("GUNGRAUN_RUNNER", runner);
    shell::run(&mut bench)?;
    let mut counted = Vec::new();
    collect(&results, &mut counted)?;
    counted.sort();
    if counted.is_empty() {
        Err(format!("nothing was counted in {}", results.display()))
    } else {
        Ok(Some(counted))
    }
}

/// Collects the counts in a folder: each benchmark has a folder of its own with Callgrind's output.
fn collect(folder: &Path, counted: &mut Vec<(String, u64)>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, counted)?;
        } else if path.extension().is_some_and(|extension| extension == "out") {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let name = folder.file_name().unwrap_or_default().to_string_lossy().replace('.', " ");
            let count = total(&text).ok_or_else(|| format!("{} has no total", path.display()))?;
            counted.push((name, count));
        }
    }
    Ok(())
}

/// Returns the number of instructions in Callgrind's output.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Describes the counts that differ by too much.
fn changes(expected: &[(String, u64)], counted: &[(String, u64)]) -> Vec<String> {
    let found = |name: &str, list: &[(String, u64)]| {
        list.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    };
    let mut changes: Vec<String> = counted
        .iter()
        .filter_map(|(name, count)| match found(name, expected) {
            None => Some(format!("{name} is new")),
            Some(before) => {
                let change = change(before, *count);
                (change.abs() > TOLERANCE)
                    .then(|| format!("{name} {before} to {count} ({change:+.1} %)"))
            }
        })
        .collect();
    let gone = expected.iter().filter(|(name, _)| found(name, counted).is_none());
    changes.extend(gone.map(|(name, _)| format!("{name} is gone")));
    changes
}

fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn section(expected: &[(String, u64)], counted: &[(String, u64)]) -> Section {
    let row = |(name, count): &(String, u64)| {
        let before =
            expected.iter().find(|(known, _)| known == name).map_or(*count, |(_, before)| *before);
        let change = change(before, *count);
        Row::new(name, format!("{count}"))
            .held_to(format!("{before} ± {TOLERANCE} %"), change.abs() <= TOLERANCE)
    };
    Section {
        name: "05-counts".to_owned(),
        title: "Instructions of the hot paths".to_owned(),
        command: "cargo all-tests -- counts".to_owned(),
        about: format!(
            "Counted by Callgrind, which knows AVX2 but not AVX-512, and held to `{FILE}`."
        ),
        rows: counted.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn only_changes_of_more_than_three_per_cent_are_reported() {
        let before = counts(&[("judge small", 1000), ("judge large", 1000), ("copy small", 1000)]);
        let now = counts(&[("judge small", 1029), ("judge large", 1031), ("copy small", 900)]);
        let changes = changes(&before, &now);
        assert_eq!(
            changes,
            ["judge large 1000 to 1031 (+3.1 %)", "copy small 1000 to 900 (-10.0 %)"]
        );
    }

    #[test]
    fn new_and_missing_entries_are_named() {
        let changes = changes(&counts(&[("old", 1)]), &counts(&[("new", 1)]));
        assert_eq!(changes, ["new is new", "old is gone"]);
    }

    #[test]
    fn callgrinds_total_is_read() {
        assert_eq!(total("events: Ir\nfn=x\n1 2\ntotals: 4711 3\n"), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
