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
        let first = decoded(&chain[0]);
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

    /// Delivers the sequencer's block by gossip, and returns the outputs up to the requests that
    /// follow.
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
    let job = outputs
        .into_iter()
        .find_map(|output| if let Output::Job(job) = output { Some(job) } else { None });
    job.expect("a job")
}

fn answer_with(block: &Envelope) -> Bytes {
    encode_response(&decoded(block)).into()
}

fn stored(outputs: &[Output]) -> Vec<String> {
    let each = outputs.iter().filter_map(|output| {
        let Output::Store { change, .. } = output else { return None };
        match change {
            StoreChange::Extend(block) => Some(format!("extend {}", block.number())),
            StoreChange::Promote(id) => Some(format!("promote {}", id.number)),
            StoreChange::Hold(block) => Some(format!("hold {}", block.number())),
            _ => None,
        }
    });
    each.collect()
}

#[test]
fn a_gap_is_requested_at_once_and_its_blocks_are_delivered_in_order() {
    let chain = chain(V4, 4);
    let number = |at: usize| chain[at].payload.block_number;
    let mut syncing = Syncing::new(&chain);
    let outputs = syncing.hear(&chain[3]);
    assert_eq!(stored(&outputs), [format!("hold {}", number(3))]);
    let held = outputs.iter().find_map(|output| match output {
        Output::Store { id, .. } => Some(*id),
        _ => None,
    });
    let (id, wanted) = request(&outputs).expect("asked for at once");
    assert_eq!(wanted, number(2));
    // The next one is requested while this one is checked.
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[2])) });
    let (id, wanted) = request(&outputs).expect("the next one");
    assert_eq!(wanted, number(1));
    let outputs = syncing.tell(Input::JobDone(job(outputs).run()));
    assert_eq!(stored(&outputs), [format!("hold {}", number(2))]);
    // The first of the two is on disk by now.
    syncing.tell(Input::Stored { id: held.expect("it is held"), is_stored: true });
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[1])) });
    let outputs = syncing.tell(Input::JobDone(job(outputs).run()));
    let expected = [
        format!("hold {}", number(1)),
        format!("extend {}", number(1)),
        format!("extend {}", number(2)),
        format!("promote {}", number(3)),
    ];
    assert_eq!(stored(&outputs), expected, "a block that is on disk is not written again");
}

/// `TestPanicGuard`: a check that panics counts as a useless answer and frees its slot.
#[test]
fn a_panicking_check_frees_its_place_and_the_block_is_requested_again() {
    let chain = chain(V4, 3);
    let mut syncing = Syncing::new(&chain);
    let (id, wanted) = request(&syncing.hear(&chain[2])).expect("asked for");
    let outputs = syncing.tell(Input::Response { id, result: Ok(answer_with(&chain[1])) });
    let outputs = syncing.tell(Input::JobDone(JobResult::panicked(job(outputs).id())));
    let answers = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Sync(SyncEvent::Answered(answered))) => Some(&answered.result),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>(), [&Err(AnswerError::Panicked)]);
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
        // In the reference's order, numbers that can't exist by the clock are invalid first, so the
        // clock is late enough.
        syncing.now.unix = Duration::from_secs(1 << 40);
        syncing.tell(Input::Wake);
        let outputs = syncing.tell(Input::Requested { from: peer(1), id: ServeId(id), number });
        let [Output::Serve { id: served, held, .. }] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert_eq!((served.0, held.is_some()), (id, is_held));
    }
    let mut off = Node::new(Now::default(), super::config(V4)).expect("a good configuration");
    while off.poll().is_some() {}
    off.handle(Now::default(), Input::Requested { from: peer(1), id: ServeId(1), number });
    assert!(matches!(off.poll(), Some(Output::Refuse { code: ResultCode::UnknownError, .. })));
}
