//! A chain, a store, a stream and a consumer in one thread, and all that can befall them.

use super::*;
use crate::chain::{BlockId, ChainBlock, ChainView, ChainViewConfig, Origin};
use crate::time::Instant;
use alloy_primitives::B256;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    number: u64,
    hash: B256,
    parent: B256,
}

impl ChainBlock for Made {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> B256 {
        self.hash
    }

    fn parent_hash(&self) -> B256 {
        self.parent
    }

    fn size(&self) -> usize {
        1000
    }
}

fn hash(number: u64) -> B256 {
    B256::from(alloy_primitives::U256::from(number))
}

/// A block on the branch of this name.
fn made(number: u64, branch: u64, parent_branch: u64) -> Made {
    let name = |number: u64, branch: u64| hash(branch * 1_000_000 + number);
    Made { number, hash: name(number, branch), parent: name(number.saturating_sub(1), parent_branch) }
}

fn id(number: u64, branch: u64) -> BlockId {
    BlockId::of(&made(number, branch, branch))
}

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

#[derive(Debug, Default)]
struct Store {
    canonical: BTreeMap<u64, Made>,
    all: BTreeMap<B256, Made>,
    /// Removed blocks.
    pruned: BTreeSet<B256>,
    /// The canonical chain with what was removed.
    truth: BTreeMap<u64, Made>,
    branches: u64,
    /// A branch that the chain has left, to come back to: its ancestor, and its blocks.
    left: Option<(BlockId, Vec<Made>)>,
}

impl Store {
    fn head(&self) -> Option<BlockId> {
        self.canonical.values().next_back().map(BlockId::of)
    }

    fn put(&mut self, block: Made) {
        self.canonical.split_off(&block.number);
        self.truth.split_off(&block.number);
        self.canonical.insert(block.number, block);
        self.truth.insert(block.number, block);
        self.all.insert(block.hash, block);
    }

    fn extend(&mut self) {
        self.branches += 1;
        let (number, parent) = self.head().map_or((10, B256::ZERO), |head| (head.number + 1, head.hash));
        self.put(Made { number, hash: hash(self.branches), parent });
    }

    fn skip(&mut self, over: u64) {
        self.branches += 1;
        let number = self.head().map_or(10, |head| head.number + 1) + over;
        self.put(Made { number, hash: hash(self.branches), parent: hash(u64::MAX - self.branches) });
    }

    fn reorg(&mut self, depth: u64) {
        let Some(head) = self.head() else { return };
        let Some(ancestor) = head.number.checked_sub(depth).and_then(|number| self.canonical.get(&number))
        else {
            return;
        };
        let mut below = BlockId::of(ancestor);
        let abandoned: Vec<Made> =
            self.canonical.range(below.number + 1..).map(|(_, block)| *block).collect();
        // A branch is followed by links only.
        if abandoned.len() as u64 != depth {
            return;
        }
        self.left = Some((below, abandoned));
        for _ in 0..=depth {
            self.branches += 1;
            let block = Made { number: below.number + 1, hash: hash(self.branches), parent: below.hash };
            self.put(block);
            below = BlockId::of(&block);
        }
    }

    /// Goes back to the branch that was left last, which has grown beyond the head meanwhile.
    fn return_to_branch(&mut self) {
        let Some((ancestor, blocks)) = self.left.take() else { return };
        let is_here = self.canonical.get(&ancestor.number).is_some_and(|block| block.hash == ancestor.hash);
        let Some(head) = self.head().filter(|_| is_here) else { return };
        let abandoned = self.canonical.range(ancestor.number + 1..).map(|(_, block)| *block).collect();
        self.left = Some((ancestor, abandoned));
        for block in blocks {
            self.put(block);
        }
        while self.head().is_some_and(|now| now.number <= head.number) {
            self.extend();
        }
    }

    fn prune(&mut self) {
        if self.canonical.len() < 3 {
            return;
        }
        let Some((&lowest, _)) = self.canonical.first_key_value() else { return };
        self.canonical.remove(&lowest);
        let gone: Vec<B256> =
            self.all.values().filter(|block| block.number <= lowest).map(|block| block.hash).collect();
        for hash in gone {
            self.all.remove(&hash);
            self.pruned.insert(hash);
        }
    }

    fn is_canonical(&self, id: BlockId) -> bool {
        self.canonical.get(&id.number).is_some_and(|block| block.hash == id.hash)
    }

    fn read(&self, query: Query, limit: usize) -> Page<Made> {
        let (mut abandoned, mut ancestor, mut from) = (Vec::new(), None, 0);
        match query {
            Query::From(number) => from = number,
            Query::After(tip) => {
                let mut next = Some(tip);
                while let Some(tip) = next {
                    if self.is_canonical(tip.id) {
                        ancestor = Some(tip.id);
                        from = tip.id.number + 1;
                        break;
                    }
                    abandoned.push(tip.id);
                    let parent = self.all.get(&tip.id.hash).map(|block| block.parent).or(tip.parent);
                    let below = tip.id.number.checked_sub(1);
                    next = parent.zip(below).map(|(hash, number)| Tip::new(BlockId::new(number, hash)));
                }
            }
        }
        let blocks = self.canonical.range(from..).map(|(_, block)| *block).take(limit).collect();
        Page { head: self.head(), abandoned, ancestor, blocks }
    }
}

#[derive(Clone, Debug)]
struct Message {
    sequence: u64,
    event: FeedEvent<Made>,
}

#[derive(Clone, Debug)]
struct Sent {
    id: StepId,
    event: FeedEvent<Made>,
    name: String,
    follows: Follows,
    /// Whether its connection stands, so that there can be an answer.
    is_heard: bool,
}

#[derive(Debug, Default)]
struct Stream {
    log: Vec<Message>,
    sequence: u64,
    /// The name of its last message, if the feed has put it there.
    last_name: Option<String>,
    /// The names that are remembered.
    names: BTreeMap<String, u64>,
}

impl Stream {
    fn last(&self) -> u64 {
        self.log.last().map_or(0, |message| message.sequence)
    }

    fn take(&mut self, sent: &Sent) -> Result<Ack, Refusal> {
        if let Some(&sequence) = self.names.get(&sent.name) {
            return Ok(Ack { sequence, is_duplicate: true });
        }
        let is_there = match &sent.follows {
            Follows::Number(number) => self.last() == *number,
            Follows::Name(name) => self.last_name.as_ref() == Some(name),
        };
        if !is_there {
            return Err(Refusal::WrongLast);
        }
        self.last_name = Some(sent.name.clone());
        self.sequence += 1;
        self.log.push(Message { sequence: self.sequence, event: sent.event.clone() });
        self.names.insert(sent.name.clone(), self.sequence);
        Ok(Ack { sequence: self.sequence, is_duplicate: false })
    }
}

/// What a consumer makes of the log, strictly.
#[derive(Debug, Default)]
struct Consumer {
    chain: Vec<BlockId>,
    announced: Option<BlockId>,
}

impl Consumer {
    fn hear(&mut self, event: &FeedEvent<Made>) {
        match event {
            FeedEvent::Block(block) => {
                let id = BlockId::of(block);
                if let Some(to) = self.announced.take() {
                    assert_eq!(id, to, "another block than the one that was announced");
                    self.chain.retain(|held| held.number < to.number);
                } else if let Some(last) = self.chain.last() {
                    assert_eq!(
                        (last.number + 1, last.hash),
                        (block.number, block.parent),
                        "a hole or a double"
                    );
                }
                self.chain.push(id);
            }
            FeedEvent::Reorg { ancestor, abandoned, .. } => {
                self.announced = None;
                let place = self.chain.iter().position(|held| held == ancestor);
                let place = place.expect("the consumer has the ancestor");
                assert_eq!(self.chain[place + 1..], abandoned[..], "what is taken back is what was told");
                self.chain.truncate(place + 1);
            }
            FeedEvent::Skipped { from, to } => {
                assert_eq!(self.chain.last(), from.as_ref());
                self.announced = Some(*to);
            }
        }
    }
}

#[derive(Debug)]
struct World {
    now: u64,
    store: Store,
    stream: Stream,
    is_up: bool,
    sink: FeedSink<Made>,
    connection: Option<StepId>,
    wire: VecDeque<Sent>,
    answers: VecDeque<(StepId, Result<Ack, Refusal>)>,
    failing: u64,
    working: u64,
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            store: Store::default(),
            stream: Stream::default(),
            is_up: true,
            sink: FeedSink::new(at(0), None, None),
            connection: None,
            wire: VecDeque::new(),
            answers: VecDeque::new(),
            failing: 0,
            working: 0,
        }
    }

    fn restart(&mut self) {
        self.hang_up();
        self.sink = FeedSink::new(at(self.now), None, self.store.head());
        (self.failing, self.working) = (0, 0);
    }

    /// What is on its way may still arrive; nobody hears of it.
    fn hang_up(&mut self) {
        self.connection = None;
        self.answers.clear();
        for sent in &mut self.wire {
            sent.is_heard = false;
        }
    }

    fn drive(&mut self) {
        for _ in 0..10_000 {
            let Some(step) = self.sink.poll(at(self.now)) else { return };
            match step {
                SinkStep::Connect(id) => {
                    self.hang_up();
                    if self.is_up {
                        self.connection = Some(id);
                        let last = self.stream.log.last();
                        let last = last.map(|message| (message.sequence, message.event.position()));
                        self.sink.connected(id, StreamEnd { sequence: self.stream.sequence, last });
                    } else {
                        let why = FeedFailure::Connection("nobody listens".into());
                        self.sink.disconnected(at(self.now), id, why);
                    }
                }
                SinkStep::Load(id, query) => {
                    let page = self.store.read(query, 3);
                    self.sink.loaded(at(self.now), id, Ok(page));
                }
                SinkStep::Publish { id, event, name, follows } => {
                    self.wire.push_back(Sent { id, event, name, follows, is_heard: true });
                    let under_way = self.wire.iter().filter(|sent| sent.is_heard).count();
                    assert!(under_way <= IN_FLIGHT);
                }
                SinkStep::Failing(_) => {
                    self.failing += 1;
                    assert_eq!(self.failing, self.working + 1, "an outage is told once");
                }
                SinkStep::Working => {
                    self.working += 1;
                    assert_eq!(self.failing, self.working);
                }
            }
        }
        panic!("it does not come to rest");
    }

    fn news(&mut self) {
        if let Some(head) = self.store.head() {
            self.sink.stored(head);
        }
    }

    fn arrive(&mut self) {
        if !self.is_up {
            return;
        }
        let Some(sent) = self.wire.pop_front() else { return };
        let result = self.stream.take(&sent);
        if sent.is_heard {
            self.answers.push_back((sent.id, result));
        }
    }

    fn answer(&mut self) {
        if let Some((id, result)) = self.answers.pop_front() {
            self.sink.acked(at(self.now), id, result);
        }
    }

    fn act(&mut self, what: u8, how: u8) {
        let how = u64::from(how);
        match what {
            0 | 1 => (0..=how).for_each(|_| self.store.extend()),
            2 => self.store.reorg(how % 4 + 1),
            3 => self.store.return_to_branch(),
            4 if how == 0 => self.store.skip(how),
            4 => self.store.extend(),
            5 if how > 5 => self.store.prune(),
            5 | 6 => (0..=how).for_each(|_| self.arrive()),
            7 => (0..=how).for_each(|_| self.answer()),
            8 => {
                self.is_up = how > 2;
                if !self.is_up {
                    if let Some(id) = self.connection {
                        let why = FeedFailure::Connection("it is gone".into());
                        self.sink.disconnected(at(self.now), id, why);
                    }
                    self.hang_up();
                    // What the server had not read is lost with it.
                    self.wire.truncate(how as usize);
                }
            }
            9 => self.restart(),
            10 => self.stream.names.clear(),
            11 if how > 5 => {
                self.stream.sequence += 1;
                self.stream.last_name = None;
            }
            11 => {}
            _ => self.now += how * how * 500,
        }
        self.news();
        self.drive();
    }

    /// All goes well from here on, until there is nothing left to do.
    fn settle(&mut self) {
        self.is_up = true;
        self.news();
        for _ in 0..5_000 {
            self.drive();
            (0..20).for_each(|_| self.arrive());
            (0..20).for_each(|_| self.answer());
            self.now += 200;
        }
        self.drive();
    }

    fn check(&self) {
        let mut consumer = Consumer::default();
        for message in &self.stream.log {
            consumer.hear(&message.event);
        }
        assert_eq!(consumer.announced, None);
        assert_eq!(consumer.chain.last().copied(), self.store.head(), "{:?}", self.sink);
        let told: BTreeSet<B256> = consumer.chain.iter().map(|id| id.hash).collect();
        assert_eq!(told.len(), consumer.chain.len(), "nothing is doubled");
        for held in &consumer.chain {
            let is_true = self.store.truth.get(&held.number).is_some_and(|block| block.hash == held.hash);
            // Of a branch that was removed altogether nobody can tell any more.
            assert!(is_true || self.store.pruned.contains(&held.hash), "{held} is not canonical");
        }
        for block in self.store.truth.values() {
            let is_told = told.contains(&block.hash);
            assert!(is_told || self.store.pruned.contains(&block.hash), "{} is lost", block.number);
        }
        assert_eq!((self.sink.behind(), self.sink.failure()), (0, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens_the_log_is_the_chain_and_nothing_is_lost_or_doubled(
        acts in prop::collection::vec((0_u8..14, 0_u8..8), 1..160),
    ) {
        let mut world = World::new();
        world.act(0, 1);
        for (what, how) in acts {
            world.act(what, how);
        }
        world.settle();
        world.check();
    }
}

fn page(head: BlockId, ancestor: Option<BlockId>, blocks: Vec<Made>) -> Page<Made> {
    Page { head: Some(head), abandoned: Vec::new(), ancestor, blocks }
}

#[test]
fn a_log_begins_where_it_is_asked_to_and_what_is_gone_is_said() {
    let blocks = || vec![made(5, 0, 0), made(6, 0, 0)];
    let mut cursor = Cursor::new(Position::Start { from: None });
    assert_eq!(cursor.query(), Query::From(0));
    let taken = cursor.take(page(id(6, 0), None, blocks()));
    assert_eq!(taken.events, blocks().into_iter().map(FeedEvent::Block).collect::<Vec<_>>());
    assert!(!taken.more);
    let mut cursor = Cursor::new(Position::Start { from: Some(3) });
    assert_eq!(cursor.query(), Query::From(3));
    let taken = cursor.take(page(id(9, 0), None, blocks()));
    assert_eq!(taken.events[0], FeedEvent::Skipped { from: None, to: id(5, 0) });
    assert!(taken.more && taken.events.len() == 3);
    assert_eq!(cursor.query(), Query::After(Tip { id: id(6, 0), parent: Some(id(5, 0).hash) }));
}

#[test]
fn a_log_that_is_ahead_of_the_store_waits_for_it() {
    let mut cursor = Cursor::new(Position::At(Tip::new(id(9, 1))));
    let taken = cursor.take(page(id(6, 0), None, vec![made(5, 0, 0), made(6, 0, 0)]));
    assert_eq!(taken, Taken { events: Vec::new(), more: false });
    assert_eq!(cursor.position(), Position::At(Tip::new(id(9, 1))));
}

#[test]
fn a_branch_that_is_left_is_taken_back_before_the_other_one_comes() {
    let mut cursor = Cursor::new(Position::At(Tip::new(id(7, 1))));
    let found = Page {
        head: Some(id(9, 0)),
        abandoned: vec![id(7, 1), id(6, 1)],
        ancestor: Some(id(5, 0)),
        blocks: (6..=9).map(|number| made(number, 0, 0)).collect(),
    };
    let taken = cursor.take(found);
    let reorg = FeedEvent::Reorg {
        ancestor: id(5, 0),
        abandoned: vec![id(6, 1), id(7, 1)],
        adopted: vec![id(6, 0), id(7, 0), id(8, 0)],
    };
    assert_eq!((taken.events.len(), &taken.events[0]), (5, &reorg));
}

#[test]
fn what_was_announced_and_is_not_canonical_any_more_is_announced_anew() {
    let mut cursor = Cursor::new(Position::Before { from: Some(id(5, 0)), to: id(9, 1) });
    assert_eq!(cursor.query(), Query::From(9));
    let taken = cursor.take(page(id(9, 2), None, vec![made(9, 2, 2)]));
    let taken_back = FeedEvent::Reorg { ancestor: id(5, 0), abandoned: Vec::new(), adopted: Vec::new() };
    assert_eq!(taken, Taken { events: vec![taken_back], more: true });
    assert_eq!(cursor.query(), Query::After(Tip::new(id(5, 0))));
    let taken = cursor.take(page(id(9, 2), Some(id(5, 0)), vec![made(8, 2, 2), made(9, 2, 2)]));
    assert_eq!(taken.events[0], FeedEvent::Skipped { from: Some(id(5, 0)), to: id(8, 2) });
}

#[test]
fn a_hole_that_the_view_knows_to_fill_is_none() {
    let mut view = ChainView::new(ChainViewConfig::default());
    for number in 5..=8 {
        view.insert(at(0), made(number, 0, 0), Origin::Signed);
        while view.poll_event().is_some() {}
    }
    let numbers = |ancestor: BlockId, numbers: &[u64]| {
        let blocks = numbers.iter().map(|number| made(*number, 0, 0)).collect();
        let mut page = page(id(8, 0), Some(ancestor), blocks);
        page.settle(&view);
        let taken = Cursor::new(Position::At(Tip::new(ancestor))).take(page.clone());
        assert!(!taken.more || page.blocks.len() == numbers.len(), "it does not ask at once");
        page.blocks.iter().map(|block| block.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(id(4, 0), &[5, 8]), [5], "6 and 7 are on their way to the disk");
    assert_eq!(numbers(id(7, 3), &[8]), [0_u64; 0], "another 7 is");
    assert_eq!(numbers(id(2, 0), &[5, 6]), [5, 6], "3 and 4 never were");
}

#[test]
fn attempts_come_ever_later_and_an_outage_is_told_once() {
    let mut sink: FeedSink<Made> = FeedSink::new(at(0), None, Some(id(7, 0)));
    let (mut now, mut waits, mut told) = (0, Vec::new(), 0);
    for _ in 0..10 {
        loop {
            match sink.poll(at(now)) {
                Some(SinkStep::Connect(step)) => {
                    sink.disconnected(at(now), step, FeedFailure::Connection("nobody".into()));
                }
                Some(SinkStep::Failing(_)) => told += 1,
                None => break,
                other => panic!("{other:?}"),
            }
        }
        let next = sink.next_wakeup().expect("another attempt").since(at(now)).as_millis() as u64;
        waits.push(next);
        now += next;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000]);
    assert_eq!((told, sink.behind()), (1, 0));
    sink.stored(id(12, 0));
    assert_eq!(sink.behind(), 5);
}

#[test]
fn who_does_not_answer_is_given_up_in_time() {
    let mut sink: FeedSink<Made> = FeedSink::new(at(0), None, None);
    let Some(SinkStep::Connect(first)) = sink.poll(at(0)) else { panic!("no attempt") };
    assert_eq!(sink.next_wakeup(), Some(at(20_000)));
    assert_eq!(sink.poll(at(20_000)), Some(SinkStep::Failing(FeedFailure::Timeout(CONNECT_TIMEOUT))));
    // It comes after all, and nobody waits for it.
    sink.connected(first, StreamEnd::default());
    assert_eq!(sink.poll(at(20_249)), None);
    let Some(SinkStep::Connect(second)) = sink.poll(at(20_250)) else { panic!("no attempt") };
    sink.connected(second, StreamEnd::default());
    sink.stored(id(5, 0));
    let Some(SinkStep::Load(load, _)) = sink.poll(at(20_250)) else { panic!("nothing is read") };
    sink.loaded(at(20_250), load, Ok(page(id(5, 0), None, vec![made(5, 0, 0)])));
    let published = sink.poll(at(20_250));
    assert!(
        matches!(published, Some(SinkStep::Publish { follows: Follows::Number(0), .. })),
        "{published:?}"
    );
    assert_eq!(sink.poll(at(30_249)), None);
    assert_eq!(sink.next_wakeup(), Some(at(30_250)));
    assert_eq!(sink.poll(at(30_250)), None, "the outage goes on");
    assert_eq!(sink.failure(), Some(&FeedFailure::Timeout(ACK_TIMEOUT)));
}
