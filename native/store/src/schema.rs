//! The tables of the store, and the owner recorded in them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`, `schema`, `chain_id`, `genesis_hash`; `block_bytes` (see `weight`) |
//! | `blocks` | block hash | the block's record (see `record`) |
//! | `heights` | number and block hash | the block's timestamp, Unix seconds |
//! | `canonical` | number | block hash |
//! | `past` | number | block hash, and whether the block was never received |
//! | `abandoned` | is the block stored, number, block hash | position before it, see [`Before`] |
//! | `pending_blocks` | number and block hash | parent's hash, length of the message in bytes |
//! | `memory` | opaque bytes, at most 256 | opaque bytes, at most 64 KiB |
//!
//! `blocks` and `heights` hold the same blocks; `heights` lets retention iterate in order without
//! reading records. `pending_blocks` marks those that do not link to the chain yet, with the fields
//! that a restart needs. `memory` is the core's memory of its peers, in the core's own format.
//! `canonical` has the canonical positions whose blocks are stored, `past` those whose blocks are
//! not: retention removed them, or they were never received and are only known as a parent.
//! `abandoned` has the blocks that were canonical and no longer are (see `chain`). A file of an
//! older version may lack the tables `past`, `abandoned`, `pending_blocks` and `memory`, which then
//! count as empty; the first write creates them. The head is the highest position in `canonical`
//! and `past`: it is recorded nowhere else, so no record can disagree with it.

use alloy_primitives::B256;
use redb::{Database, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use super::fault::Fault;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const BLOCKS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blocks");
pub(super) const HEIGHTS: TableDefinition<'_, (u64, [u8; 32]), u64> =
    TableDefinition::new("heights");
pub(super) const CANONICAL: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("canonical");
pub(super) const PAST: TableDefinition<'_, u64, ([u8; 32], bool)> = TableDefinition::new("past");
pub(super) const ABANDONED: TableDefinition<'_, (bool, u64, [u8; 32]), Before> =
    TableDefinition::new("abandoned");
pub(super) const PENDING: TableDefinition<'_, (u64, [u8; 32]), ([u8; 32], u64)> =
    TableDefinition::new("pending_blocks");
pub(super) const MEMORY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("memory");

/// Number and hash of the canonical position before an abandoned block, which is its parent or the
/// position below a hole, and whether the block itself was never received. The hash is zero if
/// there was no such position.
pub(super) type Before = (u64, [u8; 32], bool);

/// Schema that this program reads and writes.
pub(super) const SCHEMA: u32 = 1;

/// Marker that distinguishes a store of this program from any other redb database.
const FORMAT: &[u8] = b"opp2p block store";

/// Owner recorded in a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Another program.
    Foreign,
    /// Another version of this program.
    OtherSchema(u32),
    /// This program, for this chain.
    Chain { chain_id: u64, genesis_hash: B256 },
}

/// Creates all tables and records the owner.
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
    transaction.open_table(PAST)?;
    transaction.open_table(ABANDONED)?;
    transaction.open_table(PENDING)?;
    transaction.open_table(MEMORY)?;
    Ok(())
}

/// Reads the owner of this database.
pub(super) fn owner(database: &Database) -> Result<Owner, Fault> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        // There is no such table, or its types differ.
        Err(_) => return Ok(Owner::Foreign),
    };
    if meta.get("format")?.is_none_or(|value| value.value() != FORMAT) {
        return Ok(Owner::Foreign);
    }
    // The schema is checked first: another schema may keep the rest in another form.
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
