//! A gossip message from its arrival to its verdict.

use super::*;

#[test]
fn a_good_message_is_judged_then_stored_then_delivered() {
    for version in PayloadVersion::ALL {
        let mut conversation = Conversation::on(version);
        conversation.hold_jobs = true;
        let block = block(version);
        let message = conversation.hear_block(&block);
        assert_eq!(conversation.said(), [], "nothing is decided before the job is done");
        assert_eq!(conversation.jobs.len(), 1);
        conversation.run_job();
        let (block, first) = (id(&block), Said::Accepted(message, id(&block)));
        assert_eq!(
            conversation.said(),
            [first, Said::Store(block), Said::Block(block)],
            "{version}"
        );
        assert_eq!(conversation.node.view().head(), Some(block));
    }
}

#[test]
fn a_verdict_names_the_peer_the_topic_and_the_message() {
    let mut node = Node::new(Now::default(), config(V3)).expect("a good configuration");
    let question =
        Input::Gossip { from: peer(9), topic: V2, id: [7; 20], message: Unpacked::new(&[0xff; 5]) };
    while node.poll().is_some() {}
    node.handle(Now::default(), question);
    let Some(Output::Job(job)) = node.poll() else { panic!("no job") };
    assert!(node.poll().is_none());
    node.handle(Now::default(), Input::JobDone(job.run()));
    let Some(Output::Verdict(verdict)) = node.poll() else { panic!("no verdict") };
    let result = Err(Reason::SnappyHeader);
    let arrived = Now::default().monotonic;
    let id = [7; 20];
    assert_eq!(verdict, Verdict { from: peer(9), topic: V2, id, result, signer: None, arrived });
    // The rest is about the sender's ban.
    let mut rest = std::iter::from_fn(|| node.poll());
    assert!(
        rest.all(|output| {
            matches!(output, Output::Event(Event::Peers(_)) | Output::Remember(_))
        })
    );
}

#[test]
fn a_verdict_names_the_key_that_signed() {
    let now = Now::new(Duration::ZERO, Duration::from_secs(NOW));
    let signed_by_other = signed_by(&key(8), &body(&block(V4)));
    for (contents, signer) in [
        (signed(&block(V4)), Some(sequencer().address())),
        (signed_by_other, Some(key(8).address())),
        (vec![0; MIN_MESSAGE_SIZE], None),
    ] {
        let mut node = Node::new(now, config(V4)).expect("a good configuration");
        let message = Unpacked::from_contents(&contents);
        node.handle(now, Input::Gossip { from: peer(9), topic: V4, id: [7; 20], message });
        let mut outputs = std::iter::from_fn(|| node.poll());
        let job = outputs.find_map(|output| match output {
            Output::Job(job) => Some(job),
            _ => None,
        });
        node.handle(now, Input::JobDone(job.expect("a job").run()));
        let mut outputs = std::iter::from_fn(|| node.poll());
        let verdict = outputs.find_map(|output| match output {
            Output::Verdict(verdict) => Some(verdict),
            _ => None,
        });
        assert_eq!(verdict.expect("a verdict").signer, signer);
    }
}

#[test]
fn a_bad_message_is_judged_and_changes_nothing_else() {
    let mut conversation = Conversation::on(V4);
    let foreign = signed_by(&key(8), &body(&block(V4)));
    let message = conversation.hear(V4, &foreign);
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::SignerInDoubt)]);
    let message = conversation.hear_unpacked(V4, Unpacked::new(&[0xff; 7]));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::SnappyHeader)]);
    let message = conversation.hear(V3, &signed(&block(V4)));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::Payload)]);
    let message = conversation.hear(V4, &[0; MIN_MESSAGE_SIZE - 1]);
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::AnnouncedTooShort)]);
    assert_eq!(conversation.node.view().head(), None);
}

#[test]
fn a_repeat_is_ignored() {
    let mut conversation = Conversation::on(V4);
    let block = block(V4);
    conversation.hear_block(&block);
    conversation.said();
    for contents in [signed(&block), high_s_twin(&signed(&block))] {
        let message = conversation.hear(V4, &contents);
        assert_eq!(conversation.said(), [Said::Refused(message, Reason::AlreadySeen)]);
    }
    assert_eq!(Reason::AlreadySeen.acceptance(), Acceptance::Ignore);
}

#[test]
fn a_repeat_on_another_topic_is_decoded_by_that_topics_version() {
    // v3's layout on v3's topic only: the topic's version determines how bytes are decoded.
    let mut conversation = Conversation::on(V3);
    let block = block(V3);
    conversation.hear_block(&block);
    conversation.said();
    let message = conversation.hear(V4, &signed(&block));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::Payload)]);
}

#[test]
fn the_clock_at_the_start_of_the_job_decides() {
    let mut conversation = Conversation::on(V4);
    // A timely block shows that the clock is right.
    let timely = changed(V4, |payload| payload.block_number += 1);
    conversation.hear_block(&timely);
    conversation.said();
    conversation.hold_jobs = true;
    let message = conversation.hear_block(&block_at(V4, NOW - 60));
    conversation.pass(10 * SECOND);
    let late = conversation.hear_block(&block_at(V4, NOW - 60));
    conversation.run_all_jobs();
    let said = conversation.said();
    assert!(matches!(said[0], Said::Accepted(n, _) if n == message), "{said:?}");
    assert_eq!(said.last(), Some(&Said::Refused(late, Reason::TooOld)));
}

#[test]
fn the_threshold_of_the_configuration_is_applied() {
    let threshold = Duration::from_millis(10_900);
    let mut conversation =
        Conversation::with(NodeConfig { timestamp_threshold: threshold, ..config(V4) });
    let good = block_at(V4, NOW - 10);
    assert_eq!(conversation.hear_block(&good), 1);
    assert_eq!(conversation.said()[0], Said::Accepted(1, id(&good)));
    conversation.hear_block(&block_at(V4, NOW - 11));
    // Other nodes relay it, so the sender is not at fault.
    assert_eq!(conversation.said(), [Said::Refused(2, Reason::TooOldHere)]);
    conversation.hear_block(&block_at(V4, NOW - 61));
    assert!(conversation.said().contains(&Said::Refused(3, Reason::TooOld)));
}

#[test]
fn an_invalid_configuration_is_refused() {
    let mut config = config(V4);
    config.chain.chain_id = 0;
    assert!(Node::new(Now::default(), config).is_err());
}

#[test]
fn six_blocks_of_one_height_are_accepted_even_if_judged_concurrently() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    let blocks: Vec<_> =
        (0..7).map(|salt| changed(V4, |payload| payload.gas_used = salt)).collect();
    for block in &blocks {
        conversation.hear_block(block);
    }
    assert_eq!(conversation.jobs.len(), VALIDATION_CONCURRENCY);
    // Four jobs end before any result is returned: none sees the others' results.
    let mut verdicts = Vec::new();
    while !conversation.jobs.is_empty() {
        let results: Vec<JobResult> = conversation.jobs.drain(..).map(Job::run).collect();
        assert!(results.iter().all(|result| result.verified().is_some()));
        for result in results.into_iter().rev() {
            conversation.tell(Input::JobDone(result));
        }
        verdicts.extend(
            conversation
                .said()
                .into_iter()
                .filter(|said| matches!(said, Said::Accepted(..) | Said::Refused(..))),
        );
    }
    let accepted = |n: usize| Said::Accepted(n as u64 + 1, id(&blocks[n]));
    let mut expected: Vec<Said> = [3, 2, 1, 0, 6, 5].into_iter().map(accepted).collect();
    expected.push(Said::Refused(5, Reason::TooManyBlocks));
    assert_eq!(verdicts, expected, "the first six to come back win, one by one");
}

#[test]
fn one_block_judged_four_times_concurrently_is_accepted_once() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    for _ in 0..4 {
        conversation.hear_block(&block(V4));
    }
    assert_eq!(conversation.jobs.len(), 4);
    conversation.run_all_jobs();
    let said = conversation.said();
    let block = id(&block(V4));
    let mut expected = vec![Said::Accepted(1, block), Said::Store(block), Said::Block(block)];
    expected.extend((2..=4).map(|message| Said::Refused(message, Reason::AlreadySeen)));
    assert_eq!(said, expected);
}

#[test]
fn an_own_block_is_one_of_the_six() {
    let mut conversation = Conversation::on(V4);
    conversation.publish(&changed(V4, |payload| payload.gas_used = 100));
    let refused = |conversation: &mut Conversation, salt| {
        conversation.hear_block(&changed(V4, |payload| payload.gas_used = salt));
        conversation
            .said()
            .iter()
            .any(|said| matches!(said, Said::Refused(_, Reason::TooManyBlocks)))
    };
    conversation.said();
    for salt in 0..5 {
        assert!(!refused(&mut conversation, salt));
    }
    assert!(refused(&mut conversation, 5));
}
