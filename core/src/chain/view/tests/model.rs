//! Tests of the view against a naive model, and of invariants for any input.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::follower::{Block, Follower, at, id};
use super::*;

const GENESIS_HASH: u8 = 0xee;

fn wide() -> ChainViewConfig {
    ChainViewConfig {
        max_blocks: usize::MAX,
        max_bytes: usize::MAX,
        max_ahead: u64::MAX,
        ..ChainViewConfig::default()
    }
}

/// Generates a tree of blocks above a genesis block that is not part of it. Each block's parent is
/// one of the few blocks before it.
fn tree(max: usize, spread: usize) -> impl Strategy<Value = (BlockId, Vec<Block>)> {
    let genesis = select(vec![0, 1, 1_000_000, u64::MAX - 200]);
    (genesis, prop::collection::vec((0..spread, 0..300_usize), 1..max)).prop_map(
        |(genesis, shape)| {
            let genesis = id(GENESIS_HASH, genesis);
            let mut blocks: Vec<Block> = Vec::new();
            for (i, (back, size)) in shape.into_iter().enumerate() {
                let parent = i.checked_sub(back + 1).map_or(genesis, |parent| blocks[parent].id);
                let mut hash = id(1, i as u64).hash;
                // The arrival, not the hash, must decide between equals.
                hash.0[1] = (i as u8).wrapping_mul(97);
                blocks.push(Block {
                    id: BlockId::new(parent.number + 1, hash),
                    parent: parent.hash,
                    size,
                });
            }
            (genesis, blocks)
        },
    )
}

/// Generates the tree's blocks in any order, some of them twice.
fn arrivals(max: usize, spread: usize) -> impl Strategy<Value = (BlockId, Vec<Block>)> {
    tree(max, spread).prop_flat_map(|(genesis, blocks)| {
        let again = prop::collection::vec(any::<Index>(), 0..blocks.len());
        let order = again.prop_flat_map(move |again| {
            let extra = again.iter().map(|index| *index.get(&blocks));
            Just(blocks.iter().copied().chain(extra).collect::<Vec<_>>()).prop_shuffle()
        });
        order.prop_map(move |order| (genesis, order))
    })
}

/// All blocks that arrived. They are searched again for each new block.
struct Naive {
    genesis: BlockId,
    head: BlockId,
    arrived: Vec<Block>,
}

impl Naive {
    fn insert(&mut self, block: Block) {
        if self.arrived.contains(&block) {
            return;
        }
        self.arrived.push(block);
        let mut best = self.head;
        for block in &self.arrived {
            if block.id.number > best.number && self.links(block) {
                best = block.id;
            }
        }
        self.head = best;
    }

    fn links(&self, block: &Block) -> bool {
        let mut parent = block.parent;
        while parent != self.genesis.hash {
            let Some(block) = self.arrived.iter().find(|block| block.id.hash == parent) else {
                return false;
            };
            parent = block.parent;
        }
        true
    }

    fn chain(&self) -> Vec<BlockId> {
        let mut chain = Vec::new();
        let mut hash = self.head.hash;
        while let Some(block) = self.arrived.iter().find(|block| block.id.hash == hash) {
            chain.push(block.id);
            hash = block.parent;
        }
        chain.push(self.genesis);
        chain.reverse();
        chain
    }
}

proptest! {
    #[test]
    fn the_head_is_the_highest_linked_block_that_came_first((genesis, order) in arrivals(40, 5)) {
        let mut view = ChainView::resume(at(0), wide(), genesis, [], []);
        let mut follower = Follower::at(genesis);
        let mut naive = Naive { genesis, head: genesis, arrived: Vec::new() };
        for block in order {
            let known = naive.arrived.contains(&block);
            let before = view.blocks();
            let inserted = view.insert(at(0), block, Origin::Signed);
            prop_assert_eq!(inserted == Inserted::Known, known);
            prop_assert_eq!(view.blocks(), before + usize::from(!known));
            follower.drain(&mut view);
            naive.insert(block);
            prop_assert_eq!(view.head(), Some(naive.head));
            prop_assert_eq!(&follower.chain, &naive.chain());
        }
        // No block is missing at the end.
        prop_assert!(follower.gaps.is_empty() && follower.skips.is_empty());
        let mut heights: Vec<u64> = naive.arrived.iter().map(|block| block.id.number).collect();
        heights.sort_unstable();
        heights.dedup();
        prop_assert_eq!(follower.equivocations.len(), naive.arrived.len() - heights.len());
    }

    #[test]
    fn without_competitors_any_arrival_order_delivers_the_same_chain(
        (genesis, order) in arrivals(60, 1)
    ) {
        let mut view = ChainView::resume(at(0), wide(), genesis, [], []);
        let mut follower = Follower::at(genesis);
        for block in &order {
            view.insert(at(0), *block, Origin::Signed);
            follower.drain(&mut view);
        }
        let mut all: Vec<BlockId> = order.iter().map(|block| block.id).chain([genesis]).collect();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(&follower.chain, &all);
        let delivered = follower.events.iter().filter(|event| matches!(
            event, ChainEvent::Extended(_))
        );
        prop_assert_eq!(delivered.count(), all.len() - 1);
        prop_assert_eq!(follower.reorgs + follower.equivocations.len() + follower.skips.len(), 0);
    }

    #[test]
    fn fetching_the_wanted_blocks_links_every_signed_block(
        (genesis, order) in arrivals(60, 4),
        gossiped in prop::collection::vec(any::<bool>(), 120),
        ask_between in any::<bool>(),
    ) {
        let mut view = ChainView::resume(at(0), wide(), genesis, [], []);
        let mut follower = Follower::at(genesis);
        let mut highest = genesis.number;
        for (block, gossiped) in order.iter().zip(gossiped) {
            if gossiped {
                highest = highest.max(block.id.number);
                view.insert(at(0), *block, Origin::Signed);
                follower.drain(&mut view);
                if ask_between && let Some(gap) = view.gap() {
                    fetch(&mut view, &mut follower, &order, gap);
                }
            }
        }
        let mut fetched = 0;
        while let Some(gap) = follower.gaps.values().next().copied() {
            fetch(&mut view, &mut follower, &order, gap);
            fetched += 1;
            prop_assert!(fetched <= order.len());
        }
        prop_assert_eq!(view.head().map(|head| head.number), Some(highest));
        prop_assert!(follower.skips.is_empty());
    }

    #[test]
    fn bounds_and_links_hold_for_any_input(
        (genesis, order) in arrivals(80, 4),
        anchor in any::<bool>(),
        max_blocks in 0..14_usize,
        max_bytes in prop_oneof![0..3000_usize, Just(usize::MAX)],
        keep_depth in 0..8_usize,
        max_remembered in prop_oneof![0..8_usize, Just(usize::MAX)],
        interval in prop_oneof![Just(0), Just(200), Just(1000)],
        max_ahead in prop_oneof![1..20_u64, Just(u64::MAX)],
        (patience, max_gap) in (prop::option::of(0..6_u64), prop::option::of(0..6_u64)),
        on_full in select(vec![OnFull::DropLowest, OnFull::Reanchor]),
        steps in prop::collection::vec((0..3_u64, 0..8_u8), 160),
    ) {
        let gap_patience = patience.map(Duration::from_secs);
        let config =
            ChainViewConfig {
                max_blocks, max_bytes, keep_depth, max_remembered, max_ahead, gap_patience, max_gap,
                on_full, interval: Duration::from_millis(interval),
            };
        let (mut view, mut follower) = if anchor {
            (ChainView::new(config), Follower::default())
        } else {
            (ChainView::resume(at(0), config, genesis, [], []), Follower::at(genesis))
        };
        let mut now = 0;
        for (mut block, (pause, kind)) in order.into_iter().zip(steps) {
            now += pause;
            if view.next_wakeup().is_some_and(|due| due <= at(now)) {
                view.handle_timeout(at(now));
                follower.drain(&mut view);
                prop_assert!(view.next_wakeup().is_none_or(|due| due > at(now)));
            }
            if kind == 0 {
                // The number is not one above the parent's.
                block.id = BlockId::new(block.id.number ^ 3, block.id.hash.bit_xor_first());
            }
            let origin = if kind == 1 { Origin::Linked } else { Origin::Signed };
            let inserted = view.insert(at(now), block, origin);
            let events = follower.drain(&mut view);
            let delivered =
                events.iter().any(|event| matches!(
                    event, ChainEvent::Extended(other) if other == &block)
                );
            use Inserted::*;
            match inserted {
                Anchored | Extended | Reorganised | Reanchored => prop_assert!(delivered),
                Competitor | Pending => prop_assert!(
                    !delivered && view.get(&block.id.hash).is_some()
                ),
                Known | TooOld | TooFar | Mislinked | Unlinked | Dropped => prop_assert!(
                    !delivered
                ),
            }
            if matches!(inserted, Known | TooFar | Mislinked | Unlinked) {
                prop_assert!(events.is_empty());
            }
        }
        prop_assert!(
            patience.is_some() || follower.skips.iter().all(|skip| skip.2 != SkipReason::Patience)
        );
        let full = follower.skips.iter().any(|skip| skip.2 == SkipReason::Full);
        prop_assert!(on_full == OnFull::Reanchor || !full);
    }
}

/// Answers a gap as a peer would, with the wanted block.
fn fetch(view: &mut ChainView<Block>, follower: &mut Follower, blocks: &[Block], gap: Gap) {
    let wanted = blocks
        .iter()
        .find(|block| block.id == gap.wanted)
        .expect("a gap wants a block that exists");
    let inserted = view.insert(at(0), *wanted, Origin::Linked);
    let taken = matches!(inserted, Inserted::Extended | Inserted::Reorganised | Inserted::Pending);
    assert!(taken, "{inserted:?} for {gap:?}");
    follower.drain(view);
}

trait BitXorFirst {
    fn bit_xor_first(self) -> Self;
}

impl BitXorFirst for B256 {
    /// Returns a different hash.
    fn bit_xor_first(mut self) -> Self {
        self.0[0] ^= 0x80;
        self
    }
}
