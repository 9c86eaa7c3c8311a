//! A full disk: a block that does not fit is reported as not stored, and the store keeps working.
//!
//! A file size limit stands for the full disk: the system refuses to let the file grow, in the same
//! calls and with the same kind of error, and the limit needs no privilege.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opp2p_store::{Batch, Store, StoreError, WriteFailed, Writer, WriterConfig};

use crate::support::{again, extend, forked, hash, open, print_to_parent, role, store_of_role};

const SMALL: usize = 2_000;
const HUGE: usize = 9_000_000;

/// The process with the limit.
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
            print_to_parent(&format!("ack {number} {size}"));
        }
        result
    };
    for _ in 0..5 {
        write(SMALL).expect("there is room");
    }
    let failed = write(HUGE).expect_err("no room");
    assert!(matches!(failed.error, StoreError::DiskFull { .. }), "{}", failed.error);
    assert!(
        failed.error.to_string().contains(store.path().to_str().expect("text")),
        "{}",
        failed.error
    );
    assert_eq!(failed.batch, extend([forked(6, 0, 0, HUGE)]), "the batch comes back");
    assert_eq!(store.len().expect("still readable"), 5);
    assert_eq!(store.block_by_hash(hash(6, 0)).expect("still readable"), None);
    for _ in 0..5 {
        write(SMALL).expect("there is still room for small ones");
    }
    // Fills the file completely, without the writer in between.
    let mut number = 100;
    let full = loop {
        number += 1;
        match store.commit(&extend([forked(number, 0, 0, 50_000)])) {
            Ok(()) => print_to_parent(&format!("ack {number} 50000")),
            Err(error) => break error,
        }
        assert!(number < 1000, "the limit is never met");
    };
    assert!(matches!(full, StoreError::DiskFull { .. }), "{full}");
    assert_eq!(store.head().expect("still readable").map(|head| head.number), Some(number - 1));
    // A full store refuses each time, and an empty batch costs nothing.
    let error = store.commit(&extend([forked(number, 0, 0, HUGE)])).expect_err("no room");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    store.commit(&Batch::default()).expect("nothing to write");
    drop(writer);
    drop(store);
    print_to_parent("done");
}

/// Runs a copy of this program that can't make files larger than about 4 MiB.
fn limited(test: &str, store: &std::path::Path, blocks: u32) -> Vec<String> {
    let program = std::env::current_exe().expect("a program");
    let copy = again(&program, test, "limited", store);
    // The signal must be ignored so that the call fails instead of the process; both survive the
    // exec.
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
fn a_batch_that_does_not_fit_is_not_acknowledged_and_others_proceed() {
    if role().is_some() {
        return child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    // Blocks of 512 or 1024 bytes, depending on the shell.
    let said = limited(
        "full_disk::a_batch_that_does_not_fit_is_not_acknowledged_and_others_proceed",
        &path,
        8192,
    );
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
fn a_store_that_cannot_be_created_for_lack_of_room_leaves_nothing() {
    if role().is_some() {
        let error = Store::open(crate::support::config(&store_of_role())).expect_err("no room");
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        return print_to_parent("done");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let said = limited(
        "full_disk::a_store_that_cannot_be_created_for_lack_of_room_leaves_nothing",
        &path,
        16,
    );
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
    open(&path);
}

/// Limits the size of files that this process may make from now on; this needs no privilege.
#[cfg(target_os = "linux")]
fn limit_to(bytes: &str) {
    let pid = std::process::id().to_string();
    let limit = format!("--fsize={bytes}:");
    let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(limited.expect("prlimit is of util-linux").success());
}

/// Starts a patient writer, with its reports: the error while it fails, or `None` when it is over.
#[cfg(target_os = "linux")]
fn patient(store: &Store) -> (Writer, mpsc::Receiver<Option<String>>) {
    let (tell, health) = mpsc::channel();
    let told = move |error: Option<&StoreError>| {
        tell.send(error.map(ToString::to_string)).expect("waited for");
    };
    let writer = Writer::start_patient(store.clone(), WriterConfig::default(), told);
    (writer.expect("starts"), health)
}

/// Submits a block of this size, and sends its number once it is stored.
#[cfg(target_os = "linux")]
fn submit(writer: &Writer, stored: &mpsc::Sender<u64>, number: u64, size: usize) {
    let stored = stored.clone();
    let done = move |result: Result<(), Box<WriteFailed>>| {
        result.expect("it is stored in the end");
        stored.send(number).expect("waited for");
    };
    writer.submit(extend([forked(number, 0, 0, size)]), done).expect("room in the queue");
}

#[cfg(target_os = "linux")]
#[test]
fn a_patient_writer_holds_batches_in_order_until_there_is_room() {
    if role().is_some() {
        let store = open(&store_of_role());
        let (writer, health) = patient(&store);
        let patience = Duration::from_secs(60);
        let (send, outcomes) = mpsc::channel();
        let submit = |number, size| submit(&writer, &send, number, size);
        submit(1, SMALL);
        assert_eq!(outcomes.recv_timeout(patience), Ok(1));
        limit_to("4000000");
        submit(2, HUGE);
        let error = health.recv_timeout(patience).expect("told").expect("an error");
        assert!(error.contains("the disk is full"), "{error}");
        // Small ones would fit, but wait all the same: each depends on the previous one.
        (3..20).for_each(|number| submit(number, SMALL));
        // Another failed attempt; a read need not wait for it.
        assert!(health.recv_timeout(patience).expect("told").is_some());
        let (found, read) = mpsc::channel();
        let hand_on = move |blocks: Result<Vec<Option<_>>, _>| {
            found.send(blocks.map(|blocks| blocks[0].is_some())).expect("waited for");
        };
        writer.load(vec![hash(1, 0)], hand_on).expect("room in the queue");
        assert!(matches!(read.recv_timeout(patience), Ok(Ok(true))));
        assert_eq!(outcomes.try_recv(), Err(mpsc::TryRecvError::Empty));
        // Below the permanent limit that the shell has set.
        limit_to("2000000000");
        let stored: Vec<u64> =
            (2..20).map(|_| outcomes.recv_timeout(patience).expect("stored")).collect();
        assert_eq!(stored, (2..20).collect::<Vec<_>>());
        assert_eq!(health.try_iter().last(), Some(None), "it is told that it is over, once");
        assert_eq!(store.recent(100).expect("reads").len(), 19);

        // A writer that stops does not wait for ever.
        limit_to("4000000");
        let (send, outcome) = mpsc::channel();
        let done = move |result: Result<(), Box<WriteFailed>>| {
            send.send(result.is_err()).expect("waited for");
        };
        writer.submit(extend([forked(20, 0, 0, HUGE)]), done).expect("room in the queue");
        writer.stop();
        assert_eq!(outcome.recv_timeout(patience), Ok(true));
        return print_to_parent("done");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let test = "full_disk::a_patient_writer_holds_batches_in_order_until_there_is_room";
    let said = limited(test, &path, 4_000_000);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
}

/// A process with the limit that stops its writer while many batches wait for the full disk.
fn stopping_child() {
    const BATCHES: usize = 8;
    let store = open(&store_of_role());
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let limits = WriterConfig { max_bytes: usize::MAX, ..WriterConfig::default() };
    let health = move |error: Option<&StoreError>| {
        counted.fetch_add(usize::from(error.is_some()), Ordering::SeqCst);
    };
    let writer = Writer::start_patient(store.clone(), limits, health).expect("starts");
    // The first batch holds the writer until all others wait.
    let (release, held) = mpsc::channel::<()>();
    let (send, outcomes) = mpsc::channel();
    let first = extend([forked(1, 0, 0, SMALL)]);
    writer.submit(first, move |outcome| drop((outcome, held.recv()))).expect("room");
    for number in 2..2 + BATCHES as u64 {
        let send = send.clone();
        let done = move |outcome: Result<(), Box<WriteFailed>>| {
            send.send(outcome.is_err()).expect("waited for");
        };
        writer.submit(extend([forked(number, 0, 0, HUGE)]), done).expect("room");
    }
    drop((send, release));
    writer.stop();
    assert_eq!(outcomes.iter().collect::<Vec<_>>(), [true; BATCHES], "each has its answer");
    let attempts = attempts.load(Ordering::SeqCst);
    assert!(attempts < BATCHES, "{attempts} attempts");
    assert_eq!(store.len().expect("still readable"), 1);
    print_to_parent("done");
}

#[test]
fn a_stopping_writer_tries_a_full_disk_once_and_fails_the_rest() {
    if role().is_some() {
        return stopping_child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let test = "full_disk::a_stopping_writer_tries_a_full_disk_once_and_fails_the_rest";
    let said = limited(test, &path, 8192);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
    assert_eq!(open(&path).len().expect("reads"), 1);
}

/// Whether the store could be opened now, as seen by a program that looks for the first bytes.
#[cfg(target_os = "linux")]
fn spoil(path: &std::path::Path, is_spoilt: bool) {
    use std::os::unix::fs::FileExt;

    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("opens");
    let first = if is_spoilt { b"R" } else { b"r" };
    file.write_all_at(first, 0).expect("writes");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_stays_full_does_not_close_the_store_again() {
    if role().is_some() {
        let path = store_of_role();
        let store = open(&path);
        let (writer, health) = patient(&store);
        let patience = Duration::from_secs(60);
        let (send, outcomes) = mpsc::channel();
        let submit = |number, size| submit(&writer, &send, number, size);
        submit(1, SMALL);
        assert_eq!(outcomes.recv_timeout(patience), Ok(1));
        // A reader at the moment of the failure does not take it for damage.
        let (reading, is_over) = (store.clone(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&is_over);
        let reader = std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                if let Err(error) = reading.block_by_hash(hash(1, 0)) {
                    assert!(!error.to_string().contains("damaged"), "{error}");
                }
            }
        });
        limit_to("4000000");
        submit(2, HUGE);
        assert!(health.recv_timeout(patience).expect("told").is_some());
        assert_eq!(store.len().expect("it is opened again"), 1);
        is_over.store(true, Ordering::SeqCst);
        reader.join().expect("it takes it for what it is");
        // From now on an attempt to open it would fail.
        spoil(&path, true);
        for _ in 0..3 {
            let error = health.recv_timeout(patience).expect("told").expect("an error");
            assert!(error.contains("the disk is full"), "{error}");
            assert_eq!(store.len().expect("it stays open"), 1);
            assert!(store.block_by_hash(hash(1, 0)).expect("it stays open").is_some());
        }
        spoil(&path, false);
        limit_to("2000000000");
        assert_eq!(outcomes.recv_timeout(patience), Ok(2));
        writer.stop();
        return print_to_parent("done");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let test = "full_disk::a_disk_that_stays_full_does_not_close_the_store_again";
    let said = limited(test, &path, 4_000_000);
    assert!(said.iter().any(|line| line == "done"), "{said:?}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 1);
    assert_eq!(open(&path).len().expect("reads"), 2);
}
