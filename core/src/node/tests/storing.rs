//! A store that refuses changes for a while.

use super::*;
use proptest::prelude::*;

/// A node, and its store.
struct Storing {
    node: Node,
    now: Now,
    /// The canonical chain of the store.
    stored: Vec<BlockId>,
    /// The chain as the node reports it.
    told: Vec<BlockId>,
    is_refusing: bool,
    /// Whether results wait in `results` for the test to give them.
    is_late: bool,
    results: Vec<(StoreId, bool)>,
    /// Number of changes of the chain that the node issued.
    attempts: usize,
    /// Whether blocks may be missing between two stored ones.
    may_lose: bool,
}

impl Storing {
    fn new(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let now = Now::new(Duration::from_secs(5000), Duration::from_secs(NOW));
        let mut config = config(V4);
        change(&mut config);
        let node = Node::new(now, config).expect("a good configuration");
        Self {
            node,
            now,
            stored: Vec::new(),
            told: Vec::new(),
            is_refusing: false,
            is_late: false,
            results: Vec::new(),
            attempts: 0,
            may_lose: false,
        }
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll() {
            match output {
                Output::Store { id, change } => {
                    self.attempts += 1;
                    let is_stored = !self.is_refusing;
                    if is_stored {
                        self.apply(&change);
                    }
                    self.results.push((id, is_stored));
                }
                Output::Event(Event::Chain(ChainEvent::Extended(block))) => {
                    self.told.push(BlockId::of(&block));
                }
                Output::Event(Event::Chain(ChainEvent::Reorg { abandoned, .. })) => {
                    self.told.truncate(self.told.len() - abandoned.len());
                }
                Output::Event(Event::Chain(ChainEvent::Skipped { to, detached, .. })) => {
                    self.told.retain(|told| !detached && told.number < to.number);
                    self.may_lose = true;
                }
                _ => {}
            }
        }
        if !self.is_late {
            self.give_results();
        }
    }

    fn give_results(&mut self) {
        while !self.results.is_empty() {
            let (id, is_stored) = self.results.remove(0);
            self.tell(Input::Stored { id, is_stored });
        }
    }

    fn apply(&mut self, change: &StoreChange) {
        match change {
            StoreChange::Extend(block) => {
                self.stored.retain(|stored| stored.number < block.number());
                let is_linked =
                    self.stored.last().is_none_or(|head| head.hash == block.parent_hash());
                // The node does not know yet that an earlier change was refused.
                let is_unaware = self.results.iter().any(|(_, is_stored)| !is_stored);
                let may_lack = self.may_lose || is_unaware;
                assert!(is_linked || may_lack, "{} is out of order", block.number());
                self.stored.push(BlockId::of(block));
            }
            StoreChange::Rewind(to) => self.stored.retain(|stored| stored.number <= to.number),
            StoreChange::Detach => self.stored.clear(),
            other => panic!("nothing is pending: {other:?}"),
        }
    }

    fn insert(&mut self, envelope: &Envelope) {
        self.tell(Input::Insert(decoded(envelope)));
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        while let Some(due) = self.node.next_wakeup().filter(|due| *due <= end) {
            self.move_to(due.max(self.now.monotonic));
            self.tell(Input::Wake);
            let next = self.node.next_wakeup();
            assert!(next.is_none_or(|next| next > due), "woken at {due:?}, it asks for {next:?}");
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Instant) {
        let elapsed = at.since(self.now.monotonic);
        self.now = Now { monotonic: at, unix: self.now.unix + elapsed };
    }
}

#[test]
fn refused_changes_are_issued_again_in_order_as_soon_as_the_store_takes_them() {
    let chain = chain(V4, 40);
    let mut world = Storing::new(|_| {});
    chain[..5].iter().for_each(|block| world.insert(block));
    assert_eq!((world.stored.len(), world.attempts), (5, 5));
    world.is_refusing = true;
    chain[5..30].iter().for_each(|block| world.insert(block));
    assert_eq!(world.attempts, 6, "no later change is issued, so the order holds");
    world.pass(10 * STORE_RETRY);
    assert_eq!(world.attempts, 16, "one attempt at a time");
    world.is_refusing = false;
    chain[30..].iter().for_each(|block| world.insert(block));
    world.pass(STORE_RETRY);
    assert_eq!(world.stored, chain.iter().map(id).collect::<Vec<_>>());
    assert_eq!(world.node.storing.next_wakeup(), None);
}

#[test]
fn a_store_that_answers_late_gets_a_bounded_number_of_changes_again() {
    let chain = chain(V4, 200);
    let mut world = Storing::new(|config| config.view.keep_depth = 256);
    world.insert(&chain[0]);
    world.is_refusing = true;
    chain[1..].iter().for_each(|block| world.insert(block));
    let before = world.attempts;
    (world.is_refusing, world.is_late) = (false, true);
    world.pass(STORE_RETRY);
    assert_eq!(world.attempts, before + 1, "one, until the store takes it");
    let (id, is_stored) = world.results.remove(0);
    world.tell(Input::Stored { id, is_stored });
    assert_eq!(world.attempts, before + 1 + REISSUED);
    world.is_late = false;
    world.give_results();
    assert_eq!(world.stored, chain.iter().map(super::id).collect::<Vec<_>>());
}

#[test]
fn blocks_that_the_view_drops_meanwhile_are_left_out_and_the_rest_is_stored() {
    let chain = chain(V4, 60);
    let mut world = Storing::new(|config| {
        (config.view.max_blocks, config.view.keep_depth) = (16, 8);
    });
    chain[..5].iter().for_each(|block| world.insert(block));
    world.is_refusing = true;
    chain[5..].iter().for_each(|block| world.insert(block));
    (world.is_refusing, world.may_lose) = (false, true);
    world.pass(STORE_RETRY);
    let held: Vec<BlockId> = world.node.view().recent().map(BlockId::of).collect();
    assert!(held.len() < 20, "{}", held.len());
    let stored: Vec<BlockId> = chain[..5].iter().map(id).chain(held).collect();
    assert_eq!(world.stored, stored);
}

#[test]
fn the_last_attempt_is_made_when_the_node_stops() {
    let chain = chain(V4, 10);
    let mut world = Storing::new(|_| {});
    world.insert(&chain[0]);
    world.is_refusing = true;
    chain[1..].iter().for_each(|block| world.insert(block));
    world.is_refusing = false;
    world.tell(Input::Stopping);
    assert_eq!(world.stored.len(), 10);
}

#[test]
fn an_unknown_result_changes_nothing() {
    let chain = chain(V4, 3);
    let mut world = Storing::new(|_| {});
    world.insert(&chain[0]);
    for id in [StoreId(0), StoreId(77)] {
        world.tell(Input::Stored { id, is_stored: false });
    }
    chain[1..].iter().for_each(|block| world.insert(block));
    assert_eq!((world.stored.len(), world.attempts), (3, 3));
}

/// An event around the store.
#[derive(Clone, Debug)]
enum Happening {
    /// A block arrives: on which branch, and how far above its fork.
    Block(usize, usize),
    Refuse(bool),
    /// Whether results come late from now on.
    Late(bool),
    Results,
    Pass(u64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0_usize..3, 0_usize..8).prop_map(|(branch, at)| Happening::Block(branch, at)),
        1 => any::<bool>().prop_map(Happening::Refuse),
        1 => any::<bool>().prop_map(Happening::Late),
        1 => Just(Happening::Results),
        2 => (0_u64..12).prop_map(Happening::Pass),
    ]
}

proptest! {
    /// Whatever is refused, and in whichever order results come: once the store takes changes, it
    /// has the chain that the node reported.
    #[test]
    fn in_the_end_the_store_has_the_chain(
        happenings in prop::collection::vec(any_happening(), 0..80)
    ) {
        let base = chain(V4, 4);
        let branches: Vec<Vec<Envelope>> = (0..3_u64).map(|branch| {
            let mut below = base[branch as usize + 1].clone();
            (0..8).map(|_| { below = child(&below, 7 + branch); below.clone() }).collect()
        }).collect();
        let mut world = Storing::new(|_| {});
        base.iter().for_each(|block| world.insert(block));
        for happening in happenings {
            match happening {
                Happening::Block(branch, at) => world.insert(&branches[branch][at]),
                Happening::Refuse(is_refusing) => world.is_refusing = is_refusing,
                Happening::Late(is_late) => world.is_late = is_late,
                Happening::Results => world.give_results(),
                Happening::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
            }
        }
        (world.is_refusing, world.is_late) = (false, false);
        world.give_results();
        world.pass(2 * STORE_RETRY);
        prop_assert_eq!(world.stored, world.told);
    }
}
