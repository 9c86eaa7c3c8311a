//! State of an engine, and checks that the engine belongs to this chain.

use super::{
    Engine, EngineEvent, EngineFailure, EngineState, Mismatch, Phase, REFRESH, Tip,
    methods::{missing, new_payload_methods},
    trouble::Call,
};
use crate::chain::{BlockId, ChainConfig, Labels};
use crate::payload::PayloadVersion;
use crate::time::Now;
use std::time::Duration;

impl Engine {
    pub(super) fn on_state(&mut self, now: Now, state: Result<EngineState, EngineFailure>) {
        let Phase::Reading { ours } = self.phase else { return };
        self.phase = Phase::Idle;
        let state = match state {
            Ok(state) => state,
            Err(failure) => return self.failed(now, Call::Read, failure),
        };
        if let Some(mismatch) = mismatch(&self.config.chain, now, &state) {
            return self.mismatched(now, Call::Read, mismatch);
        }
        self.refresh = Some(now.monotonic + REFRESH);
        self.read = Some(now.monotonic);
        self.methods.list(&state.methods);
        if state.genesis.is_none() && !self.told_genesis {
            self.told_genesis = true;
            self.tell(EngineEvent::NoGenesis(self.config.chain.genesis.number));
        }
        if !self.has_source {
            // Engines answer with various errors if they lack the block, so `None` may also mean a
            // temporary failure. Only a different engine can have lost a label.
            let is_same = !self.may_have_restarted && self.refused_labels.is_none();
            let before = if is_same { self.labels } else { Labels::default() };
            self.labels = Labels {
                safe: state.safe.or(before.safe),
                finalized: state.finalized.or(before.finalized),
            };
        }
        if std::mem::take(&mut self.may_have_restarted) {
            // Another version may accept what this one refused.
            self.invalid.clear();
            (self.blocked, self.stuck) = (None, None);
        }
        self.place(ours, &state);
        self.succeeded(Call::Read);
    }

    /// Takes the engine's head as the block to continue from, unless nothing has changed.
    fn place(&mut self, ours: Option<BlockId>, state: &EngineState) {
        let head = state.head;
        if let (Some(ours), Some(found)) = (ours, state.ours)
            && self.target == Some(ours)
            && ours.number <= head.number
        {
            self.must_move = found != ours.hash;
        }
        let has_moved = self.head != Some(head);
        // Blocks that the engine was not yet told to choose lie above its head; they are not lost.
        let is_unchanged = !has_moved && self.is_ready && self.trouble.is_none();
        if is_unchanged && !self.is_syncing {
            return;
        }
        self.head = Some(head);
        let (timestamp, gas_limit) = (state.head_timestamp, state.gas_limit);
        self.tip = Some(Tip { id: head, timestamp, gas_limit });
        self.unchosen = 0;
        self.descent = None;
        self.must_move &=
            self.target.is_some_and(|target| target.number <= head.number && target != head);
        // The engine advanced by itself, and may need our next block now.
        if has_moved {
            self.is_syncing = false;
        }
    }
}

/// Returns why an engine with this state does not belong to this chain, or `None` if all checks
/// pass.
pub fn mismatch(chain: &ChainConfig, now: Now, state: &EngineState) -> Option<Mismatch> {
    if state.chain_id != chain.chain_id {
        return Some(Mismatch::ChainId { expected: chain.chain_id, found: state.chain_id });
    }
    let expected = chain.genesis.hash;
    if let Some(found) = state.genesis.filter(|found| *found != expected) {
        return Some(Mismatch::Genesis { number: chain.genesis.number, expected, found });
    }
    let version = PayloadVersion::at(&chain.forks, now.unix_seconds());
    let missing = missing(&state.methods, new_payload_methods(version))?;
    Some(Mismatch::Method { method: missing.to_owned() })
}

/// Returns the initial head of a node whose engine is in the state `engine` and whose own store
/// ends at `stored`, or `None` to begin with the first block that arrives.
///
/// The initial head is the engine's head, so that the blocks above it are fetched and fed. A store
/// that extends above the engine's head is kept, and the engine receives its blocks. A store that
/// has another block at that number is also kept, because the sequencer signed its blocks. An
/// engine whose head is older than `max_age` (the maximum age of blocks fetched from peers) is
/// ignored: it fetches blocks by itself once it is given a head.
pub fn first_head(
    stored: Option<BlockId>,
    engine: &EngineState,
    now: Now,
    max_age: Option<Duration>,
) -> Option<BlockId> {
    let age = now.unix.saturating_sub(Duration::from_secs(engine.head_timestamp));
    let is_fresh = max_age.is_none_or(|max_age| age <= max_age);
    match stored {
        Some(stored) if stored.number >= engine.head.number || !is_fresh => Some(stored),
        _ => is_fresh.then_some(engine.head),
    }
}
