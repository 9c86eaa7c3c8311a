//! The reader of frames, and the memory that all readers share.

use super::*;
use std::time::Duration;

#[test]
fn a_prefix_is_short_minimal_and_within_the_limit() {
    let now = Instant::default();
    let read = |bytes: &[u8]| {
        FrameReader::default().read(now, bytes, &mut Pool::default()).map(|(taken, _)| taken)
    };
    let mut limit = Vec::new();
    proto::write_varint(&mut limit, MAX_FRAME as u64);
    assert_eq!(read(&limit), Ok(limit.len()));
    let mut beyond = Vec::new();
    proto::write_varint(&mut beyond, MAX_FRAME as u64 + 1);
    assert_eq!(read(&beyond), Err(Malformed::TooLong(MAX_FRAME as u64 + 1)));
    assert_eq!(read(&[0x81, 0x00]), Err(Malformed::Padded));
    assert_eq!(read(&[0xff; 5]), Err(Malformed::Varint));
    assert_eq!(read(&[0, 0, 0]), Ok(3));
}

#[test]
fn memory_grows_with_what_arrived_and_the_pool_is_a_limit() {
    let now = Instant::default();
    let mut pool = Pool::new(100_000);
    let mut first = FrameReader::default();
    let mut stream = Vec::new();
    proto::write_varint(&mut stream, MAX_FRAME as u64);
    stream.push(1);
    first.read(now, &stream, &mut pool).expect("valid");
    assert!(first.held() < 100, "a stated length allocates nothing");
    assert_eq!(pool.free(), 100_000);
    // What is free for each peer, and all of the pool.
    let rest = vec![0; 1 << 20];
    let (taken, frame) = first.read(now, &rest, &mut pool).expect("valid");
    assert_eq!((taken + 1, frame), (FREE_BYTES + 100_000, None));
    assert_eq!(first.read(now, &rest, &mut pool), Ok((0, None)));
    assert_eq!(pool.free(), 0);
    // Others still have what is free.
    let mut second = FrameReader::default();
    let (taken, _) = second.read(now, &[&stream[..4], &rest].concat(), &mut pool).expect("valid");
    assert_eq!(taken, 4 + FREE_BYTES);
    first.close(&mut pool);
    second.close(&mut pool);
    assert_eq!((pool.free(), first.held()), (100_000, 0));
}

#[test]
fn a_frame_that_does_not_end_is_stalled() {
    let now = Instant::default();
    let mut pool = Pool::default();
    let mut reader = FrameReader::default();
    assert!(!reader.is_stalled(now + STALLED_AFTER) && reader.is_idle());
    reader.read(now, &[10], &mut pool).expect("valid");
    for seconds in 1..10 {
        let now = now + Duration::from_secs(seconds);
        assert_eq!(reader.read(now, &[7], &mut pool), Ok((1, None)));
    }
    assert!(!reader.is_stalled(now + Duration::from_secs(29)) && !reader.is_idle());
    assert!(reader.is_stalled(now + STALLED_AFTER));
    reader.close(&mut pool);
    assert!(!reader.is_stalled(now + STALLED_AFTER) && reader.is_idle());
}

/// A peer that sends one frame, as fast as it is read.
struct Sender {
    reader: FrameReader,
    sent: usize,
    length: usize,
}

impl Sender {
    fn new(pool: &mut Pool, length: usize) -> Self {
        let mut prefix = Vec::new();
        proto::write_varint(&mut prefix, length as u64);
        let mut reader = FrameReader::default();
        reader.read(Instant::default(), &prefix, pool).expect("valid");
        Self { reader, sent: 0, length }
    }

    /// Sends up to `bytes`. Returns how many were taken.
    fn send(&mut self, now: Instant, bytes: usize, pool: &mut Pool) -> usize {
        let piece = vec![0; bytes.min(self.length - self.sent)];
        let (taken, frame) = self.reader.read(now, &piece, pool).expect("valid");
        self.sent += taken;
        assert_eq!(frame.is_some(), self.is_complete());
        taken
    }

    const fn is_complete(&self) -> bool {
        self.sent == self.length
    }
}

#[test]
fn frames_that_exhaust_the_pool_together_are_all_completed() {
    let now = Instant::default();
    // Room for one and a half frames, and four that grow in turn.
    let mut pool = Pool::new(MAX_FRAME * 3 / 2);
    let mut senders: Vec<_> = (0..4).map(|_| Sender::new(&mut pool, MAX_FRAME)).collect();
    while !senders.iter().all(Sender::is_complete) {
        let unfinished = senders.iter_mut().filter(|sender| !sender.is_complete());
        let taken: Vec<_> = unfinished.map(|s| s.send(now, 256 << 10, &mut pool)).collect();
        assert!(taken.iter().any(|taken| *taken > 0), "all wait for each other");
        assert!(!senders.iter().any(|sender| sender.reader.is_given_up(&pool)));
    }
    assert_eq!(pool.free(), MAX_FRAME * 3 / 2);
}

#[test]
fn a_peer_that_stalls_gives_way_to_one_that_waits() {
    let start = Instant::default();
    let after = |millis| start + Duration::from_millis(millis);
    let mut pool = Pool::new(MAX_FRAME * 3 / 2);
    let mut stalled: Vec<_> = (0..2).map(|_| Sender::new(&mut pool, MAX_FRAME)).collect();
    // One uses what is for all, and the other the lane.
    assert_eq!(stalled[0].send(start, 5 << 20, &mut pool), 5 << 20);
    assert_eq!(stalled[1].send(after(1), 9 << 20, &mut pool), 9 << 20);
    assert!(pool.free() < 2 << 20);
    let mut honest = Sender::new(&mut pool, 2 << 20);
    honest.send(after(900), 2 << 20, &mut pool);
    let gives_way = |stalled: &[Sender], pool: &Pool| {
        stalled.iter().map(|sender| sender.reader.is_given_up(pool)).collect::<Vec<_>>()
    };
    assert!(!honest.is_complete());
    assert!(!honest.reader.is_stalled(after(900) + STALLED_AFTER), "it is not its peer's fault");
    assert_eq!(gives_way(&stalled, &pool), [false, false], "they are not late");
    assert_eq!(honest.send(after(1000), 2 << 20, &mut pool), 0);
    assert_eq!(gives_way(&stalled, &pool), [true, false], "the one that was silent longest");
    stalled[0].reader.close(&mut pool);
    honest.send(after(1000), 2 << 20, &mut pool);
    assert!(honest.is_complete());
    assert_eq!(gives_way(&stalled, &pool), [false, false], "nothing waits any more");
}

#[test]
fn a_peer_that_trickles_gives_way_to_one_that_waits() {
    let mut pool = Pool::new(1 << 20);
    let mut slow = Sender::new(&mut pool, MAX_FRAME);
    let mut honest = Sender::new(&mut pool, 1 << 20);
    slow.send(Instant::default(), 1 << 20, &mut pool);
    honest.send(Instant::default(), 1 << 20, &mut pool);
    for tenths in 1..=40 {
        assert!(!slow.reader.is_given_up(&pool), "it is not late");
        let now = Instant::from_start(Duration::from_millis(100 * tenths));
        assert_eq!(slow.send(now, 1, &mut pool), 1);
        honest.send(now, 1 << 20, &mut pool);
    }
    assert!(slow.reader.is_given_up(&pool));
    slow.reader.close(&mut pool);
    let now = Instant::from_start(SLOW);
    honest.send(now, 1 << 20, &mut pool);
    assert!(honest.is_complete());
}

#[test]
fn all_that_are_idle_give_way_and_of_those_that_trickle_the_one_in_the_lane() {
    let at = |millis| Instant::from_start(Duration::from_millis(millis));
    let mut pool = Pool::new(MAX_FRAME + (1 << 20));
    // Sixteen share what is for all, and one begins later and uses the lane.
    let mut many: Vec<_> = (0..17).map(|_| Sender::new(&mut pool, MAX_FRAME)).collect();
    for sender in &mut many[..16] {
        sender.send(at(0), FREE_BYTES, &mut pool);
        assert_eq!(sender.send(at(0), 1, &mut pool), 1);
    }
    assert_eq!(pool.free(), MAX_FRAME);
    assert_eq!(many[16].send(at(10), 1 << 20, &mut pool), 1 << 20);
    let mut honest = Sender::new(&mut pool, 1 << 20);
    for seconds in 1..=5 {
        let now = at(10 + 1000 * seconds - 500);
        for sender in &mut many {
            assert_eq!(sender.send(now, 1, &mut pool), 1);
        }
        honest.send(now, 1 << 20, &mut pool);
    }
    let given_up = |many: &[Sender], pool: &Pool| {
        many.iter().map(|sender| sender.reader.is_given_up(pool)).collect::<Vec<_>>()
    };
    assert_eq!(given_up(&many, &pool), [&[false; 16][..], &[true]].concat());
    many[16].reader.close(&mut pool);
    honest.send(at(5000), 1 << 20, &mut pool);
    assert!(honest.is_complete());
    // Now nothing more comes from any.
    many[16] = Sender::new(&mut pool, MAX_FRAME);
    many[16].send(at(5000), MAX_FRAME - 1, &mut pool);
    let mut honest = Sender::new(&mut pool, 1 << 20);
    honest.send(at(6500), 1 << 20, &mut pool);
    assert_eq!(given_up(&many, &pool), [true; 17]);
}
