//! Damaged stores: every read is right or an error, nothing panics, and a refused file stays
//! unchanged.

use std::fs;
use std::path::Path;

use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Query, Tip};
use opp2p_store::{Store, StoreError};

use crate::support::{block, config, extend, forked, hash, open};

const BLOCKS: u64 = 40;

fn good_store(path: &Path) -> Vec<u8> {
    let store = open(path);
    for number in 1..=BLOCKS {
        store.commit(&extend([forked(number, 0, 0, 1500)])).expect("commits");
    }
    drop(store);
    fs::read(path).expect("reads")
}

/// The header byte that selects the current one of the last two commits, and tells whether the file
/// was closed. No checksum covers it, and both of its values can be valid after a crash, so a
/// flipped bit there may bring back the commit before the last: the only damage that goes
/// unnoticed, and a state that was once valid.
const CURRENT_COMMIT: usize = 9;

/// Opens a damaged file and reads all of it. Returns `true` if it was refused.
fn survive(path: &Path, bytes: &[u8], what: &str) -> bool {
    survive_with_head(path, bytes, what, &[BLOCKS])
}

/// Like [`survive`], with any of `heads` allowed as the head.
fn survive_with_head(path: &Path, bytes: &[u8], what: &str, heads: &[u64]) -> bool {
    fs::write(path, bytes).expect("writes");
    let store = match Store::open(config(path)) {
        Ok(store) => store,
        Err(error) => {
            assert!(
                matches!(
                    error,
                    StoreError::Corrupted { .. }
                        | StoreError::CorruptedBlock { .. }
                        | StoreError::NotAStore { .. }
                ),
                "{what}: {error}"
            );
            assert_eq!(fs::read(path).expect("reads"), bytes, "{what}: a refused file changed");
            return true;
        }
    };
    let head = store.head().expect("was read while opening").expect("a head").number;
    assert!(heads.contains(&head), "{what}: the head is {head}");
    for number in 1..=BLOCKS {
        let expected = (number <= head).then(|| forked(number, 0, 0, 1500));
        for result in [store.block_by_hash(hash(number, 0)), store.canonical_by_number(number)] {
            match result {
                Ok(found) => assert!(found == expected, "{what}: block {number} is another one"),
                Err(error) => assert!(error.to_string().contains("damaged"), "{what}: {error}"),
            }
        }
    }
    store.commit(&extend([block(head + 1, 0)])).expect("a store that opens can be written");
    false
}

#[test]
fn a_truncated_store_is_refused_or_read_correctly() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = good_store(&directory.path().join("good.redb"));
    let path = directory.path().join("cut.redb");
    let lengths =
        (0..good.len()).step_by(2999).chain([1, 8, 9, 10, 100, 4095, 4096, 4097, good.len() - 1]);
    let mut refused = 0;
    for length in lengths {
        refused += u32::from(survive(&path, &good[..length], &format!("cut to {length}")));
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_store_with_changed_bytes_is_refused_or_read_correctly() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = good_store(&directory.path().join("good.redb"));
    let path = directory.path().join("changed.redb");
    // Every byte of the header, every bit of its flags, then samples of every page.
    let places = (0..320).chain((320..good.len()).step_by(2039));
    let mut refused = 0;
    for place in places {
        let flips: &[u8] =
            if place < 16 { &[1, 2, 4, 8, 16, 32, 64, 128, 3, 6, 7] } else { &[0xFF] };
        for flip in flips {
            let mut changed = good.clone();
            changed[place] ^= flip;
            refused += u32::from(survive(&path, &changed, &format!("byte {place} ^ {flip:#x}")));
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_store_with_a_wiped_page_is_refused_or_read_correctly() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = good_store(&directory.path().join("good.redb"));
    let path = directory.path().join("wiped.redb");
    for page in 0..good.len() / 4096 {
        for fill in [0x00, 0x5A] {
            let mut changed = good.clone();
            changed[page * 4096..(page + 1) * 4096].fill(fill);
            survive(&path, &changed, &format!("page {page} filled with {fill:#x}"));
        }
    }
}

#[test]
fn a_store_that_was_not_closed_and_is_damaged_is_refused_or_read_correctly() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, copy) = (directory.path().join("good.redb"), directory.path().join("changed.redb"));
    let store = open(&path);
    for number in 1..=BLOCKS {
        store.commit(&extend([forked(number, 0, 0, 1500)])).expect("commits");
    }
    let unclosed = fs::read(&path).expect("reads");
    assert!(!survive(&copy, &unclosed, "as a kill leaves it"));
    for place in (0..320).chain((320..unclosed.len()).step_by(4099)) {
        let flips: &[u8] =
            if place < 16 { &[1, 2, 4, 8, 16, 32, 64, 128, 3, 6, 7] } else { &[0xFF] };
        for flip in flips {
            let mut changed = unclosed.clone();
            changed[place] ^= flip;
            let heads = if place == CURRENT_COMMIT { [BLOCKS - 1, BLOCKS] } else { [BLOCKS; 2] };
            survive_with_head(&copy, &changed, &format!("byte {place} ^ {flip:#x}"), &heads);
        }
    }
}

/// Stores other bytes through the database, whose own checksums then can't detect the damage.
fn damage_records(path: &Path, hashes: &[B256]) {
    use redb::{Database, ReadableTable, TableDefinition};

    let blocks: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blocks");
    let database = Database::open(path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let mut table = transaction.open_table(blocks).expect("opens");
        for hash in hashes {
            let mut record = table.get(hash.0).expect("reads").expect("is there").value().to_vec();
            let middle = record.len() / 2;
            record[middle] ^= 1;
            table.insert(hash.0, record.as_slice()).expect("inserts");
        }
    }
    transaction.commit().expect("commits");
}

#[test]
fn a_page_ends_before_damaged_records_and_the_next_starts_above_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    good_store(&path);
    let damaged = [hash(7, 0), hash(8, 0), hash(BLOCKS - 1, 0)];
    damage_records(&path, &damaged);
    let store = open(&path);
    let numbers = |query: Query| {
        let page = store.page(query).expect("the rest reads");
        assert_eq!(page.head.map(|head| head.number), Some(BLOCKS));
        page.blocks.iter().map(|block| block.number).collect::<Vec<_>>()
    };
    let after = |number| Query::After(Tip::new(BlockId::new(number, hash(number, 0))));
    assert!(store.damaged().is_empty());
    assert_eq!(numbers(Query::From(1)), (1..=6).collect::<Vec<_>>());
    assert_eq!(numbers(after(6)), (9..BLOCKS - 1).collect::<Vec<_>>());
    assert_eq!(numbers(after(BLOCKS - 2)), [BLOCKS]);
    let mut expected = damaged.to_vec();
    expected.sort_unstable();
    assert_eq!(store.damaged(), expected);
    for number in [7, 8, BLOCKS - 1] {
        store.commit(&extend([forked(number, 0, 0, 1500)])).expect("commits");
    }
    assert!(store.damaged().is_empty());
    assert_eq!(numbers(Query::From(1)).len(), 32);
}

#[test]
fn a_damaged_record_is_reported_with_its_block_and_healed_by_storing_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    good_store(&path);
    let damaged = hash(7, 0);
    damage_records(&path, &[damaged]);
    let store = open(&path);
    for result in [store.block_by_hash(damaged), store.canonical_by_number(7)] {
        let error = result.expect_err("damaged");
        assert!(
            matches!(error, StoreError::CorruptedBlock { hash, .. } if hash == damaged),
            "{error}"
        );
        assert!(error.to_string().contains(&damaged.to_string()), "{error}");
    }
    assert_eq!(store.block_by_hash(hash(8, 0)).expect("reads"), Some(forked(8, 0, 0, 1500)));
    store.commit(&extend([forked(7, 0, 0, 1500)])).expect("commits");
    assert_eq!(store.block_by_hash(damaged).expect("reads"), Some(forked(7, 0, 0, 1500)));
    assert_eq!(store.len().expect("reads"), BLOCKS);
}

#[test]
fn a_store_with_a_damaged_head_is_refused() {
    use redb::{Database, TableDefinition};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    good_store(&path);
    let blocks: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blocks");
    let head = hash(BLOCKS, 0);
    for value in [Some(b"nonsense".as_slice()), None] {
        {
            let database = Database::open(&path).expect("opens");
            let transaction = database.begin_write().expect("begins");
            {
                let mut table = transaction.open_table(blocks).expect("opens");
                match value {
                    Some(value) => drop(table.insert(head.0, value).expect("inserts")),
                    None => drop(table.remove(head.0).expect("removes")),
                }
            }
            transaction.commit().expect("commits");
        }
        let before = fs::read(&path).expect("reads");
        let error = Store::open(config(&path)).expect_err("refused");
        assert!(
            matches!(error, StoreError::CorruptedBlock { hash, .. } if hash == head),
            "{error}"
        );
        assert_eq!(fs::read(&path).expect("reads"), before);
    }
}

#[cfg(unix)]
#[test]
fn damage_while_the_store_is_open_is_an_error_not_a_panic() {
    use std::os::unix::fs::FileExt;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    // More than the page cache holds, so that pages are read from the file again.
    let size = 100_000;
    let count = 300;
    let store = open(&path);
    for first in (1..=count).step_by(50) {
        store.commit(&extend((first..first + 50).map(|n| forked(n, 0, 0, size)))).expect("commits");
    }
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
    let end = file.metadata().expect("about").len();
    let noise: Vec<u8> =
        (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    // Everything except the header's page.
    for at in (4096..end).step_by(4096) {
        file.write_all_at(&noise, at).expect("writes");
    }
    let mut failed = 0;
    for number in 1..=count {
        match store.block_by_hash(hash(number, 0)) {
            Ok(found) => assert_eq!(found, Some(forked(number, 0, 0, size)), "{number}"),
            Err(error) => {
                failed += 1;
                assert!(error.to_string().contains("damaged"), "{error}");
            }
        }
    }
    assert!(failed > 0);
    let error = store.commit(&extend([block(count + 1, 0)])).expect_err("damaged");
    assert!(error.to_string().contains("damaged"), "{error}");
}
