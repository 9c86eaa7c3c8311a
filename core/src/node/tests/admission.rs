//! Jobs: the number that run, the messages that wait or are dropped, and the results.

use super::*;

/// Returns a message that its job refuses cheaply, a different one for each `n`.
fn junk(n: u32) -> Vec<u8> {
    let mut contents = vec![0; MIN_MESSAGE_SIZE];
    contents[..4].copy_from_slice(&n.to_be_bytes());
    contents
}

/// Returns a message of this size that only waits, so that no job reads its contents.
fn of_size(size: usize) -> Unpacked {
    Unpacked::from_contents(&vec![0; size])
}

fn held(version: PayloadVersion) -> Conversation {
    let mut conversation = Conversation::on(version);
    conversation.hold_jobs = true;
    conversation
}

#[test]
fn four_messages_of_a_topic_are_judged_at_once_and_more_wait() {
    let mut conversation = held(V4);
    for n in 1..=6 {
        conversation.hear(V4, &junk(n));
        let n = n as usize;
        assert_eq!(
            (conversation.jobs.len(), conversation.node.waiting()),
            (n.min(4), n.saturating_sub(4))
        );
    }
    assert_eq!(conversation.said(), []);
}

#[test]
fn topics_have_separate_slots() {
    let mut conversation = held(V4);
    for n in 0..10 {
        conversation.hear(V1, &junk(n));
    }
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (4, 6));
    for (count, version) in (5..).zip([V2, V3, V4]) {
        conversation.hear(version, &junk(99));
        assert_eq!(conversation.jobs.len(), count, "{version} does not wait for v1");
    }
    assert_eq!(conversation.node.waiting(), 6);
}

#[test]
fn waiting_messages_are_judged_in_arrival_order() {
    let mut conversation = held(V4);
    for n in 0..20 {
        conversation.hear(V4, &junk(n));
    }
    conversation.run_all_jobs();
    let expected: Vec<Said> = (1..=20).map(|n| Said::Refused(n, Reason::Payload)).collect();
    assert_eq!(conversation.said(), expected);
    assert_eq!(conversation.node.waiting(), 0);
}

#[test]
fn a_freed_slot_goes_to_the_next_message_of_its_topic() {
    let mut conversation = held(V4);
    for n in 0..5 {
        conversation.hear(V3, &junk(n));
        conversation.hear(V4, &junk(n));
    }
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (8, 2));
    // The jobs are in the order v3, v4, v3, v4, ...: one of v4 ends.
    let job = conversation.jobs.remove(1).expect("eight jobs");
    conversation.tell(Input::JobDone(job.run()));
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (8, 1));
    conversation.hear(V4, &junk(5));
    assert_eq!(conversation.node.waiting(), 2, "v4 has no slot left");
    conversation.run_all_jobs();
    let waited: Vec<u64> = conversation
        .said()
        .into_iter()
        .map(|said| match said {
            Said::Refused(message, Reason::Payload) => message,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(waited.len(), 11);
    assert_eq!(waited[0], 2);
}

#[test]
fn when_256_messages_wait_the_next_is_throttled() {
    let mut conversation = held(V4);
    for n in 0..4 + 256 {
        conversation.hear(V4, &junk(n));
    }
    assert_eq!(conversation.node.waiting(), 256);
    assert_eq!(conversation.said(), []);
    let message = conversation.hear(V4, &junk(1000));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::Throttled)]);
    assert_eq!(Reason::Throttled.acceptance(), Acceptance::Ignore);
    // One job ends, one message moves up, and one more may wait.
    conversation.run_job();
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (4, 255));
    conversation.hear(V4, &junk(1001));
    conversation.hear(V4, &junk(1002));
    assert_eq!(conversation.said().last(), Some(&Said::Refused(message + 2, Reason::Throttled)));
    conversation.run_all_jobs();
    let said = conversation.said();
    assert_eq!(said.len(), 4 + 256);
    assert_eq!(conversation.node.waiting(), 0);
}

#[test]
fn waiting_places_are_shared_by_all_topics_but_slots_are_not() {
    let mut conversation = held(V4);
    for n in 0..4 + 200 {
        conversation.hear(V2, &junk(n));
    }
    for n in 0..4 + 56 {
        conversation.hear(V3, &junk(n));
    }
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (8, 256));
    for version in [V2, V3] {
        let message = conversation.hear(version, &junk(999));
        assert_eq!(conversation.said(), [Said::Refused(message, Reason::Throttled)]);
    }
    // A message for a topic with a free slot does not wait.
    let message = conversation.hear_block(&block(V4));
    let job = conversation.jobs.pop_back().expect("the last one");
    conversation.tell(Input::JobDone(job.run()));
    assert_eq!(conversation.said()[0], Said::Accepted(message, id(&block(V4))));
}

#[test]
fn waiting_messages_hold_at_most_64_mib() {
    let mut conversation = held(V4);
    for _ in 0..4 {
        conversation.hear_unpacked(V4, of_size(2));
    }
    for n in 1..=16 {
        conversation.hear_unpacked(V4, of_size(4 << 20));
        assert_eq!(conversation.node.validator.waiting_bytes(), n * (4 << 20));
    }
    assert_eq!(conversation.node.validator.waiting_bytes(), WAITING_BYTES);
    assert_eq!(conversation.said(), []);
    let message = conversation.hear_unpacked(V4, of_size(1));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::Throttled)]);
    // Running validations are not counted: the first waiting message moves up and frees its size.
    conversation.run_job();
    assert_eq!(conversation.node.validator.waiting_bytes(), WAITING_BYTES - (4 << 20));
    conversation.said();
    conversation.hear_unpacked(V4, of_size((4 << 20) + 1));
    assert_eq!(conversation.said().len(), 1, "a byte too many");
    conversation.hear_unpacked(V4, of_size(4 << 20));
    assert_eq!(conversation.said(), []);
    assert_eq!(conversation.node.validator.waiting_bytes(), WAITING_BYTES);
}

#[test]
fn a_throttled_block_is_accepted_when_it_arrives_again() {
    let mut conversation = held(V4);
    for n in 0..4 + 256 {
        conversation.hear(V4, &junk(n));
    }
    conversation.hear_block(&block(V4));
    conversation.run_all_jobs();
    conversation.said();
    let message = conversation.hear_block(&block(V4));
    conversation.run_all_jobs();
    assert_eq!(conversation.said()[0], Said::Accepted(message, id(&block(V4))));
}

/// `TestGuardGossipValidator` of the reference: of three callers one panics, one is ignored, the
/// rest are accepted, again and again. Unlike there, no peer is blamed for our panic.
#[test]
fn guard_gossip_validator() {
    let mut conversation = held(V4);
    let blocks = chain(V4, 10);
    for (round, block) in blocks.iter().enumerate() {
        let panics = conversation.hear_block(block);
        let accepted = conversation.hear_block(block);
        let ignored = conversation.hear_block(block);
        let job = conversation.jobs.pop_front().expect("three jobs");
        conversation.tell(Input::JobDone(JobResult::panicked(job.id())));
        assert_eq!(conversation.said(), [Said::Refused(panics, Reason::Panicked)], "round {round}");
        conversation.run_all_jobs();
        let said = conversation.said();
        assert_eq!(said[0], Said::Accepted(accepted, id(block)));
        assert_eq!(said.last(), Some(&Said::Refused(ignored, Reason::AlreadySeen)));
    }
    assert_eq!(Reason::Panicked.acceptance(), Acceptance::Ignore);
    assert_eq!(conversation.node.view().head(), blocks.last().map(id));
}

#[test]
fn a_job_that_panicked_gives_its_slot_to_the_next() {
    let mut conversation = held(V4);
    for n in 0..5 {
        conversation.hear(V4, &junk(n));
    }
    let job = conversation.jobs.pop_front().expect("four jobs");
    conversation.tell(Input::JobDone(JobResult::panicked(job.id())));
    assert_eq!(conversation.said(), [Said::Refused(1, Reason::Panicked)]);
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (4, 0));
}

#[test]
fn a_duplicate_or_unknown_result_changes_nothing() {
    let mut conversation = held(V4);
    for n in 0..6 {
        conversation.hear(V4, &junk(n));
    }
    let job = conversation.jobs.pop_front().expect("four jobs");
    let result = job.run();
    conversation.tell(Input::JobDone(result.clone()));
    assert_eq!(conversation.said().len(), 1);
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (4, 1));
    let unknown = |id| JobResult::panicked(JobId(IdKind::Node(id)));
    for stranger in [result, unknown(0), unknown(u64::MAX)] {
        conversation.tell(Input::JobDone(stranger));
        assert_eq!(conversation.said(), []);
        assert_eq!(
            (conversation.jobs.len(), conversation.node.waiting()),
            (4, 1),
            "no slot is freed"
        );
    }
}

#[test]
fn a_peer_that_fills_the_queue_is_displaced_by_peers_with_less_in_it() {
    let mut conversation = held(V4);
    let unpacked = |n| Unpacked::from_contents(&junk(n));
    for n in 0..4 + 200 {
        conversation.hear_from(1, V4, unpacked(n));
    }
    for n in 300..356 {
        conversation.hear_from(2, V4, unpacked(n));
    }
    assert_eq!((conversation.node.waiting(), conversation.said()), (256, Vec::new()));
    // The peer with the most messages loses its last one to the peer that has none.
    let third = conversation.hear_from(3, V4, unpacked(1000));
    assert_eq!(conversation.said(), [Said::Refused(204, Reason::Throttled)]);
    // The peer with the most messages can't displace its own.
    let more = conversation.hear_from(1, V4, unpacked(1001));
    assert_eq!(conversation.said(), [Said::Refused(more, Reason::Throttled)]);
    assert_eq!(conversation.node.waiting(), 256);
    // The peer with the fewest messages has the next turn.
    conversation.run_job();
    conversation.said();
    conversation.run_all_jobs();
    let said = conversation.said();
    let at =
        |message| said.iter().position(|said| *said == Said::Refused(message, Reason::Payload));
    assert!(at(third).is_some_and(|at| at <= 3), "{:?}", at(third));
    assert!(at(205) < at(5), "the second's first before the first's");
}

#[test]
fn large_messages_make_room_for_small_ones_of_others() {
    let mut conversation = held(V4);
    for _ in 0..4 {
        conversation.hear_from(1, V4, of_size(2));
    }
    for bomber in 1..=8 {
        conversation.hear_from(bomber, V4, of_size(8 << 20));
    }
    assert_eq!(
        (conversation.node.validator.waiting_bytes(), conversation.said()),
        (WAITING_BYTES, Vec::new())
    );
    conversation.hear_from(9, V4, of_size(80_000));
    assert_eq!(conversation.said(), [Said::Refused(12, Reason::Throttled)]);
    assert_eq!(conversation.node.waiting(), 8);
    // A message does not displace another one of the same size.
    let large = conversation.hear_from(10, V4, of_size(8 << 20));
    assert_eq!(conversation.said(), [Said::Refused(large, Reason::Throttled)]);
    conversation.run_job();
    let next = conversation.jobs.back().expect("the small one moved up");
    assert_eq!((next.kind(), next.size()), (JobKind::Validate, 80_000));
}
