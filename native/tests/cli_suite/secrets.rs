//! Secrets of settings and requests do not reach the log, not even from libraries at the lowest
//! level.

use crate::chain::{SEQUENCER_KEY, rollup_json, signer};
use crate::support::{Daemon, PATIENCE, Place};
use opp2p_core::chain::Fork;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;

const PASSWORD: &str = "SECRETPASSWORD1";
const PATH: &str = "SECRETPATH2";
const TOKEN: &str = "SECRETTOKEN3-SECRETTOKEN3";
const HEADER: &str = "SECRETHEADER4";
const JWT: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e70001";
/// `user:SECRETPASSWORD1` in base64.
const BASIC: &str = "dXNlcjpTRUNSRVRQQVNTV09SRDE";

/// Listens on a free port. Sends the first bytes of each connection, and then closes it.
fn listen() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = vec![0; 4096];
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(1)));
            let read = stream.read(&mut bytes).unwrap_or(0);
            bytes.truncate(read);
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

#[test]
fn no_secret_is_logged_at_any_level_even_by_a_library() {
    let place = Place::new();
    let rollup = place.file("rollup.json", rollup_json(100, Some(Fork::Jovian)).to_string());
    let (token, jwt) = (place.file("token", TOKEN), place.file("jwt", JWT));
    let ((nats, at_nats), (engine, at_engine)) = (listen(), listen());
    let nats = format!("nats://user:{PASSWORD}@127.0.0.1:{nats}");
    let engine = format!("ws://user:{PASSWORD}@127.0.0.1:{engine}/{PATH}");
    let arguments = [
        "node",
        "--rollup.config",
        &rollup,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--p2p.priv.raw",
        SEQUENCER_KEY,
        "--data-dir",
        &place.name("data"),
        "--signer",
        &signer().to_string(),
        "--p2p.sequencer.key",
        SEQUENCER_KEY,
        "--rpc.token.path",
        &token,
        "--feed.nats",
        &nats,
        "--l2",
        &engine,
        "--l2.jwt-secret",
        &jwt,
        "--log.level",
        "trace",
    ]
    .map(String::from);
    let node = Daemon::start(place.opp2p(&arguments), Stdio::null());
    let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains("RPC server listening"));
    let (_, address) = line.split_once("address=").expect("an address");
    let address = address.split(' ').next().expect("a word").to_owned();
    // Each endpoint is reached, so the library logged whatever it logs.
    at_nats.recv_timeout(PATIENCE).expect("a connection to NATS");
    let request = at_engine.recv_timeout(PATIENCE).expect("a connection to the engine");
    assert!(String::from_utf8_lossy(&request).contains(PATH), "the secret is in use");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_self","params":[]}"#;
    let mut stream = TcpStream::connect(&address).expect("a connection");
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\nx-api-key: \
         {HEADER}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let lines = node.end("TERM");
    let is_low = |line: &String| line.contains("TRACE") || line.contains("DEBUG");
    assert!(lines.iter().any(is_low), "{lines:#?}");
    for secret in [PASSWORD, PATH, TOKEN, HEADER, JWT, BASIC, SEQUENCER_KEY] {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{secret} is in {found:#?}");
    }
}

#[test]
fn the_shown_settings_contain_no_secret() {
    let place = Place::new();
    let url = |scheme: &str| format!("{scheme}://user:{PASSWORD}@127.0.0.1:1/{PATH}");
    let (http, nats) = (url("http"), url("nats"));
    for json in [&["--json"][..], &[]] {
        let flags = [
            "config",
            "--network",
            "base",
            "--p2p.priv.raw",
            SEQUENCER_KEY,
            "--p2p.sequencer.key",
            SEQUENCER_KEY,
            "--l1",
            &http,
            "--l2",
            &http,
            "--l2.labels",
            &http,
            "--l2.proofs",
            &http,
            "--sync.rpc",
            &http,
            "--signer.endpoint",
            &http,
            "--signer.header",
            "x=SECRETHEADER4",
            "--feed.nats",
            &nats,
        ];
        let outcome = place.run(&[&flags, json].concat());
        for secret in [PASSWORD, PATH, HEADER, SEQUENCER_KEY] {
            assert!(!outcome.stdout.contains(secret), "{secret} is in {}", outcome.stdout);
            assert!(!outcome.stderr.contains(secret), "{secret} is in {}", outcome.stderr);
        }
        let says = if json.is_empty() { "the file gives another node: " } else { "(hidden)" };
        assert!(outcome.stdout.contains(says), "{outcome:?}");
    }
}
