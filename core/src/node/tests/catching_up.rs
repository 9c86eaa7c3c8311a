//! A node that was away: the newest block is known at once, and the blocks below it follow or are
//! skipped.

use super::gaps::{Following, no_endpoint};
use super::*;
use crate::sync::{RequestFailure, encode_response};

#[test]
fn the_newest_block_is_known_at_once_and_fill_progress_is_reported() {
    let chain = chain(V4, 21);
    let number = |at: usize| chain[at].payload.block_number;
    let mut world = Following::new(&chain, |_| {});
    world.hear(&chain[20]);
    let view = world.node.view();
    assert_eq!((world.head(), view.highest().map(|id| id.number)), (number(0), Some(number(20))));
    let serve = |wanted: u64| Ok(encode_response(&decoded(&chain[(wanted - number(0)) as usize])));
    world.pass(SECOND, serve, no_endpoint);
    assert_eq!(world.head(), number(20));
    let expected: Vec<_> = (1..20).rev().map(|at| (number(at), at as u64 - 1)).collect();
    assert_eq!(world.found, expected);
    assert_eq!(world.skipped, []);
}

#[test]
fn a_gap_above_the_limit_is_skipped_without_waiting() {
    let chain = chain(V4, 30);
    let number = |at: usize| chain[at].payload.block_number;
    let mut world = Following::new(&chain, |config| config.view.max_gap = Some(5));
    // While the shown branch grows, a block that does not link may belong to an abandoned one.
    world.pass(20 * SECOND, |_| Err(RequestFailure::Timeout), no_endpoint);
    world.hear(&chain[7]);
    assert_eq!(world.head(), number(7), "six blocks are missing");
    world.hear(&chain[13]);
    assert_eq!(world.head(), number(7), "five are fetched");
    let serve = |wanted: u64| Ok(encode_response(&decoded(&chain[(wanted - number(0)) as usize])));
    world.pass(SECOND, serve, no_endpoint);
    assert_eq!(world.head(), number(13));
    assert_eq!(world.skipped, [(number(0), number(7))]);
}

#[test]
fn what_does_not_fit_into_the_pending_area_is_left_out() {
    let chain = chain(V4, 31);
    let number = |at: usize| chain[at].payload.block_number;
    let mut world = Following::new(&chain, |config| {
        config.sync.as_mut().expect("on").fill.pending_blocks = 8;
    });
    world.hear(&chain[30]);
    let serve = |wanted: u64| Ok(encode_response(&decoded(&chain[(wanted - number(0)) as usize])));
    world.pass(20 * SECOND, serve, no_endpoint);
    assert_eq!(world.head(), number(30));
    let [(from, to)] = world.skipped[..] else { panic!("{:?}", world.skipped) };
    assert_eq!(from, number(0));
    assert!(to > number(15), "{to} is the first of the blocks that were kept");
}

/// Returns a node that misses blocks 1 to 5 of the chain, and has just lost its only peer.
fn cut_off(chain: &[Envelope], change: impl FnOnce(&mut NodeConfig)) -> Following {
    let mut world = Following::new(chain, change);
    // Old enough that the peers that serve would be connected.
    world.pass(20 * SECOND, |_| Err(RequestFailure::Timeout), no_endpoint);
    world.hear(&chain[6]);
    // Nearly all of the 6 s is over for which it waits beside a peer that serves nothing.
    world.pass(5 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.skipped, []);
    world.tell(Input::Disconnected(peer(1)));
    world
}

#[test]
fn blocks_that_are_missing_are_fetched_when_a_peer_is_back_however_long_that_takes() {
    let chain = chain(V4, 7);
    let number = |at: usize| chain[at].payload.block_number;
    let serve = |wanted: u64| Ok(encode_response(&decoded(&chain[(wanted - number(0)) as usize])));
    for seconds in [2, 60, 600] {
        let mut world = cut_off(&chain, |_| {});
        world.pass(seconds * SECOND, |_| Ok(vec![1]), no_endpoint);
        assert_eq!((world.head(), &world.skipped[..]), (number(0), &[][..]), "{seconds} s");
        world.tell(Input::Connected(peer(1)));
        world.pass(5 * SECOND, serve, no_endpoint);
        assert_eq!((world.head(), &world.skipped[..]), (number(6), &[][..]), "{seconds} s");
    }
    // A peer that does not have them: they are left out after the whole patience, as before.
    let mut world = cut_off(&chain, |_| {});
    world.pass(60 * SECOND, |_| Ok(vec![1]), no_endpoint);
    world.tell(Input::Connected(peer(1)));
    world.pass(5 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.head(), number(0));
    world.pass(6 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.skipped, [(number(0), number(6))]);
}

#[test]
fn a_node_that_is_cut_off_waits_no_longer_than_its_limits() {
    let chain = chain(V4, 30);
    let number = |at: usize| chain[at].payload.block_number;
    // The head grows too old to fetch its successors.
    let mut world = cut_off(&chain, |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.max_age = Some(100 * SECOND);
    });
    world.pass(60 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.head(), number(0));
    world.now.unix += 200 * SECOND;
    world.pass(20 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.skipped, [(number(0), number(6))]);
    // Where peers are never asked, nothing would come of waiting.
    let mut world = Following::new(&chain, |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.client.asks_peers = false;
    });
    world.hear(&chain[6]);
    world.tell(Input::Disconnected(peer(1)));
    world.pass(7 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.skipped, [(number(0), number(6))]);
    // One that never had a peer gets its blocks in another way.
    let mut world = Following::alone(&chain, |_| {});
    world.pass(20 * SECOND, |_| Ok(vec![1]), no_endpoint);
    world.hear(&chain[6]);
    world.pass(7 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.skipped, [(number(0), number(6))]);
}
