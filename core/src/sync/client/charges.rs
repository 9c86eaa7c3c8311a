//! Charges against peers whose blocks did not link, which are held before they count.
//!
//! A response carries no signature. So a server on a branch of the sequencer's that we have not
//! heard of looks like a liar until we hear of that branch, or the server of ours. A charge is
//! therefore held for [`CHARGE_HELD`], and dropped if the caller learns meanwhile that the
//! sequencer signed the block, a descendant of it that the peer also sent, or another branch that
//! reaches as high. All blocks of one peer in that time are one charge: one mistake causes many
//! such blocks. A block that the sequencer is known to have signed before is not a reason for a
//! charge, even if the chain view has forgotten it. A charge that falls due is put to the test
//! first, see `recheck`: a server that has changed its branch meanwhile is honest.
//!
//! # Bounds
//! [`MAX_ACCUSED`] blocks of each peer, further ones add nothing to its charge; and as many peers
//! as the client remembers. If there are more, the oldest charge counts at once. The last
//! [`SIGNED`] signed blocks are remembered by their ids.

use std::collections::VecDeque;
use std::time::Duration;

use alloy_primitives::B256;

use crate::chain::BlockId;
use crate::payload::Block;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;

/// Time for which a charge is held before it counts.
pub const CHARGE_HELD: Duration = Duration::from_secs(3 * 60);
/// Maximum number of remembered blocks of one charge.
const MAX_ACCUSED: usize = 8;
/// Number of remembered signed blocks.
const SIGNED: usize = 512;

/// A block that did not link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) struct Accused {
    id: BlockId,
    parent: B256,
    /// Hash of the right block of this number.
    right: B256,
}

impl Accused {
    /// Accuses a block that came in the place of the one with the hash `right`.
    pub(in crate::sync) fn of(block: &Block, right: B256) -> Self {
        Self { id: BlockId::of(block), parent: block.parent_hash(), right }
    }

    /// Returns `true` if this is the right block in the place of the accused one.
    pub(in crate::sync) fn is_right(&self, id: &BlockId) -> bool {
        *id == BlockId::new(self.id.number, self.right)
    }

    pub(in crate::sync) const fn id(&self) -> BlockId {
        self.id
    }
}

#[derive(Clone, Debug)]
struct Charge {
    since: Instant,
    blocks: Vec<Accused>,
}

impl Charge {
    /// Drops this block and its ancestors.
    fn drop_branch(&mut self, mut id: BlockId, mut parent: B256) {
        loop {
            self.blocks.retain(|accused| accused.id != id);
            let Some(below) = id.number.checked_sub(1) else { return };
            id = BlockId::new(below, parent);
            match self.blocks.iter().find(|accused| accused.id == id) {
                Some(accused) => parent = accused.parent,
                None => return,
            }
        }
    }
}

/// All held charges.
#[derive(Clone, Debug)]
pub(in crate::sync) struct Charges {
    held: SortedMap<PeerId, Charge>,
    most: usize,
    /// Blocks that the sequencer signed, oldest first.
    signed: VecDeque<BlockId>,
}

impl Charges {
    pub(in crate::sync) const fn new(most: usize) -> Self {
        Self { held: SortedMap::new(), most, signed: VecDeque::new() }
    }

    pub(in crate::sync) fn len(&self) -> usize {
        self.held.len()
    }

    /// Charges a peer with a block. Returns the peer whose charge counts at once for lack of room.
    pub(in crate::sync) fn add(
        &mut self,
        now: Instant,
        peer: PeerId,
        accused: Accused,
    ) -> Option<PeerId> {
        if let Some(charge) = self.held.get_mut(&peer) {
            if charge.blocks.len() < MAX_ACCUSED && !charge.blocks.contains(&accused) {
                charge.blocks.push(accused);
            }
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, charge)| charge.since);
        let oldest = oldest.map(|(peer, _)| *peer).filter(|_| self.held.len() >= self.most);
        if let Some(oldest) = &oldest {
            self.held.remove(oldest);
        }
        self.held.insert(peer, Charge { since: now, blocks: vec![accused] });
        oldest
    }

    /// Records that a block is the sequencer's. Returns the peers whose charges end by that.
    pub(in crate::sync) fn is_signed(&mut self, id: BlockId, parent: B256) -> Vec<PeerId> {
        if !self.signed.contains(&id) {
            if self.signed.len() >= SIGNED {
                self.signed.pop_front();
            }
            self.signed.push_back(id);
        }
        for charge in self.held.values_mut() {
            charge.drop_branch(id, parent);
        }
        self.take(|charge| charge.blocks.is_empty())
    }

    /// Returns `true` if the sequencer is known to have signed this block lately.
    pub(in crate::sync) fn was_signed(&self, id: &BlockId) -> bool {
        self.signed.contains(id)
    }

    /// Ends the oldest charge if it is due. Returns its peer with a block that is not excused, or
    /// `None` if the charge is dropped: `is_excused` is asked for each of its blocks.
    pub(in crate::sync) fn settle(
        &mut self,
        now: Instant,
        is_excused: impl Fn(&BlockId) -> bool,
    ) -> Option<(PeerId, Option<Accused>)> {
        let (peer, charge) = self.held.iter().min_by_key(|(_, charge)| charge.since)?;
        if charge.since + CHARGE_HELD > now {
            return None;
        }
        let accused = charge.blocks.iter().find(|accused| !is_excused(&accused.id));
        let settled = (*peer, accused.copied());
        self.held.remove(&settled.0);
        Some(settled)
    }

    /// Returns when [`Self::settle`] next has something to do.
    pub(in crate::sync) fn next_due(&self) -> Option<Instant> {
        self.held.values().map(|charge| charge.since + CHARGE_HELD).min()
    }

    /// Removes the charges for which `ends` holds, and returns their peers.
    fn take(&mut self, ends: impl Fn(&Charge) -> bool) -> Vec<PeerId> {
        let gone = self.held.iter().filter(|(_, charge)| ends(charge));
        let gone: Vec<PeerId> = gone.map(|(peer, _)| *peer).collect();
        for peer in &gone {
            self.held.remove(peer);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
    }

    fn hash(number: u64) -> B256 {
        B256::with_last_byte(number as u8)
    }

    /// Block `number` of a branch.
    fn accused(number: u64) -> Accused {
        let id = BlockId::new(number, hash(number));
        Accused { id, parent: hash(number - 1), right: B256::ZERO }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_charge_counts_once_when_it_falls_due() {
        let mut charges = Charges::new(10);
        for number in 5..50 {
            assert_eq!(charges.add(at(number), peer(1), accused(number)), None);
        }
        assert_eq!(charges.held.get(&peer(1)).map(|charge| charge.blocks.len()), Some(MAX_ACCUSED));
        let due = Instant::default() + Duration::from_secs(5) + CHARGE_HELD;
        assert_eq!(charges.next_due(), Some(due));
        assert_eq!(charges.settle(at(100), |_| false), None);
        assert_eq!(charges.settle(due, |_| false), Some((peer(1), Some(accused(5)))));
        assert_eq!((charges.len(), charges.next_due()), (0, None));
    }

    #[test]
    fn a_signed_descendant_excuses_only_the_blocks_below_it() {
        for (signed, left) in [(7, 0), (8, 0), (6, 1), (5, 2), (10, 3)] {
            let mut charges = Charges::new(10);
            for number in 5..=7 {
                charges.add(at(0), peer(1), accused(number));
            }
            let pardoned = charges.is_signed(BlockId::new(signed, hash(signed)), hash(signed - 1));
            let count = charges.held.get(&peer(1)).map_or(0, |charge| charge.blocks.len());
            assert_eq!((count, pardoned.len()), (left, usize::from(left == 0)), "{signed}");
        }
    }

    #[test]
    fn every_charged_block_needs_its_own_excuse() {
        let mut charges = Charges::new(10);
        charges.add(at(1), peer(1), accused(5));
        charges.add(at(2), peer(1), accused(6));
        charges.add(at(1), peer(2), accused(6));
        let mut settle = || charges.settle(at(500), |id| id.number == 6);
        let settled = [settle(), settle(), settle()];
        assert_eq!(settled, [Some((peer(1), Some(accused(5)))), Some((peer(2), None)), None]);
    }

    #[test]
    fn signed_blocks_are_remembered_within_a_bound() {
        let mut charges = Charges::new(10);
        let id =
            |number: u64| BlockId::new(number, B256::from(alloy_primitives::U256::from(number)));
        for number in 0..2 * SIGNED as u64 {
            charges.is_signed(id(number), B256::ZERO);
            charges.is_signed(id(number), B256::ZERO);
        }
        let known: Vec<_> = (0..2000).filter(|number| charges.was_signed(&id(*number))).collect();
        assert_eq!(known, (SIGNED as u64..2 * SIGNED as u64).collect::<Vec<_>>());
        assert_eq!(charges.signed.len(), SIGNED);
    }

    #[test]
    fn without_room_the_oldest_charge_counts_at_once() {
        let mut charges = Charges::new(2);
        assert_eq!(charges.add(at(2), peer(1), accused(5)), None);
        assert_eq!(charges.add(at(1), peer(2), accused(5)), None);
        assert_eq!(charges.add(at(3), peer(3), accused(5)), Some(peer(2)));
        assert_eq!(charges.len(), 2);
    }
}
