//! Publication of our own blocks: the steps that the queue asks for.

use super::job::Work;
use super::{Event, Node, Output, Running, SignRequest};
use crate::gossip::{BLOCK_DOMAIN, MAX_MESSAGE_SIZE, OwnId, Unpacked, check_timestamp};
use crate::payload::Envelope;
use crate::sequencer::{PublishError, Sealed, Step};
use crate::time::Now;

impl Node {
    pub(super) fn publish_step(&mut self, now: Now, step: Step) {
        match step {
            Step::Seal(id, envelope) => match self.check_envelope(now, &envelope) {
                Ok(()) => {
                    self.start(
                        Work::Seal { chain_id: self.chain.chain_id, envelope },
                        Running::Seal(id),
                    );
                }
                Err(error) => self.queue.sealed(id, Err(error)),
            },
            Step::Sign(id, sealed) => self.outputs.push_back(Output::Sign(SignRequest {
                id,
                domain: BLOCK_DOMAIN,
                chain_id: self.chain.chain_id,
                payload_hash: sealed.payload_hash,
                signing_hash: sealed.signing_hash,
            })),
            Step::Judge(id, version, contents) => {
                let message = Unpacked::from_contents(&contents);
                self.validator.check_own(now, OwnId(id.0), version, message);
                self.follow_validator(now);
            }
            Step::Send(id, topic, contents) if self.mesh.is_some() => {
                self.pack(now, id, topic, contents);
            }
            Step::Send(id, topic, contents) => {
                self.outputs.push_back(Output::Send { id, topic, contents });
            }
            Step::Finished(id, result) => {
                self.outputs.push_back(Output::Event(Event::Published { id, result }));
            }
        }
    }

    /// Checks an own block before any work goes into it.
    fn check_envelope(&self, now: Now, envelope: &Envelope) -> Result<(), PublishError> {
        if !self.can_sign {
            return Err(PublishError::NoSigner);
        }
        envelope.payload.version()?;
        // The validator would refuse it too, but only after a signer that may take its time.
        let threshold = self.timestamp_threshold();
        check_timestamp(envelope.payload.timestamp, now.unix_seconds(), threshold)
            .map_err(PublishError::Refused)
    }
}

/// A message that no peer would accept is not worth signing.
pub(super) fn check_size(sealed: Sealed) -> Result<Sealed, PublishError> {
    let size = sealed.contents.len();
    if size > MAX_MESSAGE_SIZE { Err(PublishError::TooLarge(size)) } else { Ok(sealed) }
}
