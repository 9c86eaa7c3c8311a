//! Building blocks with the engine, on a development chain.

use super::methods::{build_methods, get_payload_methods};
use super::trouble::Call;
use super::{BLOCK_PAUSE, DevelopmentL1, Engine, EngineFailure, EngineOutput, Phase, Tip};
use crate::payload::{Envelope, PayloadVersion};
use crate::time::Now;
use alloy_primitives::Bytes;
use std::time::Duration;

/// Minimum time to build a block that is already due: half of the shortest interval, so that a late
/// chain catches up.
const LEAST_BUILD: Duration = Duration::from_millis(100);

impl Engine {
    /// Makes the engine start building the next block, no earlier than one block interval before
    /// the block is due.
    pub(super) fn build(&mut self, now: Now, tip: Tip, l1: DevelopmentL1) {
        let chain = &self.config.chain;
        let schedule = chain.schedule();
        let number = tip.id.number.saturating_add(1);
        // The number determines the time of blocks that carry milliseconds.
        let is_exact = schedule.first_with_base_time().is_some_and(|first| number >= first);
        let due = match schedule.time_of(number).filter(|_| is_exact) {
            Some(millis) => Duration::from_millis(millis),
            None => Duration::from_secs(tip.timestamp.saturating_add(chain.block_time)),
        };
        let wait = due.saturating_sub(now.unix).saturating_sub(schedule.interval_at(due));
        if !wait.is_zero() {
            self.phase = Phase::Patience { until: now.monotonic + wait };
            return;
        }
        let timestamp = due.as_secs();
        let millis = is_exact.then(|| due.subsec_millis()).and_then(|ms| u16::try_from(ms).ok());
        let attributes = l1.attributes(chain, number, timestamp, millis, tip.gas_limit);
        let method = self.methods.choose(build_methods(&chain.forks, timestamp));
        let (choice, labels) = self.forkchoice(&tip, method.name);
        let output = EngineOutput::Build(choice, Box::new(attributes));
        self.ask(Phase::Starting { due, labels, method }, output);
    }

    pub(super) fn on_building(&mut self, now: Now, id: Result<Bytes, EngineFailure>) {
        let Phase::Starting { due, labels, method } = self.phase else { return };
        self.phase = Phase::Idle;
        match id {
            Ok(id) => {
                self.took_labels(labels);
                let until = now.monotonic + due.saturating_sub(now.unix).max(LEAST_BUILD);
                if self.is_sequencing {
                    self.phase = Phase::Building { id, timestamp: due.as_secs(), until };
                }
            }
            Err(EngineFailure::Forkchoice(reason)) => {
                self.failed_labels(now, Call::Build, labels, reason);
            }
            Err(failure) => {
                self.failed_method(now, Call::Build, method, failure);
            }
        }
    }

    /// Requests the block that was built.
    pub(super) fn fetch(&mut self, id: Bytes, timestamp: u64) {
        let forks = &self.config.chain.forks;
        let method = self.methods.choose(get_payload_methods(forks, timestamp));
        let version = PayloadVersion::at(forks, timestamp);
        let output = EngineOutput::GetPayload { id: id.clone(), method: method.name, version };
        self.ask(Phase::Fetching { id, timestamp, method }, output);
    }

    pub(super) fn on_built(&mut self, now: Now, envelope: Result<Box<Envelope>, EngineFailure>) {
        let Phase::Fetching { id, timestamp, method } = &self.phase else { return };
        let (id, timestamp, method) = (id.clone(), *timestamp, *method);
        self.phase = Phase::Idle;
        match envelope {
            Ok(envelope) => {
                self.succeeded(Call::Build);
                let until = now.monotonic + BLOCK_PAUSE * 5;
                self.ask(Phase::Publishing { until }, EngineOutput::Publish(envelope));
            }
            Err(failure) => {
                self.failed_method(now, Call::Build, method, failure);
                // Another method is left, and the engine still has the block.
                if matches!(self.phase, Phase::Idle) {
                    self.fetch(id, timestamp);
                }
            }
        }
    }
}
