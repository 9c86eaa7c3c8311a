//! Accepted signers during a change.

use super::*;

const GRACE: Duration = crate::gossip::GRACE_PERIOD;

fn old() -> Address {
    sequencer().address()
}

fn new() -> Address {
    key(8).address()
}

/// Returns the `nth` block with the conversation's present time, signed by any signer.
fn of(conversation: &Conversation, signer: u8, nth: u64) -> Vec<u8> {
    let envelope = changed(V4, |payload| {
        payload.timestamp = conversation.now.unix_seconds();
        payload.block_number += nth;
    });
    signed_by(&key(signer), &body(&envelope))
}

fn verdict(conversation: &mut Conversation, contents: &[u8]) -> Result<(), Reason> {
    let message = conversation.hear(V4, contents);
    conversation
        .said()
        .into_iter()
        .find_map(|said| match said {
            Said::Accepted(n, _) if n == message => Some(Ok(())),
            Said::Refused(n, reason) if n == message => Some(Err(reason)),
            _ => None,
        })
        .expect("a verdict")
}

#[test]
fn a_signer_change_is_reported_once() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(old())));
    assert_eq!(conversation.said(), [], "it is the one in force");
    conversation.tell(Input::SetSigner(Some(new())));
    assert_eq!(conversation.said(), [Said::Signer(Some(new()), Some(old()))]);
    conversation.tell(Input::SetSigner(Some(new())));
    assert_eq!(conversation.said(), []);
    conversation.tell(Input::SetSigner(None));
    assert!(matches!(conversation.said()[..], [Said::Signer(None, _)]));
    conversation.tell(Input::SetSigner(Some(Address::ZERO)));
    assert_eq!(conversation.said(), [], "the zero address means unknown, which it was before");
}

#[test]
fn a_replaced_signer_stays_valid_for_3_hours() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    conversation.pass(GRACE - SECOND);
    let contents = of(&conversation, 7, 1);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    conversation.pass(SECOND);
    let contents = of(&conversation, 7, 2);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    assert_eq!(conversation.node.signers(), Signers { current: Some(new()), previous: None });
}

#[test]
fn the_first_block_of_the_new_signer_ends_the_grace() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.said();
    for (signer, nth, expected) in
        [(7, 0, Ok(())), (8, 1, Ok(())), (7, 2, Err(Reason::SignerInDoubt))]
    {
        let contents = of(&conversation, signer, nth);
        assert_eq!(verdict(&mut conversation, &contents), expected, "block {nth} of key {signer}");
    }
    // A message may overtake others, so the peer that sends an old block is a suspect only when
    // such a block would be too old anyway. The next block of the new signer proves it.
    conversation.pass(crate::gossip::SWITCH_PERIOD);
    conversation.tell(Input::Connected(peer(2)));
    let contents = of(&conversation, 7, 3);
    conversation.hear_from(2, V4, Unpacked::from_contents(&contents));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    conversation.pass(2 * SECOND);
    let contents = of(&conversation, 8, 4);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 1);
}

/// Returns a node that can read its signer again.
fn reading() -> Conversation {
    let mut config = config(V4);
    config.reads_signer = true;
    Conversation::with(config)
}

#[test]
fn no_peer_is_blamed_for_a_new_signer_before_it_is_read() {
    let mut conversation = reading();
    for nth in 0..3 {
        let contents = of(&conversation, 8, nth);
        assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    }
    conversation.tell(Input::SetSigner(Some(new())));
    let contents = of(&conversation, 8, 3);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
}

#[test]
fn the_sender_of_foreign_blocks_is_blamed_once_the_old_signer_is_confirmed() {
    let mut conversation = reading();
    conversation.tell(Input::Connected(peer(1)));
    let contents = of(&conversation, 7, 9);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    let contents = of(&conversation, 8, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    // Read at an L1 block that is hardly younger than the first block of the unknown signer.
    let first = conversation.now.unix_seconds();
    let early = Input::SignerRead { signer: Some(old()), as_of: first + 35 };
    conversation.tell(early);
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    let contents = of(&conversation, 8, 1);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    conversation.tell(Input::SignerRead { signer: Some(old()), as_of: first + 36 });
    assert!(conversation.node.peers().gate().ban_of(&peer(1)).is_some());
}

/// Lets twelve honest peers bring blocks of a new signer, two seconds apart, while L1 is read as of
/// `behind` seconds ago after each block.
fn rotation_that_l1_shows_late(behind: u64) -> Conversation {
    let mut conversation = reading();
    for (who, envelope) in (1_u8..).zip(chain(V4, 12)) {
        conversation.tell(Input::Connected(peer(who)));
        // The old signer makes one more block.
        let signer = if who == 1 { 7 } else { 8 };
        let contents = signed_by(&key(signer), &body(&envelope));
        conversation.hear_from(who, V4, Unpacked::from_contents(&contents));
        let as_of = conversation.now.unix_seconds() - behind;
        conversation.tell(Input::SignerRead { signer: Some(old()), as_of });
        conversation.pass(2 * SECOND);
    }
    conversation
}

#[test]
fn a_rotation_that_l1_shows_late_bans_no_honest_peer() {
    for behind in [0, 12, 120] {
        let mut conversation = rotation_that_l1_shows_late(behind);
        conversation.pass(Duration::from_secs(behind));
        let as_of = conversation.now.unix_seconds() - behind;
        conversation.tell(Input::SignerRead { signer: Some(new()), as_of });
        assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0, "{behind} s behind");
    }
}

/// Lets twelve honest peers bring blocks of the old signer, two seconds apart, to a node that was
/// given the new signer before the sequencer switches.
fn configured_early(reads_signer: bool) -> Conversation {
    let mut conversation =
        Conversation::with(NodeConfig { signer: Some(new()), reads_signer, ..config(V4) });
    for who in 1..=12 {
        conversation.tell(Input::Connected(peer(who)));
        let contents = of(&conversation, 7, who.into());
        conversation.hear_from(who, V4, Unpacked::from_contents(&contents));
        conversation.pass(2 * SECOND);
    }
    conversation
}

#[test]
fn a_signer_that_is_configured_before_the_switch_bans_no_honest_peer() {
    let mut conversation = configured_early(false);
    let contents = of(&conversation, 8, 13);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    // From now on, blocks of another key are suspicious.
    conversation.tell(Input::Connected(peer(20)));
    let contents = of(&conversation, 7, 14);
    conversation.hear_from(20, V4, Unpacked::from_contents(&contents));
    conversation.pass(2 * SECOND);
    let contents = of(&conversation, 8, 15);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert!(conversation.node.peers().gate().ban_of(&peer(20)).is_some());
}

#[test]
fn l1_that_shows_the_new_signer_before_the_switch_bans_no_honest_peer() {
    let mut conversation = configured_early(true);
    let as_of = conversation.now.unix_seconds() + 60;
    conversation.tell(Input::SignerRead { signer: Some(new()), as_of });
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
}

#[test]
fn a_reading_of_unknown_age_changes_the_signer_and_blames_no_peer() {
    let mut conversation = rotation_that_l1_shows_late(0);
    conversation.pass(60 * SECOND);
    conversation.tell(Input::SignerRead { signer: Some(old()), as_of: 0 });
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    conversation.tell(Input::SignerRead { signer: Some(new()), as_of: 0 });
    assert_eq!(conversation.node.signers().current, Some(new()));
}

#[test]
fn a_rotation_without_signer_reads_bans_no_honest_peer() {
    let mut conversation = Conversation::on(V4);
    for nth in 0..3 {
        let contents = of(&conversation, 7, nth);
        assert_eq!(verdict(&mut conversation, &contents), Ok(()));
        conversation.pass(2 * SECOND);
    }
    // The new sequencer begins one block lower, and the old one's last block is late.
    let last = conversation.now.unix_seconds() - 2;
    for (who, nth) in (1_u8..).zip(2..28) {
        conversation.tell(Input::Connected(peer(who)));
        let contents = of(&conversation, 8, nth);
        conversation.hear_from(who, V4, Unpacked::from_contents(&contents));
        conversation.pass(2 * SECOND);
    }
    let late = changed(V4, |payload| {
        payload.timestamp = last;
        payload.block_number += 2;
    });
    conversation.hear_from(99, V4, Unpacked::from_contents(&signed(&late)));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
}

#[test]
fn the_sender_of_a_forged_block_is_blamed_at_the_next_good_one() {
    let mut conversation = Conversation::on(V4);
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    conversation.tell(Input::Connected(peer(2)));
    let forged = of(&conversation, 8, 1);
    conversation.hear_from(2, V4, Unpacked::from_contents(&forged));
    let gate =
        |conversation: &Conversation| conversation.node.peers().gate().ban_of(&peer(2)).is_some();
    assert!(!gate(&conversation));
    conversation.pass(2 * SECOND);
    let contents = of(&conversation, 7, 1);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert!(gate(&conversation));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 1);
}

#[test]
fn a_flood_of_forged_blocks_is_blamed_without_a_good_one() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::Connected(peer(2)));
    for nth in 0..64 {
        let forged = of(&conversation, 8, nth);
        conversation.hear_from(2, V4, Unpacked::from_contents(&forged));
        assert!(conversation.node.peers().gate().ban_of(&peer(2)).is_none());
    }
    let forged = of(&conversation, 8, 1000);
    conversation.hear_from(2, V4, Unpacked::from_contents(&forged));
    assert!(conversation.node.peers().gate().ban_of(&peer(2)).is_some());
}

#[test]
fn the_signer_is_read_until_the_suspects_are_judged() {
    let mut conversation = reading();
    let contents = of(&conversation, 8, 0);
    let message = Unpacked::from_contents(&contents);
    let id = message.message_id(&crate::gossip::block_topic(CHAIN_ID, V4));
    let gossip = Input::Gossip { from: peer(1), topic: V4, id, message };
    let mut reads = Vec::new();
    let mut inputs = std::collections::VecDeque::from([gossip]);
    let mut now = conversation.now;
    let start = now.monotonic;
    for _ in 0..5 {
        let input = inputs.pop_front().unwrap_or(Input::Wake);
        conversation.node.handle(now, input);
        while let Some(output) = conversation.node.poll() {
            match output {
                Output::Job(job) => conversation.node.handle(now, Input::JobDone(job.run())),
                Output::ReadSigner => reads.push(now.monotonic.since(start).as_secs()),
                _ => {}
            }
        }
        now = Now { monotonic: now.monotonic + 30 * SECOND, unix: now.unix + 30 * SECOND };
    }
    assert_eq!(reads, [0, 60, 120]);
}

#[test]
fn the_end_of_the_grace_period_is_reported_at_once() {
    let only_new = Signers { current: Some(new()), previous: None };
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    assert_eq!(conversation.node.signers(), Signers { previous: Some(old()), ..only_new });
    let contents = of(&conversation, 8, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    assert_eq!(conversation.node.signers(), only_new, "by a block of the new signer");

    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.pass(GRACE);
    conversation.tell(Input::Wake);
    assert_eq!(conversation.node.signers(), only_new, "by time");
}

#[test]
fn a_bad_block_of_the_new_signer_does_not_end_the_grace() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    // It confirms the clock.
    let contents = of(&conversation, 7, 1);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    let stale = signed_by(&key(8), &body(&block_at(V4, NOW - 100)));
    assert_eq!(verdict(&mut conversation, &stale), Err(Reason::TooOld));
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
}

#[test]
fn a_running_job_is_judged_by_the_signers_at_its_start() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    let (by_old, by_new) = (of(&conversation, 7, 0), of(&conversation, 8, 1));
    conversation.hear(V4, &by_old);
    conversation.hear(V4, &by_new);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.said();
    conversation.run_all_jobs();
    let said = conversation.said();
    assert!(matches!(said[0], Said::Accepted(1, _)), "{said:?}");
    // The sender is not at fault.
    assert_eq!(said.last(), Some(&Said::Refused(2, Reason::SignerInDoubt)));
}

#[test]
fn a_waiting_message_is_judged_by_the_signers_at_its_turn() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    for _ in 0..4 {
        conversation.hear(V4, &[0; MIN_MESSAGE_SIZE]);
    }
    let by_new = of(&conversation, 8, 0);
    conversation.hear(V4, &by_new);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.run_all_jobs();
    assert!(conversation.said().iter().any(|said| matches!(said, Said::Accepted(5, _))));
}

#[test]
fn without_a_signer_every_message_is_ignored() {
    let mut config = config(V4);
    config.chain.unsafe_block_signer = None;
    let mut conversation = Conversation::with(config);
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::NoSigner));
    conversation.tell(Input::SetSigner(Some(old())));
    assert_eq!(conversation.said(), [Said::Signer(Some(old()), None)]);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
}

#[test]
fn the_operators_signer_takes_precedence_over_the_chains() {
    let mut conversation = Conversation::with(NodeConfig { signer: Some(new()), ..config(V4) });
    assert_eq!(conversation.node.signers(), Signers { current: Some(new()), previous: None });
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    let contents = of(&conversation, 8, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
}

#[test]
fn two_changes_within_the_grace_keep_only_the_last_predecessor() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.tell(Input::SetSigner(Some(key(9).address())));
    let newest = Some(key(9).address());
    assert_eq!(conversation.node.signers(), Signers { current: newest, previous: Some(new()) });
    conversation.pass(crate::gossip::SWITCH_PERIOD);
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
}

#[test]
fn a_block_judged_before_a_signer_change_is_not_blamed_on_its_sender() {
    let mut conversation = reading();
    conversation.tell(Input::Connected(peer(1)));
    conversation.hold_jobs = true;
    let contents = of(&conversation, 8, 0);
    let message = conversation.hear(V4, &contents);
    let as_of = conversation.now.unix_seconds();
    conversation.tell(Input::SignerRead { signer: Some(new()), as_of });
    conversation.run_all_jobs();
    let said = conversation.said();
    assert!(said.contains(&Said::Refused(message, Reason::SignerInDoubt)), "{said:?}");
    // Later reads do not blame it.
    conversation.pass(100 * SECOND);
    let as_of = conversation.now.unix_seconds();
    conversation.tell(Input::SignerRead { signer: Some(new()), as_of });
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    assert!(conversation.node.peers().score(conversation.now, &peer(1)) >= 0.0);
}
