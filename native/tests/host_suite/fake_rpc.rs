//! A JSON-RPC server over HTTP/1.1, with or without TLS: a stand-in for an L1 node or a remote
//! signer.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A result, or a code and a message.
pub(crate) type Answer = Result<Value, (i64, String)>;
/// Code that stands for no answer at all: the connection stays open and silent.
pub(crate) const SILENCE: i64 = i64::MIN;
type Answers = Arc<dyn Fn(&str, &Value) -> Answer + Send + Sync>;

pub(crate) struct FakeRpc {
    address: String,
    end: Arc<AtomicBool>,
    /// The head and the body of each request.
    pub(crate) asked: Arc<Mutex<Vec<(String, Value)>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeRpc {
    pub(crate) fn start(answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(None, answers)
    }

    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", tls, answers)
    }

    /// As [`Self::start_with`], at this address.
    pub(crate) fn start_at(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (end, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let answers: Answers = Arc::new(answers);
        let thread = std::thread::spawn({
            let (end, asked) = (Arc::clone(&end), Arc::clone(&asked));
            move || {
                let mut silent = Vec::new();
                for stream in listener.incoming() {
                    if end.load(Ordering::SeqCst) {
                        break;
                    }
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let open = stream.try_clone().unwrap();
                    if serve(stream, tls.clone(), &asked, &answers) {
                        silent.push(open);
                    }
                }
            }
        });
        Self { address, end, asked, thread: Some(thread) }
    }

    pub(crate) fn host(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the methods requested so far.
    pub(crate) fn methods(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, body)| body["method"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for FakeRpc {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns `true` if nothing was answered, so that the connection has to be kept.
fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    asked: &Mutex<Vec<(String, Value)>>,
    answers: &Answers,
) -> bool {
    // A client that a test refuses, or that has gone, does not matter here.
    let said = match tls {
        Some(tls) => {
            exchange(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), asked, answers)
        }
        None => exchange(stream, asked, answers),
    };
    said.is_ok_and(|was_answered| !was_answered)
}

/// Returns `false` if a request got no answer.
fn exchange(
    stream: impl Read + Write,
    asked: &Mutex<Vec<(String, Value)>>,
    answers: &Answers,
) -> std::io::Result<bool> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(true);
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body).unwrap();
    let answer = answers(request["method"].as_str().unwrap(), &request["params"]);
    asked.lock().unwrap().push((head, request.clone()));
    let body = match answer {
        Err((SILENCE, _)) => return Ok(false),
        Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": request["id"],
                "error": { "code": code, "message": message } })
        }
    };
    let body = body.to_string();
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.get_mut().write_all(head.as_bytes())?;
    stream.get_mut().flush()?;
    Ok(true)
}
