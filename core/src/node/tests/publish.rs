//! A block of our own, from the caller to the network.

use super::*;
use crate::gossip::MAX_MESSAGE_SIZE;
use crate::payload::EncodeError;

fn refused(reason: Reason) -> Result<B256, PublishError> {
    Err(PublishError::Refused(reason))
}

fn hash(envelope: &Envelope) -> B256 {
    envelope.payload.block_hash
}

/// Returns a publication of a block that is already signed.
fn presigned(version: PayloadVersion, contents: &[u8]) -> Publication {
    Publication::Signed { version, contents: contents.to_vec().into() }
}

#[test]
fn an_own_block_is_signed_judged_stored_and_delivered_before_it_is_sent() {
    for version in PayloadVersion::ALL {
        let mut conversation = Conversation::on(version);
        let block = block(version);
        let publication = conversation.publish(&block);
        assert_eq!(
            conversation.said(),
            [
                Said::Sign(publication),
                Said::Store(id(&block)),
                Said::Block(id(&block)),
                Said::Send(publication, version),
                Said::Published(publication, Ok(hash(&block))),
            ]
        );
        assert_eq!(conversation.node.view().head(), Some(id(&block)));
        assert_eq!(conversation.sent, [(publication, signed(&block))]);
    }
}

#[test]
fn a_published_block_is_accepted_by_another_node() {
    for version in PayloadVersion::ALL {
        let (mut sequencer, mut follower) = (Conversation::on(version), Conversation::on(version));
        for block in chain(version, 3) {
            sequencer.publish(&block);
            let (_, contents) = sequencer.sent.last().expect("sent").clone();
            let message = follower.hear(version, &contents);
            let expected = [
                Said::Accepted(message, id(&block)),
                Said::Store(id(&block)),
                Said::Block(id(&block)),
            ];
            assert_eq!(follower.said(), expected);
        }
    }
}

#[test]
fn a_returning_own_block_is_already_seen() {
    let mut conversation = Conversation::on(V4);
    conversation.publish(&block(V4));
    conversation.said();
    let message = conversation.hear_block(&block(V4));
    assert_eq!(conversation.said(), [Said::Refused(message, Reason::AlreadySeen)]);
}

#[test]
fn a_block_is_published_on_the_topic_of_its_version() {
    // This does not depend on our schedule: a sequencer may know of a fork that we do not.
    for ours in PayloadVersion::ALL {
        for found in PayloadVersion::ALL {
            let mut conversation = Conversation::on(ours);
            let publication = conversation.publish(&block(found));
            let said = conversation.said();
            assert!(said.contains(&Said::Send(publication, found)), "{ours}: {said:?}");
            let doubts = said.iter().filter(|said| matches!(said, Said::ScheduleInDoubt(_)));
            assert_eq!(doubts.count(), usize::from(ours != found), "{ours}: {said:?}");
        }
    }
}

#[test]
fn a_block_that_only_our_schedule_refuses_is_published() {
    let mut conversation = Conversation::on(V4);
    let block = changed(V4, |payload| payload.blob_gas_used = Some(40_000));
    let publication = conversation.publish(&block);
    let said = conversation.said();
    assert!(said.contains(&Said::Send(publication, V4)), "{said:?}");
    assert!(said.contains(&Said::Block(id(&block))), "{said:?}");
    assert!(said.iter().any(|said| matches!(said, Said::ScheduleInDoubt(_))), "{said:?}");
}

#[test]
fn publishing_without_a_signer_fails_before_any_work() {
    let mut conversation = Conversation::with(NodeConfig { can_sign: false, ..config(V4) });
    conversation.hold_jobs = true;
    let publication = conversation.publish(&block(V4));
    assert!(conversation.jobs.is_empty());
    assert_eq!(conversation.said(), [Said::Published(publication, Err(PublishError::NoSigner))]);
    assert!(PublishError::NoSigner.to_string().contains("node has no p2p signer"));
}

#[test]
fn a_block_signed_by_a_foreign_key_is_refused() {
    let mut conversation = Conversation::on(V4);
    conversation.signing = Signing::With(key(8));
    let publication = conversation.publish(&block(V4));
    let expected =
        [Said::Sign(publication), Said::Published(publication, refused(Reason::WrongSigner))];
    assert_eq!(conversation.said(), expected);
    assert_eq!(conversation.node.view().head(), None);
}

#[test]
fn a_stale_block_is_refused() {
    let mut conversation = Conversation::on(V4);
    conversation.publish(&block_at(V4, NOW - 60));
    conversation.said();
    let publication = conversation.publish(&block_at(V4, NOW - 61));
    // The signer is not asked to sign a block that no node would accept.
    assert_eq!(conversation.said(), [Said::Published(publication, refused(Reason::TooOld))]);
}

#[test]
fn a_block_from_the_future_is_refused() {
    let mut conversation = Conversation::on(V4);
    let publication = conversation.publish(&block_at(V4, NOW + 6));
    assert_eq!(
        conversation.said().pop(),
        Some(Said::Published(publication, refused(Reason::TooNew)))
    );
}

#[test]
fn without_a_known_signer_an_own_block_is_refused() {
    let mut conversation = Conversation::on(V4);
    conversation.tell(Input::SetSigner(Some(Address::ZERO)));
    conversation.said();
    let publication = conversation.publish(&block(V4));
    let expected =
        [Said::Sign(publication), Said::Published(publication, refused(Reason::NoSigner))];
    assert_eq!(conversation.said(), expected);
}

#[test]
fn a_block_with_a_wrong_hash_is_refused() {
    let mut conversation = Conversation::on(V4);
    let mut wrong = block(V4);
    wrong.payload.block_hash = B256::ZERO;
    let publication = conversation.publish(&wrong);
    assert_eq!(
        conversation.said().pop(),
        Some(Said::Published(publication, refused(Reason::BlockHash)))
    );
}

#[test]
fn the_seventh_own_block_of_a_height_is_refused() {
    let mut conversation = Conversation::on(V4);
    for salt in 0..6 {
        let publication = conversation.publish(&changed(V4, |payload| payload.gas_used = salt));
        let said = conversation.said();
        assert!(
            matches!(said.last(), Some(Said::Published(n, Ok(_))) if *n == publication),
            "{said:?}"
        );
    }
    let publication = conversation.publish(&changed(V4, |payload| payload.gas_used = 6));
    let expected = Said::Published(publication, refused(Reason::TooManyBlocks));
    assert_eq!(conversation.said().pop(), Some(expected));
}

#[test]
fn a_block_that_cannot_be_encoded_is_an_error() {
    let mut conversation = Conversation::on(V4);
    let mut rootless = block(V4);
    rootless.parent_beacon_block_root = None;
    let publication = conversation.publish(&rootless);
    let missing = |field| PublishError::Encode(EncodeError::MissingData(field));
    let expected = [Said::Published(publication, Err(missing("parentBeaconBlockRoot")))];
    assert_eq!(conversation.said(), expected);
    let mut unblobbed = block(V4);
    unblobbed.payload.blob_gas_used = None;
    let publication = conversation.publish(&unblobbed);
    let expected = [Said::Published(publication, Err(missing("blobGasUsed")))];
    assert_eq!(conversation.said(), expected);
}

#[test]
fn a_block_larger_than_any_message_is_not_signed() {
    let sized = |filler| changed(V4, |payload| payload.transactions = vec![vec![0; filler].into()]);
    let most = MAX_MESSAGE_SIZE - signed(&sized(0)).len();
    let mut conversation = Conversation::on(V4);
    conversation.publish(&sized(most));
    assert!(matches!(conversation.said()[..], [Said::Sign(_), .., Said::Published(1, Ok(_))]));
    let publication = conversation.publish(&sized(most + 1));
    let too_large = PublishError::TooLarge(MAX_MESSAGE_SIZE + 1);
    assert_eq!(conversation.said(), [Said::Published(publication, Err(too_large))]);
}

#[test]
fn a_panicking_job_ends_only_its_own_publication() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    let sealing = conversation.publish(&chain(V4, 1)[0]);
    let judging = conversation.publish(&chain(V4, 2)[1]);
    let good = conversation.publish(&chain(V4, 3)[2]);
    let panic_next = |conversation: &mut Conversation| {
        let job = conversation.jobs.pop_front().expect("a job");
        conversation.tell(Input::JobDone(JobResult::panicked(job.id())));
    };
    panic_next(&mut conversation);
    assert_eq!(conversation.said(), [Said::Published(sealing, refused(Reason::Panicked))]);
    conversation.run_job();
    panic_next(&mut conversation);
    let expected = [Said::Sign(judging), Said::Published(judging, refused(Reason::Panicked))];
    assert_eq!(conversation.said(), expected);
    conversation.run_all_jobs();
    assert!(matches!(conversation.said().last(), Some(Said::Published(n, Ok(_))) if *n == good));
}

#[test]
fn an_own_block_takes_no_gossip_slot() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    for _ in 0..6 {
        conversation.hear(V4, &[0; MIN_MESSAGE_SIZE]);
    }
    conversation.publish(&block(V4));
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (5, 2));
    let sealing = conversation.jobs.pop_back().expect("five jobs");
    conversation.tell(Input::JobDone(sealing.run()));
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (5, 2), "now it is judged");
    let judging = conversation.jobs.pop_back().expect("five jobs");
    conversation.tell(Input::JobDone(judging.run()));
    assert!(matches!(conversation.said().last(), Some(Said::Published(1, Ok(_)))));
    assert_eq!((conversation.jobs.len(), conversation.node.waiting()), (4, 2));
}

#[test]
fn a_presigned_block_needs_no_signer() {
    let mut conversation = Conversation::with(NodeConfig { can_sign: false, ..config(V4) });
    let publication = conversation.submit(presigned(V4, &signed(&block(V4))));
    let block = block(V4);
    assert_eq!(
        conversation.said(),
        [
            Said::Store(id(&block)),
            Said::Block(id(&block)),
            Said::Send(publication, V4),
            Said::Published(publication, Ok(hash(&block))),
        ]
    );
    assert_eq!(conversation.sent, [(publication, signed(&block))]);
}

#[test]
fn a_presigned_block_is_judged_like_any_other() {
    let mut conversation = Conversation::on(V4);
    let oversized = vec![0; MAX_MESSAGE_SIZE + 1];
    for (contents, reason) in [
        (signed_by(&key(8), &body(&block(V4))), Reason::WrongSigner),
        (with_v(&signed(&block(V4)), 27), Reason::Signature),
        (signed(&block_at(V4, NOW - 61)), Reason::TooOld),
        (signed(&block(V3)), Reason::Payload),
        (signed_by(&sequencer(), &[]), Reason::AnnouncedTooShort),
        (Vec::new(), Reason::AnnouncedTooShort),
        (oversized, Reason::AnnouncedTooLong),
    ] {
        let publication = conversation.submit(presigned(V4, &contents));
        assert_eq!(conversation.said(), [Said::Published(publication, refused(reason))]);
    }
}

#[test]
fn a_block_repeated_within_65_seconds_is_published_without_a_second_send() {
    let mut conversation = Conversation::on(V4);
    conversation.publish(&block(V4));
    conversation.said();
    conversation.pass(Duration::from_millis(64_999));
    let publication = conversation.publish(&block(V4));
    assert_eq!(conversation.said(), [Said::Published(publication, Ok(hash(&block(V4))))]);
    conversation.pass(Duration::from_millis(1));
    let publication = conversation.publish(&block(V4));
    assert_eq!(
        conversation.said().pop(),
        Some(Said::Published(publication, refused(Reason::TooOld)))
    );
}

#[test]
fn a_repeated_presigned_block_is_also_published() {
    let mut conversation = Conversation::on(V4);
    for _ in 0..3 {
        let publication = conversation.submit(presigned(V4, &signed(&block(V4))));
        let said = conversation.said();
        assert_eq!(
            said.last(),
            Some(&Said::Published(publication, Ok(hash(&block(V4))))),
            "{said:?}"
        );
    }
    assert_eq!(conversation.node.view().blocks(), 1);
}

#[test]
fn the_same_block_twice_in_the_queue_is_published_twice() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let first = conversation.publish(&block(V4));
    let second = conversation.publish(&block(V4));
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.pass(SECOND);
    let said = conversation.said();
    for publication in [first, second] {
        assert!(said.contains(&Said::Published(publication, Ok(hash(&block(V4))))), "{said:?}");
    }
}

#[test]
fn a_block_first_received_by_gossip_is_sent_but_not_delivered_again() {
    let mut conversation = Conversation::on(V4);
    conversation.hear_block(&block(V4));
    conversation.said();
    conversation.network = Network::Answers(SendOutcome::AlreadySent);
    let publication = conversation.publish(&block(V4));
    assert_eq!(
        conversation.said(),
        [
            Said::Sign(publication),
            Said::Send(publication, V4),
            Said::Published(publication, Ok(hash(&block(V4)))),
        ]
    );
}
