//! History: the blocks below the first head, fetched downwards as far as the settings say.
//!
//! The clients that fill gaps fetch it, with the same aim and the same proof: each block is the
//! parent of the one above. Gaps and commands come first, so the newest head is usable at once. A
//! proved block is neither held nor passed to the chain view. It goes straight to the store
//! ([`FillStep::Prepend`]), below the lowest block of the stored chain. So each block is fetched
//! once, and a restart goes on below the lowest stored block. What the store has already is taken
//! from there: see `recall`.
//!
//! # Ends
//! Each end is reported once ([`SyncEvent::History`]).
//! * The history is complete: see [`Reach`]. The block after the genesis is the
//!   lowest one that is ever asked for.
//! * The store keeps no older blocks, by its own limits.
//! * No source has the next block: no progress during [`STALLS`] stalls, while a peer or an
//!   endpoint could be asked. The history then rests until another peer connects.
//! * The store refused the next blocks in [`REFUSALS`] attempts, while it took others. If it takes
//!   nothing, because its disk is full, the history waits.
//!
//! If the view leaves its chain for one whose link to it is not known, the history begins again
//! below the first block of the new chain. Where that chain meets the old one, the store has the
//! blocks below.
//!
//! # Bounds
//! Blocks that the store has not confirmed: fetching pauses at [`UNCONFIRMED`] of them, or at 8
//! MiB. The clients bound what is then under way.

use std::time::Duration;

use super::patience::time_of;
use super::recall::Recall;
use super::{
    Aim, FillStep, GapFiller, HistoryConfig, HistoryEnd, Lowest, Reach, STORE_PAUSE, SyncEvent,
    UNSAVED_BYTES,
};
use crate::chain::{BlockId, ChainBlock, ChainConfig, ChainView};
use crate::payload::Block;
use crate::sorted::SortedMap;
use crate::sync::client::Range;
use crate::time::{Instant, Now};

/// Number of stalls without a proved block after which no source counts as having the next block.
/// A stall takes two block intervals, at least 2 s.
pub const STALLS: u32 = 15;
/// Number of attempts after which a store that refuses everything is not asked any more.
pub const REFUSALS: u32 = 12;
/// Number of unconfirmed blocks at which fetching pauses. The store's queue must have room for new
/// heads beside them.
pub const UNCONFIRMED: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fetching,
    /// No source has the next block.
    Resting,
    Ended,
}

/// A block that the store has not confirmed.
#[derive(Debug)]
struct Unconfirmed {
    block: Block,
    is_refused: bool,
}

/// State of the history: see the [module's documentation](self).
#[derive(Debug)]
pub(super) struct History {
    config: HistoryConfig,
    state: State,
    /// The lowest proved block; `None` while the chain has no block.
    lowest: Option<Lowest>,
    /// Number and timestamp of the head, as of the last look.
    head: (u64, u64),
    /// Number of stalls since the last proved block.
    stalls: u32,
    unconfirmed: SortedMap<BlockId, Unconfirmed>,
    bytes: usize,
    /// Number of attempts since the store last confirmed a block, without those while it failed.
    refusals: u32,
    /// Whether the store refuses new heads, too.
    store_fails: bool,
    /// Time of the next attempt, if the store has refused blocks.
    retry: Option<Instant>,
    /// Whether an end was reported since the last proved block.
    is_told: bool,
    pub(super) recall: Recall,
}

impl History {
    pub(super) const fn new(config: HistoryConfig) -> Self {
        Self {
            config,
            state: State::Fetching,
            lowest: None,
            head: (0, 0),
            stalls: 0,
            unconfirmed: SortedMap::new(),
            bytes: 0,
            refusals: 0,
            store_fails: false,
            retry: None,
            is_told: false,
            recall: Recall::new(),
        }
    }

    /// Returns the next block to prove, if history is being fetched.
    pub(super) fn wanted(&self) -> Option<BlockId> {
        let lowest = self.lowest.filter(|_| self.state == State::Fetching)?;
        Some(BlockId::new(lowest.number.checked_sub(1)?, lowest.parent))
    }

    /// Returns the size of the unconfirmed blocks, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns `true` if no more blocks can be taken before the store confirms some.
    pub(super) fn is_full(&self) -> bool {
        self.unconfirmed.len() >= UNCONFIRMED || self.bytes >= UNSAVED_BYTES
    }

    /// Returns the time of the next attempt to store what was refused.
    pub(super) const fn next_wakeup(&self) -> Option<Instant> {
        self.retry
    }

    /// Returns the age of a block when the head was made.
    const fn age(&self, timestamp: u64) -> Duration {
        Duration::from_secs(self.head.1.saturating_sub(timestamp))
    }

    /// Returns `true` if the settings ask for nothing below this block.
    fn reaches(&self, lowest: Lowest) -> bool {
        match self.config.reach {
            Reach::Number(number) => lowest.number <= number,
            Reach::Age(age) => self.age(lowest.timestamp) >= age,
        }
    }

    /// Returns the range to fetch next, or the reason of the end. Returns `None` if history is not
    /// being fetched.
    pub(super) fn plan(&self, chain: &ChainConfig) -> Option<Result<Range, HistoryEnd>> {
        let lowest = self.lowest.filter(|_| self.state == State::Fetching)?;
        let first = chain.genesis.number.saturating_add(1);
        let Some(below) = lowest.number.checked_sub(1).filter(|below| *below >= first) else {
            return Some(Err(HistoryEnd::Complete));
        };
        if self.reaches(lowest) {
            return Some(Err(HistoryEnd::Complete));
        }
        let age = self.age(lowest.timestamp);
        // By the block interval. What is proved decides, by its own timestamp.
        let down = |span: Duration| {
            let made = Duration::from_secs(lowest.timestamp);
            let blocks = chain.schedule().blocks_in(made, span.saturating_sub(age));
            lowest.number.saturating_sub(blocks)
        };
        let HistoryConfig { reach, keep_blocks, keep_age } = self.config;
        let kept = self.head.0.saturating_add(1).saturating_sub(keep_blocks);
        if lowest.number <= kept || age > keep_age {
            return Some(Err(HistoryEnd::Retention));
        }
        let wanted = match reach {
            Reach::Number(number) => number,
            Reach::Age(age) => down(age),
        };
        let end = wanted.max(kept).max(down(keep_age)).max(first).min(below);
        let wanted = BlockId::new(below, lowest.parent);
        Some(Ok(Range { wanted, lowest: end }))
    }

    /// Returns `true` if the store does not keep a block of this age.
    pub(super) fn is_too_old(&self, block: &Block) -> bool {
        self.age(block.timestamp()) > self.config.keep_age
    }

    /// Takes the next block. It waits for the store, unless the stored chain has it.
    pub(super) fn take(&mut self, block: &Block, is_stored: bool) {
        self.lowest = Some(Lowest::of(block));
        (self.stalls, self.is_told) = (0, false);
        if is_stored {
            return;
        }
        self.bytes = self.bytes.saturating_add(block.size());
        let entry = Unconfirmed { block: block.clone(), is_refused: false };
        self.unconfirmed.insert(BlockId::of(block), entry);
    }

    fn confirmed(&mut self, id: &BlockId) {
        if let Some(entry) = self.unconfirmed.remove(id) {
            self.bytes = self.bytes.saturating_sub(entry.block.size());
            self.refusals = 0;
        }
    }

    fn refused(&mut self, now: Instant, id: &BlockId) {
        if let Some(entry) = self.unconfirmed.get_mut(id) {
            entry.is_refused = true;
            self.retry = self.retry.or(Some(now + STORE_PAUSE));
        }
    }

    /// Returns the refused blocks once they are due, highest first, since the store takes each only
    /// below another one. `None` means that it refused too often.
    fn again(&mut self, now: Instant) -> Option<Vec<Block>> {
        if self.retry.is_none_or(|retry| retry > now) {
            return Some(Vec::new());
        }
        self.retry = None;
        self.refusals = self.refusals.saturating_add(u32::from(!self.store_fails));
        if self.refusals > REFUSALS {
            return None;
        }
        let mut again = Vec::new();
        for entry in self.unconfirmed.values_mut().filter(|entry| entry.is_refused) {
            entry.is_refused = false;
            again.push(entry.block.clone());
        }
        again.reverse();
        Some(again)
    }

    /// Ends the history. Returns the event to report, if it was not reported before.
    fn end(&mut self, end: HistoryEnd) -> Option<SyncEvent> {
        let lowest = self.lowest.map_or(0, |lowest| lowest.number);
        if end == HistoryEnd::NotFound {
            self.state = State::Resting;
        } else {
            self.state = State::Ended;
        }
        let is_told = std::mem::replace(&mut self.is_told, true);
        (!is_told).then_some(SyncEvent::History { lowest, end })
    }

    /// Ends the history at the highest block that the store did not take. Returns the event to
    /// report: what the store refuses is missing, even if all blocks had come.
    fn end_refused(&mut self, end: HistoryEnd) -> SyncEvent {
        let refused = self.unconfirmed.last_key_value();
        let lowest = match refused {
            Some((highest, _)) => highest.number.saturating_add(1),
            None => self.lowest.map_or(0, |lowest| lowest.number),
        };
        (self.state, self.is_told) = (State::Ended, true);
        self.forget();
        SyncEvent::History { lowest, end }
    }

    /// Forgets the blocks that the store has not confirmed.
    fn forget(&mut self) {
        self.unconfirmed.clear();
        (self.bytes, self.refusals, self.retry) = (0, 0, None);
    }
}

impl GapFiller {
    /// Sets the lowest block of the stored chain, below which history goes on. Without one, history
    /// begins below the first block of the chain.
    #[must_use]
    pub fn with_lowest(mut self, lowest: Option<Lowest>) -> Self {
        if let Some(history) = &mut self.history {
            history.lowest = lowest;
        }
        self
    }

    /// Records a block of the chain. History begins below the first one.
    pub fn extended(&mut self, block: &Block) {
        if let Some(history) = &mut self.history
            && history.lowest.is_none()
        {
            history.lowest = Some(Lowest::of(block));
        }
    }

    /// Records that the view left its chain: no stored block is canonical any more.
    pub fn detached(&mut self) {
        if let Some(history) = &mut self.history {
            history.forget();
            (history.lowest, history.state) = (None, State::Fetching);
            (history.stalls, history.is_told) = (0, false);
            history.recall.begin();
            self.must_plan = true;
        }
    }

    /// Records that the store put a block of the history below its chain, or refused it.
    pub fn prepended(&mut self, now: Instant, id: &BlockId, is_stored: bool) {
        match &mut self.history {
            Some(history) if is_stored => history.confirmed(id),
            Some(history) => history.refused(now, id),
            None => {}
        }
    }

    /// Sets whether the store refuses new heads, too: then its refusals say nothing about history.
    pub const fn store_fails(&mut self, fails: bool) {
        if let Some(history) = &mut self.history {
            history.store_fails = fails;
        }
    }

    /// Records that the store's limits don't allow it to keep a block of the history, and thus none
    /// below.
    pub fn not_kept(&mut self, id: &BlockId) {
        if self.history.as_ref().is_some_and(|history| history.unconfirmed.contains_key(id)) {
            self.refused_history(HistoryEnd::Retention);
        }
    }

    /// Has resting history fetched again, since another peer can be asked.
    pub(super) fn revive_history(&mut self) {
        if let Some(history) = &mut self.history
            && history.state == State::Resting
        {
            (history.state, history.stalls) = (State::Fetching, 0);
        }
    }

    /// Stores again what the store refused, and has history planned if nothing else is fetched.
    pub(super) fn settle_history(
        &mut self,
        now: Instant,
        view: &ChainView<Block>,
        chain: &ChainConfig,
    ) {
        let Some(history) = &mut self.history else { return };
        if let Some(head) = view.head() {
            let time = time_of(head.number, view, chain).unwrap_or(history.head.1);
            history.head = (head.number, time);
        }
        match history.again(now) {
            Some(again) => self.steps.extend(again.into_iter().map(FillStep::Prepend)),
            None => return self.refused_history(HistoryEnd::Unstored),
        }
        self.must_plan |=
            history.wanted().is_some() && self.aim.is_none() && self.landing.is_none();
    }

    /// Aims the clients at the history, or at nothing.
    pub(super) fn plan_history(&mut self, now: Now, chain: &ChainConfig) {
        let range = match self.history.as_ref().and_then(|history| history.plan(chain)) {
            Some(Ok(range)) => self.unless_stored(range),
            Some(Err(end)) => {
                self.report_end(end);
                None
            }
            None => None,
        };
        self.aim_at(now, range.map(|_| Aim::History), chain);
        self.aim_clients(now.monotonic, range);
    }

    /// Takes a proved block if it belongs to the history. Returns `false` if it is another's.
    pub(super) fn proved_history(&mut self, now: Instant, block: &Block, stall: Duration) -> bool {
        if matches!(self.aim, Some(Aim::Gap(_) | Aim::Command(_))) {
            return false;
        }
        let Some(history) = &mut self.history else { return false };
        let is_below = history.lowest.is_some_and(|lowest| block.number() < lowest.number);
        if !is_below || history.wanted() != Some(BlockId::of(block)) {
            // What was asked for before the end, or twice, is not needed.
            return is_below || self.aim == Some(Aim::History);
        }
        self.next_stall = now + stall;
        if history.is_too_old(block) {
            self.end_history(HistoryEnd::Retention);
            return true;
        }
        history.take(block, false);
        let is_complete = history.reaches(Lowest::of(block));
        self.steps.push_back(FillStep::Prepend(block.clone()));
        self.must_plan |= is_complete || self.client.range().is_none();
        true
    }

    /// Counts a stall of the history, unless it has to wait for the store or for a peer.
    pub(super) fn stalled_history(&mut self, now: Instant) {
        let has_peers = self.config.client.asks_peers && self.client.has_peers();
        let has_source = has_peers || self.client.endpoints(now) > 0;
        let is_waiting = !has_source || self.is_behind(now);
        let Some(history) = self.history.as_mut().filter(|_| !is_waiting) else { return };
        history.stalls = history.stalls.saturating_add(1);
        if history.stalls >= STALLS {
            return self.end_history(HistoryEnd::NotFound);
        }
        // Perhaps no peer has what the store has.
        self.ask_store();
    }

    pub(super) fn end_history(&mut self, end: HistoryEnd) {
        self.report_end(end);
        self.must_plan = true;
    }

    /// Ends the history, since the store refuses its blocks.
    fn refused_history(&mut self, end: HistoryEnd) {
        let event = self.history.as_mut().map(|history| history.end_refused(end));
        self.steps.extend(event.map(FillStep::Event));
        self.must_plan = true;
    }

    fn report_end(&mut self, end: HistoryEnd) {
        let event = self.history.as_mut().and_then(|history| history.end(end));
        self.steps.extend(event.map(FillStep::Event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Fork;
    use crate::gossip::tests::support::sealed_block;
    use crate::payload::ExecutionPayload;
    use crate::sync::FillConfig;
    use alloy_primitives::{Address, B256};

    const HEAD: (u64, u64) = (1000, 12_000);

    /// Returns the plan of a chain with blocks each 2 s, whose genesis is block 99, that has the
    /// blocks down to `lowest`.
    fn planned(config: HistoryConfig, lowest: u64) -> Result<(u64, u64), HistoryEnd> {
        let signer = Address::repeat_byte(2);
        let mut chain = ChainConfig::development(901, B256::ZERO, 0, 2, Fork::Canyon, signer);
        chain.genesis.number = 99;
        let mut history = History::new(config);
        history.head = HEAD;
        let timestamp = HEAD.1 - 2 * (HEAD.0 - lowest);
        history.lowest = Some(Lowest { number: lowest, parent: B256::repeat_byte(7), timestamp });
        let range = history.plan(&chain).expect("it is being fetched")?;
        assert_eq!(range.wanted.hash, B256::repeat_byte(7));
        Ok((range.wanted.number, range.lowest))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_number_and_an_age_end_the_range() {
        let number = |number| HistoryConfig::new(Reach::Number(number));
        assert_eq!(planned(number(500), 1000), Ok((999, 500)));
        assert_eq!(planned(number(500), 501), Ok((500, 500)));
        assert_eq!(planned(number(500), 500), Err(HistoryEnd::Complete));
        assert_eq!(planned(number(500), 400), Err(HistoryEnd::Complete));
        let age = |age| HistoryConfig::new(Reach::Age(seconds(age)));
        assert_eq!(planned(age(200), 1000), Ok((999, 900)));
        assert_eq!(planned(age(199), 1000), Ok((999, 900)));
        assert_eq!(planned(age(200), 901), Ok((900, 900)));
        assert_eq!(planned(age(200), 900), Err(HistoryEnd::Complete));
        assert_eq!(planned(age(199), 900), Err(HistoryEnd::Complete));
    }

    #[test]
    fn the_genesis_is_never_asked_for() {
        let all = HistoryConfig::new(Reach::Number(0));
        assert_eq!(planned(all, 1000), Ok((999, 100)));
        assert_eq!(planned(all, 101), Ok((100, 100)));
        assert_eq!(planned(all, 100), Err(HistoryEnd::Complete));
        let long = HistoryConfig::new(Reach::Age(Duration::MAX));
        assert_eq!(planned(long, 1000), Ok((999, 100)));
    }

    #[test]
    fn history_begins_again_on_another_chain() {
        let history = Some(HistoryConfig::new(Reach::Number(0)));
        let config = FillConfig { history, ..FillConfig::default() };
        let lowest = Lowest { number: 5, parent: B256::repeat_byte(7), timestamp: 10 };
        let mut filler = GapFiller::new(Instant::default(), config, []).with_lowest(Some(lowest));
        let wanted = |filler: &GapFiller| filler.status().history;
        assert_eq!(wanted(&filler), Some(BlockId::new(4, B256::repeat_byte(7))));
        filler.end_history(HistoryEnd::Complete);
        assert_eq!(wanted(&filler), None);
        filler.detached();
        assert_eq!(wanted(&filler), None);
        // Only the first block of the chain counts.
        for number in [9, 20] {
            filler.extended(&block(number));
            assert_eq!(wanted(&filler), Some(BlockId::new(8, B256::with_last_byte(9))));
        }
    }

    fn block(number: u64) -> Block {
        sealed_block(ExecutionPayload {
            block_number: number,
            parent_hash: B256::with_last_byte(number as u8),
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        })
    }

    #[test]
    fn what_the_store_does_not_keep_is_not_asked_for() {
        let few = HistoryConfig { keep_blocks: 10, ..HistoryConfig::new(Reach::Number(0)) };
        assert_eq!(planned(few, 1000), Ok((999, 991)));
        assert_eq!(planned(few, 991), Err(HistoryEnd::Retention));
        let young = HistoryConfig { keep_age: seconds(40), ..HistoryConfig::new(Reach::Number(0)) };
        assert_eq!(planned(young, 1000), Ok((999, 980)));
        assert_eq!(planned(young, 979), Err(HistoryEnd::Retention));
    }
}
