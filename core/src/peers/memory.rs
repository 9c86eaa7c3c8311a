//! Storage format of peer records, bans and blocks. For the store, keys and values are opaque; only
//! this file defines their format.
//!
//! | key | value |
//! |---|---|
//! | `peer/` and the peer id's bytes | [`PeerRecord`] as JSON, with the reference's field names |
//! | `ban/peer/` and the peer id's bytes | `{"expiry":s}`, Unix seconds |
//! | `ban/ip/` and the address as text | the same |
//! | `block/peer/` and the peer id's bytes | empty |
//! | `block/ip/` and the address as text | empty |
//! | `block/subnet/` and the subnet as text | empty |
//!
//! Fields of [`PeerRecord`] that the reference lacks have our own names. IPv4-mapped IPv6 addresses
//! are written as IPv4. Entries that can't be read are skipped: they were written by another
//! version, or are damaged. A forgotten peer is learned again at the next encounter.

use super::{BanEntry, BlockEntry, GateChange, PeerId, PeerRecord, Subnet};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// A change of one entry of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryChange {
    /// Key of the entry.
    pub key: Vec<u8>,
    /// New value; `None` removes the entry.
    pub value: Option<Vec<u8>>,
}

/// An entry read from the store.
#[derive(Debug)]
pub(super) enum Entry {
    Peer(PeerId, Box<PeerRecord>),
    Ban(BanEntry, u64),
    Block(BlockEntry),
}

#[derive(Serialize, Deserialize)]
struct Ban {
    expiry: u64,
}

/// Parses an entry of the store; returns `None` if it can't be read.
pub(super) fn read(key: &[u8], value: &[u8]) -> Option<Entry> {
    let is_text = |key| std::str::from_utf8(key).ok();
    let ban = || serde_json::from_slice::<Ban>(value).ok().map(|ban| ban.expiry);
    if let Some(peer) = key.strip_prefix(b"peer/") {
        let record = serde_json::from_slice(value).ok()?;
        return Some(Entry::Peer(PeerId::try_from(peer).ok()?, Box::new(record)));
    }
    if let Some(peer) = key.strip_prefix(b"ban/peer/") {
        return Some(Entry::Ban(BanEntry::Peer(PeerId::try_from(peer).ok()?), ban()?));
    }
    if let Some(ip) = key.strip_prefix(b"ban/ip/") {
        return Some(Entry::Ban(BanEntry::Ip(is_text(ip)?.parse().ok()?), ban()?));
    }
    if let Some(peer) = key.strip_prefix(b"block/peer/") {
        return Some(Entry::Block(BlockEntry::Peer(PeerId::try_from(peer).ok()?)));
    }
    if let Some(ip) = key.strip_prefix(b"block/ip/") {
        return Some(Entry::Block(BlockEntry::Ip(is_text(ip)?.parse().ok()?)));
    }
    let subnet = is_text(key.strip_prefix(b"block/subnet/")?)?;
    Some(Entry::Block(BlockEntry::Subnet(subnet.parse::<Subnet>().ok()?)))
}

/// Returns the change that stores the record of a peer, or removes it if `record` is `None`.
pub(super) fn peer_change(peer: &PeerId, record: Option<&PeerRecord>) -> MemoryChange {
    let value = record.and_then(|record| serde_json::to_vec(record).ok());
    MemoryChange { key: joined(b"peer/", peer.as_bytes()), value }
}

/// Returns the change that stores a change of the gate.
pub(super) fn gate_change(change: &GateChange) -> MemoryChange {
    match change {
        GateChange::Ban { who, until } => {
            let value = serde_json::to_vec(&Ban { expiry: *until }).ok();
            MemoryChange { key: ban_key(who), value }
        }
        GateChange::Unban(who) => MemoryChange { key: ban_key(who), value: None },
        GateChange::Block(entry) => MemoryChange { key: block_key(entry), value: Some(Vec::new()) },
        GateChange::Unblock(entry) => MemoryChange { key: block_key(entry), value: None },
    }
}

fn ban_key(who: &BanEntry) -> Vec<u8> {
    match who {
        BanEntry::Peer(peer) => joined(b"ban/peer/", peer.as_bytes()),
        BanEntry::Ip(ip) => joined(b"ban/ip/", text(ip).as_bytes()),
    }
}

fn block_key(entry: &BlockEntry) -> Vec<u8> {
    match entry {
        BlockEntry::Peer(peer) => joined(b"block/peer/", peer.as_bytes()),
        BlockEntry::Ip(ip) => joined(b"block/ip/", text(ip).as_bytes()),
        BlockEntry::Subnet(subnet) => joined(b"block/subnet/", subnet.to_string().as_bytes()),
    }
}

fn text(ip: &IpAddr) -> String {
    ip.to_canonical().to_string()
}

fn joined(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        PeerId::try_from(&[7; 39][..]).expect("39 bytes")
    }

    #[test]
    fn stored_entries_round_trip() {
        let record = PeerRecord { agent: "somebody".into(), seen_at: 7, ..PeerRecord::default() };
        let change = peer_change(&peer(), Some(&record));
        let read_back = read(&change.key, &change.value.expect("kept"));
        assert!(
            matches!(read_back, Some(Entry::Peer(who, kept)) if who == peer() && *kept == record)
        );
        assert_eq!(peer_change(&peer(), None).value, None);

        let mapped: IpAddr = "::ffff:1.2.3.4".parse().expect("an address");
        for who in [BanEntry::Peer(peer()), BanEntry::Ip(mapped.to_canonical())] {
            let change = gate_change(&GateChange::Ban { who, until: 1234 });
            let read_back = read(&change.key, &change.value.expect("kept"));
            assert!(matches!(read_back, Some(Entry::Ban(whom, 1234)) if whom == who));
            assert_eq!(
                gate_change(&GateChange::Unban(who)),
                MemoryChange { key: change.key, value: None }
            );
        }
        let subnet = "10.0.0.0/8".parse().expect("a subnet");
        for entry in [BlockEntry::Peer(peer()), BlockEntry::Ip(mapped), BlockEntry::Subnet(subnet)]
        {
            let change = gate_change(&GateChange::Block(entry));
            let read_back = read(&change.key, &change.value.expect("kept"));
            let canonical = match entry {
                BlockEntry::Ip(ip) => BlockEntry::Ip(ip.to_canonical()),
                other => other,
            };
            assert!(matches!(read_back, Some(Entry::Block(kept)) if kept == canonical));
            assert_eq!(
                gate_change(&GateChange::Unblock(entry)),
                MemoryChange { key: change.key, value: None }
            );
        }
    }

    #[test]
    fn unreadable_entries_are_skipped() {
        for (key, value) in [
            (&b""[..], &b""[..]),
            (b"peer/", b"{}"),
            (b"peer/x", b"{"),
            (b"peer/x", b"7"),
            (b"ban/peer/x", b""),
            (b"ban/ip/1.2.3", b"{\"expiry\":1}"),
            (b"ban/ip/\xff", b"{\"expiry\":1}"),
            (b"ban/ip/1.2.3.4", b"{\"expiry\":-1}"),
            (b"block/ip/", b""),
            (b"block/subnet/1.2.3.4/99", b""),
            (b"block/peer/", b""),
            (b"something/else", b"x"),
        ] {
            assert!(read(key, value).is_none(), "{key:?}");
        }
        // The reference's ban records have an additional field.
        let ban = read(b"ban/ip/1.2.3.4", br#"{"expiry":5,"lastUpdate":4}"#);
        assert!(matches!(ban, Some(Entry::Ban(_, 5))));
    }
}
