//! Reads that execute a call: the state that they need, and the rounds of their execution.
//!
//! The first accounts and slots to prove are those that an endpoint names as the call's access
//! list. That is a hint, which nothing depends on. The executor then names what is missing, until
//! it has read only proved state.

use alloy_primitives::{Address, B256};
use serde_json::Value;

use super::Reader;
use super::call;
use super::config::{MAX_CALL_ACCOUNTS, MAX_CALL_ROUNDS, MAX_CALL_SLOTS, MAX_EXECUTIONS};
use super::error::ReadError;
use super::locate::{Context, Stop};
use super::need::{Fact, Key, Need};
use super::output::{ExecutionId, ReadId, ReaderOutput};
use super::params::Place;
use super::step::{self, Done};
use crate::chain::BlockId;
use crate::payload::trie::EMPTY_ROOT;
use crate::proof::call::{
    AccountFacts, BlockFacts, Call, Job, Missing, ProvedState, Purpose, Report,
};
use crate::proof::json::MAX_SLOTS;
use crate::proof::{Account, BlockHeader, EMPTY_CODE_HASH};
use crate::time::Instant;

/// Maximum number of slots that one answer proves: 200 kB.
const SLOTS_AT_ONCE: usize = 64;
const _: () = assert!(SLOTS_AT_ONCE <= MAX_SLOTS);

/// Accounts with slots, each of which is one question.
pub(super) type Wanted = Vec<(Address, Vec<B256>)>;

/// The execution of a read's call.
///
/// # Bounds
/// [`MAX_CALL_ROUNDS`], [`MAX_CALL_ACCOUNTS`] and [`MAX_CALL_SLOTS`].
#[derive(Clone, Debug, Default)]
pub(super) struct Execution {
    /// Accounts that the executor named as missing in the earlier rounds.
    accounts: Wanted,
    /// Numbers of the blocks whose hashes it named.
    block_hashes: Vec<u64>,
    rounds: usize,
    /// The execution in progress, and the block whose state it has.
    running: Option<(ExecutionId, BlockId)>,
    /// The state is complete, but too many other executions are in progress.
    is_waiting: bool,
}

impl Execution {
    /// Takes what is missing. No code is: the job has the code of each of its accounts.
    fn ask(&mut self, missing: Missing) -> Result<(), ReadError> {
        for (address, slots) in missing.accounts {
            want(&mut self.accounts, address, &slots);
        }
        self.block_hashes.extend(missing.block_hashes);
        self.rounds += 1;
        let slots = self.accounts.iter().map(|(_, slots)| slots.len()).sum::<usize>();
        let is_within = self.rounds < MAX_CALL_ROUNDS
            && self.accounts.len() <= MAX_CALL_ACCOUNTS
            && slots <= MAX_CALL_SLOTS;
        if is_within { Ok(()) } else { Err(ReadError::CallTooLarge) }
    }

    /// The state is another one: the execution in progress is ignored.
    pub(super) fn forget(&mut self) {
        self.running = None;
        self.is_waiting = false;
    }
}

/// Reads the answer of an endpoint that is asked for a call's access list. Accounts and slots
/// beyond the bounds are ignored.
pub(super) fn hint(answer: &Value) -> Option<Wanted> {
    let items = answer.get("accessList")?.as_array()?;
    let (mut wanted, mut room) = (Wanted::new(), MAX_CALL_SLOTS / 2);
    for item in items.iter().take(MAX_CALL_ACCOUNTS / 2) {
        let slots = item.get("storageKeys").and_then(Value::as_array).into_iter().flatten();
        let slots: Option<Vec<B256>> = slots.take(room).map(call::word).collect();
        let (address, slots) = (call::address(item.get("address")?)?, slots?);
        room -= slots.len();
        wanted.push((address, slots));
    }
    Some(wanted)
}

/// Adds an account with slots, in parts that one answer proves.
fn want(wanted: &mut Wanted, address: Address, slots: &[B256]) {
    if slots.is_empty() {
        wanted.push((address, Vec::new()));
    }
    wanted.extend(slots.chunks(SLOTS_AT_ONCE).map(|part| (address, part.to_vec())));
}

/// Returns the accounts to begin with: those of the hint, the caller and the called one.
fn first(call: &Call, hint: &[(Address, Vec<B256>)]) -> Wanted {
    let mut wanted = Wanted::new();
    for (address, slots) in hint {
        want(&mut wanted, *address, slots);
    }
    for own in [Some(call.from), call.to].into_iter().flatten() {
        if wanted.iter().all(|(known, _)| *known != own) {
            wanted.push((own, Vec::new()));
        }
    }
    wanted
}

fn block_facts(header: &BlockHeader) -> BlockFacts {
    BlockFacts {
        number: header.number,
        timestamp: header.timestamp,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
        base_fee: u64::try_from(header.base_fee_per_gas.unwrap_or_default()).unwrap_or(u64::MAX),
        mix_hash: header.mix_hash,
    }
}

/// Finds what a call needs. Its answer follows from the execution, so that this ends with what is
/// missing, or with the job.
pub(super) fn prepare(
    context: &Context<'_>,
    (purpose, call): (Purpose, &Call),
    place: Place,
) -> Result<Done, Stop> {
    let block = context.id(place)?;
    let header = context.header(block)?;
    let rules = match context.rules {
        Some(rules) => rules.at(header.timestamp).map_err(ReadError::UnknownRules)?,
        // Such a request is refused before.
        None => return Err(ReadError::UnknownRules("the chain".into()).into()),
    };
    let hint = match context.facts.get(&Key::Hint(block.hash)) {
        Some(Fact::Hint(hint)) => first(call, hint),
        Some(_) => first(call, &[]),
        None => {
            let call = call::written(call);
            return Err(Stop::Need(vec![Need::Hint { block, call }]));
        }
    };
    let state = gather(context, block, &header, &hint)?;
    let job = Job {
        purpose,
        chain_id: context.chain_id,
        rules,
        block: block_facts(&header),
        call: call.clone(),
        state,
    };
    Err(Stop::Execute(block, Box::new(job)))
}

/// Collects the proved state, or names everything of it that is not proved yet.
fn gather(
    context: &Context<'_>,
    block: BlockId,
    header: &BlockHeader,
    first: &[(Address, Vec<B256>)],
) -> Result<ProvedState, Stop> {
    let (mut state, mut needs) = (ProvedState::default(), Vec::new());
    let mut add = |result: Result<(), Stop>| match result {
        Err(Stop::Need(more)) => {
            needs.extend(more);
            Ok(())
        }
        other => other,
    };
    let asked = context.execution;
    for (address, slots) in first.iter().chain(&asked.accounts) {
        add(account(context, &mut state, (block, header.state_root), *address, slots))?;
    }
    for number in &asked.block_hashes {
        add(context.hashes(*number, *number).map(|hashes| {
            state.block_hashes.extend(hashes.iter().map(|hash| (*number, *hash)));
        }))?;
    }
    if needs.is_empty() { Ok(state) } else { Err(Stop::Need(needs)) }
}

/// Adds a proved account, and its code: a call that names an account mostly runs its code.
fn account(
    context: &Context<'_>,
    state: &mut ProvedState,
    (block, state_root): (BlockId, B256),
    address: Address,
    slots: &[B256],
) -> Result<(), Stop> {
    let need = Need::Account { block, state_root, address, slots: slots.to_vec() };
    let Fact::Account(proved) = context.fact(need)? else {
        return Err(ReadError::UnknownBlock.into());
    };
    let account = proved.1.account.unwrap_or(Account::ABSENT);
    state.accounts.push(AccountFacts {
        address,
        nonce: account.nonce,
        balance: account.balance,
        code_hash: account.code_hash,
        has_storage: account.storage_root != EMPTY_ROOT,
        slots: slots.iter().copied().zip(proved.1.values.iter().copied()).collect(),
    });
    let hash = account.code_hash;
    let is_known = || state.codes.iter().any(|(known, _)| *known == hash);
    if hash != EMPTY_CODE_HASH && !is_known() {
        let code = step::code(context, block, address, hash)?;
        state.codes.push((hash, code));
    }
    Ok(())
}

impl Reader {
    /// Starts an execution, unless the same one is in progress, or too many others are.
    pub(super) fn run_call(&mut self, id: ReadId, block: BlockId, job: Box<Job>) {
        let execution = ExecutionId(self.id());
        let has_room = self.executing.len() < MAX_EXECUTIONS;
        let Some(read) = self.reads.get_mut(&id) else { return };
        if read.execution.running.is_some_and(|(_, at)| at == block) {
            return;
        }
        read.execution.running = has_room.then_some((execution, block));
        read.execution.is_waiting = !has_room;
        self.keep(id, |_| false);
        if has_room {
            self.executing.push(execution);
            self.outputs.push_back(ReaderOutput::Execute { id: execution, job });
        }
    }

    /// Takes the result of an execution, or the reason why it did not take place.
    pub(super) fn take_report(
        &mut self,
        id: ExecutionId,
        result: Result<Report, String>,
        now: Instant,
    ) {
        let Some(place) = self.executing.iter().position(|own| *own == id) else { return };
        self.executing.swap_remove(place);
        let mut reads = self.reads.iter();
        let own = reads.find(|(_, read)| read.execution.running.is_some_and(|(own, _)| own == id));
        let own = own.map(|(id, _)| *id);
        drop(reads);
        if let Some(own) = own {
            self.reported(own, result, now);
        }
        self.run_waiting(now);
    }

    /// Answers a read with its execution's outcome, or asks for what is missing.
    fn reported(&mut self, id: ReadId, result: Result<Report, String>, now: Instant) {
        let Some(read) = self.reads.get_mut(&id) else { return };
        let block = read.execution.running.take().map(|(_, block)| block);
        match result {
            Ok(Report::Done(outcome)) => {
                let done = call::shown(outcome).map(|value| Done { value, block });
                self.finish(id, done);
            }
            Ok(Report::Missing(missing)) => match read.execution.ask(missing) {
                Ok(()) => self.advance(id, now),
                Err(error) => self.finish(id, Err(error)),
            },
            Err(reason) => self.finish(id, Err(ReadError::NotExecuted(reason))),
        }
    }

    /// Starts executions that wait for others to end, as far as there is room.
    fn run_waiting(&mut self, now: Instant) {
        while self.executing.len() < MAX_EXECUTIONS {
            let mut reads = self.reads.iter();
            let waiting = reads.find(|(_, read)| read.execution.is_waiting).map(|(id, _)| *id);
            drop(reads);
            let Some(id) = waiting else { return };
            if let Some(read) = self.reads.get_mut(&id) {
                read.execution.is_waiting = false;
            }
            self.advance(id, now);
        }
    }
}
