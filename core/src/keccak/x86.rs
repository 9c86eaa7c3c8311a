//! Four lanes with AVX2, eight with AVX-512.
//!
//! The unsafe code here does two things. First, it calls functions with instructions that not every
//! processor has. A value of [`Avx2`] or [`Avx512`] is proof that this one does, since
//! [`Avx2::detect`] and [`Avx512::detect`] are the only ways to get one. Second, it moves a state
//! between memory and registers, through references to arrays of exactly a register's width, so
//! that every address is valid, with instructions that require no alignment. The tests of
//! [`Lanes`](super::Lanes) compare both with the portable code.
#![expect(unsafe_code, reason = "vector instructions: half the time of a large block's validation")]

use super::rounds::permute;
use super::sponge::{Block, State};
use std::arch::x86_64::*;

/// Proof that the processor has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// Proof that the processor has AVX-512 F.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    pub(super) fn permute(self, state: &mut State<4>, block: &Block<4>) {
        // SAFETY: `self` is proof that the processor has AVX2.
        unsafe { permute_by_avx2(state, block) }
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    pub(super) fn permute(self, state: &mut State<8>, block: &Block<8>) {
        // SAFETY: `self` is proof that the processor has AVX-512 F.
        unsafe { permute_by_avx512(state, block) }
    }
}

#[target_feature(enable = "avx2")]
fn permute_by_avx2(state: &mut State<4>, block: &Block<4>) {
    type Word = __m256i;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn xor(a: Word, b: Word) -> Word {
        _mm256_xor_si256(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn xor5(a: Word, b: Word, c: Word, d: Word, e: Word) -> Word {
        xor(xor(xor(a, b), xor(c, d)), e)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate<const LEFT: i32, const RIGHT: i32>(a: Word) -> Word {
        _mm256_or_si256(_mm256_slli_epi64::<LEFT>(a), _mm256_srli_epi64::<RIGHT>(a))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotated_xor(a: Word, b: Word) -> Word {
        xor(a, rotate::<1, 63>(b))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn xor_rotated<const LEFT: i32, const RIGHT: i32>(a: Word, b: Word) -> Word {
        rotate::<LEFT, RIGHT>(xor(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn chi(a: Word, b: Word, c: Word) -> Word {
        xor(a, _mm256_andnot_si256(b, c))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn splat(word: u64) -> Word {
        _mm256_set1_epi64x(word.cast_signed())
    }

    // SAFETY: `lanes` are 32 bytes that can be read.
    let load = |lanes: &[u64; 4]| unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
    let keep = load(&block.keep);
    let mut a = [_mm256_setzero_si256(); 25];
    for (word, lanes) in a.iter_mut().zip(&state.0) {
        *word = _mm256_and_si256(load(lanes), keep);
    }
    for (word, lanes) in a.iter_mut().zip(&block.words) {
        *word = xor(*word, load(lanes));
    }
    permute!(a);
    for (word, lanes) in a.iter().zip(&mut state.0) {
        // SAFETY: `lanes` are 32 bytes that can be written.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), *word) };
    }
}

#[target_feature(enable = "avx512f")]
fn permute_by_avx512(state: &mut State<8>, block: &Block<8>) {
    type Word = __m512i;
    /// Truth tables of `a ^ b ^ c` and of `a ^ (!b & c)`, in the instruction's numbering.
    const XOR3: i32 = 0x96;
    const CHI: i32 = 0xd2;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn xor(a: Word, b: Word) -> Word {
        _mm512_xor_si512(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn xor5(a: Word, b: Word, c: Word, d: Word, e: Word) -> Word {
        let three = _mm512_ternarylogic_epi64::<XOR3>(a, b, c);
        _mm512_ternarylogic_epi64::<XOR3>(three, d, e)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn rotated_xor(a: Word, b: Word) -> Word {
        xor(a, _mm512_rol_epi64::<1>(b))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn xor_rotated<const LEFT: i32, const RIGHT: i32>(a: Word, b: Word) -> Word {
        _mm512_rol_epi64::<LEFT>(xor(a, b))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn chi(a: Word, b: Word, c: Word) -> Word {
        _mm512_ternarylogic_epi64::<CHI>(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(word: u64) -> Word {
        _mm512_set1_epi64(word.cast_signed())
    }

    // SAFETY: `lanes` are 64 bytes that can be read.
    let load = |lanes: &[u64; 8]| unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
    let keep = load(&block.keep);
    let mut a = [_mm512_setzero_si512(); 25];
    for (word, lanes) in a.iter_mut().zip(&state.0) {
        *word = _mm512_and_si512(load(lanes), keep);
    }
    for (word, lanes) in a.iter_mut().zip(&block.words) {
        *word = xor(*word, load(lanes));
    }
    permute!(a);
    for (word, lanes) in a.iter().zip(&mut state.0) {
        // SAFETY: `lanes` are 64 bytes that can be written.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *word) };
    }
}
