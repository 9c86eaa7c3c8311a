//! The policy that turns a bad score into a ban, and the table of current bans.
//!
//! # Bounds
//!
//! A table holds a fixed number of bans. Peers add bans through bad behaviour, the operator through
//! commands. When the table is full, the ban that ends first is dropped: its peer had the least
//! time left, and is banned again as soon as it misbehaves again.

use crate::sorted::{SortedMap, SortedSet};
use std::time::Duration;

/// Rule for bans by score (`op-node/p2p/monitor/peer_monitor.go`, flags `p2p.ban.peers`,
/// `p2p.ban.threshold`, `p2p.ban.duration`).
///
/// The reference checks one peer per second, using a score that is up to 15 s old. This
/// implementation applies the rule whenever a score has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BanPolicy {
    /// Whether peers are banned for their scores.
    pub is_enabled: bool,
    /// Score below which a peer is banned; a peer with exactly this score is not.
    pub threshold: f64,
    /// Duration of a ban, in whole seconds.
    pub duration: Duration,
}

impl Default for BanPolicy {
    /// Returns an enabled policy that bans below -100, for one hour.
    fn default() -> Self {
        Self { is_enabled: true, threshold: -100.0, duration: Duration::from_secs(60 * 60) }
    }
}

impl BanPolicy {
    /// Returns the end of the ban for a peer with this score, in Unix seconds, or `None` if the
    /// peer is not to be banned. Exempt (static or protected) peers are never banned.
    pub fn judge(&self, now_unix: u64, score: f64, is_exempt: bool) -> Option<u64> {
        let is_bad = self.is_enabled && !is_exempt && score < self.threshold;
        is_bad.then(|| now_unix.saturating_add(self.duration.as_secs()))
    }
}

/// Bans by key, each with its end in Unix seconds; at most `limit`.
#[derive(Clone, Debug)]
pub(super) struct BanTable<K> {
    limit: usize,
    ends: SortedMap<K, u64>,
    by_end: SortedSet<(u64, K)>,
}

impl<K: Copy + Ord> BanTable<K> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, ends: SortedMap::new(), by_end: SortedSet::new() }
    }

    pub(super) fn end_of(&self, key: &K) -> Option<u64> {
        self.ends.get(key).copied()
    }

    /// Sets the end of a ban. Returns the key that was dropped to make room, if any, which may be
    /// `key` itself.
    pub(super) fn set(&mut self, key: K, until: u64) -> Option<K> {
        if let Some(old) = self.ends.insert(key, until) {
            self.by_end.remove(&(old, key));
        }
        self.by_end.insert((until, key));
        if self.ends.len() <= self.limit {
            return None;
        }
        let (_, first) = self.by_end.pop_first()?;
        self.ends.remove(&first);
        Some(first)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<u64> {
        let until = self.ends.remove(key)?;
        self.by_end.remove(&(until, *key));
        Some(until)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.ends.iter().map(|(key, until)| (*key, *until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_scores_strictly_below_the_threshold_are_banned() {
        let policy = BanPolicy { duration: Duration::from_secs(7200), ..BanPolicy::default() };
        assert_eq!(policy.judge(1_000, -101.0, false), Some(8_200));
        assert_eq!(policy.judge(1_000, -100.000_001, false), Some(8_200));
        assert_eq!(policy.judge(1_000, -100.0, false), None);
        assert_eq!(policy.judge(1_000, 5.0, false), None);
        assert_eq!(policy.judge(1_000, f64::NAN, false), None);
        assert_eq!(policy.judge(u64::MAX, -101.0, false), Some(u64::MAX));
    }

    #[test]
    fn exempt_peers_are_never_banned_and_no_peer_is_when_bans_are_off() {
        assert_eq!(BanPolicy::default().judge(0, -1e9, true), None);
        assert_eq!(
            BanPolicy { is_enabled: false, ..BanPolicy::default() }.judge(0, -1e9, false),
            None
        );
    }

    proptest! {
        #[test]
        fn a_table_keeps_the_bans_that_end_last(
            sets in prop::collection::vec((any::<u8>(), 0_u64..50, any::<bool>()), 0..200)
        ) {
            let mut table = BanTable::new(5);
            for (key, until, is_set) in sets {
                let before: BTreeMap<_, _> = table.iter().collect();
                let mut model = before.clone();
                if is_set {
                    model.insert(key, until);
                    let gone = table.set(key, until);
                    let first = model.iter().map(|(key, until)| (*until, *key)).min();
                    let first = first.filter(|_| model.len() > 5).map(|(_, key)| key);
                    prop_assert_eq!(gone, first);
                    first.and_then(|key| model.remove(&key));
                } else {
                    prop_assert_eq!(table.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(table.iter().collect::<BTreeMap<_, _>>(), model);
                prop_assert_eq!(table.by_end.len(), table.ends.len());
                prop_assert!(table.ends.len() <= 5);
            }
        }
    }
}
