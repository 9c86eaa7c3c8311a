//! Executes calls over proved state.
//!
//! [`execute`] is a pure function: it takes a [`Job`] and returns a [`Report`]. It reads no state
//! but that of the job. If the execution needs more, the report names what is missing, and the
//! caller proves it and repeats the job. So a wrong state can't lead to an answer: an outcome
//! depends only on parts that the caller proved.
//!
//! # Semantics
//! Those of op-geth's calls over RPC:
//!
//! * Neither the nonce nor the code of the caller is checked. The balance must cover the value, and
//!   the fees of the whole gas limit if a price is given. No fee for L1 data is charged.
//! * Without a price, the base fee is zero.
//! * An estimate is at most 1.5 % above the lowest gas limit that a binary search finds.
//! * An access list is refined until the execution with it touches nothing else.
//!
//! Instructions and precompiles are those of the [rules](opp2p_core::proof::call::Rules), in pure
//! Rust.
//!
//! # Bounds
//! One execution uses at most [`MAX_CALL_GAS`] gas, and so at most some 200 MB of memory. An
//! estimate needs at most [`MAX_RUNS`] executions, an access list as many. A report names at most
//! 256 missing parts. No input causes a panic.

mod estimate;
mod precompiles;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod touched;
mod words;

use alloy_primitives::Address;
use opp2p_core::proof::call::{Job, MAX_CALL_GAS, Outcome, Purpose, Report};

use run::{Ended, Refused, Run, Setting};
use state::State;
use touched::Touched;

/// Maximum number of executions of one job.
pub const MAX_RUNS: usize = 64;

/// Executes a job.
pub fn execute(job: &Job) -> Report {
    let setting = match Setting::new(job) {
        Ok(setting) => setting,
        Err(reason) => return Report::Done(Outcome::Failed(reason)),
    };
    let mut state = State::new(&job.state);
    let outcome = match job.purpose {
        Purpose::Call => call(&setting, &mut state, job),
        Purpose::Estimate => estimate::estimate(&setting, &mut state, job),
        Purpose::AccessList => access_list(&setting, &mut state, job),
    };
    match state.missing() {
        Some(missing) => Report::Missing(missing),
        None => Report::Done(outcome),
    }
}

/// Returns the gas limit of a call.
fn gas_limit(job: &Job) -> u64 {
    job.call.gas.unwrap_or(MAX_CALL_GAS).min(MAX_CALL_GAS)
}

fn refused(refused: Refused) -> Outcome {
    let (Refused::LowGas(reason) | Refused::Invalid(reason)) = refused;
    Outcome::Failed(reason)
}

/// Returns the reason of a failed execution as an outcome, or what it returned.
fn ended(run: Run) -> Result<alloy_primitives::Bytes, Outcome> {
    match run.ended {
        Ended::Returned(output) => Ok(output),
        Ended::Reverted(output) => Err(words::reverted(output)),
        Ended::OutOfGas => Err(Outcome::Failed("out of gas".into())),
        Ended::Halted(reason) => Err(Outcome::Failed(words::halted(&reason))),
    }
}

fn call(setting: &Setting, state: &mut State, job: &Job) -> Outcome {
    match setting.run(state, gas_limit(job), &job.call.access_list) {
        Ok(run) => ended(run).map_or_else(|outcome| outcome, Outcome::Returned),
        Err(reason) => refused(reason),
    }
}

fn access_list(setting: &Setting, state: &mut State, job: &Job) -> Outcome {
    let called = job.call.to.unwrap_or_else(|| created(state, job.call.from));
    let warm = setting.warm(called);
    let mut before = Touched::new(warm.clone(), &job.call.access_list);
    for _ in 0..MAX_RUNS {
        let list = before.list();
        let mut touched = Touched::new(warm.clone(), &list);
        let run = match setting.inspect(state, gas_limit(job), &list, &mut touched) {
            Ok(run) => run,
            Err(reason) => return refused(reason),
        };
        if touched == before || state.missing().is_some() {
            let gas_used = run.gas_used;
            let error = ended(run).err().map(|outcome| match outcome {
                Outcome::Reverted { message, .. } | Outcome::Failed(message) => message,
                _ => "the call failed".into(),
            });
            return Outcome::AccessList { list, gas_used, error };
        }
        before = touched;
    }
    Outcome::Failed("the access list changes with each execution".into())
}

/// Returns the address of the contract that a call creates.
fn created(state: &mut State, from: Address) -> Address {
    from.create(state.nonce(from))
}
