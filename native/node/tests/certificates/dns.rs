//! A DNS server that resolves every name to this machine. pebble queries it over TCP.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Length of a DNS message's header, in bytes.
const HEADER: usize = 12;
/// Record type of an IPv4 address.
const A: [u8; 2] = [0, 1];

/// The server. It stops on drop.
#[derive(Debug)]
pub(crate) struct Dns {
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }
}

/// Answers the length-prefixed queries of one connection, until it is closed.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(answer) = answer(&query) else { return Ok(()) };
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
        stream.write_all(&answer).await?;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns 127.0.0.1 for a question about an IPv4 address, and no records for any other question.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    while *query.get(at)? != 0 {
        at += usize::from(query[at]) + 1;
    }
    let question = query.get(HEADER..at + 5)?;
    let is_address = question[question.len() - 4..][..2] == A;
    let mut answer = query[..2].to_vec();
    // A final answer without an error, to one question, with at most one record.
    answer.extend([0x84, 0, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(question);
    if is_address {
        // The question's name, type, class, a time of 1 s, and four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

/// Queries a server for the IPv4 address of a name.
pub(crate) async fn resolve(server: &str, name: &str) -> Option<[u8; 4]> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 512];
    let mut tries = 0;
    let length = loop {
        socket.send_to(&query, server).await.unwrap();
        // UDP may lose the query or the answer.
        if let Ok(received) = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await {
            break received.unwrap();
        }
        tries += 1;
        assert!(tries < 20, "{server} does not answer");
    };
    let records = u16::from_be_bytes([buffer[6], buffer[7]]);
    // A single record ends with the address.
    (records == 1).then(|| buffer[..length].last_chunk().copied()).flatten()
}
