//! Random choices from a seed, and a keyed hash (SplitMix64 for both). Neither is cryptographic:
//! the seed is secret, and a predicted choice gains an attacker no more than a place in a mesh.

/// A generator of pseudo-random numbers. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

/// Mixes the bits of `value`.
const fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Returns a number below `end`, or 0 if `end` is 0.
    pub(super) const fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }

    /// Returns up to `count` of the items, at random and in random order.
    pub(super) fn choose<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        self.shuffle(&mut items);
        items.truncate(count);
        items
    }
}

/// Hashes `bytes` with a secret key.
pub(super) fn keyed_hash(key: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(key ^ bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash.rotate_left(17) ^ u64::from_le_bytes(word)).wrapping_add(key);
    }
    hash
}
