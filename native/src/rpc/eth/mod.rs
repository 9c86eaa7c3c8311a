//! The execution API as far as gossip alone can answer it: a plain web3 client reads the unsafe chain from here.
//!
//! # Methods
//! `eth_chainId`, `eth_blockNumber`, `eth_syncing`, `net_version`, `web3_clientVersion`; blocks by number, word and hash
//! (`eth_getBlockByNumber`, `eth_getBlockByHash`, `eth_getBlockTransactionCountByNumber`, `…ByHash`); transactions by block
//! and place and by hash (`eth_getTransactionByBlockNumberAndIndex`, `…ByBlockHashAndIndex`, `eth_getTransactionByHash`);
//! and over WebSocket `eth_subscribe("newHeads")` with `eth_unsubscribe`. `shapes` says how they are written.
//!
//! * A block that is not held is `null`. Held are the blocks of the chain view and of the store, as many as its retention
//!   keeps; what no block of gossip says (state, receipts, logs) is not served at all.
//! * By number the canonical block is answered, by hash any that is held, also one that a reorg left or whose ancestors
//!   are missing.
//! * `latest` and `pending` are the unsafe head. `safe` and `finalized` are what [`Labels`] say; without labels they are an
//!   error that says so. `earliest` is the lowest block that is held, as nodes do that prune.
//! * Without any block yet, `eth_blockNumber` and `eth_syncing` are an error, and `latest` is `null`.
//! * Transactions are found by hash in the newest [`BLOCKS`] blocks, and [`TRANSACTIONS`] of them.
//! * `eth_syncing` is `false` if nothing above the head is known of. Else `startingBlock` is the head that there was when
//!   the RPC began.
//!
//! What is wrong with the arguments is answered with -32602 and one sentence.
//!
//! # Bounds
//! Blocks are read and written on threads that may wait, 4 at a time, apart from the operator's own large answers; 256 calls
//! wait for that, and one more is refused. Every answer is bounded while it is written.

mod find;
mod given;
mod heads;
mod index;
mod shapes;

pub use index::{BLOCKS, TRANSACTIONS};

use super::methods::{Answer, Method, Rpc, Work, raw};
use super::params::{Arguments, failed};
use crate::host::HostHandle;
use alloy_primitives::U64;
use index::Index;
use jsonrpsee::types::ErrorObjectOwned;
use opp2p_core::chain::{BlockId, Labels};
use opp2p_core::payload::Block;
use serde::Serialize;
use shapes::{Transaction, Whole, bounded};
use std::sync::Arc;
use tokio::sync::watch;

pub(super) use heads::{Heads, channel, tell};

/// The methods: name, most arguments, work.
pub(super) const METHODS: [Method; 12] = [
    ("eth_chainId", 0, Work::Look(|rpc, _| raw(&U64::from(chain_id(&rpc.host))))),
    ("eth_blockNumber", 0, Work::Look(|rpc, _| raw(&U64::from(head(&rpc.host)?.number)))),
    ("eth_syncing", 0, Work::Look(syncing)),
    ("eth_getBlockByNumber", 2, Work::Block(|rpc, given| block(at(rpc, given)?.as_ref(), given.bool(1)?))),
    ("eth_getBlockByHash", 2, Work::Block(|rpc, given| block(of_hash(rpc, given)?.as_ref(), given.bool(1)?))),
    ("eth_getBlockTransactionCountByNumber", 1, Work::Block(|rpc, given| count(at(rpc, given)?))),
    ("eth_getBlockTransactionCountByHash", 1, Work::Block(|rpc, given| count(of_hash(rpc, given)?))),
    (
        "eth_getTransactionByBlockNumberAndIndex",
        2,
        Work::Block(|rpc, given| transaction(at(rpc, given)?.as_ref(), given::quantity(given, 1)?)),
    ),
    (
        "eth_getTransactionByBlockHashAndIndex",
        2,
        Work::Block(|rpc, given| transaction(of_hash(rpc, given)?.as_ref(), given::quantity(given, 1)?)),
    ),
    ("eth_getTransactionByHash", 1, Work::Block(transaction_by_hash)),
    ("net_version", 0, Work::Look(|rpc, _| raw(&chain_id(&rpc.host).to_string()))),
    ("web3_clientVersion", 0, Work::Look(|rpc, _| raw(&rpc.host.agent()))),
];

/// What the methods work on beside the node.
#[derive(Clone, Debug)]
pub(super) struct Eth {
    /// What is known beyond gossip, if anybody says it.
    labels: Option<watch::Receiver<Labels>>,
    /// The head when the RPC began.
    start: Option<BlockId>,
    index: Arc<Index>,
    pub(super) heads: Heads,
}

impl Eth {
    pub(super) fn new(host: &HostHandle, labels: Option<watch::Receiver<Labels>>, heads: Heads) -> Self {
        let start = host.core(|node, _| node.view().head());
        Self { labels, start, index: Arc::default(), heads }
    }

    /// What somebody says whom the configuration names, else what is known by way of the execution client.
    fn labels(&self, host: &HostHandle) -> Labels {
        match &self.labels {
            Some(labels) => *labels.borrow(),
            None => host.engine().map(|engine| engine.labels).unwrap_or_default(),
        }
    }
}

fn chain_id(host: &HostHandle) -> u64 {
    host.core(|node, _| node.chain().chain_id)
}

/// The unsafe head.
fn head(host: &HostHandle) -> Result<BlockId, ErrorObjectOwned> {
    let head = host.core(|node, _| node.view().head());
    head.ok_or_else(|| failed("there is no block yet: this node waits for the first one of its peers"))
}

/// The block of this call's first argument, a number or a word.
fn at(rpc: &Rpc, given: &Arguments) -> Result<Option<Block>, ErrorObjectOwned> {
    find::at(&rpc.host, rpc.eth.labels(&rpc.host), given::place(given, 0)?)
}

/// The block of this call's first argument, a hash.
fn of_hash(rpc: &Rpc, given: &Arguments) -> Result<Option<Block>, ErrorObjectOwned> {
    find::by_hash(&rpc.host, given::hash(given, 0)?)
}

fn block(block: Option<&Block>, is_full: bool) -> Answer {
    bounded(&block.map(|block| Whole { block, is_full }))
}

fn count(block: Option<Block>) -> Answer {
    raw(&block.map(|block| U64::from(block.payload().transaction_count())))
}

fn transaction(block: Option<&Block>, place: u64) -> Answer {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let found = block.and_then(|block| Some((block, block.payload().transaction(place)?)));
    bounded(&found.map(|(block, raw)| Transaction::of(block, place, raw)))
}

fn transaction_by_hash(rpc: &Rpc, given: &Arguments) -> Answer {
    let hash = given::hash(given, 0)?;
    let Some(head) = rpc.host.core(|node, _| node.view().head()) else { return raw(&()) };
    let found = rpc.eth.index.find(head, &hash, |block| find::by_hash(&rpc.host, block))?;
    let (block, place) = found.map_or((None, 0), |(block, place)| (Some(block), place as u64));
    transaction(block.as_ref(), place)
}

/// How far it is to the highest block that is known of.
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

/// Reads an argument as everything that a read method takes. What is wrong with it.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(arguments: &Arguments, place: usize) -> Vec<ErrorObjectOwned> {
    let hash = given::hash(arguments, place).err();
    let number = given::quantity(arguments, place).err();
    let block = given::place(arguments, place).err();
    [hash, number, block].into_iter().flatten().collect()
}
