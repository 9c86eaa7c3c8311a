//! Rewinds of the chain to another branch: the canonical blocks, the memory of the abandoned ones,
//! and its retention.

use std::time::Duration;

use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, Span};
use opp2p_core::feed::{Query, Tip, Way};
use opp2p_store::{Batch, Store, StoreConfig};

use crate::support::{config, extend, forked, hash, open};

fn id(number: u64, branch: u8) -> BlockId {
    BlockId::new(number, hash(number, branch))
}

fn rewind(to: u64) -> Batch {
    Batch { cut: Some(to + 1), ..Batch::default() }
}

fn way(store: &Store, tip: BlockId) -> Way {
    store.page(Query::After(Tip::new(tip))).expect("reads").way
}

fn canonical(store: &Store, number: u64) -> Option<B256> {
    store.canonical_by_number(number).expect("reads").map(|block| block.hash)
}

fn small(number: u64, branch: u8, parent_branch: u8) -> opp2p_store::StoredBlock {
    forked(number, branch, parent_branch, 10)
}

#[test]
fn a_rewind_of_any_depth_leaves_one_chain_and_names_the_ancestor() {
    for depth in [1, 8, 300, 20_000] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks.redb");
        let store = open(&path);
        let head = depth + 5;
        store.commit(&extend((1..=head).map(|n| small(n, 0, 0)))).expect("commits");
        store.commit(&rewind(5)).expect("commits");
        drop(store);
        let store = open(&path);
        assert_eq!(store.canonical_head().expect("reads"), Some(id(5, 0)));
        assert_eq!(store.head().expect("reads").map(|head| head.number), Some(5));
        assert_eq!(canonical(&store, 6), None);
        assert_eq!(canonical(&store, head), None);
        let abandoned: Vec<BlockId> = (6..=head).map(|number| id(number, 0)).collect();
        let expected = Way::To { ancestor: id(5, 0), abandoned: Span::of(&abandoned) };
        assert_eq!(way(&store, id(head, 0)), expected);
        let half = Span::of(&abandoned[..abandoned.len().div_ceil(2)]);
        let tip = half.highest().expect("a block");
        assert_eq!(way(&store, tip), Way::To { ancestor: id(5, 0), abandoned: half });
        // The new branch is still lower.
        store.commit(&extend([small(6, 1, 0), small(7, 1, 1)])).expect("commits");
        assert_eq!(canonical(&store, 6), Some(hash(6, 1)));
        assert_eq!(canonical(&store, 8), None);
        assert_eq!(way(&store, id(head, 0)), expected);
        let old = store.block_by_hash(hash(head, 0)).expect("reads");
        assert_eq!(old, Some(small(head, 0, 0)), "abandoned blocks stay readable");
    }
}

#[test]
fn the_chain_can_return_to_an_abandoned_branch() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend((1..=9).map(|n| small(n, 0, 0)))).expect("commits");
    store.commit(&rewind(4)).expect("commits");
    store.commit(&extend((5..=6).map(|n| small(n, 1, u8::from(n > 5))))).expect("commits");
    store.commit(&rewind(4)).expect("commits");
    let again = Batch { canonical: vec![(5, hash(5, 0)), (6, hash(6, 0))], ..Batch::default() };
    store.commit(&again).expect("commits");
    assert_eq!(way(&store, id(6, 0)), Way::To { ancestor: id(6, 0), abandoned: Span::default() });
    let left = Span::of(&[id(5, 1), id(6, 1)]);
    assert_eq!(way(&store, id(6, 1)), Way::To { ancestor: id(4, 0), abandoned: left });
    let left = Span::of(&[id(7, 0), id(8, 0)]);
    assert_eq!(way(&store, id(8, 0)), Way::To { ancestor: id(6, 0), abandoned: left });
}

#[test]
fn a_fully_abandoned_chain_has_no_canonical_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    store.commit(&extend((1..=9).map(|n| small(n, 0, 0)))).expect("commits");
    store.commit(&Batch { cut: Some(0), ..Batch::default() }).expect("commits");
    assert_eq!(store.canonical_head().expect("reads"), None);
    store.commit(&extend([small(7, 1, 1)])).expect("commits");
    drop(store);
    let store = open(&path);
    assert_eq!(store.canonical_head().expect("reads"), Some(id(7, 1)));
    for number in [1, 6, 8, 9] {
        assert_eq!(canonical(&store, number), None, "{number}");
    }
    assert_eq!(store.lowest().expect("reads").map(|block| block.hash), Some(hash(7, 1)));
    assert_eq!(way(&store, id(9, 0)), Way::Lost);
    assert_eq!(way(&store, id(9, 3)), Way::Unknown { may_come: true });
    assert_eq!(way(&store, id(3, 3)), Way::Unknown { may_come: false });
    assert_eq!(store.block_by_hash(hash(3, 0)).expect("reads"), Some(small(3, 0, 0)));
    // The parent is known by its hash alone.
    assert_eq!(store.canonical_ids(7, 9).expect("reads"), [id(7, 1), id(6, 1)]);
}

#[test]
fn a_block_that_does_not_build_on_the_one_below_ends_the_branch_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend((1..=9).map(|n| small(n, 0, 0)))).expect("commits");
    // Blocks 5 and 6 of another branch were lost; 7 comes.
    store.commit(&Batch { head: Some(7), ..extend([small(7, 1, 1)]) }).expect("commits");
    for number in [1, 5, 6, 8, 9] {
        assert_eq!(canonical(&store, number), None, "{number}");
    }
    assert_eq!(way(&store, id(9, 0)), Way::Lost);
    // The chain below a hole is unknown.
    store.commit(&extend([small(9, 1, 1)])).expect("commits");
    assert_eq!(canonical(&store, 7), Some(hash(7, 1)));
    let known = [id(9, 1), id(8, 1), id(7, 1), id(6, 1)];
    assert_eq!(store.canonical_ids(9, 9).expect("reads"), known);
    // It is filled, by a block of another branch and by the right one.
    store.commit(&extend([small(8, 2, 1)])).expect("commits");
    assert_eq!((canonical(&store, 8), canonical(&store, 9)), (Some(hash(8, 2)), None));
    store.commit(&extend([small(8, 1, 1), small(9, 1, 1)])).expect("commits");
    let chain = [id(9, 1), id(8, 1), id(7, 1), id(6, 1)];
    assert_eq!(store.canonical_ids(9, 9).expect("reads"), chain);
}

fn few(path: &std::path::Path, max_blocks: u64) -> Store {
    Store::open(StoreConfig { max_blocks, ..config(path) }).expect("opens")
}

#[test]
fn a_rewind_below_the_lowest_stored_block_still_finds_its_ancestor() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = few(&path, 10);
    for number in 1..=60 {
        store.commit_group(&[extend([small(number, 0, 0)])], true).expect("commits");
    }
    assert_eq!(store.lowest().expect("reads").map(|block| block.number), Some(51));
    let ids = store.canonical_ids(60, 1000).expect("reads");
    let expected: Vec<BlockId> = (1..=60).rev().map(|number| id(number, 0)).collect();
    assert_eq!(ids[..60], expected, "positions are remembered without their blocks");
    assert_eq!(store.canonical_ids(30, 3).expect("reads"), expected[30..33]);
    store.commit(&rewind(20)).expect("commits");
    drop(store);
    let store = few(&path, 10);
    assert_eq!(store.canonical_head().expect("reads"), Some(id(20, 0)));
    assert_eq!(store.head().expect("reads"), None, "no canonical block is stored");
    let abandoned: Vec<BlockId> = (21..=60).map(|number| id(number, 0)).collect();
    let expected = Way::To { ancestor: id(20, 0), abandoned: Span::of(&abandoned) };
    assert_eq!(way(&store, id(60, 0)), expected);
    for number in 21..=40 {
        let parent = u8::from(number > 21);
        store.commit_group(&[extend([small(number, 1, parent)])], true).expect("commits");
        assert_eq!(way(&store, id(60, 0)), expected);
    }
    assert_eq!(store.len().expect("reads"), 10);
    assert_eq!(store.lowest().expect("reads").map(|block| block.number), Some(33));
}

#[test]
fn abandoned_blocks_take_at_most_a_quarter_of_the_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = few(&directory.path().join("blocks.redb"), 40);
    store.commit_group(&[extend((1..=40).map(|n| small(n, 0, 0)))], true).expect("commits");
    store.commit(&rewind(10)).expect("commits");
    for number in 11..=30 {
        let parent = u8::from(number > 11);
        store.commit_group(&[extend([small(number, 1, parent)])], true).expect("commits");
        assert_eq!(store.len().expect("reads"), 40);
        assert_eq!(store.lowest().expect("reads").map(|block| block.number), Some(1));
    }
    // Now the lowest blocks are removed, as usual.
    store.commit_group(&[extend([small(31, 1, 1)])], true).expect("commits");
    assert_eq!(store.lowest().expect("reads").map(|block| block.number), Some(2));
    // The removed ones are still known.
    let abandoned: Vec<BlockId> = (11..=40).map(|number| id(number, 0)).collect();
    let expected = Way::To { ancestor: id(10, 0), abandoned: Span::of(&abandoned) };
    assert_eq!(way(&store, id(40, 0)), expected);
    assert_eq!(store.block_by_hash(hash(11, 0)).expect("reads"), None);
    assert!(store.block_by_hash(hash(40, 0)).expect("reads").is_some());
}

#[test]
fn old_abandoned_blocks_expire_however_low_the_chain_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let limits = StoreConfig { max_age: Duration::from_secs(100), ..config(&path) };
    let store = Store::open(limits).expect("opens");
    store.commit(&extend((100..=120).map(|n| small(n, 0, 0)))).expect("commits");
    let mut young = small(50, 1, 1);
    young.timestamp += 1_000;
    let leave = Batch { cut: Some(0), ..extend([young]) };
    store.commit_group(&[leave], true).expect("commits");
    assert_eq!(store.len().expect("reads"), 1);
    assert_eq!(canonical(&store, 50), Some(hash(50, 1)));
}

#[test]
fn a_rewind_below_skipped_blocks_finds_its_ancestor() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("blocks.redb"));
    store.commit(&extend((1..=9).map(|n| small(n, 0, 0)))).expect("commits");
    // 10 and 11 were never received.
    store.commit(&extend((12..=15).map(|n| small(n, 0, 0)))).expect("commits");
    store.commit(&rewind(6)).expect("commits");
    let left = [7, 8, 9, 12, 13, 14, 15].map(|number| id(number, 0));
    let expected = Way::To { ancestor: id(6, 0), abandoned: Span::of(&left) };
    assert_eq!(way(&store, id(15, 0)), expected);
}
