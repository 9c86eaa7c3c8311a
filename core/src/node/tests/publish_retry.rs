//! Publications that fail at first: retries, timeouts, expiry, and the bound of the queue.

use super::*;
use crate::sequencer::QUEUE_LENGTH;

/// Maximum number of publications in the queue.
const MOST: u64 = QUEUE_LENGTH as u64;

fn published(said: &[Said]) -> Vec<(u64, Result<B256, PublishError>)> {
    said.iter()
        .filter_map(|said| match said {
            Said::Published(publication, result) => Some((*publication, result.clone())),
            _ => None,
        })
        .collect()
}

fn sends(said: &[Said]) -> usize {
    said.iter().filter(|said| matches!(said, Said::Send(..))).count()
}

#[test]
fn without_peers_a_block_is_resent_every_second() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let publication = conversation.publish(&block(V4));
    assert_eq!(conversation.said().last(), Some(&Said::Send(publication, V4)));
    for _ in 0..10 {
        conversation.pass(Duration::from_millis(999));
        assert_eq!(conversation.said(), []);
        conversation.pass(Duration::from_millis(1));
        assert_eq!(conversation.said(), [Said::Send(publication, V4)]);
    }
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.pass(SECOND);
    let done = Said::Published(publication, Ok(block(V4).payload.block_hash));
    assert_eq!(conversation.said(), [Said::Send(publication, V4), done]);
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
}

#[test]
fn a_block_that_no_peer_takes_expires_at_60_seconds_of_age() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let publication = conversation.publish(&block(V4));
    conversation.pass(Duration::from_millis(59_999));
    let said = conversation.said();
    assert_eq!((sends(&said), published(&said)), (60, vec![]));
    conversation.pass(Duration::from_millis(1));
    let expired = PublishError::Expired(Obstacle::NoPeers);
    assert_eq!(conversation.said(), [Said::Published(publication, Err(expired))]);
    conversation.pass(3600 * SECOND);
    assert_eq!(conversation.said(), []);
}

#[test]
fn the_retry_window_equals_the_timestamp_threshold() {
    let threshold = 10 * SECOND;
    let mut conversation =
        Conversation::with(NodeConfig { timestamp_threshold: threshold, ..config(V4) });
    conversation.network = Network::Answers(SendOutcome::Failed("full".to_owned()));
    let publication = conversation.publish(&block_at(V4, NOW - 5));
    conversation.pass(5 * SECOND);
    let said = conversation.said();
    let expired = PublishError::Expired(Obstacle::Network("full".to_owned()));
    assert_eq!((sends(&said), published(&said)), (5, vec![(publication, Err(expired))]));
}

#[test]
fn a_failing_signer_is_retried_every_second() {
    let mut conversation = Conversation::on(V4);
    conversation.signing = Signing::Fails("locked");
    let publication = conversation.publish(&block(V4));
    assert_eq!(conversation.said(), [Said::Sign(publication)]);
    conversation.pass(2 * SECOND);
    assert_eq!(conversation.said(), [Said::Sign(publication), Said::Sign(publication)]);
    conversation.signing = Signing::With(sequencer());
    conversation.pass(SECOND);
    assert!(matches!(published(&conversation.said())[..], [(_, Ok(_))]));
}

#[test]
fn an_expired_block_names_the_signers_failure() {
    let mut conversation = Conversation::on(V4);
    conversation.signing = Signing::Fails("the vault is sealed");
    let publication = conversation.publish(&block(V4));
    conversation.pass(120 * SECOND);
    let said = conversation.said();
    let expired = PublishError::Expired(Obstacle::Signer("the vault is sealed".to_owned()));
    let text =
        "the block grew too old before it could be sent: the signer failed: the vault is sealed";
    assert_eq!(expired.to_string(), text);
    assert_eq!(published(&said), [(publication, Err(expired))]);
}

#[test]
fn a_silent_signer_or_network_times_out_after_5_seconds() {
    let mut conversation = Conversation::on(V4);
    conversation.signing = Signing::Silent;
    conversation.network = Network::Silent;
    let publication = conversation.publish(&block(V4));
    assert_eq!(conversation.said(), [Said::Sign(publication)]);
    conversation.pass(Duration::from_millis(5_999));
    assert_eq!(conversation.said(), []);
    conversation.signing = Signing::With(sequencer());
    conversation.pass(Duration::from_millis(1));
    assert_eq!(sends(&conversation.said()), 1);
    conversation.pass(Duration::from_millis(5_999));
    assert_eq!(conversation.said(), []);
    conversation.pass(Duration::from_millis(1));
    assert_eq!(conversation.said(), [Said::Send(publication, V4)]);
    conversation.pass(60 * SECOND);
    let expired = Err(PublishError::Expired(Obstacle::Timeout));
    assert_eq!(published(&conversation.said()), [(publication, expired)]);
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Silent;
    let publication = PublishId(conversation.publish(&block(V4)));
    conversation.pass(5 * SECOND);
    conversation.said();
    // The attempt was abandoned a moment ago; the next one is a second away.
    conversation.tell(Input::Sent { id: publication, outcome: SendOutcome::NoPeers });
    conversation.tell(Input::Signed { id: publication, result: Ok([0; 65]) });
    conversation.tell(Input::Sent { id: PublishId(99), outcome: SendOutcome::Sent });
    conversation.tell(Input::Signed { id: PublishId(99), result: Err("who".to_owned()) });
    assert_eq!(conversation.said(), []);
    conversation.pass(SECOND);
    assert_eq!(conversation.said(), [Said::Send(publication.0, V4)]);
}

#[test]
fn blocks_are_sent_in_publication_order() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    for block in chain(V4, 5) {
        conversation.publish(&block);
    }
    conversation.pass(10 * SECOND);
    assert_eq!(published(&conversation.said()), []);
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.sent.clear();
    conversation.pass(SECOND);
    let order: Vec<u64> = conversation.sent.iter().map(|(publication, _)| *publication).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    let done: Vec<u64> = published(&conversation.said()).into_iter().map(|(n, _)| n).collect();
    assert_eq!(done, order);
}

#[test]
fn a_refused_block_does_not_hold_up_the_next() {
    let mut conversation = Conversation::on(V4);
    conversation.signing = Signing::Silent;
    let blocks = chain(V4, 3);
    conversation.publish(&blocks[0]);
    conversation.publish(&block_at(V4, NOW - 61));
    conversation.publish(&blocks[1]);
    conversation.signing = Signing::With(sequencer());
    conversation.pass(6 * SECOND);
    let stale = Err(PublishError::Refused(Reason::TooOld));
    let [good, next] = [0, 1].map(|n: usize| Ok(blocks[n].payload.block_hash));
    assert_eq!(published(&conversation.said()), [(1, good), (2, stale), (3, next)]);
}

#[test]
fn a_publication_beyond_the_queue_displaces_the_first() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let blocks = chain(V4, QUEUE_LENGTH + 2);
    for block in &blocks[..QUEUE_LENGTH] {
        conversation.publish(block);
    }
    assert_eq!(published(&conversation.said()), []);
    conversation.publish(&blocks[QUEUE_LENGTH]);
    let displaced = |obstacle| Err(PublishError::Displaced(obstacle));
    assert_eq!(published(&conversation.said()), [(1, displaced(Obstacle::NoPeers))]);
    conversation.publish(&blocks[QUEUE_LENGTH + 1]);
    let said = conversation.said();
    assert_eq!(published(&said), [(2, displaced(Obstacle::NoPeers))], "{said:?}");
    // The displaced block passed validation, and stays in the chain.
    assert!(conversation.node.view().get(&blocks[0].payload.block_hash).is_some());
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.pass(SECOND);
    let done: Vec<u64> = published(&conversation.said()).into_iter().map(|(n, _)| n).collect();
    assert_eq!(done, (3..=MOST + 2).collect::<Vec<_>>());
}

#[test]
fn a_displaced_block_can_be_published_again() {
    let mut conversation = Conversation::on(V4);
    conversation.network = Network::Answers(SendOutcome::NoPeers);
    let blocks = chain(V4, QUEUE_LENGTH + 1);
    blocks.iter().for_each(|block| {
        conversation.publish(block);
    });
    conversation.network = Network::Answers(SendOutcome::Sent);
    conversation.pass(SECOND);
    conversation.said();
    let again = conversation.publish(&blocks[0]);
    assert_eq!(published(&conversation.said()), [(again, Ok(blocks[0].payload.block_hash))]);
    assert_eq!(conversation.sent.last(), Some(&(again, signed(&blocks[0]))));
}

#[test]
fn a_full_queue_keeps_the_publication_with_a_running_job() {
    let mut conversation = Conversation::on(V4);
    conversation.hold_jobs = true;
    let blocks = chain(V4, QUEUE_LENGTH + 1);
    blocks.iter().for_each(|block| {
        conversation.publish(block);
    });
    assert_eq!(conversation.jobs.len(), 1, "the first is being sealed");
    assert_eq!(
        published(&conversation.said()),
        [(2, Err(PublishError::Displaced(Obstacle::Waiting)))]
    );
    conversation.run_job();
    assert_eq!(conversation.said(), [Said::Sign(1)]);
}
