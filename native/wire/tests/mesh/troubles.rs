//! Peers whose streams end, stall, or carry something else.

use crate::raw::Said;
use crate::{World, contents, core_id};
use opp2p_core::mesh::wire::{MAX_FRAME, STALLED_AFTER};
use opp2p_core::mesh::{Frame, send};
use opp2p_wire::mesh::MAX_WAITING_BYTES;
use std::time::Duration;

/// A world with a peer of libp2p's gossipsub and one whose streams the test holds, both in our
/// mesh.
async fn world() -> World {
    let mut world = World::new();
    world.add_foreign();
    world.add_raw();
    world.meshed().await;
    world
        .until("the other peer is in the mesh", |world| {
            let peer = core_id(world.raw[0].peer);
            world.ours.mesh().contains(&peer) && world.raw[0].said.contains(&Said::Graft)
        })
        .await;
    world
}

#[tokio::test]
async fn a_peer_that_reads_nothing_delays_no_other_and_is_cut_off() {
    let mut world = world().await;
    world.raw[0].reads = false;
    let messages: Vec<_> = (0..40).map(|seed| contents(seed, 500_000)).collect();
    for message in &messages {
        world.ours.publish(message);
        world
            .until("the other peer has it", |world| world.foreign[0].received.contains(message))
            .await;
        let sizes = world.ours.router.sizes();
        assert!(sizes.outbox_bytes <= send::MAX_QUEUED_BYTES + 600_000, "{sizes:?}");
    }
    world.talk(100, 1000).await;
    // Its stream is stuck: it is reset, and another one opened.
    let opened = world.ours.opened.len();
    // The router takes a leap for a sleep, so time passes in steps.
    world
        .until("its stream is reset", |world| {
            world.ours.skew += Duration::from_millis(200);
            world.ours.opened.len() > opened
        })
        .await;
    world.talk(101, 1000).await;
    world.raw[0].reads = true;
    world.raw[0].said.clear();
    world
        .until("it is greeted on the new stream", |world| {
            world.raw[0].said.contains(&Said::Subscribe(true))
        })
        .await;
    world.assert_no_breach();
}

#[tokio::test]
async fn a_frame_that_breaks_off_is_forgotten() {
    let mut world = world().await;
    let message = contents(1, 1 << 20);
    let frame = Frame::message(crate::TOPIC, crate::compressed(&message).into()).to_vec();
    world.raw[0].outgoing.extend(&frame[..frame.len() / 2]);
    world.until("half of it is sent", |world| world.raw[0].has_written()).await;
    // Dropping a stream resets it.
    world.raw[0].writer = None;
    world.raw[0].open();
    world.raw[0].send(&message);
    world.until("the whole message is there", |world| world.ours.received.contains(&message)).await;
    // A newer stream replaces one in the middle of a frame, too.
    world.raw[0].outgoing.extend(&frame[..frame.len() / 2]);
    world.until("half of it is sent", |world| world.raw[0].has_written()).await;
    world.raw[0].open();
    world.until("there is another stream", |world| world.raw[0].replaced == 1).await;
    let small = contents(3, 100);
    world.raw[0].send(&small);
    world.until("it is there", |world| world.ours.received.contains(&small)).await;
    assert_eq!(world.ours.breaches(world.raw[0].peer), 0.0);
    world.talk(2, 1000).await;
    world.assert_no_breach();
}

#[tokio::test]
async fn what_is_too_long_or_no_frame_costs_the_stream_and_counts() {
    for (index, garbage) in [
        // A byte longer than the limit, and a length that does not end.
        vec![0x81, 0x80, 0x80, 0x05],
        vec![0xff; 8],
        // No protobuf.
        vec![3, 0x0b, 0x0b, 0x0b],
    ]
    .into_iter()
    .enumerate()
    {
        assert!(index > 0 || MAX_FRAME == 5 << 21);
        let mut world = world().await;
        let peer = world.raw[0].peer;
        world.raw[0].outgoing = garbage;
        world
            .until("its stream is reset", |world| {
                world.raw[0].resets == 1 && world.ours.breaches(peer) > 0.0
            })
            .await;
        assert_eq!(world.ours.malformed, usize::from(index < 2));
        // It can do better.
        world.raw[0].open();
        world.raw[0].send(&contents(7, 100));
        world.until("it is heard", |world| world.ours.received.len() == 1).await;
        assert!(world.ours.breaches(peer) < 2.0);
        world.talk(1, 1000).await;
    }
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_but_not_for_ever() {
    let mut world = world().await;
    let frame = Frame::message(crate::TOPIC, crate::compressed(&contents(1, 300)).into()).to_vec();
    for byte in &frame {
        world.raw[0].outgoing.push(*byte);
        world.until("it is sent", |world| world.raw[0].has_written()).await;
    }
    world.until("the message is there", |world| world.ours.received.len() == 1).await;
    // Others are not delayed by one that does not end.
    for byte in &frame[..frame.len() / 2] {
        world.raw[0].outgoing.push(*byte);
        world.until("it is sent", |world| world.raw[0].has_written()).await;
    }
    world.talk(2, 1 << 20).await;
    assert_eq!(world.ours.malformed, 0);
    let skew = world.ours.skew;
    world
        .until("it is given up", |world| {
            world.ours.skew += Duration::from_millis(200);
            world.ours.malformed == 1
        })
        .await;
    assert!(world.ours.skew - skew > STALLED_AFTER - Duration::from_secs(5), "not before");
    world.until("its stream is reset", |world| world.raw[0].resets == 1).await;
    world.talk(3, 1000).await;
}

#[tokio::test]
async fn a_peer_that_opens_streams_all_the_time_is_refused_and_others_are_served() {
    let mut world = world().await;
    let peer = world.raw[0].peer;
    for _ in 0..8 {
        let replaced = world.raw[0].replaced + world.raw[0].resets;
        world.raw[0].open();
        world
            .until("it has another stream", |world| {
                world.raw[0].replaced + world.raw[0].resets > replaced
            })
            .await;
        if world.ours.breaches(peer) > 0.0 {
            break;
        }
    }
    world.until("it is refused", |world| world.ours.breaches(peer) > 0.0).await;
    world.talk(1, 1000).await;
    assert!(world.ours.bans.is_empty());
}

#[tokio::test]
async fn a_busy_owner_is_not_flooded() {
    let mut world = world().await;
    world.is_busy = true;
    let messages: Vec<_> = (0..20).map(|seed| contents(seed, 200_000)).collect();
    messages.iter().for_each(|message| world.raw[0].send(message));
    let all = world.raw[0].outgoing.len();
    let sent = |world: &World| all - world.raw[0].outgoing.len();
    world.until("enough waits", |world| sent(world) >= MAX_WAITING_BYTES).await;
    let mut rounds = 0;
    world
        .until("some time has passed", |_| {
            rounds += 1;
            rounds > 100
        })
        .await;
    // What waits, a frame that has begun, and what the multiplexers hold.
    assert!(sent(&world) < 2 << 20, "{}", sent(&world));
    world.is_busy = false;
    world.until("all are there", |world| world.ours.received == messages).await;
    world.talk(100, 1000).await;
    world.assert_no_breach();
}
