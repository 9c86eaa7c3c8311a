//! The `optimism` namespace: the methods that op-conductor, op-batcher, op-proposer and proxyd call
//! on a rollup node.
//!
//! * `optimism_syncStatus` has every field of op-node's, with zeros for unknown values. `unsafe_l2`
//!   is this node's head. `safe_l2`, `local_safe_l2` and `finalized_l2` come from the execution
//!   client or `--l2.labels`. The L1 blocks are read from the node of `--l1`, except `current_l1`,
//!   which is the progress of derivation. For a block that is not held, only the hash, the number
//!   and the timestamp are known.
//! * `optimism_outputAtBlock` answers for blocks from Isthmus on that this node holds: their
//!   headers have the storage root that the output root needs.
//! * `optimism_rollupConfig` returns the operator's own file. For a built-in network most of its
//!   fields are unknown here, so the method then answers as if it did not exist.
//! * `optimism_safeHeadAtL1Block` needs derivation, and is not implemented.
//!
//! # Bounds
//! The reads of L1 are bounded in `l1.rs`.

use super::context::Rpc;
use super::error::{CallError, FAILED, NOT_FOUND, not_found};
use super::eth::{find, given};
use super::l1::L1Heads;
use super::method::{Method, Parameter, Work};
use super::params::{Answer, Arguments, failed, raw};
use crate::version;
use alloy_primitives::B256;
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::chain::BlockId;
use opp2p_core::l1::L1Block;
use opp2p_core::payload::{Block, L1Info, output_root};
use serde::Serialize;

/// Version of output roots.
const OUTPUT_VERSION: B256 = B256::ZERO;

/// The methods.
pub(super) const METHODS: [Method; 4] = [
    Method::new(
        "optimism_version",
        &[],
        "Returns the version of this program.",
        "a text, `vVERSION-opp2p`",
        Work::Look(|_, _| raw(&version::LIKE_OP_NODE)),
    ),
    Method::new(
        "optimism_rollupConfig",
        &[],
        "Returns the operator's `rollup.json` as it is written.",
        "the file's object",
        Work::Look(rollup_config),
    )
    .fails(&[(NOT_FOUND, "the network is a built-in one, so there is no file")]),
    Method::new(
        "optimism_syncStatus",
        &[],
        "Describes the known heads of L1 and L2. Fields that need derivation, or an L1 node or \
         labels that are not configured, are zeros.",
        "an object with op-node's fields",
        Work::Ask(sync_status),
    ),
    Method::new(
        "optimism_outputAtBlock",
        &[Parameter::new("number", "a block number in hexadecimal")],
        "Returns the output root at a block that the node holds, from Isthmus on.",
        "`{version, outputRoot, blockRef, withdrawalStorageRoot, stateRoot, syncStatus}`",
        Work::Ask(output_at_block),
    )
    .fails(&[(FAILED, "the block is not held (`not found`), or it is older than Isthmus")]),
];

/// An L1 block in op-node's format.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct L1Ref {
    hash: B256,
    number: u64,
    parent_hash: B256,
    timestamp: u64,
}

impl From<L1Block> for L1Ref {
    fn from(block: L1Block) -> Self {
        let L1Block { hash, number, parent_hash, timestamp } = block;
        Self { hash, number, parent_hash, timestamp }
    }
}

/// A block id in op-node's format.
#[derive(Clone, Copy, Serialize, Default)]
struct Id {
    hash: B256,
    number: u64,
}

/// An L2 block in op-node's format.
#[derive(Clone, Copy, Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct L2Ref {
    hash: B256,
    number: u64,
    parent_hash: B256,
    timestamp: u64,
    // The reference's own spelling.
    #[serde(rename = "l1origin")]
    l1_origin: Id,
    sequence_number: u64,
}

impl L2Ref {
    fn of(block: &Block) -> Self {
        let info = block.payload().transaction(0).and_then(L1Info::from_transaction);
        let info = info.unwrap_or_default();
        Self {
            hash: block.hash(),
            number: block.number(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
            l1_origin: Id { hash: info.hash, number: info.number },
            sequence_number: info.sequence_number,
        }
    }
}

/// Answer of `optimism_syncStatus`.
#[derive(Serialize)]
struct SyncStatus {
    current_l1: L1Ref,
    current_l1_finalized: L1Ref,
    head_l1: L1Ref,
    safe_l1: L1Ref,
    finalized_l1: L1Ref,
    unsafe_l2: L2Ref,
    safe_l2: L2Ref,
    finalized_l2: L2Ref,
    pending_safe_l2: L2Ref,
    local_safe_l2: L2Ref,
}

/// Answer of `optimism_outputAtBlock`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    version: B256,
    output_root: B256,
    block_ref: L2Ref,
    withdrawal_storage_root: B256,
    state_root: B256,
    sync_status: SyncStatus,
}

/// Returns the known fields of the block with this id. Waits for the disk.
fn named(rpc: &Rpc, id: Option<BlockId>) -> Result<L2Ref, CallError> {
    let Some(id) = id else { return Ok(L2Ref::default()) };
    Ok(match find::by_hash(&rpc.host, id.hash)? {
        Some(block) => L2Ref::of(&block),
        None => {
            let timestamp = rpc.host.core(|node, _| node.chain().timestamp_of(id.number));
            L2Ref {
                hash: id.hash,
                number: id.number,
                timestamp: timestamp.unwrap_or_default(),
                ..L2Ref::default()
            }
        }
    })
}

/// Builds the sync status. Waits for the disk.
fn status(rpc: &Rpc, l1: L1Heads) -> Result<SyncStatus, CallError> {
    let labels = rpc.eth.labels(&rpc.host);
    let safe = named(rpc, labels.safe)?;
    Ok(SyncStatus {
        current_l1: L1Block::default().into(),
        current_l1_finalized: l1.finalized.into(),
        head_l1: l1.latest.into(),
        safe_l1: l1.safe.into(),
        finalized_l1: l1.finalized.into(),
        unsafe_l2: named(rpc, rpc.host.core(|node, _| node.view().head()))?,
        safe_l2: safe,
        finalized_l2: named(rpc, labels.finalized)?,
        pending_safe_l2: L2Ref::default(),
        local_safe_l2: safe,
    })
}

async fn l1_heads(rpc: &Rpc) -> L1Heads {
    match &rpc.optimism.l1 {
        Some(l1) => l1.heads().await,
        None => L1Heads::default(),
    }
}

fn sync_status(rpc: Rpc, _: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let l1 = l1_heads(&rpc).await;
        rpc.read_blocks(move |rpc| raw(&status(rpc, l1)?)).await
    }
    .boxed()
}

fn output_at_block(rpc: Rpc, arguments: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let number = given::quantity(&arguments, 0)?;
        let l1 = l1_heads(&rpc).await;
        rpc.read_blocks(move |rpc| raw(&output(rpc, number, l1)?)).await
    }
    .boxed()
}

fn output(rpc: &Rpc, number: u64, l1: L1Heads) -> Result<Output, CallError> {
    let Some(block) = rpc.host.canonical_block(number).map_err(failed)? else {
        // Callers match the last two words.
        return Err(failed(format_args!(
            "failed to get L2 block ref with sync status: block {number}: not found"
        )));
    };
    let payload = block.payload();
    let (Some(output_root), Some(withdrawal_storage_root)) =
        (output_root(&payload), payload.withdrawals_root())
    else {
        return Err(failed(format_args!(
            "the output root at block {number} needs state, which this node does not have: \
             headers have the withdrawals' storage root from Isthmus on"
        )));
    };
    Ok(Output {
        version: OUTPUT_VERSION,
        output_root,
        block_ref: L2Ref::of(&block),
        withdrawal_storage_root,
        state_root: payload.state_root(),
        sync_status: status(rpc, l1)?,
    })
}

fn rollup_config(rpc: &Rpc, _: &Arguments) -> Answer {
    match &rpc.optimism.rollup {
        Some(rollup) => raw(rollup),
        None => Err(not_found("optimism_rollupConfig")),
    }
}
