//! The wall clock jumps by an hour, either way.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn jump(conversation: &mut Conversation, forth: bool) {
    let unix = conversation.now.unix;
    conversation.now.unix = if forth { unix + HOUR } else { unix - HOUR };
}

/// The verdict on the `nth` block of the chain, as old as `unix` says.
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
fn honest_peers_are_not_blamed_for_a_clock_that_jumped_and_all_is_well_when_it_is_back() {
    for forth in [true, false] {
        let mut conversation = Conversation::on(V4);
        // What everybody else's clock says.
        let now = conversation.now.unix_seconds();
        assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
        jump(&mut conversation, forth);
        for nth in 1..20 {
            let found = verdict(&mut conversation, nth, now);
            assert_eq!(found, Err(Reason::ClockInDoubt), "jump forth: {forth}");
        }
        jump(&mut conversation, !forth);
        // An hour has not passed: what is too old is a fault again, and what is of now is taken.
        assert_eq!(verdict(&mut conversation, 30, now), Ok(()));
        assert_eq!(verdict(&mut conversation, 31, now - 120), Err(Reason::TooOld));
    }
}

#[test]
fn a_block_by_the_new_time_ends_the_doubt() {
    for forth in [true, false] {
        let mut conversation = Conversation::on(V4);
        jump(&mut conversation, forth);
        let now = conversation.now.unix_seconds();
        assert_eq!(verdict(&mut conversation, 0, now), Ok(()));
        assert_eq!(verdict(&mut conversation, 1, now - 120), Err(Reason::TooOld));
    }
}

#[test]
fn an_adjusted_clock_is_no_jump() {
    let mut conversation = Conversation::on(V4);
    conversation.now.unix += Duration::from_millis(1_900);
    let now = conversation.now.unix_seconds();
    assert_eq!(verdict(&mut conversation, 0, now - 120), Err(Reason::TooOld));
}

#[test]
fn a_jump_while_a_block_is_judged_neither_blames_nor_ends_the_doubt() {
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
