//! The pending area: blocks that do not link to the chain yet.

use std::sync::mpsc;
use std::time::Duration;

use alloy_primitives::B256;
use opp2p_store::{Batch, PendingBlock, Store, StoreConfig, StoredBlock, Writer, WriterConfig};
use redb::{Database, TableDefinition};

use crate::support::{block, config, extend, forked, hash, open};

fn hold(blocks: impl IntoIterator<Item = StoredBlock>) -> Batch {
    Batch { pending: blocks.into_iter().collect(), ..Batch::default() }
}

fn promote(number: u64) -> Batch {
    Batch { canonical: vec![(number, hash(number, 0))], head: Some(number), ..Batch::default() }
}

fn release(ids: &[(u64, B256)]) -> Batch {
    Batch { release: ids.to_vec(), ..Batch::default() }
}

fn numbers(store: &Store) -> Vec<u64> {
    store.pending().expect("reads").iter().map(|block| block.number).collect()
}

#[test]
fn pending_blocks_are_listed_after_a_restart_and_are_not_canonical() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = open(&path);
    store.commit(&extend([block(1, 0)])).expect("commits");
    store.commit(&hold([block(9, 0), block(8, 0), forked(8, 1, 0, 10)])).expect("commits");
    drop(store);
    let store = open(&path);
    let mut expected: Vec<PendingBlock> = [block(8, 0), forked(8, 1, 0, 10), block(9, 0)]
        .iter()
        .map(|block| PendingBlock {
            number: block.number,
            hash: block.hash,
            parent_hash: block.parent_hash,
            size: block.message.len() as u64,
        })
        .collect();
    expected.sort_by_key(|block| (block.number, block.hash));
    assert_eq!(store.pending().expect("reads"), expected);
    assert_eq!(store.head().expect("reads").map(|head| head.number), Some(1));
    assert_eq!(store.canonical_by_number(8).expect("reads"), None);
    assert_eq!(store.block_by_hash(hash(8, 0)).expect("reads"), Some(block(8, 0)));
}

#[test]
fn a_pending_block_becomes_canonical_without_being_written_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    store.commit(&extend([block(1, 0)])).expect("commits");
    store.commit(&hold([block(3, 0), block(2, 0)])).expect("commits");
    store.commit(&promote(2)).expect("commits");
    assert_eq!(numbers(&store), [3]);
    store.commit(&promote(3)).expect("commits");
    assert_eq!((numbers(&store), store.len().expect("reads")), (vec![], 3));
    assert_eq!(store.canonical_by_number(3).expect("reads"), Some(block(3, 0)));
    // A canonical block is never pending.
    store.commit(&hold([block(3, 0)])).expect("commits");
    assert!(numbers(&store).is_empty());
}

#[test]
fn released_blocks_are_removed_unless_canonical() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    store.commit(&extend([block(1, 0)])).expect("commits");
    store.commit(&hold([block(5, 0), block(6, 0)])).expect("commits");
    let ids = [(5, hash(5, 0)), (1, hash(1, 0)), (77, hash(77, 0))];
    store.commit(&release(&ids)).expect("commits");
    assert_eq!((numbers(&store), store.len().expect("reads")), (vec![6], 2));
    assert_eq!(store.block_by_hash(hash(5, 0)).expect("reads"), None);
    assert_eq!(store.canonical_by_number(1).expect("reads"), Some(block(1, 0)));
}

#[test]
fn retention_leaves_the_pending_area_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(StoreConfig {
        max_blocks: 3,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(100),
        ..config(&directory.path().join("store"))
    })
    .expect("opens");
    store.commit(&extend((1..=5).map(|number| block(number, 0)))).expect("commits");
    store.commit(&hold((10..=20).map(|number| block(number, 0)))).expect("commits");
    // By count: the pending blocks do not count, and stay although they are many.
    store.prune().expect("prunes");
    assert_eq!((numbers(&store).len(), store.len().expect("reads")), (11, 3 + 11));
    // By age: only the head and the pending blocks are left.
    store.commit(&extend([block(1000, 0)])).expect("commits");
    store.prune().expect("prunes");
    assert_eq!((numbers(&store).len(), store.len().expect("reads")), (11, 1 + 11));
}

#[test]
fn a_file_older_than_the_pending_area_has_an_empty_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = open(&path);
    store.commit(&extend([block(1, 0)])).expect("commits");
    drop(store);
    let table = TableDefinition::<(u64, [u8; 32]), ([u8; 32], u64)>::new("pending_blocks");
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    assert!(transaction.delete_table(table).expect("deletes"));
    transaction.commit().expect("commits");
    drop(database);
    let store = open(&path);
    assert!(numbers(&store).is_empty());
    store.commit(&hold([block(5, 0)])).expect("commits");
    assert_eq!(numbers(&store), [5]);
}

#[test]
fn a_load_sees_everything_submitted_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let writer = Writer::start(open(&directory.path().join("store")), WriterConfig::default())
        .expect("starts");
    let (send, loaded) = mpsc::channel();
    for number in 1..=100 {
        writer.submit(hold([block(number, 0)]), |outcome| outcome.expect("stored")).expect("room");
    }
    let hashes = vec![hash(100, 0), hash(7, 3), hash(1, 0)];
    writer.load(hashes, move |found| send.send(found).expect("listens")).expect("room");
    let found = loaded.recv().expect("answered").expect("reads");
    assert_eq!(found, [Some(block(100, 0)), None, Some(block(1, 0))]);
    writer.stop();
}

#[test]
fn loads_are_bounded_and_answered_even_when_the_writer_stops() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = WriterConfig { max_batches: 1, ..WriterConfig::default() };
    let writer = Writer::start(open(&directory.path().join("store")), config).expect("starts");
    let (send, loaded) = mpsc::channel();
    let mut taken = 0;
    let refused = (0..100_000).any(|_| {
        let send = send.clone();
        let queued = writer.load(vec![hash(1, 0)], move |found| send.send(found).expect("listens"));
        taken += usize::from(queued.is_ok());
        queued.is_err()
    });
    assert!(refused, "a queue without an end");
    writer.stop();
    drop(send);
    assert_eq!(loaded.iter().filter(|found| matches!(found.as_deref(), Ok([None]))).count(), taken);
}
