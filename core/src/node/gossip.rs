//! Routing between the validator and the parts of the node that depend on its verdicts.

use super::job::Outcome;
use super::{Event, Node, Output};
use crate::gossip::{
    Acceptance, BlockSource, RefusedBlock, Signers, ValidationId, ValidationResult, ValidatorStep,
    Verdict,
};
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::sequencer::PublishId;
use crate::time::Now;

impl Node {
    /// Passes the result of a job to the validator.
    pub(super) fn validated(&mut self, now: Now, id: ValidationId, outcome: Outcome) {
        let result = match outcome {
            Outcome::Validated(result) => result,
            _ => ValidationResult::panicked(id),
        };
        self.validator.job_done(now, result);
    }

    /// Carries out the validator's steps.
    pub(super) fn follow_validator(&mut self, now: Now) {
        while let Some(step) = self.validator.poll() {
            self.validator_step(now, step);
        }
    }

    fn validator_step(&mut self, now: Now, step: ValidatorStep) {
        let output = match step {
            ValidatorStep::Job(job) => Output::Job(job.into()),
            ValidatorStep::Verdict { verdict, refused } => {
                return self.judged(now, verdict, refused);
            }
            ValidatorStep::Blame { peer, topic } => return self.blame(now, &peer, topic),
            ValidatorStep::Block { block, source } => {
                return self.signed_block(now, &block, source);
            }
            ValidatorStep::Own { id, result } => {
                return self.queue.judged(now, PublishId(id.0), result);
            }
            ValidatorStep::ReadSigner => Output::ReadSigner,
            ValidatorStep::SignerChanged(Signers { current, previous }) => {
                self.troubles.signer_changed();
                Output::Event(Event::SignerChanged { current, previous })
            }
            // Bans end by the wall clock.
            ValidatorStep::ClockJumped { seconds } => {
                self.troubles.clock_jumped();
                return self.peers.clock_jumped(seconds);
            }
            ValidatorStep::ScheduleInDoubt(doubt) => Output::Event(Event::ScheduleInDoubt(doubt)),
            ValidatorStep::ScheduleDoubtEnded(doubt) => {
                Output::Event(Event::ScheduleDoubtEnded(doubt))
            }
        };
        self.outputs.push_back(output);
    }

    /// Passes a verdict on, and counts it for or against the message's sender.
    fn judged(&mut self, now: Now, mut verdict: Verdict, refused: Option<RefusedBlock>) {
        let Verdict { from, topic, result, signer, .. } = verdict;
        if let (Err(reason), Some(block)) = (result, refused) {
            self.note_refused(now, from, reason, signer, block);
        }
        let is_routed = self.mesh.as_mut().map(|mesh| mesh.judged(now.monotonic, &mut verdict));
        self.outputs.push_back(Output::Verdict(verdict));
        if is_routed.is_some() {
            return;
        }
        match verdict.acceptance() {
            Acceptance::Accept => self.peers.delivered(now, &from, topic),
            Acceptance::Reject => self.peers.rejected(now, &from, topic),
            Acceptance::Ignore => {}
        }
    }

    /// Counts a message against a peer after its verdict.
    fn blame(&mut self, now: Now, peer: &PeerId, topic: PayloadVersion) {
        match &mut self.mesh {
            Some(mesh) => mesh.blame(now.monotonic, peer, topic),
            None => self.peers.rejected(now, peer, topic),
        }
    }

    /// Passes a block of the sequencer on to everything that counts blocks.
    fn signed_block(&mut self, now: Now, block: &Block, source: BlockSource) {
        if let BlockSource::Peer(peer) = source {
            self.note_accepted(now);
            if let Some(filler) = &mut self.filler {
                filler.client_mut().heard(now.monotonic, &peer, block.number());
            }
        }
        // A vouched block does not show that our clock and signer are right.
        if source != BlockSource::Vouched {
            self.troubles.confirm(now);
        }
        self.extend(now, block);
    }
}
