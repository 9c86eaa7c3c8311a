//! What we say to a peer, and when.

use crate::raw::{Raw, Said};
use crate::{World, compressed, contents, core_id, name};
use opp2p_core::mesh::Version;

#[tokio::test]
async fn a_peer_is_told_and_tells_what_is_not_wanted() {
    let mut world = World::new();
    let (source, other) = (world.add_raw(), world.add_raw());
    world.until("both are in the mesh", |world| world.ours.mesh().len() == 2).await;
    // It is told before it sends a copy.
    let first = contents(1, 5000);
    let id = name(&compressed(&first));
    world.raw[source].send(&first);
    world
        .until("the other one is told", |world| {
            world.raw[other].said.contains(&Said::IDontWant(vec![id]))
                && world.raw[other].got(&first)
        })
        .await;
    assert!(!world.raw[source].said.contains(&Said::IDontWant(vec![id])), "it has sent it");
    // What it does not want, it does not get.
    let second = contents(2, 5000);
    let id = name(&compressed(&second));
    world.raw[other].say(|writer| writer.idontwant([&id]));
    world.until("it is said", |world| world.raw[other].has_written()).await;
    // An answer shows that we have read what came before.
    let question = name(&compressed(&first));
    world.raw[other].said.clear();
    world.raw[other].say(|writer| writer.iwant([&question]));
    world.until("we have read it", |world| world.raw[other].got(&first)).await;
    world.raw[source].send(&second);
    let mark = contents(3, 100);
    world.raw[source].send(&mark);
    world.until("the next message is there", |world| world.raw[other].got(&mark)).await;
    assert!(!world.raw[other].got(&second));
    assert_eq!(world.ours.received.len(), 3);
}

#[tokio::test]
async fn each_version_is_spoken_as_its_peer_knows_it() {
    for versions in [
        &[Version::V1_3, Version::V1_2][..],
        &[Version::V1_1, Version::V1_0],
        &[Version::V1_0],
        &[Version::Floodsub],
    ] {
        let mut world = World::new();
        let best = *versions.iter().filter(|v| Version::SPOKEN.contains(v)).max().unwrap();
        let mut peer = Raw::new(versions);
        peer.opens(best);
        world.add(peer);
        let source = world.add_raw();
        world
            .until("both have our subscriptions, and we have theirs", |world| {
                world.raw.iter().all(|raw| raw.said.contains(&Said::Subscribe(true)))
                    && world.ours.router.subscribed(crate::ours::topic()) == 2
            })
            .await;
        assert!(world.ours.opened.contains(&best), "{best:?}");
        // Each has a message for the other.
        let (there, back) = (contents(1, 3000), contents(2, 100_000));
        world.raw[source].send(&there);
        world.raw[0].send(&back);
        world
            .until("both are there", |world| {
                world.raw[0].got(&there) && world.raw[source].got(&back)
            })
            .await;
        let said = &world.raw[0].said;
        let has = |suits: fn(&Said) -> bool| said.iter().any(suits);
        assert_eq!(has(|said| matches!(said, Said::Graft)), best.has_mesh(), "{best:?}");
        let is_told = has(|said| matches!(said, Said::IDontWant(_)));
        assert_eq!(is_told, best.has_idontwant(), "{best:?}");
    }
}

#[tokio::test]
async fn a_peer_without_gossip_refuses_our_stream_once() {
    let mut world = World::new();
    let stranger = Raw::new(&[]);
    world.ours.dial(&stranger.address);
    world.raw.push(stranger);
    world.until("it refuses", |world| world.ours.refused == 1).await;
    world.ours.skew += std::time::Duration::from_secs(60);
    let other = world.add_raw();
    world.until("others are served", |world| world.raw[other].said.len() > 1).await;
    assert_eq!(world.ours.refused, 1);
}

#[tokio::test]
async fn a_peer_that_grafts_within_its_backoff_is_refused() {
    let mut world = World::new();
    let peer = world.add_raw();
    let id = core_id(world.raw[peer].peer);
    world.until("it is in the mesh", |world| world.ours.mesh() == [id]).await;
    world.raw[peer].say(|writer| writer.prune(crate::TOPIC, Some(60)));
    world.until("it is out", |world| world.ours.mesh().is_empty()).await;
    world.raw[peer].said.clear();
    world.raw[peer].say(|writer| writer.graft(crate::TOPIC));
    world.until("it is told so", |world| world.raw[peer].said.contains(&Said::Prune(60))).await;
    assert!(!world.raw[peer].said.contains(&Said::Graft), "nor do we graft it");
    assert!(world.ours.breaches(world.raw[peer].peer) >= 1.0);
    // Outside the mesh it hears of a message, and asks for it.
    let source = world.add_raw();
    let message = contents(1, 3000);
    world.raw[source].send(&message);
    let id = name(&compressed(&message));
    world
        .until("it is advertised", |world| world.raw[peer].said.contains(&Said::IHave(vec![id])))
        .await;
    world.raw[peer].say(|writer| writer.iwant([&id]));
    world.until("it is served", |world| world.raw[peer].got(&message)).await;
}

#[tokio::test]
async fn what_a_peer_advertises_is_asked_for() {
    let mut world = World::new();
    let peer = world.add_raw();
    world.until("it is in the mesh", |world| world.ours.mesh().len() == 1).await;
    let message = contents(1, 1 << 20);
    let id = name(&compressed(&message));
    world.raw[peer].say(|writer| writer.ihave(crate::TOPIC, [&id]));
    world.until("we want it", |world| world.raw[peer].said.contains(&Said::IWant(vec![id]))).await;
    world.raw[peer].send(&message);
    world.until("we have it", |world| world.ours.received == [message.clone()]).await;
}
