//! A JSON-RPC endpoint that forwards requests to a real one and alters the answers.

use crate::geth::Geth;
use opp2p_node::http::{HttpClient, HttpConfig};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Maximum length of a request that is read.
const MAX_REQUEST: usize = 64 << 10;

/// A lying endpoint. It ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Liar {
    url: String,
    lies: Arc<AtomicUsize>,
}

/// Changes an answer to the given method. Returns `true` if it did.
type Alter = Arc<dyn Fn(&str, &mut Value) -> bool + Send + Sync>;

impl Liar {
    /// Starts one that forwards requests to `geth`, and changes the state roots.
    pub(crate) async fn start(geth: &Geth) -> Self {
        Self::altering(geth, |_, answer| match answer.get_mut("stateRoot") {
            Some(root) => {
                let text = root.as_str().unwrap_or_default();
                *root = format!("0xbadbadba{}", &text[10..]).into();
                true
            }
            None => false,
        })
        .await
    }

    /// Starts one that forwards requests to `geth`, and changes the answers with `alter`.
    pub(crate) async fn altering(
        geth: &Geth,
        alter: impl Fn(&str, &mut Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        let alter: Alter = Arc::new(alter);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client =
            HttpClient::new(&HttpConfig::new(&geth.url(), Duration::from_secs(10))).unwrap();
        let lies = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (client, lies) = (client.clone(), Arc::clone(&counter));
                let alter = Arc::clone(&alter);
                tokio::spawn(async move { answer(stream, &client, &alter, &lies).await });
            }
        });
        Self { url, lies }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the number of altered answers.
    pub(crate) fn lies(&self) -> usize {
        self.lies.load(Ordering::Relaxed)
    }
}

/// Answers one request, or closes the connection if it can't be read.
async fn answer(
    mut stream: TcpStream,
    client: &HttpClient,
    alter: &Alter,
    lies: &AtomicUsize,
) -> Option<()> {
    let body = request_body(&mut stream).await?;
    let asked: Value = serde_json::from_slice(&body).ok()?;
    let answer = client.post(body.into(), 64 << 20).await.ok()?;
    let mut answer: Value = serde_json::from_slice(&answer).ok()?;
    if let Some(result) = answer.get_mut("result")
        && alter(asked["method"].as_str()?, result)
    {
        lies.fetch_add(1, Ordering::Relaxed);
    }
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(answer.as_bytes()).await.ok()
}

/// Reads the body of a POST request with a `content-length`.
async fn request_body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let has_room = read.len() < MAX_REQUEST;
        if !has_room || stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let headers = String::from_utf8_lossy(&read[..head]).to_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let end = head + length.trim().parse::<usize>().ok().filter(|length| *length < MAX_REQUEST)?;
    while read.len() < end {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some(read[head..end].to_vec())
}
