//! A node that follows a chain, its store, and peers that serve, all in virtual time.

use super::*;
use crate::sync::range::{Encoded, EncodedBlocks};
use crate::sync::{LOAD_BLOCKS, Recalled};
use std::convert::Infallible;

/// How a peer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The chain by ranges and by number.
    Honest,
    /// The chain by number only.
    ByNumber,
    /// Ranges from this position on.
    From(usize),
    /// Blocks with a false hash.
    Forger,
    /// Blocks in ascending order.
    Ascending,
    /// Another chain, whose blocks link.
    Brancher,
    /// Half of an answer, and then the stream ends.
    Cutter,
    /// Half of an answer, and then nothing.
    Staller,
    /// Nothing at all.
    Silent,
    /// Always at its limit.
    Limited,
    /// Resets each stream.
    Resetter,
    /// Does not know the protocol that it claims.
    Stranger,
}

pub(super) const LIARS: [Kind; 9] = [
    Kind::Forger,
    Kind::Ascending,
    Kind::Brancher,
    Kind::Cutter,
    Kind::Staller,
    Kind::Silent,
    Kind::Limited,
    Kind::Resetter,
    Kind::Stranger,
];

impl Kind {
    const fn speaks_ranges(self) -> bool {
        !matches!(self, Self::ByNumber)
    }

    const fn serves_numbers(self) -> bool {
        matches!(self, Self::ByNumber | Self::Honest)
    }
}

/// Canonical blocks of a store: those from this position on.
pub(super) struct Stored<'a>(pub(super) &'a [Block], pub(super) usize);

impl EncodedBlocks for Stored<'_> {
    type Body = Bytes;
    type Error = Infallible;

    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Bytes>>, Infallible> {
        let found = self.0[self.1..].iter().find(|block| block.number() == number);
        Ok(found.map(|block| Encoded {
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            version: block.version(),
            body: block.body().clone(),
        }))
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Infallible> {
        let of = |block: Option<&Block>| block.map(Block::number);
        Ok(of(self.0.get(self.1)).zip(of(self.0.last())))
    }
}

/// A stream of the node's, as its server sees it.
pub(super) struct Stream {
    pub(super) peer: PeerId,
    /// What the server sends, and how the stream ends then.
    answer: Vec<u8>,
    end: Option<StreamClose>,
    sent: usize,
    /// When the node's order to read is carried out, and its limit.
    wants: Option<(Instant, usize)>,
}

pub(super) struct World {
    pub(super) node: Node,
    pub(super) now: Now,
    pub(super) chain: Vec<Block>,
    pub(super) branch: Vec<Block>,
    pub(super) kinds: BTreeMap<PeerId, Kind>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    requests: Vec<(Instant, RequestId, PeerId, u64)>,
    /// Blocks in the store's pending area.
    held: BTreeMap<BlockId, Block>,
    pub(super) conduct: Vec<(PeerId, Conduct)>,
    pub(super) skipped: usize,
    /// Numbers of the history's blocks, as the store took them, and its ends.
    pub(super) prepended: Vec<u64>,
    pub(super) ends: Vec<(u64, HistoryEnd)>,
    /// Blocks of the store outside its pending area, and whether its chain has each.
    pub(super) stored: BTreeMap<B256, (Block, bool)>,
    /// Number of times that the store was asked for what it has.
    pub(super) recalls: usize,
    /// Whether the store refuses blocks of the history.
    pub(super) refuses: bool,
    /// Whether the store refuses everything.
    pub(super) fails: bool,
    /// Lowest number that the limits of the store allow.
    pub(super) limit: u64,
    /// Numbers of streams and of requests by number to each peer.
    pub(super) opened: BTreeMap<PeerId, usize>,
    pub(super) asked: BTreeMap<PeerId, usize>,
    pub(super) cancelled: usize,
    pub(super) most_memory: usize,
    /// Bytes that each stream delivers in 10 ms.
    pub(super) rate: usize,
}

const TICK: Duration = Duration::from_millis(10);

impl World {
    /// Creates a node at the first block of a chain.
    pub(super) fn new(length: usize, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let chain: Vec<Block> = chain(V4, length).iter().map(decoded).collect();
        let view = ChainViewConfig { gap_patience: Some(60 * SECOND), ..Default::default() };
        let mut config = NodeConfig {
            head: Some(BlockId::of(&chain[0])),
            recent: vec![chain[0].clone()],
            sync: Some(SyncConfig::default()),
            view,
            ..super::config(V4)
        };
        change(&mut config);
        let now = Now::new(SECOND, Duration::from_secs(chain[0].timestamp()));
        Self {
            node: Node::new(now, config).expect("a good configuration"),
            now,
            chain,
            branch: Vec::new(),
            kinds: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: Vec::new(),
            held: BTreeMap::new(),
            conduct: Vec::new(),
            skipped: 0,
            prepended: Vec::new(),
            ends: Vec::new(),
            stored: BTreeMap::new(),
            recalls: 0,
            refuses: false,
            fails: false,
            limit: 0,
            opened: BTreeMap::new(),
            asked: BTreeMap::new(),
            cancelled: 0,
            most_memory: 0,
            rate: 64 << 10,
        }
    }

    /// Connects peers of these kinds, with the ids 1, 2 and so on.
    pub(super) fn with(mut self, kinds: &[Kind]) -> Self {
        if kinds.contains(&Kind::Brancher) {
            let mut branch = vec![block(V4)];
            for _ in 1..self.chain.len() {
                branch.push(child(branch.last().expect("one"), 7));
            }
            self.branch = branch.iter().map(decoded).collect();
        }
        for (id, kind) in (1..).zip(kinds) {
            self.connect(id, *kind);
        }
        self
    }

    pub(super) fn connect(&mut self, id: u8, kind: Kind) {
        let id = peer(id);
        self.kinds.insert(id, kind);
        self.tell(Input::Connected(id));
        let mut protocols = vec!["/meshsub/1.1.0".to_owned()];
        if kind.speaks_ranges() {
            protocols.push(PROTOCOL.to_owned());
        }
        if kind.serves_numbers() {
            protocols.push(protocol_id(CHAIN_ID));
        }
        let info = PeerInfo { protocols, ..PeerInfo::default() };
        self.tell(Input::Peer(id, PeerNews::Identified(info)));
    }

    pub(super) fn disconnect(&mut self, id: u8) {
        let id = peer(id);
        self.kinds.remove(&id);
        self.streams.retain(|_, stream| stream.peer != id);
        let (lost, left) =
            std::mem::take(&mut self.requests).into_iter().partition(|(_, _, to, _)| *to == id);
        self.requests = left;
        let lost: Vec<_> = lost;
        for (_, id, ..) in lost {
            self.tell(Input::Response { id, result: Err(RequestFailure::Closed) });
        }
        self.tell(Input::Disconnected(id));
    }

    /// The operator vouches for the block at this position, which the node then has to link.
    pub(super) fn insert(&mut self, at: usize) {
        let block = self.chain[at].clone();
        self.tell(Input::Insert(block));
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll() {
            self.carry_out(output);
        }
        let status = self.node.sync_status().expect("fetching is on");
        self.most_memory = self.most_memory.max(status.memory);
    }

    fn carry_out(&mut self, output: Output) {
        let (now, at) = (self.now, self.now.monotonic);
        match output {
            Output::Job(job) => self.node.handle(now, Input::JobDone(job.run())),
            Output::Request { id, to, number, .. } => {
                *self.asked.entry(to).or_default() += 1;
                self.requests.push((at + TICK, id, to, number));
            }
            Output::Range(output) => self.range(output),
            Output::Store { id, .. } if self.fails => {
                self.node.handle(now, Input::Stored { id, is_stored: false });
            }
            Output::Store { id, change } => {
                let mut is_stored = true;
                match change {
                    StoreChange::Prepend(block) if block.number() < self.limit => {
                        return self.node.handle(now, Input::NotKept(id));
                    }
                    StoreChange::Prepend(block) => {
                        let is_next =
                            self.prepended.last().is_none_or(|last| *last == block.number() + 1);
                        is_stored = is_next && !self.refuses;
                        if is_stored {
                            self.prepended.push(block.number());
                            self.stored.insert(block.hash(), (block, true));
                        }
                    }
                    StoreChange::Hold(block) => {
                        self.held.insert(BlockId::of(&block), block);
                    }
                    StoreChange::Promote(id) => {
                        assert!(self.held.remove(&id).is_some(), "it was confirmed");
                    }
                    StoreChange::Extend(block) => {
                        self.held.remove(&BlockId::of(&block));
                        self.stored.insert(block.hash(), (block, true));
                    }
                    StoreChange::Detach => {
                        self.prepended.clear();
                        self.stored.values_mut().for_each(|(_, is_canonical)| {
                            *is_canonical = false;
                        });
                    }
                    StoreChange::Release(ids) => self.held.retain(|id, _| !ids.contains(id)),
                    _ => {}
                }
                self.node.handle(now, Input::Stored { id, is_stored });
            }
            Output::Load(ids) => {
                let found = ids.iter().map(|id| self.held.get(id).cloned()).collect();
                self.node.handle(now, Input::Loaded(found));
            }
            Output::Recall(from) => {
                self.recalls += 1;
                let blocks = self.recall(from);
                self.node.handle(now, Input::Recalled { from, blocks });
            }
            Output::Event(Event::Chain(ChainEvent::Skipped { .. })) => self.skipped += 1,
            Output::Event(Event::Sync(SyncEvent::Conduct { peer, conduct })) => {
                self.conduct.push((peer, conduct));
            }
            Output::Event(Event::Sync(SyncEvent::History { lowest, end })) => {
                self.ends.push((lowest, end));
            }
            _ => {}
        }
    }

    /// Returns what the store has of this block and those below.
    fn recall(&self, from: BlockId) -> Vec<Recalled> {
        let mut next = from.hash;
        let below = std::iter::from_fn(|| {
            let (block, is_canonical) = self.stored.get(&next)?.clone();
            next = block.parent_hash();
            Some(Recalled { block, is_canonical })
        });
        below.take(LOAD_BLOCKS).collect()
    }

    fn range(&mut self, output: RangeOutput) {
        let at = self.now.monotonic;
        match output {
            RangeOutput::Open { id, to, request } => {
                *self.opened.entry(to).or_default() += 1;
                let request = Request::decode(&request.encode()).expect("a request");
                let (answer, end) = self.answer(self.kinds[&to], &request);
                let stream = Stream { peer: to, answer, end, sent: 0, wants: None };
                assert!(self.streams.insert(id, stream).is_none(), "an id of its own");
            }
            RangeOutput::Receive { id, limit } => {
                assert!(limit > 0);
                if let Some(stream) = self.streams.get_mut(&id) {
                    assert!(stream.wants.is_none(), "one read at a time");
                    stream.wants = Some((at + TICK, limit));
                }
            }
            RangeOutput::Cancel(id) => {
                self.cancelled += usize::from(self.streams.remove(&id).is_some());
            }
            other => panic!("there is no such request: {other:?}"),
        }
    }

    /// Returns what a peer answers, and how the stream ends.
    fn answer(&self, kind: Kind, request: &Request) -> (Vec<u8>, Option<StreamClose>) {
        let whole = |blocks: &[Block], from: usize| {
            let mut stored = Stored(blocks, from);
            full_answer(request, &mut stored)
        };
        let finished = Some(StreamClose::Finished);
        let end = |end: End| end.encode().to_vec();
        let half = || {
            let mut bytes = whole(&self.chain, 0);
            bytes.truncate(bytes.len() / 2);
            bytes
        };
        match kind {
            Kind::Honest => (whole(&self.chain, 0), finished),
            Kind::From(from) => (whole(&self.chain, from), finished),
            Kind::ByNumber => unreachable!("it does not speak the protocol"),
            Kind::Forger => (packed(self.picked(request).map(|block| (block, true))), finished),
            Kind::Ascending => {
                let blocks: Vec<_> = self.picked(request).take(3).collect();
                (packed(blocks.into_iter().rev().map(|block| (block, false))), finished)
            }
            Kind::Brancher => {
                // By hash it has none of them, which it does not admit.
                let request =
                    Request { first: First::Canonical(request.first.number()), ..*request };
                (full_answer(&request, &mut Stored(&self.branch, 0)), finished)
            }
            Kind::Cutter => (half(), finished),
            Kind::Staller => (half(), None),
            Kind::Silent => (Vec::new(), None),
            Kind::Limited => (end(End::Limited { retry: SECOND }), finished),
            Kind::Resetter => (Vec::new(), Some(StreamClose::Reset)),
            Kind::Stranger => (Vec::new(), Some(StreamClose::Unsupported)),
        }
    }

    /// Returns the requested blocks, highest first.
    fn picked(&self, request: &Request) -> impl Iterator<Item = &Block> {
        let (first, count) = (request.first.number(), request.blocks as usize);
        self.chain.iter().rev().skip_while(move |block| block.number() > first).take(count)
    }

    /// Lets time pass until `span` is over, or until the chain's head is at this position.
    pub(super) fn pass(&mut self, span: Duration, until: usize) {
        let end = self.now.monotonic + span;
        while self.now.monotonic < end && self.head() < until {
            let wakeup = self.node.next_wakeup();
            let reads = self.streams.values().filter_map(|stream| {
                let is_stuck = stream.sent == stream.answer.len() && stream.end.is_none();
                stream.wants.filter(|_| !is_stuck).map(|(due, _)| due)
            });
            let requests = self.requests.iter().map(|(due, ..)| *due);
            let due = reads.chain(requests).chain(wakeup).chain([end]).min().expect("an end");
            // The wall clock stands still: all blocks have one timestamp.
            self.now.monotonic = due.max(self.now.monotonic + Duration::from_millis(1));
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.now.monotonic;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.requests).into_iter().partition(|(due, ..)| *due <= now);
        self.requests = later;
        for (_, id, to, number) in due {
            let serves = self.kinds.get(&to).is_some_and(|kind| kind.serves_numbers());
            let found = self.chain.iter().find(|block| serves && block.number() == number);
            let bytes = found.map_or(vec![1], encode_response);
            self.tell(Input::Response { id, result: Ok(bytes.into()) });
        }
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let Some((_, limit)) = stream.wants.filter(|(due, _)| *due <= now) else { continue };
            let rest = &stream.answer[stream.sent..];
            let input = if rest.is_empty() {
                let Some(close) = stream.end else { continue };
                self.streams.remove(&id);
                RangeInput::Closed { id, close }
            } else {
                let bytes = Bytes::copy_from_slice(&rest[..rest.len().min(limit).min(self.rate)]);
                stream.sent += bytes.len();
                stream.wants = None;
                RangeInput::Received { id, bytes }
            };
            self.tell(Input::Range(input));
        }
        self.tell(Input::Wake);
    }

    /// Returns the position of the head in the chain.
    pub(super) fn head(&self) -> usize {
        let head = self.node.view().head().expect("a head").number;
        (head - self.chain[0].number()) as usize
    }

    pub(super) fn faults(&self, id: u8) -> Vec<Conduct> {
        let of_it = self.conduct.iter().filter(|(who, _)| *who == peer(id));
        of_it.map(|(_, what)| *what).filter(|what| *what != Conduct::ValidResponse).collect()
    }

    pub(super) fn opened(&self, id: u8) -> usize {
        self.opened.get(&peer(id)).copied().unwrap_or(0)
    }

    pub(super) fn asked(&self, id: u8) -> usize {
        self.asked.get(&peer(id)).copied().unwrap_or(0)
    }

    /// Asserts that the whole chain was delivered and nothing was left out, once the last streams
    /// have ended.
    pub(super) fn assert_complete(&mut self, what: &str) {
        self.pass(15 * SECOND, usize::MAX);
        let top = self.chain.last().map(BlockId::of);
        assert_eq!(self.node.view().head(), top, "{what}, after {:?}", self.now.monotonic);
        assert_eq!((self.skipped, self.held.len()), (0, 0), "{what}");
        assert!(self.streams.is_empty(), "{what}");
        let status = self.node.sync_status().expect("fetching is on");
        assert_eq!((status.streams, status.in_flight, status.pending), (0, 0, 0), "{what}");
    }
}

/// Returns all frames of the answer to a request.
fn full_answer(request: &Request, stored: &mut Stored<'_>) -> Vec<u8> {
    use crate::sync::range::Next;
    let mut order = ReadOrder {
        first: request.first,
        blocks: request.blocks,
        bytes: request.bytes,
        held: Vec::new(),
    };
    let mut bytes = Vec::new();
    let end = loop {
        let Ok(done) = order.run(stored);
        if let Some(packed) = done.packed {
            bytes.extend_from_slice(&packed.frame);
            order.blocks -= u32::from(packed.blocks);
            order.bytes -= packed.contents as u64;
        }
        break match done.next {
            _ if order.blocks == 0 => End::Complete,
            Next::Block(first) => {
                order.first = first;
                continue;
            }
            Next::TooLarge => End::Complete,
            Next::NoMore { lowest } => End::NoMore { lowest },
            Next::NeverHad { highest } => End::NeverHad { highest },
            Next::Failed => End::Failed,
        };
    };
    bytes.extend_from_slice(&end.encode());
    bytes
}

/// Returns a chunk with these blocks, and whether to change each so that its hash is false.
fn packed<'a>(blocks: impl Iterator<Item = (&'a Block, bool)>) -> Vec<u8> {
    let mut packer = Packer::new(u64::MAX);
    for (block, is_false) in blocks {
        let mut body = block.body().to_vec();
        // A byte of the state root, after the parent beacon block root, the parent hash and the fee
        // recipient.
        body[32 + 32 + 20] ^= u8::from(is_false);
        packer.add(block.version(), &body);
    }
    packer.finish().expect("there are blocks").frame.to_vec()
}
