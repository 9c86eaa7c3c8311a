//! The vectors for other implementers, in `core/fixtures/range`.

use super::*;
use crate::chain::BlockId;
use crate::sync::range::wire::{CHUNK, FRAME_HEADER_SIZE};
use alloy_primitives::hex;
use serde_json::{Value, json};

const REQUESTS: &str = include_str!("../../../../fixtures/range/requests.json");
const ANSWERS: &str = include_str!("../../../../fixtures/range/answers.json");

/// Returns the cases of requests: the bytes, and what they say.
fn requests() -> Value {
    let blocks = real();
    let first = First::Block(BlockId::of(&blocks[0]));
    let named = Request { chain_id: 11_155_420, first, blocks: 4, bytes: 1 << 20, codecs: CODECS };
    let canonical = Request { first: First::Canonical(26_207_900), ..named };
    let bytes = |request: Request| request.encode().to_vec();
    let mut later = bytes(named);
    later[0] += 2;
    later.extend([1, 2]);
    let mut features = bytes(named);
    features[66] = 1;
    let mut none = bytes(named);
    none[50] = 0;
    let mut number = bytes(named);
    number[17] = 0x80;
    let mut short = bytes(named);
    short[0] -= 1;
    let cases = [
        ("the block of a number and hash, and those below", bytes(named)),
        ("the server's canonical block of a number, and those below", bytes(canonical)),
        ("fields of a later version, which are ignored", later),
        ("a feature that is unknown", features),
        ("no blocks", none),
        ("a number of 2^63 or more", number),
        ("too short", short),
        ("cut", bytes(named)[..69].to_vec()),
        ("bytes behind it", [bytes(named), vec![0]].concat()),
    ];
    let case = |(what, bytes): (&str, Vec<u8>)| match Request::decode(&bytes) {
        Ok(request) => json!({
            "what": what, "bytes": hex::encode(&bytes), "chain_id": request.chain_id,
            "number": request.first.number(), "hash": request.first.hash(),
            "blocks": request.blocks, "contents": request.bytes,
        }),
        Err(error) => {
            json!({ "what": what, "bytes": hex::encode(&bytes), "error": error.to_string() })
        }
    };
    Value::Array(cases.into_iter().map(case).collect())
}

/// Returns the cases of answers to a request for a block: the bytes, the blocks that they prove,
/// and how they end.
fn answers() -> Value {
    let blocks = real();
    // The two smaller ones.
    let (high, low) = (&blocks[2], &blocks[3]);
    let both = packed([high, low]).frame.to_vec();
    let (one, two) = (packed([high]).frame.to_vec(), packed([low]).frame.to_vec());
    let end = |end: End| end.encode().to_vec();
    let complete = end(End::Complete);
    let skipped = vec![0x80, 2, 0, 0, 0, 9, 9];
    let mut forged = two.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut bomb = vec![CHUNK, 0xff, 0xff, 0xff, 0xff];
    bomb.resize(FRAME_HEADER_SIZE + 20, 0);
    let mut codec = one.clone();
    codec[FRAME_HEADER_SIZE] = 9;
    let retry = Duration::from_millis(1500);
    let cases = [
        ("two blocks in one chunk", [both.clone(), complete.clone()].concat()),
        ("two chunks", [one.clone(), two.clone(), complete.clone()].concat()),
        ("a frame that is skipped", [skipped, both.clone(), complete.clone()].concat()),
        ("the store ends", [one.clone(), end(End::NoMore { lowest: high.number() })].concat()),
        ("a block that the server never had", end(End::NeverHad { highest: 7 })),
        ("limits", [one.clone(), end(End::Limited { retry })].concat()),
        ("another chain", end(End::OtherChain { chain_id: 10 })),
        ("refused", end(End::Refused)),
        ("not a request", end(End::Invalid)),
        ("the server fails", end(End::Failed)),
        ("a reason of a later version", end(End::Unknown { reason: 200, value: 1 })),
        ("a second block that is forged", [one.clone(), forged, complete.clone()].concat()),
        ("not the requested block", [two, complete.clone()].concat()),
        ("a block that is not the parent", [one.clone(), one.clone()].concat()),
        ("cut within a chunk", both[..both.len() - 1].to_vec()),
        ("cut between two chunks", one),
        ("a length that can't be", bomb),
        ("a codec that is unknown", codec),
        ("a kind that is unknown", vec![3, 0, 0, 0, 0]),
        ("bytes behind the end", [complete, vec![0]].concat()),
    ];
    Value::Array(cases.into_iter().map(|(what, bytes)| answer(what, &bytes, high)).collect())
}

fn answer(what: &str, bytes: &[u8], first: &Block) -> Value {
    let (mut rest, mut decoder) = (bytes, AnswerDecoder::new(MAX_CONTENTS));
    let (mut number, mut hash) = (first.number(), first.hash());
    let (mut proved, mut end) = (Vec::new(), Value::Null);
    let error = loop {
        match decoder.next(&mut rest) {
            Ok(Some(Frame::End(reason))) => {
                let (reason, value) = reason.parts();
                end = json!({ "reason": reason, "value": value });
            }
            Ok(Some(Frame::Chunk(chunk))) => {
                let checked = ChunkWork::new(chunk, number, Some(hash)).run();
                for block in &checked.blocks {
                    proved.push(json!({ "number": block.number(), "hash": block.hash() }));
                    (number, hash) = (block.number() - 1, block.parent_hash());
                }
                if let Some(fault) = checked.fault {
                    break json!(fault.to_string());
                }
            }
            Ok(None) => {
                break decoder.finish().err().map_or(Value::Null, |e| json!(e.to_string()));
            }
            Err(fault) => break json!(fault.to_string()),
        }
    };
    json!({
        "what": what, "bytes": hex::encode(bytes), "number": first.number(), "hash": first.hash(),
        "proved": proved, "end": end, "error": error,
    })
}

#[test]
fn the_vectors_hold() {
    for (made, text) in [(requests(), REQUESTS), (answers(), ANSWERS)] {
        let file: Value = serde_json::from_str(text).expect("JSON");
        let (Value::Array(made), Value::Array(file)) = (made, file) else { panic!("lists") };
        assert_eq!(made.len(), file.len());
        for (made, file) in made.iter().zip(&file) {
            assert_eq!(made, file);
        }
    }
}
