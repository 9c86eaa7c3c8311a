//! The estimate of the gas that a call needs.

use alloy_primitives::U256;
use opp2p_core::proof::call::{Job, MAX_CALL_GAS, Outcome, Rules};

use crate::run::{Ended, Refused, Run, Setting};
use crate::state::State;
use crate::{MAX_RUNS, ended, gas_limit, refused};

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Maximum gas of a transaction from Karst on (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 1 << 24;
/// Gas that a call with value gives to the called account.
const STIPEND: u64 = 2_300;

/// The result of an execution with some gas limit.
enum Tried {
    Succeeded(Run),
    /// `None` if it did not start.
    Failed(Option<Run>),
}

/// Estimates the gas as op-geth does, by a binary search.
pub(crate) fn estimate(setting: &Setting, state: &mut State, job: &Job) -> Outcome {
    match search(setting, state, job) {
        Ok(gas) => Outcome::Estimate(gas),
        Err(outcome) => outcome,
    }
}

fn attempt(setting: &Setting, state: &mut State, job: &Job, gas: u64) -> Result<Tried, Outcome> {
    match setting.run(state, gas, &job.call.access_list) {
        Ok(run) if matches!(run.ended, Ended::Returned(_)) => Ok(Tried::Succeeded(run)),
        Ok(run) => Ok(Tried::Failed(Some(run))),
        Err(Refused::LowGas(_)) => Ok(Tried::Failed(None)),
        Err(reason) => Err(refused(reason)),
    }
}

/// Returns the highest gas limit to try.
fn highest(setting: &Setting, state: &mut State, job: &Job) -> Result<u64, Outcome> {
    let given = Some(gas_limit(job)).filter(|gas| *gas >= TRANSFER_GAS);
    let mut highest = given.unwrap_or(job.block.gas_limit);
    if setting.rules >= Rules::Karst {
        highest = highest.min(MAX_TRANSACTION_GAS);
    }
    if setting.fee_cap > 0 {
        let balance = state.balance(job.call.from);
        let available = balance.checked_sub(job.call.value).filter(|left| !left.is_zero());
        let Some(available) = available else {
            return Err(Outcome::Failed("insufficient funds for transfer".into()));
        };
        let affordable = available / U256::from(setting.fee_cap);
        highest = highest.min(u64::try_from(affordable).unwrap_or(u64::MAX));
    }
    Ok(highest.min(MAX_CALL_GAS))
}

fn search(setting: &Setting, state: &mut State, job: &Job) -> Result<u64, Outcome> {
    let mut high = highest(setting, state, job)?;
    // Most calls are plain transfers.
    let to = job.call.to.filter(|_| job.call.input.is_empty());
    if to.is_some_and(|to| !state.has_code(to)) {
        let tried = attempt(setting, state, job, TRANSFER_GAS);
        if matches!(tried, Ok(Tried::Succeeded(_))) {
            return Ok(TRANSFER_GAS);
        }
    }
    let run = match attempt(setting, state, job, high)? {
        Tried::Succeeded(run) => run,
        Tried::Failed(Some(run)) if run.ended != Ended::OutOfGas => {
            let failed = || Outcome::Failed("the call failed".into());
            return Err(ended(run).err().unwrap_or_else(failed));
        }
        Tried::Failed(_) => {
            let text = format!("gas required exceeds allowance ({high})");
            return Err(Outcome::Failed(text));
        }
    };
    let mut low = run.gas_used.saturating_sub(1);
    // A call inside gets at most 63 parts of 64 of the gas.
    let likely = (run.gas_peak + STIPEND) * 64 / 63;
    let mut next = (likely < high).then_some(likely);
    for _ in 0..MAX_RUNS {
        // A missing part makes the whole search worthless.
        if state.missing().is_some() {
            break;
        }
        let middle = match next.take() {
            Some(likely) => likely,
            None if is_close(low, high) => break,
            // Most calls need little more gas than they use.
            None => low.midpoint(high).min(low.saturating_mul(2)),
        };
        match attempt(setting, state, job, middle)? {
            Tried::Succeeded(_) => high = middle,
            Tried::Failed(_) => low = middle,
        }
    }
    Ok(high)
}

/// Returns `true` if the bounds are next to each other, or differ by less than 1.5 %.
const fn is_close(low: u64, high: u64) -> bool {
    low + 1 >= high || (high - low) as u128 * 1000 < high as u128 * 15
}
