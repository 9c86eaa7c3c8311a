//! Retention and order of blocks.

use std::time::Duration;

use alloy_primitives::B256;
use opp2p_store::{Batch, BatchError, MAX_MESSAGE_BYTES, Pruned, Store, StoreConfig, StoreError};
use proptest::prelude::*;

use crate::support::{block, config, extend, forked, hash, open};

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
fn a_block_is_read_back_unchanged_by_hash_and_by_number() {
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
fn a_reorg_to_a_lower_head_removes_canonical_blocks_above() {
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
fn the_lowest_block_is_the_lowest_stored_canonical_one() {
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
    store.prune().expect("prunes");
    assert_eq!(store.lowest().expect("reads"), Some(block(8, 0)));
}

#[test]
fn a_stored_block_becomes_canonical_without_being_stored_again() {
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

    let unknown =
        Batch { canonical: vec![(2, hash(2, 0)), (3, hash(3, 0))], ..extend([block(2, 0)]) };
    assert_eq!(refused(&store, &unknown), BatchError::UnknownBlock { number: 3, hash: hash(3, 0) });

    let wrong_number = Batch { canonical: vec![(7, hash(1, 0))], ..Batch::default() };
    assert_eq!(
        refused(&store, &wrong_number),
        BatchError::UnknownBlock { number: 7, hash: hash(1, 0) }
    );

    let in_batch =
        Batch { canonical: vec![(7, hash(2, 0))], blocks: vec![block(2, 0)], ..Batch::default() };
    assert_eq!(
        refused(&store, &in_batch),
        BatchError::UnknownBlock { number: 7, hash: hash(2, 0) }
    );

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
    let committed = store
        .commit_group(&[extend([block(1, 0)]), bad, extend([block(2, 0)])], false)
        .expect("commits");
    assert_eq!(
        committed.batches,
        [Ok(()), Err(BatchError::HeadNotCanonical { number: 9 }), Ok(())]
    );
    assert_eq!(canonical_hashes(&store, 9), [hash(1, 0), hash(2, 0)]);
}

#[test]
fn a_later_batch_of_a_group_builds_on_an_earlier_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    let put = Batch { blocks: vec![block(1, 0)], ..Batch::default() };
    let choose = Batch { canonical: vec![(1, hash(1, 0))], head: Some(1), ..Batch::default() };
    let committed = store.commit_group(&[put, choose], false).expect("commits");
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
    store
        .commit(&Batch { blocks: vec![block(2, 1), block(8, 1)], ..Batch::default() })
        .expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 7, more: false });
    assert_eq!(store.len().expect("reads"), 4);
    assert_eq!(canonical_hashes(&store, 9), [7, 8, 9].map(|n| hash(n, 0)));
    assert_eq!(store.block_by_hash(hash(8, 1)).expect("reads"), Some(block(8, 1)));
    assert_eq!(store.block_by_hash(hash(6, 0)).expect("reads"), None);
    assert_eq!(store.canonical_by_number(6).expect("reads"), None);
    assert_eq!(store.prune().expect("prunes"), Pruned::default());
}

/// Opens a store with this size limit in bytes.
fn of_bytes(path: &std::path::Path, max_bytes: u64) -> Store {
    Store::open(StoreConfig { max_bytes, ..config(path) }).expect("opens")
}

#[test]
fn retention_by_bytes_removes_the_lowest_numbers() {
    let directory = tempfile::tempdir().expect("a directory");
    // Records of a little more than 60,000 bytes take 64 KiB each.
    let store = of_bytes(&directory.path().join("blocks.redb"), 3 * 65_536);
    store.commit(&extend((1..=9).map(|n| forked(n, 0, 0, 60_000)))).expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 6, more: false });
    assert_eq!(canonical_hashes(&store, 9), [7, 8, 9].map(|n| hash(n, 0)));
    assert_eq!(store.prune().expect("prunes"), Pruned::default());
    // Rewritten or removed blocks are not counted twice.
    for _ in 0..3 {
        store.commit(&extend([forked(9, 0, 0, 60_000)])).expect("commits");
    }
    assert_eq!(store.prune().expect("prunes"), Pruned::default());
    store.commit(&extend([forked(10, 0, 0, 100)])).expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 1, more: false });
}

#[test]
fn the_byte_bound_holds_across_restarts_and_for_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let bound = 8_000_000;
    for round in 0..4_u64 {
        let store = of_bytes(&path, bound);
        for number in 1..=40 {
            let size = 20_000 + usize::try_from(number).expect("small") * 3000;
            let batch = extend([forked(round * 40 + number, 0, 0, size)]);
            store.commit_group(&[batch], true).expect("commits");
        }
        let size = store.size_on_disk().expect("reads");
        // The file doubles when it grows, and the tables come on top.
        assert!(size < bound * 3, "{size} bytes in round {round}");
        assert!(store.len().expect("reads") >= 40);
    }
}

#[test]
fn pending_blocks_do_not_count_against_the_room_of_the_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = of_bytes(&directory.path().join("blocks.redb"), 4 * 65_536);
    let pending = (20..30).map(|n| forked(n, 0, 0, 60_000)).collect();
    store.commit(&Batch { pending, ..Batch::default() }).expect("commits");
    store.commit(&extend((1..=3).map(|n| forked(n, 0, 0, 60_000)))).expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned::default());
}

#[test]
fn retention_by_age_removes_only_blocks_beyond_the_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), u64::MAX, 10);
    store.commit(&extend((1..=9).map(|n| block(n, 0)))).expect("commits");
    // The head was made 18 s after block 0, and block 4 is exactly at the limit.
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 3, more: false });
    assert_eq!(canonical_hashes(&store, 9), [4, 5, 6, 7, 8, 9].map(|n| hash(n, 0)));
    assert_eq!(store.prune().expect("prunes"), Pruned::default());
    store.commit(&extend([block(10, 0)])).expect("commits");
    assert_eq!(store.prune().expect("prunes").removed, 1);
}

#[test]
fn the_head_is_kept_beyond_every_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 0, 0);
    store.commit(&extend((1..=3).map(|n| block(n, 0)))).expect("commits");
    store.commit(&Batch { blocks: vec![block(9, 1)], ..Batch::default() }).expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 3, more: false });
    assert_eq!(store.recent(9).expect("reads"), [block(3, 0).id()]);
    assert_eq!(store.len().expect("reads"), 1);
}

#[test]
fn a_block_stored_again_after_retention_keeps_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 3, u64::MAX);
    store.commit(&extend((1..=4).map(|n| block(n, 0)))).expect("commits");
    assert_eq!(store.prune().expect("prunes").removed, 1);
    let again = Batch { blocks: vec![block(1, 0)], ..Batch::default() };
    store.commit(&again).expect("commits");
    assert_eq!(canonical_hashes(&store, 9), [1, 2, 3, 4].map(|n| hash(n, 0)));
    // Left and stored again in one batch, it is an abandoned block, which retention removes first.
    assert_eq!(store.prune().expect("prunes").removed, 1);
    store.commit(&Batch { cut: Some(1), ..again }).expect("commits");
    assert_eq!(store.prune().expect("prunes").removed, 1);
    assert_eq!(store.block_by_hash(hash(1, 0)).expect("reads"), None);
    assert_eq!(store.block_by_hash(hash(2, 0)).expect("reads"), Some(block(2, 0)));
}

#[test]
fn one_prune_removes_a_bounded_number_and_reports_that_more_remain() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 100, u64::MAX);
    store.commit(&extend((1..=2200).map(|n| forked(n, 0, 0, 10)))).expect("commits");
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 1024, more: true });
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 1024, more: true });
    assert_eq!(store.prune().expect("prunes"), Pruned { removed: 52, more: false });
    assert_eq!(store.len().expect("reads"), 100);
}

#[test]
fn pruning_in_each_commit_overtakes_any_growth() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = limited(&directory.path().join("blocks.redb"), 10, u64::MAX);
    for round in 0..3 {
        let batch = extend((1..=1500).map(|n| forked(round * 1500 + n, 0, 0, 10)));
        let committed = store.commit_group(&[batch], true).expect("commits");
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
        store.commit_group(&[extend([forked(number, 0, 0, 20_000)])], true).expect("commits");
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
                // Three blocks per batch.
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

/// A simple model of the store: the expected result of any sequence of batches.
#[derive(Default)]
struct Model {
    blocks: std::collections::BTreeMap<(u64, B256), u8>,
    /// Canonical positions, whether or not their blocks are stored.
    chain: std::collections::BTreeMap<u64, B256>,
    /// Positions that only a child names.
    named: std::collections::BTreeSet<u64>,
    /// Stored blocks that were canonical.
    left: std::collections::BTreeSet<(u64, B256)>,
    /// Blocks that were canonical and are no longer stored.
    gone: std::collections::BTreeSet<(u64, B256)>,
}

impl Model {
    const KEPT: usize = 6;

    fn canonical(&self) -> Vec<(u64, B256)> {
        let positions = self.chain.iter().map(|(number, hash)| (*number, *hash));
        let is_stored = |position: &(u64, B256)| {
            !self.named.contains(&position.0) && self.blocks.contains_key(position)
        };
        positions.filter(is_stored).collect()
    }

    fn leave(&mut self, numbers: impl std::ops::RangeBounds<u64>) {
        let gone: Vec<_> = self.chain.range(numbers).map(|(at, hash)| (*at, *hash)).collect();
        for (number, hash) in gone {
            self.chain.remove(&number);
            let is_stored = self.blocks.contains_key(&(number, hash));
            let was_named = self.named.remove(&number);
            match is_stored && !was_named {
                true => self.left.insert((number, hash)),
                false => self.gone.insert((number, hash)),
            };
        }
    }

    fn put(&mut self, number: u64, branch: u8) {
        let key = (number, hash(number, branch));
        self.blocks.insert(key, branch);
        if self.gone.remove(&key) {
            self.left.insert(key);
        }
    }

    fn remove(&mut self, key: (u64, B256)) {
        self.blocks.remove(&key);
        if self.left.remove(&key) {
            self.gone.insert(key);
        }
    }

    fn put_canonical(&mut self, number: u64, branch: u8) {
        let own = hash(number, branch);
        let before = self.chain.get(&number).copied();
        if before.is_some_and(|before| before != own) {
            self.leave(number..);
        }
        self.chain.insert(number, own);
        self.named.remove(&number);
        self.left.remove(&(number, own));
        self.gone.remove(&(number, own));
        let child = self.chain.get(&(number + 1)).map(|child| (number + 1, *child));
        let of_child = child.and_then(|child| self.blocks.get(&child));
        if before.is_none() && of_child.is_some_and(|of_child| hash(number, *of_child) != own) {
            self.leave(number + 1..);
        }
        let Some(below) = number.checked_sub(1) else { return };
        let parent = hash(below, branch);
        if self.chain.get(&below).is_some_and(|below| *below != parent) {
            self.leave(..=below);
        }
        if self.chain.insert(below, parent).is_none() {
            self.named.insert(below);
        }
    }

    fn prune(&mut self) {
        let kept = self.blocks.len();
        let mut excess = kept.saturating_sub(Self::KEPT);
        let surplus = (kept - self.canonical().len()).saturating_sub(kept / 4).min(excess);
        let lowest_left: Vec<_> = self.left.iter().copied().take(surplus).collect();
        for key in lowest_left {
            excess -= 1;
            self.remove(key);
        }
        let head = self.canonical().last().copied();
        let lowest: Vec<_> = self.blocks.keys().copied().filter(|key| Some(*key) != head).collect();
        for key in lowest.into_iter().take(excess) {
            self.remove(key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sequence_of_batches_matches_a_plain_model(
        steps in proptest::collection::vec(
            (1u64..12, 0u8..3, any::<bool>(), any::<bool>(), 0u8..4), 1..25,
        ),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks.redb");
        let mut store = limited(&path, Model::KEPT as u64, u64::MAX);
        let mut model = Model::default();
        for (number, branch, canonical, truncate, what) in steps {
            let mut batch = Batch { blocks: vec![block(number, branch)], ..Batch::default() };
            model.put(number, branch);
            if what == 1 {
                batch.cut = Some(number);
                model.leave(number..);
            }
            if canonical {
                batch.canonical = vec![(number, hash(number, branch))];
                model.put_canonical(number, branch);
                if truncate {
                    batch.head = Some(number);
                    model.leave(number + 1..);
                }
            }
            store.commit_group(&[batch], true).expect("commits");
            model.prune();
            let restart = what == 0;
            if restart {
                drop(store);
                store = limited(&path, Model::KEPT as u64, u64::MAX);
            }
            prop_assert_eq!(store.len().expect("reads"), model.blocks.len() as u64);
            let canonical: Vec<B256> =
                model.canonical().into_iter().map(|(_, hash)| hash).collect();
            prop_assert_eq!(canonical_hashes(&store, 99), canonical);
            let head = store.canonical_head().expect("reads").map(|head| (head.number, head.hash));
            prop_assert_eq!(
                head, model.chain.last_key_value().map(|(number, hash)| (*number, *hash))
            );
            for ((number, hash), branch) in &model.blocks {
                prop_assert_eq!(
                    store.block_by_hash(*hash).expect("reads"), Some(block(*number, *branch))
                );
            }
        }
    }
}
