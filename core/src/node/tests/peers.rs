//! Peers: who is dialled when, who is let in, who is banned, and what a restart knows of it.

use super::*;
use crate::peers::{
    Backoff, BanPolicy, BlockEntry, CommandId, ConnectionId, Denied, Door, Knock, PeerCommand, PeerInfo,
    PeerNews, PeersConfig, Scoring, Subnet, TideConfig,
};
use crate::sync::protocol_id;
use core::net::IpAddr;

fn with_peers(peers: &[u8]) -> Conversation {
    let static_peers = peers.iter().map(|byte| peer(*byte)).collect();
    Conversation::with(NodeConfig { static_peers, ..config(V4) })
}

#[test]
fn all_are_dialled_at_the_start_without_being_asked() {
    let mut conversation = with_peers(&[1, 2, 3]);
    assert_eq!(conversation.said(), [1, 2, 3].map(|byte| Said::Dial(peer(byte))));
    assert_eq!(conversation.node.next_wakeup(), None, "an attempt is answered by the driver");
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
        let due = conversation.node.next_wakeup().expect("another attempt").since(failed_at);
        conversation.pass(due - Duration::from_millis(1));
        assert_eq!(conversation.said(), []);
        conversation.pass(Duration::from_millis(1));
        assert_eq!(conversation.said(), [Said::Dial(peer(1))]);
        waits.push(due.as_millis());
    }
    assert_eq!(waits[..5], [5000, 7500, 11_250, 16_875, 25_312]);
    assert_eq!(waits[12..], [300_000, 300_000]);
}

#[test]
fn a_connection_ends_the_attempts_and_its_loss_begins_them_anew() {
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
fn other_peers_come_and_go_without_being_dialled() {
    let mut conversation = with_peers(&[1]);
    conversation.said();
    for input in [Input::Connected(peer(9)), Input::Disconnected(peer(9)), Input::DialFailed(peer(9))] {
        conversation.tell(input);
    }
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
}

// ---- the door, scores and bans ----

const ADDRESS: &str = "10.0.0.9";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn arrive(conversation: &mut Conversation, id: u64, who: u8, from: &str) -> Result<(), Denied> {
    let (id, door, ip) = (ConnectionId(id), Door::Tcp, Some(address(from)));
    let now = conversation.now;
    conversation.node.knock(now, &Knock::Accept { id, door, ip })?;
    conversation.node.knock(now, &Knock::Secured { id, door, peer: peer(who), ip, is_inbound: true })?;
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

/// The node that starts on what this one remembers.
fn restarted(mut conversation: Conversation, config: NodeConfig) -> Conversation {
    conversation.tell(Input::Stopping);
    let memory = std::mem::take(&mut conversation.memory).into_iter().collect();
    let mut next = Conversation::with(NodeConfig { memory, ..config });
    next.now = conversation.now;
    next
}

#[test]
fn one_rejected_message_on_any_topic_bans_its_sender_at_once_and_for_an_hour() {
    for topic in [V1, V2, V3, V4] {
        let mut conversation = Conversation::on(V4);
        arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
        let message = conversation.hear(topic, &[7; 80]);
        let until = conversation.now.unix_seconds() + 3600;
        let said = conversation.said();
        assert_eq!(said[0], Said::Refused(message, Reason::Payload));
        assert_eq!(said[1..], [Said::Banned(peer(1), until), Said::Disconnect(peer(1))]);
        leave(&mut conversation, 1, 1);
        // Inbound after the handshake, and outbound before any.
        assert_eq!(arrive(&mut conversation, 2, 1, ADDRESS), Err(Denied::PeerBanned { until }));
        let now = conversation.now;
        assert_eq!(
            conversation.node.knock(now, &Knock::DialPeer(peer(1))),
            Err(Denied::PeerBanned { until })
        );
        assert_eq!(conversation.node.peers().limits().len(), 0, "a refused connection takes no place");
    }
}

#[test]
fn a_ban_outlives_a_restart_and_ends_when_it_was_to_end() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
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
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    conversation.hear(V4, &[7; 80]);
    assert!(matches!(conversation.said()[..], [Said::Refused(_, Reason::NoSigner)]));
    assert_eq!(conversation.node.peers().score(conversation.now, &peer(1)), 0.0);
}

#[test]
fn static_and_protected_peers_and_those_of_a_node_that_does_not_ban_stay() {
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
        (NodeConfig { static_peers: vec![peer(1)], ..config(V4) }, None),
        (config(V4), Some(protected)),
        (NodeConfig { peers: none, ..config(V4) }, None),
        (NodeConfig { peers: off, ..config(V4) }, None),
    ] {
        let mut conversation = Conversation::with(config);
        if let Some(prepare) = prepare {
            prepare(&mut conversation);
        }
        arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
        conversation.said();
        conversation.hear(V4, &[7; 80]);
        assert!(matches!(conversation.said()[..], [Said::Refused(..)]), "it is not turned out");
        leave(&mut conversation, 1, 1);
        assert_eq!(arrive(&mut conversation, 2, 1, ADDRESS), Ok(()));
    }
}

/// As an observer in a browser has them: static peers that nobody vouches for, who must not fall silent.
fn observer() -> NodeConfig {
    let peers = PeersConfig {
        trusts_static: false,
        redial: Backoff { first: SECOND, longest: 30 * SECOND, seed: 0 },
        silence: Some(4 * SECOND),
        ..PeersConfig::default()
    };
    NodeConfig { static_peers: vec![peer(1), peer(2)], peers, ..config(V4) }
}

#[test]
fn a_static_peer_that_is_not_trusted_is_banned_for_a_lie() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    conversation.said();
    conversation.hear(V4, &[7; 80]);
    assert!(
        matches!(conversation.said()[1..], [Said::Banned(who, _), Said::Disconnect(_)] if who == peer(1))
    );
    leave(&mut conversation, 1, 1);
    let now = conversation.now;
    let denied = conversation.node.knock(now, &Knock::DialPeer(peer(1)));
    assert!(matches!(denied, Err(Denied::PeerBanned { .. })), "{denied:?}");
}

#[test]
fn who_falls_silent_is_disconnected_and_dialled_again() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    arrive(&mut conversation, 2, 2, "10.0.0.10").expect("nobody knows it");
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

#[test]
fn when_the_network_changes_nobody_waits_any_longer() {
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
fn a_peer_of_another_chain_is_told_of() {
    let mut conversation = Conversation::with(observer());
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    conversation.said();
    let ours = conversation.node.chain().chain_id;
    let speaks = |chains: &[u64]| {
        let protocols =
            chains.iter().map(|chain| protocol_id(*chain)).chain(["/meshsub/1.1.0".into()]).collect();
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
fn a_block_turns_out_whom_it_hits_and_is_remembered() {
    let subnet: Subnet = "10.0.0.0/24".parse().expect("a subnet");
    for (entry, denied) in [
        (BlockEntry::Peer(peer(1)), Denied::PeerBlocked),
        (BlockEntry::Ip(address(ADDRESS)), Denied::AddressBlocked(address(ADDRESS))),
        (BlockEntry::Ip(address("::ffff:10.0.0.9")), Denied::AddressBlocked(address(ADDRESS))),
        (BlockEntry::Subnet(subnet), Denied::SubnetBlocked(subnet)),
    ] {
        let mut conversation = Conversation::on(V4);
        arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
        arrive(&mut conversation, 2, 2, "10.0.1.1").expect("nobody knows it");
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
fn a_banned_address_is_refused_before_any_handshake_and_whoever_it_is() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
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
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    conversation.hear(V4, &[7; 80]);
    let mut next = restarted(conversation, config);
    assert!(matches!(arrive(&mut next, 1, 1, ADDRESS), Err(Denied::LowScore { .. })));
    next.pass(1201 * SECOND);
    assert_eq!(arrive(&mut next, 2, 1, ADDRESS), Ok(()));
}

#[test]
fn too_many_peers_are_trimmed_after_their_grace_and_the_mesh_stays() {
    let tide = TideConfig { low: 2, high: 3, ..TideConfig::default() };
    let peers = PeersConfig { tide, ..PeersConfig::default() };
    let mut conversation = Conversation::with(NodeConfig { peers, ..config(V4) });
    for who in 1..=5 {
        arrive(&mut conversation, who.into(), who, &format!("10.0.1.{who}")).expect("nobody knows it");
        conversation.pass(SECOND);
    }
    for who in [1, 4] {
        conversation.tell(Input::Peer(peer(who), PeerNews::Mesh(V4, true)));
    }
    // Whoever is new pushes nobody out: that would be too easy a way to be alone with a node.
    conversation.pass(26 * SECOND);
    assert_eq!(conversation.said(), []);
    // The third settles, and then the fourth, which is in the mesh and pushes out the second.
    conversation.pass(SECOND);
    assert_eq!(conversation.said(), [Said::Disconnect(peer(3))]);
    conversation.pass(600 * SECOND);
    assert_eq!(conversation.said(), [Said::Disconnect(peer(2))]);
}

#[test]
fn a_node_that_lacks_peers_dials_those_that_it_remembers() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    let info = PeerInfo { addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()], ..PeerInfo::default() };
    conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
    let mut next = restarted(conversation, config(V4));
    next.tell(Input::Wake);
    assert_eq!(next.said(), [Said::Dial(peer(1))]);
    let now = next.now;
    assert_eq!(next.node.peers().addresses(now, &peer(1)).collect::<Vec<_>>(), ["/ip4/10.0.0.9/tcp/9222"]);
    // One that does not answer is left alone for longer each time.
    next.tell(Input::DialFailed(peer(1)));
    next.pass(19 * SECOND);
    assert_eq!(next.said(), []);
    next.pass(6 * SECOND);
    assert_eq!(next.said(), [Said::Dial(peer(1))]);
}

/// Or two nodes, one of which has too many peers, would part and meet for ever.
#[test]
fn a_peer_that_leaves_soon_is_left_alone_for_longer_each_time() {
    let mut conversation = Conversation::on(V4);
    let info = PeerInfo { addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()], ..PeerInfo::default() };
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
fn disconnecting_a_peer_lifts_what_kept_it_out_and_forgets_where_it_is() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, 1, 1, ADDRESS).expect("nobody knows it");
    let info = PeerInfo { addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()], ..PeerInfo::default() };
    conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
    order(&mut conversation, PeerCommand::Disconnect(peer(1)));
    assert_eq!(conversation.said(), [Said::Disconnect(peer(1))]);
    let now = conversation.now;
    assert_eq!(conversation.node.peers().addresses(now, &peer(1)).count(), 0);
}
