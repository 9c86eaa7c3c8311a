//! The peer book: records of peers that survive a restart (`op-node/p2p/store`).
//!
//! It holds a record of each peer that was connected or discovered: its addresses, its
//! self-description, its metadata, and its scores. Bans and blocks belong to the
//! [gate](super::Gate). The book reports which records changed, and the driver stores them; nothing
//! is read back at run time.
//!
//! # Lifetimes
//!
//! * Addresses: while the peer is connected, then [`ADDRESS_TTL`].
//! * Scores: the retention time of the score parameters, counted from the last change of the scores
//!   (1200 s with blocks of 2 s).
//! * Everything else: [`RECORD_TTL`] after the peer was last seen.
//!
//! # Bounds
//!
//! * Records: the `capacity` of [`PeerBook::new`]. Remote peers create one record per key, and keys
//!   cost nothing. When the book is full, it drops the record of the peer that was not seen for the
//!   longest time, among the peers that are neither connected nor pinned. That peer's addresses and
//!   scores are lost with the record; a ban is not.
//! * Each record: [`MAX_ADDRESSES`] addresses of [`MAX_ADDRESS_LENGTH`] bytes, [`MAX_PROTOCOLS`]
//!   protocols, and texts of [`MAX_TEXT`] bytes each. The peer itself claims all of these, so the
//!   excess is simply dropped.

#[cfg(test)]
mod tests;

use super::PeerId;
use super::claims::is_global;
use super::score::PeerScores;
use crate::sorted::{SortedMap, SortedSet};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::time::Duration;

/// Lifetime of an address after it was learned or its peer disconnected. The reference keeps
/// discovered addresses for the same time.
pub const ADDRESS_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a record after the peer was last seen.
pub const RECORD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Maximum number of addresses per peer; those that expire last are kept.
pub const MAX_ADDRESSES: usize = 16;
/// Maximum length of an address, in bytes. Longer addresses are ignored, since a truncated address
/// is useless.
pub const MAX_ADDRESS_LENGTH: usize = 256;
/// Maximum number of protocols per peer.
pub const MAX_PROTOCOLS: usize = 64;
/// Maximum length of a text in a peer's self-description, in bytes.
pub const MAX_TEXT: usize = 512;

/// Self-description of a peer, from the identify protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Name and version of its software.
    pub agent: String,
    /// Protocol family that it claims; empty for the reference implementation.
    pub protocol_version: String,
    /// Names of the protocols that it supports.
    pub protocols: Vec<String>,
    /// Multiaddrs at which it claims to be reachable.
    pub addresses: Vec<String>,
}

/// Metadata of a peer, from discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerMetadata {
    /// Its node record, as text; empty if the peer was not discovered.
    pub enr: String,
    /// Id of the chain that it follows; 0 if unknown.
    #[serde(rename = "opStackID")]
    pub chain_id: u64,
}

/// A multiaddr with its expiry time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// The multiaddr, as text.
    pub address: String,
    /// Expiry time, in Unix seconds.
    pub until: u64,
    /// Whether the address was checked when it was learned. Records of earlier versions contain
    /// unchecked addresses; only the global ones among them are kept.
    #[serde(default)]
    pub is_checked: bool,
}

/// Record of a peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerRecord {
    /// Addresses at which it was reached or claims to be reachable.
    pub addresses: Vec<KnownAddress>,
    /// Name and version of its software.
    pub agent: String,
    /// Protocol family that it claims.
    pub protocol_version: String,
    /// Names of the protocols that it supports.
    pub protocols: Vec<String>,
    /// Metadata from discovery.
    pub metadata: PeerMetadata,
    /// Its scores as of the last snapshot.
    #[serde(rename = "peerScores")]
    pub scores: PeerScores,
    /// Time of the last change of the scores, in Unix seconds.
    pub scored_at: u64,
    /// Time when it was last connected or discovered, in Unix seconds.
    pub seen_at: u64,
    /// Whether it is known only because the operator listed it as a static peer. Such a peer is
    /// forgotten when the operator removes it from the list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_static: bool,
    /// Smoothed round-trip time. Not stored, since it would no longer apply after a restart.
    #[serde(skip)]
    pub latency: Option<Duration>,
}

/// Bounded collection of peer records: see the [module's documentation](self).
///
/// # Example: the score book
///
/// The score of a peer that sent a wrong block survives a restart:
///
/// ```
/// use opp2p_core::peers::{ApplicationScores, Conduct, PeerBook, PeerId, PeerScores, Scoring};
/// use opp2p_core::time::Instant;
/// use std::time::Duration;
///
/// let peer = PeerId::try_from(&[0, 1, 7_u8][..]).expect("an identity multihash");
/// let mut scores = ApplicationScores::new(Scoring::Light, 2);
/// scores.connected(Instant::default(), peer);
/// scores.record(&peer, Conduct::RejectedPayload);
///
/// let mut book = PeerBook::new(1000, Duration::from_secs(1200));
/// book.connected(1_700_000_000, peer);
/// let counters = scores.counters(&peer);
/// book.scored(1_700_000_000, &peer, PeerScores { req_resp: counters, ..Default::default() });
/// let (_, record) = book.poll_changed().expect("the record has changed");
/// let stored = record.expect("it is new").clone();
///
/// // After a restart, a minute later:
/// let mut book = PeerBook::new(1000, Duration::from_secs(1200));
/// book.restore(peer, stored);
/// let mut scores = ApplicationScores::new(Scoring::Light, 2);
/// scores.restore(peer, book.scores(1_700_000_060, &peer).req_resp);
/// assert!(scores.score(&peer) < 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct PeerBook {
    records: SortedMap<PeerId, Box<PeerRecord>>,
    capacity: usize,
    score_retention: Duration,
    connected: SortedSet<PeerId>,
    pinned: SortedSet<PeerId>,
    /// Peers that are neither connected nor pinned, ordered by the time when they were last seen.
    by_age: SortedSet<(u64, PeerId)>,
    /// Peers whose records changed. Reversed, so that the next one is at the end.
    changed: SortedSet<Reverse<PeerId>>,
}

impl PeerBook {
    /// Creates an empty book that holds at most `capacity` records and forgets scores after
    /// `score_retention`.
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

    /// Inserts a record that was read from the store.
    pub fn restore(&mut self, peer: PeerId, record: PeerRecord) {
        if !self.make_room(&peer) {
            return;
        }
        let before = self.records.insert(peer, Box::new(bounded(record)));
        self.reindex(&peer, before.map(|record| record.seen_at));
    }

    /// Sets whether a peer is pinned, that is, never forgotten. Static peers are pinned.
    pub fn pin(&mut self, peer: PeerId, is_pinned: bool) {
        let changed = if is_pinned { self.pinned.insert(peer) } else { self.pinned.remove(&peer) };
        if changed && let Some(record) = self.records.get(&peer) {
            self.reindex(&peer, Some(record.seen_at));
        }
    }

    /// Records that a peer has connected.
    pub fn connected(&mut self, unix: u64, peer: PeerId) {
        self.connected.insert(peer);
        self.change(unix, &peer, |_| {});
    }

    /// Records that a peer is known [only as a static peer](PeerRecord::only_static).
    pub fn known_as_static(&mut self, peer: &PeerId) {
        self.change_record(peer, |record| record.only_static = true);
    }

    /// Records that a peer has disconnected. Its record ages from now on.
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

    /// Records the self-description of a peer. The caller must have checked its addresses, because
    /// a stranger can claim any address.
    pub fn identified(&mut self, unix: u64, peer: &PeerId, info: PeerInfo) {
        self.change(unix, peer, |record| {
            record.agent = cut(info.agent);
            record.protocol_version = cut(info.protocol_version);
            record.protocols = info.protocols.into_iter().take(MAX_PROTOCOLS).map(cut).collect();
            learn(record, info.addresses, unix);
        });
    }

    /// Records a peer that discovery found.
    pub fn discovered(
        &mut self,
        unix: u64,
        peer: &PeerId,
        metadata: PeerMetadata,
        addresses: Vec<String>,
    ) {
        self.change(unix, peer, |record| {
            record.metadata = PeerMetadata { enr: cut(metadata.enr), ..metadata };
            record.only_static = false;
            learn(record, addresses, unix);
        });
    }

    /// Records a round-trip time. The moving average is libp2p's: nine tenths of the old value plus
    /// one tenth of the new one.
    pub fn pinged(&mut self, peer: &PeerId, round_trip: Duration) {
        if let Some(record) = self.records.get_mut(peer) {
            let smoothed =
                record.latency.map_or(round_trip, |before| before.mul_f64(0.9) + round_trip / 10);
            record.latency = Some(smoothed);
        }
    }

    /// Records the scores of a peer that is no longer connected. Creates a record if the peer has
    /// no record.
    pub fn scored_late(&mut self, unix: u64, peer: &PeerId, scores: PeerScores) {
        if self.records.get(peer).is_none() {
            self.change(unix, peer, |_| {});
        }
        self.scored(unix, peer, scores);
    }

    /// Records the scores of a peer. Unchanged scores keep their age.
    pub fn scored(&mut self, unix: u64, peer: &PeerId, scores: PeerScores) {
        if self.records.get(peer).is_some_and(|record| record.scores != scores) {
            self.change_record(peer, |record| {
                record.scores = scores;
                record.scored_at = unix;
            });
        }
    }

    /// Forgets everything about a peer except its scores and timestamps, so that a peer can't shed
    /// a bad score.
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

    /// Forgets a peer, unless it is connected or pinned.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.connected.contains(peer) || self.pinned.contains(peer) {
            return;
        }
        if let Some(record) = self.records.remove(peer) {
            self.by_age.remove(&(record.seen_at, *peer));
            self.changed.insert(Reverse(*peer));
        }
    }

    /// Returns the record of a peer.
    pub fn get(&self, peer: &PeerId) -> Option<&PeerRecord> {
        self.records.get(peer).map(|record| &**record)
    }

    /// Returns all records.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &PeerRecord)> {
        self.records.iter().map(|(peer, record)| (peer, &**record))
    }

    /// Returns the number of records, which is at most the capacity.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns `true` if there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the scores of a peer, or zeros if the peer has no scores or they expired by `unix`.
    pub fn scores(&self, unix: u64, peer: &PeerId) -> PeerScores {
        let record = self.records.get(peer).filter(|record| !self.is_score_old(unix, peer, record));
        record.map_or_else(PeerScores::default, |record| record.scores)
    }

    /// Returns the addresses of a peer that have not expired at `unix`.
    pub fn addresses(&self, unix: u64, peer: &PeerId) -> impl Iterator<Item = &str> {
        let is_connected = self.connected.contains(peer);
        let known = self.records.get(peer).map_or(&[][..], |record| &record.addresses);
        known
            .iter()
            .filter(move |known| is_connected || known.until >= unix)
            .map(|known| known.address.as_str())
    }

    /// Removes expired entries. Must be called regularly.
    pub fn collect(&mut self, unix: u64) {
        let oldest = unix.saturating_sub(RECORD_TTL.as_secs());
        while let Some((seen, peer)) =
            self.by_age.first().copied().filter(|(seen, _)| *seen < oldest)
        {
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
                    || (record.scores != PeerScores::default()
                        && self.is_score_old(unix, peer, record))
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

    /// Returns the next peer whose record has changed since it was last returned, along with the
    /// record, or with `None` if the record was removed.
    pub fn poll_changed(&mut self) -> Option<(PeerId, Option<&PeerRecord>)> {
        let Reverse(peer) = self.changed.pop_last()?;
        Some((peer, self.get(&peer)))
    }

    /// Returns `true` if the scores have expired. Scores of a connected peer never expire.
    fn is_score_old(&self, unix: u64, peer: &PeerId, record: &PeerRecord) -> bool {
        !self.connected.contains(peer)
            && record.scored_at.saturating_add(self.score_retention.as_secs()) < unix
    }

    /// Changes a record and marks its peer as seen. Creates the record if it is missing and there
    /// is room.
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

    /// Changes a record if it exists.
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

/// Adds addresses to a record for [`ADDRESS_TTL`] from `unix` on.
fn learn(record: &mut PeerRecord, addresses: impl IntoIterator<Item = String>, unix: u64) {
    let until = unix.saturating_add(ADDRESS_TTL.as_secs());
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        if address.len() > MAX_ADDRESS_LENGTH {
            continue;
        }
        record.addresses.retain(|known| known.address != address);
        record.addresses.insert(0, KnownAddress { address, until, is_checked: true });
    }
    let mut by_end: Vec<KnownAddress> = Vec::new();
    for known in std::mem::take(&mut record.addresses) {
        let at = by_end.iter().take_while(|other| other.until >= known.until).count();
        by_end.insert(at, known);
    }
    by_end.truncate(MAX_ADDRESSES);
    record.addresses = by_end;
}

/// Applies the bounds to a record from the store, which another version of this program may have
/// written.
fn bounded(mut record: PeerRecord) -> PeerRecord {
    record.addresses.retain(|known| {
        known.address.len() <= MAX_ADDRESS_LENGTH && (known.is_checked || is_global(&known.address))
    });
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
