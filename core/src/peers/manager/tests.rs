//! Claims of strangers, restricted networks, and conduct that becomes known late.

use super::*;
use crate::discovery::Restriction;
use crate::peers::{ConnectionManagerConfig, Door};

const START: u64 = 1_700_000_000;

fn at(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(1000 + seconds);
    Now::new(elapsed, Duration::from_secs(START) + elapsed)
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn manager(config: PeersConfig) -> PeerManager {
    PeerManager::new(at(0), config, 2, [], [])
}

/// Connects a peer that dialled us from this address.
fn arrive(peers: &mut PeerManager, now: Now, who: u8, ip: &str) {
    let ip = Some(ip.parse().expect("an address"));
    let (id, door) = (ConnectionId(who.into()), Door::Tcp);
    peers.knock(now, &Knock::Accept { id, door, ip }).expect("there is room");
    let knock = Knock::Secured { id, door, peer: peer(who), ip, is_inbound: true };
    peers.knock(now, &knock).expect("nobody knows it");
    peers.connected(now, peer(who));
}

fn leave(peers: &mut PeerManager, now: Now, who: u8) {
    peers.knock(now, &Knock::Ended(ConnectionId(who.into()))).expect("it ends");
    peers.disconnected(now, &peer(who));
}

fn info(addresses: &[&str]) -> PeerInfo {
    let addresses = addresses.iter().map(|address| (*address).into()).collect();
    PeerInfo { addresses, ..PeerInfo::default() }
}

/// Returns the number of dials between the seconds `from` and `to` if every dial fails.
fn dials(peers: &mut PeerManager, from: u64, to: u64) -> usize {
    let mut dials = 0;
    for second in from..to {
        peers.settle(at(second));
        while let Some(step) = peers.poll() {
            if let PeerStep::Dial { peer: who, .. } = step {
                dials += 1;
                peers.dial_failed(at(second), &who);
            }
        }
    }
    dials
}

#[test]
fn a_stranger_cannot_make_the_node_dial_into_its_own_network() {
    let inside = [
        "/ip4/169.254.169.254/tcp/80",
        "/ip4/10.0.0.1/tcp/22",
        "/ip4/127.0.0.1/tcp/9545",
        "/ip6/::ffff:10.0.0.1/tcp/22",
        "/dns4/vault.internal/tcp/8200",
        "/ip4/1.2.3.4/tcp/1/ip4/10.0.0.1/tcp/22",
    ];
    for seen_at in ["1.2.3.4", "10.0.0.9", "127.0.0.2"] {
        let mut peers = manager(PeersConfig::default());
        arrive(&mut peers, at(0), 1, seen_at);
        peers.identified(at(1), &peer(1), info(&inside));
        leave(&mut peers, at(400), 1);
        assert_eq!(peers.addresses(at(400), &peer(1)).count(), 0, "seen at {seen_at}");
        assert_eq!(dials(&mut peers, 401, 1000), 0, "seen at {seen_at}");
    }
}

#[test]
fn a_peer_is_dialled_at_global_addresses_and_where_it_was_seen() {
    let mut peers = manager(PeersConfig::default());
    arrive(&mut peers, at(0), 1, "10.0.0.9");
    let claims = ["/ip4/10.0.0.9/tcp/9222", "/ip4/10.0.0.10/tcp/9222", "/ip4/1.2.3.4/tcp/9222"];
    peers.identified(at(1), &peer(1), info(&claims));
    leave(&mut peers, at(400), 1);
    let mut known: Vec<&str> = peers.addresses(at(400), &peer(1)).collect();
    known.sort_unstable();
    assert_eq!(known, ["/ip4/1.2.3.4/tcp/9222", "/ip4/10.0.0.9/tcp/9222"]);
    assert!(dials(&mut peers, 401, 1000) > 0);
}

#[test]
fn a_remembered_peer_is_dialled_only_within_the_networks_of_the_restriction() {
    let within = |network: &str| {
        let networks = vec![network.parse().expect("a network")];
        let restriction = Restriction::to(networks);
        let mut peers = manager(PeersConfig { restriction, ..PeersConfig::default() });
        arrive(&mut peers, at(0), 1, "10.0.0.9");
        let claims = ["/ip4/10.0.0.9/tcp/9222", "/ip4/1.2.3.4/tcp/9222"];
        peers.identified(at(1), &peer(1), info(&claims));
        let found = vec!["/ip4/5.6.7.8/tcp/9222".into()];
        peers.discovered(at(1), &peer(2), PeerMetadata::default(), found);
        leave(&mut peers, at(400), 1);
        let known: Vec<String> = [1, 2]
            .iter()
            .flat_map(|who| {
                peers.addresses(at(400), &peer(*who)).map(String::from).collect::<Vec<_>>()
            })
            .collect();
        (known, dials(&mut peers, 401, 1000) > 0)
    };
    assert_eq!(within("1.2.0.0/16"), (vec!["/ip4/1.2.3.4/tcp/9222".into()], true));
    assert_eq!(within("10.0.0.0/8"), (vec!["/ip4/10.0.0.9/tcp/9222".into()], true));
    assert_eq!(within("7.0.0.0/8"), (vec![], false));
}

#[test]
fn a_peer_that_leaves_early_pays_for_proved_lies_like_one_that_stays() {
    let run = |leaves_first: bool| {
        let mut peers = manager(PeersConfig::default());
        peers.connected(at(0), peer(1));
        if leaves_first {
            peers.disconnected(at(0), &peer(1));
        }
        for _ in 0..7 {
            peers.conduct(at(0), &peer(1), Conduct::RejectedPayload);
        }
        if !leaves_first {
            peers.disconnected(at(0), &peer(1));
        }
        let remembered = peers.score(at(0), &peer(1));
        let banned = peers.gate().peer_bans().count();
        peers.connected(at(1), peer(1));
        (remembered, peers.score(at(1), &peer(1)), banned)
    };
    assert_eq!(run(true), run(false));
    assert_eq!(run(true), (-140.0, -140.0, 1));
}

#[test]
fn lies_before_and_after_a_disconnect_add_up_and_are_stored() {
    let mut peers = manager(PeersConfig::default());
    peers.connected(at(0), peer(1));
    peers.conduct(at(0), &peer(1), Conduct::RejectedPayload);
    peers.disconnected(at(1), &peer(1));
    peers.conduct(at(2), &peer(1), Conduct::RejectedPayload);
    assert_eq!(peers.score(at(2), &peer(1)), -40.0);
    peers.stopping(at(3));
    let stored = std::iter::from_fn(|| peers.poll()).find_map(|step| match step {
        PeerStep::Remember(changes) => Some(changes),
        _ => None,
    });
    let memory = stored
        .expect("a change")
        .into_iter()
        .filter_map(|change| Some((change.key, change.value?)));
    let next = PeerManager::new(at(4), PeersConfig::default(), 2, [], memory);
    assert_eq!(next.score(at(4), &peer(1)), -40.0);
}

#[test]
fn invalid_messages_count_after_their_sender_left() {
    for was_useful in [true, false] {
        let mut peers = manager(PeersConfig::default());
        peers.set_live([false, false, false, true]);
        peers.connected(at(0), peer(1));
        if was_useful {
            peers.delivered(at(0), &peer(1), PayloadVersion::V4);
        }
        peers.disconnected(at(0), &peer(1));
        peers.rejected(at(1), &peer(1), PayloadVersion::V4);
        assert_eq!(peers.gate().peer_bans().count(), 1);
        assert!(peers.score(at(1), &peer(1)) < -100.0);
        peers.connected(at(2), peer(1));
        assert!(peers.score(at(2), &peer(1)) < -100.0);
    }
}

#[test]
fn only_bad_conduct_creates_a_record_for_an_unknown_peer() {
    let mut peers = manager(PeersConfig::default());
    peers.conduct(at(0), &peer(1), Conduct::ValidResponse);
    assert!(peers.book().is_empty());
    peers.conduct(at(0), &peer(2), Conduct::RejectedPayload);
    assert_eq!((peers.book().len(), peers.score(at(0), &peer(2))), (1, -20.0));
}

#[test]
fn only_members_of_our_mesh_are_in_it() {
    let mut peers = manager(PeersConfig::default());
    arrive(&mut peers, at(0), 1, "1.2.3.4");
    let mesh = |peers: &PeerManager| {
        [1, 2].map(|who| PayloadVersion::ALL.map(|topic| peers.is_in_mesh(&peer(who), topic)))
    };
    assert_eq!(mesh(&peers), [[false; 4]; 2]);
    peers.mesh(at(1), &peer(1), PayloadVersion::V3, true);
    peers.mesh(at(1), &peer(2), PayloadVersion::V3, true);
    assert_eq!(mesh(&peers), [[false, false, true, false], [false; 4]], "the second is unknown");
    peers.mesh(at(2), &peer(1), PayloadVersion::V3, false);
    assert_eq!(mesh(&peers), [[false; 4]; 2]);
}

#[test]
fn a_peer_is_subscribed_to_the_topics_that_it_joined_and_did_not_leave() {
    let mut peers = manager(PeersConfig::default());
    arrive(&mut peers, at(0), 1, "1.2.3.4");
    let topics =
        |peers: &PeerManager| PayloadVersion::ALL.map(|topic| peers.is_subscribed(&peer(1), topic));
    assert_eq!(topics(&peers), [false; 4]);
    peers.subscribed(&peer(1), PayloadVersion::V2, true);
    peers.subscribed(&peer(1), PayloadVersion::V4, true);
    assert_eq!(topics(&peers), [false, true, false, true]);
    peers.subscribed(&peer(1), PayloadVersion::V2, false);
    assert_eq!(topics(&peers), [false, false, false, true]);
}

#[test]
fn a_ban_for_misbehaviour_records_the_scores_of_connected_peers_only() {
    let mut peers = manager(PeersConfig::default());
    peers.misbehaved(at(0), &peer(2), DisconnectReason::Flooding);
    assert!(peers.book().is_empty(), "a stranger's name takes no record");
    arrive(&mut peers, at(0), 1, "1.2.3.4");
    peers.conduct(at(1), &peer(1), Conduct::RejectedPayload);
    peers.misbehaved(at(1), &peer(1), DisconnectReason::Flooding);
    assert_eq!(peers.gate().peer_bans().count(), 2);
    let unix = at(1).unix_seconds();
    assert_eq!(peers.book().scores(unix, &peer(1)).req_resp.rejected_payloads, 1.0);
}

#[test]
fn a_lack_of_peers_begins_and_ends_once() {
    let connections = ConnectionManagerConfig { low: 2, ..ConnectionManagerConfig::default() };
    let mut peers = manager(PeersConfig { connections, ..PeersConfig::default() });
    let mut lacking = Vec::new();
    for second in 0..300 {
        match second {
            50 => arrive(&mut peers, at(second), 1, "1.2.3.4"),
            100 => arrive(&mut peers, at(second), 2, "1.2.3.5"),
            200 => leave(&mut peers, at(second), 1),
            _ => {}
        }
        peers.settle(at(second));
        while let Some(step) = peers.poll() {
            if let PeerStep::Event(PeerEvent::Lacking(is_lacking)) = step {
                lacking.push((second, is_lacking));
            }
        }
    }
    let changes: Vec<bool> = lacking.iter().map(|(_, is_lacking)| *is_lacking).collect();
    assert_eq!(changes, [true, false, true], "{lacking:?}");
    assert!((100..200).contains(&lacking[1].0) && lacking[2].0 >= 200, "{lacking:?}");
}
