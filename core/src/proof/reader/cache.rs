//! A bounded cache of proved values, keyed by hash.

use std::collections::VecDeque;

use alloy_primitives::B256;

use super::config::MAX_CACHE_BYTES;
use crate::sorted::SortedMap;

/// Proved values by hash. The oldest values are evicted first.
///
/// # Bounds
/// [`MAX_CACHE_BYTES`] in total. A larger value is not kept.
#[derive(Debug)]
pub(super) struct Cache<T> {
    values: SortedMap<B256, Cached<T>>,
    /// Hashes in order of insertion.
    order: VecDeque<B256>,
    bytes: usize,
}

#[derive(Debug)]
struct Cached<T> {
    value: T,
    bytes: usize,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { values: SortedMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Cache<T> {
    /// Total size in bytes, with 128 bytes per entry for the keys.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, hash: &B256) -> Option<&T> {
        self.values.get(hash).map(|cached| &cached.value)
    }

    /// Keeps a value of `bytes` bytes, unless the hash is present or the value is too large.
    pub(super) fn insert(&mut self, hash: B256, value: T, bytes: usize) {
        // The keys take memory as well.
        let bytes = bytes.saturating_add(128);
        if bytes > MAX_CACHE_BYTES || self.values.contains_key(&hash) {
            return;
        }
        while self.bytes + bytes > MAX_CACHE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.values.remove(&oldest).map_or(0, |cached| cached.bytes);
        }
        self.bytes += bytes;
        self.order.push_back(hash);
        self.values.insert(hash, Cached { value, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_values_are_dropped_first() {
        let mut cache = Cache::default();
        let quarter = MAX_CACHE_BYTES / 4 - 128;
        for byte in 0..4 {
            cache.insert(B256::repeat_byte(byte), byte, quarter);
        }
        assert_eq!(cache.bytes(), MAX_CACHE_BYTES);
        cache.insert(B256::repeat_byte(3), 3, quarter);
        cache.insert(B256::repeat_byte(9), 9, quarter);
        assert_eq!(cache.bytes(), MAX_CACHE_BYTES);
        assert_eq!(cache.get(&B256::repeat_byte(0)), None);
        assert_eq!(cache.get(&B256::repeat_byte(1)), Some(&1));
        assert_eq!(cache.get(&B256::repeat_byte(9)), Some(&9));
        cache.insert(B256::repeat_byte(7), 7, MAX_CACHE_BYTES);
        assert_eq!(cache.get(&B256::repeat_byte(7)), None);
        cache.insert(B256::repeat_byte(8), 8, MAX_CACHE_BYTES - 128);
        assert_eq!((cache.values.len(), cache.order.len()), (1, 1));
        assert_eq!(cache.bytes(), MAX_CACHE_BYTES);
    }
}
