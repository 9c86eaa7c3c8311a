//! A foreign program under our control: it reads and writes lines of JSON, and ends with its input.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;

/// Maximum number of events that may wait for a slow reader.
const EVENTS: usize = 1 << 16;
/// Maximum time for an answer. Calls that wait for another peer have shorter limits of their own.
const PATIENCE: Duration = Duration::from_secs(120);
/// Number of lines of the program's log that a failed test prints.
const SHOWN: usize = 40;

/// Returns the folder of the built programs, if they are built.
pub(crate) fn programs() -> Option<PathBuf> {
    std::env::var_os("OPP2P_INTEROP").map(PathBuf::from)
}

/// Returns `true` if this program is built.
pub(crate) fn is_built(program: &str) -> bool {
    programs().is_some_and(|programs| {
        programs.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)).exists()
    })
}

/// Calls that wait for answers, by number.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A running program. Dropping it ends the program, and prints the end of its log if a test is
/// failing.
#[derive(Debug)]
pub(crate) struct Foreign {
    name: &'static str,
    lines: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Waiting,
    events: broadcast::Sender<Value>,
    last: Mutex<u64>,
    log: NamedTempFile,
    child: Child,
}

impl Foreign {
    /// Starts a program with the given command.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let started = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .kill_on_drop(true)
            .spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (lines, mut to_write) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(line) = to_write.recv().await {
                if input.write_all(&line).await.is_err() {
                    break;
                }
            }
        });
        let waiting = Waiting::default();
        let events = broadcast::Sender::new(EVENTS);
        tokio::spawn(read(output, waiting.clone(), events.clone()));
        Self { name, lines, waiting, events, last: Mutex::new(0), log, child }
    }

    /// Returns the program's answer, or its error.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = {
            let mut last = self.last.lock().unwrap();
            *last += 1;
            *last
        };
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        let mut line =
            json!({ "id": id, "method": method, "params": params }).to_string().into_bytes();
        line.push(b'\n');
        let _ = self.lines.send(line);
        match timeout(PATIENCE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("{} is gone", self.name)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    /// Returns the program's answer to a call that must not fail.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        answer.unwrap_or_else(|error| panic!("{} answers to {method}: {error}", self.name))
    }

    /// Returns the events that the program reports from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Value> {
        self.events.subscribe()
    }

    /// Returns the process id, for querying the operating system about it.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns everything that the program has logged.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read(self.log.path()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines.len().saturating_sub(SHOWN);
            eprintln!("--- the end of {}'s log:\n{}\n---", self.name, lines[end..].join("\n"));
        }
    }
}

/// Dispatches the program's lines to their receivers.
async fn read(output: ChildStdout, waiting: Waiting, events: broadcast::Sender<Value>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut told) = serde_json::from_str::<Value>(&line) else {
            eprintln!("this is not JSON: {line}");
            continue;
        };
        if told.get("event").is_some() {
            let _ = events.send(told);
            continue;
        }
        let id = told.get("id").and_then(Value::as_u64).unwrap_or_default();
        if let Some(answer) = waiting.lock().unwrap().remove(&id) {
            let result = match told.get("error").and_then(Value::as_str) {
                Some(error) => Err(error.to_owned()),
                None => Ok(told.get_mut("result").map(Value::take).unwrap_or_default()),
            };
            let _ = answer.send(result);
        }
    }
    // Otherwise the remaining calls would wait forever.
    waiting.lock().unwrap().clear();
}
