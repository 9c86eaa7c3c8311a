//! Salvage: every intact block of a damaged file, and no other.

use std::fs;
use std::path::Path;

use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use opp2p_store::{Batch, Salvaged, Store, StoreError};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::open;
use crate::transfer::{chain, hashes, hashes_of, stored, with};

const PAGE: usize = 4096;

/// Salvages this file, and verifies the new store.
fn salvage(place: &Path, bytes: &[u8]) -> (Store, Salvaged) {
    let damaged = place.join("damaged");
    fs::write(&damaged, bytes).expect("writes");
    let _ = fs::remove_file(place.join("new"));
    let store = open(&place.join("new"));
    let salvaged = store.salvage(&damaged).expect("salvages");
    assert!(fs::read(&damaged).expect("reads") == bytes, "the file is only read");
    let verified = store.verify().expect("reads");
    assert_eq!((verified.defects, verified.holes), (0, salvaged.holes), "{verified:?}");
    assert_eq!((verified.blocks, verified.canonical), (salvaged.blocks, salvaged.blocks));
    (store, salvaged)
}

/// A store of blocks 0 to 200 with a branch, a memory, and signed blocks that wait.
fn good(place: &Path) -> (Vec<Block>, Vec<u8>) {
    let blocks = chain(230, 0);
    let path = place.join("good");
    let store = with(&path, &blocks[..=200]);
    let branch = chain(190, 1).split_off(190);
    let waiting = blocks[220..].iter().map(stored).collect();
    store
        .commit(&Batch {
            blocks: branch.iter().map(stored).collect(),
            pending: waiting,
            memory: vec![(b"peer".to_vec(), Some(b"banned".to_vec()))],
            ..Batch::default()
        })
        .expect("commits");
    drop(store);
    let bytes = fs::read(path).expect("reads");
    (blocks, bytes)
}

#[test]
fn all_of_an_intact_store_is_salvaged() {
    let place = tempfile::tempdir().expect("a directory");
    let (blocks, bytes) = good(place.path());
    let (store, salvaged) = salvage(place.path(), &bytes);
    assert_eq!(hashes(&store), hashes_of(&blocks[..=200]));
    assert_eq!(salvaged.highest, Some(BlockId::of(&blocks[200])), "the tables name the head");
    assert_eq!((salvaged.blocks, salvaged.left_out, salvaged.holes), (201, 12, 0));
    assert_eq!((salvaged.damaged, salvaged.unreadable, salvaged.memory), (0, 0, Some(1)));
    assert_eq!(store.memory().expect("reads"), [(b"peer".to_vec(), b"banned".to_vec())]);
    let original = stored(&blocks[7]);
    assert_eq!(store.block_by_hash(original.hash).expect("reads"), Some(original));
}

#[test]
fn blocks_are_found_without_the_tables() {
    let place = tempfile::tempdir().expect("a directory");
    let (blocks, mut bytes) = good(place.path());
    bytes[..PAGE].fill(0);
    let refused = Store::owner(&{
        let path = place.path().join("zeros");
        fs::write(&path, &bytes).expect("writes");
        path
    });
    assert!(matches!(refused, Err(StoreError::NotAStore { .. })), "{refused:?}");
    let (store, salvaged) = salvage(place.path(), &bytes);
    // Without tables, pending blocks above the hole count as canonical.
    let expected = [hashes_of(&blocks[..=200]), hashes_of(&blocks[220..])].concat();
    assert_eq!(hashes(&store), expected);
    assert_eq!((salvaged.holes, salvaged.left_out, salvaged.memory), (1, 1, None));
}

#[test]
fn what_is_left_of_a_cut_file_is_salvaged() {
    let place = tempfile::tempdir().expect("a directory");
    let (_, bytes) = good(place.path());
    let mut counts = Vec::new();
    for part in 0..=8 {
        let (_, salvaged) = salvage(place.path(), &bytes[..bytes.len() * part / 8]);
        counts.push(salvaged.blocks + salvaged.left_out);
    }
    assert_eq!((counts[0], counts[8]), (0, 213));
    assert!(counts.is_sorted() && counts[4] > 0, "{counts:?}");
}

#[test]
fn a_store_in_use_is_not_salvaged() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("used");
    let _used = with(&path, &chain(3, 0));
    let refused = open(&place.path().join("new")).salvage(&path);
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_damage_costs_only_the_blocks_that_it_hits(
        hits in prop::collection::vec((any::<Index>(), 1..3 * PAGE, any::<u8>()), 1..12),
    ) {
        let place = tempfile::tempdir().expect("a directory");
        let (blocks, mut bytes) = good(place.path());
        let mut lost = 0;
        for (at, length, value) in hits {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(value);
            // A record of these blocks has about a hundred bytes, and at least ten.
            lost += length / 100 + 2;
        }
        let (store, salvaged) = salvage(place.path(), &bytes);
        let intact = salvaged.blocks + salvaged.left_out;
        prop_assert!(intact as usize + lost >= 213, "{intact} and {lost}");
        for hash in hashes(&store) {
            prop_assert!(blocks.iter().any(|block| block.hash() == hash));
        }
    }
}
