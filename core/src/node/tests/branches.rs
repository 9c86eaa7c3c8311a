//! Servers on a branch of the sequencer that the follower does not know yet: they look like liars,
//! because responses carry no signature.

use super::gaps::Following;
use super::*;
use crate::peers::Conduct;
use crate::sync::client::CHARGE_HELD;
use crate::sync::encode_response;
use alloy_primitives::Bytes;

/// The server on the branch that the sequencer left, and the one on the branch that it follows.
const LEFT: u8 = 1;
const PROMPT: u8 = 2;

/// Returns `length` blocks on top of `below`.
fn branch(below: &[Envelope], length: usize, salt: u64) -> Vec<Envelope> {
    let mut all = below.to_vec();
    for _ in 0..length {
        all.push(child(all.last().expect("one"), salt));
    }
    all
}

/// A follower at a fork, and the two branches from the first block on.
struct Fork {
    world: Following,
    left: Vec<Envelope>,
    now: Vec<Envelope>,
    /// Whether the server of the abandoned branch serves that branch at all.
    serves_left: bool,
}

impl Fork {
    fn new() -> Self {
        let base = super::chain(V4, 4);
        let mut world = Following::new(&base, |config| config.view.gap_patience = None);
        for block in &base[1..] {
            world.hear(block);
        }
        let (left, now) = (branch(&base, 3, 1), branch(&base, 4, 2));
        Self { world, left, now, serves_left: true }
    }

    /// Answers each request 10 ms after it was sent.
    fn pass(&mut self, span: Duration) {
        let end = self.world.now.monotonic + span;
        while self.world.now.monotonic < end {
            let requests = std::mem::take(&mut self.world.requests);
            let due = match self.world.node.next_wakeup() {
                Some(due) if requests.is_empty() => due.min(end),
                _ if requests.is_empty() => end,
                _ => self.world.now.monotonic + Duration::from_millis(10),
            };
            self.world.now.monotonic = due.max(self.world.now.monotonic + Duration::from_millis(1));
            for (id, to, number) in requests {
                let at = (number - self.now[0].payload.block_number) as usize;
                let found = match to == peer(LEFT) {
                    true => self.left.get(at).filter(|_| self.serves_left),
                    false => self.now.get(at),
                };
                let bytes = found.map_or(vec![1], |block| encode_response(&decoded(block)));
                self.world.tell(Input::Response { id, result: Ok(Bytes::from(bytes)) });
            }
            self.world.tell(Input::Wake);
        }
    }

    /// The follower hears the newest block of the branch that the sequencer follows, and asks the
    /// server of the other one before the right server comes.
    fn fetch(&mut self) {
        let tip = self.now.last().expect("one").clone();
        self.world.hear(&tip);
        self.pass(2 * SECOND);
        self.world.tell(Input::Connected(peer(PROMPT)));
        self.pass(60 * SECOND);
        assert_eq!(self.world.node.view().head(), Some(id(&tip)));
    }

    fn rejected(&self) -> Vec<PeerId> {
        let all = self.world.conduct.iter();
        all.filter(|(_, conduct)| *conduct == Conduct::RejectedPayload)
            .map(|(who, _)| *who)
            .collect()
    }
}

#[test]
fn a_block_of_an_unknown_branch_is_charged_to_its_server_once_after_a_while() {
    let mut fork = Fork::new();
    fork.fetch();
    fork.pass(CHARGE_HELD - 63 * SECOND);
    assert_eq!(fork.rejected(), []);
    fork.pass(CHARGE_HELD * 2);
    assert_eq!(fork.rejected(), [peer(LEFT)]);
}

#[test]
fn a_block_whose_branch_is_announced_later_is_not_charged_to_its_server() {
    for serves_left in [true, false] {
        let mut fork = Fork::new();
        fork.fetch();
        assert!(fork.world.node.sync_status().is_some_and(|status| status.charges > 0));
        // Perhaps no server has the blocks below it any more.
        fork.serves_left = serves_left;
        let tip = fork.left.last().expect("one").clone();
        fork.world.hear(&tip);
        fork.pass(CHARGE_HELD * 2);
        assert_eq!(fork.rejected(), [], "serves the left branch: {serves_left}");
    }
}

#[test]
fn a_block_that_our_wrong_clock_refused_is_not_charged_to_its_server() {
    let mut fork = Fork::new();
    let right = fork.world.now.unix;
    fork.world.now.unix -= Duration::from_secs(24 * 60 * 60);
    fork.world.tell(Input::Wake);
    for at in 5..7 {
        let block = fork.left[at].clone();
        fork.world.hear(&block);
    }
    assert_eq!(fork.world.head(), fork.left[3].payload.block_number, "they are refused");
    fork.world.now.unix = right;
    fork.fetch();
    fork.pass(CHARGE_HELD * 2);
    assert_eq!(fork.rejected(), []);
}
