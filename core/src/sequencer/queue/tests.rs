//! Tests of the publish queue.

use super::*;

const NOW: u64 = 1_700_000_000;

fn at(millis: u64) -> Now {
    let elapsed = Duration::from_millis(millis);
    Now::new(elapsed, Duration::from_secs(NOW) + elapsed)
}

fn envelope(number: u64) -> Publication {
    let mut envelope = Envelope::default();
    envelope.payload.block_number = number;
    envelope.payload.timestamp = NOW;
    envelope.payload.block_hash = B256::with_last_byte(number as u8);
    Publication::Envelope(Box::new(envelope))
}

fn sealed() -> Sealed {
    Sealed {
        version: PayloadVersion::V1,
        contents: vec![0; 70],
        payload_hash: B256::ZERO,
        signing_hash: B256::ZERO,
    }
}

/// Advances the publication at the head up to the sending step.
fn until_send(queue: &mut PublishQueue, now: Now, id: PublishId) {
    let hash = B256::with_last_byte(id.0 as u8);
    assert!(matches!(queue.poll(now), Some(Step::Seal(seal, _)) if seal == id));
    queue.sealed(id, Ok(sealed()));
    assert!(matches!(queue.poll(now), Some(Step::Sign(sign, _)) if sign == id));
    queue.signed(now, id, Ok([9; 65]));
    let Some(Step::Judge(judge, _, contents)) = queue.poll(now) else { panic!("not judged") };
    assert_eq!((judge, &contents[..65]), (id, &[9; 65][..]));
    queue.judged(now, id, Ok((hash, NOW)));
    assert!(matches!(queue.poll(now), Some(Step::Send(send, ..)) if send == id));
}

fn finished(queue: &mut PublishQueue, now: Now) -> (u64, Result<B256, PublishError>) {
    match queue.poll(now) {
        Some(Step::Finished(id, result)) => (id.0, result),
        other => panic!("expected the end of a publication, got {other:?}"),
    }
}

#[test]
fn a_publication_with_a_running_job_is_not_displaced() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(0), envelope(1));
    assert!(matches!(queue.poll(at(0)), Some(Step::Seal(PublishId(0), _))));
    for number in 1..=QUEUE_LENGTH as u64 {
        queue.push(at(0), PublishId(number), envelope(number + 1));
    }
    assert_eq!(finished(&mut queue, at(0)), (1, Err(PublishError::Displaced(Obstacle::Waiting))));
    assert!(queue.poll(at(0)).is_none(), "no second job beside the first");
    queue.sealed(PublishId(0), Ok(sealed()));
    assert!(matches!(queue.poll(at(0)), Some(Step::Sign(PublishId(0), _))));
}

#[test]
fn publications_are_sent_one_after_the_other() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    for number in 1..=3 {
        queue.push(at(0), PublishId(number), envelope(number));
    }
    for number in 1..=3 {
        until_send(&mut queue, at(0), PublishId(number));
        assert!(queue.poll(at(0)).is_none());
        queue.sent(at(0), PublishId(number), SendOutcome::Sent);
        assert_eq!(finished(&mut queue, at(0)), (number, Ok(B256::with_last_byte(number as u8))));
    }
    assert!(queue.is_empty());
}

#[test]
fn a_failed_send_is_tried_again_every_second_until_the_block_is_too_old() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    until_send(&mut queue, at(0), PublishId(1));
    let mut attempts = 1;
    for second in 0..59 {
        queue.sent(at(second * 1000), PublishId(1), SendOutcome::NoPeers);
        assert!(queue.poll(at(second * 1000 + 999)).is_none());
        assert_eq!(queue.next_wakeup(), Some(at((second + 1) * 1000).monotonic));
        assert!(matches!(queue.poll(at((second + 1) * 1000)), Some(Step::Send(..))));
        attempts += 1;
    }
    assert_eq!(attempts, 60);
    queue.sent(at(59_000), PublishId(1), SendOutcome::NoPeers);
    let (_, result) = finished(&mut queue, at(60_000));
    assert_eq!(result, Err(PublishError::Expired(Obstacle::NoPeers)));
}

#[test]
fn a_silent_signer_is_retried_after_its_timeout() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    queue.poll(at(0));
    queue.sealed(PublishId(1), Ok(sealed()));
    assert!(matches!(queue.poll(at(0)), Some(Step::Sign(..))));
    assert!(queue.poll(at(4999)).is_none());
    assert!(queue.poll(at(5000)).is_none());
    assert!(matches!(queue.poll(at(6000)), Some(Step::Sign(..))));
    queue.signed(at(6001), PublishId(1), Err("locked".into()));
    assert!(matches!(queue.poll(at(7001)), Some(Step::Sign(..))));
    queue.signed(at(7002), PublishId(1), Ok([9; 65]));
    assert!(matches!(queue.poll(at(7002)), Some(Step::Judge(..))));
}

#[test]
fn a_refused_block_fails_at_once_and_the_next_proceeds() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    queue.push(at(0), PublishId(2), envelope(2));
    queue.poll(at(0));
    queue.sealed(PublishId(1), Ok(sealed()));
    queue.poll(at(0));
    queue.signed(at(0), PublishId(1), Ok([9; 65]));
    queue.poll(at(0));
    queue.judged(at(0), PublishId(1), Err(Reason::WrongSigner));
    assert_eq!(finished(&mut queue, at(0)), (1, Err(PublishError::Refused(Reason::WrongSigner))));
    until_send(&mut queue, at(0), PublishId(2));
}

#[test]
fn a_full_queue_drops_its_oldest() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    for number in 0..=QUEUE_LENGTH as u64 {
        queue.push(at(0), PublishId(number), envelope(number));
    }
    assert_eq!(queue.len(), QUEUE_LENGTH);
    assert_eq!(finished(&mut queue, at(0)), (0, Err(PublishError::Displaced(Obstacle::Waiting))));
    until_send(&mut queue, at(0), PublishId(1));
}

fn large(number: u64, bytes: usize) -> Publication {
    Publication::Signed { version: PayloadVersion::V4, contents: vec![number as u8; bytes].into() }
}

#[test]
fn a_minute_of_blocks_every_200_ms_waits_for_a_signer() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    let mut sent = Vec::new();
    for number in 0..290 {
        let now = at(number * 200);
        queue.push(now, PublishId(number), large(number, 60_000));
        if let Some(step) = queue.poll(now) {
            assert!(matches!(step, Step::Judge(PublishId(0), ..)), "{step:?}");
        }
    }
    assert_eq!(queue.len(), 290);
    // The second to last block is 58 s old; the network accepts all of them.
    for number in 0..290 {
        let (id, now) = (PublishId(number), at(58_000));
        if number > 0 {
            assert!(matches!(queue.poll(now), Some(Step::Judge(judge, ..)) if judge == id));
        }
        queue.judged(now, id, Ok((B256::with_last_byte(number as u8), NOW + number / 5)));
        assert!(matches!(queue.poll(now), Some(Step::Send(send, ..)) if send == id));
        queue.sent(now, id, SendOutcome::Sent);
        sent.push(finished(&mut queue, now).0);
    }
    assert_eq!(sent, (0..290).collect::<Vec<_>>());
}

#[test]
fn blocks_that_waited_too_long_end_without_an_attempt() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    queue.push(at(0), PublishId(2), large(2, 100));
    queue.push(at(1), PublishId(3), large(3, 100));
    until_send(&mut queue, at(0), PublishId(1));
    queue.sent(at(59_999), PublishId(1), SendOutcome::Sent);
    finished(&mut queue, at(59_999)).1.expect("sent");
    assert_eq!(
        finished(&mut queue, at(60_000)),
        (2, Err(PublishError::Expired(Obstacle::Waiting)))
    );
    assert!(matches!(queue.poll(at(60_000)), Some(Step::Judge(PublishId(3), ..))));
}

#[test]
fn the_bytes_of_the_queue_are_bounded() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    let megabyte = 1 << 20;
    for number in 0..200 {
        queue.push(at(0), PublishId(number), large(number, 3 * megabyte));
        assert!(queue.bytes() <= QUEUE_BYTES);
    }
    assert_eq!(queue.len(), 21);
    assert_eq!(finished(&mut queue, at(0)), (0, Err(PublishError::Displaced(Obstacle::Waiting))));
    // A block larger than the whole queue is accepted alone.
    queue.push(at(0), PublishId(999), large(0, QUEUE_BYTES + 1));
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_block_repeated_within_65_seconds_finishes_at_once() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    until_send(&mut queue, at(0), PublishId(1));
    queue.sent(at(0), PublishId(1), SendOutcome::Sent);
    finished(&mut queue, at(0)).1.expect("sent");
    queue.push(at(64_999), PublishId(2), envelope(1));
    assert_eq!(finished(&mut queue, at(64_999)), (2, Ok(B256::with_last_byte(1))));
    queue.push(at(65_000), PublishId(3), envelope(1));
    assert!(matches!(queue.poll(at(65_000)), Some(Step::Seal(..))));
}

#[test]
fn late_answers_for_another_publication_change_nothing() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    until_send(&mut queue, at(0), PublishId(1));
    queue.sealed(PublishId(7), Err(PublishError::NoSigner));
    queue.signed(at(0), PublishId(1), Ok([1; 65]));
    queue.judged(at(0), PublishId(1), Err(Reason::TooOld));
    queue.sent(at(0), PublishId(7), SendOutcome::Sent);
    assert_eq!(queue.len(), 1);
    queue.sent(at(0), PublishId(1), SendOutcome::AlreadySent);
    finished(&mut queue, at(0)).1.expect("sent");
}

/// Simulates a signer that answers each request after `delay` ms. Returns the number of requests,
/// and the time of the first step after signing.
fn signed_after(delay: u64) -> (usize, Option<u64>) {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    queue.poll(at(0));
    queue.sealed(PublishId(1), Ok(sealed()));
    let (mut asked, mut due) = (0, Vec::new());
    for millis in (0..120_000).step_by(100) {
        let now = at(millis);
        due.retain(|when| {
            if *when <= millis {
                queue.signed(now, PublishId(1), Ok([9; 65]));
            }
            *when > millis
        });
        while let Some(step) = queue.poll(now) {
            match step {
                Step::Sign(..) => {
                    asked += 1;
                    due.push(millis + delay);
                }
                Step::Judge(_, _, contents) => {
                    assert_eq!(contents[..65], [9; 65]);
                    return (asked, Some(millis));
                }
                _ => return (asked, None),
            }
        }
    }
    (asked, None)
}

#[test]
fn a_signature_that_arrives_after_its_timeout_is_used() {
    // The first attempt times out after 5 s, and the second one begins a second later.
    assert_eq!(signed_after(5_500), (1, Some(5_500)));
    assert_eq!(signed_after(8_000), (2, Some(8_000)));
}

#[test]
fn a_late_error_of_the_signer_does_not_delay_the_next_attempt() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    queue.push(at(0), PublishId(1), envelope(1));
    queue.poll(at(0));
    queue.sealed(PublishId(1), Ok(sealed()));
    assert!(matches!(queue.poll(at(0)), Some(Step::Sign(..))));
    assert!(queue.poll(at(5_000)).is_none());
    queue.signed(at(5_900), PublishId(1), Err("late".into()));
    assert!(matches!(queue.poll(at(6_000)), Some(Step::Sign(..))));
}

#[test]
fn a_success_that_the_network_reports_late_is_a_success() {
    for outcome in [SendOutcome::Sent, SendOutcome::NoPeers] {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), envelope(1));
        queue.poll(at(0));
        queue.sealed(PublishId(1), Ok(sealed()));
        queue.poll(at(0));
        queue.signed(at(0), PublishId(1), Ok([9; 65]));
        queue.poll(at(0));
        queue.judged(at(0), PublishId(1), Ok((B256::repeat_byte(1), NOW)));
        assert!(matches!(queue.poll(at(0)), Some(Step::Send(..))));
        assert!(queue.poll(at(5_000)).is_none());
        queue.sent(at(5_900), PublishId(1), outcome.clone());
        let next = queue.poll(at(6_000));
        match outcome {
            SendOutcome::Sent => assert!(matches!(next, Some(Step::Finished(_, Ok(_))))),
            _ => assert!(matches!(next, Some(Step::Send(..))), "{next:?}"),
        }
    }
}

#[test]
fn the_health_names_the_newest_failure_until_it_ends() {
    let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
    let health = |queue: &PublishQueue, now: Now| {
        let text = |text: Option<&str>| text.map(str::to_owned);
        (text(queue.health().signing(now.monotonic)), text(queue.health().sending(now.monotonic)))
    };
    queue.push(at(0), PublishId(1), envelope(1));
    queue.poll(at(0));
    queue.sealed(PublishId(1), Ok(sealed()));
    queue.poll(at(0));
    queue.signed(at(0), PublishId(1), Err("refused".to_owned()));
    assert_eq!(health(&queue, at(0)), (Some("refused".to_owned()), None));
    assert!(queue.poll(at(1_000)).is_some());
    queue.poll(at(6_000));
    assert_eq!(health(&queue, at(6_000)).0.as_deref(), Some("no answer within 5 s"));
    assert!(matches!(queue.poll(at(7_000)), Some(Step::Sign(..))));
    queue.signed(at(7_000), PublishId(1), Ok([9; 65]));
    queue.poll(at(7_000));
    assert!(health(&queue, at(7_000)).0.is_some(), "a signature may be of another key");
    queue.judged(at(7_000), PublishId(1), Ok((B256::repeat_byte(1), NOW)));
    assert_eq!(health(&queue, at(7_000)), (None, None));
    queue.poll(at(7_000));
    queue.sent(at(7_000), PublishId(1), SendOutcome::NoPeers);
    let no_peers = Some("no peer is subscribed to the topic".to_owned());
    assert_eq!(health(&queue, at(7_000)), (None, no_peers));
    assert!(matches!(queue.poll(at(8_000)), Some(Step::Send(..))));
    queue.sent(at(8_000), PublishId(1), SendOutcome::Sent);
    assert_eq!(health(&queue, at(8_000)), (None, None));
}

#[test]
fn a_wrong_signature_is_a_signer_failure_only_if_we_signed() {
    let contents = vec![0; 70].into();
    let theirs = Publication::Signed { version: PayloadVersion::V1, contents };
    for (publication, expected) in [(envelope(1), true), (theirs, false)] {
        let mut queue = PublishQueue::new(TIMESTAMP_THRESHOLD);
        queue.push(at(0), PublishId(1), publication);
        if let Some(Step::Seal(..)) = queue.poll(at(0)) {
            queue.sealed(PublishId(1), Ok(sealed()));
            queue.poll(at(0));
            queue.signed(at(0), PublishId(1), Ok([9; 65]));
            queue.poll(at(0));
        }
        queue.judged(at(0), PublishId(1), Err(Reason::WrongSigner));
        finished(&mut queue, at(0)).1.expect_err("refused");
        assert_eq!(queue.health().signing(at(0).monotonic).is_some(), expected);
        let end = at(0).monotonic + crate::sequencer::FAILURE_TTL;
        assert_eq!(queue.health().signing(end), None, "nothing was signed for long");
    }
}
