//! A liar's blocks name a parent that does not exist, and another client proves the true ones.

use super::*;
use crate::chain::BlockId;
use crate::sync::client::Range;

/// A client with two segments. A liar sent the first two blocks of the lower one.
struct Misled {
    client: SegmentClient,
    blocks: Vec<Block>,
    /// Number of the block below the liar's.
    next: u64,
    /// The hash of that block, as the liar's blocks name it.
    lie: B256,
}

impl Misled {
    fn new() -> Self {
        let (blocks, branch) = (chain(200, 0, 50), chain(200, 9, 50));
        let mut client = SegmentClient::new(SegmentClientConfig::new(1));
        client.connected(peer(1));
        client.aim(at(0), Some(Range { wanted: BlockId::of(&blocks[200]), lowest: 1 }));
        let mut lower = None;
        while let Some(step) = client.poll(at(0)) {
            if let SegmentStep::Open { id, request, .. } = step
                && let First::Canonical(number) = request.first
                && lower.is_none()
            {
                lower = Some((id, number));
            }
        }
        let (id, number) = lower.expect("a segment below the frontier");
        let two = [&branch[number as usize], &branch[number as usize - 1]];
        client.received(at(0), id, &packed(two).frame);
        check(&mut client);
        client.received(at(0), id, &End::Limited { retry: Duration::ZERO }.encode());
        Self { client, blocks, next: number - 2, lie: two[1].parent_hash() }
    }

    /// Another client proves all blocks above the next one.
    fn prove(&mut self, millis: u64) {
        for number in (self.next + 1..=200).rev() {
            self.client.proved_elsewhere(at(millis), &self.blocks[number as usize]);
        }
    }

    /// Returns the stream and the first block of the next request for the next block.
    fn asked(&mut self, millis: u64) -> Option<(StreamId, First)> {
        let mut asked = None;
        while let Some(step) = self.client.poll(at(millis)) {
            if let SegmentStep::Open { id, request, .. } = step
                && request.first.number() == self.next
            {
                asked = Some((id, request.first));
            }
        }
        asked
    }

    fn truth(&self) -> First {
        First::Block(BlockId::of(&self.blocks[self.next as usize]))
    }
}

pub(super) fn check(client: &mut SegmentClient) {
    match client.poll(at(0)) {
        Some(SegmentStep::Check(id, work)) => client.checked(at(0), id, work.run()),
        step => panic!("{step:?}"),
    }
}

#[test]
fn the_rest_of_a_lie_is_requested_by_its_true_hash_once_it_is_known() {
    let mut misled = Misled::new();
    misled.prove(0);
    let asked = misled.asked(100).map(|(_, first)| first);
    assert_eq!(asked, Some(misled.truth()));
}

#[test]
fn a_server_that_lacks_what_a_lie_names_is_asked_for_the_true_block_at_once() {
    for proves_first in [false, true] {
        let mut misled = Misled::new();
        let (id, first) = misled.asked(100).expect("it is asked again");
        assert_eq!(first, First::Block(BlockId::new(misled.next, misled.lie)));
        let end = End::NeverHad { highest: 200 }.encode();
        if proves_first {
            misled.prove(100);
            misled.client.received(at(100), id, &end);
        } else {
            misled.client.received(at(100), id, &end);
            misled.prove(100);
        }
        let asked = misled.asked(100).map(|(_, first)| first);
        assert_eq!(asked, Some(misled.truth()), "{proves_first}");
    }
}

#[test]
fn a_server_that_lacks_what_a_refuted_lie_names_does_not_rest() {
    let mut misled = Misled::new();
    // The liar rests.
    misled.client.connected(peer(2));
    let (id, first) = misled.asked(10).expect("another server is asked");
    assert_eq!(first, First::Block(BlockId::new(misled.next, misled.lie)));
    // The liar's blocks turn out not to link.
    for number in (misled.next + 3..=200).rev() {
        misled.client.proved_elsewhere(at(20), &misled.blocks[number as usize]);
    }
    assert_eq!(misled.asked(20), None);
    assert_eq!(misled.client.charges(), 1);
    misled.client.received(at(30), id, &End::NeverHad { highest: 200 }.encode());
    misled.prove(30);
    let asked = misled.asked(40).map(|(_, first)| first);
    assert_eq!(asked, Some(misled.truth()));
}
