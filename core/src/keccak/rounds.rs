//! The permutation Keccak-f[1600] (FIPS 202, 3.3), written once for words of any width.

/// Round constants, which step ι adds.
pub(super) const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Permutes the array `$a` of 25 words in place. Word `x + 5 y` is the specification's lane (x, y).
///
/// This is a macro because the operations must be in scope as functions with the processor's
/// feature enabled, which a generic parameter can't express: `xor5`, `rotated_xor` (a ^ b <<< 1),
/// `xor_rotated::<R, 64 - R>` ((a ^ b) <<< R), `chi` (a ^ !b & c), `xor`, `splat`.
macro_rules! permute {
    ($a:ident) => {
        for constant in $crate::keccak::rounds::ROUND_CONSTANTS {
            // θ
            let c0 = xor5($a[0], $a[5], $a[10], $a[15], $a[20]);
            let c1 = xor5($a[1], $a[6], $a[11], $a[16], $a[21]);
            let c2 = xor5($a[2], $a[7], $a[12], $a[17], $a[22]);
            let c3 = xor5($a[3], $a[8], $a[13], $a[18], $a[23]);
            let c4 = xor5($a[4], $a[9], $a[14], $a[19], $a[24]);
            let d0 = rotated_xor(c4, c1);
            let d1 = rotated_xor(c0, c2);
            let d2 = rotated_xor(c1, c3);
            let d3 = rotated_xor(c2, c4);
            let d4 = rotated_xor(c3, c0);
            // The rest of θ, ρ and π
            let b0 = xor($a[0], d0);
            let b1 = xor_rotated::<44, 20>($a[6], d1);
            let b2 = xor_rotated::<43, 21>($a[12], d2);
            let b3 = xor_rotated::<21, 43>($a[18], d3);
            let b4 = xor_rotated::<14, 50>($a[24], d4);
            let b5 = xor_rotated::<28, 36>($a[3], d3);
            let b6 = xor_rotated::<20, 44>($a[9], d4);
            let b7 = xor_rotated::<3, 61>($a[10], d0);
            let b8 = xor_rotated::<45, 19>($a[16], d1);
            let b9 = xor_rotated::<61, 3>($a[22], d2);
            let b10 = xor_rotated::<1, 63>($a[1], d1);
            let b11 = xor_rotated::<6, 58>($a[7], d2);
            let b12 = xor_rotated::<25, 39>($a[13], d3);
            let b13 = xor_rotated::<8, 56>($a[19], d4);
            let b14 = xor_rotated::<18, 46>($a[20], d0);
            let b15 = xor_rotated::<27, 37>($a[4], d4);
            let b16 = xor_rotated::<36, 28>($a[5], d0);
            let b17 = xor_rotated::<10, 54>($a[11], d1);
            let b18 = xor_rotated::<15, 49>($a[17], d2);
            let b19 = xor_rotated::<56, 8>($a[23], d3);
            let b20 = xor_rotated::<62, 2>($a[2], d2);
            let b21 = xor_rotated::<55, 9>($a[8], d3);
            let b22 = xor_rotated::<39, 25>($a[14], d4);
            let b23 = xor_rotated::<41, 23>($a[15], d0);
            let b24 = xor_rotated::<2, 62>($a[21], d1);
            // χ and ι
            $a[0] = xor(chi(b0, b1, b2), splat(constant));
            $a[1] = chi(b1, b2, b3);
            $a[2] = chi(b2, b3, b4);
            $a[3] = chi(b3, b4, b0);
            $a[4] = chi(b4, b0, b1);
            $a[5] = chi(b5, b6, b7);
            $a[6] = chi(b6, b7, b8);
            $a[7] = chi(b7, b8, b9);
            $a[8] = chi(b8, b9, b5);
            $a[9] = chi(b9, b5, b6);
            $a[10] = chi(b10, b11, b12);
            $a[11] = chi(b11, b12, b13);
            $a[12] = chi(b12, b13, b14);
            $a[13] = chi(b13, b14, b10);
            $a[14] = chi(b14, b10, b11);
            $a[15] = chi(b15, b16, b17);
            $a[16] = chi(b16, b17, b18);
            $a[17] = chi(b17, b18, b19);
            $a[18] = chi(b18, b19, b15);
            $a[19] = chi(b19, b15, b16);
            $a[20] = chi(b20, b21, b22);
            $a[21] = chi(b21, b22, b23);
            $a[22] = chi(b22, b23, b24);
            $a[23] = chi(b23, b24, b20);
            $a[24] = chi(b24, b20, b21);
        }
    };
}
pub(super) use permute;

/// Permutes one state with plain words, for the rest of a message that is longer than all others.
pub(super) fn permute_one(state: &mut [u64; 25]) {
    const fn xor(a: u64, b: u64) -> u64 {
        a ^ b
    }
    const fn xor5(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
        a ^ b ^ c ^ d ^ e
    }
    const fn rotated_xor(a: u64, b: u64) -> u64 {
        a ^ b.rotate_left(1)
    }
    const fn xor_rotated<const LEFT: u32, const RIGHT: u32>(a: u64, b: u64) -> u64 {
        (a ^ b).rotate_left(LEFT)
    }
    const fn chi(a: u64, b: u64, c: u64) -> u64 {
        a ^ (!b & c)
    }
    const fn splat(word: u64) -> u64 {
        word
    }
    let mut a = *state;
    permute!(a);
    *state = a;
}
