//! Blocks that extend the chain downwards, as a node that fetches history stores them.

use std::time::Duration;

use opp2p_store::{Batch, BatchError, Store, StoreConfig, StoreError, StoredBlock};

use crate::support::{block, config, extend, forked, hash, open};

fn below(block: StoredBlock) -> Batch {
    Batch { is_below: true, ..extend([block]) }
}

fn refused(store: &Store, batch: &Batch) -> BatchError {
    match store.commit(batch).expect_err("must be refused") {
        StoreError::Refused(error) => error,
        error => panic!("{error}"),
    }
}

#[test]
fn the_chain_grows_downwards_and_its_head_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    store.commit(&extend((8..=9).map(|n| block(n, 0)))).expect("commits");
    for number in (3..=7).rev() {
        store.commit(&below(block(number, 0))).expect("commits");
    }
    drop(store);
    let store = open(&path);
    assert_eq!(store.lowest().expect("reads"), Some(block(3, 0)));
    assert_eq!(store.head().expect("reads"), Some(block(9, 0).id()));
    let ids = store.canonical_ids(9, 100).expect("reads");
    assert!(ids.iter().map(|id| id.number).eq((2..=9).rev()), "{ids:?}");
    // The chain goes on at its other end.
    store.commit(&extend([block(10, 0)])).expect("commits");
    assert_eq!(store.lowest().expect("reads"), Some(block(3, 0)));
}

#[test]
fn a_block_that_is_not_below_a_stored_one_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let not_below =
        |number: u64, branch: u8| BatchError::NotBelow { number, hash: hash(number, branch) };
    assert_eq!(refused(&store, &below(block(7, 0))), not_below(7, 0), "an empty store");
    store.commit(&extend((8..=9).map(|n| block(n, 0)))).expect("commits");
    // It would leave a hole, is on another branch, or is above the head.
    assert_eq!(refused(&store, &below(block(6, 0))), not_below(6, 0));
    assert_eq!(refused(&store, &below(forked(7, 1, 0, 300))), not_below(7, 1));
    assert_eq!(refused(&store, &below(block(10, 0))), not_below(10, 0));
    assert_eq!(store.lowest().expect("reads"), Some(block(8, 0)));
    assert_eq!(store.len().expect("reads"), 2, "nothing of a refused batch is stored");
}

#[test]
fn what_retention_would_remove_at_once_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let few = StoreConfig { max_blocks: 3, ..config(&directory.path().join("blocks.redb")) };
    let store = Store::open(few).expect("opens");
    store.commit(&extend((8..=9).map(|n| block(n, 0)))).expect("commits");
    let written = store.commit_group(&[below(block(7, 0)), below(block(6, 0))], true);
    let written = written.expect("commits");
    assert_eq!(written.batches, [Ok(()), Err(BatchError::NotKept { number: 6 })]);
    assert_eq!(written.pruned.removed, 0);
    assert_eq!(store.lowest().expect("reads"), Some(block(7, 0)));
    let not_below = BatchError::NotBelow { number: 5, hash: hash(5, 0) };
    assert_eq!(refused(&store, &below(block(5, 0))), not_below);
}

#[test]
fn each_limit_refuses_blocks_below_the_chain() {
    let kept = |change: fn(&mut StoreConfig)| {
        let directory = tempfile::tempdir().expect("a directory");
        let mut limits = config(&directory.path().join("blocks.redb"));
        change(&mut limits);
        let store = Store::open(limits).expect("opens");
        store.commit(&extend((20..=29).map(|n| block(n, 0)))).expect("commits");
        let below: Vec<_> = (1..20).rev().map(|n| below(block(n, 0))).collect();
        let written = store.commit_group(&below, true).expect("commits");
        let refused: Vec<_> = written.batches.into_iter().filter_map(Result::err).collect();
        assert!(refused.iter().all(|error| matches!(error, BatchError::NotKept { .. })));
        let kept = 29 - refused.len() as u64;
        assert_eq!((store.len().expect("reads"), written.pruned.removed), (kept, 0));
        kept
    };
    assert_eq!(kept(|_| {}), 29);
    assert_eq!(kept(|limits| limits.max_blocks = 15), 15);
    // Blocks are 2 s apart.
    assert_eq!(kept(|limits| limits.max_age = Duration::from_secs(30)), 16);
    let by_bytes = kept(|limits| limits.max_bytes = 15 * 400);
    assert!((11..=20).contains(&by_bytes), "{by_bytes}");
}

#[test]
fn a_full_store_takes_a_block_that_it_has_and_one_for_which_others_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let few = StoreConfig { max_blocks: 6, ..config(&directory.path().join("blocks.redb")) };
    let store = Store::open(few).expect("opens");
    store.commit(&extend((3..=6).map(|n| block(n, 0)))).expect("commits");
    let leaves = Batch { cut: Some(0), ..extend([forked(6, 1, 0, 300), block(7, 1)]) };
    store.commit(&leaves).expect("commits");
    let below = [below(block(5, 0)), below(block(4, 0))];
    let written = store.commit_group(&below, true).expect("commits");
    assert_eq!((written.batches, written.pruned.removed), (vec![Ok(()); 2], 0));
    assert_eq!(store.lowest().expect("reads"), Some(block(4, 0)));
}

#[test]
fn history_goes_on_below_the_run_of_blocks_that_ends_at_the_head() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    assert_eq!(store.lowest_linked().expect("reads"), None);
    store.commit(&extend((3..=5).map(|n| block(n, 0)))).expect("commits");
    assert_eq!(store.lowest_linked().expect("reads"), Some(block(3, 0)));
    // The numbers between were left out.
    store.commit(&extend((20..=22).map(|n| block(n, 0)))).expect("commits");
    assert_eq!(store.lowest_linked().expect("reads"), Some(block(20, 0)));
    store.commit(&below(block(19, 0))).expect("commits");
    assert_eq!(store.lowest_linked().expect("reads"), Some(block(19, 0)));
    assert_eq!(store.lowest().expect("reads"), Some(block(3, 0)));
}

#[test]
fn blocks_that_link_are_found_on_and_off_the_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let linked = |from, blocks, bytes| {
        let found = store.linked(from, blocks, bytes).expect("reads");
        found
            .into_iter()
            .map(|(block, is_canonical)| (block.number, is_canonical))
            .collect::<Vec<_>>()
    };
    assert_eq!(linked(hash(9, 0), 100, usize::MAX), []);
    store.commit(&extend((3..=9).map(|n| block(n, 0)))).expect("commits");
    let leaves = Batch { cut: Some(0), ..extend([forked(6, 1, 0, 300), block(7, 1)]) };
    store.commit(&leaves).expect("commits");
    let below = [(7, true), (6, true), (5, false), (4, false), (3, false)];
    assert_eq!(linked(hash(7, 1), 100, usize::MAX), below);
    assert_eq!(linked(hash(7, 1), 3, usize::MAX), below[..3]);
    assert_eq!(linked(hash(7, 1), 100, 900), below[..3]);
    assert_eq!(linked(hash(7, 1), 100, 1), below[..1]);
    assert_eq!(linked(hash(2, 0), 100, usize::MAX), []);
}
