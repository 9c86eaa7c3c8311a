//! Fuzzing: the targets of `tests/fuzz` with LLVM's libFuzzer, with coverage, on stable Rust.
//!
//! rustc passes the flags for LLVM's instrumentation through, so neither nightly nor cargo-fuzz is
//! needed. Naming the machine's own target keeps the flags from build scripts and macros. Findings
//! go to `target/fuzz/findings`.
//!
//! The short run repeats itself: it begins with the committed seeds and a fixed seed, so that the
//! same commit has the same result everywhere. The long run searches: its corpus stays in
//! `target/fuzz/corpus` and grows from run to run.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use opp2p_tests::report::{Row, Section};

use crate::setup;
use crate::shell::{self, Shell};

/// How long each target is fuzzed, and whether a run repeats itself.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Maximum number of seconds for each target.
    seconds: u64,
    /// Maximum number of inputs for each target, if a run repeats itself.
    inputs: Option<u64>,
}

/// A part of all tests: the step takes about three minutes on two cores; the first build takes
/// two of them. A slow machine runs the first of these inputs.
const SHORT: Effort = Effort { seconds: 12, inputs: Some(20_000) };
/// Where there are hours.
const HOUR: Effort = Effort { seconds: 60 * 60, inputs: None };
/// Seed of a run that repeats itself.
const SEED: u32 = 1;
/// Number of targets fuzzed in parallel.
const AT_ONCE: usize = 2;

/// Counts edges, and reports comparisons to the fuzzer, which derives new inputs from them.
const INSTRUMENTED: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Statistics of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers {
    runs: u64,
    edges: u64,
    corpus: u64,
}

#[derive(Debug)]
struct Fuzzed {
    target: String,
    took: Duration,
    numbers: Numbers,
    finding: Option<String>,
}

/// Fuzzes every target of the core for a short time. The native node's would take four times as
/// long to build; its seeds are replayed in every test run.
pub(crate) fn short(shell: &Shell) -> Result<String, String> {
    fuzz(shell, SHORT, &["--no-default-features"], "cargo all-tests -- fuzz")
}

/// Fuzzes every target for an hour, including the native node's.
pub(crate) fn hours(shell: &Shell) -> Result<String, String> {
    fuzz(shell, HOUR, &[], "cargo all-tests -- fuzz-hours")
}

/// Installs a C++ compiler if none is present: libFuzzer is written in C++.
fn cpp_compiler(shell: &Shell) -> Result<(), String> {
    if std::env::var_os("CXX").is_some() || ["g++", "clang++"].into_iter().any(shell::has) {
        return Ok(());
    }
    setup::cpp_compiler(shell).map(drop)
}

fn fuzz(shell: &Shell, effort: Effort, features: &[&str], command: &str) -> Result<String, String> {
    cpp_compiler(shell)?;
    let folder = shell.target().join("fuzz");
    let started = Instant::now();
    let program = build(shell, &folder, features)?;
    let built = started.elapsed();
    let targets = shell::output(shell.command(&program).env("OPP2P_FUZZ_TARGET", "list"))
        .ok_or_else(|| format!("{} does not list its targets", program.display()))?;
    let targets: Vec<(String, u32)> = targets
        .lines()
        .filter_map(|line| {
            let (name, max_len) = line.split_once(' ')?;
            Some((name.to_owned(), max_len.parse().ok()?))
        })
        .collect();
    if targets.is_empty() {
        return Err(format!("{} names no targets", program.display()));
    }
    let corpus = folder.join(if effort.inputs.is_some() { "short" } else { "corpus" });
    println!(
        "{} targets, {} s each at most, {AT_ONCE} at a time; the corpus is in {}",
        targets.len(),
        effort.seconds,
        corpus.display()
    );
    if effort.inputs.is_some() {
        shell::remove_folder(&corpus)?;
    }
    let queue = Mutex::new(VecDeque::from(targets));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().map_or(None, |mut queue| queue.pop_front());
                    let Some((target, max_len)) = next else { break };
                    let fuzzed = one(shell, &program, &corpus, &target, max_len, effort);
                    if let Ok(mut done) = done.lock() {
                        done.push(fuzzed);
                    }
                }
            });
        }
    });
    let done = done.into_inner().map_err(|_| "a fuzzing thread panicked".to_owned())?;
    let mut fuzzed = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    fuzzed.sort_by(|one, other| one.target.cmp(&other.target));
    section(&fuzzed, effort, built, command)
        .tell()
        .map_err(|error| format!("the report can't be written: {error}"))?;
    let findings: Vec<String> = fuzzed.iter().filter_map(|fuzzed| fuzzed.finding.clone()).collect();
    let runs: u64 = fuzzed.iter().map(|fuzzed| fuzzed.numbers.runs).sum();
    if findings.is_empty() {
        Ok(format!("{} targets, {runs} inputs, nothing found", fuzzed.len()))
    } else {
        Err(findings.join("\n"))
    }
}

fn build(shell: &Shell, folder: &Path, features: &[&str]) -> Result<PathBuf, String> {
    let version =
        shell::output(shell.command("rustc").arg("-vV")).ok_or("`rustc -vV` does not answer")?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("`rustc -vV` does not say which machine it is for")?;
    let mut cargo = shell.cargo_command();
    cargo
        .args(["build", "--locked", "--profile", "fuzz", "--target", host, "--target-dir"])
        .arg(folder);
    cargo.args(["--package", "opp2p-fuzz", "--features", "libfuzzer", "--bin", "opp2p-fuzz"]);
    cargo.args(features);
    // This variable also takes flags with spaces, and overrides RUSTFLAGS.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}"));
    shell::run(&mut cargo)?;
    Ok(folder.join(host).join("fuzz").join(format!("opp2p-fuzz{}", std::env::consts::EXE_SUFFIX)))
}

/// Fuzzes one target. Fails if the fuzzer does not run.
fn one(
    shell: &Shell,
    program: &Path,
    corpus: &Path,
    target: &str,
    max_len: u32,
    effort: Effort,
) -> Result<Fuzzed, String> {
    let folder = shell.target().join("fuzz");
    let corpus = corpus.join(target);
    let findings = folder.join("findings");
    let logs = folder.join("logs");
    for needed in [&corpus, &findings, &logs] {
        fs::create_dir_all(needed).map_err(|error| format!("{}: {error}", needed.display()))?;
    }
    let log = logs.join(format!("{target}.log"));
    let failed = |error: std::io::Error| format!("{}: {error}", log.display());
    let file = fs::File::create(&log).map_err(failed)?;
    let committed = shell.root().join("tests/fuzz");
    let mut command = shell.command(program);
    command.env("OPP2P_FUZZ_TARGET", target).env("RUST_BACKTRACE", "0");
    command
        .arg(format!("-max_total_time={}", effort.seconds))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()));
    if let Some(inputs) = effort.inputs {
        command.arg(format!("-runs={inputs}")).arg(format!("-seed={SEED}"));
    }
    // Allow long inputs from the start: a sequence of events that ends at once covers little.
    command.arg(format!("-max_len={max_len}")).arg("-len_control=0");
    // The longest inputs take some milliseconds, even with four on a core.
    command.args([
        "-timeout=25",
        "-rss_limit_mb=3072",
        "-print_final_stats=1",
        "-use_value_profile=1",
    ]);
    command.arg(&corpus);
    // The first folder takes new inputs; the others are only read.
    let read_only = ["seeds", "findings"].map(|kind| committed.join(kind).join(target));
    command.args(read_only.iter().filter(|folder| folder.is_dir()));
    let started = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let took = started.elapsed();
    let text = String::from_utf8_lossy(&fs::read(&log).map_err(failed)?).into_owned();
    let numbers = numbers(&text);
    let finding = (!status.success()).then(|| finding(target, &text, &log, program));
    println!(
        "{target}: {} inputs, {} edges in {} s{}",
        numbers.runs,
        numbers.edges,
        took.as_secs(),
        if finding.is_some() { ": FOUND SOMETHING" } else { "" }
    );
    Ok(Fuzzed { target: target.to_owned(), took, numbers, finding })
}

/// Returns the last statistics in a log.
fn numbers(log: &str) -> Numbers {
    let mut numbers = Numbers::default();
    for line in log.lines() {
        let word = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split(|char: char| char.is_whitespace() || char == '/')
                .find(|word| !word.is_empty())?
                .parse()
                .ok()
        };
        if line.starts_with('#') {
            let runs = line
                .trim_start_matches('#')
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok());
            numbers.runs = runs.unwrap_or(numbers.runs);
            numbers.edges = word("cov: ").unwrap_or(numbers.edges);
            numbers.corpus = word("corp: ").unwrap_or(numbers.corpus);
        }
        numbers.runs = word("stat::number_of_executed_units:").unwrap_or(numbers.runs);
    }
    numbers
}

/// Describes a finding: what it is, where it is, and how to reproduce it.
fn finding(target: &str, log: &str, log_file: &Path, program: &Path) -> String {
    let panic = log.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    let error = log.lines().find(|line| line.contains("ERROR: libFuzzer"));
    let what = panic.or(error).unwrap_or("it ended without a reason").trim();
    let file = log
        .lines()
        .find_map(|line| line.split_once("Test unit written to "))
        .map(|(_, file)| file.trim());
    match file {
        Some(file) => format!(
            "{target}: {what}; see it again by `OPP2P_FUZZ_TARGET={target} {} {file}`, the log is \
             {}",
            program.display(),
            log_file.display()
        ),
        None => format!("{target}: {what}; the log is {}", log_file.display()),
    }
}

fn section(fuzzed: &[Fuzzed], effort: Effort, built: Duration, command: &str) -> Section {
    let each = match effort.inputs {
        Some(inputs) => format!("{inputs} inputs or {} s each", effort.seconds),
        None => format!("{} s each", effort.seconds),
    };
    let mut rows = vec![
        Row::new("Targets", format!("{}, {each}, {AT_ONCE} at a time", fuzzed.len())),
        Row::new("Build", format!("{} s", built.as_secs())),
    ];
    for Fuzzed { target, took, numbers, finding } in fuzzed {
        let Numbers { runs, edges, corpus } = numbers;
        let a_second = u128::from(*runs) * 1000 / took.as_millis().max(1);
        let measured = format!("{a_second} inputs/s, {edges} edges, {corpus} kept");
        let row =
            Row::new(format!("`{target}`"), measured).held_to("nothing found", finding.is_none());
        rows.push(row.noted(finding.clone().unwrap_or_default()));
    }
    Section {
        name: "50-fuzz".to_owned(),
        title: "Fuzzing".to_owned(),
        command: command.to_owned(),
        about: "Every decoder of bytes from outside and every state machine, by libFuzzer with \
                coverage, overflow checks and debug assertions. What each target holds to be true \
                is in `tests/fuzz/src/lib.rs`; what was found so far, and what became of it, in \
                `tests/fuzz/README.md`."
            .to_owned(),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 31Mb\n\
                       #4096\tpulse  cov: 331 ft: 400 corp: 17/2Kb lim: 11 exec/s: 2048 rss: 33Mb\n\
                       ";

    #[test]
    fn the_last_numbers_in_a_log_are_used() {
        assert_eq!(numbers(LOG), Numbers { runs: 4096, edges: 331, corpus: 17 });
        let ended = format!(
            "{LOG}stat::number_of_executed_units: 5000\nstat::average_exec_per_sec:     9\n"
        );
        assert_eq!(numbers(&ended).runs, 5000);
        assert_eq!(numbers(""), Numbers::default());
    }

    #[test]
    fn a_finding_shows_the_error_the_place_and_the_command() {
        let log = format!(
            "{LOG}thread '<unnamed>' (7) panicked at core/src/x.rs:1:2:\nno such thing\n\
             ==7== ERROR: libFuzzer: deadly signal\nartifact_prefix='f/'; Test unit written to \
             f/node-crash-1\n\
             "
        );
        let text = finding("node", &log, Path::new("node.log"), Path::new("opp2p-fuzz"));
        assert!(text.starts_with("node: no such thing; "), "{text}");
        assert!(text.contains("`OPP2P_FUZZ_TARGET=node opp2p-fuzz f/node-crash-1`"), "{text}");
        let slow = "==7== ERROR: libFuzzer: timeout after 25 seconds";
        assert!(
            finding("l1", slow, Path::new("l"), Path::new("p"))
                .contains("timeout after 25 seconds")
        );
    }
}
