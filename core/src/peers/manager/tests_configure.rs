//! Configuration lists that change while the node runs.

use super::*;
use crate::peers::{Door, Stage};

fn at(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(1000 + seconds);
    Now::new(elapsed, Duration::from_secs(1_700_000_000) + elapsed)
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn arrive(peers: &mut PeerManager, now: Now, who: u8, is_inbound: bool) {
    let ip = Some(IpAddr::from([8, 8, 8, who]));
    let (id, door) = (ConnectionId(who.into()), Door::Tcp);
    if is_inbound {
        peers.knock(now, &Knock::Accept { id, door, ip }).expect("there is room");
    }
    peers.knock(now, &Knock::Secured { id, door, peer: peer(who), ip, is_inbound }).expect("room");
    peers.connected(now, peer(who));
}

fn leave(peers: &mut PeerManager, now: Now, who: u8) {
    peers.knock(now, &Knock::Ended(ConnectionId(who.into()))).expect("it ends");
    peers.disconnected(now, &peer(who));
}

/// Returns the steps at this second that dial or disconnect.
fn steps(peers: &mut PeerManager, now: Now) -> Vec<PeerStep> {
    peers.settle(now);
    let all = std::iter::from_fn(|| peers.poll());
    all.filter(|step| matches!(step, PeerStep::Dial { .. } | PeerStep::Disconnect(_))).collect()
}

fn listed(who: u8) -> StaticPeer {
    peer(who).into()
}

fn dial(who: u8) -> PeerStep {
    PeerStep::Dial { peer: peer(who), addresses: Vec::new() }
}

fn lists(static_peers: &[u8], blocked: &[BlockEntry]) -> PeerLists {
    let static_peers = static_peers.iter().map(|who| listed(*who)).collect();
    PeerLists { static_peers, blocked: blocked.to_vec() }
}

#[test]
fn a_new_static_peer_is_dialled_at_once_and_a_removed_one_is_not() {
    let config = PeersConfig { dials_remembered: false, ..PeersConfig::default() };
    let mut peers = PeerManager::new(at(0), config, 2, [1, 2].map(listed), []);
    assert_eq!(steps(&mut peers, at(0)), [dial(1), dial(2)]);
    arrive(&mut peers, at(1), 2, false);
    arrive(&mut peers, at(1), 3, true);
    peers.dial_failed(at(1), &peer(1));
    assert!(peers.is_protected(&peer(2)) && !peers.is_protected(&peer(3)));

    let change = peers.configure(at(2), lists(&[3, 4, 4], &[])).expect("room");
    let counts = PeerListsChange { static_added: 2, static_removed: 2, ..change };
    assert_eq!(change, counts);
    assert_eq!(steps(&mut peers, at(2)), [dial(4)]);
    // The connections stay; only the list determines which peers are exempt.
    assert!(!peers.is_protected(&peer(2)) && peers.is_protected(&peer(3)));
    assert_eq!((peers.stage(&peer(3)), peers.stage(&peer(2))), (Some(Stage::Connected), None));
    leave(&mut peers, at(3), 2);
    leave(&mut peers, at(3), 3);
    assert_eq!(steps(&mut peers, at(600)), [dial(3)]);
    let same = peers.configure(at(601), lists(&[4, 3], &[])).expect("room");
    assert_eq!(same, PeerListsChange::default());
}

#[test]
fn a_peer_is_dialled_at_the_listed_addresses_or_else_at_the_remembered_ones() {
    let tcp = |host: u8| format!("/ip4/8.8.8.{host}/tcp/9");
    let peer_at = |host: u8| StaticPeer { id: peer(1), addresses: vec![tcp(host)] };
    let mut peers = PeerManager::new(at(0), PeersConfig::default(), 2, [peer_at(1)], []);
    let dialled = |peers: &PeerManager| -> Vec<String> {
        peers.dial_addresses(at(2), &peer(1)).map(str::to_owned).collect()
    };
    let step = PeerStep::Dial { peer: peer(1), addresses: vec![tcp(1)] };
    assert_eq!(steps(&mut peers, at(0)), [step]);
    arrive(&mut peers, at(1), 1, false);
    let addresses = vec![tcp(7)];
    peers.identified(at(1), &peer(1), PeerInfo { addresses, ..PeerInfo::default() });
    assert_eq!(dialled(&peers), [tcp(1)]);
    let mut list = |static_peers: Vec<StaticPeer>| {
        let lists = PeerLists { static_peers, blocked: Vec::new() };
        peers.configure(at(2), lists).expect("room");
        dialled(&peers)
    };
    assert_eq!(list(vec![peer_at(2)]), [tcp(2)], "the list has another address");
    assert_eq!(list(vec![listed(1)]), [tcp(7)], "the list has no address");
    assert_eq!(list(vec![peer_at(3)]), [tcp(3)]);
    assert_eq!(list(vec![]), [tcp(7)], "the peer is no longer static, and still connected");
}

#[test]
fn a_removed_static_peer_is_forgotten_once_it_has_disconnected() {
    let mut peers = PeerManager::new(at(0), PeersConfig::default(), 2, [1, 2].map(listed), []);
    for who in [1, 2] {
        arrive(&mut peers, at(1), who, false);
        let addresses = vec![format!("/ip4/8.8.8.{who}/tcp/9")];
        peers.identified(at(1), &peer(who), PeerInfo { addresses, ..PeerInfo::default() });
    }
    leave(&mut peers, at(2), 1);
    peers.configure(at(3), lists(&[], &[])).expect("room");
    assert_eq!(peers.addresses(at(3), &peer(1)).count(), 0);
    assert_eq!(peers.addresses(at(3), &peer(2)).count(), 1);
    leave(&mut peers, at(4), 2);
    assert_eq!(peers.addresses(at(4), &peer(2)).count(), 0);
}

#[test]
fn new_block_list_entries_end_connections_and_a_full_list_changes_nothing() {
    let mut peers = PeerManager::new(at(0), PeersConfig::default(), 2, [listed(1)], []);
    steps(&mut peers, at(0));
    arrive(&mut peers, at(1), 1, false);
    arrive(&mut peers, at(1), 2, true);
    arrive(&mut peers, at(1), 3, true);
    let blocked = [BlockEntry::Peer(peer(2)), BlockEntry::Ip(IpAddr::from([8, 8, 8, 3]))];
    let change = peers.configure(at(2), lists(&[1], &blocked)).expect("room");
    assert_eq!((change.blocked_added, change.blocked_removed), (2, 0));
    assert_eq!(
        steps(&mut peers, at(2)),
        [PeerStep::Disconnect(peer(2)), PeerStep::Disconnect(peer(3))]
    );
    let too_many = (0..20_000_u32).map(|n| BlockEntry::Ip(IpAddr::from(n.to_be_bytes())));
    let wrong = PeerLists { static_peers: vec![], blocked: too_many.collect() };
    assert!(peers.configure(at(3), wrong).is_err());
    assert!(peers.is_static(&peer(1)), "all or nothing");
    let change = peers.configure(at(4), lists(&[1], &[])).expect("room");
    assert_eq!((change.blocked_added, change.blocked_removed), (0, 2));
}
