//! Browsers: peers that connect through a separate listener and can't be dialled.

use super::*;
use crate::peers::{
    ConnectionId, ConnectionManagerConfig, Denied, Door, Knock, LimitsConfig, PeerInfo, PeerNews,
    PeersConfig,
};
use core::net::IpAddr;

/// The address that all peers share.
fn office() -> Option<IpAddr> {
    Some("10.0.0.9".parse().expect("an address"))
}

/// Opens an inbound connection. Its number is the peer's, plus 100 at the browsers' door.
fn knock(conversation: &mut Conversation, door: Door, who: u8) -> Result<(), Denied> {
    let (now, ip, peer) = (conversation.now, office(), peer(who));
    let id = number(door, who);
    conversation.node.knock(now, &Knock::Accept { id, door, ip })?;
    conversation.node.knock(now, &Knock::Secured { id, door, peer, ip, is_inbound: true })
}

const fn number(door: Door, who: u8) -> ConnectionId {
    ConnectionId(who as u64 + if matches!(door, Door::Browser) { 100 } else { 0 })
}

fn arrive(conversation: &mut Conversation, door: Door, who: u8) {
    knock(conversation, door, who).expect("there is room");
    conversation.tell(Input::Connected(peer(who)));
}

fn end(conversation: &mut Conversation, door: Door, who: u8) {
    let now = conversation.now;
    conversation.node.knock(now, &Knock::Ended(number(door, who))).expect("it just ends");
}

fn small_tide() -> Conversation {
    let connections =
        ConnectionManagerConfig { low: 2, high: 3, ..ConnectionManagerConfig::default() };
    let peers = PeersConfig { connections, ..PeersConfig::default() };
    Conversation::with(NodeConfig { peers, ..config(V4) })
}

#[test]
fn the_connection_manager_neither_counts_nor_trims_browsers() {
    let mut conversation = small_tide();
    for who in 1..=60 {
        arrive(&mut conversation, Door::Browser, who);
    }
    conversation.tell(Input::Wake);
    assert_eq!(
        conversation.node.peers().missing(),
        2,
        "they do not count as peers that are sought"
    );
    for who in 201..=203 {
        arrive(&mut conversation, Door::Tcp, who);
    }
    conversation.pass(600 * SECOND);
    assert_eq!(conversation.said(), [], "three are not too many");
    assert_eq!(conversation.node.peers().missing(), 0);
    assert_eq!(conversation.node.peers().connected_peers().len(), 63);
}

#[test]
fn the_first_connection_decides_on_the_mesh_until_the_last_one_ends() {
    for [first, second] in [[Door::Browser, Door::Tcp], [Door::Tcp, Door::Browser]] {
        let mut conversation = Conversation::on(V4);
        let is_browser = |conversation: &Conversation| {
            let peers = conversation.node.peers();
            assert_eq!(peers.nodes(), usize::from(peers.is_browser(&peer(1)) == Some(false)));
            peers.is_browser(&peer(1))
        };
        let expected = Some(first == Door::Browser);
        assert_eq!(knock(&mut conversation, first, 1), Ok(()));
        conversation.tell(Input::Connected(peer(1)));
        assert_eq!(is_browser(&conversation), expected);
        assert_eq!(knock(&mut conversation, second, 1), Ok(()));
        assert_eq!(is_browser(&conversation), expected);
        end(&mut conversation, first, 1);
        assert_eq!(is_browser(&conversation), expected);
        assert_eq!(knock(&mut conversation, first, 1), Ok(()));
        for door in [first, second] {
            end(&mut conversation, door, 1);
        }
        conversation.tell(Input::Disconnected(peer(1)));
        assert_eq!(is_browser(&conversation), None);
        assert_eq!(knock(&mut conversation, second, 1), Ok(()));
        conversation.tell(Input::Connected(peer(1)));
        assert_eq!(is_browser(&conversation), Some(second == Door::Browser));
    }
}

#[test]
fn the_tide_counts_a_browser_for_as_long_as_it_takes_a_place_of_the_nodes() {
    let mut conversation = small_tide();
    arrive(&mut conversation, Door::Browser, 1);
    conversation.tell(Input::Peer(peer(1), PeerNews::Mesh(V4, true)));
    assert_eq!(conversation.node.peers().is_browser(&peer(1)), Some(true));
    knock(&mut conversation, Door::Tcp, 1).expect("there is room");
    conversation.tell(Input::Wake);
    assert_eq!(conversation.node.peers().is_browser(&peer(1)), Some(true));
    assert_eq!(conversation.node.peers().missing(), 1);
    // Its value has not changed: one peer in the mesh outlasts three that are not.
    for who in 2..=4 {
        arrive(&mut conversation, Door::Tcp, who);
    }
    conversation.pass(600 * SECOND);
    assert_eq!(conversation.said(), [2, 3].map(|who| Said::Disconnect(peer(who))));
    end(&mut conversation, Door::Tcp, 1);
    assert_eq!(conversation.node.peers().is_browser(&peer(1)), Some(true));
    conversation.tell(Input::Wake);
    for who in [2, 3] {
        end(&mut conversation, Door::Tcp, who);
        conversation.tell(Input::Disconnected(peer(who)));
    }
    assert_eq!(conversation.node.peers().missing(), 1, "only one node is left");
    end(&mut conversation, Door::Browser, 1);
    conversation.tell(Input::Disconnected(peer(1)));
    assert_eq!(conversation.node.peers().is_browser(&peer(1)), None);
}

#[test]
fn many_browsers_behind_one_address_lose_no_score_nor_does_a_node_there() {
    let limits = LimitsConfig::default();
    let peers = PeersConfig {
        limits: LimitsConfig { tcp: limits.browser, ..limits },
        ..PeersConfig::default()
    };
    let mut conversation = Conversation::with(NodeConfig { peers, ..config(V4) });
    for who in 1..=40 {
        arrive(&mut conversation, Door::Browser, who);
    }
    let score = |conversation: &Conversation, who| {
        conversation.node.peers().score(conversation.now, &peer(who))
    };
    arrive(&mut conversation, Door::Tcp, 51);
    assert_eq!((score(&conversation, 1), score(&conversation, 51)), (0.0, 0.0));
    // Eleven nodes at one address are one too many, and so is a browser that becomes the twelfth.
    for who in 52..=61 {
        arrive(&mut conversation, Door::Tcp, who);
    }
    assert_eq!((score(&conversation, 1), score(&conversation, 51)), (0.0, -35.0));
    knock(&mut conversation, Door::Tcp, 1).expect("there is room");
    conversation.tell(Input::Wake);
    assert_eq!((score(&conversation, 1), score(&conversation, 2)), (-140.0, 0.0));
}

#[test]
fn browsers_are_known_while_connected_but_neither_remembered_nor_dialled() {
    let mut conversation = Conversation::on(V4);
    arrive(&mut conversation, Door::Browser, 1);
    let info = PeerInfo {
        agent: "page".into(),
        addresses: vec!["/ip4/10.0.0.9/tcp/9222".into()],
        ..PeerInfo::default()
    };
    conversation.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
    let now = conversation.now;
    let record = conversation.node.peers().book().get(&peer(1)).cloned().expect("it is there");
    assert_eq!((record.agent.as_str(), record.addresses.len()), ("page", 0));
    assert_eq!(conversation.node.peers().addresses(now, &peer(1)).count(), 0);
    conversation.pass(60 * SECOND);
    let is_peer = |key: &Vec<u8>| key.starts_with(b"peer/");
    assert!(!conversation.memory.keys().any(is_peer), "nothing of it is stored");
    end(&mut conversation, Door::Browser, 1);
    conversation.tell(Input::Disconnected(peer(1)));
    assert!(conversation.node.peers().book().is_empty());
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
    assert!(!conversation.memory.keys().any(is_peer));
}

#[test]
fn a_bad_browser_is_banned_and_its_conduct_is_remembered() {
    let mut conversation = Conversation::on(V4);
    for who in [1, 2] {
        arrive(&mut conversation, Door::Browser, who);
    }
    let message = conversation.hear(V4, &[7; 80]);
    let until = conversation.now.unix_seconds() + 3600;
    let expected = [
        Said::Refused(message, Reason::Payload),
        Said::Banned(peer(1), until),
        Said::Disconnect(peer(1)),
    ];
    assert_eq!(conversation.said(), expected);
    end(&mut conversation, Door::Browser, 1);
    conversation.tell(Input::Disconnected(peer(1)));
    for door in [Door::Browser, Door::Tcp] {
        assert_eq!(knock(&mut conversation, door, 1), Err(Denied::PeerBanned { until }));
    }
    assert!(conversation.node.peers().score(conversation.now, &peer(1)) < -100.0);
    // Other peers at that address are not banned, and may connect and leave.
    arrive(&mut conversation, Door::Browser, 3);
    assert_eq!(conversation.node.peers().score(conversation.now, &peer(2)), 0.0);
}
