//! How a running node ends: by which signals, and with readers that do not read.

use crate::chain::{Blocks, SEQUENCER_KEY, node_arguments};
use crate::support::{Daemon, PATIENCE, Place};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_node_ends_even_if_its_feed_is_not_read() {
    let place = Place::new();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // As many bytes as a pipe holds: the node's first write waits.
    writer.write_all(&[b'\n'; 1 << 16]).unwrap();
    let flags = ["--feed", "stdout", "--publish.stdin", "--p2p.sequencer.key", SEQUENCER_KEY];
    let command = place.opp2p(&node_arguments(&place, &flags));
    let mut node = Daemon::start(command, Stdio::from(writer));
    node.wait_for(0, PATIENCE, |line| line.contains(" started "));
    let block = Blocks::new().next(10);
    writeln!(node.stdin.as_mut().unwrap(), "{}", block.line).unwrap();
    node.wait_for(0, PATIENCE, |line| line.contains(" block number=1 "));
    // The write begins soon after.
    std::thread::sleep(Duration::from_millis(500));
    let lines = node.end("TERM");
    assert!(lines.iter().any(|line| line.contains(" stopping")), "{lines:#?}");
    // Nothing of the feed was written over what the reader already had.
    let mut before = vec![0; 1 << 16];
    reader.read_exact(&mut before).unwrap();
    assert!(before.iter().all(|byte| *byte == b'\n'));
}

#[test]
fn a_node_ends_even_if_its_log_is_not_read() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = ["--publish.stdin", "--p2p.sequencer.key", SEQUENCER_KEY];
    let mut command = place.opp2p(&node_arguments(&place, &flags));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(writer);
    let mut node = command.spawn().unwrap();
    // Only the node has the other end.
    drop(command);
    let mut log = BufReader::new(reader);
    let mut line = String::new();
    while !line.contains(" started ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the node ended before its start");
    }
    // From here on nothing is read. Each of these lines causes a line of the log, until one of them
    // waits, and then the input waits too.
    let mut stdin = node.stdin.take().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    std::thread::spawn(move || {
        while stdin.write_all(b"nonsense\n").is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = written.load(Ordering::Relaxed);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    let signal = format!("kill -TERM {}", node.id());
    assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    while node.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            node.kill().unwrap();
            node.wait().unwrap();
            panic!("it still runs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Not in order, which its log could not tell.
    assert_eq!(node.wait().unwrap().code(), Some(1));
}

#[test]
fn a_quit_signal_ends_a_node_in_order_and_a_hangup_does_not() {
    let place = Place::new();
    let node = Daemon::start(place.opp2p(&node_arguments(&place, &[])), Stdio::null());
    let (_, mut from) = node.wait_for(0, PATIENCE, |line| line.contains(" started "));
    for _ in 0..2 {
        node.signal("HUP");
        from = node.wait_for(from, PATIENCE, |line| line.contains("reloaded: no change")).1;
    }
    let lines = node.end("QUIT");
    assert!(lines.iter().any(|line| line.contains(" stopping")), "{lines:#?}");
}

#[test]
fn the_status_of_a_hanging_node_fails_within_seconds() {
    let place = Place::new();
    // The system accepts connections, and nothing answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for command in ["status", "peers", "watch"] {
        // The time limit of a command here is shorter than that of a change to a node.
        let outcome = place.run(&[command, "--rpc", &url]);
        outcome.refused(&["the node at 127.0.0.1", "did not answer within 5 s"]);
    }
}

#[test]
fn a_wrong_port_in_the_address_of_a_node_is_reported() {
    let place = Place::new();
    let outcome = place.run(&["status", "--rpc", "http://127.0.0.1:99999"]);
    outcome.refused(&["--rpc", "99999", "not a port"]);
    let outcome = place.run(&["peers", "ban", "10.0.0.0/8", "--rpc", "http://127.0.0.1:1"]);
    outcome.refused(&["10.0.0.0/8", "blocked, not banned"]);
}
