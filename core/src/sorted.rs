//! Maps and sets for some thousand entries: sorted vectors, with a fraction of a B-tree's code
//! size.
//!
//! The standard library's B-trees compile to about 10 kB of code for each pair of types, and every
//! visitor of a page would download fifty such pairs. The types here have the same methods, the
//! same order of iteration and the same results. A look-up takes O(log n). Insertion and removal
//! take O(n), because they move all later entries: one or two microseconds for a thousand entries,
//! and nothing for an entry at the upper end.
//!
//! # Bounds
//!
//! These types have no bounds; their owners bound them. The largest are the scores, of up to 4,096
//! peers, and the bans and block lists of 10,000 entries. An insertion into a full one takes 10 to
//! 20 microseconds, a small part of the handshake that accompanies it. For hundreds of thousands of
//! entries (the pending area), a B-tree is the better choice.

use std::fmt;
use std::ops::{Bound, RangeBounds};

/// A map, ordered by key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SortedMap<K, V> {
    /// Sorted by key, without duplicate keys.
    entries: Vec<(K, V)>,
}

/// A set, in ascending order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SortedSet<K> {
    map: SortedMap<K, ()>,
}

impl<K, V> SortedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn first_key_value(&self) -> Option<(&K, &V)> {
        self.entries.first().map(|(key, value)| (key, value))
    }

    pub(crate) fn last_key_value(&self) -> Option<(&K, &V)> {
        self.entries.last().map(|(key, value)| (key, value))
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.is_empty()).then(|| self.entries.remove(0))
    }

    pub(crate) fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.pop()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Inserts a value and returns the key's previous value.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.entries.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(at) => {
                self.put(at, (key, value));
                None
            }
        }
    }

    /// Returns the key's value, after inserting a new one if the key is absent.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.put(at, (key, make()));
            at
        });
        &mut self.entries[at].1
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.take(at).1)
    }

    /// Returns the entries with keys in this range. The result is empty if the range ends before it
    /// begins.
    pub(crate) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let start = match range.start_bound() {
            Bound::Included(key) => self.find(key).unwrap_or_else(|at| at),
            Bound::Excluded(key) => self.find(key).map_or_else(|at| at, |at| at + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(key) => self.find(key).map_or_else(|at| at, |at| at + 1),
            Bound::Excluded(key) => self.find(key).unwrap_or_else(|at| at),
            Bound::Unbounded => self.len(),
        };
        let found = self.entries.get(start..end).unwrap_or_default();
        found.iter().map(|(key, value)| (key, value))
    }

    // The following three are compiled once for each map type, however often they are used.

    /// Returns the index of the key, or the index at which to insert it.
    #[inline(never)]
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(known, _)| known.cmp(key))
    }

    #[inline(never)]
    fn put(&mut self, at: usize, entry: (K, V)) {
        self.entries.insert(at, entry);
    }

    #[inline(never)]
    fn take(&mut self, at: usize) -> (K, V) {
        self.entries.remove(at)
    }
}

impl<K: Ord> SortedMap<K, usize> {
    /// Decrements a count, and removes it when it reaches zero. Has no effect on an absent key.
    pub(crate) fn decrement(&mut self, key: &K) {
        if let Some(count) = self.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.remove(key);
            }
        }
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for SortedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K> SortedSet<K> {
    pub(crate) const fn new() -> Self {
        Self { map: SortedMap::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.map.keys()
    }

    pub(crate) fn first(&self) -> Option<&K> {
        self.map.first_key_value().map(|(key, ())| key)
    }

    pub(crate) fn last(&self) -> Option<&K> {
        self.map.last_key_value().map(|(key, ())| key)
    }

    pub(crate) fn pop_first(&mut self) -> Option<K> {
        self.map.pop_first().map(|(key, ())| key)
    }

    pub(crate) fn pop_last(&mut self) -> Option<K> {
        self.map.pop_last().map(|(key, ())| key)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.map.retain(|key, ()| keep(key));
    }
}

impl<K: Ord> SortedSet<K> {
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// Inserts a key. Returns `true` if it is new.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        self.map.insert(key, ()).is_none()
    }

    /// Removes a key. Returns `true` if it was present.
    pub(crate) fn remove(&mut self, key: &K) -> bool {
        self.map.remove(key).is_some()
    }

    /// Returns the members in this range. The result is empty if the range ends before it begins.
    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = &K> {
        self.map.range(range).map(|(key, ())| key)
    }
}

impl<K> Default for SortedSet<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug> fmt::Debug for SortedSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<K: Ord> Extend<K> for SortedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K: Ord> FromIterator<K> for SortedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut set = Self::new();
        set.extend(keys);
        set
    }
}

impl<K> IntoIterator for SortedSet<K> {
    type Item = K;
    type IntoIter = std::iter::Map<std::vec::IntoIter<(K, ())>, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.entries.into_iter().map(|(key, ())| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_count_is_removed_at_zero() {
        let mut counts: SortedMap<u8, usize> = [(1, 2), (2, 1)].into_iter().collect();
        for key in [1, 2, 2, 3] {
            counts.decrement(&key);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(&1, &1)]);
        counts.decrement(&1);
        assert!(counts.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Call {
        Insert(u8, u16),
        Remove(u8),
        GetOrInsert(u8, u16),
        Change(u8, u16),
        ChangeAll(u16),
        PopFirst,
        PopLast,
        Retain(u8),
        Extend(Vec<(u8, u16)>),
        Clear,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let entry = || (0_u8..40, any::<u16>());
        let call = prop_oneof![
            8 => entry().prop_map(|(key, value)| Call::Insert(key, value)),
            6 => (0_u8..40).prop_map(Call::Remove),
            4 => entry().prop_map(|(key, value)| Call::GetOrInsert(key, value)),
            3 => entry().prop_map(|(key, value)| Call::Change(key, value)),
            1 => any::<u16>().prop_map(Call::ChangeAll),
            2 => Just(Call::PopFirst),
            2 => Just(Call::PopLast),
            1 => (2_u8..5).prop_map(Call::Retain),
            2 => prop::collection::vec(entry(), 0..20).prop_map(Call::Extend),
            1 => Just(Call::Clear),
        ];
        prop::collection::vec(call, 0..80)
    }

    fn bound() -> impl Strategy<Value = Bound<u8>> {
        let key = || 0_u8..45;
        prop_oneof![
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded),
        ]
    }

    /// Returns the expected entries. The tree's own `range` panics if the range ends before it
    /// begins.
    fn expected(tree: &BTreeMap<u8, u16>, range: (Bound<u8>, Bound<u8>)) -> Vec<(u8, u16)> {
        tree.iter()
            .filter(|(key, _)| range.contains(*key))
            .map(|(key, value)| (*key, *value))
            .collect()
    }

    fn pair((key, value): (&u8, &u16)) -> (u8, u16) {
        (*key, *value)
    }

    proptest! {
        #[test]
        fn a_sorted_map_behaves_like_a_btree_map(calls in calls(), range in (bound(), bound())) {
            let (mut map, mut tree) = (SortedMap::new(), BTreeMap::new());
            for call in calls {
                match call {
                    Call::Insert(key, value) => prop_assert_eq!(
                        map.insert(key, value), tree.insert(key, value)
                    ),
                    Call::Remove(key) => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    Call::GetOrInsert(key, value) => prop_assert_eq!(
                        map.get_or_insert_with(key, || value),
                        tree.entry(key).or_insert(value)
                    ),
                    Call::Change(key, value) => {
                        let known = map.get_mut(&key).map(|known| std::mem::replace(known, value));
                        prop_assert_eq!(
                            known, tree.get_mut(&key).map(|known| std::mem::replace(known, value))
                        );
                    }
                    Call::ChangeAll(by) => {
                        map.values_mut().for_each(|value| *value ^= by);
                        map.iter_mut().for_each(|(key, value)| *value ^= u16::from(*key));
                        tree.iter_mut().for_each(|(key, value)| *value ^= by ^ u16::from(*key));
                    }
                    Call::PopFirst => prop_assert_eq!(map.pop_first(), tree.pop_first()),
                    Call::PopLast => prop_assert_eq!(map.pop_last(), tree.pop_last()),
                    Call::Retain(divisor) => {
                        let keeps = |key: u8,
                        value: u16| (u16::from(key) ^ value) > u16::from(divisor) * 9_000;
                        map.retain(|key, value| keeps(*key, *value));
                        tree.retain(|key, value| keeps(*key, *value));
                    }
                    Call::Extend(entries) => {
                        map.extend(entries.clone());
                        tree.extend(entries);
                    }
                    Call::Clear => {
                        map.clear();
                        tree.clear();
                    }
                }
                prop_assert!(map.iter().eq(tree.iter()));
                prop_assert!(map.iter().rev().eq(tree.iter().rev()));
                prop_assert!(map.keys().eq(tree.keys()) && map.values().eq(tree.values()));
                prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert_eq!(map.first_key_value(), tree.first_key_value());
                prop_assert_eq!(map.last_key_value(), tree.last_key_value());
                for key in 0..45 {
                    prop_assert_eq!(map.get(&key), tree.get(&key));
                    prop_assert_eq!(map.contains_key(&key), tree.contains_key(&key));
                }
                prop_assert_eq!(
                    map.range(range).map(pair).collect::<Vec<_>>(), expected(&tree, range)
                );
                prop_assert_eq!(format!("{map:?}"), format!("{tree:?}"));
            }
        }

        #[test]
        fn a_sorted_set_behaves_like_a_btree_set(calls in calls(), range in (bound(), bound())) {
            let (mut set, mut tree) = (SortedSet::new(), BTreeSet::new());
            for call in calls {
                match call {
                    Call::Insert(key, _) | Call::GetOrInsert(key, _) => {
                        prop_assert_eq!(set.insert(key), tree.insert(key));
                    }
                    Call::Remove(key) | Call::Change(key, _) => {
                        prop_assert_eq!(set.remove(&key), tree.remove(&key));
                    }
                    Call::PopFirst => prop_assert_eq!(set.pop_first(), tree.pop_first()),
                    Call::PopLast => prop_assert_eq!(set.pop_last(), tree.pop_last()),
                    Call::Retain(divisor) => {
                        set.retain(|key| key & divisor == 0);
                        tree.retain(|key| key & divisor == 0);
                    }
                    Call::Extend(entries) => {
                        set.extend(entries.iter().map(|(key, _)| *key));
                        tree.extend(entries.iter().map(|(key, _)| *key));
                    }
                    Call::ChangeAll(_) | Call::Clear => {
                        set = set.into_iter().rev().collect();
                    }
                }
                prop_assert!(set.iter().eq(tree.iter()));
                prop_assert_eq!((set.len(), set.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert_eq!((set.first(), set.last()), (tree.first(), tree.last()));
                prop_assert!((0..45).all(|key| set.contains(&key) == tree.contains(&key)));
                let inside = tree.iter().filter(|key| range.contains(*key));
                prop_assert!(set.range(range).eq(inside));
                prop_assert_eq!(format!("{set:?}"), format!("{tree:?}"));
            }
        }
    }
}
