//! The sponge around the permutation (Keccak-256: rate 1088 bits, padding `01…80`), for `N` messages at once.
//!
//! Messages differ in length. Each lane takes the next message as soon as its own is done, so that lanes stand idle only at the
//! end; what is left of a last message goes on by itself.

use super::Message;
use super::rounds::permute_one;
use alloy_primitives::B256;

/// Bytes absorbed between two permutations.
pub(super) const RATE: usize = 136;

/// `N` states. Word `i` of all of them lies together.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct State<const N: usize>(pub(super) [[u64; N]; 25]);

/// What a lane is at.
#[derive(Clone, Copy, Debug)]
struct Lane {
    message: usize,
    /// Bytes of it that were absorbed.
    absorbed: usize,
}

impl Lane {
    /// Hands the words of the next block to `absorb`, and answers whether that was the last.
    fn next(&mut self, message: &Message<'_>, mut absorb: impl FnMut(usize, u64)) -> bool {
        let (from, left) = (self.absorbed, message.len() - self.absorbed);
        self.absorbed += RATE;
        let mut padded = [0; RATE];
        let block = match from.checked_sub(message.head.len()).and_then(|from| message.rest.get(from..)) {
            Some(rest) if left >= RATE => rest.first_chunk().unwrap_or(&padded),
            _ => {
                let taken = left.min(RATE);
                let head = message.head.get(from..).unwrap_or_default();
                let of_head = head.len().min(taken);
                padded[..of_head].copy_from_slice(&head[..of_head]);
                let start = (from + of_head) - message.head.len().min(from + of_head);
                padded[of_head..taken].copy_from_slice(&message.rest[start..start + taken - of_head]);
                if left < RATE {
                    padded[left] = 1;
                    padded[RATE - 1] |= 0x80;
                }
                &padded
            }
        };
        for (at, word) in block.as_chunks::<8>().0.iter().enumerate() {
            absorb(at, u64::from_le_bytes(*word));
        }
        left < RATE
    }
}

/// Hashes each message into its place in `digests`, which are as many.
pub(super) fn hash_all<const N: usize>(
    permute: impl Fn(&mut State<N>),
    messages: &[Message<'_>],
    digests: &mut [B256],
) {
    let mut state = State([[0; N]; 25]);
    let mut next = N.min(messages.len());
    let mut lanes: [Option<Lane>; N] =
        std::array::from_fn(|lane| (lane < next).then_some(Lane { message: lane, absorbed: 0 }));
    let mut running = next;
    while running > 1 {
        let mut done = [false; N];
        for (at, lane) in lanes.iter_mut().enumerate() {
            if let Some(lane) = lane {
                done[at] = lane.next(&messages[lane.message], |word, value| state.0[word][at] ^= value);
            }
        }
        permute(&mut state);
        for (at, lane) in lanes.iter_mut().enumerate() {
            if !done[at] {
                continue;
            }
            if let Some(Lane { message, .. }) = lane {
                digests[*message] = digest(|word| state.0[word][at]);
            }
            state.0.iter_mut().for_each(|words| words[at] = 0);
            *lane = (next < messages.len()).then_some(Lane { message: next, absorbed: 0 });
            match lane {
                Some(_) => next += 1,
                None => running -= 1,
            }
        }
    }
    for (at, lane) in lanes.iter_mut().enumerate() {
        if let Some(lane) = lane {
            let mut one = state.0.map(|words| words[at]);
            loop {
                let is_last = lane.next(&messages[lane.message], |word, value| one[word] ^= value);
                permute_one(&mut one);
                if is_last {
                    break;
                }
            }
            digests[lane.message] = digest(|word| one[word]);
        }
    }
}

fn digest(word: impl Fn(usize) -> u64) -> B256 {
    let mut digest = B256::ZERO;
    for (at, bytes) in digest.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *bytes = word(at).to_le_bytes();
    }
    digest
}
