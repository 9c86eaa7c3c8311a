//! Runs other programs and shows their commands.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failures::{self, Failures};

/// Runs programs in the root of the workspace.
#[derive(Debug)]
pub(crate) struct Shell {
    root: PathBuf,
    cargo: OsString,
}

impl Shell {
    /// Uses this workspace, and the cargo that runs this program.
    pub(crate) fn new() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tests.parent().unwrap_or(tests).to_path_buf();
        Self { root, cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) }
    }

    /// Returns the root of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a command to be run in the root. Cargo's variables about this program are removed:
    /// some build scripts run again when they change.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
                .iter()
                .any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()))
            {
                command.env_remove(name);
            }
        }
        command
    }

    /// Returns the folder of cargo's build output for this workspace.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// Runs cargo to its end, with its output shown. Returns a note for the summary.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(&self.cargo);
        command.args(arguments);
        match arguments.first() {
            Some(&"test") => run_tests(&mut command),
            _ => run(&mut command).map(|()| String::new()),
        }
    }

    /// Returns a cargo command to be run in the root.
    pub(crate) fn cargo_command(&self) -> Command {
        self.command(&self.cargo)
    }
}

/// Returns the command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // The path of the toolchain does not matter to the reader.
    let program = program.file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

/// Runs a command to its end, with its output shown. Fails if it can't start or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let text = shown(command);
    println!("$ {text}");
    let status = command.status().map_err(|error| format!("`{text}` does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{text}` ended with {status}")) }
}

/// Number of concurrent tests per processor. Most tests wait for sockets and other processes: with
/// three, the slowest suites take half as long as with one.
const TESTS_PER_PROCESSOR: usize = 3;
/// Environment variable for the number of concurrent tests of a test program.
const TEST_THREADS: &str = "RUST_TEST_THREADS";
/// Maximum number of failed tests that run a second time. More failures are not accidental.
const SECOND_ATTEMPTS: usize = 8;

/// Runs `cargo test` to its end, with its output shown. The error names the failed tests.
///
/// A few failed tests run a second time, each alone: many tests wait for sockets and other
/// processes, and a busy machine can exceed the longest deadline. The note names each test that
/// passed only then, with the output of its first attempt.
pub(crate) fn run_tests(command: &mut Command) -> Result<String, String> {
    if std::env::var_os(TEST_THREADS).is_none() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        command.env(TEST_THREADS, (processors * TESTS_PER_PROCESSOR).to_string());
    }
    let (status, failures) = attempt(command, |_| ())?;
    if status.success() {
        return Ok(String::new());
    }
    let text = shown(command);
    let names = failures.names();
    let error = format!("`{text}` ended with {status}{}", failures.to_text());
    if names.is_empty() || names.len() > SECOND_ATTEMPTS || !failures.is_complete() {
        return Err(error);
    }
    for name in names {
        println!("\n{name} failed: a second attempt");
        let mut passes = false;
        let (status, _) = attempt(&mut again(command, name), |line| {
            passes |= failures::passed(line) == Some(name);
        })?;
        if !status.success() || !passes {
            return Err(format!("{error}\n    and a second attempt at {name} failed as well"));
        }
    }
    Ok(format!("passed at the second attempt only:{}", failures.to_text()))
}

/// Runs `cargo test` once, with its output shown, and passes each line to `look`.
fn attempt(
    command: &mut Command,
    mut look: impl FnMut(&str),
) -> Result<(ExitStatus, Failures), String> {
    let text = shown(command);
    println!("$ {text}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{text}` does not start: {error}"))?;
    let mut failures = Failures::default();
    // A test may print any bytes. If the pipe breaks, the exit status still counts.
    let output = child.stdout.take().map(BufReader::new);
    for line in output.into_iter().flat_map(|output| output.split(b'\n')).map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failures.read(&line);
        look(&line);
    }
    let status = child.wait().map_err(|error| format!("`{text}`: {error}"))?;
    Ok((status, failures))
}

/// Returns the same command for this test only.
fn again(command: &Command, name: &str) -> Command {
    let mut again = Command::new(command.get_program());
    // The arguments after `--` select other tests.
    again.args(command.get_args().take_while(|argument| *argument != "--"));
    again.args(["--", "--exact", name]).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        again.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    again
}

/// Returns the output of a quick command, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns whether a program of this name is on the path.
pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Returns the first program of this name on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    // npm is a script on Windows.
    let files = [std::env::consts::EXE_SUFFIX, if cfg!(windows) { ".cmd" } else { "" }]
        .map(|suffix| format!("{program}{suffix}"));
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| files.each_ref().map(|file| folder.join(file)))
        .find(|file| file.is_file())
}

/// Returns the search path with these folders first.
pub(crate) fn path_with(folders: &[OsString]) -> Result<OsString, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).map_err(|error| format!("no search path can be made: {error}"))
}

/// Runs a command for at most `limit`. Returns whether it succeeded, and its standard output. Its
/// standard error is shown. A command that takes longer is killed, which is an error.
pub(crate) fn run_for_output(
    command: &mut Command,
    limit: Duration,
) -> Result<(bool, String), String> {
    let text = shown(command);
    println!("$ {text}");
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{text}` does not start: {error}"))?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // If the pipe breaks, the output up to then is judged as it is.
        let _ = stdout.map(|mut stdout| stdout.read_to_end(&mut bytes));
        bytes
    });
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("`{text}`: {error}"))? {
            break status;
        }
        if started.elapsed() > limit {
            let ended = child.kill().and_then(|()| child.wait());
            let and = ended
                .err()
                .map_or_else(String::new, |error| format!(", nor could it be ended: {error}"));
            return Err(format!("`{text}` did not end within {} s{and}", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(50));
    };
    let bytes = reader.join().map_err(|_| format!("the output of `{text}` could not be read"))?;
    Ok((status.success(), String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Shell::new().command("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn success_and_failure_are_distinguished() {
        assert_eq!(run(&mut sh("exit 0")), Ok(()));
        let error = run(&mut sh("exit 3")).expect_err("it failed");
        assert!(error.contains("`sh -c exit 3` ended with") && error.contains('3'), "{error}");
        assert!(
            run(&mut Command::new("/no/such/program"))
                .expect_err("none")
                .contains("does not start")
        );
    }

    /// Returns a command that runs `first`, and `second` if it is told which test to run.
    fn tests(first: &str, second: &str) -> Command {
        let mut command = sh(&format!("if [ $# = 0 ]; then {first}; else {second}; fi"));
        command.arg("sh");
        command
    }

    #[test]
    fn the_error_names_the_tests_that_failed_twice() {
        let first = "printf 'test a ... ok\\ntest b ... FAILED\\n\\377\\n'; exit 101";
        for second in ["echo test b ... FAILED; exit 101", "echo test b ... ok; exit 101"] {
            let error = run_tests(&mut tests(first, second)).expect_err("it failed");
            assert!(error.contains("101") && error.contains("\n    b\n"), "{error}");
        }
        let error = run_tests(&mut tests(first, "echo running 0 tests")).expect_err("none ran");
        assert!(error.ends_with("a second attempt at b failed as well"), "{error}");
        assert_eq!(run_tests(&mut sh("echo test a ... ok")), Ok(String::new()));
    }

    #[test]
    fn a_test_that_passes_on_the_second_attempt_is_named() {
        let first = "echo test b ... FAILED; exit 101";
        let note = run_tests(&mut tests(first, "[ $3 = b ] && echo test b ... ok"));
        let note = note.expect("it passed");
        assert_eq!(note, "passed at the second attempt only:\n    b");
    }

    #[test]
    fn many_or_unnamed_failures_get_no_second_attempt() {
        let many = "for at in 1 2 3 4 5 6 7 8 9; do echo test $at ... FAILED; done; exit 101";
        for first in [many, "exit 101"] {
            let error = run_tests(&mut tests(first, "exit 0")).expect_err("it failed");
            assert!(!error.contains("attempt"), "{error}");
        }
    }

    #[test]
    fn output_is_captured_with_the_result() {
        let limit = Duration::from_secs(60);
        assert_eq!(
            run_for_output(&mut sh("echo one; exit 1"), limit),
            Ok((false, "one\n".to_owned()))
        );
        assert_eq!(run_for_output(&mut sh("echo two"), limit), Ok((true, "two\n".to_owned())));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let error = run_for_output(&mut sh("exec sleep 600"), Duration::from_millis(100))
            .expect_err("too long");
        assert!(error.contains("did not end within"), "{error}");
    }

    #[test]
    fn programs_run_in_the_workspace_root_without_the_variables_of_this_package() {
        let here = output(&mut sh("test -f core/Cargo.toml && env")).expect("it is the root");
        assert!(
            !here
                .lines()
                .any(|line| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_"))
        );
    }

    #[test]
    fn only_programs_on_the_path_are_found() {
        assert!(has("sh"));
        assert!(!has("no-such-program-anywhere"));
    }
}

/// Removes a folder with its contents, if it exists.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
