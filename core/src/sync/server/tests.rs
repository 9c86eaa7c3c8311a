//! The server's rules, each with the reference's defect that it does not have.

use super::*;
use crate::chain::Fork;
use alloy_primitives::{Address, B256};
use proptest::prelude::*;

const GENESIS_TIME: u64 = 1_700_000_000;

/// Genesis is block 100; a block every two seconds.
fn chain() -> ChainConfig {
    let signer = Address::repeat_byte(1);
    let mut chain =
        ChainConfig::development(901, B256::repeat_byte(9), GENESIS_TIME, 2, Fork::Canyon, signer);
    chain.genesis.number = 100;
    chain
}

fn peer(byte: u8) -> PeerId {
    PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
}

/// A server, and what it said.
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

    /// A request for block 200, which is there.
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

    /// Answers are written at once.
    fn drain(&mut self) {
        while let Some(step) = self.server.poll(self.clock(), &self.chain) {
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
fn a_peer_that_waits_does_not_delay_another_and_a_wait_that_fails_harms_nobody() {
    let mut world = World::new(ServerConfig { waiting_per_peer: 1000, waiting: 1000, ..Default::default() });
    for _ in 0..200 {
        world.ask(1);
    }
    // What could not be served within 20 s is refused at once.
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

/// D3 was a wrong text; here the code is the same whatever the limit, as on the wire. D4: streams had no limit.
#[test]
fn a_peer_has_only_so_many_requests_waiting_and_the_next_is_refused_at_once() {
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
fn one_peer_can_not_drain_the_total() {
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
fn peers_that_wait_for_the_total_take_turns() {
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
    assert_eq!(served[2], modest, "the second peer's only request is not behind all of the first one's");
}

#[test]
fn a_number_that_can_not_exist_is_invalid_and_the_ends_are_inside() {
    let mut world = World::new(ServerConfig::unlimited());
    let highest = 100 + world.now.as_secs() / 2;
    for (number, exists) in
        [(99, false), (100, true), (highest, true), (highest + 1, false), (u64::MAX, false)]
    {
        let (served, refused) = (world.served.len(), world.refused.len());
        world.ask_for(1, number);
        assert_eq!(world.served.len() - served, usize::from(exists), "{number}");
        let codes: Vec<ResultCode> = world.refused[refused..].iter().map(|(_, _, code)| *code).collect();
        assert_eq!(codes, if exists { vec![] } else { vec![ResultCode::InvalidRequest] }, "{number}");
    }
    // Before the genesis there is nothing.
    let early = Now::new(world.now, Duration::from_secs(GENESIS_TIME - 1));
    world.server.request(early.monotonic, peer(1), ServeId(1000), 100);
    let step = world.server.poll(early, &world.chain);
    assert!(matches!(step, Some(ServeStep::Refuse { code: ResultCode::InvalidRequest, .. })), "{step:?}");
}

#[test]
fn invalid_requests_cost_tokens_as_well() {
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
fn only_so_many_answers_are_under_way() {
    let mut server =
        PayloadServer::new(ServerConfig { active: 3, active_per_peer: 2, ..ServerConfig::unlimited() });
    let (now, chain) = (Now::new(Duration::from_secs(1), Duration::from_secs(GENESIS_TIME + 1_000)), chain());
    for id in 0..4 {
        server.request(now.monotonic, peer(1), ServeId(id), 100);
        server.request(now.monotonic, peer(2), ServeId(10 + id), 100);
    }
    let steps: Vec<_> = std::iter::from_fn(|| server.poll(now, &chain)).collect();
    assert_eq!((steps.len(), server.active(), server.waiting()), (3, 3, 5));
    server.finished(now.monotonic, ServeId(0));
    assert!(server.poll(now, &chain).is_some() && server.poll(now, &chain).is_none());
}

#[test]
fn reconnecting_does_not_refill_a_bucket_and_a_full_one_is_forgotten() {
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
    assert_eq!(world.server.peers(), 1, "the first one's bucket is full, so there is nothing to remember");
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
fn whoever_gives_up_waiting_makes_room() {
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
    fn each_request_is_answered_once_within_all_bounds(steps in prop::collection::vec(step(), 1..300)) {
        let config = ServerConfig {
            total: Rate::per_second(5, 8), per_peer: Rate::per_second(2, 4), waiting_per_peer: 3, waiting: 10,
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
            while let Some(step) = server.poll(clock, &chain) {
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
            // No window of time has more than the burst and what the rate brings in it.
            for (at, since) in taken.iter().enumerate() {
                let allowed = 8 + (now - *since).as_millis() as usize / 200;
                prop_assert!(taken.len() - at <= allowed);
            }
        }
        // Whoever is still open is answered in the end.
        let clock = |now: Duration| Now::new(now, Duration::from_secs(GENESIS_TIME) + now);
        while let Some(due) = server.next_wakeup() {
            now = now.max(due.since_start());
            while let Some(step) = server.poll(clock(now), &chain) {
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
            while let Some(step) = server.poll(clock(now), &chain) {
                let (ServeStep::Serve { id, .. } | ServeStep::Refuse { id, .. }) = step;
                open.remove(&id.0);
                server.finished(Instant::from_start(now), id);
            }
        }
        prop_assert!(open.is_empty(), "{open:?} were never answered");
    }
}
