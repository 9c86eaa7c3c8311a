//! Tests of the lifetimes and bounds of the peer book.

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
    let next =
        |book: &mut PeerBook| book.poll_changed().map(|(peer, record)| (peer, record.is_some()));
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
    assert_eq!(
        book.scores(101, &peer(3)),
        PeerScores::default(),
        "who was never there has no record"
    );
}

#[test]
fn scores_expire_after_the_retention_even_before_collection() {
    let mut book = book(10);
    book.connected(100, peer(1));
    book.scored(100, &peer(1), scored(1.0));
    assert_eq!(
        book.scores(100_000, &peer(1)),
        scored(1.0),
        "a connected peer's are its present ones"
    );
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
fn a_full_book_forgets_the_peer_seen_longest_ago_but_never_a_pinned_or_connected_one() {
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
fn a_peers_self_description_is_cut_to_size() {
    let mut book = book(3);
    book.connected(0, peer(1));
    let long = "\u{20ac}".repeat(1000);
    let info = PeerInfo {
        agent: long.clone(),
        protocol_version: long.clone(),
        protocols: vec![long.clone(); 1000],
        addresses: (0..1000)
            .map(|at| format!("/ip4/1.2.3.4/tcp/{at}"))
            .chain([long.clone()])
            .collect(),
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

fn known(address: &str, is_checked: bool) -> KnownAddress {
    KnownAddress { address: address.into(), until: 9, is_checked }
}

#[test]
fn unchecked_addresses_of_an_earlier_version_are_kept_only_if_they_are_global() {
    let private = "/ip4/10.0.0.1/tcp/22";
    let record = PeerRecord {
        addresses: vec![
            known(private, true),
            known(private, false),
            known("/dns4/vault.internal/tcp/8200", false),
            known("/ip4/169.254.169.254/tcp/80", false),
            known("/ip4/1.2.3.4/tcp/9222", false),
        ],
        ..PeerRecord::default()
    };
    let mut book = book(3);
    book.restore(peer(1), record);
    assert_eq!(book.addresses(0, &peer(1)).collect::<Vec<_>>(), [private, "/ip4/1.2.3.4/tcp/9222"]);
    // A record of an earlier version does not contain whether an address was checked.
    let old = r#"{"address":"/ip4/10.0.0.1/tcp/22","until":9}"#;
    assert_eq!(
        serde_json::from_str::<KnownAddress>(old).expect("as written"),
        known(private, false)
    );
}

#[test]
fn a_record_survives_the_store_and_is_truncated_to_the_bounds() {
    let mut record = PeerRecord { agent: "x".repeat(600), seen_at: 5, ..PeerRecord::default() };
    record.addresses = (0..100).map(|at| known(&format!("/ip4/1.2.3.4/tcp/{at}"), true)).collect();
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
    fn no_sequence_of_events_exceeds_the_bounds(
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
            let ages =
                |peer: &PeerId| !book.connected.contains(peer) && !book.pinned.contains(peer);
            prop_assert_eq!(
                book.records.keys().filter(|peer| ages(peer)).count(), book.by_age.len()
            );
            for record in book.records.values() {
                prop_assert!(record.addresses.len() <= MAX_ADDRESSES);
            }
        }
    }
}
