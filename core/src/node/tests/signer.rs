//! Whose signature counts, while that changes.

use super::*;

const GRACE: Duration = crate::gossip::GRACE_PERIOD;

fn old() -> Address {
    sequencer().address()
}

fn new() -> Address {
    key(8).address()
}

/// The `nth` block, as old as the conversation's clock says, signed by whoever.
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
fn a_change_of_signer_is_told_once() {
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
    assert_eq!(conversation.said(), [], "the zero address is nobody, and so it was before");
}

#[test]
fn a_replaced_signer_counts_for_3_hours() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    conversation.pass(GRACE - SECOND);
    let contents = of(&conversation, 7, 1);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
    conversation.pass(SECOND);
    let contents = of(&conversation, 7, 2);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::WrongSigner));
    assert_eq!(conversation.node.signers(), Signers { current: Some(new()), previous: None });
}

#[test]
fn the_first_block_of_the_new_signer_ends_the_grace() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.said();
    for (signer, nth, expected) in [(7, 0, Ok(())), (8, 1, Ok(())), (7, 2, Err(Reason::WrongSigner))] {
        let contents = of(&conversation, signer, nth);
        assert_eq!(verdict(&mut conversation, &contents), expected, "block {nth} of key {signer}");
    }
}

/// A node whose signer can be read anew.
fn reading() -> Conversation {
    let mut config = config(V4);
    config.reads_signer = true;
    Conversation::with(config)
}

#[test]
fn nobody_is_blamed_for_a_new_signer_before_it_is_read() {
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
fn who_brought_blocks_of_a_stranger_is_blamed_when_the_signer_is_the_old_one() {
    let mut conversation = reading();
    conversation.tell(Input::Connected(peer(1)));
    let contents = of(&conversation, 8, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::SignerInDoubt));
    assert_eq!(conversation.node.peers().gate().peer_bans().count(), 0);
    conversation.tell(Input::SetSigner(Some(old())));
    assert!(conversation.node.peers().gate().ban_of(&peer(1)).is_some());
    // It was read just now.
    let contents = of(&conversation, 8, 1);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::WrongSigner));
}

#[test]
fn the_end_of_the_grace_is_told_at_once() {
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
    let stale = signed_by(&key(8), &body(&block_at(V4, NOW - 100)));
    assert_eq!(verdict(&mut conversation, &stale), Err(Reason::TooOld));
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
}

#[test]
fn a_job_under_way_is_judged_by_the_signer_of_its_start() {
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
    assert_eq!(said.last(), Some(&Said::Refused(2, Reason::WrongSigner)));
}

#[test]
fn one_that_waits_is_judged_by_the_signer_of_its_turn() {
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
fn the_signer_of_the_operator_is_put_before_the_chains() {
    let mut conversation = Conversation::with(NodeConfig { signer: Some(new()), ..config(V4) });
    assert_eq!(conversation.node.signers(), Signers { current: Some(new()), previous: None });
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::WrongSigner));
    let contents = of(&conversation, 8, 0);
    assert_eq!(verdict(&mut conversation, &contents), Ok(()));
}

#[test]
fn two_changes_within_the_grace_leave_the_last_predecessor() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(new())));
    conversation.tell(Input::SetSigner(Some(key(9).address())));
    let newest = Some(key(9).address());
    assert_eq!(conversation.node.signers(), Signers { current: newest, previous: Some(new()) });
    let contents = of(&conversation, 7, 0);
    assert_eq!(verdict(&mut conversation, &contents), Err(Reason::WrongSigner));
}
