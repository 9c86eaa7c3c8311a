//! Orders to read, while the chain of the store changes.

use super::*;
use crate::chain::BlockId;
use std::convert::Infallible;

/// Canonical blocks of a store, lowest first.
struct Stored(Vec<Block>);

impl EncodedBlocks for Stored {
    type Body = alloy_primitives::Bytes;
    type Error = Infallible;

    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Self::Body>>, Infallible> {
        let found = self.0.iter().find(|block| block.number() == number);
        Ok(found.map(|block| Encoded {
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            version: block.version(),
            body: block.body().clone(),
        }))
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Infallible> {
        Ok(self.0.first().zip(self.0.last()).map(|(low, high)| (low.number(), high.number())))
    }
}

/// Returns the number of blocks that are read, and what follows.
fn read(stored: &[Block], first: First, held: &[Block]) -> (u16, Next) {
    let held = held.iter().rev().cloned().collect();
    let order = ReadOrder { first, blocks: 1000, bytes: u64::MAX, held };
    let Ok(done) = order.run(&mut Stored(stored.to_vec()));
    (done.packed.map_or(0, |packed| packed.blocks), done.next)
}

fn parent_of(block: &Block) -> First {
    First::Block(BlockId::new(block.number() - 1, block.parent_hash()))
}

#[test]
fn blocks_that_do_not_link_are_never_read_together() {
    let (old, new) = (chain(30, 0, 50), chain(30, 1, 50));
    // A store in which a change of the chain is half done.
    let mixed = [&old[..20], &new[20..]].concat();
    let below = parent_of(&new[20]);
    assert_eq!(read(&mixed, First::Canonical(30), &[]), (11, Next::Block(below)));
    assert_eq!(read(&mixed, below, &[]), (0, Next::NeverHad { highest: 30 }));
    // The change is deeper than the held blocks, and the store does not have it yet.
    let below = parent_of(&new[25]);
    assert_eq!(read(&old, First::Canonical(30), &new[25..]), (6, Next::Block(below)));
    assert_eq!(read(&new, below, &[]), (25, Next::NoMore { lowest: 0 }));
}

#[test]
fn a_store_that_is_behind_does_not_lack_what_follows() {
    let blocks = chain(30, 0, 50);
    let below = parent_of(&blocks[20]);
    assert_eq!(read(&blocks[..15], First::Canonical(30), &blocks[20..]), (11, Next::Block(below)));
    assert_eq!(read(&blocks[..15], below, &[]), (0, Next::NeverHad { highest: 14 }));
    // Without a store, the held blocks are all.
    let lowest = Next::NoMore { lowest: 20 };
    assert_eq!(read(&[], First::Canonical(30), &blocks[20..]), (11, lowest));
}

#[test]
fn an_answer_that_a_change_of_the_chain_cuts_ends_without_a_lie() {
    let blocks = chain(9, 0, 50);
    let request =
        |first| Request { chain_id: 1, first, blocks: 9, bytes: u64::MAX, codecs: CODECS };
    let gone = ReadDone { packed: None, next: Next::NeverHad { highest: 9 } };
    let mut server = RangeServer::new(RangeServerConfig::new(1));
    let mut ends = Vec::new();
    for (id, sent) in [(RangeServeId(1), 2), (RangeServeId(2), 0)] {
        let asked = Ok(request(First::Canonical(9)));
        server.request(at(0), peer(1), Class::Node, id, asked);
        let mut reads = 0;
        while let Some(step) = server.poll(at(0)) {
            match step {
                RangeServeStep::Read { .. } if reads < sent => {
                    let block = &blocks[9 - reads];
                    let next = Next::Block(parent_of(block));
                    reads += 1;
                    server.read(at(0), id, ReadDone { packed: Some(packed([block])), next });
                }
                RangeServeStep::Read { .. } => server.read(at(0), id, gone.clone()),
                RangeServeStep::Write { .. } => server.written(at(0), id),
                RangeServeStep::End { end, .. } => ends.push(end),
                RangeServeStep::Reset { .. } => unreachable!("it is read"),
            }
        }
    }
    let retry = Duration::from_secs(1);
    assert_eq!(ends, [End::Limited { retry }, End::NeverHad { highest: 9 }]);
}
