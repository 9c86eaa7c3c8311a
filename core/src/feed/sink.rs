//! A stream elsewhere that the feed goes to, and that may be away for long.

use super::{
    ACK_TIMEOUT, CONNECT_TIMEOUT, Cursor, FeedEvent, IN_FLIGHT, LONGEST_RETRY, PAGE_BYTES, Page, Position,
    Query, RETRY,
};
use crate::chain::{BlockId, ChainBlock};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Attempts to find the stream's end anew, without a publication that succeeds, before it is a failure.
const RESYNCS: u32 = 3;

/// Publications that are refused because another's came between, before the stream counts as shared for good.
const INTRUSIONS: u32 = 3;

/// Names an attempt to connect, a reading of the store or a publication. No two of one sink have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u64);

/// Something to do or to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkStep<B> {
    /// Close the connection, if there is one, open another, and find the stream's last message of this feed:
    /// [`FeedSink::connected`] or [`FeedSink::disconnected`].
    Connect(StepId),
    /// Read the store: [`FeedSink::loaded`].
    Load(StepId, Query),
    /// Publish: [`FeedSink::acked`]. Publications are sent in the order in which they are given out.
    Publish {
        /// Names the publication.
        id: StepId,
        /// What to publish.
        event: FeedEvent<B>,
        /// The message's name, by which the stream knows one that it has just got.
        name: String,
        /// What it must follow directly; else the stream must refuse it.
        follows: Follows,
    },
    /// Nothing goes through since now. It is told once; attempts go on.
    Failing(FeedFailure),
    /// It goes through again.
    Working,
}

/// Why nothing goes through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedFailure {
    /// There is no connection; one sentence of the driver's.
    #[error("{0}")]
    Connection(String),
    /// The server does not answer in time.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The stream does not take a message; one sentence of the driver's.
    #[error("{0}")]
    Refused(String),
    /// The store can't be read.
    #[error("blocks can't be read from the store: {0}")]
    Store(String),
    /// Others publish under the same subject.
    #[error("others write to the feed's subject: give this node a subject of its own")]
    Contended,
}

/// The message that another one must follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The feed's last message has this sequence number, whatever else the stream holds; 0 if there must be none.
    Number(u64),
    /// The stream's last message has this name: for one that follows a publication which is not acknowledged yet, and whose
    /// number is not known therefore.
    Name(String),
}

/// Where the stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// Sequence number of the stream's last message, whosoever it is; 0 if there never was one.
    pub sequence: u64,
    /// The feed's last message: its sequence number, and where it leaves a log; `None` if there is none.
    pub last: Option<(u64, Position)>,
}

/// The stream has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The message's sequence number.
    pub sequence: u64,
    /// Whether the stream had a message of that name before, and this is its number.
    pub is_duplicate: bool,
}

/// The stream does not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its last message of the feed is not the one that was named.
    WrongLast,
    /// Something else; one sentence.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next attempt is made then.
    Waiting(Instant),
    /// A connection must stand then.
    Connecting(StepId, Instant),
    Ready(StepId),
}

#[derive(Debug)]
struct InFlight {
    id: StepId,
    /// Where the log ends with it.
    position: Position,
    is_block: bool,
    size: usize,
    name: String,
    follows_name: bool,
    /// Number of the feed's last message that was known when it was sent.
    known: u64,
    until: Instant,
    acked: Option<u64>,
}

/// Feeds a stream elsewhere: see the [module's documentation](super).
///
/// Its driver calls [`poll`](Self::poll) until `None` after each call of another method, and when
/// [`next_wakeup`](Self::next_wakeup) has come.
#[derive(Debug)]
pub struct FeedSink<B> {
    /// Where a stream begins that is empty.
    start: Position,
    state: State,
    next_id: u64,
    cursor: Cursor,
    load: Option<StepId>,
    /// Whether the store may have more than was read.
    has_news: bool,
    planned: VecDeque<FeedEvent<B>>,
    in_flight: VecDeque<InFlight>,
    /// Sequence number of the feed's last message that is known.
    last: u64,
    /// Whether nobody else seems to write to the stream.
    is_alone: bool,
    /// Publications that were refused because somebody else did after all.
    intrusions: u32,
    /// Whether what is told was told before, on a branch that the chain has come back to: plain names would be taken for
    /// repetitions.
    is_retold: bool,
    resyncs: u32,
    failures: u32,
    failure: Option<FeedFailure>,
    told: VecDeque<SinkStep<B>>,
    published: u64,
    /// The stored head.
    head: Option<BlockId>,
    /// The number up to which all is in the stream, and until the stream is known, that of the first head.
    done: Option<u64>,
}

impl<B: ChainBlock> FeedSink<B> {
    /// The first attempt to connect is made at `now`. An empty stream begins with block `from`, or without one with the
    /// lowest block that there is; `head` is the stored head.
    pub fn new(now: Instant, from: Option<u64>, head: Option<BlockId>) -> Self {
        let start = Position::Start { from };
        Self {
            start,
            state: State::Waiting(now),
            next_id: 0,
            cursor: Cursor::new(start),
            load: None,
            has_news: false,
            planned: VecDeque::new(),
            in_flight: VecDeque::new(),
            last: 0,
            is_alone: false,
            intrusions: 0,
            is_retold: false,
            resyncs: 0,
            failures: 0,
            failure: None,
            told: VecDeque::new(),
            published: 0,
            head,
            done: head.map(|head| head.number),
        }
    }

    /// This is the stored head now.
    pub fn stored(&mut self, head: BlockId) {
        self.head = Some(head);
        self.done = self.done.or(head.number.checked_sub(1));
        self.has_news = true;
    }

    /// The connection stands, and this is where the stream ends.
    pub fn connected(&mut self, id: StepId, end: StreamEnd) {
        if !matches!(self.state, State::Connecting(asked, _) if asked == id) {
            return;
        }
        let position = end.last.map_or(self.start, |(_, position)| position);
        self.state = State::Ready(id);
        self.cursor = Cursor::new(position);
        self.last = end.last.map_or(0, |(sequence, _)| sequence);
        self.is_alone = self.last == end.sequence && self.intrusions < INTRUSIONS;
        self.done = position.number().or(self.done);
        self.has_news = true;
    }

    /// The attempt failed, or the connection that it made is gone.
    pub fn disconnected(&mut self, now: Instant, id: StepId, why: FeedFailure) {
        if matches!(self.state, State::Connecting(of, _) | State::Ready(of) if of == id) {
            self.failed(now, why);
        }
    }

    /// What was read from the store, or one sentence on why nothing was.
    pub fn loaded(&mut self, now: Instant, id: StepId, page: Result<Page<B>, String>) {
        if self.load != Some(id) {
            return;
        }
        self.load = None;
        let page = match page {
            Ok(page) => page,
            Err(why) => return self.failed(now, FeedFailure::Store(why)),
        };
        if matches!(self.cursor.position(), Position::Start { from: None })
            && let Some(first) = page.blocks.first()
        {
            self.done = first.number().checked_sub(1);
        }
        let taken = self.cursor.take(page);
        self.has_news |= taken.more;
        self.planned.extend(taken.events);
        self.look_for_end();
    }

    /// The stream has the message, or does not take it.
    pub fn acked(&mut self, now: Instant, id: StepId, result: Result<Ack, Refusal>) {
        let Some(publication) = self.in_flight.iter_mut().find(|publication| publication.id == id) else {
            return;
        };
        match result {
            Ok(Ack { sequence, is_duplicate: false }) => publication.acked = Some(sequence),
            // One that the stream did not store. It has the name from a connection before, whose last messages arrived
            // after its end was read, or from a branch that the chain left and has come back to.
            Ok(Ack { sequence, is_duplicate: true }) => {
                self.is_retold |= sequence <= publication.known;
                return self.resync(now);
            }
            Err(Refusal::WrongLast) => {
                self.intrusions = self.intrusions.saturating_add(publication.follows_name.into());
                return self.resync(now);
            }
            Err(Refusal::Failed(why)) => return self.failed(now, FeedFailure::Refused(why)),
        }
        while let Some(sequence) = self.in_flight.front().and_then(|first| first.acked) {
            if let Some(done) = self.in_flight.pop_front() {
                self.published += u64::from(done.is_block);
                self.done = done.position.number();
            }
            self.is_alone = self.last.checked_add(1) == Some(sequence) && self.intrusions < INTRUSIONS;
            self.last = sequence;
            self.resyncs = 0;
            self.works();
        }
        self.look_for_end();
    }

    /// The next thing to do or to tell; `None` when all is done for now.
    pub fn poll(&mut self, now: Instant) -> Option<SinkStep<B>> {
        let is_late = |at: Instant| at <= now;
        match self.state {
            State::Connecting(_, until) if is_late(until) => {
                self.failed(now, FeedFailure::Timeout(CONNECT_TIMEOUT));
            }
            State::Ready(_) if self.in_flight.iter().any(|publication| is_late(publication.until)) => {
                self.failed(now, FeedFailure::Timeout(ACK_TIMEOUT));
            }
            _ => {}
        }
        if let Some(told) = self.told.pop_front() {
            return Some(told);
        }
        match self.state {
            State::Waiting(at) if is_late(at) => {
                let id = self.id();
                self.state = State::Connecting(id, now + CONNECT_TIMEOUT);
                Some(SinkStep::Connect(id))
            }
            State::Waiting(_) | State::Connecting(..) => None,
            State::Ready(_) => self.publish(now).or_else(|| self.load()),
        }
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Connecting(_, at) => Some(at),
            State::Ready(_) => self.in_flight.iter().map(|publication| publication.until).min(),
        }
    }

    /// Blocks that this sink was told to have in the stream.
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Numbers from what is in the stream up to the stored head. As long as the stream was never reached, those since the
    /// start.
    pub fn behind(&self) -> u64 {
        let head = self.head.map_or(0, |head| head.number);
        self.done.map_or(0, |done| head.saturating_sub(done))
    }

    /// Why nothing goes through; `None` if nothing is in the way.
    pub const fn failure(&self) -> Option<&FeedFailure> {
        self.failure.as_ref()
    }

    fn publish(&mut self, now: Instant) -> Option<SinkStep<B>> {
        let room = if self.is_alone { IN_FLIGHT } else { 1 };
        let bytes: usize = self.in_flight.iter().map(|publication| publication.size).sum();
        if self.in_flight.len() >= room || bytes > PAGE_BYTES {
            return None;
        }
        let event = self.planned.pop_front()?;
        let (id, known) = (self.id(), self.last);
        let before = self.in_flight.back().map(|publication| publication.name.clone());
        let follows = before.map_or(Follows::Number(known), Follows::Name);
        // The number of a message before it, and of how many there were since, make a name that was not there before.
        let name = match self.is_retold {
            true => format!("{}@{}", event.name(), known.saturating_add(self.in_flight.len() as u64)),
            false => event.name(),
        };
        self.in_flight.push_back(InFlight {
            id,
            position: event.position(),
            is_block: matches!(event, FeedEvent::Block(_)),
            size: event.size(),
            name: name.clone(),
            follows_name: matches!(follows, Follows::Name(_)),
            known,
            until: now + ACK_TIMEOUT,
            acked: None,
        });
        Some(SinkStep::Publish { id, event, name, follows })
    }

    fn load(&mut self) -> Option<SinkStep<B>> {
        if !self.planned.is_empty() || self.load.is_some() || !self.has_news {
            return None;
        }
        let id = self.id();
        (self.load, self.has_news) = (Some(id), false);
        Some(SinkStep::Load(id, self.cursor.query()))
    }

    /// Notes if all is told.
    fn look_for_end(&mut self) {
        let is_idle = self.planned.is_empty() && self.in_flight.is_empty() && self.load.is_none();
        if is_idle && !self.has_news {
            self.is_retold = false;
            self.works();
        }
    }

    fn works(&mut self) {
        self.failures = 0;
        if self.failure.take().is_some() {
            self.told.push_back(SinkStep::Working);
        }
    }

    /// Looks for the stream's end anew: it is not where it was thought to be.
    fn resync(&mut self, now: Instant) {
        self.resyncs += 1;
        if self.resyncs > RESYNCS {
            self.resyncs = 0;
            return self.failed(now, FeedFailure::Contended);
        }
        self.forget();
        self.state = State::Waiting(now);
    }

    fn failed(&mut self, now: Instant, why: FeedFailure) {
        self.forget();
        let wait = RETRY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting(now + wait);
        if self.failure.is_none() {
            self.told.push_back(SinkStep::Failing(why.clone()));
        }
        self.failure = Some(why);
    }

    /// Forgets what is under way. The stream says what became of it.
    fn forget(&mut self) {
        self.planned.clear();
        self.in_flight.clear();
        self.load = None;
    }

    const fn id(&mut self) -> StepId {
        let id = StepId(self.next_id);
        self.next_id += 1;
        id
    }
}
