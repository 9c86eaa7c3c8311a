//! A full disk: what does not fit is said not to be stored, the rest goes on.
//!
//! A file size limit stands for the full disk: the system refuses to let the file grow, in the same calls and
//! with the same kind of error, and it needs no privilege to set up.

use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use opp2p::store::{Batch, Store, StoreError, WriteFailed, Writer, WriterConfig};

use crate::support::{again, extend, forked, hash, open, role, store_of_role, tell_parent};

const SMALL: usize = 2_000;
const HUGE: usize = 9_000_000;

/// The one with the limit.
fn child() {
    let store = open(&store_of_role());
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    let mut number = 0;
    let mut write = |size: usize| {
        number += 1;
        let (send, outcome) = mpsc::channel();
        let queued = writer.submit(
            extend([forked(number, 0, 0, size)]),
            move |result: Result<(), Box<WriteFailed>>| {
                send.send(result).expect("waited for");
            },
        );
        queued.expect("the queue is empty");
        let result = outcome.recv_timeout(Duration::from_secs(60)).expect("an outcome");
        if result.is_ok() {
            tell_parent(&format!("ack {number} {size}"));
        }
        result
    };
    for _ in 0..5 {
        write(SMALL).expect("there is room");
    }
    let failed = write(HUGE).expect_err("no room");
    assert!(matches!(failed.error, StoreError::DiskFull { .. }), "{}", failed.error);
    assert!(failed.error.to_string().contains(store.path().to_str().expect("text")), "{}", failed.error);
    assert_eq!(failed.batch, extend([forked(6, 0, 0, HUGE)]), "the batch comes back");
    assert_eq!(store.len().expect("still readable"), 5);
    assert_eq!(store.block_by_hash(hash(6, 0)).expect("still readable"), None);
    for _ in 0..5 {
        write(SMALL).expect("there is still room for small ones");
    }
    // Now fill it to the brim, without the writer in between.
    let mut number = 100;
    let full = loop {
        number += 1;
        match store.commit(&extend([forked(number, 0, 0, 50_000)])) {
            Ok(()) => tell_parent(&format!("ack {number} 50000")),
            Err(error) => break error,
        }
        assert!(number < 1000, "the limit is never met");
    };
    assert!(matches!(full, StoreError::DiskFull { .. }), "{full}");
    assert_eq!(store.head().expect("still readable").map(|head| head.number), Some(number - 1));
    // Full is full, each time, and an empty batch costs nothing.
    let error = store.commit(&extend([forked(number, 0, 0, HUGE)])).expect_err("no room");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    store.commit(&Batch::default()).expect("nothing to write");
    drop(writer);
    drop(store);
    tell_parent("done");
}

/// Runs a copy of this program that can't make files larger than about 4 MiB.
fn limited(test: &str, store: &std::path::Path, blocks: u32) -> Vec<String> {
    let program = std::env::current_exe().expect("a program");
    let copy = again(&program, test, "limited", store);
    // The signal must be ignored for the call to fail instead of the process; both survive the exec.
    let script = format!("trap '' XFSZ; ulimit -f {blocks} && exec \"$0\" \"$@\"");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(copy.get_program())
        .args(copy.get_args())
        .envs(copy.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_does_not_fit_is_not_acknowledged_and_the_rest_goes_on() {
    if role().is_some() {
        return child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    // Blocks of 512 or 1024 bytes, as the shell has it.
    let said = limited("full_disk::what_does_not_fit_is_not_acknowledged_and_the_rest_goes_on", &path, 8192);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");

    // With room again, every acknowledged block is there and the store takes more.
    let store = open(&path);
    let mut count = 0;
    for line in &said {
        let Some(rest) = line.strip_prefix("ack ") else { continue };
        let mut words = rest.split(' ').map(|word| word.parse::<u64>().expect("a number"));
        let (number, size) = (words.next().expect("a number"), words.next().expect("a size"));
        let expected = forked(number, 0, 0, usize::try_from(size).expect("small"));
        assert_eq!(store.block_by_hash(hash(number, 0)).expect("reads"), Some(expected));
        count += 1;
    }
    assert!(count > 15, "{count}");
    assert_eq!(store.len().expect("reads"), count);
    store.commit(&extend([forked(2000, 0, 0, HUGE)])).expect("room again");
}

#[test]
fn a_store_that_can_not_be_made_for_want_of_room_leaves_nothing() {
    if role().is_some() {
        let error = Store::open(crate::support::config(&store_of_role())).expect_err("no room");
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        return tell_parent("done");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let said = limited("full_disk::a_store_that_can_not_be_made_for_want_of_room_leaves_nothing", &path, 16);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
    open(&path);
}

/// Limits how large this process may make a file from now on; only what the system lets everybody do.
#[cfg(target_os = "linux")]
fn limit_to(bytes: &str) {
    let pid = std::process::id().to_string();
    let limit = format!("--fsize={bytes}:");
    let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(limited.expect("prlimit is of util-linux").success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_patient_writer_keeps_what_does_not_fit_in_order_and_writes_it_when_there_is_room() {
    if role().is_some() {
        let store = open(&store_of_role());
        let (tell, health) = mpsc::channel();
        let told = move |error: Option<&StoreError>| {
            tell.send(error.map(ToString::to_string)).expect("waited for");
        };
        let writer = Writer::start_patient(store.clone(), WriterConfig::default(), told).expect("starts");
        let patience = Duration::from_secs(60);
        let (send, outcomes) = mpsc::channel();
        let submit = |number: u64, size: usize| {
            let send = send.clone();
            let done = move |result: Result<(), Box<WriteFailed>>| {
                result.expect("it is stored in the end");
                send.send(number).expect("waited for");
            };
            writer.submit(extend([forked(number, 0, 0, size)]), done).expect("room in the queue");
        };
        submit(1, SMALL);
        assert_eq!(outcomes.recv_timeout(patience), Ok(1));
        limit_to("4000000");
        submit(2, HUGE);
        let error = health.recv_timeout(patience).expect("told").expect("an error");
        assert!(error.contains("the disk is full"), "{error}");
        // Small ones would fit, and wait all the same: each counts on the one before it.
        (3..20).for_each(|number| submit(number, SMALL));
        // Another attempt, in vain; a read need not wait for it.
        assert!(health.recv_timeout(patience).expect("told").is_some());
        let (found, read) = mpsc::channel();
        let hand_on = move |blocks: Result<Vec<Option<_>>, _>| {
            found.send(blocks.map(|blocks| blocks[0].is_some())).expect("waited for");
        };
        writer.load(vec![hash(1, 0)], hand_on).expect("room in the queue");
        assert!(matches!(read.recv_timeout(patience), Ok(Ok(true))));
        assert_eq!(outcomes.try_recv(), Err(mpsc::TryRecvError::Empty));
        // Below what the shell has set for good.
        limit_to("2000000000");
        let stored: Vec<u64> = (2..20).map(|_| outcomes.recv_timeout(patience).expect("stored")).collect();
        assert_eq!(stored, (2..20).collect::<Vec<_>>());
        assert_eq!(health.try_iter().last(), Some(None), "it is told that it is over, once");
        assert_eq!(store.recent(100).expect("reads").len(), 19);

        // One that stops does not wait for ever.
        limit_to("4000000");
        let (send, outcome) = mpsc::channel();
        let done =
            move |result: Result<(), Box<WriteFailed>>| send.send(result.is_err()).expect("waited for");
        writer.submit(extend([forked(20, 0, 0, HUGE)]), done).expect("room in the queue");
        writer.stop();
        assert_eq!(outcome.recv_timeout(patience), Ok(true));
        return tell_parent("done");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let test =
        "full_disk::a_patient_writer_keeps_what_does_not_fit_in_order_and_writes_it_when_there_is_room";
    let said = limited(test, &path, 4_000_000);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
}
