//! A stream on which we write.

use super::{Fake, Shared, counting, message};
use crate::mesh::WINDOW;
use crate::mesh::link::Link;
use crate::mesh::writer::{Writer, Wrote};
use opp2p_core::mesh::Frame;
use std::task::{Context, Poll, Waker};

/// A writer with number 1, and what it shares.
struct Bench {
    stream: Shared,
    writer: Writer<Shared>,
    link: Link,
}

impl Bench {
    fn new(room: usize) -> Self {
        let stream = Shared::new(Fake { room, ..Fake::default() });
        let link = Link::default();
        link.set_writer(Some(1));
        Self { writer: Writer::new(stream.clone(), 1), stream, link }
    }

    fn poll(&mut self) -> Poll<Wrote> {
        self.writer.poll(&mut Context::from_waker(Waker::noop()), &self.link)
    }
}

#[test]
fn small_frames_are_written_together_and_flushed() {
    let mut bench = Bench::new(usize::MAX);
    let frames: Vec<_> = (0..5).map(|fill| message(fill, 200)).collect();
    frames.iter().for_each(|frame| bench.link.push(frame.clone()));
    let length = frames.iter().map(Frame::len).sum();
    assert_eq!(bench.link.window(), WINDOW - length);
    assert_eq!(bench.poll(), Poll::Ready(Wrote::Bytes(length)));
    assert!(bench.poll().is_pending());
    assert_eq!(bench.link.window(), WINDOW);
    bench.stream.with(|stream| {
        let expected: Vec<u8> = frames.iter().flat_map(Frame::to_vec).collect();
        assert_eq!(stream.written(), expected);
        assert_eq!((stream.written.len(), stream.flushes), (1, 1));
    });
}

#[test]
fn a_large_frame_is_written_in_steps_from_its_own_memory() {
    let mut bench = Bench::new(usize::MAX);
    let frame = message(7, 1 << 20);
    bench.link.push(frame.clone());
    assert_eq!(bench.link.window(), 0, "it is alone");
    bench.stream.with(|stream| stream.room = 100_000);
    let mut steps = Vec::new();
    while let Poll::Ready(Wrote::Bytes(bytes)) = bench.poll() {
        steps.push(bytes);
    }
    assert_eq!(steps.iter().sum::<usize>(), 100_000, "what the stream accepts");
    bench.stream.with(|stream| stream.room = usize::MAX);
    while let Poll::Ready(Wrote::Bytes(bytes)) = bench.poll() {
        steps.push(bytes);
    }
    assert_eq!(steps.iter().sum::<usize>(), frame.len());
    assert_eq!(bench.link.window(), WINDOW);
    let data = frame.data().as_ptr() as usize;
    bench.stream.with(|stream| {
        assert!(stream.written() == frame.to_vec());
        let own = |at: &usize| (data..data + frame.data().len()).contains(at);
        let shared = stream.written.iter().filter(|(at, _)| own(at));
        let shared: usize = shared.map(|(_, bytes)| bytes.len()).sum();
        assert!(shared > (1 << 20) - (8 << 10), "only the ends are copied, not {shared}");
    });
}

#[test]
fn any_room_gives_the_same_bytes() {
    for room in [1, 3, 1000, 5000] {
        let mut bench = Bench::new(0);
        let frames = [message(1, 100), message(2, 6000), message(3, 1), message(4, 4096)];
        frames.iter().for_each(|frame| bench.link.push(frame.clone()));
        let mut reported = 0;
        loop {
            bench.stream.with(|stream| stream.room = room);
            let Poll::Ready(Wrote::Bytes(bytes)) = bench.poll() else { break };
            assert!(bytes <= room);
            reported += bytes;
        }
        let expected: Vec<u8> = frames.iter().flat_map(Frame::to_vec).collect();
        assert_eq!(reported, expected.len());
        bench.stream.with(|stream| assert!(stream.written() == expected));
    }
}

#[test]
fn a_byte_or_an_end_from_the_peer_ends_the_stream() {
    let mut bench = Bench::new(usize::MAX);
    assert!(bench.poll().is_pending());
    bench.stream.with(|stream| stream.input.push_back(vec![0]));
    assert_eq!(bench.poll(), Poll::Ready(Wrote::End));
    let mut bench = Bench::new(usize::MAX);
    bench.stream.with(|stream| stream.has_ended = true);
    assert_eq!(bench.poll(), Poll::Ready(Wrote::End));
}

#[test]
fn frames_are_for_the_writer_that_is_wanted() {
    let mut bench = Bench::new(0);
    let (waker, calls) = counting();
    bench.link.wishes(&waker);
    bench.link.push(message(1, 100));
    assert_eq!(calls.take(), 1);
    assert!(bench.poll().is_pending());
    bench.link.set_writer(Some(2));
    assert_eq!(bench.link.window(), WINDOW, "what waited is dropped");
    bench.link.push(message(2, 100));
    let before = bench.link.window();
    // The first writer still has its own frame, and leaves those of the second alone.
    bench.stream.with(|stream| stream.room = usize::MAX);
    assert_eq!(bench.poll(), Poll::Ready(Wrote::Bytes(message(1, 100).len())));
    assert!(bench.poll().is_pending());
    assert_eq!(bench.link.window(), before);
}
