//! With libp2p's own gossipsub.

use crate::foreign::Foreign;
use crate::raw::Raw;
use crate::{World, contents, core_id};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use opp2p_core::mesh::Version;

#[tokio::test]
async fn the_mesh_forms_and_messages_go_both_ways() {
    let mut world = World::new();
    world.add_foreign();
    world.add_foreign();
    world.meshed().await;
    for (seed, length) in [(1, 100), (2, 3000), (3, 1 << 20), (4, 100)] {
        world.talk(seed, length).await;
    }
    assert_eq!(world.ours.opened, [Version::V1_2; 2]);
    assert!(world.ours.largest_step < 128 << 10, "a large frame is written in steps");
    // Messages that the foreign peers relay to each other come once.
    let mut received = world.ours.received.clone();
    received.sort();
    received.dedup();
    assert_eq!(received.len(), world.ours.received.len());
    world.assert_no_breach();
}

#[tokio::test]
async fn many_messages_arrive_on_both_sides() {
    let mut world = World::new();
    world.add_foreign();
    world.meshed().await;
    for seed in 0..30 {
        let length = if seed % 10 == 0 { 200_000 } else { 500 };
        world.ours.publish(&contents(seed, length));
        world.foreign[0].publish(&contents(1000 + seed, length));
    }
    world
        .until("all are there", |world| {
            world.ours.received.len() == 30 && world.foreign[0].received.len() == 30
        })
        .await;
    world.assert_no_breach();
}

#[tokio::test]
async fn without_a_mesh_messages_are_advertised_and_requested() {
    // We graft no peer, and refuse those that graft us: all we get and give is lazy.
    let mut world = World::with(|config| {
        (config.mesh.d, config.mesh.low, config.mesh.high) = (0, 0, 0);
    });
    let relay = Foreign::new();
    let mut source = Foreign::new();
    source.swarm.dial(relay.address.clone()).unwrap();
    let address = crate::transport::listen(&mut world.ours.swarm);
    world.foreign.extend([source, relay]);
    world.foreign[1].swarm.dial(address.clone()).unwrap();
    world
        .until("the foreign peers are in their mesh, and we are not", |world| {
            let relay = world.foreign[1].peer;
            world.foreign[0].has_in_mesh(relay)
                && world.ours.router.sizes().backoffs == 1
                && !world.foreign[1].has_in_mesh(world.ours.peer)
        })
        .await;
    let large = contents(1, 1 << 20);
    world.foreign[0].publish(&large);
    world.until("it has come by IHAVE", |world| world.ours.received.contains(&large)).await;
    // The other way: what we have from another peer.
    // It dials us: we would graft a peer that we dialled.
    let mut raw = Raw::new(&Version::SPOKEN);
    raw.swarm.dial(address).unwrap();
    raw.subscribe();
    let large = contents(2, 1 << 20);
    raw.send(&large);
    world.raw.push(raw);
    world
        .until("it has gone by IHAVE", |world| {
            world.foreign.iter().all(|foreign| foreign.received.contains(&large))
        })
        .await;
    assert!(world.ours.mesh().is_empty());
    assert_eq!(world.foreign[1].score(world.ours.peer), 0.0);
    assert_eq!(world.ours.breaches(world.foreign[1].peer), 0.0);
}

#[tokio::test]
async fn a_peer_that_left_is_grafted_again_only_after_its_backoff() {
    let mut world = World::new();
    world.add_foreign();
    world.meshed().await;
    // libp2p's queue lets an unsubscription overtake a GRAFT; a message shows that it is empty.
    world.talk(1, 2000).await;
    world.foreign[0].unsubscribe();
    world.until("it is out", |world| world.ours.mesh().is_empty()).await;
    world.foreign[0].subscribe();
    world.meshed().await;
    world.talk(2, 2000).await;
    world.assert_no_breach();
}

#[tokio::test]
async fn a_peer_that_restarts_is_in_the_mesh_again() {
    let mut world = World::new();
    world.add_foreign();
    world.meshed().await;
    world.talk(1, 2000).await;
    let old = world.foreign.pop().expect("it is there");
    let key = old.key.clone();
    drop(old);
    world.until("it is gone", |world| world.ours.mesh().is_empty()).await;
    let new = Foreign::with(key);
    world.ours.dial(&new.address);
    world.foreign.push(new);
    world.meshed().await;
    world.talk(2, 2000).await;
    world.assert_no_breach();
}

#[tokio::test]
async fn the_stream_moves_when_its_connection_closes() {
    let mut world = World::new();
    world.add_foreign();
    world.meshed().await;
    let first = connections(&world)[0];
    let (peer, address) = (world.foreign[0].peer, world.foreign[0].address.clone());
    let again = DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always);
    world.ours.swarm.dial(again.build()).expect("it begins");
    world.until("there are two connections", |world| connections(world).len() == 2).await;
    // libp2p's gossipsub writes on both of them.
    for seed in 0..30 {
        world.talk(seed, 2000).await;
    }
    assert!(world.ours.swarm.close_connection(first));
    world
        .until("the stream is open on the other", |world| {
            let there = world.foreign[0].swarm.network_info();
            there.connection_counters().num_established() == 1
                && connections(world).len() == 1
                && world.ours.opened.len() == 2
        })
        .await;
    assert!(world.ours.router.subscribed(crate::ours::topic()) == 1);
    world.meshed().await;
    world.talk(100, 2000).await;
    assert!(world.ours.mesh().contains(&core_id(peer)));
    world.assert_no_breach();
}

/// Our connections, oldest first.
fn connections(world: &World) -> Vec<ConnectionId> {
    world.ours.connections.clone()
}
