//! The size of bytes that FastLZ compresses. Since Fjord, L1 fees depend on it (specs: Fjord's
//! `exec-engine.md`).
//!
//! Clients must agree on the size to the byte, so this counts what one particular compressor
//! writes: level 1 of FastLZ as Solady has it. That compressor looks for three bytes that occurred
//! before, by a table of the last place of each hash. It writes a match as two bytes, or three if
//! it is long, and other bytes as runs of at most 32, each after a byte with its length.
//!
//! # Bounds
//! Time is proportional to the input. The table has [`PLACES`] places.

/// Number of places in the table.
const PLACES: usize = 1 << 13;
/// Maximum distance between a match and the bytes that it repeats.
const MAX_DISTANCE: usize = PLACES - 1;
/// Number of bytes at the end in which no match begins.
const NO_START: usize = 13;
/// Number of bytes at the end that no match contains.
const NO_MATCH: usize = 4;
/// Maximum number of bytes in a run.
const MAX_RUN: usize = 32;
/// A match whose length is at least this is written in parts.
const LONG_MATCH: usize = 262;
/// A match of this length or more takes a third byte.
const THREE_BYTES: usize = 6;

/// Returns the size of `bytes` after compression.
pub(super) fn compressed_size(bytes: &[u8]) -> usize {
    let three = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
    let place = |three: u32| (three.wrapping_mul(2_654_435_769) >> 19) as usize;
    let limit = bytes.len().saturating_sub(NO_START);
    let mut last = vec![0_usize; PLACES];
    let (mut size, mut run_start, mut at) = (0, 0, 2);
    while at < limit {
        let found = three(at);
        let before = std::mem::replace(&mut last[place(found)], at);
        // An unused place of the table means the first byte. At the last start, the compressor
        // stops before it writes the match.
        let is_match = three(before) == found && at - before <= MAX_DISTANCE && at + 1 < limit;
        if !is_match {
            at += 1;
            continue;
        }
        size += run_size(at - run_start);
        // The length that is written is two less than that of the match.
        let here = &bytes[at + 3..bytes.len() - NO_MATCH];
        let pairs = here.iter().zip(&bytes[before + 3..]);
        let same = pairs.take_while(|(here, before)| here == before).count();
        let length = (same + 1).min(here.len());
        size += match_size(length);
        at += length;
        for _ in 0..2 {
            last[place(three(at))] = at;
            at += 1;
        }
        run_start = at;
    }
    size + run_size(bytes.len() - run_start)
}

/// Returns the size of bytes that are not compressed.
const fn run_size(length: usize) -> usize {
    length + length.div_ceil(MAX_RUN)
}

/// Returns the size of a match, given the length that is written.
const fn match_size(length: usize) -> usize {
    let (parts, rest) = ((length - 1) / LONG_MATCH, (length - 1) % LONG_MATCH);
    3 * parts + if rest >= THREE_BYTES { 3 } else { 2 }
}
