//! Sink for a remote stream, which may be unavailable for a long time.

use super::{
    ACK_TIMEOUT, CONNECT_TIMEOUT, Cursor, FeedEvent, IN_FLIGHT, LONGEST_RETRY, PAGE_BYTES, Page,
    Position, Query, RETRY,
};
use crate::chain::{BlockId, ChainBlock};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of consecutive attempts to find the stream's end without a successful
/// publication. One more is a failure.
const RESYNCS: u32 = 3;

/// Number of publications refused because another writer's message came first, after which the
/// stream is considered shared for good.
const INTRUSIONS: u32 = 3;

/// Id of a connection attempt, a store read or a publication, unique within one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u64);

/// An action or report for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkStep<B> {
    /// Close the connection, if any, open another, and find this feed's last message in the stream;
    /// then call [`FeedSink::connected`] or [`FeedSink::disconnected`].
    Connect(StepId),
    /// Read the store, then call [`FeedSink::loaded`].
    Load(StepId, Query),
    /// Publish, then call [`FeedSink::acked`]. Publications must be sent in the order of these
    /// steps.
    Publish {
        /// Id of the publication.
        id: StepId,
        /// Event to publish.
        event: FeedEvent<B>,
        /// Name of the message, by which the stream recognises a recent duplicate.
        name: String,
        /// The message that it must follow directly; otherwise the stream must refuse it.
        follows: Follows,
    },
    /// Publishing has begun to fail. Reported once; attempts continue.
    Failing(FeedFailure),
    /// Publishing works again.
    Working,
}

/// Reason why publishing fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedFailure {
    /// There is no connection; the driver gives the reason in one sentence.
    #[error("{0}")]
    Connection(String),
    /// The server did not answer in time.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The stream does not accept a message; the driver gives the reason in one sentence.
    #[error("{0}")]
    Refused(String),
    /// The store can't be read.
    #[error("blocks can't be read from the store: {0}")]
    Store(String),
    /// Other writers publish under the same subject.
    #[error("others write to the feed's subject: give this node a subject of its own")]
    Contended,
}

/// The required predecessor of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The feed's last message has this sequence number, whatever else the stream holds; 0 if the
    /// stream must not have any message of the feed.
    Number(u64),
    /// The stream's last message has this name. Used if the predecessor is a publication that is
    /// not acknowledged yet, so that its number is unknown.
    Name(String),
}

/// End of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// Sequence number of the stream's last message, by any writer; 0 if the stream never had a
    /// message.
    pub sequence: u64,
    /// The feed's last message: its sequence number, and the end of a log that ends with it; `None`
    /// if the stream has no message of the feed.
    pub last: Option<(u64, Position)>,
}

/// Acknowledgement that the stream has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Sequence number of the message.
    pub sequence: u64,
    /// Whether the stream already had a message with that name, to which `sequence` refers.
    pub is_duplicate: bool,
}

/// Refusal of a message by the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The feed's last message is not the required predecessor.
    WrongLast,
    /// Another reason, as one sentence.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next attempt starts at this time.
    Waiting(Instant),
    /// The connection must be established by this time.
    Connecting(StepId, Instant),
    Ready(StepId),
}

#[derive(Debug)]
struct InFlight {
    id: StepId,
    /// End of the log including this publication.
    position: Position,
    is_block: bool,
    size: usize,
    name: String,
    follows_name: bool,
    /// Sequence number of the feed's last known message when this was sent.
    known: u64,
    until: Instant,
    acked: Option<u64>,
}

/// State machine that feeds a remote stream: see the [module's documentation](super).
///
/// Its driver calls [`poll`](Self::poll) until it returns `None`, after each call of another method
/// and at the time that [`next_wakeup`](Self::next_wakeup) returned.
#[derive(Debug)]
pub struct FeedSink<B> {
    /// Initial position of an empty stream.
    start: Position,
    state: State,
    next_id: u64,
    cursor: Cursor,
    load: Option<StepId>,
    /// Whether the store may have more blocks than were read.
    has_news: bool,
    planned: VecDeque<FeedEvent<B>>,
    in_flight: VecDeque<InFlight>,
    /// Sequence number of the feed's last known message.
    last: u64,
    /// Whether the stream seems to have no other writer.
    is_alone: bool,
    /// Number of publications refused because the stream had another writer after all.
    intrusions: u32,
    /// Whether the events were published before, on a branch to which the chain has returned. The
    /// stream would take plain names for duplicates.
    is_retold: bool,
    resyncs: u32,
    failures: u32,
    failure: Option<FeedFailure>,
    told: VecDeque<SinkStep<B>>,
    published: u64,
    /// The stored head.
    head: Option<BlockId>,
    /// Number of the highest block up to which the stream has all blocks. While the contents of the
    /// stream are unknown, this is the number of the first head.
    done: Option<u64>,
}

impl<B: ChainBlock> FeedSink<B> {
    /// Creates a sink that first connects at `now`. An empty stream begins with block `from`, or
    /// with the lowest available block if `from` is `None`; `head` is the stored head.
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

    /// Updates the stored head.
    pub fn stored(&mut self, head: BlockId) {
        self.head = Some(head);
        self.done = self.done.or(head.number.checked_sub(1));
        self.has_news = true;
    }

    /// Handles an established connection; `end` is the stream's end.
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

    /// Handles a failed connection attempt, or the loss of the connection that it made.
    pub fn disconnected(&mut self, now: Instant, id: StepId, why: FeedFailure) {
        if matches!(self.state, State::Connecting(of, _) | State::Ready(of) if of == id) {
            self.failed(now, why);
        }
    }

    /// Handles the result of a store read, or one sentence on why it failed.
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

    /// Handles an acknowledgement or refusal of a publication.
    pub fn acked(&mut self, now: Instant, id: StepId, result: Result<Ack, Refusal>) {
        let Some(publication) = self.in_flight.iter_mut().find(|publication| publication.id == id)
        else {
            return;
        };
        match result {
            Ok(Ack { sequence, is_duplicate: false }) => publication.acked = Some(sequence),
            // The stream did not store this message, because it already has one with that name:
            // from an earlier connection whose last messages arrived after the stream's end was
            // read, or from a branch that the chain left and has returned to.
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
            self.is_alone =
                self.last.checked_add(1) == Some(sequence) && self.intrusions < INTRUSIONS;
            self.last = sequence;
            self.resyncs = 0;
            self.works();
        }
        self.look_for_end();
    }

    /// Returns the next step, or `None` if nothing is left to do for now.
    pub fn poll(&mut self, now: Instant) -> Option<SinkStep<B>> {
        let is_late = |at: Instant| at <= now;
        match self.state {
            State::Connecting(_, until) if is_late(until) => {
                self.failed(now, FeedFailure::Timeout(CONNECT_TIMEOUT));
            }
            State::Ready(_)
                if self.in_flight.iter().any(|publication| is_late(publication.until)) =>
            {
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

    /// Returns the time of the next [`Self::poll`] if nothing happens earlier.
    pub fn next_wakeup(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Connecting(_, at) => Some(at),
            State::Ready(_) => self.in_flight.iter().map(|publication| publication.until).min(),
        }
    }

    /// Returns the number of blocks that the stream has acknowledged to this sink.
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Returns by how many block numbers the stream is behind the stored head or, if the stream was
    /// never reached, how many were stored since the start.
    pub fn behind(&self) -> u64 {
        let head = self.head.map_or(0, |head| head.number);
        self.done.map_or(0, |done| head.saturating_sub(done))
    }

    /// Returns why publishing fails, or `None` if it works.
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
        // The number of an earlier message and the count of messages since then form a new name.
        let name = match self.is_retold {
            true => {
                format!("{}@{}", event.name(), known.saturating_add(self.in_flight.len() as u64))
            }
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

    /// Ends a failure if all events are published.
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

    /// Looks for the stream's end again, because it is not where it was expected.
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

    /// Forgets all planned events and publications in flight. The stream will show which of them it
    /// has.
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
