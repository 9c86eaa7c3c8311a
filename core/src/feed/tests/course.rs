//! A chain, a store, a stream and a consumer in one thread, with all failures that can happen to
//! them, in any order.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug, Default)]
struct Store {
    canonical: BTreeMap<u64, Made>,
    /// All known blocks by hash.
    all: BTreeMap<B256, Made>,
    /// Removed blocks.
    pruned: BTreeSet<B256>,
    /// The canonical chain including removed blocks.
    truth: BTreeMap<u64, Made>,
    /// Number from which on canonical positions are remembered.
    remembered: u64,
    branches: u64,
    /// A branch that the chain left and can return to: its ancestor and its blocks.
    left: Option<(BlockId, Vec<Made>)>,
}

impl Store {
    fn head(&self) -> Option<BlockId> {
        self.truth.values().next_back().map(BlockId::of)
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
        let (number, parent) =
            self.head().map_or((10, B256::ZERO), |head| (head.number + 1, head.hash));
        self.put(Made { number, hash: hash(self.branches), parent });
    }

    fn skip(&mut self, over: u64) {
        self.branches += 1;
        let number = self.head().map_or(10, |head| head.number + 1) + over;
        self.put(Made {
            number,
            hash: hash(self.branches),
            parent: hash(u64::MAX - self.branches),
        });
    }

    /// Leaves `depth` blocks for a branch of `length` blocks, which may be shorter.
    fn reorg(&mut self, depth: u64, length: u64) {
        let Some(head) = self.head() else { return };
        let Some(ancestor) =
            head.number.checked_sub(depth).and_then(|number| self.truth.get(&number))
        else {
            return;
        };
        let mut below = BlockId::of(ancestor);
        let abandoned: Vec<Made> =
            self.truth.range(below.number + 1..).map(|(_, block)| *block).collect();
        // A branch can be followed only along its links.
        if below.number < self.remembered || abandoned.len() as u64 != depth {
            return;
        }
        self.left = Some((below, abandoned));
        self.canonical.split_off(&(below.number + 1));
        self.truth.split_off(&(below.number + 1));
        for _ in 0..length {
            self.branches += 1;
            let block =
                Made { number: below.number + 1, hash: hash(self.branches), parent: below.hash };
            self.put(block);
            below = BlockId::of(&block);
        }
    }

    /// Replaces the whole chain by one that begins `below` numbers below the head.
    fn detach(&mut self, below: u64) {
        let Some(head) = self.head() else { return };
        self.left = None;
        self.canonical.clear();
        self.truth.clear();
        self.branches += 1;
        let number = head.number.saturating_sub(below).max(1);
        self.remembered = number;
        self.put(Made {
            number,
            hash: hash(self.branches),
            parent: hash(u64::MAX - self.branches),
        });
    }

    /// Returns to the branch that was left last, which has meanwhile grown beyond the head.
    fn return_to_branch(&mut self) {
        let Some((ancestor, blocks)) = self.left.take() else { return };
        let is_here =
            self.truth.get(&ancestor.number).is_some_and(|block| block.hash == ancestor.hash);
        let Some(head) = self.head().filter(|_| is_here) else { return };
        let abandoned = self.truth.range(ancestor.number + 1..).map(|(_, block)| *block).collect();
        self.left = Some((ancestor, abandoned));
        self.canonical.split_off(&(ancestor.number + 1));
        self.truth.split_off(&(ancestor.number + 1));
        for block in blocks {
            self.put(block);
        }
        while self.head().is_some_and(|now| now.number <= head.number) {
            self.extend();
        }
    }

    /// Retention removes the lowest block. Its position is remembered.
    fn prune(&mut self) {
        if self.canonical.len() < 3 {
            return;
        }
        let Some((lowest, _)) = self.canonical.pop_first() else { return };
        let gone = self.all.values().filter(|block| block.number <= lowest);
        self.pruned.extend(gone.map(|block| block.hash));
    }

    /// Forgets the positions of removed blocks, too.
    fn forget(&mut self) {
        let Some((&lowest, _)) = self.canonical.first_key_value() else { return };
        self.remembered = self.remembered.max(lowest);
        let gone = self.all.values().filter(|block| block.number < lowest);
        self.pruned.extend(gone.map(|block| block.hash));
        self.all.retain(|_, block| block.number >= lowest);
    }

    fn is_canonical(&self, id: BlockId) -> bool {
        let found = self.truth.get(&id.number);
        id.number >= self.remembered && found.is_some_and(|block| block.hash == id.hash)
    }

    fn way(&self, tip: Tip) -> Way {
        let (mut abandoned, mut next) = (Descent::default(), Some(tip));
        while let Some(tip) = next {
            if self.is_canonical(tip.id) {
                return Way::To { ancestor: tip.id, abandoned: abandoned.finish() };
            }
            abandoned.push(tip.id);
            let parent = self.all.get(&tip.id.hash).map(|block| block.parent).or(tip.parent);
            let below = tip.id.number.checked_sub(1);
            next = parent.zip(below).map(|(hash, number)| Tip::new(BlockId::new(number, hash)));
        }
        match self.all.contains_key(&tip.id.hash) {
            true => Way::Lost,
            // This store never loses a stored block.
            false => Way::Unknown { may_come: false },
        }
    }

    fn read(&self, query: Query, limit: usize) -> Page<Made> {
        let (way, from) = match query {
            Query::From(number) => (Way::NotAsked, number),
            Query::After(tip) => {
                let way = self.way(tip);
                let from = match &way {
                    Way::To { ancestor, .. } => ancestor.number + 1,
                    _ => 0,
                };
                (way, from)
            }
        };
        let blocks = self.canonical.range(from..).map(|(_, block)| *block).take(limit).collect();
        Page { head: self.truth.values().next_back().map(BlockId::of), way, blocks }
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
    /// Whether the connection still exists, so that an answer can arrive.
    is_heard: bool,
}

#[derive(Debug, Default)]
struct Stream {
    log: Vec<Message>,
    sequence: u64,
    /// Name of its last message, if the feed published it.
    last_name: Option<String>,
    /// The remembered names.
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

/// A consumer's copy of the chain, checked strictly.
#[derive(Debug, Default)]
struct Consumer {
    chain: Vec<BlockId>,
    /// The block that comes next, and whether it is on another branch.
    announced: Option<(BlockId, bool)>,
    /// The ancestor of the last reorg, if this log left out that position, until a block follows.
    left_out: Option<BlockId>,
}

impl Consumer {
    fn hear(&mut self, event: &FeedEvent<Made>) {
        match event {
            FeedEvent::Block(block) => {
                let id = BlockId::of(block);
                if let Some((to, is_fork)) = self.announced.take() {
                    assert_eq!(id, to, "another block than the one that was announced");
                    // On another branch, the blocks below may be abandoned: a strict consumer
                    // starts over.
                    self.chain.retain(|held| !is_fork && held.number < to.number);
                } else if let Some(last) = self.left_out.as_ref().or(self.chain.last()) {
                    assert_eq!(
                        (last.number + 1, last.hash),
                        (block.number, block.parent),
                        "a hole or a double"
                    );
                }
                self.left_out = None;
                self.chain.push(id);
            }
            FeedEvent::Reorg { ancestor, abandoned, .. } => {
                self.announced = None;
                // A log that begins above the ancestor is now empty.
                let kept = self.chain.partition_point(|held| held.number <= ancestor.number);
                let below = kept.checked_sub(1).map(|last| self.chain[last]);
                self.left_out = (below != Some(*ancestor)).then_some(*ancestor);
                let is_below = below.is_none_or(|below| below.number < ancestor.number);
                assert!(is_below || below == Some(*ancestor), "another ancestor");
                let gone = self.chain.split_off(kept);
                let taken_back = abandoned.listed().expect("a short branch");
                // Positions that this log left out, or that lie below its beginning, may be listed
                // too.
                assert!(taken_back.is_sorted_by_key(|id| id.number));
                let mut listed = taken_back.iter();
                let is_listed = gone.iter().all(|told| listed.any(|id| id == told));
                assert!(is_listed, "what was told is taken back");
            }
            FeedEvent::Skipped { from, to, is_fork } => {
                // The ancestor of a reorg may lie below where this log begins.
                let last = self.left_out.take().or(self.chain.last().copied());
                assert!(last.is_none() || last == *from);
                self.announced = Some((*to, *is_fork));
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
    /// Whether a block deep below the head was replaced.
    is_deep: bool,
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
            is_deep: false,
        }
    }

    fn restart(&mut self) {
        self.hang_up();
        self.sink = FeedSink::new(at(self.now), None, self.store.head());
        (self.failing, self.working) = (0, 0);
    }

    /// Closes the connection. Messages in flight may still arrive, but no answer comes back.
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
            2 => self.store.reorg(how % 4 + 1, how % 4 + 2),
            // Pruning and deep branches are tested separately: with both, this model can't tell
            // which blocks a consumer may still have.
            14 if self.store.pruned.is_empty() => {
                self.is_deep = true;
                self.store.reorg(how * how, how % 3);
            }
            14 => self.store.extend(),
            3 => self.store.return_to_branch(),
            4 if how == 0 => self.store.skip(1),
            4 if how == 1 && self.store.pruned.is_empty() => {
                self.is_deep = true;
                self.store.detach(7);
            }
            4 => self.store.extend(),
            5 if how == 7 && !self.is_deep => self.store.forget(),
            5 if how > 4 && !self.is_deep => self.store.prune(),
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
                    // Data that the server has not read is lost with the connection.
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

    /// Runs without further failures until nothing is left to do.
    fn settle(&mut self) {
        self.is_up = true;
        // The server may take a message of a lost connection after the sink has asked for the
        // stream's end. The sink finds out when it publishes the next event, so there is one.
        let has_strays = self.wire.iter().any(|sent| !sent.is_heard);
        self.run();
        if has_strays {
            self.store.extend();
            self.run();
        }
    }

    fn run(&mut self) {
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
        // A head that was removed from the store can no longer be reported.
        let head = self.store.head();
        if !head.is_some_and(|head| self.store.pruned.contains(&head.hash)) {
            assert_eq!(consumer.chain.last().copied(), head, "{:?}", self.sink);
        }
        let told: BTreeSet<B256> = consumer.chain.iter().map(|id| id.hash).collect();
        assert_eq!(told.len(), consumer.chain.len(), "nothing is doubled");
        for held in &consumer.chain {
            let is_true =
                self.store.truth.get(&held.number).is_some_and(|block| block.hash == held.hash);
            // If a whole branch was removed from the store, its abandonment can no longer be
            // reported.
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
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_course_of_events_leaves_the_log_equal_to_the_chain(
        acts in prop::collection::vec((0_u8..15, 0_u8..8), 1..160),
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
