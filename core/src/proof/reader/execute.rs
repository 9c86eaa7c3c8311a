//! Reads that execute a call: the state that they need, and the rounds of their execution.
//!
//! The first accounts and slots to prove are those that an endpoint names as the call's access
//! list. That is a hint, which nothing depends on. The executor then names what is missing, until
//! it has read only proved state.

use alloy_primitives::{Address, B256};
use serde_json::Value;

use super::call;
use super::config::{MAX_CALL_ACCOUNTS, MAX_CALL_ROUNDS, MAX_CALL_SLOTS, MAX_EXECUTIONS};
use super::error::ReadError;
use super::locate::{Context, Stop};
use super::need::{Fact, Key, Need};
use super::output::{ExecutionId, ReadId, ReaderOutput};
use super::params::Place;
use super::step::{self, Done};
use super::{Read, Reader};
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

/// Reads the answer of an endpoint that is asked for a call's access list. Items beyond the bounds
/// are ignored.
pub(super) fn hint(answer: &Value) -> Option<Wanted> {
    let items = answer.get("accessList")?.as_array()?;
    let (mut wanted, mut slots) = (Wanted::new(), 0);
    for item in items.iter().take(MAX_CALL_ACCOUNTS / 2) {
        let access = call::access(item)?;
        let room = MAX_CALL_SLOTS / 2 - slots;
        let mut keys = access.storage_keys;
        keys.truncate(room);
        slots += keys.len();
        wanted.push((access.address, keys));
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
fn first(call: &Call, hint: &Wanted) -> Wanted {
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
        Some(_) => first(call, &Wanted::new()),
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
    first: &Wanted,
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
    /// Starts an execution, unless the same one is in progress.
    pub(super) fn run_call(&mut self, id: ReadId, block: BlockId, job: Box<Job>) {
        let running = self.reads.values().filter(|read| read.execution.running.is_some()).count();
        let execution = ExecutionId(self.id());
        let Some(read) = self.reads.get_mut(&id) else { return };
        match read.execution.running {
            Some((_, at)) if at == block => return,
            None if running >= MAX_EXECUTIONS => {
                read.execution.is_waiting = true;
                return;
            }
            _ => {}
        }
        read.execution.is_waiting = false;
        read.execution.running = Some((execution, block));
        self.keep(id, |_| false);
        self.outputs.push_back(ReaderOutput::Execute { id: execution, job });
    }

    /// Takes the result of an execution, or the reason why it did not take place.
    pub(super) fn take_report(
        &mut self,
        id: ExecutionId,
        result: Result<Report, String>,
        now: Instant,
    ) {
        let is_own = |read: &Read| read.execution.running.is_some_and(|(own, _)| own == id);
        let mut reads = self.reads.iter_mut();
        let Some((&read_id, read)) = reads.find(|(_, read)| is_own(read)) else { return };
        let block = read.execution.running.take().map(|(_, block)| block);
        drop(reads);
        match result {
            Ok(Report::Done(outcome)) => {
                let done = call::shown(outcome).map(|value| Done { value, block });
                self.finish(read_id, done);
            }
            Ok(Report::Missing(missing)) => {
                let asked = self.reads.get_mut(&read_id).map(|read| read.execution.ask(missing));
                match asked {
                    Some(Err(error)) => self.finish(read_id, Err(error)),
                    _ => self.advance(read_id, now),
                }
            }
            Err(reason) => self.finish(read_id, Err(ReadError::NotExecuted(reason))),
        }
        self.run_waiting(now);
    }

    /// Starts the executions that wait for others to end.
    pub(super) fn run_waiting(&mut self, now: Instant) {
        let waiting = self.reads.iter().filter(|(_, read)| read.execution.is_waiting);
        let waiting: Vec<ReadId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.advance(id, now);
        }
    }
}
