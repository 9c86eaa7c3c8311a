//! The memory area: opaque entries that the core stores beside the blocks.

use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use opp2p_store::{
    Batch, BatchError, MAX_MEMORY_KEY, MAX_MEMORY_VALUE, Store, StoreConfig, StoreError, Writer,
    WriterConfig,
};
use redb::{Database, TableDefinition};

use crate::support::{
    CHAIN, again, block, config, extend, genesis, hash, open, print_to_parent, role, store_of_role,
};

type Entry = (Vec<u8>, Option<Vec<u8>>);

fn put(key: &[u8], value: &[u8]) -> Entry {
    (key.to_vec(), Some(value.to_vec()))
}

fn remove(key: &[u8]) -> Entry {
    (key.to_vec(), None)
}

fn remember(entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch { memory: entries.into_iter().collect(), ..Batch::default() }
}

fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

#[test]
fn remembered_entries_are_listed_by_key_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = open(&path);
    assert!(store.memory().expect("reads").is_empty());
    let longest = (vec![0xFF; MAX_MEMORY_KEY], vec![7; MAX_MEMORY_VALUE]);
    store.commit(&remember([put(b"b", b"2"), put(b"a", b"1"), put(b"", b"")])).expect("commits");
    store.commit(&remember([put(&longest.0, &longest.1)])).expect("commits");
    let expected = [pair(b"", b""), pair(b"a", b"1"), pair(b"b", b"2"), longest];
    assert_eq!(store.memory().expect("reads"), expected);
    drop(store);
    assert_eq!(open(&path).memory().expect("reads"), expected);
}

#[test]
fn the_last_entry_of_a_key_wins_and_removing_a_missing_one_is_harmless() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    store.commit(&remember([put(b"a", b"1"), put(b"b", b"1"), put(b"c", b"1")])).expect("commits");
    let changes = [
        put(b"a", b"2"),
        remove(b"b"),
        remove(b"unknown"),
        put(b"d", b"1"),
        remove(b"d"),
        remove(b"c"),
        put(b"c", b"3"),
    ];
    store.commit(&remember(changes)).expect("commits");
    assert_eq!(store.memory().expect("reads"), [pair(b"a", b"2"), pair(b"c", b"3")]);
}

#[test]
fn an_oversized_entry_fails_only_its_own_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    let key = vec![1; MAX_MEMORY_KEY + 1];
    let value = vec![1; MAX_MEMORY_VALUE + 1];
    let batches = [
        remember([put(b"before", b"1")]),
        Batch { memory: vec![put(b"lost", b"1"), put(&key, b"1")], ..extend([block(1, 0)]) },
        remember([put(b"lost", b"1"), remove(&key)]),
        remember([put(b"long", &value)]),
        remember([put(b"after", b"1")]),
    ];
    let outcomes = store.commit_group(&batches, false).expect("commits").batches;
    let expected = [
        Ok(()),
        Err(BatchError::KeyTooLong { len: MAX_MEMORY_KEY + 1 }),
        Err(BatchError::KeyTooLong { len: MAX_MEMORY_KEY + 1 }),
        Err(BatchError::ValueTooLong { len: MAX_MEMORY_VALUE + 1 }),
        Ok(()),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(store.memory().expect("reads"), [pair(b"after", b"1"), pair(b"before", b"1")]);
    assert_eq!(store.block_by_hash(hash(1, 0)).expect("reads"), None);
    // The other way round: a contradiction among the blocks discards the entries.
    let bad = Batch { head: Some(9), ..remember([put(b"lost", b"1")]) };
    assert!(matches!(store.commit(&bad), Err(StoreError::Refused(_))));
    assert_eq!(store.memory().expect("reads").len(), 2);
}

#[test]
fn retention_leaves_the_memory_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = StoreConfig { max_blocks: 1, ..config(&directory.path().join("store")) };
    let store = Store::open(limits).expect("opens");
    store
        .commit(&Batch { memory: vec![put(b"a", b"1")], ..extend([block(1, 0), block(2, 0)]) })
        .expect("commits");
    store.prune().expect("prunes");
    assert_eq!((store.len().expect("reads"), store.memory().expect("reads").len()), (1, 1));
}

#[test]
fn a_store_that_is_opened_for_its_memory_keeps_its_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    open(&path).commit(&extend((1..=9).map(|n| block(n, 0)))).expect("commits");
    let store = Store::open(StoreConfig::for_memory(path, CHAIN, genesis())).expect("opens");
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    for key in [b"a", b"b"] {
        writer
            .submit(remember([put(key, b"1")]), |outcome| outcome.expect("stored"))
            .expect("room");
    }
    writer.stop();
    assert_eq!((store.len().expect("reads"), store.memory().expect("reads").len()), (9, 2));
}

#[test]
fn a_file_older_than_the_memory_has_an_empty_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = open(&path);
    store.commit(&extend([block(1, 0)])).expect("commits");
    drop(store);
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    let table = TableDefinition::<&[u8], &[u8]>::new("memory");
    assert!(transaction.delete_table(table).expect("deletes"));
    transaction.commit().expect("commits");
    drop(database);
    let store = open(&path);
    assert!(store.memory().expect("reads").is_empty());
    store.commit(&remember([put(b"a", b"1")])).expect("commits");
    assert_eq!(store.memory().expect("reads"), [pair(b"a", b"1")]);
    assert_eq!(store.head().expect("reads").map(|head| head.number), Some(1));
}

#[test]
fn the_writer_accepts_and_weighs_a_batch_of_memory_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    let config = WriterConfig { max_bytes: 3 * MAX_MEMORY_VALUE, ..WriterConfig::default() };
    let writer = Writer::start(store.clone(), config).expect("starts");
    let (go, wait) = mpsc::channel::<()>();
    let (told, stored) = mpsc::channel();
    let says = told.clone();
    // Blocks the writer's thread, so that the queue fills.
    let held = writer.load(vec![], move |_| {
        says.send(()).expect("listens");
        wait.recv().expect("is let go");
    });
    held.expect("room");
    stored.recv().expect("the thread waits");
    let value = vec![9; MAX_MEMORY_VALUE];
    let mut taken = 0u8;
    for number in 0..10u8 {
        let told = told.clone();
        let queued = writer.submit(remember([put(&[number], &value)]), move |outcome| {
            outcome.expect("stored");
            told.send(()).expect("listens");
        });
        taken += u8::from(queued.is_ok());
    }
    assert_eq!(taken, 2, "the keys do not fit beside three values");
    go.send(()).expect("waits");
    writer.stop();
    drop(told);
    assert_eq!(stored.iter().count(), 2);
    assert_eq!(store.memory().expect("reads").len(), 2);
}

/// The process to be killed: counts up in one entry, and with each step puts one of its own entries
/// and removes one.
fn child() -> ! {
    let store = open(&store_of_role());
    for step in 0u64.. {
        let mut entries =
            vec![put(b"count", &step.to_be_bytes()), put(&step.to_be_bytes(), &[1; 5000])];
        if let Some(before) = step.checked_sub(1) {
            entries.push(remove(&before.to_be_bytes()));
        }
        store.commit(&remember(entries)).expect("commits");
        print_to_parent(&format!("ack {step}"));
    }
    unreachable!("counts for ever")
}

fn acknowledged(path: &Path) -> u64 {
    use std::io::{BufRead, BufReader};
    let program = std::env::current_exe().expect("a program");
    let mut child =
        again(&program, "memory::kill_loses_no_entry_that_was_acknowledged", "killed", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
    let out = child.stdout.take().expect("piped");
    let ack = |line: String| line.strip_prefix("ack ").and_then(|step| step.parse().ok());
    let mut last = 0;
    for step in BufReader::new(out).lines().map_while(Result::ok).filter_map(ack) {
        last = step;
        if step == 20 {
            child.kill().expect("kills");
        }
    }
    child.wait().expect("ends");
    last
}

#[test]
fn kill_loses_no_entry_that_was_acknowledged() {
    if role().is_some() {
        child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let last = acknowledged(&path);
    assert!(last >= 20, "killed too early: {last}");
    let memory = open(&path).memory().expect("reads");
    let count = memory.iter().find(|(key, _)| key == b"count").expect("counted");
    let count = u64::from_be_bytes(count.1.as_slice().try_into().expect("a number"));
    // The line of the last step may have been cut off by the kill.
    assert!(count == last || count == last + 1, "{count} after {last}");
    assert_eq!(
        memory,
        [pair(&count.to_be_bytes(), &[1; 5000]), pair(b"count", &count.to_be_bytes())]
    );
}
