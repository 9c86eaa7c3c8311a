//! Fuzzes the reader of proved answers with arbitrary endpoints.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use arbitrary::{Result, Unstructured};
use opp2p_core::chain::{BlockId, ChainConfig, Fork, Labels};
use opp2p_core::payload::Block;
use opp2p_core::payload::shown::{self, Transactions};
use opp2p_core::proof::call::RuleSchedule;
use opp2p_core::proof::reader::{
    FetchFailure, FetchId, LagPolicy, MAX_FETCHES, MAX_READS, ReadId, Reader, ReaderConfig,
    ReaderOutput,
};
use serde_json::{Value, json};

use crate::material::{CHAIN_ID, Clock, POOL, any_span, play};

/// The reader's requests and answers so far.
#[derive(Default)]
struct Course {
    /// Pending reads, and whether an endpoint could prove an answer.
    waiting: Vec<(ReadId, bool)>,
    asked: Vec<(FetchId, usize)>,
    dropped: BTreeSet<usize>,
}

fn any_block<'a>(from: &mut Unstructured<'a>) -> Result<&'static Block> {
    Ok(&from.choose(&POOL)?.block)
}

/// Returns a request, and whether an answer to it can be proved: no block of the pool has a state
/// or receipts.
fn any_request(from: &mut Unstructured<'_>) -> Result<(&'static str, Value, bool)> {
    let block = any_block(from)?;
    let raw = block.payload().transaction(0).unwrap_or_default();
    let transaction = alloy_primitives::keccak256(raw);
    let address = Address::repeat_byte(1);
    let place = match from.int_in_range(0..=4)? {
        0 => json!(block.hash()),
        1 => json!(format!("{:#x}", block.number())),
        2 => json!({ "blockHash": block.hash() }),
        3 => json!("safe"),
        _ => json!("latest"),
    };
    Ok(match from.int_in_range(0..=10)? {
        0 => ("eth_getBalance", json!([address, place]), false),
        1 => ("eth_getCode", json!([address, place]), false),
        2 => ("eth_getProof", json!([address, ["0x1", "0x2"], place]), false),
        3 => ("eth_getBlockReceipts", json!([block.hash()]), true),
        4 => ("eth_getTransactionReceipt", json!([transaction]), true),
        5 => ("eth_getLogs", json!([{ "fromBlock": "0x3e0", "address": address }]), true),
        6 => ("eth_getBlockByHash", json!([block.hash(), true]), true),
        7 => ("eth_getTransactionByHash", json!([transaction]), true),
        8 => ("eth_gasPrice", json!([]), true),
        9 => ("eth_call", json!([{ "to": address }, place]), false),
        _ => ("eth_blockNumber", json!([]), true),
    })
}

fn any_value(from: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match from.int_in_range(0..=8)? {
        0 => Value::Null,
        1 => json!(from.arbitrary::<bool>()?),
        2 => json!(from.arbitrary::<u64>()?),
        3 => json!(format!("{:#x}", from.arbitrary::<u64>()?)),
        4 => json!(B256::repeat_byte(from.arbitrary()?)),
        5 if depth > 0 => {
            let count = from.int_in_range(0..=3_usize)?;
            (0..count).map(|_| any_value(from, depth - 1)).collect::<Result<_>>()?
        }
        6 if depth > 0 => json!({
            "address": any_value(from, 0)?, "accountProof": any_value(from, depth - 1)?,
            "balance": "0x0", "nonce": "0x0", "storageHash": B256::ZERO, "codeHash": B256::ZERO,
            "storageProof": any_value(from, depth - 1)?, "blockHash": any_block(from)?.hash(),
            "hash": any_value(from, 0)?, "blockNumber": any_value(from, 0)?,
            "transactionIndex": any_value(from, 0)?, "transactionHash": any_value(from, 0)?,
            "logs": [], "status": "0x1", "cumulativeGasUsed": "0xc350", "gasUsed": "0xc350",
        }),
        _ => {
            let block = any_block(from)?;
            let form = if from.arbitrary()? { Transactions::Whole } else { Transactions::Hashes };
            let text = shown::block(block, form, 1 << 20).expect("it is short");
            let mut shown: Value = serde_json::from_str(&text).expect("it was written as JSON");
            if from.ratio(1, 4)? {
                let names: Vec<String> =
                    shown.as_object().expect("an object").keys().cloned().collect();
                shown[from.choose(&names)?] = any_value(from, 0)?;
            }
            shown
        }
    })
}

fn any_result(from: &mut Unstructured<'_>) -> Result<std::result::Result<Value, FetchFailure>> {
    Ok(match from.int_in_range(0..=7)? {
        0 => Err(FetchFailure::Transport("gone".into())),
        1 => Err(FetchFailure::TooLarge),
        2 => Err(FetchFailure::Refused {
            code: i64::from(from.arbitrary::<i16>()?),
            message: "no".into(),
            data: Value::Null,
        }),
        _ => Ok(any_value(from, 2)?),
    })
}

impl Course {
    /// Takes all outputs, and checks them.
    fn take(&mut self, reader: &mut Reader) {
        while let Some(output) = reader.poll() {
            match output {
                ReaderOutput::Fetch { id, endpoint, limit, .. } => {
                    assert!(!self.dropped.contains(&endpoint), "a dropped endpoint is asked");
                    assert!(limit > 0 && self.asked.iter().all(|(asked, _)| *asked != id));
                    self.asked.push((id, endpoint));
                }
                ReaderOutput::Cancel { id } => {
                    let before = self.asked.len();
                    self.asked.retain(|(asked, _)| *asked != id);
                    assert_eq!(self.asked.len() + 1, before, "what is cancelled was asked");
                }
                ReaderOutput::Execute { .. } => panic!("no state can be proved"),
                ReaderOutput::Answer { read, result, is_verified, .. } => {
                    let found = self.waiting.iter().position(|(waiting, _)| *waiting == read);
                    let (_, can_be_proved) = self.waiting.remove(found.expect("one answer each"));
                    assert!(can_be_proved || result.is_err(), "{result:?} can't be proved");
                    let is_price = result.is_ok() && !is_verified;
                    assert!(!is_price || can_be_proved);
                }
                ReaderOutput::Dropped { endpoint, part, .. } => {
                    assert!(self.dropped.insert(endpoint) && !part.is_empty());
                }
            }
        }
        assert!(reader.pending_reads() <= MAX_READS && reader.pending_fetches() <= MAX_FETCHES);
        assert_eq!(reader.pending_fetches(), self.asked.len());
        assert_eq!(reader.pending_reads(), self.waiting.len());
    }
}

/// Gives arbitrary answers at arbitrary times. Checks that no answer is false, that no dropped
/// endpoint is asked, and that every read ends.
pub(crate) fn reader(bytes: &[u8]) {
    play(bytes, |from| {
        let mut clock = Clock::new();
        let lag = match from.int_in_range(0..=2)? {
            0 => LagPolicy::Newest { max_blocks: 4 },
            _ => LagPolicy::Wait(Duration::from_secs(3)),
        };
        let genesis = B256::ZERO;
        let signer = Address::ZERO;
        let chain = ChainConfig::development(CHAIN_ID, genesis, 0, 2, Fork::Jovian, signer);
        let config = ReaderConfig {
            lag,
            calls: Some(RuleSchedule::of(&chain)),
            unverified: vec!["eth_gasPrice".into()],
            ..ReaderConfig::new(CHAIN_ID, from.int_in_range(0..=3)?)
        };
        let mut reader = Reader::new(config);
        let mut course = Course::default();
        while !from.is_empty() {
            match from.int_in_range(0..=9)? {
                0..=2 => {
                    let (method, params, can_be_proved) = any_request(from)?;
                    let id = reader.request(method, &params, clock.at());
                    course.waiting.push((id, can_be_proved));
                }
                3 => reader.head(any_block(from)?, clock.at()),
                4 => {
                    let safe = Some(BlockId::of(any_block(from)?));
                    reader.labels(Labels { safe, finalized: None });
                }
                5 => {
                    clock.pass(any_span(from)?);
                    reader.wake(clock.at());
                }
                6 if !course.waiting.is_empty() => {
                    let at = from.choose_index(course.waiting.len())?;
                    let (id, _) = course.waiting.remove(at);
                    reader.cancel(id, clock.at());
                }
                _ if !course.asked.is_empty() => {
                    let at = from.choose_index(course.asked.len())?;
                    let (id, _) = course.asked.remove(at);
                    reader.fetched(id, any_result(from)?, clock.at());
                }
                _ => {}
            }
            course.take(&mut reader);
        }
        // From here on, no endpoint answers.
        for _ in 0..100_000 {
            let Some(deadline) = reader.deadline() else { break };
            clock.pass_to(deadline);
            reader.wake(clock.at());
            course.take(&mut reader);
        }
        assert!(course.waiting.is_empty() && course.asked.is_empty(), "a read does not end");
        Ok(())
    });
}

/// Returns random inputs of several lengths.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    [64, 256, 1024].map(|length| (0..length).map(|_| next()).collect()).into()
}
