//! The gossip router on real streams, with peers of libp2p's own gossipsub and with peers that
//! break rules.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod foreign;
mod ours;
mod raw;
mod transport;

mod rules;
mod rust;
mod troubles;

use foreign::Foreign;
use futures::future::poll_fn;
use opp2p_core::gossip::Unpacked;
use opp2p_core::mesh::{Id, MeshConfig};
use opp2p_core::payload::snappy;
use opp2p_core::peers;
use ours::Ours;
use raw::Raw;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time within which everything here must happen.
const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "blocks";

fn core_id(peer: libp2p::PeerId) -> peers::PeerId {
    opp2p_wire::from_libp2p(&peer).unwrap()
}

/// Contents that don't compress, different for each seed.
fn contents(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Returns a message's data.
fn compressed(contents: &[u8]) -> Vec<u8> {
    snappy::compress(contents)
}

/// Returns the name of a message with this data.
fn name(data: &[u8]) -> Id {
    Unpacked::new(data).message_id(TOPIC).into()
}

/// Our side and its peers.
struct World {
    ours: Ours,
    /// Whether our owner takes nothing.
    is_busy: bool,
    foreign: Vec<Foreign>,
    raw: Vec<Raw>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut MeshConfig)) -> Self {
        Self { ours: Ours::new(change), is_busy: false, foreign: Vec::new(), raw: Vec::new() }
    }

    /// Adds a peer of libp2p's gossipsub, which we dial. Returns its place.
    fn add_foreign(&mut self) -> usize {
        let foreign = Foreign::new();
        self.ours.dial(&foreign.address);
        self.foreign.push(foreign);
        self.foreign.len() - 1
    }

    /// Adds a peer that speaks the newest version and is subscribed. Returns its place.
    fn add_raw(&mut self) -> usize {
        self.add(Raw::new(&opp2p_core::mesh::Version::SPOKEN))
    }

    fn add(&mut self, mut raw: Raw) -> usize {
        self.ours.dial(&raw.address);
        raw.subscribe();
        self.raw.push(raw);
        self.raw.len() - 1
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.is_busy {
            self.ours.poll(cx);
        }
        self.foreign.iter_mut().for_each(|foreign| foreign.poll(cx));
        self.raw.iter_mut().for_each(|raw| raw.poll(cx));
    }

    /// Lets everything happen until `is_done`.
    async fn until(&mut self, what: &str, mut is_done: impl FnMut(&mut Self) -> bool) {
        let mut ticks = interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = poll_fn(|cx| {
            loop {
                self.poll(cx);
                if is_done(self) {
                    return Poll::Ready(());
                }
                if ticks.poll_tick(cx).is_pending() {
                    return Poll::Pending;
                }
                self.ours.tick();
            }
        });
        assert!(timeout(PATIENCE, done).await.is_ok(), "it takes too long until {what}");
    }

    /// Waits until all foreign peers are in our mesh, and we in theirs.
    async fn meshed(&mut self) {
        self.until("the mesh is there", |world| {
            let (mesh, peer) = (world.ours.mesh(), world.ours.peer);
            world
                .foreign
                .iter()
                .all(|foreign| mesh.contains(&core_id(foreign.peer)) && foreign.has_in_mesh(peer))
        })
        .await;
    }

    /// Sends one message each way, and waits for both.
    async fn talk(&mut self, seed: u64, length: usize) {
        let (there, back) = (contents(2 * seed, length), contents(2 * seed + 1, length));
        self.ours.publish(&there);
        self.foreign[0].publish(&back);
        self.until("both messages have arrived", |world| {
            world.ours.received.contains(&back)
                && world.foreign.iter().all(|foreign| foreign.received.contains(&there))
        })
        .await;
    }

    /// Neither side has broken a rule.
    fn assert_no_breach(&self) {
        for foreign in &self.foreign {
            assert_eq!(foreign.score(self.ours.peer), 0.0, "of ours, with the foreign peer");
            assert_eq!(self.ours.breaches(foreign.peer), 0.0, "of the foreign peer, with us");
        }
        assert!(self.ours.bans.is_empty() && self.ours.malformed == 0);
    }
}
