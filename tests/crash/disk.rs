//! A disk that is full, or gone: what the node says of it, what it goes on to do, and that nobody has to help it.
//!
//! A limit on the size of files stands for the full disk: the system refuses in the same calls and with the same kind of
//! error, and it can be lifted from outside. A data directory that is moved away stands for a disk that fails: after the
//! first error the store is opened again by its name, and that fails too.

use crate::support::{Place, Sequencer, Victim, get, open, until_head, until_true};
use opp2p::host::Host;
use std::process::Command;

/// Blocks that are published while the disk fails.
const BLOCKS: u64 = 12;

struct World {
    sequencer: Sequencer,
    victim: Victim,
    /// Its only peer is the victim: what it has, the victim relayed.
    observer: Host,
}

/// A node that can't make files larger than so many bytes, between a sequencer and an observer.
async fn world(bytes: u64) -> World {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    place.limits = format!("trap '' XFSZ && prlimit --pid $$ --fsize={bytes}:unlimited");
    let victim = place.start();
    let (address, _) = victim.started();
    let observer = sequencer.observer("observer", &[address]).await;
    sequencer.reach(&observer).await;
    World { sequencer, victim, observer }
}

fn lift(victim: &Victim) {
    let pid = victim.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status();
    assert!(lifted.expect("prlimit is of util-linux").success());
}

impl World {
    /// Publishes until the disk refuses.
    async fn fill(&mut self) {
        let mut number = 0;
        while self.victim.metric("opp2p_store_failing").await != Some(1.0) {
            number = self.sequencer.publish(900_000).await.number;
            until_head(&self.observer, number).await;
            assert!(number < 60, "the limit is never met");
        }
        println!("the disk refused around block {number}");
    }

    /// Everybody who asks is told, and blocks go on to whoever is behind the node.
    async fn is_said_and_relaying_goes_on(&mut self, error: &str) {
        let address = self.victim.rpc();
        let (status, health) = get(address, "/healthz").await;
        assert_eq!(status, 200, "a start anew mends no disk: {health}");
        assert!(health.contains("blocks are not stored") && health.contains(error), "{health}");
        let (status, ready) = get(address, "/readyz").await;
        assert!(status == 503 && ready.contains("blocks are not stored"), "{status} {ready}");
        let status = self.victim.call("opp2p_nodeStatus").await;
        assert!(status["problems"][0].as_str().is_some_and(|problem| problem.contains(error)), "{status}");
        assert!(self.victim.metric("opp2p_store_failures_total").await >= Some(1.0));
        self.victim.wait_for(&["ERROR", "not stored", error]);
        for _ in 0..BLOCKS {
            let number = self.sequencer.publish(30_000).await.number;
            until_head(&self.observer, number).await;
        }
        let head = self.sequencer.head();
        let stored = self.victim.call("opp2p_nodeStatus").await["stored"]["number"].as_u64();
        assert!(stored < Some(head - BLOCKS + 1), "{stored:?} of {head}");
        let lines = self.victim.lines();
        let about_it = lines.iter().filter(|line| line.contains("not stored")).count();
        assert!(about_it <= 25, "{about_it} lines about it in the log");
    }

    /// The node stores all that it has had meanwhile, by itself, and is well; in the end its store has every block. The
    /// answer is when each was given to the store.
    async fn recovers(self) -> Vec<u64> {
        let Self { mut sequencer, victim, observer } = self;
        let head = sequencer.head();
        until_true("all is stored", async || {
            victim.call("opp2p_nodeStatus").await["stored"]["number"].as_u64() == Some(head)
        })
        .await;
        victim.wait_for(&["the disk takes blocks again"]);
        assert_eq!(victim.metric("opp2p_store_failing").await, Some(0.0));
        let (_, health) = get(victim.rpc(), "/healthz").await;
        assert!(health.contains("\"problems\":[]"), "{health}");
        let number = sequencer.publish(0).await.number;
        until_head(&observer, number).await;
        let (status, ready) = get(victim.rpc(), "/readyz").await;
        assert_eq!(status, 200, "{ready}");

        let file = victim.file();
        victim.end();
        let store = open(&file, &sequencer.chain);
        let held = sequencer.hashes.iter().zip(1..).map(|(hash, number)| {
            let found = store.canonical_by_number(number).unwrap();
            let found = found.unwrap_or_else(|| panic!("block {number} is lost"));
            assert_eq!(found.hash, *hash, "block {number}");
            found.received_unix_ms
        });
        held.collect()
    }
}

pub(crate) async fn a_full_disk_is_said_and_relaying_goes_on_and_nothing_is_lost_when_there_is_room() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    world.is_said_and_relaying_goes_on("the disk is full").await;
    lift(&world.victim);
    world.recovers().await;
}

pub(crate) async fn what_the_queue_had_no_room_for_is_stored_from_memory() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    // The queue holds 64 MiB; these are more, and what is too much is less than a node remembers.
    for _ in 0..78 {
        let number = world.sequencer.publish(900_000).await.number;
        until_head(&world.observer, number).await;
    }
    lift(&world.victim);
    let victim = &world.victim;
    until_true("the disk takes blocks", async || victim.metric("opp2p_store_failing").await == Some(0.0))
        .await;
    // The next block brings with it what is missing below.
    world.sequencer.publish(0).await;
    let received = world.recovers().await;
    // What came with a later block was given to the store in the same moment.
    let together = received.windows(2).filter(|pair| pair[0] == pair[1]).count();
    println!("{together} blocks were stored from memory");
    assert!(together >= 3, "the queue had room for all: {received:?}");
}

pub(crate) async fn a_disk_that_is_gone_and_comes_back_is_used_again() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    let (here, away) = (world.victim.data.clone(), world.victim.data.with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    // There is room, but no file.
    lift(&world.victim);
    world.victim.wait_for(&["ERROR", "not stored", "opening"]);
    world.is_said_and_relaying_goes_on("blocks.redb").await;
    std::fs::rename(&away, &here).unwrap();
    world.recovers().await;
}
