//! Two lanes with the SHA-3 instructions of ARM processors since ARMv8.2 (all of Apple's
//! processors, and servers since Neoverse V1).
//!
//! Plain NEON has neither a rotation nor an operation on three words, and is no faster than the
//! general registers. The unsafe code does the same as on x86: it makes calls that a value of
//! [`Sha3`] proves valid, and it moves data between memory and registers.
#![expect(unsafe_code, reason = "vector instructions, as on x86")]

use super::rounds::permute;
use super::sponge::{Block, State};
use std::arch::aarch64::*;

/// Proof that the processor has the SHA-3 instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha3(());

impl Sha3 {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("sha3").then_some(Self(()))
    }

    pub(super) fn permute(self, state: &mut State<2>, block: &Block<2>) {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { permute_by_sha3(state, block) }
    }
}

#[target_feature(enable = "neon,sha3")]
fn permute_by_sha3(state: &mut State<2>, block: &Block<2>) {
    type Word = uint64x2_t;

    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn xor(a: Word, b: Word) -> Word {
        veorq_u64(a, b)
    }
    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn xor5(a: Word, b: Word, c: Word, d: Word, e: Word) -> Word {
        veor3q_u64(veor3q_u64(a, b, c), d, e)
    }
    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn rotated_xor(a: Word, b: Word) -> Word {
        vrax1q_u64(a, b)
    }
    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn xor_rotated<const LEFT: i32, const RIGHT: i32>(a: Word, b: Word) -> Word {
        vxarq_u64::<RIGHT>(a, b)
    }
    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn chi(a: Word, b: Word, c: Word) -> Word {
        vbcaxq_u64(a, c, b)
    }
    #[inline]
    #[target_feature(enable = "neon,sha3")]
    fn splat(word: u64) -> Word {
        vdupq_n_u64(word)
    }

    // SAFETY: `lanes` are two words that can be read.
    let load = |lanes: &[u64; 2]| unsafe { vld1q_u64(lanes.as_ptr()) };
    let keep = load(&block.keep);
    let mut a = [vdupq_n_u64(0); 25];
    for (word, lanes) in a.iter_mut().zip(&state.0) {
        *word = vandq_u64(load(lanes), keep);
    }
    for (word, lanes) in a.iter_mut().zip(&block.words) {
        *word = xor(*word, load(lanes));
    }
    permute!(a);
    for (word, lanes) in a.iter().zip(&mut state.0) {
        // SAFETY: `lanes` are two words that can be written.
        unsafe { vst1q_u64(lanes.as_mut_ptr(), *word) };
    }
}
