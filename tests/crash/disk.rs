//! A full or missing disk: the node reports it, keeps working, and recovers without help.
//!
//! A limit on the size of files stands in for the full disk: the same system calls fail with the
//! same kind of error, and the limit can be lifted from outside. A data directory that is moved
//! away stands in for a failing disk: after the first error the store is reopened by its name, and
//! that fails too.

use crate::support::{Place, Sequencer, Victim, get, open, until_head, until_true};
use opp2p_node::host::Host;
use std::process::Command;

/// Number of blocks published while the disk fails.
const BLOCKS: u64 = 12;

struct World {
    sequencer: Sequencer,
    victim: Victim,
    /// A node whose only peer is the victim: its blocks are those that the victim relayed.
    observer: Host,
}

/// Starts a node whose files can't exceed this many bytes, between a sequencer and an observer.
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
    let lifted =
        Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status();
    assert!(lifted.expect("prlimit is of util-linux").success());
}

impl World {
    /// Publishes until the disk refuses a block.
    async fn fill(&mut self) {
        let mut number = 0;
        while self.victim.metric("opp2p_store_failing").await != Some(1.0) {
            number = self.sequencer.publish(900_000).await.number;
            until_head(&self.observer, number).await;
            assert!(number < 60, "the limit is never met");
        }
        println!("the disk refused around block {number}");
    }

    /// Checks that the node reports the error everywhere, and that it still relays blocks.
    async fn is_reported_while_relaying_continues(&mut self, error: &str) {
        let address = self.victim.rpc();
        let (status, health) = get(address, "/healthz").await;
        assert_eq!(status, 200, "a restart mends no disk: {health}");
        assert!(health.contains("Blocks are not stored") && health.contains(error), "{health}");
        let (status, ready) = get(address, "/readyz").await;
        assert!(status == 503 && ready.contains("not stored"), "{status} {ready}");
        let status = self.victim.call("opp2p_nodeStatus").await;
        assert!(status["problems"].to_string().contains(error), "{status}");
        // Requests within a tenth of a second get the same text.
        until_true("the failure is counted", async || {
            self.victim.metric("opp2p_store_failures_total").await >= Some(1.0)
        })
        .await;
        // Logged once, at the start, with the error of that time.
        self.victim.wait_for(&["WARN", "Blocks are not stored"]);
        for _ in 0..BLOCKS {
            let number = self.sequencer.publish(30_000).await.number;
            until_head(&self.observer, number).await;
        }
        let head = self.sequencer.head();
        let stored = self.victim.call("opp2p_nodeStatus").await["stored"]["number"].as_u64();
        assert!(stored < Some(head - BLOCKS + 1), "{stored:?} of {head}");
        let lines = self.victim.lines();
        let is_about_it = |line: &&String| line.contains("WARN") && line.contains("not stored");
        let about_it = lines.iter().filter(is_about_it).count();
        assert_eq!(about_it, 1, "{lines:#?}");
    }

    /// Waits until the node has stored all blocks since the failure by itself, and is healthy, and
    /// checks that in the end its store has every block. Returns the time at which each block was
    /// passed to the store.
    async fn recovers(self) -> Vec<u64> {
        let Self { mut sequencer, victim, observer } = self;
        let head = sequencer.head();
        until_true("all is stored", async || {
            victim.call("opp2p_nodeStatus").await["stored"]["number"].as_u64() == Some(head)
        })
        .await;
        victim.wait_for(&["INFO", "over: Blocks are not stored"]);
        until_true("the store works", async || {
            victim.metric("opp2p_store_failing").await == Some(0.0)
        })
        .await;
        until_true("it is healthy", async || {
            get(victim.rpc(), "/healthz").await.1.contains("\"problems\":[]")
        })
        .await;
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

pub(crate) async fn a_full_disk_is_reported_relaying_continues_and_nothing_is_lost() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    world.is_reported_while_relaying_continues("the disk is full").await;
    lift(&world.victim);
    world.recovers().await;
}

pub(crate) async fn blocks_beyond_the_queue_are_stored_from_memory() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    // The queue holds 64 MiB. These blocks exceed it, by less than a node keeps in memory.
    for _ in 0..78 {
        let number = world.sequencer.publish(900_000).await.number;
        until_head(&world.observer, number).await;
    }
    let lifted = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let waiting = world.sequencer.hashes.len();
    lift(&world.victim);
    let victim = &world.victim;
    until_true("the disk takes blocks", async || {
        victim.metric("opp2p_store_failing").await == Some(0.0)
    })
    .await;
    world.sequencer.publish(0).await;
    let received = world.recovers().await;
    // The core passed these blocks to the store again, after they had been refused.
    let again = received.iter().take(waiting).filter(|at| u128::from(**at) >= lifted).count();
    println!("{again} blocks were stored from memory");
    assert!(again >= 3, "the queue had room for all: {received:?}");
}

pub(crate) async fn a_disk_that_returns_is_used_again() {
    let mut world = world(6_000_000).await;
    world.fill().await;
    let (here, away) = (world.victim.data.clone(), world.victim.data.with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    // There is room now, but the file is missing.
    lift(&world.victim);
    // The trouble continues, with another cause.
    let address = world.victim.rpc();
    until_true("the file is missed", async || {
        get(address, "/healthz").await.1.contains("was removed")
    })
    .await;
    world.is_reported_while_relaying_continues("blocks.redb").await;
    std::fs::rename(&away, &here).unwrap();
    world.recovers().await;
}
