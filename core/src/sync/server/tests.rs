//! Tests of the server's rules, each with the defect of the reference that it avoids.

use super::*;
use crate::chain::{ChainConfig, Fork};
use crate::time::Now;
use alloy_primitives::{Address, B256};
use proptest::prelude::*;
use std::collections::BTreeSet;

const GENESIS_TIME: u64 = 1_700_000_000;

/// Genesis is block 100, followed by a block every two seconds.
fn chain() -> ChainConfig {
    let signer = Address::repeat_byte(1);
    let mut chain =
        ChainConfig::development(901, B256::repeat_byte(9), GENESIS_TIME, 2, Fork::Canyon, signer);
    chain.genesis.number = 100;
    chain
}

/// Numbers of the blocks that exist by the clock.
fn exists(now: Now, chain: &ChainConfig) -> RangeInclusive<u64> {
    let highest = chain.highest_number_at(now.unix).unwrap_or(0);
    chain.genesis.number..=highest
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

/// A server, and its decisions.
struct World {
    server: PayloadServer,
    chain: ChainConfig,
    now: Duration,
    next: u64,
    served: Vec<(Duration, u64)>,
    refused: Vec<(Duration, u64, ResultCode)>,
}

impl World {
    fn new(config: ServerConfig) -> Self {
        let now = Duration::from_secs(1_000_000);
        let server = PayloadServer::new(config);
        Self { server, chain: chain(), now, next: 0, served: Vec::new(), refused: Vec::new() }
    }

    fn clock(&self) -> Now {
        Now::new(self.now, Duration::from_secs(GENESIS_TIME) + self.now)
    }

    /// Requests block 200, which exists.
    fn ask(&mut self, from: u8) -> u64 {
        self.ask_for(from, 200)
    }

    fn ask_for(&mut self, from: u8, number: u64) -> u64 {
        let id = self.next;
        self.next += 1;
        self.server.request(self.clock().monotonic, peer(from), ServeId(id), number);
        self.drain();
        id
    }

    /// Processes all steps; answers are sent at once.
    fn drain(&mut self) {
        while let Some(step) =
            self.server.poll(self.clock().monotonic, &exists(self.clock(), &self.chain))
        {
            match step {
                ServeStep::Serve { id, .. } => {
                    self.served.push((self.now, id.0));
                    self.server.finished(self.clock().monotonic, id);
                }
                ServeStep::Refuse { id, code, .. } => self.refused.push((self.now, id.0, code)),
            }
        }
    }

    /// Lets time pass, from one wakeup to the next.
    fn wait(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(due) = self.server.next_wakeup().filter(|due| due.since_start() <= end) {
            self.now = self.now.max(due.since_start());
            self.drain();
        }
        self.now = end;
        self.drain();
    }

    fn served_ids(&self) -> Vec<u64> {
        self.served.iter().map(|(_, id)| *id).collect()
    }
}

#[test]
fn one_peer_gets_its_burst_and_then_its_rate() {
    let mut world = World::new(ServerConfig::default());
    for _ in 0..31 {
        world.ask(1);
    }
    assert_eq!(world.served.len(), 15);
    world.wait(3_999);
    assert_eq!(world.served.len(), 15 + 15);
    world.wait(1);
    assert_eq!(world.served.len(), 31);
    assert!(world.refused.is_empty());
}

#[test]
fn all_peers_together_get_the_total_burst_and_rate() {
    let mut world = World::new(ServerConfig::default());
    for from in 0..10 {
        for _ in 0..15 {
            world.ask(from);
        }
    }
    assert_eq!(world.served.len(), 40);
    world.wait(1_000);
    assert_eq!(world.served.len(), 60);
    world.wait(4_500);
    assert_eq!(world.served.len(), 150);
}

/// The reference holds a lock while one peer waits (D1), and dies with it when the wait fails (D2).
#[test]
fn a_waiting_peer_delays_no_other_peer_even_if_its_wait_fails() {
    let mut world =
        World::new(ServerConfig { waiting_per_peer: 1000, waiting: 1000, ..Default::default() });
    for _ in 0..200 {
        world.ask(1);
    }
    // Requests that could not be served within 20 s are refused at once.
    assert_eq!(world.served.len(), 15);
    assert_eq!(world.refused.len(), 200 - 15 - 80);
    let other = world.ask(2);
    assert_eq!(world.served.last(), Some(&(world.now, other)));
    world.wait(20_000);
    assert_eq!(world.served.len(), 15 + 80 + 1);
    let again = world.ask(1);
    world.wait(250);
    assert!(world.served_ids().contains(&again), "the server lives");
}

/// D3 was a wrong text; here the code is the same for each limit, as on the wire. D4: streams had
/// no limit.
#[test]
fn a_peer_may_have_16_requests_waiting_and_the_next_is_refused() {
    let mut world = World::new(ServerConfig::default());
    let ids: Vec<u64> = (0..40).map(|_| world.ask(1)).collect();
    assert_eq!(world.server.waiting(), 16);
    let refused: Vec<u64> = world.refused.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(refused, ids[31..]);
    assert!(world.refused.iter().all(|(_, _, code)| *code == ResultCode::UnknownError));
    assert!(world.server.waiting() <= 256);
}

/// D5: total tokens were spent on a peer that was over its own limit.
#[test]
fn one_peer_cannot_drain_the_total_budget() {
    let mut world = World::new(ServerConfig::default());
    for _ in 0..31 {
        world.ask(1);
    }
    // 15 of the 40 are gone, not 31.
    for from in 2..27 {
        let id = world.ask(from);
        assert_eq!(world.served.last().map(|(_, id)| *id), Some(id), "peer {from}");
    }
    assert_eq!(world.served.len(), 40);
}

#[test]
fn peers_waiting_for_the_total_take_turns() {
    let mut world = World::new(ServerConfig {
        per_peer: Rate::UNLIMITED,
        total: Rate::per_second(1, 1),
        ..Default::default()
    });
    let greedy: Vec<u64> = (0..10).map(|_| world.ask(1)).collect();
    let modest = world.ask(2);
    world.wait(2_000);
    let served = world.served_ids();
    assert_eq!(served[..2], greedy[..2]);
    assert_eq!(
        served[2], modest,
        "the second peer's only request is not behind all of the first one's"
    );
}

#[test]
fn an_impossible_number_is_invalid_and_the_bounds_are_inclusive() {
    let mut world = World::new(ServerConfig::unlimited());
    let highest = 100 + world.now.as_secs() / 2;
    for (number, exists) in
        [(99, false), (100, true), (highest, true), (highest + 1, false), (u64::MAX, false)]
    {
        let (served, refused) = (world.served.len(), world.refused.len());
        world.ask_for(1, number);
        assert_eq!(world.served.len() - served, usize::from(exists), "{number}");
        let codes: Vec<ResultCode> =
            world.refused[refused..].iter().map(|(_, _, code)| *code).collect();
        assert_eq!(
            codes,
            if exists { vec![] } else { vec![ResultCode::InvalidRequest] },
            "{number}"
        );
    }
    // There is no block before the genesis.
    let early = Now::new(world.now, Duration::from_secs(GENESIS_TIME - 1));
    world.server.request(early.monotonic, peer(1), ServeId(1000), 100);
    let step = world.server.poll(early.monotonic, &exists(early, &world.chain));
    assert!(
        matches!(step, Some(ServeStep::Refuse { code: ResultCode::InvalidRequest, .. })),
        "{step:?}"
    );
}

#[test]
fn invalid_requests_also_cost_tokens() {
    let mut world = World::new(ServerConfig::default());
    for _ in 0..15 {
        world.ask_for(1, 1);
    }
    world.ask(1);
    assert!(world.served.is_empty());
    world.wait(250);
    assert_eq!(world.served.len(), 1);
}

#[test]
fn a_request_that_waited_too_long_is_refused() {
    let mut world = World::new(ServerConfig {
        total: Rate { interval: Duration::from_secs(60), burst: 1 },
        ..Default::default()
    });
    world.ask(1);
    let second = world.ask(2);
    world.wait(19_999);
    assert!(world.refused.is_empty());
    world.wait(1);
    assert_eq!(world.refused, [(world.now, second, ResultCode::UnknownError)]);
    assert_eq!(world.server.waiting(), 0);
}

#[test]
fn concurrent_answers_are_bounded_in_total_and_per_peer() {
    let mut server = PayloadServer::new(ServerConfig {
        active: 3,
        active_per_peer: 2,
        ..ServerConfig::unlimited()
    });
    let (now, chain) =
        (Now::new(Duration::from_secs(1), Duration::from_secs(GENESIS_TIME + 1_000)), chain());
    for id in 0..4 {
        server.request(now.monotonic, peer(1), ServeId(id), 100);
        server.request(now.monotonic, peer(2), ServeId(10 + id), 100);
    }
    let steps: Vec<_> =
        std::iter::from_fn(|| server.poll(now.monotonic, &exists(now, &chain))).collect();
    assert_eq!((steps.len(), server.active(), server.waiting()), (3, 3, 5));
    server.finished(now.monotonic, ServeId(0));
    assert!(
        server.poll(now.monotonic, &exists(now, &chain)).is_some()
            && server.poll(now.monotonic, &exists(now, &chain)).is_none()
    );
}

#[test]
fn reconnecting_does_not_refill_a_bucket_and_full_buckets_are_forgotten() {
    let mut world = World::new(ServerConfig::default());
    for _ in 0..15 {
        world.ask(1);
    }
    assert_eq!(world.server.peers(), 1);
    world.wait(1_000);
    for _ in 0..5 {
        world.ask(1);
    }
    assert_eq!(world.served.len(), 19, "four tokens in a second, whatever the connection did");
    world.wait(10_000);
    world.ask(2);
    assert_eq!(
        world.server.peers(),
        1,
        "the first one's bucket is full, so there is nothing to remember"
    );
}

#[test]
fn a_full_table_refuses_new_peers_until_one_of_the_others_stops() {
    let mut world = World::new(ServerConfig { peers: 3, ..Default::default() });
    for from in 0..3 {
        world.ask(from);
    }
    let id = world.ask(9);
    assert_eq!(world.refused.last().map(|(_, id, _)| *id), Some(id));
    world.wait(250);
    let id = world.ask(9);
    assert_eq!(world.served.last().map(|(_, id)| *id), Some(id));
}

#[test]
fn a_peer_that_gives_up_waiting_makes_room() {
    let mut world = World::new(ServerConfig::default());
    let ids: Vec<u64> = (0..31).map(|_| world.ask(1)).collect();
    let now = world.clock().monotonic;
    for id in &ids[15..30] {
        world.server.finished(now, ServeId(*id));
    }
    assert_eq!(world.server.waiting(), 1);
    world.wait(250);
    assert_eq!(world.served.last().map(|(_, id)| *id), Some(ids[30]));
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8, bool),
    Finish(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u8..6, any::<bool>()).prop_map(|(from, exists)| Step::Ask(from, exists)),
        3 => (0_usize..100).prop_map(Step::Finish),
        2 => (0_u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn each_request_is_answered_once_within_all_bounds(
        steps in prop::collection::vec(step(), 1..300)
    ) {
        let config = ServerConfig {
            total: Rate::per_second(5, 8), per_peer: Rate::per_second(2, 4), waiting_per_peer: 3,
            waiting: 10,
            active_per_peer: 2, active: 5, peers: 4, longest_wait: Duration::from_secs(3),
        };
        let (mut server, chain) = (PayloadServer::new(config), chain());
        let mut now = Duration::from_secs(1_000);
        let mut open = std::collections::BTreeSet::new();
        let mut active = Vec::new();
        let mut taken: Vec<Duration> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Ask(from, exists) => {
                    let number = if exists { 150 } else { 5 };
                    server.request(Instant::from_start(now), peer(from), ServeId(next), number);
                    open.insert(next);
                    next += 1;
                }
                Step::Finish(at) if !active.is_empty() => {
                    let id = active.remove(at % active.len());
                    server.finished(Instant::from_start(now), id);
                }
                Step::Finish(_) => {}
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            let clock = Now::new(now, Duration::from_secs(GENESIS_TIME) + now);
            while let Some(step) = server.poll(clock.monotonic, &exists(clock, &chain)) {
                let (id, is_token) = match step {
                    ServeStep::Serve { id, .. } => {
                        active.push(id);
                        (id, true)
                    }
                    ServeStep::Refuse { id, code, .. } => (id, code == ResultCode::InvalidRequest),
                };
                prop_assert!(open.remove(&id.0), "{id:?} is answered twice");
                if is_token {
                    taken.push(now);
                }
            }
            prop_assert_eq!(server.waiting(), open.len());
            prop_assert_eq!(server.active(), active.len());
            prop_assert!(server.waiting() <= 10 && server.active() <= 5 && server.peers() <= 4);
            // In any time window, the number of tokens is at most the burst plus the accrual in the
            // window.
            for (at, since) in taken.iter().enumerate() {
                let allowed = 8 + (now - *since).as_millis() as usize / 200;
                prop_assert!(taken.len() - at <= allowed);
            }
        }
        // All requests that are still open are answered in the end.
        let clock = |now: Duration| Now::new(now, Duration::from_secs(GENESIS_TIME) + now);
        while let Some(due) = server.next_wakeup() {
            now = now.max(due.since_start());
            while let Some(step) = server.poll(clock(now).monotonic, &exists(clock(now), &chain)) {
                let (ServeStep::Serve { id, .. } | ServeStep::Refuse { id, .. }) = step;
                open.remove(&id.0);
                server.finished(Instant::from_start(now), id);
            }
        }
        for id in active {
            server.finished(Instant::from_start(now), id);
        }
        while let Some(due) = server.next_wakeup() {
            now = now.max(due.since_start());
            while let Some(step) = server.poll(clock(now).monotonic, &exists(clock(now), &chain)) {
                let (ServeStep::Serve { id, .. } | ServeStep::Refuse { id, .. }) = step;
                open.remove(&id.0);
                server.finished(Instant::from_start(now), id);
            }
        }
        prop_assert!(open.is_empty(), "{open:?} were never answered");
    }
}

#[test]
fn peers_that_keep_the_queue_full_do_not_starve_others() {
    let mut world = World::new(ServerConfig::default());
    let mut honest = Vec::new();
    for tick in 0..1200_u64 {
        for from in 1..=16 {
            let waiting = |world: &World| {
                world.server.peers.get(&peer(from)).map_or(0, |known| known.waiting.len())
            };
            for _ in waiting(&world)..16 {
                world.ask(from);
            }
        }
        if tick % 20 == 0 {
            honest.push(world.ask(200));
        }
        assert!(world.server.waiting() <= 256);
        world.wait(50);
    }
    world.wait(20_000);
    let refused: BTreeSet<u64> = world.refused.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(honest.iter().filter(|id| refused.contains(id)).count(), 0);
    let served: BTreeSet<u64> = world.served_ids().into_iter().collect();
    assert!(honest.iter().all(|id| served.contains(id)));
}

#[test]
fn a_full_queue_refuses_a_peer_above_its_share() {
    let config = ServerConfig { waiting: 4, active: 0, ..ServerConfig::default() };
    let mut world = World::new(config);
    let first: Vec<u64> = (0..4).map(|_| world.ask(1)).collect();
    let refused = |world: &World| world.refused.iter().map(|(_, id, _)| *id).collect::<Vec<_>>();
    let second = [world.ask(2), world.ask(2)];
    // The first peer gave up its last two.
    assert_eq!(refused(&world), [first[3], first[2]]);
    // Both have two now.
    let (third, fourth) = (world.ask(2), world.ask(1));
    assert_eq!(refused(&world)[2..], [third, fourth]);
    let third = world.ask(3);
    assert_eq!((refused(&world).len(), world.server.waiting()), (5, 4));
    assert!(!refused(&world).contains(&third) && !refused(&world).contains(&second[0]));
}

#[test]
fn peers_take_turns_within_their_bursts() {
    let mut world = World::new(ServerConfig::default());
    // The shared burst is spent.
    for from in 50..=53 {
        for _ in 0..10 {
            world.ask(from);
        }
    }
    let first: Vec<u64> = (0..15).map(|_| world.ask(1)).collect();
    let second: Vec<u64> = (0..3).map(|_| world.ask(2)).collect();
    world.wait(3_000);
    let order: Vec<u64> = world
        .served_ids()
        .into_iter()
        .filter(|id| first.contains(id) || second.contains(id))
        .collect();
    let expected = [first[0], second[0], first[1], second[1], first[2], second[2], first[3]];
    assert_eq!(order[..7], expected);
}
