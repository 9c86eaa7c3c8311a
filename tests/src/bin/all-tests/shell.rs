//! Running other programs, and saying so.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How to run programs in the root of the workspace.
#[derive(Debug)]
pub(crate) struct Shell {
    root: PathBuf,
    cargo: OsString,
}

impl Shell {
    /// In this workspace, with the cargo that runs this program.
    pub(crate) fn new() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tests.parent().unwrap_or(tests).to_path_buf();
        Self { root, cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) }
    }

    /// The root of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A program to be run in the root. What cargo told this program about itself is withheld: some build scripts
    /// run again when it changes.
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

    /// Where cargo puts what it builds for this workspace.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// Runs cargo to its end, its output in plain sight.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(&self.cargo);
        command.args(arguments);
        run(&mut command).map(|()| String::new())
    }

    /// Cargo, to be run in the root.
    pub(crate) fn cargo_command(&self) -> Command {
        self.command(&self.cargo)
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // The toolchain's own path says nothing to the reader.
    let program = program.file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

/// Runs a command to its end, its output in plain sight. An error is one that cannot start or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let text = shown(command);
    println!("$ {text}");
    let status = command.status().map_err(|error| format!("`{text}` does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{text}` ended with {status}")) }
}

/// What a quick command prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of this name is on the path.
pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

/// The program of this name that the path has first.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    // npm is a script on Windows.
    let files = [std::env::consts::EXE_SUFFIX, if cfg!(windows) { ".cmd" } else { "" }]
        .map(|suffix| format!("{program}{suffix}"));
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| files.each_ref().map(|file| folder.join(file)))
        .find(|file| file.is_file())
}

/// A path on which these folders come first.
pub(crate) fn path_with(folders: &[OsString]) -> Result<OsString, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).map_err(|error| format!("no search path can be made: {error}"))
}

/// Runs a command for at most `limit` and returns its standard output with whether it succeeded. Errors go to plain
/// sight. One that takes longer is ended, which is an error.
pub(crate) fn run_for_output(command: &mut Command, limit: Duration) -> Result<(bool, String), String> {
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
        // A pipe that breaks half-way leaves what came until then, which is then judged as it is.
        let _ = stdout.map(|mut stdout| stdout.read_to_end(&mut bytes));
        bytes
    });
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("`{text}`: {error}"))? {
            break status;
        }
        if started.elapsed() > limit {
            let ended = child.kill().and_then(|()| child.wait());
            let and =
                ended.err().map_or_else(String::new, |error| format!(", nor could it be ended: {error}"));
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
    fn success_and_failure_are_told_apart() {
        assert_eq!(run(&mut sh("exit 0")), Ok(()));
        let error = run(&mut sh("exit 3")).expect_err("it failed");
        assert!(error.contains("`sh -c exit 3` ended with") && error.contains('3'), "{error}");
        assert!(run(&mut Command::new("/no/such/program")).expect_err("none").contains("does not start"));
    }

    #[test]
    fn output_is_caught_with_the_result() {
        let limit = Duration::from_secs(60);
        assert_eq!(run_for_output(&mut sh("echo one; exit 1"), limit), Ok((false, "one\n".to_owned())));
        assert_eq!(run_for_output(&mut sh("echo two"), limit), Ok((true, "two\n".to_owned())));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let error =
            run_for_output(&mut sh("exec sleep 600"), Duration::from_millis(100)).expect_err("too long");
        assert!(error.contains("did not end within"), "{error}");
    }

    #[test]
    fn programs_run_in_the_root_of_the_workspace_without_this_packages_variables() {
        let here = output(&mut sh("test -f core/Cargo.toml && env")).expect("it is the root");
        assert!(
            !here.lines().any(|line| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_"))
        );
    }

    #[test]
    fn only_programs_on_the_path_are_found() {
        assert!(has("sh"));
        assert!(!has("no-such-program-anywhere"));
    }
}
