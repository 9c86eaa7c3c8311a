//! Peers: dialling, admission, bans, and the state that survives a restart.

use super::*;
use crate::peers::{
    Backoff, BanPolicy, BlockEntry, CommandId, ConnectionId, ConnectionManagerConfig, Denied, Door,
    DoorLimits, Knock, LimitsConfig, PeerCommand, PeerInfo, PeerLists, PeerMetadata, PeerNews,
    PeersConfig, Scoring, Stage, Subnet,
};
use crate::sync::protocol_id;
use core::net::IpAddr;
use std::collections::BTreeSet;

fn with_peers(peers: &[u8]) -> Conversation {
    let static_peers = peers.iter().map(|byte| peer(*byte).into()).collect();
    Conversation::with(NodeConfig { static_peers, ..config(V4) })
}

#[test]
fn all_static_peers_are_dialled_at_the_start() {
    let mut conversation = with_peers(&[1, 2, 3]);
    assert_eq!(conversation.said(), [1, 2, 3].map(|byte| Said::Dial(peer(byte))));
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), [], "an attempt is answered by the driver");
}

#[test]
fn waits_between_attempts_grow_by_half_from_5_seconds_to_5_minutes() {
    let mut conversation = with_peers(&[1]);
    conversation.said();
    let mut waits = Vec::new();
    for _ in 0..14 {
        let failed_at = conversation.now.monotonic;
        conversation.tell(Input::DialFailed(peer(1)));
        assert_eq!(conversation.said(), []);
        let said = loop {
            let due = conversation.node.next_wakeup().expect("another attempt");
            conversation.pass(due.since(conversation.now.monotonic));
            let said = conversation.said();
            if !said.is_empty() {
                break said;
            }
        };
        assert_eq!(said, [Said::Dial(peer(1))]);
        waits.push(conversation.now.monotonic.since(failed_at).as_millis());
    }
    assert_eq!(waits[..5], [5000, 7500, 11_250, 16_875, 25_312]);
    assert_eq!(waits[12..], [300_000, 300_000]);
}

#[test]
fn nodes_with_different_seeds_return_to_a_lost_peer_at_different_times() {
    let wait = |seed| {
        let mut conversation = Conversation::with(NodeConfig {
            seed,
            static_peers: vec![peer(1).into()],
            ..config(V4)
        });
        conversation.tell(Input::Connected(peer(1)));
        conversation.tell(Input::Disconnected(peer(1)));
        match conversation.node.peers().stage(&peer(1)) {
            Some(Stage::Waiting { until }) => until.since(conversation.now.monotonic),
            other => panic!("it is to be dialled again: {other:?}"),
        }
    };
    let waits: Vec<Duration> = (1..50).map(|own| wait(peer(own).seed())).collect();
    assert!(waits.iter().all(|wait| *wait <= 5 * SECOND));
    let different: BTreeSet<_> = waits.iter().collect();
    assert!(different.len() > 40, "{}", different.len());
    assert_eq!((wait(0), wait(7)), (5 * SECOND, wait(7)));
}

#[test]
fn a_connection_ends_the_attempts_and_its_loss_restarts_them() {
    let mut conversation = with_peers(&[1, 2]);
    conversation.said();
    conversation.tell(Input::Connected(peer(1)));
    conversation.tell(Input::DialFailed(peer(2)));
    conversation.pass(5 * SECOND);
    assert_eq!(conversation.said(), [Said::Dial(peer(2))]);
    conversation.tell(Input::Connected(peer(2)));
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
    conversation.tell(Input::Disconnected(peer(2)));
    conversation.pass(5 * SECOND);
    assert_eq!(conversation.said(), [Said::Dial(peer(2))]);
}

#[test]
fn a_node_without_a_network_dials_nobody() {
    let static_peers = vec![peer(1).into()];
    let mut conversation =
        Conversation::with(NodeConfig { offline: true, static_peers, ..config(V4) });
    let addresses = vec!["/ip4/1.2.3.4/tcp/9".to_owned()];
    let metadata = PeerMetadata { enr: "enr:".into(), chain_id: CHAIN_ID };
    conversation.tell(Input::Peer(peer(2), PeerNews::Discovered(metadata, addresses)));
    let lists = PeerLists { static_peers: vec![peer(3).into()], ..PeerLists::default() };
    conversation.tell(Input::Configure { id: CommandId(1), lists });
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
}

#[test]
fn other_peers_connect_and_leave_without_being_dialled() {
    let mut conversation = with_peers(&[1]);
    conversation.said();
    for input in
        [Input::Connected(peer(9)), Input::Disconnected(peer(9)), Input::DialFailed(peer(9))]
    {
        conversation.tell(input);
    }
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
}

// ---- admission, scores and bans ----

const ADDRESS: &str = "10.0.0.9";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn arrive(conversation: &mut Conversation, id: u64, who: u8, from: &str) -> Result<(), Denied> {
    let (id, door, ip) = (ConnectionId(id), Door::Tcp, Some(address(from)));
    let now = conversation.now;
    conversation.node.knock(now, &Knock::Accept { id, door, ip })?;
    conversation
        .node
        .knock(now, &Knock::Secured { id, door, peer: peer(who), ip, is_inbound: true })?;
    conversation.tell(Input::Connected(peer(who)));
    Ok(())
}

fn leave(conversation: &mut Conversation, id: u64, who: u8) {
    let now = conversation.now;
    conversation.node.knock(now, &Knock::Ended(ConnectionId(id))).expect("it just ends");
    conversation.tell(Input::Disconnected(peer(who)));
}

fn order(conversation: &mut Conversation, command: PeerCommand) {
    conversation.tell(Input::Command { id: CommandId(1), command });
}

/// Returns a node that starts with the peer memory of this one.
fn restarted(mut conversation: Conversation, config: NodeConfig) -> Conversation {
    conversation.tell(Input::Stopping);
    let memory = std::mem::take(&mut conversation.memory).into_iter().collect();
    let mut next = Conversation::with(NodeConfig { memory, ..config });
    next.now = conversation.now;
    next
}

#[test]
fn a_rejected_message_on_any_topic_bans_its_sender_for_an_hour() {
    for topic in [V1, V2, V3, V4] {
        let mut conversation = Conversation::on(V4);
        arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
        let message = conversation.hear(topic, &[7; 80]);
        let until = conversation.now.unix_seconds() + 3600;
        let said = conversation.said();
        assert_eq!(said[0], Said::Refused(message, Reason::Payload));
        assert_eq!(said[1..], [Said::Banned(peer(1), until), Said::Disconnect(peer(1))]);
        leave(&mut conversation, 1, 1);
        // Refused inbound after the handshake, and outbound before it.
        assert_eq!(arrive(&mut conversation, 2, 1, ADDRESS), Err(Denied::PeerBanned { until }));
        let now = conversation.now;
        assert_eq!(
            conversation.node.knock(now, &Knock::DialPeer(peer(1))),
            Err(Denied::PeerBanned { until })
        );
        assert_eq!(
            conversation.node.peers().limits().len(),
            0,
            "a refused connection takes no place"
        );
    }
}

#[test]
fn a_ban_survives_a_restart_and_ends_on_time() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.hear(V4, &[7; 80]);
    leave(&mut conversation, 1, 1);
    let mut next = restarted(conversation, config(V4));
    assert!(matches!(arrive(&mut next, 1, 1, ADDRESS), Err(Denied::PeerBanned { .. })));
    next.pass(3599 * SECOND);
    assert!(matches!(arrive(&mut next, 2, 1, ADDRESS), Err(Denied::PeerBanned { .. })));
    next.pass(SECOND);
    assert_eq!(arrive(&mut next, 3, 1, ADDRESS), Ok(()));
    assert_eq!(next.node.peers().counts().peer_unbans, 1);
    assert!(!next.memory.keys().any(|key| key.starts_with(b"ban/")), "the store forgets it too");
}

#[test]
fn an_ignored_message_costs_nothing() {
    let mut conversation = Conversation::with(NodeConfig {
        chain: ChainConfig { unsafe_block_signer: None, ..config(V4).chain },
        can_sign: false,
        ..config(V4)
    });
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.hear(V4, &[7; 80]);
    assert!(matches!(conversation.said()[..], [Said::Refused(_, Reason::NoSigner)]));
    assert_eq!(conversation.node.peers().score(conversation.now, &peer(1)), 0.0);
}

#[test]
fn exempt_peers_and_those_of_a_node_without_bans_stay_connected() {
    let protected = |conversation: &mut Conversation| {
        order(conversation, PeerCommand::Protect(peer(1), true));
    };
    let none = PeersConfig { scoring: Scoring::None, ..PeersConfig::default() };
    let off = PeersConfig {
        bans: BanPolicy { is_enabled: false, ..BanPolicy::default() },
        min_score: None,
        ..PeersConfig::default()
    };
    for (config, prepare) in [
        (NodeConfig { static_peers: vec![peer(1).into()], ..config(V4) }, None),
        (config(V4), Some(protected)),
        (NodeConfig { peers: none, ..config(V4) }, None),
        (NodeConfig { peers: off, ..config(V4) }, None),
    ] {
        let mut conversation = Conversation::with(config);
        if let Some(prepare) = prepare {
            prepare(&mut conversation);
        }
        arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
        conversation.said();
        conversation.hear(V4, &[7; 80]);
        assert!(matches!(conversation.said()[..], [Said::Refused(..)]), "it stays connected");
        leave(&mut conversation, 1, 1);
        assert_eq!(arrive(&mut conversation, 2, 1, ADDRESS), Ok(()));
    }
}

/// Returns the configuration of an observer in a browser: its static peers are not trusted, and
/// must not fall silent.
fn observer() -> NodeConfig {
    let peers = PeersConfig {
        trusts_static: false,
        redial: Backoff { first: SECOND, longest: 30 * SECOND },
        silence: Some(4 * SECOND),
        ..PeersConfig::default()
    };
    NodeConfig { static_peers: vec![peer(1).into(), peer(2).into()], peers, ..config(V4) }
}

#[test]
fn an_untrusted_static_peer_is_banned_for_a_lie() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.said();
    conversation.hear(V4, &[7; 80]);
    let said = conversation.said();
    assert!(matches!(said[1..], [Said::Banned(who, _), Said::Disconnect(_)] if who == peer(1)));
    leave(&mut conversation, 1, 1);
    let now = conversation.now;
    let denied = conversation.node.knock(now, &Knock::DialPeer(peer(1)));
    assert!(matches!(denied, Err(Denied::PeerBanned { .. })), "{denied:?}");
}

#[test]
fn a_silent_peer_is_disconnected_and_redialled() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    arrive(&mut conversation, 2, 2, "10.0.0.10").expect("the peer is unknown");
    conversation.said();
    for _ in 0..5 {
        conversation.pass(SECOND);
        conversation.tell(Input::Peer(peer(2), PeerNews::Pinged(SECOND / 100)));
    }
    assert_eq!(conversation.said(), [Said::Disconnect(peer(1))], "and only once");
    leave(&mut conversation, 1, 1);
    conversation.pass(SECOND);
    assert_eq!(conversation.said(), [Said::Dial(peer(1))]);
}

/// On a slow line, the answer to a ping waits behind a large block.
#[test]
fn a_peer_whose_bytes_arrive_is_not_silent() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.said();
    for _ in 0..20 {
        conversation.pass(SECOND / 2);
        conversation.tell(Input::Peer(peer(1), PeerNews::Received));
    }
    assert_eq!(conversation.said(), []);
    conversation.pass(5 * SECOND);
    assert_eq!(conversation.said(), [Said::Disconnect(peer(1))]);
}

/// A browser changed its network, or was reloaded while its old line was half open.
#[test]
fn a_reconnecting_browser_replaces_its_older_connection() {
    let browser = DoorLimits { inbound: 2, ..DoorLimits::BROWSERS };
    let limits = LimitsConfig { browser, ..LimitsConfig::default() };
    let peers = PeersConfig { limits, ..PeersConfig::default() };
    let mut conversation = Conversation::with(NodeConfig { peers, ..config(V4) });
    let connect = |conversation: &mut Conversation, id: u64, who: u8, door: Door| {
        let (id, ip, now) = (ConnectionId(id), Some(address(ADDRESS)), conversation.now);
        conversation.node.knock(now, &Knock::Accept { id, door, ip })?;
        let secured = Knock::Secured { id, door, peer: peer(who), ip, is_inbound: true };
        conversation.node.knock(now, &secured).map(drop)
    };
    for (id, who) in [(1, 1), (2, 2)] {
        connect(&mut conversation, id, who, Door::Browser).expect("there is room");
        conversation.tell(Input::Connected(peer(who)));
    }
    let denied = connect(&mut conversation, 3, 3, Door::Browser);
    assert_eq!(denied, Err(Denied::TooManyInbound));
    assert_eq!(conversation.said(), []);
    for id in 4..20 {
        connect(&mut conversation, id, 1, Door::Browser).expect("it has a place");
        conversation.tell(Input::Wake);
        let older = if id == 4 { 1 } else { id - 1 };
        assert_eq!(conversation.said(), [Said::Close(older)]);
    }
    let now = conversation.now;
    for ended in [1, 4, 5] {
        conversation.node.knock(now, &Knock::Ended(ConnectionId(ended))).expect("it just ends");
    }
    assert_eq!(conversation.node.peers().limits().counts(Door::Browser).inbound, 2);
    assert_eq!(conversation.node.peers().is_browser(&peer(1)), Some(true));
    // A node may have several connections, as in the reference.
    conversation.node.knock(now, &Knock::Ended(ConnectionId(2))).expect("it just ends");
    for id in [30, 31] {
        connect(&mut conversation, id, 9, Door::Tcp).expect("there is room");
    }
    connect(&mut conversation, 32, 9, Door::Browser).expect("there is room for a node");
    conversation.tell(Input::Wake);
    assert_eq!(conversation.said(), []);
}

#[test]
fn a_full_browser_door_refuses_before_the_handshake() {
    let browser = DoorLimits { inbound: 1, ..DoorLimits::BROWSERS };
    let limits = LimitsConfig { browser, ..LimitsConfig::default() };
    let peers = PeersConfig { limits, ..PeersConfig::default() };
    let mut conversation = Conversation::with(NodeConfig { peers, ..config(V4) });
    let now = conversation.now;
    let mut knock = |knock| conversation.node.knock(now, &knock);
    let (id, door, ip) = (ConnectionId(1), Door::Browser, None);
    assert_eq!(knock(Knock::Begin(door)), Ok(()));
    knock(Knock::Accept { id, door, ip }).expect("there is room");
    knock(Knock::Secured { id, door, peer: peer(1), ip, is_inbound: true }).expect("room");
    assert_eq!(knock(Knock::Begin(door)), Err(Denied::TooManyInbound));
    assert_eq!(knock(Knock::Begin(Door::Tcp)), Ok(()));
    knock(Knock::Ended(id)).expect("it just ends");
    assert_eq!(knock(Knock::Begin(door)), Ok(()));
}

#[test]
fn a_network_change_ends_all_waits() {
    let mut conversation = Conversation::with(observer());
    conversation.said();
    for _ in 0..20 {
        conversation.tell(Input::DialFailed(peer(1)));
        conversation.pass(30 * SECOND);
    }
    conversation.tell(Input::DialFailed(peer(1)));
    conversation.said();
    conversation.tell(Input::NetworkChanged);
    assert_eq!(conversation.said(), [Said::Dial(peer(1))]);
}

#[test]
fn a_peer_of_another_chain_is_reported() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.said();
    let ours = conversation.node.chain().chain_id;
    let speaks = |chains: &[u64]| {
        let protocols = chains
            .iter()
            .map(|chain| protocol_id(*chain))
            .chain(["/meshsub/1.1.0".into()])
            .collect();
        PeerNews::Identified(PeerInfo { protocols, ..PeerInfo::default() })
    };
    for news in [speaks(&[ours]), speaks(&[]), speaks(&[ours + 1, ours])] {
        conversation.tell(Input::Peer(peer(1), news));
    }
    assert_eq!(conversation.said(), []);
    conversation.tell(Input::Peer(peer(1), speaks(&[ours + 7, ours + 8])));
    assert_eq!(conversation.said(), [Said::OtherChain(peer(1), ours + 7)]);
}

#[test]
fn a_block_entry_disconnects_matching_peers_and_is_remembered() {
    let subnet: Subnet = "10.0.0.0/24".parse().expect("a subnet");
    for (entry, denied) in [
        (BlockEntry::Peer(peer(1)), Denied::PeerBlocked),
        (BlockEntry::Ip(address(ADDRESS)), Denied::AddressBlocked(address(ADDRESS))),
        (BlockEntry::Ip(address("::ffff:10.0.0.9")), Denied::AddressBlocked(address(ADDRESS))),
        (BlockEntry::Subnet(subnet), Denied::SubnetBlocked(subnet)),
    ] {
        let mut conversation = Conversation::on(V4);
        arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
        arrive(&mut conversation, 2, 2, "10.0.1.1").expect("the peer is unknown");
        conversation.said();
        order(&mut conversation, PeerCommand::Block(entry));
        assert_eq!(conversation.said(), [Said::Disconnect(peer(1))]);
        leave(&mut conversation, 1, 1);
        assert_eq!(arrive(&mut conversation, 3, 1, ADDRESS), Err(denied));
        let mut next = restarted(conversation, config(V4));
        assert_eq!(arrive(&mut next, 1, 1, ADDRESS), Err(denied));
        let now = next.now;
        let dial = match entry {
            BlockEntry::Peer(peer) => Knock::DialPeer(peer),
            _ => Knock::DialAddress(address(ADDRESS)),
        };
        assert_eq!(next.node.knock(now, &dial), Err(denied));
        order(&mut next, PeerCommand::Unblock(entry));
        assert_eq!(next.node.knock(now, &dial), Ok(()));
        assert_eq!(arrive(&mut next, 2, 1, ADDRESS), Ok(()));
        assert!(!next.memory.keys().any(|key| key.starts_with(b"block/")));
    }
}

#[test]
fn a_banned_address_is_refused_before_any_handshake_for_every_peer() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    order(&mut conversation, PeerCommand::BanIp(address(ADDRESS), 60 * SECOND));
    assert_eq!(conversation.said(), [Said::Disconnect(peer(1))]);
    leave(&mut conversation, 1, 1);
    let until = conversation.now.unix_seconds() + 60;
    let ip = Some(address("::ffff:10.0.0.9"));
    let now = conversation.now;
    let knock = Knock::Accept { id: ConnectionId(2), door: Door::Tcp, ip };
    let denied = Denied::AddressBanned { ip: address(ADDRESS), until };
    assert_eq!(conversation.node.knock(now, &knock), Err(denied));
    order(&mut conversation, PeerCommand::UnbanIp(address(ADDRESS)));
    assert_eq!(arrive(&mut conversation, 3, 1, ADDRESS), Ok(()));
}

#[test]
fn a_bad_score_keeps_a_peer_out_after_a_restart_until_it_is_forgotten() {
    let peers = PeersConfig {
        bans: BanPolicy { is_enabled: false, ..BanPolicy::default() },
        ..PeersConfig::default()
    };
    let config = NodeConfig { peers, ..config(V4) };
    let mut conversation = Conversation::with(config.clone());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    conversation.hear(V4, &[7; 80]);
    let mut next = restarted(conversation, config);
    assert!(matches!(arrive(&mut next, 1, 1, ADDRESS), Err(Denied::LowScore { .. })));
    next.pass(1201 * SECOND);
    assert_eq!(arrive(&mut next, 2, 1, ADDRESS), Ok(()));
}

#[test]
fn surplus_peers_are_trimmed_after_their_grace_and_the_mesh_stays() {
    let connections =
        ConnectionManagerConfig { low: 2, high: 3, ..ConnectionManagerConfig::default() };
    let peers = PeersConfig { connections, ..PeersConfig::default() };
    let mut conversation = Conversation::with(NodeConfig { peers, ..config(V4) });
    for who in 1..=5 {
        arrive(&mut conversation, who.into(), who, &format!("10.0.1.{who}"))
            .expect("the peer is unknown");
        conversation.pass(SECOND);
    }
    for who in [1, 4] {
        conversation.tell(Input::Peer(peer(who), PeerNews::Mesh(V4, true)));
    }
    // A new peer does not displace another one. Otherwise an attacker could isolate a node with its
    // own peers.
    conversation.pass(26 * SECOND);
    assert_eq!(conversation.said(), []);
    // The third peer is settled now and is the one to go. Later the fourth, which is in the mesh,
    // displaces the second.
    conversation.pass(SECOND);
    assert_eq!(conversation.said(), [Said::Disconnect(peer(3))]);
    conversation.pass(600 * SECOND);
    assert_eq!(conversation.said(), [Said::Disconnect(peer(2))]);
}

#[test]
fn a_node_that_lacks_peers_dials_those_that_it_remembers() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    let info = PeerInfo { addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()], ..PeerInfo::default() };
    conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
    let mut next = restarted(conversation, config(V4));
    next.tell(Input::Wake);
    assert_eq!(next.said(), [Said::Dial(peer(1))]);
    let now = next.now;
    assert_eq!(
        next.node.peers().addresses(now, &peer(1)).collect::<Vec<_>>(),
        ["/ip4/10.0.0.9/tcp/9222"]
    );
    // The delay grows each time a peer does not answer.
    next.tell(Input::DialFailed(peer(1)));
    next.pass(19 * SECOND);
    assert_eq!(next.said(), []);
    next.pass(6 * SECOND);
    assert_eq!(next.said(), [Said::Dial(peer(1))]);
}

/// Otherwise a node with too many peers and one of its peers would reconnect for ever.
#[test]
fn a_peer_that_leaves_early_is_redialled_after_ever_longer_waits() {
    let mut conversation = Conversation::on(V4);
    let info = PeerInfo { addresses: vec!["/ip4/1.2.3.4/tcp/9222".into()], ..PeerInfo::default() };
    let mut waits = Vec::new();
    for stay in [1, 1, 1, 400, 1] {
        conversation.tell(Input::Connected(peer(1)));
        conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info.clone())));
        conversation.pass(stay * SECOND);
        conversation.tell(Input::Disconnected(peer(1)));
        let left = conversation.now.monotonic;
        while conversation.said().is_empty() {
            conversation.pass(SECOND);
        }
        waits.push(conversation.now.monotonic.since(left).as_secs());
    }
    for (wait, least) in waits.iter().zip([20, 40, 80, 20, 40]) {
        assert!((least..=least + 5).contains(wait), "{waits:?}");
    }
}

#[test]
fn disconnecting_a_peer_forgets_its_addresses() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("the peer is unknown");
    let info = PeerInfo { addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()], ..PeerInfo::default() };
    conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
    order(&mut conversation, PeerCommand::Disconnect(peer(1)));
    assert_eq!(conversation.said(), [Said::Disconnect(peer(1))]);
    let now = conversation.now;
    assert_eq!(conversation.node.peers().addresses(now, &peer(1)).count(), 0);
}
