//! The chain view, and a listener of its events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy_primitives::B256;
use arbitrary::{Result, Unstructured};
use opp2p_core::chain::{
    BlockId, ChainBlock, ChainEvent, ChainView, ChainViewConfig, Gap, GapId, Inserted, OnFull,
    Origin, SkipReason, Standing,
};

use crate::material::{Clock, any_span, play};

/// A block without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plain {
    id: BlockId,
    parent: B256,
    size: usize,
}

impl ChainBlock for Plain {
    fn number(&self) -> u64 {
        self.id.number
    }
    fn hash(&self) -> B256 {
        self.id.hash
    }
    fn parent_hash(&self) -> B256 {
        self.parent
    }
    fn size(&self) -> usize {
        self.size
    }
}

/// State that a listener derives from events alone.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) chain: Vec<BlockId>,
    gaps: BTreeMap<GapId, Gap>,
    used: BTreeSet<GapId>,
    adopted: VecDeque<BlockId>,
    skip_to: Option<BlockId>,
    /// Ancestor at which the last adopted branch leaves the previous one, until the branch's first
    /// block arrives.
    branch_point: Option<BlockId>,
    equivocations: BTreeSet<BlockId>,
}

impl Listener {
    pub(crate) fn at(head: Option<BlockId>) -> Self {
        Self {
            chain: head.into_iter().collect(),
            gaps: BTreeMap::new(),
            used: BTreeSet::new(),
            adopted: VecDeque::new(),
            skip_to: None,
            branch_point: None,
            equivocations: BTreeSet::new(),
        }
    }

    /// Takes one event, and checks that it is possible after the previous ones.
    pub(crate) fn hear<B: ChainBlock>(&mut self, event: &ChainEvent<B>) {
        match event {
            ChainEvent::Extended(block) => {
                let id = BlockId::of(block);
                // A branch that is read from the store may be abandoned before all of it has
                // arrived.
                if self.adopted.pop_front().is_some_and(|expected| expected != id) {
                    self.adopted.clear();
                }
                let branch_point = self.branch_point.take();
                if let Some(to) = self.skip_to.take() {
                    assert_eq!(id, to);
                } else if let Some(head) = branch_point.as_ref().or(self.chain.last()) {
                    assert_eq!(
                        (Some(id.number), block.parent_hash()),
                        (head.number.checked_add(1), head.hash)
                    );
                }
                self.chain.push(id);
            }
            ChainEvent::Reorg { ancestor, abandoned, adopted } => {
                assert!(!adopted.is_empty());
                let kept =
                    self.chain.len().checked_sub(abandoned.len()).expect("they were handed on");
                assert_eq!(self.chain.split_off(kept), *abandoned);
                // If the chain skipped to a block, the position below that block was never
                // delivered.
                let head = self.chain.last().filter(|head| *head != ancestor);
                assert!(head.is_none_or(|head| head.number < ancestor.number));
                self.branch_point = Some(*ancestor);
                self.adopted = adopted.iter().copied().collect();
            }
            ChainEvent::Equivocation { number, first, second } => {
                assert_eq!([first.number, second.number], [*number; 2]);
                assert_ne!(first.hash, second.hash);
                self.equivocations.insert(*second);
            }
            ChainEvent::GapOpened(gap) => {
                check_gap(gap);
                assert!(self.used.insert(gap.id), "the name of an earlier gap");
                assert!(self.gaps.insert(gap.id, *gap).is_none());
            }
            ChainEvent::GapChanged(gap) => {
                check_gap(gap);
                let before = self.gaps.insert(gap.id, *gap).expect("it was opened");
                assert_ne!(before.wanted, gap.wanted, "nothing changed");
            }
            ChainEvent::GapClosed { id, .. } => assert!(self.gaps.remove(id).is_some()),
            ChainEvent::Contended { shown, .. } => {
                assert_eq!(self.head(), Some(*shown));
            }
            ChainEvent::Skipped { from, to, detached, .. } => {
                assert_eq!(self.head(), Some(*from));
                self.chain.retain(|id| !detached && id.number < to.number);
                self.adopted.clear();
                self.branch_point = None;
                self.skip_to = Some(*to);
            }
        }
    }

    fn head(&self) -> Option<BlockId> {
        self.branch_point.or(self.chain.last().copied())
    }

    /// Checks, after all events, that the listener's state equals the view's.
    pub(crate) fn agree<B: ChainBlock>(&self, view: &ChainView<B>) {
        assert!(self.skip_to.is_none(), "the promised block did not follow");
        assert_eq!(self.head(), view.head());
        let open: BTreeMap<GapId, BlockId> = view.gaps().map(|gap| (gap.id, gap.wanted)).collect();
        let told: BTreeMap<GapId, BlockId> =
            self.gaps.values().map(|gap| (gap.id, gap.wanted)).collect();
        assert_eq!(open, told);
        let mut below = view.window_floor();
        for block in view.recent() {
            let id = BlockId::of(block);
            assert!(below.is_none_or(|below| below.number.checked_add(1) == Some(id.number)));
            assert!(below.is_none_or(|below| below.hash == block.parent_hash()));
            assert_eq!(view.standing(&id), Standing::Linked);
            assert_eq!(view.canonical_hash(id.number), Some(id.hash));
            below = Some(id);
        }
        let head = view.head();
        assert!(view.recent().next().is_none() || below == head);
        let pending = view.pending();
        assert!(pending.0 <= view.blocks() && pending.1 <= view.bytes());
    }
}

fn check_gap(gap: &Gap) {
    assert_eq!(gap.wanted.number.checked_add(1), Some(gap.before.number));
    assert!(gap.after.number < gap.before.number && gap.highest.number >= gap.before.number);
    assert_eq!(gap.missing, gap.before.number - gap.after.number - 1);
    assert_eq!(gap.is_fork(), gap.after.number == gap.wanted.number);
}

/// Inserts blocks of a tree, in any order; the bytes determine the tree and the order.
pub(crate) fn view(bytes: &[u8]) {
    play(bytes, |from| {
        let config = ChainViewConfig {
            max_blocks: from.int_in_range(0..=20)?,
            max_bytes: if from.arbitrary()? { usize::MAX } else { from.int_in_range(0..=3000)? },
            keep_depth: from.int_in_range(0..=9)?,
            max_remembered: if from.arbitrary()? { usize::MAX } else { from.int_in_range(0..=9)? },
            interval: any_span(from)?,
            max_ahead: if from.arbitrary()? { u64::MAX } else { from.int_in_range(1..=20)? },
            gap_patience: if from.arbitrary()? { Some(any_span(from)?) } else { None },
            max_gap: if from.ratio(1, 4)? { Some(from.int_in_range(0..=9)?) } else { None },
            on_full: if from.arbitrary()? { OnFull::DropLowest } else { OnFull::Reanchor },
        };
        let start = *from.choose(&[0, 1, 1000, u64::MAX - 12])?;
        let genesis = BlockId::new(start, B256::repeat_byte(0xee));
        let is_resumed = from.arbitrary()?;
        let mut clock = Clock::new();
        let mut view = if is_resumed {
            ChainView::resume(clock.at(), config, genesis, [], [])
        } else {
            ChainView::new(config)
        };
        let mut listener = Listener::at(is_resumed.then_some(genesis));
        let mut tree: Vec<Plain> = Vec::new();
        let mut skips = Vec::new();
        while !from.is_empty() {
            step(from, &mut view, &mut tree, genesis, &mut clock)?;
            while let Some(event) = view.poll_event() {
                if let ChainEvent::Skipped { reason, .. } = &event {
                    skips.push(*reason);
                }
                listener.hear(&event);
            }
            listener.agree(&view);
            assert!(view.blocks() <= config.max_blocks.max(2), "{} blocks", view.blocks());
            assert!(view.bytes() <= config.max_bytes, "{} bytes", view.bytes());
        }
        assert!(config.gap_patience.is_some() || !skips.contains(&SkipReason::Patience));
        assert!(config.on_full == OnFull::Reanchor || !skips.contains(&SkipReason::Full));
        Ok(())
    });
}

fn step(
    from: &mut Unstructured<'_>,
    view: &mut ChainView<Plain>,
    tree: &mut Vec<Plain>,
    genesis: BlockId,
    clock: &mut Clock,
) -> Result<()> {
    match from.int_in_range(0..=15)? {
        // Adds a block to the tree, and inserts it now or later.
        kind @ 0..=8 => {
            let back = from.int_in_range(0..=4)?;
            let parent = tree.len().checked_sub(back + 1).map_or(genesis, |at| tree[at].id);
            let Some(mut number) = parent.number.checked_add(1) else { return Ok(()) };
            if kind == 8 {
                number ^= 3;
            }
            let mut hash = B256::with_last_byte(tree.len() as u8);
            hash.0[1] = (tree.len() as u8).wrapping_mul(97);
            hash.0[30] = (tree.len() >> 8) as u8;
            hash.0[0] = 1;
            let size = usize::from(from.arbitrary::<u8>()?);
            let block = Plain { id: BlockId::new(number, hash), parent: parent.hash, size };
            tree.push(block);
            if from.ratio(1, 2)? {
                insert(view, clock, block, Origin::Signed);
            }
        }
        // A block of the tree, possibly inserted before.
        kind @ 9..=12 if !tree.is_empty() => {
            let block = *from.choose(tree)?;
            insert(view, clock, block, if kind == 12 { Origin::Linked } else { Origin::Signed });
        }
        // The block that a gap requests.
        13 => {
            let gaps: Vec<Gap> = view.gaps().collect();
            if gaps.is_empty() {
                return Ok(());
            }
            let wanted = from.choose(&gaps)?.wanted;
            if let Some(block) = tree.iter().find(|block| block.id == wanted) {
                insert(view, clock, *block, Origin::Linked);
            }
        }
        14 => view.delay_skips(clock.at()),
        _ => {
            clock.pass(any_span(from)?);
            view.handle_timeout(clock.at());
            assert!(view.next_wakeup().is_none_or(|due| due > clock.at()), "it is late");
        }
    }
    Ok(())
}

fn insert(view: &mut ChainView<Plain>, clock: &Clock, block: Plain, origin: Origin) {
    let before = (view.head(), view.blocks());
    let inserted = view.insert(clock.at(), block, origin);
    match inserted {
        Inserted::Competitor | Inserted::Pending => assert!(view.get(&block.id.hash).is_some()),
        Inserted::Known | Inserted::TooFar | Inserted::Mislinked | Inserted::Unlinked => {
            assert_eq!((view.head(), view.blocks()), before);
        }
        _ => {}
    }
}
