//! Tests of the view. [`rules`], [`rewinds`] and [`limits`] test each rule by name, [`model`]
//! compares the view with a naive model, and [`follower`] checks every event in all of them.

use std::time::Duration;

use super::*;
use follower::{Block, Follower, at, block, id, on};

mod follower;
mod limits;
mod model;
mod rewinds;
mod rules;

/// The canonical branch in most tests, and a branch that competes with it.
const A: u8 = 0xa;
const B: u8 = 0xb;

/// A view, and a follower that checks all of its events.
struct Pair {
    view: ChainView<Block>,
    follower: Follower,
    now: u64,
}

impl Pair {
    fn new(config: ChainViewConfig) -> Self {
        Self { view: ChainView::new(config), follower: Follower::default(), now: 0 }
    }

    /// Returns a pair with the view anchored at block 1 of `A` and its head at height `head`.
    fn with_head(config: ChainViewConfig, head: u64) -> Self {
        let mut pair = Self::new(config);
        (1..=head).for_each(|number| pair.quietly(block(A, number)));
        pair.follower.events.clear();
        pair
    }

    fn insert(&mut self, block: Block, origin: Origin) -> Inserted {
        let inserted = self.view.insert(at(self.now), block, origin);
        self.follower.drain(&mut self.view);
        inserted
    }

    fn signed(&mut self, block: Block) -> Inserted {
        self.insert(block, Origin::Signed)
    }

    fn linked(&mut self, block: Block) -> Inserted {
        self.insert(block, Origin::Linked)
    }

    fn quietly(&mut self, block: Block) {
        let inserted = self.signed(block);
        assert!(matches!(inserted, Inserted::Anchored | Inserted::Extended), "{inserted:?}");
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        self.view.handle_timeout(at(self.now));
        self.follower.drain(&mut self.view);
    }

    fn events(&mut self) -> Vec<ChainEvent<Block>> {
        std::mem::take(&mut self.follower.events)
    }

    fn head(&self) -> BlockId {
        self.view.head().expect("the view is anchored")
    }

    fn gap(&self) -> Gap {
        self.view.gap().expect("a gap is open")
    }

    fn recent(&self) -> Vec<u64> {
        self.view.recent().map(Block::number).collect()
    }
}

fn plain() -> ChainViewConfig {
    ChainViewConfig::default()
}

fn patient(seconds: u64) -> ChainViewConfig {
    ChainViewConfig { gap_patience: Some(Duration::from_secs(seconds)), ..plain() }
}

fn small(max_blocks: usize, keep_depth: usize, on_full: OnFull) -> ChainViewConfig {
    ChainViewConfig { max_blocks, keep_depth, on_full, max_remembered: 0, ..plain() }
}

fn closed(events: &[ChainEvent<Block>]) -> Vec<GapEnd> {
    let end =
        |event: &_| if let ChainEvent::GapClosed { end, .. } = event { Some(*end) } else { None };
    events.iter().filter_map(end).collect()
}
