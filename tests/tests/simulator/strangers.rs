//! What strangers say about themselves, and what a node does because of it.

use super::chain::{self, Pace};
use super::rng::Rng;
use opp2p_core::discovery::{Candidate, Candidates};
use opp2p_core::node::{Input, Node, NodeConfig, Output};
use opp2p_core::peers::{ConnectionId, Door, Knock, PeerId, PeerInfo, PeerMetadata, PeerNews};
use opp2p_core::time::{Instant, Now};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn at(millis: u64) -> Now {
    let since = Duration::from_millis(millis);
    Now::new(since, Duration::from_secs(chain::GENESIS_TIME) + since)
}

/// Addresses that a stranger from the internet must not make a node dial.
const PRIVATE: [&str; 6] = [
    "/ip4/169.254.169.254/tcp/80",
    "/ip4/10.0.0.1/tcp/22",
    "/ip4/127.0.0.1/tcp/9545",
    "/ip6/::1/tcp/9545",
    "/dns4/vault.internal/tcp/8200",
    "/ip4/0.0.0.0/tcp/9222",
];
const PUBLIC: &str = "/ip4/8.8.4.4/tcp/9222";

/// A stranger connects, says where it can be reached, and leaves. While peers are missing, the node
/// dials it, at no address of the operator's own network.
pub(crate) fn a_strangers_private_addresses_are_not_dialled() {
    let mut node = Node::new(at(0), NodeConfig::new(Pace::Slow.config())).expect("sound");
    let (id, door, ip) = (ConnectionId(1), Door::Tcp, Some(Ipv4Addr::new(8, 8, 4, 4).into()));
    let secured = Knock::Secured { id, door, peer: peer(1), ip, is_inbound: true };
    node.knock(at(0), &Knock::Accept { id, door, ip }).expect("let in");
    node.knock(at(0), &secured).expect("let in");
    node.handle(at(0), Input::Connected(peer(1)));
    let addresses = PRIVATE.iter().chain([&PUBLIC]).map(|text| (*text).to_owned()).collect();
    let info = PeerInfo { addresses, ..PeerInfo::default() };
    node.handle(at(1000), Input::Peer(peer(1), PeerNews::Identified(info)));
    node.knock(at(400_000), &Knock::Ended(id)).expect("it just ends");
    node.handle(at(400_000), Input::Disconnected(peer(1)));
    let (mut millis, mut dialled) = (400_000, BTreeSet::new());
    while millis < 1_000_000 {
        while let Some(output) = node.poll() {
            if let Output::Dial { peer: whom, .. } = output {
                let addresses = node.peers().addresses(at(millis), &whom);
                dialled.extend(addresses.map(str::to_owned));
                node.handle(at(millis), Input::DialFailed(whom));
            }
        }
        let due = node.next_wakeup().map(|due| due.since_start().as_millis() as u64);
        millis = due.unwrap_or(u64::MAX).clamp(millis + 1, 1_000_000);
        node.handle(at(millis), Input::Wake);
    }
    assert_eq!(dialled, BTreeSet::from([PUBLIC.to_owned()]));
}

/// A machine with many keys, or four keys with ever newer records, does not keep its neighbour from
/// being passed on to the peer manager.
pub(crate) fn a_neighbour_with_many_keys_hides_no_other_node() {
    for has_fresh_keys in [false, true] {
        let mut candidates = Candidates::new();
        let (mut rng, mut sequence, mut passed_on) = (Rng::new(1), 1, 0);
        for second in (0..24 * 3600_u64).step_by(5) {
            let now = Instant::from_start(Duration::from_secs(second));
            let record = |host: u8, sequence| Candidate {
                metadata: PeerMetadata { enr: "enr:".into(), chain_id: chain::CHAIN_ID },
                sequence,
                addresses: vec![([9, 9, 9, host], 9222).into()],
            };
            sequence += u64::from(second % 600 == 0);
            // Discovery finds nodes in a random order.
            let turn = rng.range(0, 5) as u8;
            for key in 0..5 {
                // The others come first.
                if key == turn && second < 600 {
                    continue;
                }
                if key == turn {
                    candidates.found(now, peer(77), record(200, 1));
                    continue;
                }
                let salt = if has_fresh_keys { second } else { 0 };
                let mut bytes = [key; 39];
                bytes[..8].copy_from_slice(&salt.to_be_bytes());
                let key = PeerId::try_from(&bytes[..]).expect("39 bytes");
                candidates.found(now, key, record(9, sequence));
            }
            let next = candidates.take(now, 5);
            passed_on += next.iter().filter(|(who, _)| *who == peer(77)).count();
        }
        println!("  fresh keys {has_fresh_keys}: passed on {passed_on} times in a day");
        assert!(passed_on > 0, "fresh keys: {has_fresh_keys}");
    }
}
