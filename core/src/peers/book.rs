//! The peer book: what is remembered of peers, also over a restart (`op-node/p2p/store`).
//!
//! It holds a record for each peer that was connected or discovered: its addresses, what it said of itself, its
//! metadata, and its scores. Who is banned or blocked is the [gate](super::Gate)'s to know. The book says which
//! records changed, and the store keeps them; it reads nothing back while it runs.
//!
//! # How long things are remembered
//!
//! * An address: as long as the peer is connected, then [`ADDRESS_TTL`].
//! * Scores: the retention of the score parameters since they last changed (1200 s at blocks of 2 s).
//! * All else: [`RECORD_TTL`] since the peer was last seen.
//!
//! # Bounds
//!
//! * Records: [`PeerBook::new`]'s number. Whoever connects fills them, one for each key, and keys cost nothing. When
//!   they are full, the record of the peer that was not seen for the longest time goes, of those that are not
//!   connected and not pinned. What is lost with it is an address and a score; a ban is not.
//! * Of one record: [`MAX_ADDRESSES`] addresses of [`MAX_ADDRESS_LENGTH`] bytes, [`MAX_PROTOCOLS`] protocols and texts
//!   of [`MAX_TEXT`] bytes each. A peer says these of itself; what is more is cut off, and matters to nobody.

use super::PeerId;
use super::score::PeerScores;
use crate::sorted::{SortedMap, SortedSet};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::time::Duration;

/// How long an address is kept after the peer was last connected there, as the reference keeps discovered ones.
pub const ADDRESS_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a record is kept after the peer was last seen.
pub const RECORD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Addresses of one peer; the ones that last longest stay.
pub const MAX_ADDRESSES: usize = 16;
/// Bytes of one address. Longer ones are left out: half of one is none.
pub const MAX_ADDRESS_LENGTH: usize = 256;
/// Protocols of one peer.
pub const MAX_PROTOCOLS: usize = 64;
/// Bytes of a text that a peer says of itself.
pub const MAX_TEXT: usize = 512;

/// What a peer says of itself (identify).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Name and version of its program.
    pub agent: String,
    /// The family of protocols that it names; empty for the reference.
    pub protocol_version: String,
    /// Names of the protocols that it speaks.
    pub protocols: Vec<String>,
    /// Multiaddrs where it says that it can be reached.
    pub addresses: Vec<String>,
}

/// What discovery says of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerMetadata {
    /// Its node record, as text; empty if it was not discovered.
    pub enr: String,
    /// The chain that it follows; 0 if unknown.
    #[serde(rename = "opStackID")]
    pub chain_id: u64,
}

/// A multiaddr and until when it is worth trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// The multiaddr, as text.
    pub address: String,
    /// Unix seconds.
    pub until: u64,
}

/// What is remembered of one peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerRecord {
    /// Where it was reached, or said that it can be.
    pub addresses: Vec<KnownAddress>,
    /// Its agent.
    pub agent: String,
    /// Its protocol version.
    pub protocol_version: String,
    /// Its protocols.
    pub protocols: Vec<String>,
    /// What discovery found.
    pub metadata: PeerMetadata,
    /// Its scores, as of the last snapshot.
    #[serde(rename = "peerScores")]
    pub scores: PeerScores,
    /// When the scores last changed, unix seconds.
    pub scored_at: u64,
    /// When it was last connected or discovered, unix seconds.
    pub seen_at: u64,
    /// Smoothed round-trip time. Not stored: it is another one after a restart.
    #[serde(skip)]
    pub latency: Option<Duration>,
}

/// The book: see the [module's documentation](self).
#[derive(Clone, Debug)]
pub struct PeerBook {
    records: SortedMap<PeerId, Box<PeerRecord>>,
    capacity: usize,
    score_retention: Duration,
    connected: SortedSet<PeerId>,
    pinned: SortedSet<PeerId>,
    /// By when they were last seen, those that are neither connected nor pinned.
    by_age: SortedSet<(u64, PeerId)>,
    /// Reversed, so that the next one is at the end.
    changed: SortedSet<Reverse<PeerId>>,
}

impl PeerBook {
    /// An empty book of at most `capacity` records, which forgets scores after `score_retention`.
    pub const fn new(capacity: usize, score_retention: Duration) -> Self {
        Self {
            records: SortedMap::new(),
            capacity,
            score_retention,
            connected: SortedSet::new(),
            pinned: SortedSet::new(),
            by_age: SortedSet::new(),
            changed: SortedSet::new(),
        }
    }

    /// Puts in a record that the store kept.
    pub fn restore(&mut self, peer: PeerId, record: PeerRecord) {
        if !self.make_room(&peer) {
            return;
        }
        let before = self.records.insert(peer, Box::new(bounded(record)));
        self.reindex(&peer, before.map(|record| record.seen_at));
    }

    /// A peer that is never forgotten, such as a static one.
    pub fn pin(&mut self, peer: PeerId, is_pinned: bool) {
        let changed = if is_pinned { self.pinned.insert(peer) } else { self.pinned.remove(&peer) };
        if changed && let Some(record) = self.records.get(&peer) {
            self.reindex(&peer, Some(record.seen_at));
        }
    }

    /// A peer is connected.
    pub fn connected(&mut self, unix: u64, peer: PeerId) {
        self.connected.insert(peer);
        self.change(unix, &peer, |_| {});
    }

    /// A peer is not connected any more: from now on its record ages.
    pub fn disconnected(&mut self, unix: u64, peer: &PeerId) {
        if !self.connected.remove(peer) {
            return;
        }
        self.change(unix, peer, |record| {
            for known in &mut record.addresses {
                known.until = unix.saturating_add(ADDRESS_TTL.as_secs());
            }
        });
    }

    /// A peer said who it is.
    pub fn identified(&mut self, unix: u64, peer: &PeerId, info: PeerInfo) {
        self.change(unix, peer, |record| {
            record.agent = cut(info.agent);
            record.protocol_version = cut(info.protocol_version);
            record.protocols = info.protocols.into_iter().take(MAX_PROTOCOLS).map(cut).collect();
            learn(record, info.addresses, unix);
        });
    }

    /// Discovery found a peer.
    pub fn discovered(&mut self, unix: u64, peer: &PeerId, metadata: PeerMetadata, addresses: Vec<String>) {
        self.change(unix, peer, |record| {
            record.metadata = PeerMetadata { enr: cut(metadata.enr), ..metadata };
            learn(record, addresses, unix);
        });
    }

    /// A peer answered a ping. The average follows as libp2p's does: nine parts of the old one in ten.
    pub fn pinged(&mut self, peer: &PeerId, round_trip: Duration) {
        if let Some(record) = self.records.get_mut(peer) {
            let smoothed = record.latency.map_or(round_trip, |before| before.mul_f64(0.9) + round_trip / 10);
            record.latency = Some(smoothed);
        }
    }

    /// The scores of a peer, as they are now. Those that did not change keep their age.
    pub fn scored(&mut self, unix: u64, peer: &PeerId, scores: PeerScores) {
        if self.records.get(peer).is_some_and(|record| record.scores != scores) {
            self.change_record(peer, |record| {
                record.scores = scores;
                record.scored_at = unix;
            });
        }
    }

    /// Forgets a peer, but for its scores, which it would like to be forgotten most.
    pub fn clear(&mut self, peer: &PeerId) {
        self.change_record(peer, |record| {
            *record = PeerRecord {
                scores: record.scores,
                scored_at: record.scored_at,
                seen_at: record.seen_at,
                ..PeerRecord::default()
            };
        });
    }

    /// Forgets everything about a peer that is neither connected nor pinned.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.connected.contains(peer) || self.pinned.contains(peer) {
            return;
        }
        if let Some(record) = self.records.remove(peer) {
            self.by_age.remove(&(record.seen_at, *peer));
            self.changed.insert(Reverse(*peer));
        }
    }

    /// What is known of a peer.
    pub fn get(&self, peer: &PeerId) -> Option<&PeerRecord> {
        self.records.get(peer).map(|record| &**record)
    }

    /// All peers of which anything is known.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &PeerRecord)> {
        self.records.iter().map(|(peer, record)| (peer, &**record))
    }

    /// How many records there are: at most the capacity.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is known of anybody.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Scores of a peer that are still remembered at `unix`; all zero for others.
    pub fn scores(&self, unix: u64, peer: &PeerId) -> PeerScores {
        let record = self.records.get(peer).filter(|record| !self.is_score_old(unix, peer, record));
        record.map_or_else(PeerScores::default, |record| record.scores)
    }

    /// Addresses of a peer that are worth trying at `unix`.
    pub fn addresses(&self, unix: u64, peer: &PeerId) -> impl Iterator<Item = &str> {
        let is_connected = self.connected.contains(peer);
        let known = self.records.get(peer).map_or(&[][..], |record| &record.addresses);
        known
            .iter()
            .filter(move |known| is_connected || known.until >= unix)
            .map(|known| known.address.as_str())
    }

    /// Removes what is too old, to be called now and then.
    pub fn collect(&mut self, unix: u64) {
        let oldest = unix.saturating_sub(RECORD_TTL.as_secs());
        while let Some((seen, peer)) = self.by_age.first().copied().filter(|(seen, _)| *seen < oldest) {
            self.by_age.remove(&(seen, peer));
            self.records.remove(&peer);
            self.changed.insert(Reverse(peer));
        }
        let stale: Vec<PeerId> = self
            .records
            .iter()
            .filter(|(peer, record)| {
                let has_old_address = record.addresses.iter().any(|known| known.until < unix);
                (!self.connected.contains(*peer) && has_old_address)
                    || (record.scores != PeerScores::default() && self.is_score_old(unix, peer, record))
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in stale {
            let is_connected = self.connected.contains(&peer);
            let retention = self.score_retention.as_secs();
            self.change_record(&peer, |record| {
                if !is_connected {
                    record.addresses.retain(|known| known.until >= unix);
                }
                if !is_connected && record.scored_at.saturating_add(retention) < unix {
                    record.scores = PeerScores::default();
                }
            });
        }
    }

    /// A peer whose record changed since it was last asked for, and the record; `None` in its place if it is gone.
    pub fn poll_changed(&mut self) -> Option<(PeerId, Option<&PeerRecord>)> {
        let Reverse(peer) = self.changed.pop_last()?;
        Some((peer, self.get(&peer)))
    }

    /// The scores of a connected peer are always its present ones.
    fn is_score_old(&self, unix: u64, peer: &PeerId, record: &PeerRecord) -> bool {
        !self.connected.contains(peer)
            && record.scored_at.saturating_add(self.score_retention.as_secs()) < unix
    }

    /// Changes a record, which is made if it is missing and there is room; the peer was seen.
    fn change(&mut self, unix: u64, peer: &PeerId, how: impl FnOnce(&mut PeerRecord)) {
        if !self.make_room(peer) {
            return;
        }
        let before = self.records.get(peer).map(|record| record.seen_at);
        let record = self.records.get_or_insert_with(*peer, Box::default);
        record.seen_at = record.seen_at.max(unix);
        how(record);
        self.changed.insert(Reverse(*peer));
        self.reindex(peer, before);
    }

    /// Changes a record if there is one.
    fn change_record(&mut self, peer: &PeerId, how: impl FnOnce(&mut PeerRecord)) {
        if let Some(record) = self.records.get_mut(peer) {
            how(record);
            self.changed.insert(Reverse(*peer));
        }
    }

    fn make_room(&mut self, peer: &PeerId) -> bool {
        if self.records.contains_key(peer) || self.records.len() < self.capacity {
            return true;
        }
        let Some((_, oldest)) = self.by_age.pop_first() else { return false };
        self.records.remove(&oldest);
        self.changed.insert(Reverse(oldest));
        true
    }

    fn reindex(&mut self, peer: &PeerId, seen_before: Option<u64>) {
        if let Some(before) = seen_before {
            self.by_age.remove(&(before, *peer));
        }
        let ages = !self.connected.contains(peer) && !self.pinned.contains(peer);
        if ages && let Some(record) = self.records.get(peer) {
            self.by_age.insert((record.seen_at, *peer));
        }
    }
}

/// Puts addresses into a record, for [`ADDRESS_TTL`] from now.
fn learn(record: &mut PeerRecord, addresses: impl IntoIterator<Item = String>, unix: u64) {
    let until = unix.saturating_add(ADDRESS_TTL.as_secs());
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        if address.len() > MAX_ADDRESS_LENGTH {
            continue;
        }
        record.addresses.retain(|known| known.address != address);
        record.addresses.insert(0, KnownAddress { address, until });
    }
    let mut by_end: Vec<KnownAddress> = Vec::new();
    for known in std::mem::take(&mut record.addresses) {
        let at = by_end.iter().take_while(|other| other.until >= known.until).count();
        by_end.insert(at, known);
    }
    by_end.truncate(MAX_ADDRESSES);
    record.addresses = by_end;
}

/// A record of a store is held to the same bounds: another version of this program may have written it.
fn bounded(mut record: PeerRecord) -> PeerRecord {
    record.addresses.retain(|known| known.address.len() <= MAX_ADDRESS_LENGTH);
    record.addresses.truncate(MAX_ADDRESSES);
    record.protocols.truncate(MAX_PROTOCOLS);
    record.protocols = record.protocols.into_iter().map(cut).collect();
    record.agent = cut(record.agent);
    record.protocol_version = cut(record.protocol_version);
    record.metadata.enr = cut(record.metadata.enr);
    record
}

fn cut(mut text: String) -> String {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::score::Counters;
    use proptest::prelude::*;

    const DAY: u64 = 24 * 60 * 60;

    fn peer(number: u32) -> PeerId {
        PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
    }

    fn book(capacity: usize) -> PeerBook {
        PeerBook::new(capacity, Duration::from_secs(1200))
    }

    fn scored(valid_responses: f64) -> PeerScores {
        let req_resp = Counters { valid_responses, ..Counters::default() };
        PeerScores { req_resp, ..PeerScores::default() }
    }

    fn changed(book: &mut PeerBook) -> Vec<(PeerId, bool)> {
        let next = |book: &mut PeerBook| book.poll_changed().map(|(peer, record)| (peer, record.is_some()));
        std::iter::from_fn(|| next(book)).collect()
    }

    #[test]
    fn an_unknown_peer_has_no_scores_and_no_addresses() {
        let book = book(10);
        assert_eq!(book.scores(0, &peer(1)), PeerScores::default());
        assert_eq!(book.addresses(0, &peer(1)).count(), 0);
        assert_eq!(book.get(&peer(1)), None);
    }

    #[test]
    fn scores_of_several_peers_are_kept_apart_and_overwritten() {
        let mut book = book(10);
        for number in [1, 2] {
            book.connected(100, peer(number));
            book.scored(100, &peer(number), scored(f64::from(number)));
        }
        book.scored(101, &peer(1), scored(7.0));
        assert_eq!(book.scores(101, &peer(1)), scored(7.0));
        assert_eq!(book.scores(101, &peer(2)), scored(2.0));
        book.scored(101, &peer(3), scored(1.0));
        assert_eq!(book.scores(101, &peer(3)), PeerScores::default(), "who was never there has no record");
    }

    #[test]
    fn scores_are_forgotten_after_the_retention_and_invisible_before_they_are_collected() {
        let mut book = book(10);
        book.connected(100, peer(1));
        book.scored(100, &peer(1), scored(1.0));
        assert_eq!(book.scores(100_000, &peer(1)), scored(1.0), "a connected peer's are its present ones");
        book.disconnected(200, &peer(1));
        assert_eq!(book.scores(1300, &peer(1)), scored(1.0));
        assert_eq!(book.scores(1301, &peer(1)), PeerScores::default());
        assert_eq!(book.get(&peer(1)).map(|record| record.scores), Some(scored(1.0)));
        book.collect(1301);
        assert_eq!(book.get(&peer(1)).map(|record| record.scores), Some(PeerScores::default()));
    }

    #[test]
    fn addresses_last_a_day_after_the_peer_left_and_records_a_week() {
        let mut book = book(10);
        let info = PeerInfo { addresses: vec!["/ip4/1.2.3.4/tcp/1".into()], ..PeerInfo::default() };
        book.connected(0, peer(1));
        book.identified(0, &peer(1), info);
        book.connected(0, peer(2));
        assert_eq!(book.addresses(9 * DAY, &peer(1)).count(), 1, "while it is connected");
        book.disconnected(9 * DAY, &peer(1));
        book.disconnected(10 * DAY, &peer(2));
        assert_eq!(book.addresses(10 * DAY, &peer(1)).count(), 1);
        assert_eq!(book.addresses(10 * DAY + 1, &peer(1)).count(), 0);
        changed(&mut book);
        book.collect(16 * DAY + 1);
        assert_eq!((book.get(&peer(1)), book.len()), (None, 1));
        assert_eq!(changed(&mut book), [(peer(1), false)], "the store is told");
    }

    #[test]
    fn many_records_are_collected_at_once() {
        let mut book = book(100);
        for number in 0..65 {
            book.connected(0, peer(number));
            book.disconnected(u64::from(number), &peer(number));
        }
        changed(&mut book);
        book.connected(60, peer(3));
        book.collect(8 * DAY);
        assert_eq!(book.len(), 1, "the one that is connected");
        assert_eq!(changed(&mut book).len(), 65);
    }

    #[test]
    fn a_full_book_forgets_who_was_not_seen_for_longest_but_never_a_pinned_or_connected_peer() {
        let mut book = book(3);
        book.pin(peer(1), true);
        for number in 1..=3 {
            book.connected(number.into(), peer(number));
        }
        book.connected(4, peer(4));
        assert_eq!((book.len(), book.get(&peer(4))), (3, None), "there is no room");
        for number in [1, 2, 3] {
            book.disconnected(10 - u64::from(number), &peer(number));
        }
        book.connected(11, peer(5));
        assert!(book.get(&peer(3)).is_none() && book.get(&peer(1)).is_some());
        book.pin(peer(1), false);
        book.connected(12, peer(6));
        assert!(book.get(&peer(2)).is_none());
        book.connected(13, peer(7));
        assert!(book.get(&peer(1)).is_none());
    }

    #[test]
    fn what_a_peer_says_of_itself_is_cut_to_size() {
        let mut book = book(3);
        book.connected(0, peer(1));
        let long = "\u{20ac}".repeat(1000);
        let info = PeerInfo {
            agent: long.clone(),
            protocol_version: long.clone(),
            protocols: vec![long.clone(); 1000],
            addresses: (0..1000).map(|at| format!("/ip4/1.2.3.4/tcp/{at}")).chain([long.clone()]).collect(),
        };
        book.identified(0, &peer(1), info);
        book.discovered(0, &peer(1), PeerMetadata { enr: long, chain_id: 10 }, Vec::new());
        let record = book.get(&peer(1)).expect("known");
        assert_eq!((record.agent.chars().count(), record.agent.len()), (170, 510));
        assert!(record.protocols.len() == MAX_PROTOCOLS && record.metadata.enr.len() <= MAX_TEXT);
        assert_eq!((record.addresses.len(), record.metadata.chain_id), (MAX_ADDRESSES, 10));
    }

    #[test]
    fn clearing_a_peer_keeps_its_scores() {
        let mut book = book(3);
        book.connected(0, peer(1));
        let info = PeerInfo { addresses: vec!["/ip4/1.2.3.4/tcp/1".into()], ..PeerInfo::default() };
        book.identified(0, &peer(1), info);
        book.scored(0, &peer(1), scored(3.0));
        book.clear(&peer(1));
        assert_eq!(book.addresses(0, &peer(1)).count(), 0);
        assert_eq!(book.scores(0, &peer(1)), scored(3.0));
    }

    #[test]
    fn latency_is_smoothed() {
        let mut book = book(3);
        book.pinged(&peer(1), Duration::from_millis(5));
        book.connected(0, peer(1));
        for (ping, expected) in [(100, 100.0), (200, 110.0), (110, 110.0)] {
            book.pinged(&peer(1), Duration::from_millis(ping));
            let latency = book.get(&peer(1)).and_then(|record| record.latency).expect("pinged");
            assert!((latency.as_secs_f64() * 1000.0 - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_record_survives_the_store_and_one_of_another_shape_is_held_to_the_bounds() {
        let mut record = PeerRecord { agent: "x".repeat(600), seen_at: 5, ..PeerRecord::default() };
        record.addresses = (0..100).map(|at| KnownAddress { address: format!("/{at}"), until: 9 }).collect();
        let mut book = book(3);
        book.restore(peer(1), record.clone());
        let kept = book.get(&peer(1)).expect("restored");
        assert_eq!((kept.agent.len(), kept.addresses.len()), (MAX_TEXT, MAX_ADDRESSES));
        assert_eq!(changed(&mut book), [], "what was read need not be written");
        let json = serde_json::to_string(&record).expect("text and numbers");
        assert_eq!(serde_json::from_str::<PeerRecord>(&json).expect("as written"), record);
        assert_eq!(serde_json::from_str::<PeerRecord>("{}").expect("lenient"), PeerRecord::default());
    }

    proptest! {
        #[test]
        fn no_course_of_events_exceeds_the_bounds(
            steps in prop::collection::vec((0_u8..7, 0_u32..12, 0_u64..20 * DAY), 1..200),
        ) {
            let mut book = book(5);
            for (what, number, unix) in steps {
                let peer = peer(number);
                let addresses = vec![format!("/ip4/1.2.3.4/tcp/{unix}")];
                match what {
                    0 => book.connected(unix, peer),
                    1 => book.disconnected(unix, &peer),
                    2 => book.identified(unix, &peer, PeerInfo { addresses, ..PeerInfo::default() }),
                    3 => book.discovered(unix, &peer, PeerMetadata::default(), addresses),
                    4 => book.pin(peer, unix % 2 == 0),
                    5 => book.scored(unix, &peer, scored(unix as f64)),
                    _ => book.collect(unix),
                }
                prop_assert!(book.len() <= 5);
                prop_assert!(book.by_age.len() <= book.len());
                let ages = |peer: &PeerId| !book.connected.contains(peer) && !book.pinned.contains(peer);
                prop_assert_eq!(book.records.keys().filter(|peer| ages(peer)).count(), book.by_age.len());
                for record in book.records.values() {
                    prop_assert!(record.addresses.len() <= MAX_ADDRESSES);
                }
            }
        }
    }
}
