//! A foreign program that is told what to do: lines of JSON go in and out, and it ends with its input.

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

/// Events that may wait for a slow reader.
const EVENTS: usize = 1 << 16;
/// How long an answer may take. What is asked of a peer elsewhere has less time by itself.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of its log that a failed test shows.
const SHOWN: usize = 40;

/// The folder of the built programs, if they are built.
pub(crate) fn programs() -> Option<PathBuf> {
    std::env::var_os("OPP2P_INTEROP").map(PathBuf::from)
}

/// What waits for its answer, by the number of the call.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A running program. It ends when this is dropped, and if that is since a test fails, the end of its log is shown.
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
    /// Starts a program by the command that runs it.
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

    /// What the program answers, or the error that it tells.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = {
            let mut last = self.last.lock().unwrap();
            *last += 1;
            *last
        };
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        let mut line = json!({ "id": id, "method": method, "params": params }).to_string().into_bytes();
        line.push(b'\n');
        let _ = self.lines.send(line);
        match timeout(PATIENCE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("{} is gone", self.name)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    /// What the program answers to what it has to answer.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        answer.unwrap_or_else(|error| panic!("{} answers to {method}: {error}", self.name))
    }

    /// What the program tells from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Value> {
        self.events.subscribe()
    }

    /// The process's number, for what the system knows of it.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// All that it has logged.
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

/// Hands the program's lines to whom they are for.
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
    // Who still waits would do so for ever.
    waiting.lock().unwrap().clear();
}
