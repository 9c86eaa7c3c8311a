//! The execution API as far as gossip alone can answer it: a plain web3 client reads the unsafe
//! chain here.
//!
//! # Methods
//! `eth_chainId`, `eth_blockNumber`, `eth_syncing`, `net_version`, `net_peerCount`,
//! `net_listening`, `web3_clientVersion`; blocks by number, tag and hash (`eth_getBlockByNumber`,
//! `eth_getBlockByHash`, `eth_getBlockTransactionCountByNumber`, `…ByHash`); transactions by block
//! and place and by hash (`eth_getTransactionByBlockNumberAndIndex`, `…ByBlockHashAndIndex`,
//! `eth_getTransactionByHash`); and over WebSocket `eth_subscribe("newHeads")` with
//! `eth_unsubscribe`. [`opp2p_core::payload::shown`] describes their formats.
//!
//! * A block that is not held is `null`. The node holds the blocks of the chain view and of the
//!   store, as many as its retention keeps. Data that gossiped blocks lack (state, receipts, logs)
//!   is served only with `--l2.proofs`.
//! * A number returns the canonical block. A hash returns any block that is held, even if a reorg
//!   abandoned it or its ancestors are missing.
//! * `latest` and `pending` are the unsafe head. `safe` and `finalized` come from
//!   [`Labels`](opp2p_core::chain::Labels); without labels they are an error that says so.
//!   `earliest` is the lowest block that is held, as on pruning nodes.
//! * Before the first block, `eth_blockNumber` and `eth_syncing` are an error, and `latest` is
//!   `null`.
//! * Transactions are found by hash in the blocks of the last [`SPAN`], within [`BYTES`],
//!   [`BLOCKS`] and [`TRANSACTIONS`].
//! * `eth_syncing` is `false` if no block above the head is known. Otherwise `startingBlock` is the
//!   head at the start of the RPC.
//!
//! With `--l2.proofs`, blocks and transactions that the node does not hold come from untrusted
//! endpoints, and so do the answers to the methods of `proved.rs`. [`opp2p_core::proof::reader`]
//! verifies them.
//!
//! Invalid arguments are answered with -32602 and one sentence.
//!
//! # Bounds
//! Blocks are read and serialized on blocking threads, 4 at a time, apart from the operator's own
//! large answers; 256 more calls wait, and any further call is refused. Every answer is bounded
//! while it is written.

pub(super) mod find;
pub(super) mod given;
mod heads;
mod index;
pub(super) mod proved;
mod shapes;
mod state;

pub use index::{BLOCKS, BYTES, SPAN, TRANSACTIONS};

use super::context::Rpc;
use super::error::{ANSWER_TOO_LONG, BUSY, CallError, FAILED};
use super::method::{Method, Parameter, Work};
use super::params::{Answer, Arguments, failed, raw};
use alloy_primitives::U64;
use opp2p_core::chain::BlockId;
use opp2p_core::payload::Block;
use opp2p_node::host::HostHandle;
use serde::Serialize;
use shapes::{block, transaction};

pub(super) use heads::{channel, tell};
pub(super) use state::Eth;

const PLACE: Parameter = Parameter::new(
    "block",
    "a block number in hexadecimal, or `latest`, `pending`, `safe`, `finalized` or `earliest`",
);
const HASH: Parameter = Parameter::new("hash", "a block hash");
const FULL: Parameter = Parameter::new("full", "`true` for whole transactions, `false` for hashes");
const INDEX: Parameter = Parameter::new("index", "a place in the block, in hexadecimal");

const NO_BLOCK_YET: &[(i32, &str)] = &[(FAILED, "there is no block yet")];
const AT: &[(i32, &str)] = &[
    (FAILED, "no source reports the `safe` or `finalized` block, or the store can't be read"),
    (BUSY, "too many calls that read blocks wait already"),
    (ANSWER_TOO_LONG, "the answer is too long"),
];
const OF_HASH: &[(i32, &str)] = &[
    (FAILED, "the store can't be read"),
    (BUSY, "too many calls that read blocks wait already"),
    (ANSWER_TOO_LONG, "the answer is too long"),
];

const BLOCK: &str = "a block in the execution API's format, or `null` if it is not held";
const COUNT: &str = "a number in hexadecimal, or `null` if the block is not held";
const TRANSACTION: &str = "a transaction in the execution API's format, or `null` if it is not \
     held; the `nonce` of a deposit in a held block is `0x0`, because gossip does not carry it";

/// The methods.
pub(super) const METHODS: [Method; 14] = [
    Method::new(
        "eth_chainId",
        &[],
        "Returns the chain's id.",
        "a number in hexadecimal",
        Work::Look(|rpc, _| raw(&U64::from(chain_id(&rpc.host)))),
    ),
    Method::new(
        "eth_blockNumber",
        &[],
        "Returns the number of the unsafe head.",
        "a number in hexadecimal",
        Work::Look(|rpc, _| raw(&U64::from(head(&rpc.host)?.number))),
    )
    .fails(NO_BLOCK_YET),
    Method::new(
        "eth_syncing",
        &[],
        "Tells how far the head is behind the highest known block.",
        "`false`, or `{startingBlock, currentBlock, highestBlock}`",
        Work::Look(syncing),
    )
    .fails(NO_BLOCK_YET),
    Method::new(
        "eth_getBlockByNumber",
        &[PLACE, FULL],
        "Returns a block of the canonical chain. `latest` and `pending` are the unsafe head, and \
         `earliest` is the lowest block that is held.",
        BLOCK,
        Work::Block(|rpc, given| block(at(rpc, given)?.as_ref(), given.bool(1)?)),
    )
    .fails(AT)
    .proved(),
    Method::new(
        "eth_getBlockByHash",
        &[HASH, FULL],
        "Returns a block, canonical or not.",
        BLOCK,
        Work::Block(|rpc, given| block(of_hash(rpc, given)?.as_ref(), given.bool(1)?)),
    )
    .fails(OF_HASH)
    .proved(),
    Method::new(
        "eth_getBlockTransactionCountByNumber",
        &[PLACE],
        "Counts a block's transactions.",
        COUNT,
        Work::Block(|rpc, given| count(at(rpc, given)?)),
    )
    .fails(AT)
    .proved(),
    Method::new(
        "eth_getBlockTransactionCountByHash",
        &[HASH],
        "Counts a block's transactions.",
        COUNT,
        Work::Block(|rpc, given| count(of_hash(rpc, given)?)),
    )
    .fails(OF_HASH)
    .proved(),
    Method::new(
        "eth_getTransactionByBlockNumberAndIndex",
        &[PLACE, INDEX],
        "Returns a transaction by its place.",
        TRANSACTION,
        Work::Block(|rpc, given| transaction(at(rpc, given)?.as_ref(), given::quantity(given, 1)?)),
    )
    .fails(AT)
    .proved(),
    Method::new(
        "eth_getTransactionByBlockHashAndIndex",
        &[HASH, INDEX],
        "Returns a transaction by its place.",
        TRANSACTION,
        Work::Block(|rpc, given| {
            transaction(of_hash(rpc, given)?.as_ref(), given::quantity(given, 1)?)
        }),
    )
    .fails(OF_HASH)
    .proved(),
    Method::new(
        "eth_getTransactionByHash",
        &[Parameter::new("hash", "a transaction hash")],
        "Returns a transaction of the last 34 minutes, within 256 MiB of blocks.",
        TRANSACTION,
        Work::Block(transaction_by_hash),
    )
    .fails(OF_HASH)
    .proved(),
    Method::new(
        "net_version",
        &[],
        "Returns the chain's id.",
        "a text, in decimal",
        Work::Look(|rpc, _| raw(&chain_id(&rpc.host).to_string())),
    ),
    Method::new(
        "net_peerCount",
        &[],
        "Counts the connected peers.",
        "a number in hexadecimal",
        Work::Look(|rpc, _| raw(&U64::from(rpc.host.status().borrow().peers))),
    ),
    Method::new(
        "net_listening",
        &[],
        "Tells whether this node listens for peers.",
        "a boolean",
        Work::Look(|rpc, _| raw(&!rpc.host.addresses().is_empty())),
    ),
    Method::new(
        "web3_clientVersion",
        &[],
        "Returns the name and version of this program.",
        "a text",
        Work::Look(|rpc, _| raw(&rpc.host.agent())),
    ),
];

fn chain_id(host: &HostHandle) -> u64 {
    host.core(|node, _| node.chain().chain_id)
}

/// Returns the unsafe head.
fn head(host: &HostHandle) -> Result<BlockId, CallError> {
    let head = host.core(|node, _| node.view().head());
    head.ok_or_else(|| {
        failed("there is no block yet: this node waits for the first one from its peers")
    })
}

/// Returns the block that the call's first argument names by number or tag.
fn at(rpc: &Rpc, given: &Arguments) -> Result<Option<Block>, CallError> {
    find::at(&rpc.host, rpc.eth.labels(&rpc.host), given::place(given, 0)?)
}

/// Returns the block that the call's first argument names by hash.
fn of_hash(rpc: &Rpc, given: &Arguments) -> Result<Option<Block>, CallError> {
    find::by_hash(&rpc.host, given::hash(given, 0)?)
}

fn count(block: Option<Block>) -> Answer {
    raw(&block.map(|block| U64::from(block.payload().transaction_count())))
}

fn transaction_by_hash(rpc: &Rpc, given: &Arguments) -> Answer {
    let hash = given::hash(given, 0)?;
    let Some(head) = rpc.host.core(|node, _| node.view().head()) else { return raw(&()) };
    let found = rpc.eth.index.find(head, &hash, |block| find::by_hash(&rpc.host, block))?;
    let (block, place) = found.map_or((None, 0), |(block, place)| (Some(block), place as u64));
    transaction(block.as_ref(), place)
}

/// Progress towards the highest known block.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Syncing {
    starting_block: U64,
    current_block: U64,
    highest_block: U64,
}

fn syncing(rpc: &Rpc, _: &Arguments) -> Answer {
    let current = head(&rpc.host)?.number;
    let known = rpc.host.core(|node, _| {
        let wanted = node.sync_status().and_then(|sync| sync.wanted);
        [node.view().highest(), wanted].into_iter().flatten().map(|id| id.number).max()
    });
    match known.filter(|highest| *highest > current) {
        None => raw(&false),
        Some(highest) => raw(&Syncing {
            starting_block: U64::from(rpc.eth.start.map_or(0, |start| start.number).min(current)),
            current_block: U64::from(current),
            highest_block: U64::from(highest),
        }),
    }
}

/// Parses an argument as every type that a read method takes, and returns the errors.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(arguments: &Arguments, place: usize) -> Vec<CallError> {
    let hash = given::hash(arguments, place).err();
    let number = given::quantity(arguments, place).err();
    let block = given::place(arguments, place).err();
    [hash, number, block].into_iter().flatten().collect()
}
