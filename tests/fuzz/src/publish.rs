//! The publish queue.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::B256;
use opp2p_core::gossip::Reason;
use opp2p_core::payload::{EncodeError, Envelope, PayloadVersion};
use opp2p_core::sequencer::{
    ATTEMPT_TIMEOUT, Publication, PublishError, PublishId, PublishQueue, QUEUE_LENGTH,
    RETRY_INTERVAL, Sealed, SendOutcome, Step,
};

use crate::material::{Clock, NOW, any_span, play};

/// Runs publications, and answers to the latest steps: right, late, or to another step.
pub(crate) fn queue(bytes: &[u8]) {
    play(bytes, |from| {
        let threshold = Duration::from_secs(*from.choose(&[0, 1, 60, 3600])?);
        let mut queue = PublishQueue::new(threshold);
        let mut clock = Clock::new();
        let (mut next, mut under_way) = (0, BTreeSet::new());
        let mut last = PublishId(0);
        while !from.is_empty() {
            let now = clock.0;
            let id =
                if from.ratio(1, 8)? { PublishId(from.arbitrary::<u8>()?.into()) } else { last };
            match from.int_in_range(0..=9)? {
                0 | 1 => {
                    let mut envelope = Envelope::default();
                    envelope.payload.timestamp = NOW - u64::from(from.int_in_range::<u8>(0..=70)?);
                    envelope.payload.block_hash = B256::with_last_byte(from.int_in_range(0..=40)?);
                    under_way.insert(PublishId(next));
                    queue.push(now, PublishId(next), Publication::Envelope(Box::new(envelope)));
                    next += 1;
                }
                2 => {
                    let contents = vec![1; 70].into();
                    under_way.insert(PublishId(next));
                    let publication = Publication::Signed { version: PayloadVersion::V1, contents };
                    queue.push(now, PublishId(next), publication);
                    next += 1;
                }
                3 => {
                    let result = if from.ratio(1, 8)? {
                        Err(PublishError::Encode(EncodeError::MissingData("withdrawals")))
                    } else {
                        let (payload_hash, signing_hash) = (B256::ZERO, B256::ZERO);
                        let (version, contents) = (PayloadVersion::V4, vec![0; 70]);
                        Ok(Sealed { version, contents, payload_hash, signing_hash })
                    };
                    queue.sealed(id, result);
                }
                4 | 5 => {
                    let result =
                        if from.arbitrary()? { Ok([9; 65]) } else { Err("locked".to_owned()) };
                    queue.signed(now, id, result);
                }
                6 => {
                    let hash = B256::with_last_byte(from.int_in_range(0..=40)?);
                    let judged =
                        if from.ratio(7, 8)? { Ok((hash, NOW)) } else { Err(Reason::TooOld) };
                    queue.judged(now, id, judged);
                }
                7 => {
                    let outcome = match from.int_in_range(0..=3)? {
                        0 => SendOutcome::Sent,
                        1 => SendOutcome::AlreadySent,
                        2 => SendOutcome::NoPeers,
                        _ => SendOutcome::Failed("full".to_owned()),
                    };
                    queue.sent(now, id, outcome);
                }
                8 => clock.pass(*from.choose(&[RETRY_INTERVAL, ATTEMPT_TIMEOUT])?),
                _ => clock.pass(any_span(from)?),
            }
            drain(&mut queue, &clock, &mut under_way, &mut last);
            assert!(queue.len() <= QUEUE_LENGTH);
            assert_eq!(
                queue.len(),
                under_way.len(),
                "a publication ended without a word, or goes on after it"
            );
            assert!(queue.next_wakeup().is_none_or(|at| at > clock.at()), "it is late");
        }
        Ok(())
    });
}

fn drain(
    queue: &mut PublishQueue,
    clock: &Clock,
    under_way: &mut BTreeSet<PublishId>,
    last: &mut PublishId,
) {
    // One step, and the ends of the maximum number of publications.
    for _ in 0..=2 * QUEUE_LENGTH {
        match queue.poll(clock.0) {
            Some(Step::Finished(id, _)) => assert!(under_way.remove(&id), "a second end"),
            Some(
                Step::Seal(id, _) | Step::Sign(id, _) | Step::Judge(id, ..) | Step::Send(id, ..),
            ) => {
                assert!(under_way.contains(&id), "work for what has ended");
                *last = id;
            }
            None => return,
        }
    }
    panic!("it has ever more to do");
}
