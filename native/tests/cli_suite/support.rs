//! Runs the real binary the way a user does, with arguments, standard input and signals, and with a
//! time limit.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time limit of a command that is expected to end by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A test's directory, which holds all files of its processes.
#[derive(Debug)]
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("opp2p-cli-").tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(super) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().into()
    }

    /// Returns the path of a file that may not exist, as an argument.
    pub(super) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }

    /// Returns the path of a file in a directory, which is created.
    pub(super) fn name_in(&self, directory: &str, name: &str) -> String {
        std::fs::create_dir_all(self.path(directory)).unwrap();
        self.name(&format!("{directory}/{name}"))
    }

    /// Returns a command of the binary with these arguments, in this directory, in an environment
    /// without its variables.
    pub(super) fn opp2p<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opp2p"));
        command.args(arguments.iter().map(AsRef::as_ref)).current_dir(self.0.path());
        for (name, _) in std::env::vars_os() {
            let known = name.to_str().is_some_and(|name| {
                ["OP_NODE", "BASE_NODE", "OPP2P"].iter().any(|of| name.starts_with(of))
            });
            if known {
                command.env_remove(name);
            }
        }
        // Tests run several nodes at once, and other programs may have the usual port.
        command.env("OP_NODE_RPC_PORT", "0");
        // No test contacts other machines.
        command.env("OP_NODE_P2P_NO_DISCOVERY", "true");
        command
    }

    /// Runs the binary to its end.
    pub(super) fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Outcome {
        run(self.opp2p(arguments), b"")
    }

    /// Runs the binary to its end with this standard input.
    pub(super) fn run_with_input<S: AsRef<str>>(&self, arguments: &[S], input: &[u8]) -> Outcome {
        run(self.opp2p(arguments), input)
    }
}

/// Result of a command.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None` if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Outcome {
    /// Asserts exit code 2 and one sentence on standard error that contains all of `parts`.
    #[track_caller]
    pub(super) fn refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !is_log(line)).collect();
        let [line] = lines[..] else { panic!("not one line: {self:#?}") };
        assert!(line.starts_with("opp2p: "), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
}

/// Returns `true` if a line is the log's, which begins with the time.
fn is_log(line: &str) -> bool {
    line.split_once('T').is_some_and(|(day, _)| {
        day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    })
}

/// Runs a command to its end.
pub(super) fn run(mut command: Command, input: &[u8]) -> Outcome {
    let mut process = Running(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let stdout = collect(process.0.stdout.take().unwrap());
    let stderr = collect(process.0.stderr.take().unwrap());
    let mut stdin = process.0.stdin.take().unwrap();
    let input = input.to_vec();
    // A process that ends early does not read all of it.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let code = process.wait(PATIENCE);
    feeding.join().unwrap();
    Outcome { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    /// Waits for the end and returns the exit code.
    #[track_caller]
    fn wait(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running after {patience:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Output lines of a running process so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A process that runs until it is told to end or is dropped.
pub(super) struct Daemon {
    process: Running,
    said: Arc<Said>,
    /// Kept open until the test closes it.
    pub(super) stdin: Option<ChildStdin>,
}

impl Daemon {
    /// Starts the command and reads its standard error; standard output goes to `stdout`.
    pub(super) fn start(mut command: Command, stdout: Stdio) -> Self {
        let mut process = Running(
            command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap(),
        );
        let stderr = BufReader::new(process.0.stderr.take().unwrap());
        let said = Arc::new(Said::default());
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                heard.lines.lock().unwrap().push(line);
                heard.more.notify_all();
            }
        });
        let stdin = process.0.stdin.take();
        Self { process, said, stdin }
    }

    /// Returns the first matching line from the given one on, and the number of the line after it.
    #[track_caller]
    pub(super) fn wait_for(
        &self,
        from: usize,
        patience: Duration,
        fits: impl Fn(&str) -> bool,
    ) -> (String, usize) {
        let deadline = Instant::now() + patience;
        let mut lines = self.said.lines.lock().unwrap();
        loop {
            let new = lines.iter().enumerate().skip(from);
            if let Some((at, line)) = new.into_iter().find(|(_, line)| fits(line)) {
                return (line.clone(), at + 1);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such line within {patience:?}: {lines:#?}");
            lines = self.said.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Returns all lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().clone()
    }

    /// Sends a signal by name.
    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends the process with a signal; it must exit successfully within 5 s.
    #[track_caller]
    pub(super) fn end(mut self, signal: &str) -> Vec<String> {
        self.signal(signal);
        assert_eq!(self.process.wait(Duration::from_secs(5)), Some(0), "{:#?}", self.lines());
        // The reading thread needs a moment to see the end.
        self.wait_for(0, Duration::from_secs(5), |line| line.contains("stopped"));
        self.lines()
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(super) fn wait(&mut self, patience: Duration) -> Option<i32> {
        self.process.wait(patience)
    }

    /// Kills the process.
    pub(super) fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Returns the id of the process.
    pub(super) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Takes standard output, if it is piped.
    pub(super) fn stdout(&mut self) -> impl Read + use<> {
        self.process.0.stdout.take().unwrap()
    }
}

/// Returns a free TCP port on loopback; another process could take it meanwhile.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Returns the folder of captured messages and blocks.
pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fixtures")
}
