//! The tables of the store, and who they say it belongs to.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`, `schema`, `chain_id`, `genesis_hash` |
//! | `blocks` | block hash | the block's record (see `record`) |
//! | `heights` | number and block hash | the block's timestamp, unix seconds |
//! | `canonical` | number | block hash |
//! | `pending_blocks` | number and block hash | parent's hash, length of the message in bytes |
//! | `memory` | opaque bytes, at most 256 | opaque bytes, at most 64 KiB |
//!
//! `blocks` and `heights` hold the same blocks; `heights` gives retention its order without reading records.
//! `pending_blocks` marks those of them that do not link to the chain yet, with what a restart has to know of
//! them. `memory` is what the core remembers of its peers, in a form that is the core's own. A file from before
//! there were these two may lack them, which reads as empty; the first write makes them. The head is the last entry of `canonical`: there is no second place that could
//! disagree with it.

use alloy_primitives::B256;
use redb::{Database, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use super::fault::Fault;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const BLOCKS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blocks");
pub(super) const HEIGHTS: TableDefinition<'_, (u64, [u8; 32]), u64> = TableDefinition::new("heights");
pub(super) const CANONICAL: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("canonical");
pub(super) const PENDING: TableDefinition<'_, (u64, [u8; 32]), ([u8; 32], u64)> =
    TableDefinition::new("pending_blocks");
pub(super) const MEMORY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("memory");

/// The schema that this program reads and writes.
pub(super) const SCHEMA: u32 = 1;

/// What tells a store of this program from any other redb database.
const FORMAT: &[u8] = b"opp2p block store";

/// Who a database says that it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Another program.
    Foreign,
    /// Another version of this program.
    OtherSchema(u32),
    /// This program, for this chain.
    Chain { chain_id: u64, genesis_hash: B256 },
}

/// Makes all tables and writes down whose they are.
pub(super) fn create(
    transaction: &WriteTransaction,
    chain_id: u64,
    genesis_hash: &B256,
) -> Result<(), Fault> {
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", FORMAT)?;
    meta.insert("schema", SCHEMA.to_be_bytes().as_slice())?;
    meta.insert("chain_id", chain_id.to_be_bytes().as_slice())?;
    meta.insert("genesis_hash", genesis_hash.as_slice())?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(HEIGHTS)?;
    transaction.open_table(CANONICAL)?;
    transaction.open_table(PENDING)?;
    transaction.open_table(MEMORY)?;
    Ok(())
}

/// Reads whose database this is.
pub(super) fn owner(database: &Database) -> Result<Owner, Fault> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        // No such table, or one of other types.
        Err(_) => return Ok(Owner::Foreign),
    };
    if meta.get("format")?.is_none_or(|value| value.value() != FORMAT) {
        return Ok(Owner::Foreign);
    }
    // The schema comes before all else: another schema may keep the rest in another form.
    let schema = match meta.get("schema")? {
        Some(value) => array(value.value()).map(u32::from_be_bytes),
        None => None,
    };
    let schema = schema.ok_or_else(|| Fault::corrupted("its schema number is missing"))?;
    if schema != SCHEMA {
        return Ok(Owner::OtherSchema(schema));
    }
    let chain_id = match meta.get("chain_id")? {
        Some(value) => array(value.value()).map(u64::from_be_bytes),
        None => None,
    };
    let genesis_hash = match meta.get("genesis_hash")? {
        Some(value) => array(value.value()).map(B256::new),
        None => None,
    };
    match (chain_id, genesis_hash) {
        (Some(chain_id), Some(genesis_hash)) => Ok(Owner::Chain { chain_id, genesis_hash }),
        _ => Err(Fault::corrupted("its chain is missing")),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}
