//! Reading ranges downwards for peers.

use opp2p_core::chain::BlockId;
use opp2p_core::sync::range::{CHUNK_CONTENTS, First, Next, ReadDone, ReadOrder};
use opp2p_store::Store;

use crate::support::{block, extend, forked, hash, open};

fn order(first: First, blocks: u32) -> ReadOrder {
    ReadOrder { first, blocks, bytes: u64::MAX, held: Vec::new() }
}

fn read(store: &Store, first: First, blocks: u32) -> ReadDone {
    store.read_range(&order(first, blocks)).expect("it reads")
}

const fn by_number(number: u64) -> First {
    First::Canonical(number)
}

fn by_hash(number: u64, branch: u8) -> First {
    First::Block(BlockId::new(number, hash(number, branch)))
}

#[test]
fn a_range_is_read_downwards_as_it_is_stored() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    store.commit(&extend((10..=40).map(|number| block(number, 0)))).expect("commits");

    for first in [by_number(40), by_hash(40, 0)] {
        let done = read(&store, first, 1000);
        // Bodies are the messages without their signatures, after a header of five bytes each.
        let packed = done.packed.expect("there are blocks");
        let blocks = 40 - 10 + 1;
        assert_eq!(
            (packed.blocks, packed.contents),
            (blocks, usize::from(blocks) * (300 - 65 + 5))
        );
        assert_eq!(done.next, Next::NoMore { lowest: 10 });
    }
    let done = read(&store, by_number(40), 5);
    assert_eq!(done.packed.map(|packed| packed.blocks), Some(5));
    assert_eq!(done.next, Next::Block(by_hash(35, 0)));
    let ReadDone { packed, next } = read(&store, by_number(41), 5);
    assert_eq!((packed, next), (None, Next::NeverHad { highest: 40 }));
    let ReadDone { packed, next } = read(&store, by_hash(20, 1), 5);
    assert_eq!((packed, next), (None, Next::NeverHad { highest: 40 }));
    let ReadDone { packed, next } = read(&store, by_number(9), 5);
    assert_eq!((packed, next), (None, Next::NoMore { lowest: 10 }));

    // After a change of the chain, the other branch is read.
    let branch = (30..=33).map(|number| forked(number, 1, u8::from(number > 30), 300));
    store.commit(&extend(branch)).expect("commits");
    assert_eq!(read(&store, by_hash(33, 1), 1000).packed.map(|packed| packed.blocks), Some(24));
    assert_eq!(read(&store, by_hash(33, 0), 1000).next, Next::NeverHad { highest: 33 });
}

#[test]
fn a_chunk_ends_when_it_is_full_and_an_empty_store_has_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    assert_eq!(read(&store, by_number(7), 1).next, Next::NeverHad { highest: 0 });
    store.commit(&extend((1..=9).map(|number| forked(number, 0, 0, 60_000)))).expect("commits");
    let done = read(&store, by_number(9), 100);
    let packed = done.packed.expect("there are blocks");
    assert_eq!(packed.blocks, 4);
    assert!(packed.contents <= CHUNK_CONTENTS);
    assert_eq!(done.next, Next::Block(by_hash(5, 0)));
    let small = ReadOrder { bytes: 1000, ..order(by_number(9), 100) };
    assert_eq!(store.read_range(&small).expect("it reads").next, Next::TooLarge);
}
