//! A stream on which a peer writes.

use super::{Fake, Shared, counting, framed};
use crate::mesh::link::{Link, MAX_UNTAKEN, MAX_WAITING, MAX_WAITING_BYTES, Memory, Place};
use crate::mesh::reader::{Read, Reader};
use opp2p_core::mesh::wire::{MAX_FRAME, Pool, STALLED_AFTER};
use opp2p_core::time::Instant;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A reader and what it shares.
struct Bench {
    stream: Shared,
    reader: Reader<Shared>,
    link: Arc<Link>,
    memory: Arc<Memory>,
}

impl Bench {
    fn new(input: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::with(input, Arc::default())
    }

    fn with(input: impl IntoIterator<Item = Vec<u8>>, memory: Arc<Memory>) -> Self {
        let stream = Shared::new(Fake::receiving(input));
        let reader = Reader::new(stream.clone(), memory.clone());
        Self { stream, reader, link: Arc::default(), memory }
    }

    fn poll(&mut self) -> Poll<Read> {
        self.poll_by(Waker::noop())
    }

    fn poll_by(&mut self, waker: &Waker) -> Poll<Read> {
        self.reader.poll(&mut Context::from_waker(waker), &self.link)
    }

    fn place(&self, bytes: usize) -> Place {
        Place::new(&self.link, &self.memory, bytes)
    }
}

/// Lets time pass until so many seconds after the start.
fn tick(memory: &Memory, seconds: u64) {
    let mut memory = memory.lock();
    let before = memory.now.since_start().as_secs();
    for second in before..=seconds {
        memory.tick(Instant::from_start(Duration::from_secs(second)));
    }
}

fn frame(fill: u8, length: usize) -> Poll<Read> {
    Poll::Ready(Read::Frame(vec![fill; length].into()))
}

#[test]
fn frames_are_whole_however_they_arrive() {
    let frames = [framed(1, 10), framed(2, 300), framed(3, 40_000), framed(4, 1)].concat();
    for piece in [1, 7, 16 << 10, 1 << 20] {
        let mut bench = Bench::new(frames.chunks(piece).map(<[u8]>::to_vec));
        for (fill, length) in [(1, 10), (2, 300), (3, 40_000), (4, 1)] {
            assert_eq!(bench.poll(), frame(fill, length));
        }
        assert!(bench.poll().is_pending());
        bench.stream.with(|stream| stream.has_ended = true);
        assert_eq!(bench.poll(), Poll::Ready(Read::End));
    }
}

#[test]
fn what_is_no_frame_or_too_long_is_malformed() {
    for input in [vec![0xff; 5], vec![0x81, 0x00], vec![0xff, 0xff, 0xff, 0x7f]] {
        assert_eq!(Bench::new([input]).poll(), Poll::Ready(Read::Malformed));
    }
}

#[test]
fn a_stream_that_ends_within_a_frame_leaves_no_memory_behind() {
    let mut bench = Bench::new([framed(1, 1 << 20)[..500_000].to_vec()]);
    let free = bench.memory.lock().pool.free();
    assert!(bench.poll().is_pending());
    assert!(bench.memory.lock().pool.free() < free);
    bench.stream.with(|stream| stream.has_ended = true);
    assert_eq!(bench.poll(), Poll::Ready(Read::End));
    let memory = bench.memory.clone();
    drop(bench);
    assert_eq!(memory.lock().pool.free(), free);
}

#[test]
fn reading_pauses_until_the_owner_takes_something() {
    let mut bench = Bench::new((0..100).map(|fill| framed(fill, 100)));
    let (waker, calls) = counting();
    bench.link.wishes(&waker);
    let mut places: Vec<_> = (0..MAX_WAITING).map(|_| bench.place(100)).collect();
    assert!(bench.poll().is_pending());
    assert_eq!(bench.stream.with(|stream| stream.input.len()), 100, "nothing is read");
    assert_eq!(calls.take(), 0);
    places.pop();
    assert_eq!(calls.take(), 1);
    assert_eq!(bench.poll(), frame(0, 100));
    drop(places);
    let large = bench.place(MAX_WAITING_BYTES);
    assert!(bench.poll().is_pending());
    drop(large);
    assert_eq!(bench.poll(), frame(1, 100));
}

#[test]
fn reading_pauses_while_frames_of_others_fill_the_memory() {
    let mut bench = Bench::new([framed(1, 100)]);
    let other = Arc::<Link>::default();
    let place = Place::new(&other, &bench.memory, MAX_UNTAKEN);
    let (waker, calls) = counting();
    assert!(bench.poll_by(&waker).is_pending());
    assert_eq!(calls.take(), 0);
    drop(place);
    assert_eq!(calls.take(), 1);
    assert_eq!(bench.poll(), frame(1, 100));
}

#[test]
fn a_frame_that_does_not_end_costs_the_stream() {
    let mut bench = Bench::new([framed(1, 100)[..50].to_vec()]);
    let (waker, calls) = counting();
    assert!(bench.poll_by(&waker).is_pending());
    tick(&bench.memory, STALLED_AFTER.as_secs() - 1);
    assert_eq!(calls.take(), 1);
    bench.stream.with(|stream| stream.input.push_back(vec![1]));
    assert!(bench.poll_by(&waker).is_pending());
    tick(&bench.memory, STALLED_AFTER.as_secs());
    assert_eq!(calls.take(), 1);
    assert_eq!(bench.poll_by(&waker), Poll::Ready(Read::Malformed));
    // Between two frames, nothing is expected.
    let mut idle = Bench::new([framed(1, 100)]);
    assert_eq!(idle.poll_by(&waker), frame(1, 100));
    assert!(idle.poll_by(&waker).is_pending());
    tick(&idle.memory, 1000);
    assert_eq!(calls.take(), 0);
    assert!(idle.poll_by(&waker).is_pending());
}

#[test]
fn a_peer_can_t_help_that_the_owner_slept() {
    let mut bench = Bench::new([framed(1, 100)[..50].to_vec()]);
    tick(&bench.memory, 1);
    assert!(bench.poll().is_pending());
    bench.memory.lock().tick(Instant::from_start(Duration::from_secs(3600)));
    assert!(bench.poll().is_pending());
    bench.stream.with(|stream| stream.input.push_back(vec![1; 51]));
    assert_eq!(bench.poll(), frame(1, 100));
}

#[test]
fn a_stalled_peer_gives_its_memory_to_one_that_waits() {
    let memory = Arc::<Memory>::default();
    memory.lock().pool = Pool::new(MAX_FRAME);
    let mut stalled = Bench::with([framed(1, MAX_FRAME)[..MAX_FRAME / 2].to_vec()], memory.clone());
    let mut honest = Bench::with([framed(2, 1 << 20)], memory.clone());
    let (waker, calls) = counting();
    assert!(stalled.poll().is_pending());
    assert!(honest.poll_by(&waker).is_pending());
    assert_eq!(calls.take(), 0);
    tick(&memory, 2);
    assert_eq!(calls.take(), 1);
    assert!(honest.poll_by(&waker).is_pending(), "the memory is not free yet");
    tick(&memory, 3);
    assert_eq!(stalled.poll(), Poll::Ready(Read::End), "it is not malformed");
    calls.take();
    assert!(honest.poll_by(&waker).is_pending());
    drop(stalled);
    assert_eq!(calls.take(), 1);
    assert_eq!(honest.poll_by(&waker), frame(2, 1 << 20));
    assert_eq!(memory.lock().pool.free(), MAX_FRAME);
}

#[test]
fn a_reader_that_waits_goes_on_when_a_frame_is_complete() {
    let memory = Arc::<Memory>::default();
    memory.lock().pool = Pool::new(MAX_FRAME);
    let long = framed(1, MAX_FRAME);
    let mut first = Bench::with([long[..MAX_FRAME / 2].to_vec()], memory.clone());
    let mut second = Bench::with([framed(2, 1 << 20)], memory);
    let (waker, calls) = counting();
    assert!(first.poll().is_pending());
    assert!(second.poll_by(&waker).is_pending());
    first.stream.with(|stream| stream.input.push_back(long[MAX_FRAME / 2..].to_vec()));
    assert_eq!(first.poll(), frame(1, MAX_FRAME));
    assert_eq!(calls.take(), 1);
    assert_eq!(second.poll_by(&waker), frame(2, 1 << 20));
}
