//! Consequences of the results of validation: verdicts, blocks, and blame.

use super::clock::ClockMark;
use super::suspects::Stranger;
use super::{BlockSource, OwnId, Received, RefusedBlock, Validator, ValidatorStep, Verdict};
use crate::chain::BlockId;
use crate::gossip::{Judged, Reason, Refusal, ScheduleBreach, Signers};
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::time::Now;

impl Validator {
    /// Handles the result of validating a gossip message.
    pub(super) fn judged(&mut self, now: Now, received: Received, judged: Result<Judged, Refusal>) {
        let Received { from, topic, id, arrived, clock } = received;
        let signer = match &judged {
            Ok(judged) => Some(judged.verified.signer),
            Err(refusal) => refusal.signer,
        };
        let admitted = judged.and_then(|judged| Ok(self.admit(now, topic, judged)?));
        let (result, refused) = match &admitted {
            Ok(judged) => {
                let id = BlockId::of(&judged.verified.block);
                (judged.doubt().map_or(Ok(id), Err), None)
            }
            Err(refusal) => {
                let reason = self.blamed(now, from, topic, clock, refusal);
                (Err(reason), Some(self.refused(refusal)))
            }
        };
        let verdict = Verdict { from, topic, id, result, signer, arrived };
        self.steps.push_back(ValidatorStep::Verdict { verdict, refused });
        if let Ok(Judged { verified, breach }) = admitted {
            let timestamp = verified.block.timestamp();
            self.clock.confirm(now, clock, timestamp);
            for (peer, topic) in self.suspects.confirmed(timestamp) {
                self.steps.push_back(ValidatorStep::Blame { peer, topic });
            }
            self.take(now, verified.block, breach, BlockSource::Peer(from));
        }
    }

    /// Handles the result of validating a block of our own. A block that only our fork schedule
    /// refuses may be sent: the sequencer decides which fork a block belongs to.
    pub(super) fn own_judged(
        &mut self,
        now: Now,
        id: OwnId,
        topic: PayloadVersion,
        judged: Result<Judged, Refusal>,
    ) {
        let known = judged
            .as_ref()
            .map(|Judged { verified, .. }| (verified.block.hash(), verified.block.timestamp()))
            .map_err(|refusal| refusal.reason);
        let admitted = judged
            .map_err(|refusal| refusal.reason)
            .and_then(|judged| self.admit(now, topic, judged));
        let result = match &admitted {
            // Known from an earlier attempt or from gossip, which is not the caller's error: the
            // network says whether it has been sent already.
            Ok(_) | Err(Reason::AlreadySeen) => known,
            Err(reason) => Err(*reason),
        };
        self.steps.push_back(ValidatorStep::Own { id, result });
        if let Ok(Judged { verified, breach }) = admitted {
            self.take(now, verified.block, breach, BlockSource::Own);
        }
    }

    /// Runs the part of validation that needs memory, one result at a time.
    fn admit(&mut self, now: Now, topic: PayloadVersion, judged: Judged) -> Result<Judged, Reason> {
        let block = &judged.verified.block;
        self.true_until = self.true_until.max(Some(block.timestamp()));
        self.seen.admit(topic, block.number(), block.hash())?;
        if self.signers.verified(now.monotonic, judged.verified.signer) {
            // Until now the signer may have been configured before the sequencer switched to it.
            self.suspects.pardon();
        }
        Ok(judged)
    }

    /// Takes a block that the sequencer signed.
    pub(super) fn take(
        &mut self,
        now: Now,
        block: Block,
        breach: Option<ScheduleBreach>,
        source: BlockSource,
    ) {
        self.last_block = now.monotonic;
        match breach {
            None => self.schedule.agrees(),
            Some(breach) => {
                if let Some(doubt) = self.schedule.disagrees(now, block.version(), breach) {
                    self.steps.push_back(ValidatorStep::ScheduleInDoubt(doubt));
                }
            }
        }
        self.steps.push_back(ValidatorStep::Block { block, source });
    }

    /// Returns the reason to report for a message. It may not be known yet whether a failed check
    /// is the peer's fault.
    fn blamed(
        &mut self,
        now: Now,
        peer: PeerId,
        topic: PayloadVersion,
        clock: ClockMark,
        refusal: &Refusal,
    ) -> Reason {
        let reason = refusal.reason;
        let is_untimely = matches!(reason, Reason::TooOld | Reason::TooOldHere | Reason::TooNew);
        // The clock had jumped before the judgement, or has since.
        if is_untimely && self.clock.is_in_doubt_since(clock) {
            return Reason::ClockInDoubt;
        }
        // Only the sequencer's key gets so far. See `core/DECISIONS.md`.
        if reason == Reason::BlockHash && refusal.timestamp > self.true_until {
            return Reason::HashInDoubt;
        }
        if matches!(reason, Reason::Signature | Reason::WrongSigner) {
            self.forged = Some(now.monotonic);
        }
        let stranger = refusal.timestamp.map(|timestamp| Stranger { peer, topic, timestamp });
        let is_in_doubt = reason == Reason::WrongSigner
            && (self.signers.has_just_switched(now.monotonic)
                || stranger.is_some_and(|stranger| self.suspects.suspect(now, stranger)));
        if is_in_doubt { Reason::SignerInDoubt } else { reason }
    }

    /// Returns what a refused message says about its block.
    fn refused(&self, refusal: &Refusal) -> RefusedBlock {
        let Refusal { block, timestamp, signer, .. } = *refusal;
        let Signers { current, previous } = self.rules.signers;
        let is_signed = signer.is_some() && (signer == current || signer == previous);
        RefusedBlock { id: block, timestamp, is_signed }
    }
}
