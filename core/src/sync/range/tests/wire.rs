//! Requests, frames and chunks as bytes.

use super::*;
use crate::chain::BlockId;
use crate::sync::range::wire::{CHUNK_HEADER_SIZE, END_SIZE, FRAME_HEADER_SIZE, MAX_SKIPPED};
use proptest::prelude::*;

fn request(first: First) -> Request {
    Request { chain_id: 8453, first, blocks: 7, bytes: 1 << 40, codecs: CODECS }
}

/// Reads an answer in pieces of these sizes, over and over.
fn read(bytes: &[u8], limit: usize, pieces: &[usize]) -> (Vec<Frame>, Result<(), StreamError>) {
    let mut decoder = AnswerDecoder::new(limit);
    let (mut frames, mut rest, mut seen) = (Vec::new(), bytes, 0);
    for size in pieces.iter().cycle() {
        let (mut piece, after) = rest.split_at((*size).max(1).min(rest.len()));
        seen += piece.len();
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut &[1][..]), Err(error), "it stays unusable");
                    return (frames, Err(error));
                }
            }
        }
        assert!(decoder.bytes() <= 2 * seen + 64, "{} for {seen}", decoder.bytes());
        assert!(decoder.bytes() <= Codec::Snappy.largest(limit) + 128);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (frames, decoder.finish())
}

/// An answer with all real blocks, two chunks.
fn answer() -> Vec<u8> {
    let blocks = real();
    [
        &packed(&blocks[..1]).frame[..],
        &packed(&blocks[1..]).frame[..],
        &End::NoMore { lowest: 26_207_960 }.encode(),
    ]
    .concat()
}

#[test]
fn requests_come_back_and_later_fields_are_ignored() {
    let id = BlockId::new(5, B256::repeat_byte(3));
    for first in [First::Block(id), First::Canonical(5)] {
        let mut bytes = request(first).encode().to_vec();
        assert_eq!(Request::decode(&bytes), Ok(request(first)));
        for end in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..end]), Err(RequestError::Truncated(end)));
        }
        bytes.push(9);
        assert_eq!(Request::decode(&bytes), Err(RequestError::Trailing));
        bytes[0] += 1;
        assert_eq!(Request::decode(&bytes), Ok(request(first)));
    }
}

#[test]
fn a_request_that_is_not_one_is_refused_for_its_reason() {
    let good = request(First::Canonical(5)).encode();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Request::decode(&bytes)
    };
    assert_eq!(changed(0, 67), Err(RequestError::Length(69)));
    assert_eq!(changed(1, 0xff), Err(RequestError::Length(0xff46)));
    assert_eq!(changed(50, 0), Err(RequestError::Nothing));
    assert_eq!(changed(69, 1), Err(RequestError::Features(1 << 24)));
    assert_eq!(changed(17, 0x80), Err(RequestError::Number((1 << 63) + 5)));
    assert_eq!(Request::size(&good[..1]), Ok(None));
    assert_eq!(Request::size(&good), Ok(Some(REQUEST_SIZE)));
}

#[test]
fn every_end_comes_back() {
    for reason in 0..=u8::MAX {
        let end = End::from_parts(reason, 77);
        let parts = (reason, if matches!(reason, 1..=4 | 8..) { 77 } else { 0 });
        assert_eq!(end.parts(), parts);
        let (frames, result) = read(&end.encode(), MAX_CONTENTS, &[100]);
        assert_eq!((frames, result), (vec![Frame::End(end)], Ok(())));
    }
}

#[test]
fn real_blocks_travel_and_are_checked() {
    let (frames, result) = read(&answer(), MAX_CONTENTS, &[1 << 20]);
    assert_eq!(result, Ok(()));
    let blocks = real();
    let (mut number, mut hash, mut got) = (blocks[0].number(), Some(blocks[0].hash()), Vec::new());
    for frame in frames {
        let Frame::Chunk(chunk) = frame else { continue };
        let checked = ChunkWork::new(chunk, number, hash).run();
        assert_eq!(checked.fault, None);
        got.extend(checked.blocks);
        let last = got.last().expect("a chunk has blocks");
        (number, hash) = (last.number() - 1, Some(last.parent_hash()));
    }
    let bodies = |blocks: &[Block]| blocks.iter().map(|b| b.body().clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&got), bodies(&blocks));
}

/// Returns the fault of a chunk with these blocks, and how many were kept.
fn check(packed: &Packed, number: u64, hash: Option<B256>) -> (usize, Option<ChunkError>) {
    let frame = AnswerDecoder::new(MAX_CONTENTS).next(&mut &packed.frame[..]);
    let Ok(Some(Frame::Chunk(chunk))) = frame else { panic!("{frame:?}") };
    let checked = ChunkWork::new(chunk, number, hash).run();
    (checked.blocks.len(), checked.fault)
}

#[test]
fn blocks_before_a_fault_are_kept() {
    let (blocks, other) = (chain(5, 0, 50), chain(5, 1, 50));
    let good = packed([&blocks[5], &blocks[4]]);
    assert_eq!(check(&good, 5, Some(blocks[5].hash())), (2, None));
    assert_eq!(check(&good, 5, None), (2, None));
    assert_eq!(check(&good, 5, Some(other[5].hash())), (0, Some(ChunkError::Link(5))));
    let wrong = ChunkError::WrongNumber { wanted: 6, found: 5 };
    assert_eq!(check(&good, 6, None), (0, Some(wrong)));
    let branch = packed([&blocks[5], &blocks[4], &other[3], &other[2]]);
    assert_eq!(check(&branch, 5, None), (2, Some(ChunkError::Link(3))));
    let gap = packed([&blocks[5], &blocks[3]]);
    let wrong = ChunkError::WrongNumber { wanted: 4, found: 3 };
    assert_eq!(check(&gap, 5, None), (1, Some(wrong)));
    let below = packed([&blocks[0], &blocks[0]]);
    assert_eq!(check(&below, 0, None), (1, Some(ChunkError::BelowZero)));

    let mut body = blocks[4].body().to_vec();
    let last = body.len() - 1;
    body[last] ^= 1;
    let mut packer = Packer::new(u64::MAX);
    assert!(packer.add(blocks[5].version(), blocks[5].body()));
    assert!(packer.add(blocks[4].version(), &body));
    let forged = packer.finish().expect("two");
    assert_eq!(check(&forged, 5, None), (1, Some(ChunkError::BlockHash(4))));
}

#[test]
fn contents_that_are_no_blocks_are_refused() {
    let block = &chain(1, 0, 50)[1];
    let entry = |version: u8, length: u32| {
        let mut contents = vec![version];
        contents.extend(length.to_le_bytes());
        contents.extend_from_slice(block.body());
        contents
    };
    let size = block.body().len() as u32;
    let run = |contents: Vec<u8>, announced: usize, blocks: u16| {
        let chunk =
            Chunk { codec: Codec::Stored, blocks, contents: announced, data: contents.into() };
        ChunkWork::new(chunk, 1, None).run().fault
    };
    let whole = entry(2, size);
    let length = whole.len();
    assert_eq!(run(whole.clone(), length, 1), None);
    assert_eq!(run(whole.clone(), length, 2), Some(ChunkError::Truncated));
    let announced = length + 1;
    let wrong = ChunkError::Length { announced, found: length };
    assert_eq!(run(whole.clone(), announced, 1), Some(wrong));
    assert_eq!(run(entry(5, size), length, 1), Some(ChunkError::Version(5)));
    assert_eq!(run(entry(2, size + 1), length, 1), Some(ChunkError::Truncated));
    assert_eq!(run([&whole[..], &[0]].concat(), length + 1, 1), Some(ChunkError::Trailing));
    assert!(matches!(run(entry(1, size), length, 1), Some(ChunkError::Payload(_))));
}

#[test]
fn a_packer_keeps_its_bounds() {
    let blocks = chain(40, 0, 20_000);
    let mut packer = Packer::new(u64::MAX);
    let added = blocks.iter().rev().take_while(|b| packer.add(b.version(), b.body())).count();
    let packed = packer.finish().expect("some");
    assert!(added < 40 && usize::from(packed.blocks) == added);
    assert!(packed.contents <= CHUNK_CONTENTS && packed.contents > CHUNK_CONTENTS - 25_000);

    let large = vec![0; 2 * CHUNK_CONTENTS];
    let mut packer = Packer::new(u64::MAX);
    assert!(packer.add(PayloadVersion::V4, &large), "one block may be larger than a chunk");
    assert!(!packer.add(PayloadVersion::V4, &[]));
    let mut packer = Packer::new(large.len() as u64);
    assert!(!packer.add(PayloadVersion::V4, &large), "its header does not fit");
    assert_eq!(packer.finish(), None);
}

#[test]
fn announced_lengths_are_refused_before_they_are_collected() {
    let chunk = |length: u32, codec: u8, blocks: u16, contents: u32| {
        let mut bytes = vec![1];
        bytes.extend(length.to_le_bytes());
        bytes.push(codec);
        bytes.extend(blocks.to_le_bytes());
        bytes.extend(contents.to_le_bytes());
        let mut decoder = AnswerDecoder::new(1 << 20);
        let result = decoder.next(&mut &bytes[..]);
        assert!(decoder.bytes() < 64);
        result
    };
    let header = CHUNK_HEADER_SIZE as u32;
    assert_eq!(chunk(u32::MAX, 1, 1, 5), Err(StreamError::Compressed(u32::MAX as usize - 7)));
    assert_eq!(chunk(3, 1, 1, 5), Err(StreamError::Compressed(0)));
    assert_eq!(chunk(header, 1, 1, 5), Err(StreamError::Compressed(0)));
    assert_eq!(chunk(header + 9, 2, 1, 5), Err(StreamError::Codec(2)));
    let none = StreamError::Blocks { blocks: 0, contents: 5 };
    assert_eq!(chunk(header + 9, 1, 0, 5), Err(none));
    let many = StreamError::Blocks { blocks: 2, contents: 9 };
    assert_eq!(chunk(header + 9, 1, 2, 9), Err(many));
    for (blocks, limit) in [(1, 1 << 20), (2, CHUNK_CONTENTS)] {
        let announced = limit + 1;
        let long = StreamError::Contents { announced, limit };
        assert_eq!(chunk(header + 9, 1, blocks, announced as u32), Err(long));
        assert_eq!(chunk(header + 9, 1, blocks, limit as u32), Ok(None));
    }
    assert_eq!(chunk(header + 99, 0, 1, 98), Err(StreamError::Compressed(99)));

    let end = |length: u32| {
        let bytes = [&[2][..], &length.to_le_bytes()].concat();
        AnswerDecoder::new(100).next(&mut &bytes[..])
    };
    assert_eq!(end(END_SIZE as u32 - 1), Err(StreamError::EndLength(END_SIZE - 1)));
    assert_eq!(end(65), Err(StreamError::EndLength(65)));
    for kind in [0, 3, 0x7f] {
        let bytes = [kind, 1, 0, 0, 0];
        let result = AnswerDecoder::new(100).next(&mut &bytes[..]);
        assert_eq!(result, Err(StreamError::Frame(kind)));
    }
}

#[test]
fn unknown_frames_are_skipped_up_to_a_limit_and_nothing_follows_the_end() {
    let skip =
        |length: usize| [&[0x80][..], &(length as u32).to_le_bytes(), &vec![7; length]].concat();
    let most = MAX_SKIPPED - 2 * FRAME_HEADER_SIZE;
    let end = End::Complete.encode().to_vec();
    let (frames, result) = read(&[skip(most), skip(0), end.clone()].concat(), 100, &[999]);
    assert_eq!((frames, result), (vec![Frame::End(End::Complete)], Ok(())));
    let (_, result) = read(&[skip(most), skip(1)].concat(), 100, &[999]);
    assert_eq!(result, Err(StreamError::Skipped));
    let (frames, result) = read(&[end, vec![0]].concat(), 100, &[999]);
    assert_eq!((frames.len(), result), (1, Err(StreamError::AfterEnd)));
}

#[test]
fn an_answer_that_is_cut_has_no_end() {
    let whole = answer();
    for end in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        assert_eq!(read(&whole[..end], MAX_CONTENTS, &[4096]).1, Err(StreamError::Truncated));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(pieces in prop::collection::vec(1_usize..9000, 1..20)) {
        let whole = answer();
        let expected = read(&whole, MAX_CONTENTS, &[whole.len()]);
        prop_assert_eq!(read(&whole, MAX_CONTENTS, &pieces), expected);
    }

    #[test]
    fn any_bytes_in_any_split_never_panic_and_say_the_same(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0_usize..4,
        pieces in prop::collection::vec(1_usize..40, 1..9), limit in 5_usize..600,
    ) {
        let starts = [&[][..], &[1, 60, 0, 0, 0, 1, 1, 0], &[2, 9, 0, 0, 0], &[0x90, 3, 0, 0, 0]];
        bytes.splice(0..0, starts[start].iter().copied());
        let (frames, result) = read(&bytes, limit, &pieces);
        prop_assert_eq!(&(frames.clone(), result), &read(&bytes, limit, &[bytes.len()]));
        for frame in frames {
            if let Frame::Chunk(chunk) = frame {
                prop_assert!(chunk.contents <= limit);
                let _ = ChunkWork::new(chunk, 0, None).run();
            }
        }
        let _ = Request::decode(&bytes);
    }

    #[test]
    fn a_changed_answer_yields_only_true_blocks(place in any::<prop::sample::Index>(), byte: u8) {
        let blocks = chain(6, 0, 80);
        let mut bytes = packed(blocks.iter().rev()).frame.to_vec();
        bytes.extend(End::Complete.encode());
        let place = place.index(bytes.len());
        bytes[place] ^= byte;
        let (frames, _) = read(&bytes, MAX_CONTENTS, &[64]);
        for frame in frames {
            let Frame::Chunk(chunk) = frame else { continue };
            let checked = ChunkWork::new(chunk, 6, Some(blocks[6].hash())).run();
            for (got, sent) in checked.blocks.iter().zip(blocks.iter().rev()) {
                prop_assert_eq!(got.hash(), sent.hash());
            }
        }
    }
}
