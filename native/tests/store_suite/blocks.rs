//! What is kept, in what order, and for how long.

use std::time::Duration;

use alloy_primitives::B256;
use opp2p::store::{Batch, BatchError, MAX_MESSAGE_BYTES, Pruned, Store, StoreConfig, StoreError};
use proptest::prelude::*;

use crate::support::{START, block, config, extend, forked, hash, open};

fn refused(store: &Store, batch: &Batch) -> BatchError {
    match store.commit(batch) {
        Err(StoreError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn canonical_hashes(store: &Store, count: usize) -> Vec<B256> {
    store.recent(count).expect("reads").iter().map(|id| id.hash).collect()
}

#[test]
fn a_new_store_is_empty_and_has_no_head() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("made/on/the/way/blocks.redb"));
    assert_eq!(store.head().expect("reads"), None);
    assert!(store.is_empty().expect("reads"));
    assert_eq!(store.recent(10).expect("reads"), []);
    assert_eq!(store.block_by_hash(hash(1, 0)).expect("reads"), None);
    assert_eq!(store.canonical_by_number(1).expect("reads"), None);
    assert!(store.size_on_disk().expect("reads") > 0);
}

#[test]
fn a_block_comes_back_by_hash_and_by_number_as_it_went_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let mut largest = block(3, 0);
    largest.message = vec![7; MAX_MESSAGE_BYTES];
    let mut empty = block(2, 0);
    empty.message.clear();
    let blocks = [block(1, 0), empty, largest];
    store.commit(&extend(blocks.clone())).expect("commits");
    for block in &blocks {
        assert_eq!(store.block_by_hash(block.hash).expect("reads").as_ref(), Some(block));
        assert_eq!(store.canonical_by_number(block.number).expect("reads").as_ref(), Some(block));
    }
    assert_eq!(store.head().expect("reads"), Some(blocks[2].id()));
    assert_eq!(store.recent(2).expect("reads"), [blocks[1].id(), blocks[2].id()]);
    assert_eq!(store.recent_blocks(9).expect("reads"), blocks);
    assert_eq!(store.len().expect("reads"), 3);
}

#[test]
fn a_restart_resumes_at_the_stored_head() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    for number in 1..=20 {
        store.commit(&extend([block(number, 0)])).expect("commits");
    }
    drop(store);
    let store = open(&path);
    assert_eq!(store.head().expect("reads"), Some(block(20, 0).id()));
    assert_eq!(store.len().expect("reads"), 20);
    store.commit(&extend([block(21, 0)])).expect("commits");
    assert_eq!(store.head().expect("reads"), Some(block(21, 0).id()));
}

#[test]
fn a_competitor_is_kept_without_being_canonical() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend([block(1, 0)])).expect("commits");
    store.commit(&Batch { blocks: vec![block(1, 1)], ..Batch::default() }).expect("commits");
    assert_eq!(store.canonical_by_number(1).expect("reads"), Some(block(1, 0)));
    assert_eq!(store.block_by_hash(hash(1, 1)).expect("reads"), Some(block(1, 1)));
    assert_eq!(store.len().expect("reads"), 2);
}

#[test]
fn a_reorg_to_a_longer_branch_replaces_the_canonical_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend((1..=5).map(|n| block(n, 0)))).expect("commits");
    store
        .commit(&extend([forked(4, 1, 0, 300), forked(5, 1, 1, 300), forked(6, 1, 1, 300)]))
        .expect("commits");
    assert_eq!(
        canonical_hashes(&store, 9),
        [hash(1, 0), hash(2, 0), hash(3, 0), hash(4, 1), hash(5, 1), hash(6, 1)]
    );
    assert_eq!(
        store.block_by_hash(hash(5, 0)).expect("reads"),
        Some(block(5, 0)),
        "the old branch stays readable"
    );
}

#[test]
fn a_reorg_to_a_lower_head_removes_what_was_canonical_above() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    store.commit(&extend((1..=9).map(|n| block(n, 0)))).expect("commits");
    let lower = Batch { head: Some(4), ..extend([forked(4, 1, 0, 300)]) };
    store.commit(&lower).expect("commits");
    drop(store);
    let store = open(&path);
    assert_eq!(store.head().expect("reads").map(|id| id.hash), Some(hash(4, 1)));
    assert_eq!(store.canonical_by_number(5).expect("reads"), None);
    assert_eq!(store.len().expect("reads"), 10);
}

#[test]
fn the_lowest_block_is_the_lowest_that_is_canonical_and_still_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    assert_eq!(store.lowest().expect("reads"), None);
    store.commit(&Batch { blocks: vec![block(1, 1)], ..Batch::default() }).expect("commits");
    assert_eq!(store.lowest().expect("reads"), None);
    store.commit(&extend((3..=9).map(|n| block(n, 0)))).expect("commits");
    assert_eq!(store.lowest().expect("reads"), Some(block(3, 0)));
    drop(store);
    let few = StoreConfig { max_blocks: 2, ..config(&directory.path().join("blocks.redb")) };
    let store = Store::open(few).expect("opens");
    store.prune(START).expect("prunes");
    assert_eq!(store.lowest().expect("reads"), Some(block(8, 0)));
}

#[test]
fn a_stored_block_becomes_canonical_without_being_given_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&Batch { blocks: vec![block(8, 0)], ..Batch::default() }).expect("commits");
    store.commit(&Batch { canonical: vec![(8, hash(8, 0))], ..Batch::default() }).expect("commits");
    assert_eq!(store.head().expect("reads"), Some(block(8, 0).id()));
}

#[test]
fn a_hole_below_the_head_can_be_filled_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend([block(1, 0)])).expect("commits");
    store.commit(&extend([block(4, 0)])).expect("commits");
    assert_eq!(canonical_hashes(&store, 9), [hash(1, 0), hash(4, 0)]);
    store.commit(&extend([block(3, 0), block(2, 0)])).expect("commits");
    assert_eq!(canonical_hashes(&store, 9), [1, 2, 3, 4].map(|n| hash(n, 0)));
    assert_eq!(store.head().expect("reads"), Some(block(4, 0).id()));
}

#[test]
fn the_same_batch_twice_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let batch = extend((1..=3).map(|n| block(n, 0)));
    store.commit(&batch).expect("commits");
    store.commit(&batch).expect("commits");
    assert_eq!(store.len().expect("reads"), 3);
    assert_eq!(store.recent_blocks(9).expect("reads"), batch.blocks);
}

#[test]
fn a_contradictory_batch_is_refused_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend([block(1, 0)])).expect("commits");

    let unknown = Batch { canonical: vec![(2, hash(2, 0)), (3, hash(3, 0))], ..extend([block(2, 0)]) };
    assert_eq!(refused(&store, &unknown), BatchError::UnknownBlock { number: 3, hash: hash(3, 0) });

    let wrong_number = Batch { canonical: vec![(7, hash(1, 0))], ..Batch::default() };
    assert_eq!(refused(&store, &wrong_number), BatchError::UnknownBlock { number: 7, hash: hash(1, 0) });

    let in_batch = Batch { canonical: vec![(7, hash(2, 0))], blocks: vec![block(2, 0)], ..Batch::default() };
    assert_eq!(refused(&store, &in_batch), BatchError::UnknownBlock { number: 7, hash: hash(2, 0) });

    let mut moved = block(1, 0);
    moved.number = 2;
    let known = BatchError::TwoNumbers { hash: hash(1, 0), given: 2, known: 1 };
    assert_eq!(refused(&store, &extend([block(2, 0), moved])), known);

    let mut twice = block(5, 0);
    twice.number = 6;
    let known = BatchError::TwoNumbers { hash: hash(5, 0), given: 6, known: 5 };
    assert_eq!(refused(&store, &extend([block(5, 0), twice])), known);

    let no_head = Batch { head: Some(9), ..extend([block(2, 0)]) };
    assert_eq!(refused(&store, &no_head), BatchError::HeadNotCanonical { number: 9 });

    let above = Batch { head: Some(1), ..extend([block(2, 0)]) };
    assert_eq!(refused(&store, &above), BatchError::AboveHead { number: 2, head: 1 });

    let mut large = block(2, 0);
    large.message = vec![0; MAX_MESSAGE_BYTES + 1];
    let too_large = BatchError::TooLarge { hash: hash(2, 0), len: MAX_MESSAGE_BYTES + 1 };
    assert_eq!(refused(&store, &extend([large])), too_large);

    assert_eq!(store.len().expect("reads"), 1);
    assert_eq!(store.recent(9).expect("reads"), [block(1, 0).id()]);
    assert_eq!(store.block_by_hash(hash(2, 0)).expect("reads"), None);
}

#[test]
fn one_refused_batch_does_not_stop_the_others_of_its_group() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let bad = Batch { head: Some(9), ..Batch::default() };
    let committed =
        store.commit_group(&[extend([block(1, 0)]), bad, extend([block(2, 0)])], None).expect("commits");
    assert_eq!(committed.batches, [Ok(()), Err(BatchError::HeadNotCanonical { number: 9 }), Ok(())]);
    assert_eq!(canonical_hashes(&store, 9), [hash(1, 0), hash(2, 0)]);
}

#[test]
fn a_later_batch_of_a_group_builds_on_an_earlier_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let put = Batch { blocks: vec![block(1, 0)], ..Batch::default() };
    let choose = Batch { canonical: vec![(1, hash(1, 0))], head: Some(1), ..Batch::default() };
    let committed = store.commit_group(&[put, choose], None).expect("commits");
    assert_eq!(committed.batches, [Ok(()), Ok(())]);
    assert_eq!(store.head().expect("reads"), Some(block(1, 0).id()));
}

fn limited(path: &std::path::Path, max_blocks: u64, max_age: u64) -> Store {
    let limits = StoreConfig { max_blocks, max_age: Duration::from_secs(max_age), ..config(path) };
    Store::open(limits).expect("opens")
}

#[test]
fn retention_by_count_removes_the_lowest_numbers() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 4, u64::MAX);
    store.commit(&extend((1..=9).map(|n| block(n, 0)))).expect("commits");
    store.commit(&Batch { blocks: vec![block(2, 1), block(8, 1)], ..Batch::default() }).expect("commits");
    assert_eq!(store.prune(0).expect("prunes"), Pruned { removed: 7, more: false });
    assert_eq!(store.len().expect("reads"), 4);
    assert_eq!(canonical_hashes(&store, 9), [7, 8, 9].map(|n| hash(n, 0)));
    assert_eq!(store.block_by_hash(hash(8, 1)).expect("reads"), Some(block(8, 1)));
    assert_eq!(store.block_by_hash(hash(6, 0)).expect("reads"), None);
    assert_eq!(store.canonical_by_number(6).expect("reads"), None);
    assert_eq!(store.prune(0).expect("prunes"), Pruned::default());
}

#[test]
fn retention_by_age_removes_only_blocks_beyond_the_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), u64::MAX, 10);
    store.commit(&extend((1..=9).map(|n| block(n, 0)))).expect("commits");
    assert_eq!(store.prune(START + 2 + 10).expect("prunes").removed, 0, "exactly at the limit");
    assert_eq!(store.prune(START + 2 + 11).expect("prunes"), Pruned { removed: 1, more: false });
    assert_eq!(store.prune(START + 2 * 5 + 11).expect("prunes").removed, 4);
    assert_eq!(canonical_hashes(&store, 9), [6, 7, 8, 9].map(|n| hash(n, 0)));
}

#[test]
fn the_head_outlives_every_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 0, 0);
    store.commit(&extend((1..=3).map(|n| block(n, 0)))).expect("commits");
    store.commit(&Batch { blocks: vec![block(9, 1)], ..Batch::default() }).expect("commits");
    assert_eq!(store.prune(u64::MAX).expect("prunes"), Pruned { removed: 3, more: false });
    assert_eq!(store.recent(9).expect("reads"), [block(3, 0).id()]);
    assert_eq!(store.len().expect("reads"), 1);
}

#[test]
fn one_call_removes_a_bounded_number_and_says_that_more_remain() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 100, u64::MAX);
    store.commit(&extend((1..=2200).map(|n| forked(n, 0, 0, 10)))).expect("commits");
    assert_eq!(store.prune(0).expect("prunes"), Pruned { removed: 1024, more: true });
    assert_eq!(store.prune(0).expect("prunes"), Pruned { removed: 1024, more: true });
    assert_eq!(store.prune(0).expect("prunes"), Pruned { removed: 52, more: false });
    assert_eq!(store.len().expect("reads"), 100);
}

#[test]
fn pruning_in_each_commit_overtakes_any_growth() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 10, u64::MAX);
    for round in 0..3 {
        let batch = extend((1..=1500).map(|n| forked(round * 1500 + n, 0, 0, 10)));
        let committed = store.commit_group(&[batch], Some(0)).expect("commits");
        assert!(!committed.pruned.more);
        assert_eq!(store.len().expect("reads"), 10);
    }
}

#[test]
fn freed_room_is_used_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 20, u64::MAX);
    let mut sizes = Vec::new();
    for number in 1..=300 {
        store.commit_group(&[extend([forked(number, 0, 0, 20_000)])], Some(0)).expect("commits");
        sizes.push(store.size_on_disk().expect("reads"));
    }
    assert_eq!(sizes[100], sizes[299], "the file stops growing");
}

#[test]
fn readers_on_other_threads_see_whole_batches_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend([block(0, 0)])).expect("commits");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while last < 60 {
                let head = store.head().expect("reads").expect("a head");
                // Three blocks a batch.
                assert_eq!(head.number % 3, 0);
                assert!(head.number >= last);
                let read = store.block_by_hash(head.hash).expect("reads");
                assert_eq!(read, Some(block(head.number, 0)));
                last = head.number;
            }
        });
        for batch in 0..20 {
            store.commit(&extend((1..=3).map(|n| block(batch * 3 + n, 0)))).expect("commits");
        }
        reader.join().expect("no panic");
    });
}

/// A plain model of the store: what any sequence of batches must amount to.
#[derive(Default)]
struct Model {
    blocks: std::collections::BTreeMap<(u64, B256), u8>,
    canonical: std::collections::BTreeMap<u64, B256>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sequence_of_batches_ends_as_in_a_plain_model(
        steps in proptest::collection::vec((1u64..12, 0u8..3, any::<bool>(), any::<bool>(), any::<bool>()), 1..25),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks.redb");
        let mut store = limited(&path, 6, u64::MAX);
        let mut model = Model::default();
        for (number, branch, canonical, truncate, restart) in steps {
            let mut batch = Batch { blocks: vec![block(number, branch)], ..Batch::default() };
            model.blocks.insert((number, hash(number, branch)), branch);
            if canonical {
                batch.canonical = vec![(number, hash(number, branch))];
                model.canonical.insert(number, hash(number, branch));
                if truncate {
                    batch.head = Some(number);
                    model.canonical.retain(|at, _| *at <= number);
                }
            }
            store.commit_group(&[batch], Some(0)).expect("commits");
            let head = model.canonical.last_key_value().map(|(number, hash)| (*number, *hash));
            while model.blocks.len() > 6 {
                let Some(lowest) = model.blocks.keys().copied().find(|key| Some(*key) != head) else { break };
                model.blocks.remove(&lowest);
                if model.canonical.get(&lowest.0) == Some(&lowest.1) {
                    model.canonical.remove(&lowest.0);
                }
            }
            if restart {
                drop(store);
                store = limited(&path, 6, u64::MAX);
            }
            prop_assert_eq!(store.len().expect("reads"), model.blocks.len() as u64);
            prop_assert_eq!(canonical_hashes(&store, 99), model.canonical.values().copied().collect::<Vec<_>>());
            for ((number, hash), branch) in &model.blocks {
                prop_assert_eq!(store.block_by_hash(*hash).expect("reads"), Some(block(*number, *branch)));
            }
        }
    }
}
