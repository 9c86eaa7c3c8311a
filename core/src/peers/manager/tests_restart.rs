//! The choice of remembered peers that a manager dials after a restart.

use super::*;
use crate::peers::Door;

const MINUTE: Duration = Duration::from_secs(60);

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

fn at(since_start: Duration) -> Now {
    Now::new(since_start, Duration::from_secs(1_700_000_000) + since_start)
}

/// A stored entry: its key and its value.
type Stored = (Vec<u8>, Vec<u8>);

/// Returns a manager with this list of static peers, after a restart at `now`.
fn manager(now: Now, config: PeersConfig, statics: &[PeerId], memory: &[Stored]) -> PeerManager {
    let statics = statics.iter().map(|peer| (*peer).into());
    PeerManager::new(now, config, 2, statics, memory.iter().cloned())
}

/// Returns all dialled peers, in order, and applies the stored changes to `memory`.
fn take_steps(manager: &mut PeerManager, memory: &mut SortedMap<Vec<u8>, Vec<u8>>) -> Vec<PeerId> {
    let mut dialled = Vec::new();
    while let Some(step) = manager.poll() {
        match step {
            PeerStep::Dial { peer, .. } => dialled.push(peer),
            PeerStep::Remember(changes) => {
                for change in changes {
                    match change.value {
                        Some(value) => drop(memory.insert(change.key, value)),
                        None => drop(memory.remove(&change.key)),
                    }
                }
            }
            _ => {}
        }
    }
    dialled
}

/// Connects a peer that identifies itself with an address.
fn meet(manager: &mut PeerManager, now: Now, peer: PeerId, id: u64, is_inbound: bool) {
    let knock =
        Knock::Secured { id: ConnectionId(id), door: Door::Tcp, peer, ip: None, is_inbound };
    manager.knock(now, &knock).expect("it may connect");
    manager.connected(now, peer);
    let addresses = vec![format!("/ip4/1.2.3.{id}/tcp/9222")];
    manager.identified(now, &peer, PeerInfo { addresses, ..PeerInfo::default() });
}

/// Returns the memory of a node with static peer 1, and with peer 2, which dialled the node; peer 1
/// was also discovered if `is_discovered`.
fn lived(is_discovered: bool) -> Vec<Stored> {
    let (now, mut memory) = (at(Duration::ZERO), SortedMap::new());
    let mut manager = manager(now, PeersConfig::default(), &[peer(1)], &[]);
    meet(&mut manager, now, peer(1), 1, false);
    meet(&mut manager, now, peer(2), 2, true);
    if is_discovered {
        manager.discovered(now, &peer(1), PeerMetadata::default(), Vec::new());
    }
    manager.stopping(now);
    take_steps(&mut manager, &mut memory);
    memory.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns the peers that a node dials within an hour after a restart.
fn dialled(config: PeersConfig, statics: &[PeerId], memory: &[Stored]) -> Vec<PeerId> {
    let mut manager = manager(at(MINUTE), config, statics, memory);
    let (mut dialled, mut stored) = (Vec::new(), SortedMap::new());
    for minute in 2..60 {
        manager.settle(at(MINUTE * minute));
        for peer in take_steps(&mut manager, &mut stored) {
            manager.dial_failed(at(MINUTE * minute), &peer);
            if !dialled.contains(&peer) {
                dialled.push(peer);
            }
        }
    }
    dialled.sort();
    dialled
}

#[test]
fn a_removed_peer_that_was_only_static_is_not_dialled() {
    let memory = lived(false);
    assert_eq!(dialled(PeersConfig::default(), &[peer(1)], &memory), [peer(1), peer(2)]);
    assert_eq!(dialled(PeersConfig::default(), &[], &memory), [peer(2)]);
    // A peer that returns to the list is dialled, whatever was remembered of it.
    assert_eq!(dialled(PeersConfig::default(), &[peer(1), peer(3)], &[]), [peer(1), peer(3)]);
}

#[test]
fn a_removed_static_peer_known_from_discovery_stays_an_ordinary_peer() {
    assert_eq!(dialled(PeersConfig::default(), &[], &lived(true)), [peer(1), peer(2)]);
}

#[test]
fn with_remembered_dials_off_only_static_peers_are_dialled() {
    let config = PeersConfig { dials_remembered: false, ..PeersConfig::default() };
    let memory = lived(true);
    assert_eq!(dialled(config.clone(), &[], &memory), []);
    assert_eq!(dialled(config, &[peer(1)], &memory), [peer(1)]);
}

#[test]
fn forgotten_addresses_are_also_removed_from_the_store() {
    let memory = lived(false);
    let mut stored: SortedMap<_, _> = memory.iter().cloned().collect();
    let mut manager = manager(at(MINUTE), PeersConfig::default(), &[], &memory);
    manager.stopping(at(MINUTE));
    take_steps(&mut manager, &mut stored);
    let memory: Vec<Stored> =
        stored.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let texts: Vec<_> = memory.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
    assert!(texts.iter().all(|text| !text.contains("1.2.3.1/")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("1.2.3.2/")), "{texts:?}");
}
