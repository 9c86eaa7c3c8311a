//! The wall clock jumps by an hour in either direction, or is wrong from the start.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn jump(conversation: &mut Conversation, forth: bool) {
    let unix = conversation.now.unix;
    conversation.now.unix = if forth { unix + HOUR } else { unix - HOUR };
}

/// Returns the verdict on the `nth` block of the chain, with the timestamp `unix`.
fn verdict(conversation: &mut Conversation, nth: u64, unix: u64) -> Result<(), Reason> {
    let envelope = changed(V4, |payload| {
        payload.timestamp = unix;
        payload.block_number += nth;
    });
    let contents = signed_by(&sequencer(), &body(&envelope));
    let message = conversation.hear(V4, &contents);
    let verdict = conversation.said().into_iter().find_map(|said| match said {
        Said::Accepted(n, _) if n == message => Some(Ok(())),
        Said::Refused(n, reason) if n == message => Some(Err(reason)),
        _ => None,
    });
    verdict.expect("a verdict")
}

#[test]
fn peers_are_not_blamed_for_a_clock_jump_and_judging_resumes_after_it() {
    for forth in [true, false] {
        let mut conversation = Conversation::on(V4);
        // The clock of all other nodes.
        let now = conversation.now.unix_seconds();
        assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
        jump(&mut conversation, forth);
        for nth in 1..20 {
            let found = verdict(&mut conversation, nth, now);
            assert_eq!(found, Err(Reason::ClockInDoubt), "jump forth: {forth}");
        }
        jump(&mut conversation, !forth);
        // No hour has passed: a block that is too old is a fault again, and a current one is
        // accepted.
        assert_eq!(verdict(&mut conversation, 30, now), Ok(()));
        assert_eq!(verdict(&mut conversation, 31, now - 120), Err(Reason::TooOld));
    }
}

#[test]
fn a_block_that_matches_the_new_time_ends_the_doubt() {
    for forth in [true, false] {
        let mut conversation = Conversation::on(V4);
        jump(&mut conversation, forth);
        let now = conversation.now.unix_seconds();
        assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
        assert_eq!(verdict(&mut conversation, 1, now - 120), Err(Reason::TooOld));
    }
}

#[test]
fn a_small_clock_adjustment_is_not_a_jump() {
    let mut conversation = Conversation::on(V4);
    let now = conversation.now.unix_seconds();
    assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
    conversation.now.unix += Duration::from_millis(1_900);
    let now = conversation.now.unix_seconds();
    assert_eq!(verdict(&mut conversation, 1, now - 120), Err(Reason::TooOld));
}

#[test]
fn a_jump_during_validation_neither_blames_nor_ends_the_doubt() {
    let mut conversation = Conversation::on(V4);
    let now = conversation.now.unix_seconds();
    conversation.hold_jobs = true;
    let timely = changed(V4, |payload| payload.timestamp = now);
    let late = changed(V4, |payload| (payload.timestamp, payload.block_number) = (now - 120, 90));
    for envelope in [&timely, &late] {
        conversation.hear(V4, &signed_by(&sequencer(), &body(envelope)));
    }
    jump(&mut conversation, true);
    conversation.run_all_jobs();
    let said = conversation.said();
    assert!(said.iter().any(|said| matches!(said, Said::Accepted(1, _))), "{said:?}");
    assert!(said.contains(&Said::Refused(2, Reason::ClockInDoubt)), "{said:?}");
    conversation.hold_jobs = false;
    assert_eq!(verdict(&mut conversation, 40, now), Err(Reason::ClockInDoubt));
}

#[test]
fn a_clock_that_is_wrong_at_the_start_bans_no_honest_peer() {
    for behind in [true, false] {
        let mut conversation = Conversation::on(V4);
        conversation.tell(Input::Connected(peer(1)));
        // The clock of all other nodes: ours is two minutes behind or ahead.
        let mut right = conversation.now.unix_seconds();
        right = if behind { right + 120 } else { right - 120 };
        for nth in 0..5 {
            let found = verdict(&mut conversation, nth, right);
            assert_eq!(found, Err(Reason::ClockInDoubt), "behind: {behind}");
        }
        // The clock is set.
        conversation.now.unix = Duration::from_secs(right + 1);
        conversation.tell(Input::Wake);
        assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
        assert_eq!(verdict(&mut conversation, 9, right + 1), Ok(()));
        assert_eq!(verdict(&mut conversation, 10, right - 120), Err(Reason::TooOld));
    }
}

#[test]
fn a_block_that_is_barely_timely_does_not_confirm_a_clock_that_may_be_wrong() {
    // Eight seconds behind: a block that arrives six seconds late looks timely. 58 seconds ahead:
    // so does a block that arrives at once.
    for (late, prompt) in [(2, 8), (-58, -62)] {
        let mut conversation = Conversation::on(V4);
        let now = conversation.now.unix_seconds();
        let stamp = |offset: i64| now.saturating_add_signed(offset);
        assert_eq!(verdict(&mut conversation, 0, stamp(late)), Ok(()));
        assert_eq!(verdict(&mut conversation, 1, stamp(prompt)), Err(Reason::ClockInDoubt));
        assert_eq!(verdict(&mut conversation, 2, stamp(0)), Ok(()));
        let found = verdict(&mut conversation, 3, stamp(prompt));
        assert!(matches!(found, Err(Reason::TooNew | Reason::TooOld)), "{found:?}");
    }
}

#[test]
fn a_clock_that_drifts_bans_no_honest_peer() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::Connected(peer(1)));
    // Both of our clocks lose 50 ms with each block.
    for nth in 0..400 {
        conversation.pass(2 * SECOND);
        let theirs = (conversation.now.unix + Duration::from_millis(50 * nth)).as_secs();
        let found = verdict(&mut conversation, nth, theirs);
        assert!(matches!(found, Ok(()) | Err(Reason::ClockInDoubt)), "{nth}: {found:?}");
    }
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
}

#[test]
fn old_blocks_that_a_stopped_process_finds_are_no_fault() {
    let mut conversation = Conversation::on(V4);
    let now = conversation.now.unix_seconds();
    assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
    // Nothing ran meanwhile, and both clocks went on.
    conversation.now.unix += 100 * SECOND;
    conversation.now.monotonic = conversation.now.monotonic + 100 * SECOND;
    assert_eq!(verdict(&mut conversation, 1, now), Err(Reason::ClockInDoubt));
    assert_eq!(verdict(&mut conversation, 50, now + 100), Ok(()));
    assert_eq!(verdict(&mut conversation, 2, now), Err(Reason::TooOld));
}
