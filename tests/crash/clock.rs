//! The wall clock of a node jumps by an hour, in either direction, and back.

use crate::support::{Sequencer, config, until, until_head, until_true};
use opp2p_core::gossip::Reason;
use opp2p_node::host::{Host, WallClock};

/// Number of blocks published at each position of the clock.
const BLOCKS: u64 = 6;

pub(crate) async fn a_clock_jump_costs_no_peer_and_the_node_catches_up_after_it() {
    let mut sequencer = Sequencer::start().await;
    let clock = WallClock::default();
    let mut middle = config(sequencer.directory.path(), "middle", &sequencer.chain);
    middle.clock = clock.clone();
    middle.static_peers = Vec::new();
    let middle = Host::start(middle).await.unwrap();
    // Not a static peer, since those are never banned.
    middle.connect(sequencer.host.address()).await.unwrap().unwrap();
    let observer = sequencer.observer("observer", &[middle.address().to_string()]).await;
    sequencer.reach(&observer).await;

    for ahead in [3600, -3600] {
        let doubted = |host: &Host| {
            host.status().borrow().refused.get(&Reason::ClockInDoubt).copied().unwrap_or(0)
        };
        let before = doubted(&middle);
        clock.put_ahead(ahead);
        for _ in 0..BLOCKS {
            sequencer.publish(0).await;
        }
        until(&middle, |status| {
            status.refused.get(&Reason::ClockInDoubt) >= Some(&(before + BLOCKS))
        })
        .await;
        let refused = middle.status().borrow().refused.clone();
        assert!(
            !refused.contains_key(&Reason::TooOld) && !refused.contains_key(&Reason::TooNew),
            "{refused:?}"
        );
        assert_eq!(
            middle.status().borrow().peers,
            2,
            "no peer is disconnected while the clock is {ahead} s off"
        );

        clock.put_ahead(0);
        // The blocks that were ignored meanwhile are fetched by number, below the first block with
        // a correct time.
        sequencer.publish(0).await;
        until_head(&middle, sequencer.head()).await;
        until_head(&observer, sequencer.head()).await;
        let bans = middle
            .peers(|peers, _| peers.gate().peer_bans().count() + peers.gate().ip_bans().count());
        assert_eq!((bans, middle.status().borrow().peers), (0, 2));
        until_true("all of it is on the disk", async || {
            middle.stored_head().unwrap().is_some_and(|head| head.number == sequencer.head())
        })
        .await;
    }
    for host in [middle, observer, sequencer.host] {
        host.stop().await;
    }
}
