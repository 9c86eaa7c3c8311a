//! Keccak-256 of many messages at once, on processors with wide registers.
//!
//! A single Keccak state does not suit a vector unit, because each step waits for the previous one.
//! Many states do: word `i` of each message's state is in a lane of one register, and one
//! instruction processes all of them. There are eight lanes with AVX-512, four with AVX2 and two
//! with ARM's SHA-3 instructions, chosen at run time. On other processors, and in the browser,
//! messages are hashed one after another.
//!
//! No maintained library does this on stable Rust with run-time selection (`keccak` 0.2 does on
//! nightly only), and the leaves of a transaction trie account for half the cost of validating a
//! large block. Nothing is allocated.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod rounds;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod sponge;
#[cfg(target_arch = "x86_64")]
mod x86;

use alloy_primitives::{B256, Keccak256};

/// A message to hash: `head` followed by `rest`. A trie node has a few bytes of its own before an
/// item's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) rest: &'a [u8],
}

impl Message<'_> {
    pub(crate) fn hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(self.head);
        hasher.update(self.rest);
        hasher.finalize()
    }

    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    const fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }
}

/// The number of messages hashed at once, by instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    One,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "aarch64")]
    Sha3(arm::Sha3),
}

impl Lanes {
    /// Returns the widest lanes that this processor supports.
    pub(crate) fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = x86::Avx512::detect() {
            return Self::Avx512(lanes);
        } else if let Some(lanes) = x86::Avx2::detect() {
            return Self::Avx2(lanes);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(lanes) = arm::Sha3::detect() {
            return Self::Sha3(lanes);
        }
        Self::One
    }

    /// Hashes all `messages` and stores the digests at the same positions of `digests`.
    ///
    /// # Panics
    /// If there are fewer digests than messages.
    pub(crate) fn hash_all(self, messages: &[Message<'_>], digests: &mut [B256]) {
        let digests = &mut digests[..messages.len()];
        match self {
            _ if messages.len() < 2 => one_by_one(messages, digests),
            Self::One => one_by_one(messages, digests),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(lanes) => {
                sponge::hash_all(|state, block| lanes.permute(state, block), messages, digests);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(lanes) => {
                sponge::hash_all(|state, block| lanes.permute(state, block), messages, digests);
            }
            #[cfg(target_arch = "aarch64")]
            Self::Sha3(lanes) => {
                sponge::hash_all(|state, block| lanes.permute(state, block), messages, digests);
            }
        }
    }

    /// Returns all kinds of lanes that this processor supports, including the portable code.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::One];
        #[cfg(target_arch = "x86_64")]
        all.extend(x86::Avx2::detect().map(Self::Avx2));
        #[cfg(target_arch = "x86_64")]
        all.extend(x86::Avx512::detect().map(Self::Avx512));
        #[cfg(target_arch = "aarch64")]
        all.extend(arm::Sha3::detect().map(Self::Sha3));
        all
    }
}

fn one_by_one(messages: &[Message<'_>], digests: &mut [B256]) {
    for (message, digest) in messages.iter().zip(digests) {
        *digest = message.hash();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    /// Hashes with every kind of lanes, and compares each digest with the library's.
    fn check(messages: &[(Vec<u8>, Vec<u8>)]) {
        let parts: Vec<_> = messages.iter().map(|(head, rest)| Message { head, rest }).collect();
        let expected: Vec<_> =
            messages.iter().map(|(head, rest)| keccak256([&head[..], rest].concat())).collect();
        for lanes in Lanes::all() {
            let mut digests = vec![B256::ZERO; messages.len()];
            lanes.hash_all(&parts, &mut digests);
            assert_eq!(digests, expected, "{lanes:?}");
        }
    }

    #[test]
    fn every_length_around_the_blocks_agrees_with_the_library() {
        let lengths = (0..3 * 136 + 2).map(|length| (Vec::new(), vec![length as u8; length]));
        check(&lengths.collect::<Vec<_>>());
    }

    #[test]
    fn every_cut_between_head_and_rest_agrees_with_the_library() {
        let bytes: Vec<u8> = (0..=255).collect();
        let cuts = (0..bytes.len()).map(|cut| (bytes[..cut].to_vec(), bytes[cut..].to_vec()));
        check(&cuts.collect::<Vec<_>>());
    }

    #[test]
    fn a_long_message_among_short_ones_agrees_with_the_library() {
        for at in 0..20 {
            let length = |index: usize| if index == at { 100_000 } else { 40 * index };
            check(
                &(0..20)
                    .map(|index| (vec![7; 20], vec![index as u8; length(index)]))
                    .collect::<Vec<_>>(),
            );
        }
    }

    proptest! {
        #[test]
        fn any_messages_agree_with_the_library(messages in prop::collection::vec(
            (
                prop::collection::vec(any::<u8>(), 0..150),
                prop::collection::vec(any::<u8>(), 0..600),
            ),
            0..40,
        )) {
            check(&messages);
        }
    }
}
