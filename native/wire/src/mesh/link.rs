//! State that the behaviour and the handlers share: requests and frames of one connection, and the
//! memory of all connections.
//!
//! Frames don't travel through the swarm's channels to a handler: if one of those is full, the
//! swarm polls no behaviour at all, and a peer that doesn't read would delay all others.

use opp2p_core::mesh::Frame;
use opp2p_core::mesh::wire::Pool;
use opp2p_core::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Number of bytes that a writer holds in frames that its stream has not accepted yet. A larger
/// frame is held alone, or behind the words that announce it.
pub const WINDOW: usize = 64 << 10;
/// Number of frames of one connection that wait for the owner; no further ones are read.
pub const MAX_WAITING: usize = 16;
/// Number of bytes of frames of one connection that wait for the owner from which no further ones
/// are read.
pub const MAX_WAITING_BYTES: usize = 256 << 10;
/// The same limit for all connections together.
pub const MAX_UNTAKEN: usize = 16 << 20;

/// Longest time that a call of the owner adds to the readers' clock. While the owner sleeps, peers
/// can't complete their frames.
const MAX_LEAP: Duration = Duration::from_secs(2);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no inconsistent state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The behaviour's requests to a handler. The newest request counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Number of the writer that should be open. Each number is tried once.
    pub(super) writer: Option<u64>,
    /// Number of the reader up to which all readers are to be reset.
    pub(super) reset: u64,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Link(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    wishes: Wishes,
    /// Frames for the writer that the handler has not taken yet.
    frames: VecDeque<Frame>,
    /// Bytes of frames for the writer that its stream has not accepted yet.
    unwritten: usize,
    /// Received frames that wait for the owner, and their bytes.
    waiting: usize,
    waiting_bytes: usize,
    handler: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        if let Some(handler) = self.handler.take() {
            handler.wake();
        }
    }
}

impl Link {
    /// Requests another writer, or none. Frames for an earlier one are dropped.
    pub(super) fn set_writer(&self, writer: Option<u64>) {
        let mut state = lock(&self.0);
        state.wishes.writer = writer;
        state.frames.clear();
        state.unwritten = 0;
        state.wake();
    }

    /// Requests the reset of all readers up to this one.
    pub(super) fn reset(&self, reader: u64) {
        let mut state = lock(&self.0);
        state.wishes.reset = reader;
        state.wake();
    }

    /// Returns the number of bytes that the writer can take.
    pub(super) fn window(&self) -> usize {
        WINDOW.saturating_sub(lock(&self.0).unwritten)
    }

    /// Gives the writer a frame.
    pub(super) fn push(&self, frame: Frame) {
        let mut state = lock(&self.0);
        state.unwritten += frame.len();
        state.frames.push_back(frame);
        state.wake();
    }

    /// Returns the requests, and wakes `handler` at the next change.
    pub(super) fn wishes(&self, handler: &Waker) -> Wishes {
        let mut state = lock(&self.0);
        if !state.handler.as_ref().is_some_and(|known| known.will_wake(handler)) {
            state.handler = Some(handler.clone());
        }
        state.wishes
    }

    /// Moves the frames to the writer with this number.
    pub(super) fn take(&self, writer: u64, to: &mut VecDeque<Frame>) {
        let mut state = lock(&self.0);
        if state.wishes.writer == Some(writer) {
            to.append(&mut state.frames);
        }
    }

    /// Records that the stream of the writer with this number accepted some bytes.
    pub(super) fn wrote(&self, writer: u64, bytes: usize) {
        let mut state = lock(&self.0);
        if state.wishes.writer == Some(writer) {
            state.unwritten = state.unwritten.saturating_sub(bytes);
        }
    }

    /// Returns `true` if the owner has taken enough of the earlier frames.
    pub(super) fn accepts(&self) -> bool {
        let state = lock(&self.0);
        state.waiting < MAX_WAITING && state.waiting_bytes < MAX_WAITING_BYTES
    }
}

/// The place of a received frame among those that wait for the owner. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    link: Arc<Link>,
    memory: Arc<Memory>,
    bytes: usize,
}

impl Place {
    pub(super) fn new(link: &Arc<Link>, memory: &Arc<Memory>, bytes: usize) -> Self {
        let mut state = lock(&link.0);
        state.waiting += 1;
        state.waiting_bytes += bytes;
        drop(state);
        memory.lock().untaken += bytes;
        Self { link: link.clone(), memory: memory.clone(), bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.link.0);
        state.waiting -= 1;
        state.waiting_bytes -= self.bytes;
        state.wake();
        drop(state);
        let mut memory = self.memory.lock();
        let was_full = memory.is_full();
        memory.untaken -= self.bytes;
        if was_full && !memory.is_full() {
            memory.wake();
        }
    }
}

/// The memory of all readers.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The readers' clock, which follows the owner's but does not leap.
    pub(super) now: Instant,
    /// The owner's time at the last tick.
    told: Option<Instant>,
    pub(super) pool: Pool,
    /// Bytes of frames that wait for the owner.
    untaken: usize,
    /// Readers that have not completed a frame, or wait for memory.
    sleepers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.0)
    }
}

impl Shared {
    /// Sets the clock, and wakes all readers that sleep.
    pub(super) fn tick(&mut self, now: Instant) {
        let passed = self.told.map_or(Duration::ZERO, |told| now.since(told));
        self.told = Some(now);
        self.now = self.now + passed.min(MAX_LEAP);
        self.wake();
    }

    /// Returns a number for a new reader, from 1.
    pub(super) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Returns `true` if no more should be read before the owner has taken something.
    pub(super) const fn is_full(&self) -> bool {
        self.untaken >= MAX_UNTAKEN
    }

    /// Registers a reader to be woken when there may be memory for it, and when time has passed.
    pub(super) fn sleep(&mut self, reader: u64, waker: &Waker) {
        self.sleepers.insert(reader, waker.clone());
    }

    /// Removes a reader that sleeps.
    pub(super) fn forget(&mut self, reader: u64) {
        self.sleepers.remove(&reader);
    }

    /// Wakes all readers that sleep.
    pub(super) fn wake(&mut self) {
        std::mem::take(&mut self.sleepers).into_values().for_each(Waker::wake);
    }
}
