//! Peers: the score book, admission, and discovery.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use opp2p_core::discovery::{
    Candidate, Candidates, FEED_FAST, MAX_WAITING, Pace, PaceConfig, Prediction, neighbourhood,
};
use opp2p_core::peers::{
    BanPolicy, BlockEntry, Conduct, ConnectionId, ConnectionManagerConfig, Denied, Door,
    DoorLimits, Knock, LimitsConfig, MAX_ADDRESS_LENGTH, MAX_ADDRESSES, MAX_PROTOCOLS, MAX_TEXT,
    MemoryChange, PeerBook, PeerCommand, PeerEvent, PeerId, PeerInfo, PeerManager, PeerMetadata,
    PeerNews, PeerStep, PeersConfig, Scoring, StaticPeer, Subnet,
};

use crate::material::{Clock, any_peer, any_span, any_version, peer, play};

const PEERS: u8 = 12;

/// Input: entries of a store, each with two bytes for the lengths, a key and a value.
pub(crate) fn memory(bytes: &[u8]) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some(([key, value, more], after)) = rest.split_first_chunk() {
        let (key, after) = after.split_at(usize::from(*key).min(after.len()));
        let length = usize::from(u16::from_le_bytes([*value, *more]));
        let (value, after) = after.split_at(length.min(after.len()));
        entries.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    let clock = Clock::new();
    let config = PeersConfig { remembered: 3, ..PeersConfig::default() };
    let statics = [StaticPeer::from(peer(1))];
    let mut manager = PeerManager::new(clock.0, config.clone(), 2, statics.clone(), entries);
    check_book(manager.book());
    assert!(manager.book().len() <= 3);
    // Everything remembered about peers is written again, and reads back the same. A connection
    // marks each of the peers as changed.
    let known: Vec<PeerId> = manager.book().iter().map(|(peer, _)| *peer).collect();
    for peer in &known {
        manager.connected(clock.0, *peer);
    }
    manager.stopping(clock.0);
    manager.settle(clock.0);
    let mut kept: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    while let Some(step) = manager.poll() {
        if let PeerStep::Remember(changes) = step {
            for MemoryChange { key, value } in changes {
                match value {
                    Some(value) => kept.insert(key, value),
                    None => kept.remove(&key),
                };
            }
        }
    }
    let again = PeerManager::new(clock.0, config, 2, statics, kept);
    for peer in &known {
        let record = |book: &PeerBook| {
            let record = book.get(peer).cloned();
            // Without fields that are not stored, or that lose digits as decimals.
            record.map(|record| {
                (record.addresses, record.agent, record.protocols, record.metadata, record.seen_at)
            })
        };
        assert_eq!(record(manager.book()), record(again.book()));
    }
}

pub(crate) fn memory_seeds() -> Vec<Vec<u8>> {
    let entry = |key: &[u8], value: &str| {
        let [low, high, ..] = (value.len() as u64).to_le_bytes();
        [&[key.len() as u8, low, high], key, value.as_bytes()].concat()
    };
    let record = concat!(
        r#"{"addresses":[{"address":"/ip4/1.2.3.4/tcp/9222","until":1700000100}],"agent":"a","#,
        "\"protocol_version\":\"\",\n        ",
        r#""protocols":["/meshsub/1.1.0"],"metadata":{"enr":"enr:-x","opStackID":901},"#,
        "\"peerScores\":{\"gossip\":{\"total\":-3.5},\n        ",
        r#""reqResp":{"validResponses":1.5}},"scored_at":1700000000,"seen_at":1700000000}"#,
    );
    let peers = [
        entry(&[b"peer/", &[1; 38][..]].concat(), record),
        entry(&[b"peer/", &[2; 38][..]].concat(), "{}"),
    ];
    let lists = [
        entry(&[b"ban/peer/", &[3; 38][..]].concat(), r#"{"expiry":1700000900}"#),
        entry(b"ban/ip/1.2.3.4", r#"{"expiry":1700000900}"#),
        entry(b"block/ip/::1", ""),
        entry(b"block/subnet/10.0.0.0/8", ""),
    ];
    let all = [peers.concat(), lists.concat()].concat();
    peers.into_iter().chain(lists).chain([all]).collect()
}

fn check_book(book: &PeerBook) {
    for (_, record) in book.iter() {
        assert!(record.addresses.len() <= MAX_ADDRESSES && record.protocols.len() <= MAX_PROTOCOLS);
        assert!(record.addresses.iter().all(|known| known.address.len() <= MAX_ADDRESS_LENGTH));
        let texts = [&record.agent, &record.protocol_version, &record.metadata.enr];
        assert!(texts.into_iter().chain(&record.protocols).all(|text| text.len() <= MAX_TEXT));
    }
}

/// One connection, as the driver sees it.
#[derive(Clone, Copy, Debug)]
struct Connection {
    peer: Option<PeerId>,
    door: Door,
    ip: Option<IpAddr>,
}

/// Runs connections, conduct, time and operator commands, in any order that a driver could report.
pub(crate) fn manager(bytes: &[u8]) {
    play(bytes, |from| {
        let door = |from: &mut Unstructured<'_>| {
            let (half_open, inbound) = (from.int_in_range(0..=6)?, from.int_in_range(0..=8)?);
            Ok(DoorLimits { half_open, inbound, per_address: from.int_in_range(1..=5)? })
        };
        let limits = LimitsConfig {
            tcp: door(from)?,
            browser: door(from)?,
            per_peer: from.int_in_range(1..=4)?,
        };
        let low = from.int_in_range(0..=5)?;
        let config = PeersConfig {
            scoring: if from.ratio(7, 8)? { Scoring::Light } else { Scoring::None },
            bans: BanPolicy { is_enabled: from.ratio(7, 8)?, ..BanPolicy::default() },
            connections: ConnectionManagerConfig {
                low,
                high: low + from.int_in_range(0..=4)?,
                ..ConnectionManagerConfig::default()
            },
            limits,
            remembered: from.int_in_range(0..=8)?,
            trusts_static: from.arbitrary()?,
            silence: if from.ratio(1, 4)? { Some(any_span(from)?) } else { None },
            ..PeersConfig::default()
        };
        let remembered = config.remembered;
        let mut clock = Clock::new();
        let mut manager =
            PeerManager::new(clock.0, config, 2, [0, 1].map(|byte| peer(byte).into()), []);
        let mut connections: BTreeMap<ConnectionId, Connection> = BTreeMap::new();
        let mut connected: BTreeSet<PeerId> = BTreeSet::new();
        let mut next = 0;
        while !from.is_empty() {
            let now = clock.0;
            match from.int_in_range(0..=15)? {
                0..=2 => {
                    let (id, door) = (ConnectionId(next), any_door(from)?);
                    next += 1;
                    let ip = any_ip(from)?;
                    if manager.knock(now, &Knock::Accept { id, door, ip }).is_ok() {
                        let banned = ip.and_then(|ip| manager.gate().ban_of_ip(ip));
                        assert!(
                            banned.is_none_or(|until| until <= now.unix_seconds()),
                            "a banned address is in"
                        );
                        connections.insert(id, Connection { peer: None, door, ip });
                    }
                }
                3..=5 => {
                    let who = any_peer(from, PEERS)?;
                    let half_open =
                        connections.iter().find(|(_, connection)| connection.peer.is_none());
                    let inbound = half_open.map(|(id, connection)| (*id, *connection));
                    let is_inbound = inbound.is_some() && from.arbitrary()?;
                    let (id, connection) = match inbound.filter(|_| is_inbound) {
                        Some(found) => found,
                        None => {
                            next += 1;
                            (
                                ConnectionId(next - 1),
                                Connection { peer: None, door: Door::Tcp, ip: any_ip(from)? },
                            )
                        }
                    };
                    let Connection { door, ip, .. } = connection;
                    let secured = Knock::Secured { id, door, peer: who, ip, is_inbound };
                    match manager.knock(now, &secured) {
                        Ok(()) => {
                            let until = manager.gate().ban_of(&who);
                            assert!(
                                until.is_none_or(|until| until <= now.unix_seconds()),
                                "a banned peer is in"
                            );
                            connections.insert(id, Connection { peer: Some(who), ..connection });
                            if connected.insert(who) {
                                manager.connected(now, who);
                            }
                        }
                        Err(denied) => {
                            assert!(!matches!(denied, Denied::TooManyHalfOpen));
                            connections.remove(&id);
                        }
                    }
                }
                6 | 7 if !connections.is_empty() => {
                    let at = from.choose_index(connections.len())?;
                    let (id, _) = connections.iter().nth(at).expect("an index below the length");
                    let id = *id;
                    end(&mut manager, &clock, &mut connections, &mut connected, id);
                }
                8 => {
                    let conduct = *from.choose(&[
                        Conduct::ValidResponse,
                        Conduct::ErrorResponse,
                        Conduct::RejectedPayload,
                    ])?;
                    manager.conduct(now, &any_peer(from, PEERS)?, conduct);
                }
                9 => manager.rejected(now, &any_peer(from, PEERS)?, any_version(from)?),
                10 => match from.int_in_range(0..=5)? {
                    0 => manager.delivered(now, &any_peer(from, PEERS)?, any_version(from)?),
                    1 => manager.mesh(
                        now,
                        &any_peer(from, PEERS)?,
                        any_version(from)?,
                        from.arbitrary()?,
                    ),
                    2 => manager.subscribed(
                        &any_peer(from, PEERS)?,
                        any_version(from)?,
                        from.arbitrary()?,
                    ),
                    3 => manager.heard(now, &any_peer(from, PEERS)?),
                    4 => manager.pinged(&any_peer(from, PEERS)?, any_span(from)?),
                    _ => manager.dial_failed(now, &any_peer(from, PEERS)?),
                },
                11 => {
                    let long = |from: &mut Unstructured<'_>| {
                        let (byte, length) =
                            (from.int_in_range(b'a'..=b'z')?, from.arbitrary::<u16>()?);
                        Ok(char::from(byte).to_string().repeat(usize::from(length) % 1000))
                    };
                    let agent = long(from)?;
                    let texts = vec![long(from)?; usize::from(from.arbitrary::<u8>()?)];
                    let who = any_peer(from, PEERS)?;
                    if from.arbitrary()? {
                        let (protocols, addresses) = (texts.clone(), texts);
                        let protocol_version = agent.clone();
                        manager.identified(
                            now,
                            &who,
                            PeerInfo { agent, protocol_version, protocols, addresses },
                        );
                    } else {
                        let metadata = PeerMetadata { enr: agent, chain_id: from.arbitrary()? };
                        manager.discovered(now, &who, metadata, texts);
                    }
                }
                12 => {
                    let scores: Vec<(PeerId, f64)> = connected
                        .iter()
                        .map(|peer| Ok((*peer, any_score(from)?)))
                        .collect::<Result<_>>()?;
                    manager.gossip_scores(now, scores);
                }
                13 => {
                    let _ = manager.command(now, any_command(from)?);
                }
                14 => clock.0.unix = Duration::from_secs(u64::from(from.arbitrary::<u32>()?)),
                _ => clock.pass(any_span(from)?),
            }
            manager.settle(clock.0);
            for turn in 0.. {
                assert!(turn < 1000, "it has ever more to say");
                match manager.poll() {
                    Some(PeerStep::Disconnect(who)) => {
                        let of = |connection: &Connection| connection.peer == Some(who);
                        while let Some((id, _)) =
                            connections.iter().find(|(_, connection)| of(connection))
                        {
                            let id = *id;
                            end(&mut manager, &clock, &mut connections, &mut connected, id);
                        }
                    }
                    Some(PeerStep::Close(id)) if connections.contains_key(&id) => {
                        end(&mut manager, &clock, &mut connections, &mut connected, id);
                    }
                    Some(PeerStep::ApplicationScore(_, score)) => assert!(score.is_finite()),
                    Some(PeerStep::Event(PeerEvent::Banned { until, .. })) => {
                        assert!(until > clock.0.unix_seconds());
                    }
                    Some(PeerStep::Remember(changes)) => assert!(changes.len() < 100),
                    Some(_) => {}
                    None => break,
                }
            }
            manager.settle(clock.0);
            assert!(manager.next_wakeup().is_none_or(|at| at > clock.at()), "it is late");
            assert_eq!(manager.connected_peers().copied().collect::<BTreeSet<_>>(), connected);
            assert_eq!(manager.limits().len(), connections.len(), "a place is lost, or used twice");
            for door in [Door::Tcp, Door::Browser] {
                let (counts, limit) = (manager.limits().counts(door), limits_of(&limits, door));
                assert!(
                    counts.half_open <= limit.half_open && counts.inbound <= limit.inbound,
                    "{counts:?}"
                );
            }
            let kept = manager.book().len();
            assert!(kept <= remembered.max(connected.len() + 16), "{kept} records");
            check_book(manager.book());
            for peer in &connected {
                assert!(!manager.score(clock.0, peer).is_nan());
            }
        }
        // Once all peers have left, no slot is taken.
        while let Some((id, _)) = connections.iter().next() {
            let id = *id;
            end(&mut manager, &clock, &mut connections, &mut connected, id);
        }
        assert!(manager.limits().is_empty());
        Ok(())
    });
}

const fn limits_of(limits: &LimitsConfig, door: Door) -> &DoorLimits {
    match door {
        Door::Tcp => &limits.tcp,
        Door::Browser => &limits.browser,
    }
}

fn end(
    manager: &mut PeerManager,
    clock: &Clock,
    connections: &mut BTreeMap<ConnectionId, Connection>,
    connected: &mut BTreeSet<PeerId>,
    id: ConnectionId,
) {
    let ended = connections.remove(&id).expect("it stands");
    manager.knock(clock.0, &Knock::Ended(id)).expect("an end is never refused");
    if let Some(peer) = ended.peer
        && connections.values().all(|other| other.peer != Some(peer))
    {
        connected.remove(&peer);
        manager.disconnected(clock.0, &peer);
    }
}

fn any_door(from: &mut Unstructured<'_>) -> Result<Door> {
    Ok(if from.ratio(1, 3)? { Door::Browser } else { Door::Tcp })
}

fn any_ip(from: &mut Unstructured<'_>) -> Result<Option<IpAddr>> {
    Ok(match from.int_in_range(0..=5)? {
        0 => None,
        1 => Some(Ipv4Addr::LOCALHOST.into()),
        2 => Some(Ipv4Addr::new(1, 2, 3, from.int_in_range(4..=6)?).to_ipv6_mapped().into()),
        3 => Some([0x20, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, from.arbitrary::<u8>()?].into()),
        _ => Some(Ipv4Addr::new(1, 2, 3, from.int_in_range(4..=6)?).into()),
    })
}

fn any_score(from: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match from.int_in_range(0..=4)? {
        0 => 0.0,
        1 => f64::from(from.arbitrary::<i8>()?),
        2 => f64::from(from.arbitrary::<i16>()?),
        3 => -101.0,
        _ => f64::MIN,
    })
}

/// Returns an operator's command.
pub(crate) fn any_command(from: &mut Unstructured<'_>) -> Result<PeerCommand> {
    let who = any_peer(from, PEERS)?;
    let ip = any_ip(from)?.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let entry = match from.int_in_range(0..=2)? {
        0 => BlockEntry::Peer(who),
        1 => BlockEntry::Ip(ip),
        _ => match Subnet::new(ip, from.int_in_range(0..=32)?) {
            Ok(subnet) => BlockEntry::Subnet(subnet),
            Err(_) => BlockEntry::Ip(ip),
        },
    };
    Ok(match from.int_in_range(0..=8)? {
        0 => PeerCommand::Block(entry),
        1 | 2 => PeerCommand::Unblock(entry),
        3 => PeerCommand::BanPeer(who, any_span(from)?),
        4 => PeerCommand::UnbanPeer(who),
        5 => PeerCommand::BanIp(ip, any_span(from)?),
        6 => PeerCommand::UnbanIp(ip),
        7 => PeerCommand::Protect(who, from.arbitrary()?),
        _ => PeerCommand::Disconnect(who),
    })
}

/// Passes in results of discovery, including those of attackers with many keys or many addresses.
pub(crate) fn discovery(bytes: &[u8]) {
    play(bytes, |from| {
        let mut clock = Clock::new();
        let mut candidates = Candidates::new();
        let mut pace = Pace::new(PaceConfig::default());
        let mut prediction = Prediction::new();
        let mut told: BTreeMap<PeerId, (u64, Duration)> = BTreeMap::new();
        let mut stated: BTreeMap<Subnet, SocketAddr> = BTreeMap::new();
        while !from.is_empty() {
            match from.int_in_range(0..=5)? {
                0..=2 => {
                    let sequence = u64::from(from.arbitrary::<u8>()?);
                    let crowd = from.int_in_range(1..=40)?;
                    for _ in 0..crowd {
                        let who = peer(from.arbitrary()?);
                        let ip = Ipv4Addr::new(9, from.int_in_range(0..=90)?, 7, from.arbitrary()?);
                        let addresses = vec![SocketAddr::from((ip, 9222))];
                        let metadata = PeerMetadata::default();
                        candidates.found(
                            clock.at(),
                            who,
                            Candidate { metadata, sequence, addresses },
                        );
                    }
                }
                3 => {
                    let missing = from.int_in_range(0..=3)?;
                    let is_due = pace.next(missing) <= clock.at();
                    assert_eq!(pace.poll(clock.at(), missing), is_due);
                    let before = candidates.len();
                    let next = candidates.take(clock.at(), missing);
                    assert!(next.len() <= FEED_FAST && candidates.len() == before - next.len());
                    for (who, news) in next {
                        let PeerNews::Discovered(_, addresses) = news else {
                            panic!("it is {news:?}")
                        };
                        assert!(!addresses.is_empty());
                        told.insert(who, (0, clock.at().since_start()));
                    }
                }
                4 => {
                    let asked = Ipv4Addr::new(8, from.arbitrary()?, 7, from.arbitrary()?).into();
                    let seen = SocketAddr::from(([1, 2, 3, from.int_in_range(4..=5)?], 9222));
                    prediction.stated(clock.at(), asked, seen);
                    stated.extend(neighbourhood(asked).map(|around| (around, seen)));
                    if let Some(endpoint) = prediction.endpoint(clock.at()) {
                        // Nodes in at least ten networks reported it at some time.
                        let agree = stated.values().filter(|other| **other == endpoint).count();
                        assert!(agree >= 10, "{agree} networks are believed");
                    }
                }
                _ => clock.pass(any_span(from)?),
            }
            assert!(candidates.len() <= MAX_WAITING);
        }
        Ok(())
    });
}
