//! Random courses: a sequencer that abandons blocks, gossip that loses messages, and two honest
//! servers. One server is late. In the end the follower has the sequencer's head and has banned
//! neither server. It may blame one: a server on a branch that the follower does not know yet looks
//! like a liar, because responses carry no signature.
//!
//! Every run uses the same courses, so the ones that take longer than an hour are known. In about
//! one course of a hundred, refusals have made the follower so slow that it is not done after that
//! hour.

use super::gaps::Following;
use super::*;
use crate::sync::encode_response;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Number of courses of a run. For more: the environment variable `PROPTEST_CASES`.
fn courses() -> u32 {
    let usual = 256;
    Some(ProptestConfig::default().cases).filter(|cases| *cases != usual).unwrap_or(30)
}

/// The server that always has the sequencer's chain, and the one that follows branches late.
const PROMPT: u8 = 1;
const LATE: u8 = 2;

/// A part of a course: whether the sequencer goes back first, how many blocks it makes, and a seed.
type Leg = (bool, u8, u64);

fn leg() -> impl Strategy<Value = Leg> {
    (prop::bool::weighted(0.1), 1_u8..12, any::<u64>())
}

/// The sequencer's chain, as its servers have it.
struct Course {
    world: Following,
    base: u64,
    branch: Vec<Envelope>,
    /// The chain of the late server: the branch that the sequencer left last.
    left: Vec<Envelope>,
    salt: u64,
    random: u64,
}

impl Course {
    fn new(small: bool, seed: u64) -> Self {
        let first = block(V4);
        let mut world = Following::new(std::slice::from_ref(&first), |config| {
            // Answers arrive late, and no gap may end before.
            config.view.gap_patience = None;
            if small {
                (config.view.max_blocks, config.view.keep_depth) = (12, 4);
            }
        });
        world.tell(Input::Connected(peer(LATE)));
        let base = first.payload.block_number;
        let branch = vec![first];
        Self { world, base, left: branch.clone(), branch, salt: 0, random: seed | 1 }
    }

    /// Returns a number below `end`.
    const fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn grow(&mut self) -> Envelope {
        let next = child(self.branch.last().expect("one"), self.salt);
        self.branch.push(next.clone());
        next
    }

    /// Drops at most `deepest` blocks, and makes as many others.
    fn go_back(&mut self, deepest: u64) {
        let back = (1 + self.below(deepest) as usize).min(self.branch.len() - 1);
        self.left = self.branch.clone();
        self.branch.truncate(self.branch.len() - back);
        self.salt += 1;
        for _ in 0..back {
            self.grow();
        }
    }

    /// Answers the newest open request.
    fn answer(&mut self, is_over: bool) -> bool {
        let Some((id, to, number)) = self.world.requests.pop() else { return false };
        let chain = if is_over || to == peer(PROMPT) { &self.branch } else { &self.left };
        let place = number.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let bytes = match place.and_then(|at| chain.get(at)) {
            Some(found) => encode_response(&decoded(found)),
            None => vec![1],
        };
        self.world.tell(Input::Response { id, result: Ok(bytes.into()) });
        true
    }

    fn wait(&mut self, by: Duration) {
        self.world.now.monotonic = self.world.now.monotonic + by;
    }

    fn run(&mut self, legs: &[Leg], deepest: u64, loss: u64) {
        for (at, (goes_back, count, seed)) in legs.iter().enumerate() {
            self.random ^= seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            if *goes_back && self.branch.len() > 3 {
                self.go_back(deepest);
            }
            for _ in 0..*count {
                let next = self.grow();
                if at + 1 < legs.len() && self.below(100) < loss {
                    continue;
                }
                self.world.hear(&next);
                for _ in 0..self.below(4) {
                    self.answer(false);
                }
            }
            let by = Duration::from_millis(self.below(3000));
            self.wait(by);
            self.world.tell(Input::Wake);
        }
    }

    /// Ends all losses, and waits until the follower has the sequencer's head. The sequencer makes
    /// a block every minute, because a small view may have dropped the blocks that it received.
    fn settle(&mut self) {
        let end = self.world.now.monotonic + 3600 * SECOND;
        let mut made = self.world.now.monotonic;
        while self.world.now.monotonic < end && !self.is_there() {
            if made <= self.world.now.monotonic {
                made = made + 60 * SECOND;
                let next = self.grow();
                self.world.hear(&next);
            }
            if self.answer(true) {
                self.wait(Duration::from_millis(5));
                continue;
            }
            let Some(due) = self.world.node.next_wakeup() else { break };
            let by = due.since(self.world.now.monotonic).max(Duration::from_millis(1));
            self.wait(by);
            self.world.tell(Input::Wake);
        }
    }

    fn is_there(&self) -> bool {
        self.world.node.view().head() == self.branch.last().map(id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: courses(),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_follower_ends_at_the_sequencers_head_without_banning_honest_servers(
        legs in prop::collection::vec(leg(), 5..40),
        seed in any::<u64>(), small in any::<bool>(), loss in 0_u64..100,
    ) {
        let mut course = Course::new(small, seed);
        // A small view can't follow a branch that leaves the chain far down.
        course.run(&legs, if small { 2 } else { 20 }, loss);
        course.settle();
        let world = &course.world;
        let state = || format!("{:?} {:?}", world.node.view().gap(), world.node.sync_status());
        prop_assert!(course.is_there(), "{} of {}: {}", world.head(), course.branch.len(), state());
        prop_assert_eq!(&world.skipped, &[]);
        prop_assert_eq!(world.node.peers().gate().peer_bans().count(), 0);
    }
}
