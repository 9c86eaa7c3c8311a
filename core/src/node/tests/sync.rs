//! Blocks by number, as the driver sees them.

use super::*;
use crate::gossip::block_topic;
use crate::sync::{AnswerError, RequestId, ResultCode, ServeId, SyncEvent, encode_response};
use alloy_primitives::Bytes;

/// A node that follows `chain` from its first block, and fetches and serves.
struct Syncing {
    node: Node,
    now: Now,
}

impl Syncing {
    fn new(chain: &[Envelope]) -> Self {
        let first = Block::decode(V4, None, body(&chain[0]).into()).expect("ours");
        let config = NodeConfig {
            head: Some(BlockId::of(&first)),
            recent: vec![first],
            sync: Some(SyncConfig::default()),
            ..super::config(V4)
        };
        let now = Now::new(SECOND, Duration::from_secs(chain[0].payload.timestamp));
        let mut node = Node::new(now, config).expect("a good configuration");
        node.handle(now, Input::Connected(peer(1)));
        Self { node, now }
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input);
        std::iter::from_fn(|| self.node.poll()).collect()
    }

    /// The sequencer's block by gossip, up to what is asked for because of it.
    fn hear(&mut self, block: &Envelope) -> Vec<Output> {
        let message = Unpacked::from_contents(&signed(block));
        let id = message.message_id(&block_topic(CHAIN_ID, V4));
        let outputs = self.tell(Input::Gossip { from: peer(1), topic: V4, id, message });
        self.tell(Input::JobDone(job(outputs).run()))
    }

    fn wait(&mut self, by: Duration) -> Vec<Output> {
        self.now.monotonic = self.now.monotonic + by;
        self.tell(Input::Wake)
    }
}

fn request(outputs: &[Output]) -> Option<(RequestId, u64)> {
    outputs.iter().find_map(|output| match output {
        Output::Request { id, number, .. } => Some((*id, *number)),
        _ => None,
    })
}

fn job(outputs: Vec<Output>) -> Job {
    let job =
        outputs.into_iter().find_map(|output| if let Output::Job(job) = output { Some(job) } else { None });
    job.expect("a job")
}

fn answer_with(block: &Envelope) -> Bytes {
    encode_response(&Block::decode(V4, None, body(block).into()).expect("ours")).into()
}

fn stored(outputs: &[Output]) -> Vec<String> {
    let each = outputs.iter().filter_map(|output| match output {
        Output::Store(StoreChange::Extend(block)) => Some(format!("extend {}", block.number())),
        Output::Store(StoreChange::Promote(id)) => Some(format!("promote {}", id.number)),
        Output::Store(StoreChange::Hold(block)) => Some(format!("hold {}", block.number())),
        _ => None,
    });
    each.collect()
}

#[test]
fn a_gap_is_asked_for_at_once_and_its_blocks_are_held_then_handed_on_in_order() {
    let chain = chain(V4, 4);
    let number = |at: usize| chain[at].payload.block_number;
    let mut syncing = Syncing::new(&chain);
    let outputs = syncing.hear(&chain[3]);
    assert_eq!(stored(&outputs), [format!("hold {}", number(3))]);
    let (id, wanted) = request(&outputs).expect("asked for at once");
    assert_eq!(wanted, number(2));
    // The next one is asked for while this one is checked.
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[2])) });
    let (id, wanted) = request(&outputs).expect("the next one");
    assert_eq!(wanted, number(1));
    let outputs = syncing.tell(Input::JobDone(job(outputs).run()));
    assert_eq!(stored(&outputs), [format!("hold {}", number(2))]);
    // The disk has the first of the two by now.
    let held = BlockId::new(number(3), chain[3].payload.block_hash);
    syncing.tell(Input::Held { id: held, is_held: true });
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[1])) });
    let outputs = syncing.tell(Input::JobDone(job(outputs).run()));
    let expected = [
        format!("hold {}", number(1)),
        format!("extend {}", number(1)),
        format!("extend {}", number(2)),
        format!("promote {}", number(3)),
    ];
    assert_eq!(stored(&outputs), expected, "what the disk has for sure is not written again");
}

/// TestPanicGuard: a check that panics is an answer that is none, and frees its place.
#[test]
fn a_check_that_panics_frees_its_place_and_the_block_is_asked_for_again() {
    let chain = chain(V4, 3);
    let mut syncing = Syncing::new(&chain);
    let (id, wanted) = request(&syncing.hear(&chain[2])).expect("asked for");
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[1])) });
    let outputs = syncing.tell(Input::JobDone(JobResult::panicked(job(outputs).id())));
    assert!(outputs.iter().any(|output| matches!(
        output,
        Output::Event(Event::Sync(SyncEvent::Answered(answered))) if answered.result == Err(AnswerError::Panicked)
    )));
    assert_eq!(syncing.node.sync_status().map(|status| status.in_flight), Some(0));
    let again = (0..100).find_map(|_| request(&syncing.wait(Duration::from_millis(100))));
    assert_eq!(again.map(|(_, number)| number), Some(wanted));
}

#[test]
fn a_request_is_served_from_memory_or_the_store_and_refused_without_sync() {
    let chain = chain(V4, 2);
    let mut syncing = Syncing::new(&chain);
    let number = chain[0].payload.block_number;
    for (id, number, is_held) in [(1, number, true), (2, number - 1, false)] {
        // The reference's order: what can't exist by the clock is invalid, so the clock is late enough.
        syncing.now.unix = Duration::from_secs(1 << 40);
        syncing.tell(Input::Wake);
        let outputs = syncing.tell(Input::Requested { from: peer(1), id: ServeId(id), number });
        let [Output::Serve { id: served, held, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert_eq!((served.0, held.is_some()), (id, is_held));
    }
    let mut off = Node::new(Now::default(), super::config(V4)).expect("a good configuration");
    while off.poll().is_some() {}
    off.handle(Now::default(), Input::Requested { from: peer(1), id: ServeId(1), number });
    assert!(matches!(off.poll(), Some(Output::Refuse { code: ResultCode::UnknownError, .. })));
}
