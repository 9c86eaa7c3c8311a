//! The writer's thread: grouping, order, bounds, and the end.

use std::sync::mpsc;
use std::time::Duration;

use opp2p_store::{
    Batch, BatchError, Store, StoreConfig, StoreError, WriteFailed, Writer, WriterConfig,
};

use crate::support::{block, config, extend, forked, hash, open};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_batch_is_stored_before_it_is_acknowledged_and_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    let (send, receive) = mpsc::channel();
    for number in 1..=200 {
        let (send, store) = (send.clone(), store.clone());
        let done = move |outcome: Result<(), Box<WriteFailed>>| {
            outcome.expect("stored");
            // The blocks are visible to every reader before the callback.
            assert_eq!(
                store.block_by_hash(hash(number, 0)).expect("reads"),
                Some(block(number, 0))
            );
            send.send(number).expect("waited for");
        };
        writer.submit(extend([block(number, 0)]), done).expect("room");
    }
    for number in 1..=200 {
        assert_eq!(receive.recv_timeout(PATIENCE), Ok(number));
    }
}

#[test]
fn stopping_writes_the_whole_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let writer = Writer::start(open(&path), WriterConfig::default()).expect("starts");
    let (send, receive) = mpsc::channel();
    for number in 1..=500 {
        let send = send.clone();
        let done = move |outcome: Result<(), Box<WriteFailed>>| {
            send.send(outcome.is_ok()).expect("waited for");
        };
        writer.submit(extend([block(number, 0)]), done).expect("room");
    }
    drop(send);
    writer.stop();
    assert_eq!(receive.into_iter().filter(|ok| *ok).count(), 500);
    // The writer released the store: it can be opened again, and has everything.
    assert_eq!(open(&path).len().expect("reads"), 500);
}

#[test]
fn a_refused_batch_is_returned_and_its_neighbours_are_stored() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    let (send, receive) = mpsc::channel();
    let bad = Batch { head: Some(9), ..extend([block(5, 0)]) };
    for batch in [extend([block(1, 0)]), bad.clone(), extend([block(2, 0)])] {
        let send = send.clone();
        writer.submit(batch, move |outcome| send.send(outcome).expect("waited for")).expect("room");
    }
    assert!(receive.recv_timeout(PATIENCE).expect("an outcome").is_ok());
    let failed = receive.recv_timeout(PATIENCE).expect("an outcome").expect_err("refused");
    assert_eq!(failed.batch, bad);
    assert!(matches!(
        failed.error,
        StoreError::Refused(BatchError::HeadNotCanonical { number: 9 })
    ));
    assert!(receive.recv_timeout(PATIENCE).expect("an outcome").is_ok());
    assert_eq!(store.len().expect("reads"), 2);
}

/// Holds the writer's thread in a callback until the returned sender is dropped.
fn blocked(writer: &Writer) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (send, started) = mpsc::channel();
    let done = move |outcome: Result<(), Box<WriteFailed>>| {
        outcome.expect("stored");
        send.send(()).expect("waited for");
        let _ = held.recv();
    };
    writer.submit(extend([block(1, 0)]), done).expect("room");
    started.recv_timeout(PATIENCE).expect("the writer is held");
    release
}

#[test]
fn a_full_queue_returns_the_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let limits = WriterConfig { max_batches: 3, max_bytes: 10_000 };
    let writer = Writer::start(store.clone(), limits).expect("starts");

    let release = blocked(&writer);
    for number in 2..=4 {
        writer
            .submit(extend([forked(number, 0, 0, 10)]), |outcome| outcome.expect("stored"))
            .expect("room");
    }
    assert_eq!(writer.queued(), 3);
    let fifth = extend([forked(5, 0, 0, 10)]);
    let full =
        writer.submit(fifth.clone(), |_| panic!("never called")).expect_err("three batches wait");
    assert_eq!(full.batch, fifth);
    drop(release);
    writer.stop();
    assert_eq!(store.len().expect("reads"), 4);

    let writer = Writer::start(store.clone(), limits).expect("starts");
    let release = blocked(&writer);
    writer
        .submit(extend([forked(5, 0, 0, 9_000)]), |outcome| outcome.expect("stored"))
        .expect("room");
    writer
        .submit(extend([forked(6, 0, 0, 1_001)]), |_| panic!("never called"))
        .expect_err("too many bytes");
    writer
        .submit(extend([forked(6, 0, 0, 1_000)]), |outcome| outcome.expect("stored"))
        .expect("just fits");
    drop(release);
    writer.stop();
    assert_eq!(store.len().expect("reads"), 6);
}

#[test]
fn a_batch_larger_than_the_bound_is_written_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let writer =
        Writer::start(store, WriterConfig { max_batches: 3, max_bytes: 100 }).expect("starts");
    let (send, receive) = mpsc::channel();
    writer
        .submit(extend([forked(1, 0, 0, 5_000)]), move |outcome| {
            send.send(outcome.is_ok()).expect("waited for");
        })
        .expect("the queue is empty");
    assert_eq!(receive.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn old_blocks_are_removed_with_every_commit() {
    use opp2p_store::{Store, StoreConfig};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = Store::open(StoreConfig { max_blocks: 10, ..crate::support::config(&path) })
        .expect("opens");
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    for number in 1..=50 {
        writer
            .submit(extend([block(number, 0)]), |outcome| outcome.expect("stored"))
            .expect("room");
    }
    writer.stop();
    assert_eq!(store.len().expect("reads"), 10);
    assert_eq!(store.recent(99).expect("reads").first().map(|id| id.number), Some(41));
}

#[test]
fn a_panicking_callback_does_not_stop_the_writer() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let writer = Writer::start(store, WriterConfig::default()).expect("starts");
    let (send, receive) = mpsc::channel();
    writer.submit(extend([block(1, 0)]), |_| panic!("a caller's mistake")).expect("room");
    writer
        .submit(extend([block(2, 0)]), move |outcome| {
            send.send(outcome.is_ok()).expect("waited for");
        })
        .expect("room");
    assert_eq!(receive.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn the_age_of_blocks_is_measured_from_the_head_not_the_clock() {
    let directory = tempfile::tempdir().expect("a directory");
    let week = Duration::from_secs(7 * 24 * 3600);
    let limits = StoreConfig { max_age: week, ..config(&directory.path().join("blocks.redb")) };
    let store = Store::open(limits).expect("opens");
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    // By the clock of this machine, all of them are years old.
    for number in 1..=20 {
        let batch = extend([block(number, 0)]);
        writer.submit(batch, |outcome| outcome.expect("stored")).expect("room");
    }
    let memory = vec![(b"key".to_vec(), Some(b"value".to_vec()))];
    let batch = Batch { memory, ..Batch::default() };
    writer.submit(batch, |outcome| outcome.expect("stored")).expect("room");
    writer.stop();
    assert_eq!(store.len().expect("reads"), 20);
}

#[test]
fn the_queue_is_bounded_in_batches_and_bytes_and_takes_one_batch_of_any_size() {
    let limits = WriterConfig { max_batches: 2, max_bytes: 1000 };
    // Sizes of batches, and whether the queue takes them.
    let orders: [&[(usize, bool)]; 2] =
        [&[(5000, true), (0, false)], &[(600, true), (401, false), (400, true), (0, false)]];
    for sizes in orders {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&directory.path().join("blocks.redb"));
        let writer = Writer::start(store, limits).expect("starts");
        let release = blocked(&writer);
        for (number, (size, is_taken)) in (2..).zip(sizes) {
            let batch = extend([forked(number, 0, 0, *size)]);
            assert_eq!(writer.submit(batch, |_| {}).is_ok(), *is_taken, "{size} of {sizes:?}");
        }
        drop(release);
    }
}
