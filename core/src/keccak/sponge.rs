//! The sponge around the permutation (Keccak-256: rate 1088 bits, padding `01…80`), for `N`
//! messages at once.
//!
//! Messages differ in length. Each lane takes the next message as soon as its own is done, so lanes
//! are idle only at the end. The rest of the last message is hashed alone.

use super::Message;
use super::rounds::permute_one;
use alloy_primitives::B256;

/// Number of bytes absorbed between two permutations.
pub(super) const RATE: usize = 136;

/// `N` states. Word `i` of all states is stored contiguously.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct State<const N: usize>(pub(super) [[u64; N]; 25]);

/// The input of `N` states before a permutation.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Block<const N: usize> {
    /// All ones for the states that continue, zero for those that start a new message.
    pub(super) keep: [u64; N],
    pub(super) words: [[u64; N]; RATE / 8],
}

/// Progress of a lane.
#[derive(Clone, Copy, Debug)]
struct Lane {
    message: usize,
    /// Number of bytes of the message absorbed so far.
    absorbed: usize,
}

impl Lane {
    /// Passes the words of the next block to `absorb`. Returns `true` if it was the last block.
    fn next(&mut self, message: &Message<'_>, absorb: impl FnMut(usize, u64)) -> bool {
        let (from, left) = (self.absorbed, message.len() - self.absorbed);
        self.absorbed += RATE;
        let inside = from.checked_sub(message.head.len()).and_then(|from| message.rest.get(from..));
        if let Some(block) = inside.and_then(<[u8]>::first_chunk) {
            absorb_words(block, absorb);
        } else {
            absorb_words(&padded(message, from, left.min(RATE)), absorb);
        }
        left < RATE
    }
}

fn absorb_words(block: &[u8; RATE], mut absorb: impl FnMut(usize, u64)) {
    for (at, word) in block.as_chunks::<8>().0.iter().enumerate() {
        absorb(at, u64::from_le_bytes(*word));
    }
}

/// Returns a block that crosses the boundary of `head` and `rest`, or that ends a message: `taken`
/// of the message's bytes, and the padding if they don't fill the block.
fn padded(message: &Message<'_>, from: usize, taken: usize) -> [u8; RATE] {
    let mut block = [0; RATE];
    let head = message.head.get(from..).unwrap_or_default();
    let of_head = head.len().min(taken);
    block[..of_head].copy_from_slice(&head[..of_head]);
    let start = (from + of_head).saturating_sub(message.head.len());
    block[of_head..taken].copy_from_slice(&message.rest[start..start + taken - of_head]);
    if taken < RATE {
        block[taken] = 1;
        block[RATE - 1] |= 0x80;
    }
    block
}

/// The next block of each lane, and the messages that end with it.
struct Filled<const N: usize> {
    block: Block<N>,
    ends: [Option<usize>; N],
    /// Number of lanes with a message.
    running: usize,
}

impl<const N: usize> Filled<N> {
    const EMPTY: Self = Self {
        block: Block { keep: [0; N], words: [[0; N]; RATE / 8] },
        ends: [None; N],
        running: 0,
    };

    /// Takes the next block of each lane's message, or the first block of the next message.
    fn fill(&mut self, lanes: &mut [Option<Lane>; N], next: &mut usize, messages: &[Message<'_>]) {
        self.running = 0;
        for (at, lane) in lanes.iter_mut().enumerate() {
            self.block.keep[at] = if lane.is_some() { u64::MAX } else { 0 };
            self.ends[at] = None;
            let here = match lane {
                Some(here) => here,
                None if *next < messages.len() => {
                    *next += 1;
                    lane.insert(Lane { message: *next - 1, absorbed: 0 })
                }
                None => continue,
            };
            self.running += 1;
            let words = &mut self.block.words;
            if here.next(&messages[here.message], |word, value| words[word][at] = value) {
                self.ends[at] = Some(here.message);
                *lane = None;
            }
        }
    }
}

/// Hashes all messages and stores the digests at the same positions of `digests`, which has the
/// same length. `permute` absorbs a block and permutes the states.
pub(super) fn hash_all<const N: usize>(
    permute: impl Fn(&mut State<N>, &Block<N>),
    messages: &[Message<'_>],
    digests: &mut [B256],
) {
    let mut state = State([[0; N]; 25]);
    let (mut lanes, mut next) = ([None; N], 0);
    let (mut filled, mut following) = (Filled::EMPTY, Filled::EMPTY);
    filled.fill(&mut lanes, &mut next, messages);
    while filled.running > 1 {
        // Fill the next blocks before the permutation, not after it: words that were just written
        // one by one can't be read as a vector register at once.
        following.fill(&mut lanes, &mut next, messages);
        permute(&mut state, &filled.block);
        for (at, message) in filled.ends.iter().enumerate() {
            if let Some(message) = message {
                digests[*message] = digest(|word| state.0[word][at]);
            }
        }
        std::mem::swap(&mut filled, &mut following);
    }
    let mut last = 0..N;
    let Some(at) = last.find(|at| filled.ends[*at].is_some() || lanes[*at].is_some()) else {
        return;
    };
    let mut one = state.0.map(|words| words[at] & filled.block.keep[at]);
    for (word, words) in one.iter_mut().zip(filled.block.words) {
        *word ^= words[at];
    }
    permute_one(&mut one);
    let mut message = filled.ends[at];
    if let Some(mut lane) = lanes[at] {
        while !lane.next(&messages[lane.message], |word, value| one[word] ^= value) {
            permute_one(&mut one);
        }
        permute_one(&mut one);
        message = Some(lane.message);
    }
    if let Some(message) = message {
        digests[message] = digest(|word| one[word]);
    }
}

fn digest(word: impl Fn(usize) -> u64) -> B256 {
    let mut digest = B256::ZERO;
    for (at, bytes) in digest.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *bytes = word(at).to_le_bytes();
    }
    digest
}
