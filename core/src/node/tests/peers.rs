//! Static peers: who is dialled when.

use super::*;

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
