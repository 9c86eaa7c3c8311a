//! The devnet's record: published blocks, the followers that have them, latencies, and problems.
//!
//! The devnet's tasks report events to [`Report`] with the time since the devnet's start. A block's
//! arrival may be reported before its publication. The outputs are the lines of the log
//! ([`Report::next_line`]), the current state ([`Report::snapshot`]) and the result at the end
//! ([`Report::summary`]).
//!
//! # Bounds
//! A devnet may run for days, so no part grows with its age:
//!
//! * **Blocks**: the [`BLOCKS`] highest numbers that were published, accepted or delivered, with a
//!   mark for each follower. Only the sequencer can cause them. When full, the lowest is forgotten;
//!   a follower that delivers a forgotten number can't be checked and counts as out of order.
//! * **Latencies**: the 10,000 newest of each follower, and the overall maximum. Percentiles are
//!   exact over those.
//! * **Left blocks**: the hashes of the highest [`BLOCKS`] blocks that the sequencer left.
//! * **Scenarios**: the [`NOTES`] newest.
//! * **Notes**: the [`NOTES`] newest events worth a line. The oldest is dropped, shown or not; the
//!   events that the result needs are counted separately.

mod branch;
pub(super) mod outage;

use super::scenario::Scenario;
use super::tally::{Mark, Tally};
use crate::text::{count, millis, short_hash, size};
use alloy_primitives::B256;
use opp2p_core::chain::{BlockId, ChainEvent, Fork, Gap, GapEnd};
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::node::Event;
use opp2p_core::peers::{PeerEvent, PeerId};
use opp2p_core::sync::SyncEvent;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

/// Maximum number of remembered blocks.
const BLOCKS: usize = 4096;
/// Maximum number of remembered events.
const NOTES: usize = 32;
/// Time that the log waits for the last followers before it prints a block's line.
const PATIENCE: Duration = Duration::from_secs(2);

/// One node of the devnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The node that makes the blocks.
    Sequencer,
    /// A follower, by its place in [`Setup::followers`].
    Follower(usize),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequencer => f.pad("sequencer"),
            // Shown counted from one.
            Self::Follower(index) => f.pad(&format!("follower {}", index.saturating_add(1))),
        }
    }
}

/// Identity of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its peer id as text.
    pub peer_id: String,
    /// Its TCP port.
    pub port: u16,
}

/// Constants of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The devnet's L2 chain id.
    pub chain_id: u64,
    /// The newest active fork.
    pub fork: Fork,
    /// Time between two blocks.
    pub block_time: Duration,
    /// The node that makes the blocks.
    pub sequencer: NodeInfo,
    /// The nodes that should get them.
    pub followers: Vec<NodeInfo>,
    /// Address of the observer page; `None` if it is not served.
    pub web: Option<String>,
}

/// The record of one run. Times are since its start.
#[derive(Debug)]
pub struct Report {
    pub(super) setup: Setup,
    pub(super) sequencer: Tally,
    /// In the order of [`Setup::followers`].
    pub(super) followers: Vec<Tally>,
    /// Totals of the published blocks.
    pub(super) totals: Totals,
    pub(super) blocks: BTreeMap<u64, Row>,
    /// Published blocks that the sequencer left for others. A follower may still report them.
    left: BTreeSet<(u64, B256)>,
    /// The newest scenarios.
    pub(super) scenarios: VecDeque<Played>,
    /// The highest forgotten number.
    forgotten: Option<u64>,
    /// Number of the next block in the log.
    next_in_log: Option<u64>,
    pub(super) notes: VecDeque<Note>,
    /// Number of the newest notes that the log has not shown yet.
    notes_for_log: usize,
    /// Whether the log has shown the page's address.
    web_in_log: bool,
}

/// Totals of the published blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) blocks: u64,
    pub(super) transactions: u64,
    pub(super) bytes: u64,
    /// The lowest number; `newest` is the highest.
    pub(super) first: Option<u64>,
    pub(super) newest: Option<u64>,
}

/// State of one block.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) published: Option<Published>,
    /// One mark per follower.
    pub(super) marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) hash: B256,
    transactions: usize,
    bytes: usize,
    at: Duration,
}

/// A scenario that was played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Played {
    pub(super) scenario: Scenario,
    pub(super) at: Duration,
    /// Number of the newest published block at its beginning.
    pub(super) block: Option<u64>,
}

/// An event to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: Duration,
    /// The node; `None` for the devnet itself.
    pub(super) member: Option<Member>,
    pub(super) text: String,
    /// Number of consecutive repetitions.
    pub(super) times: u64,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = self.member {
            write!(f, "{member}: ")?;
        }
        f.write_str(&self.text)?;
        if self.times > 1 { write!(f, " ({} times)", self.times) } else { Ok(()) }
    }
}

/// A published block and its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockLine {
    pub(super) id: BlockId,
    pub(super) transactions: usize,
    /// Size of the encoded envelope.
    pub(super) bytes: usize,
    /// Number of followers that have the block.
    pub(super) held: usize,
    pub(super) followers: usize,
    /// Latency of the slowest follower that accepted the block in time.
    pub(super) slowest: Option<Duration>,
}

impl fmt::Display for BlockLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, transactions, held, followers, .. } = self;
        let (hash, size) = (short_hash(&id.hash, 8), size(self.bytes as u64));
        write!(
            f,
            "{:<6} 0x{hash}  {transactions:>4} txs  {size:>8}  {held}/{followers} followers",
            id.number
        )?;
        match self.slowest {
            Some(slowest) => write!(f, "  slowest {} ms", millis(slowest)),
            None => Ok(()),
        }
    }
}

impl Report {
    /// Creates an empty record.
    pub fn new(setup: Setup) -> Self {
        let followers = setup.followers.iter().map(|_| Tally::default()).collect();
        Self {
            setup,
            sequencer: Tally::default(),
            followers,
            totals: Totals::default(),
            blocks: BTreeMap::new(),
            left: BTreeSet::new(),
            scenarios: VecDeque::new(),
            forgotten: None,
            next_in_log: None,
            notes: VecDeque::new(),
            notes_for_log: 0,
            web_in_log: false,
        }
    }

    /// Records that the sequencer published `block`, whose envelope has `bytes` encoded bytes.
    ///
    /// Numbers ascend by one. Only the first block of a number counts; followers should not have
    /// any other.
    pub fn published(&mut self, block: BlockId, transactions: usize, bytes: usize, at: Duration) {
        let BlockId { number, hash } = block;
        let Some(row) = self.row(number) else { return };
        if row.published.is_some() {
            return;
        }
        row.published = Some(Published { hash, transactions, bytes, at });
        let marks = row.marks.clone();
        for (mark, tally) in marks.iter().zip(&mut self.followers) {
            if mark.holds(hash) {
                tally.holds_another(mark.latency(hash, at));
            }
            if mark.delivered.is_some_and(|delivered| delivered != hash) {
                tally.order.delivered_another();
            }
            if let Some(outage) = &mut tally.outage {
                outage.published(at);
            }
        }
        self.totals.blocks += 1;
        self.totals.transactions += transactions as u64;
        self.totals.bytes += bytes as u64;
        self.totals.first.get_or_insert(number);
        self.totals.newest = self.totals.newest.max(Some(number));
        self.next_in_log.get_or_insert(number);
    }

    /// Records a node's verdict on a gossip message:
    /// [`Verdict::result`](opp2p_core::gossip::Verdict::result).
    pub fn verdict(&mut self, member: Member, result: Result<BlockId, Reason>, at: Duration) {
        let Some(tally) = self.tally(member) else { return };
        match result {
            Ok(block) => {
                tally.accepted += 1;
                self.accepted(member, block, at);
            }
            Err(reason) => {
                *tally.refused.entry(reason).or_default() += 1;
                // Duplicates are common; the other reasons are worth a note.
                if reason.acceptance() == Acceptance::Reject
                    || matches!(
                        reason,
                        Reason::Throttled | Reason::SignerInDoubt | Reason::HashInDoubt
                    )
                {
                    self.note(member, format!("{}: {reason}", reason.acceptance()), at);
                }
            }
        }
    }

    fn accepted(&mut self, member: Member, block: BlockId, at: Duration) {
        if self.left.contains(&(block.number, block.hash)) {
            return;
        }
        self.arrived(member, block.number, |mark, away| {
            if mark.accepted.is_none() {
                mark.late |= away || mark.delivered.is_some();
                mark.accepted = Some((block.hash, at));
            }
        });
    }

    /// Records that a node delivered the next block of its chain.
    pub fn delivered(&mut self, member: Member, block: BlockId) {
        let Some(tally) = self.tally(member) else { return };
        tally.head = Some(block);
        tally.order.delivered(block.number);
        if self.left.contains(&(block.number, block.hash)) {
            return;
        }
        let published = self.arrived(member, block.number, |mark, _| {
            mark.late |= mark.accepted.is_none();
            // The order of the numbers reveals a repeated block.
            mark.delivered.get_or_insert(block.hash);
        });
        let as_published = published.is_some_and(|hash| hash.is_none_or(|hash| hash == block.hash));
        if let (false, Member::Follower(index)) = (as_published, member)
            && let Some(tally) = self.followers.get_mut(index)
        {
            tally.order.delivered_another();
        }
    }

    /// Records with `mark` that a block reached a follower; the second argument of `mark` is
    /// whether the follower is away. Returns the hash that was published at this number, if any;
    /// `None` if the number is forgotten.
    fn arrived(
        &mut self,
        member: Member,
        number: u64,
        mark: impl FnOnce(&mut Mark, bool),
    ) -> Option<Option<B256>> {
        let Member::Follower(index) = member else { return None };
        let away = self.followers.get(index)?.is_away();
        let row = self.row(number)?;
        let published = row.published;
        let here = row.marks.get_mut(index)?;
        let held = published.is_some_and(|published| here.holds(published.hash));
        mark(here, away);
        let Some(Published { hash, at, .. }) = published else { return Some(None) };
        let (holds, latency) = (here.holds(hash), here.latency(hash, at));
        if holds && !held {
            self.followers.get_mut(index)?.holds_another(latency);
        }
        Some(Some(hash))
    }

    /// Records an event of a node's core.
    pub fn event(&mut self, member: Member, event: &Event, at: Duration) {
        let Some(tally) = self.tally(member) else { return };
        let text = match event {
            Event::Peers(PeerEvent::Banned { peer, score: Some(score), .. }) => {
                tally.bans += 1;
                banned(peer, *score)
            }
            // The other peers belong to the devnet.
            Event::Peers(_) | Event::Commanded { .. } | Event::Configured { .. } => return,
            // The events that lead to troubles are noted below.
            Event::TroubleBegan(_) | Event::TroubleEnded(_) => return,
            Event::Chain(ChainEvent::Extended(block)) => {
                self.delivered(member, BlockId::of(block));
                return self.level(member, at);
            }
            Event::Chain(ChainEvent::GapChanged(gap)) => {
                tally.gaps.insert(gap.id, missing(gap));
                return;
            }
            Event::Chain(ChainEvent::GapOpened(gap)) => {
                tally.gaps_opened += 1;
                tally.gaps.insert(gap.id, missing(gap));
                format!("gap: {} missing below {}", count(missing(gap), "block"), gap.before.number)
            }
            Event::Chain(ChainEvent::GapClosed { id, end: GapEnd::Merged }) => {
                tally.gaps.remove(id);
                tally.gaps_opened = tally.gaps_opened.saturating_sub(1);
                return;
            }
            Event::Chain(ChainEvent::GapClosed { id, end }) => {
                tally.gaps.remove(id);
                format!("gap closed: {}", format!("{end:?}").to_lowercase())
            }
            Event::Chain(ChainEvent::Reorg { ancestor, abandoned, adopted }) => {
                tally.reorgs += 1;
                tally.head = Some(*ancestor);
                tally.order.resume(Some(ancestor.number));
                let (gone, new) = (count(abandoned.len() as u64, "block"), adopted.len());
                format!("reorg: {gone} above {} replaced by {new}", ancestor.number)
            }
            Event::Chain(ChainEvent::Equivocation { number, first, second }) => {
                tally.equivocations += 1;
                let (first, second) = (short_hash(&first.hash, 8), short_hash(&second.hash, 8));
                format!("equivocation: block {number} is 0x{first} and 0x{second}")
            }
            Event::Chain(ChainEvent::Contended { shown, other }) => {
                format!("two branches are signed at once: up to {shown} and up to {other}")
            }
            Event::Chain(ChainEvent::Skipped { from, to, .. }) => match from.between(to) {
                Some(left_out) => {
                    format!("left out: blocks {} to {}", left_out.start(), left_out.end())
                }
                None => format!("goes on at block {}, whose link is not known", to.number),
            },
            Event::Sync(SyncEvent::Landing { after, highest, blocks }) => {
                let blocks = count(*blocks as u64, "missing block");
                format!(
                    "fetched {blocks}: {} to {}",
                    after.number.saturating_add(1),
                    highest.number
                )
            }
            Event::Sync(SyncEvent::Refused { error, .. }) => error.to_string(),
            Event::Sync(_) | Event::Published { result: Ok(_), .. } => return,
            Event::Published { result: Err(error), .. } => format!("not published: {error}"),
            Event::SignerChanged { current: Some(signer), .. } => {
                format!("the signer is now {signer}")
            }
            Event::SignerChanged { current: None, .. } => "no signer is known".to_owned(),
            Event::ScheduleInDoubt(doubt) => doubt.to_string(),
            // A devnet's chain has no unknown forks.
            Event::ScheduleDoubtEnded(_) | Event::UnknownFork(_) => return,
        };
        self.note(member, text, at);
    }

    /// Records a node's current number of connected peers.
    pub fn peers(&mut self, member: Member, count: usize) {
        if let Some(tally) = self.tally(member) {
            tally.peers = count;
        }
    }

    /// Returns `true` if every follower holds every published block, and delivered them in order.
    pub fn all_in_order(&self) -> bool {
        self.followers.iter().all(|tally| self.is_in_order(tally))
    }

    pub(super) fn is_in_order(&self, tally: &Tally) -> bool {
        tally.received == self.totals.blocks
            && tally.order.is_exactly(self.totals.first, self.totals.blocks)
            // Two branches may have equally many blocks.
            && self.newest().is_none_or(|newest| tally.head == Some(newest))
    }

    fn newest(&self) -> Option<BlockId> {
        let number = self.totals.newest?;
        let published = self.blocks.get(&number)?.published?;
        Some(BlockId::new(number, published.hash))
    }

    /// Returns the next line of the log: first the page's address, then an event worth a line or a
    /// finished block. A block is finished when every follower has it except those that were killed
    /// and are not back, or 2 s after its publication. Blocks come in order; at `Duration::MAX` all
    /// of them are finished.
    ///
    /// This is called until it returns `None`, after each change and periodically.
    pub fn next_line(&mut self, now: Duration) -> Option<String> {
        if !std::mem::replace(&mut self.web_in_log, true)
            && let Some(web) = &self.setup.web
        {
            return Some(format!("observer page: {web}"));
        }
        if self.notes_for_log > 0 {
            let note = self.notes.iter().nth_back(self.notes_for_log - 1);
            self.notes_for_log -= 1;
            return note.map(Note::to_string);
        }
        loop {
            let number = self.next_in_log.filter(|number| Some(*number) <= self.totals.newest)?;
            // A number that is forgotten or was skipped has no line.
            if let Some((line, at)) = self.line(number) {
                if now.saturating_sub(at) < PATIENCE && self.is_awaited(number) {
                    return None;
                }
                self.next_in_log = number.checked_add(1);
                return Some(format!("block {line}{}", self.away()));
            }
            self.next_in_log = number.checked_add(1);
        }
    }

    /// Returns a block's line, and its time of publication.
    fn line(&self, number: u64) -> Option<(BlockLine, Duration)> {
        let row = self.blocks.get(&number)?;
        Some((row.line(number)?, row.published?.at))
    }

    /// Returns the published blocks, newest first.
    pub(super) fn newest_blocks(&self) -> impl Iterator<Item = BlockLine> + '_ {
        self.blocks.iter().rev().filter_map(|(number, row)| row.line(*number))
    }

    pub(super) fn tally(&mut self, member: Member) -> Option<&mut Tally> {
        match member {
            Member::Sequencer => Some(&mut self.sequencer),
            Member::Follower(index) => self.followers.get_mut(index),
        }
    }

    /// Returns the row of a number; `None` if it is forgotten.
    fn row(&mut self, number: u64) -> Option<&mut Row> {
        let followers = self.followers.len();
        if self.forgotten >= Some(number) {
            return None;
        }
        self.blocks
            .entry(number)
            .or_insert_with(|| Row { published: None, marks: vec![Mark::default(); followers] });
        if self.blocks.len() > BLOCKS {
            self.forgotten = self.blocks.pop_first().map(|(lowest, _)| lowest);
        }
        self.blocks.get_mut(&number)
    }

    pub(super) fn note(&mut self, member: impl Into<Option<Member>>, text: String, at: Duration) {
        let member = member.into();
        if let Some(last) = self.notes.back_mut()
            && last.member == member
            && last.text == text
        {
            last.times += 1;
            return;
        }
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { at, member, text, times: 1 });
        self.notes_for_log = (self.notes_for_log + 1).min(NOTES);
    }
}

impl Row {
    /// Returns the block's line; `None` until it is published.
    fn line(&self, number: u64) -> Option<BlockLine> {
        let Published { hash, transactions, bytes, at } = self.published?;
        Some(BlockLine {
            id: BlockId::new(number, hash),
            transactions,
            bytes,
            held: self.marks.iter().filter(|mark| mark.holds(hash)).count(),
            followers: self.marks.len(),
            slowest: self.marks.iter().filter_map(|mark| mark.latency(hash, at)).max(),
        })
    }
}

fn banned(peer: &PeerId, score: f64) -> String {
    // Every peer has come by libp2p, so its id is one of libp2p's.
    let peer = opp2p_wire::to_libp2p(peer).map(|peer| peer.to_string());
    format!("banned the peer {} for its score of {score:.0}", peer.unwrap_or_default())
}

/// Returns the number of missing blocks, at least one: at a fork no number is missing, but a block
/// is.
fn missing(gap: &Gap) -> u64 {
    gap.missing.max(1)
}

#[cfg(test)]
pub(super) mod tests;
