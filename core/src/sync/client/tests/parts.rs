//! Tests of the client's parts alone: the window, and the choice of a server.

use super::*;
use crate::sync::client::servers::{Rest, Servers};
use crate::sync::client::window::{Answer, Window};

const fn of(peer: PeerId) -> Source {
    Source::Peer(peer)
}

#[test]
fn an_answer_ends_its_own_request_and_no_other() {
    let chain = config(4);
    let block = blocks(&chain, 4, 0, 10)[3].clone();
    let mut window = Window::default();
    window.fit(Some(1..=4));
    assert!(window.sent(3, RequestId(1), &of(peer(1))).is_empty());
    assert_eq!(window.sent(3, RequestId(2), &of(peer(2))), [RequestId(1)]);
    window.answered(RequestId(1), Answer { block, source: of(peer(1)), is_current: true });
    assert_eq!(window.asked(3), None, "it is answered");
    assert!(window.take_answer(3).is_some());
    assert_eq!(window.asked(3), Some(&[RequestId(2)][..]));
    assert_eq!(window.bytes(), 0);
}

#[test]
fn of_servers_that_failed_the_one_with_proved_blocks_comes_first() {
    for proven in [1, 2] {
        let mut servers = Servers::new(&ClientConfig::default());
        for byte in [1, 2] {
            servers.connected(peer(byte), false);
            let server = servers.get_mut(&of(peer(byte))).expect("it is connected");
            if byte == proven {
                server.proved();
            }
            server.rest(at(0), Rest::Missed);
        }
        let picked = servers.pick(at(60_000), 5, |_| true).map(|(source, _)| source);
        assert_eq!(picked, Some(of(peer(proven))));
    }
}

#[test]
fn a_peer_that_becomes_static_is_asked_by_a_client_that_asks_only_those() {
    let chain = config(4);
    let made = blocks(&chain, 4, 0, 10);
    let only_static = ClientConfig { only_static: true, ..ClientConfig::default() };
    let mut world = World { client: RangeClient::new(only_static), ..World::new([]) };
    world.client.connected(peer(1), false);
    world.aim(&made[4], 1);
    assert!(world.asked.is_empty());
    world.client.set_static(&peer(1), true);
    world.drain();
    assert!(!world.asked.is_empty());
    assert!(world.asked.iter().all(|(_, byte, ..)| *byte == 1));
}
