//! Computes the answer to each request as a function of the facts.
//!
//! The computation restarts with each new fact, until no fact is missing.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::{Value, json};

use super::config::{MAX_LOG_BLOCKS, MAX_READ_BYTES};
use super::error::ReadError;
use super::execute;
use super::locate::{Context, Stop};
use super::need::{Claim, Fact, Key, Need};
use super::params::Place;
use super::request::{Range, Request, StateShow};
use super::show;
use crate::chain::{BlockId, BlockTag};
use crate::payload::Block;
use crate::payload::shown::{self, Transactions};
use crate::proof::{Account, DEPOSIT, EMPTY_CODE_HASH, FilterBlooms, LogFilter, ProvedReceipts};

/// Answer to a request.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) value: Value,
    pub(super) block: Option<BlockId>,
}

impl Done {
    fn at(block: BlockId, value: Value) -> Self {
        Self { value, block: Some(block) }
    }

    const fn constant(value: Value) -> Self {
        Self { value, block: None }
    }
}

type Step = Result<Done, Stop>;

/// Answers a request, or returns the missing facts.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Step {
    match request {
        Request::ChainId => Ok(Done::constant(show::quantity(context.chain_id))),
        Request::NetVersion => Ok(Done::constant(context.chain_id.to_string().into())),
        Request::BlockNumber => {
            let anchor = context.anchor()?;
            Ok(Done::at(anchor, show::quantity(anchor.number)))
        }
        Request::Syncing => Ok(Done::at(context.anchor()?, Value::Bool(false))),
        Request::State { place, address, slots, show } => {
            state(context, *place, *address, slots, show)
        }
        Request::Block { place, is_full } => block(context, *place, *is_full),
        Request::TransactionCount { place } => {
            let Some(block) = block_at(context, *place)? else { return unknown() };
            let count = block.payload().transaction_count();
            Ok(Done::at(BlockId::of(&block), show::quantity(count as u64)))
        }
        Request::TransactionAt { place, index } => {
            let Some(block) = block_at(context, *place)? else { return unknown() };
            Ok(Done::at(BlockId::of(&block), whole_transaction(context, &block, *index)?))
        }
        Request::Transaction { hash } => match find(context, *hash)? {
            Some((block, index)) => {
                Ok(Done::at(BlockId::of(&block), whole_transaction(context, &block, index)?))
            }
            None => unknown(),
        },
        Request::Receipt { hash } => match find(context, *hash)? {
            Some((block, index)) => receipt(context, &block, index),
            None => unknown(),
        },
        Request::Receipts { place } => receipts(context, *place),
        Request::Logs { filter, blooms, range } => logs(context, (filter, blooms), *range),
        Request::Execute { purpose, place, call, listed } => {
            match (execute::prepare(context, (*purpose, call), *place), listed) {
                (Err(Stop::Fail(ReadError::UnknownRules(_))), Some(listed)) => {
                    Err(Stop::Pass(listed.clone()))
                }
                (step, _) => step,
            }
        }
        Request::Send { raw, hash } => sent(context, raw, *hash),
        Request::Pass { method, params } => {
            let need = Need::Passed { method: method.clone(), params: params.clone() };
            value(context, need)
        }
    }
}

/// Returns `null`, the answer for an unknown block or transaction.
fn unknown() -> Step {
    Ok(Done::constant(Value::Null))
}

fn value(context: &Context<'_>, need: Need) -> Step {
    match context.fact(need)? {
        Fact::Value(value) => Ok(Done::constant(value.clone())),
        Fact::Absent(error) => Err(error.clone().into()),
        _ => unknown(),
    }
}

fn sent(context: &Context<'_>, raw: &Bytes, hash: B256) -> Step {
    value(context, Need::Sent { raw: raw.clone(), hash })
}

fn state(
    context: &Context<'_>,
    place: Place,
    address: Address,
    slots: &[B256],
    shown: &StateShow,
) -> Step {
    let block = context.id(place)?;
    let state_root = context.header(block)?.state_root;
    let need = Need::Account { block, state_root, address, slots: slots.to_vec() };
    let proved = match context.fact(need)? {
        Fact::Account(proved) => proved,
        Fact::Absent(error) => return Err(error.clone().into()),
        _ => return unknown(),
    };
    let account = proved.1.account.unwrap_or(Account::ABSENT);
    let value = match shown {
        StateShow::Balance => json!(format!("{:#x}", account.balance)),
        StateShow::Nonce => show::quantity(account.nonce),
        StateShow::Slot => show::word(proved.1.values.first().copied().unwrap_or_default()),
        StateShow::Proof(keys) => show::proof(&proved.0, &proved.1, keys),
        StateShow::Code if account.code_hash == EMPTY_CODE_HASH => json!("0x"),
        StateShow::Code => json!(code(context, block, address, account.code_hash)?),
    };
    Ok(Done::at(block, value))
}

/// Returns the code with this hash, which the account has at the block.
pub(super) fn code(
    context: &Context<'_>,
    block: BlockId,
    address: Address,
    hash: B256,
) -> Result<Bytes, Stop> {
    if let Some(code) = context.caches.code.get(&hash) {
        return Ok(code.clone());
    }
    match context.fact(Need::Code { block, address, hash })? {
        Fact::Code(code) => Ok(code.clone()),
        Fact::Absent(error) => Err(error.clone().into()),
        _ => Err(ReadError::UnknownBlock.into()),
    }
}

/// Returns the whole canonical block that `place` names, or `None` if the chain has no such block.
fn block_at(context: &Context<'_>, place: Place) -> Result<Option<Block>, Stop> {
    let id = match place {
        Place::Hash(hash) if context.chain.id_of(hash).is_none() => {
            context.anchor()?;
            let Some(block) = context.whole_if_any(hash)? else { return Ok(None) };
            context.canonical(BlockId::of(&block))
        }
        place => context.id(place),
    };
    match id {
        Ok(id) => context.whole(id).map(Some),
        Err(Stop::Fail(ReadError::UnknownBlock)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

fn block(context: &Context<'_>, place: Place, is_full: bool) -> Step {
    let Some(block) = block_at(context, place)? else { return unknown() };
    let form = if is_full { Transactions::Whole } else { Transactions::Hashes };
    let text = shown::block(&block, form, MAX_READ_BYTES).map_err(|_| ReadError::TooLarge)?;
    // Our own JSON always parses.
    let value = serde_json::from_str(&text).map_err(|_| ReadError::TooLarge)?;
    Ok(Done::at(BlockId::of(&block), value))
}

fn transaction(block: &Block, index: u64) -> Result<Value, Stop> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let raw = block.payload().transaction(index);
    Ok(raw.map_or(Value::Null, |raw| shown::transaction(block, index, raw)))
}

/// Returns a transaction, and the fields of a deposit that only its receipt has. If the receipt
/// can't be proved, they are as in gossip.
fn whole_transaction(context: &Context<'_>, block: &Block, index: u64) -> Result<Value, Stop> {
    let mut shown = transaction(block, index)?;
    if shown.get("type") == Some(&show::quantity(DEPOSIT.into())) {
        match proved(context, block) {
            Ok(receipts) => show::add_deposit_fields(&mut shown, &receipts, index),
            Err(Stop::Fail(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(shown)
}

/// Finds a transaction in the recent blocks, or in a canonical block that an endpoint names.
fn find(context: &Context<'_>, hash: B256) -> Result<Option<(Block, u64)>, Stop> {
    context.anchor()?;
    if let Some((block, index)) = context.chain.transaction(&hash) {
        return Ok(Some((block.clone(), index as u64)));
    }
    let Fact::Claim(claim) = context.fact(Need::Claim { transaction: hash })? else {
        return Ok(None);
    };
    let Claim { endpoint, block: claimed, index, .. } = *claim;
    let distrust = || Stop::Distrust { endpoint };
    let is_false = |field: &str| {
        let part = format!("{field} is false");
        Stop::False { endpoint, method: "eth_getTransactionByHash", part }
    };
    let block = match context.whole_if_any(claimed.hash) {
        Ok(Some(block)) => block,
        Ok(None) | Err(Stop::Fail(_)) => return Err(distrust()),
        Err(stop) => return Err(stop),
    };
    if block.number() != claimed.number {
        return Err(is_false("blockNumber"));
    }
    match context.canonical(claimed) {
        Err(Stop::Fail(ReadError::UnknownBlock)) => return Err(distrust()),
        other => other?,
    };
    match show::index_of(&block, &hash) {
        Some(found) if found as u64 == index => {}
        Some(_) => return Err(is_false("transactionIndex")),
        None => return Err(is_false("blockHash")),
    }
    match show::false_transaction(&transaction(&block, index)?, &claim.answer) {
        Some(part) => Err(Stop::False { endpoint, method: "eth_getTransactionByHash", part }),
        None => Ok(Some((block, index))),
    }
}

/// Returns the proved receipts of a whole canonical block.
fn proved(context: &Context<'_>, block: &Block) -> Result<Arc<ProvedReceipts>, Stop> {
    if let Some(receipts) = context.caches.receipts.get(&block.hash()) {
        return Ok(receipts.clone());
    }
    match context.fact(Need::Receipts { block: block.clone() })? {
        Fact::Receipts(receipts) => Ok(receipts.clone()),
        Fact::Absent(error) => Err(error.clone().into()),
        _ => Err(ReadError::UnknownBlock.into()),
    }
}

fn receipt(context: &Context<'_>, block: &Block, index: u64) -> Step {
    let receipts = proved(context, block)?;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let shown = show::receipt(block, &receipts, index, context.forks).unwrap_or_default();
    Ok(Done::at(BlockId::of(block), shown))
}

fn receipts(context: &Context<'_>, place: Place) -> Step {
    let Some(block) = block_at(context, place)? else { return unknown() };
    let receipts = proved(context, &block)?;
    let each = (0..receipts.receipts.len())
        .filter_map(|index| show::receipt(&block, &receipts, index, context.forks));
    Ok(Done::at(BlockId::of(&block), each.collect::<Vec<_>>().into()))
}

/// Returns the canonical blocks of a range, in ascending order.
fn blocks(context: &Context<'_>, range: Range) -> Result<Vec<BlockId>, Stop> {
    let (from, to) = match range {
        Range::Block(hash) => return Ok(vec![context.id(Place::Hash(hash))?]),
        Range::Between(from, to) => (from, to),
    };
    // Numbers suffice to reject a range that is too long.
    let number = |place| match place {
        Place::Number(number) => Ok(number),
        Place::Tag(BlockTag::Earliest) => Ok(0),
        place => context.id(place).map(|id| id.number),
    };
    let (first, last) = (number(from)?, number(to)?);
    let count = last.checked_sub(first).map_or(0, |more| more.saturating_add(1));
    if !(1..=MAX_LOG_BLOCKS).contains(&count) {
        return Err(ReadError::Range(count).into());
    }
    let hashes = context.hashes(first, last)?;
    Ok((first..=last).zip(hashes).map(|(number, hash)| BlockId::new(number, hash)).collect())
}

fn logs(context: &Context<'_>, filter: (&LogFilter, &FilterBlooms), range: Range) -> Step {
    context.anchor()?;
    let blocks = blocks(context, range)?;
    let (mut found, mut needs) = (Vec::new(), Vec::new());
    for block in &blocks {
        match block_logs(context, filter, *block) {
            Ok(logs) => found.extend(logs),
            Err(Stop::Need(more)) => needs.extend(more),
            Err(stop) => return Err(stop),
        }
    }
    if !needs.is_empty() {
        return Err(Stop::Need(needs));
    }
    let last = blocks.last().ok_or(ReadError::UnknownBlock)?;
    Ok(Done::at(*last, found.into()))
}

/// Returns the matching logs of a canonical block.
fn block_logs(
    context: &Context<'_>,
    (filter, blooms): (&LogFilter, &FilterBlooms),
    block: BlockId,
) -> Result<Vec<Value>, Stop> {
    if let Some(Fact::Logs(logs)) = context.facts.get(&Key::Receipts(block.hash)) {
        return Ok(logs.clone());
    }
    if !blooms.may_match(&context.header(block)?.logs_bloom) {
        return Ok(Vec::new());
    }
    let block = context.whole(block)?;
    let receipts = proved(context, &block)?;
    Ok(filter.select(&receipts).map(|log| show::log(&block, &log)).collect())
}
