//! Reading of canonical blocks downwards, for peers that ask for a range.

use alloy_primitives::B256;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sync::range::{Encoded, EncodedBlocks};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use super::fault::Fault;
use super::record;
use super::schema::{BLOCKS, CANONICAL};

/// Length of the signature before a stored message's body, in bytes.
pub(super) const SIGNATURE_BYTES: usize = 65;

/// One state of the store.
pub(super) struct Snapshot {
    canonical: ReadOnlyTable<u64, [u8; 32]>,
    blocks: ReadOnlyTable<[u8; 32], &'static [u8]>,
    /// Block whose record is damaged. It counts as missing.
    pub(super) damaged: Option<B256>,
}

impl Snapshot {
    pub(super) fn open(database: &Database) -> Result<Self, Fault> {
        let transaction = database.begin_read()?;
        let canonical = transaction.open_table(CANONICAL)?;
        Ok(Self { canonical, blocks: transaction.open_table(BLOCKS)?, damaged: None })
    }
}

/// The body of a block: its message without the signature.
pub(super) struct Body(Vec<u8>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.get(SIGNATURE_BYTES..).unwrap_or_default()
    }
}

impl EncodedBlocks for Snapshot {
    type Body = Body;
    type Error = Fault;

    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Body>>, Fault> {
        let Some(hash) = self.canonical.get(number)?.map(|entry| B256::new(entry.value())) else {
            return Ok(None);
        };
        let found = self.blocks.get(hash.0)?.and_then(|record| {
            let block = record::decode(&hash, record.value()).ok()?;
            let version = PayloadVersion::from_number(block.version)?;
            let parent_hash = block.parent_hash;
            Some(Encoded { hash, parent_hash, version, body: Body(block.message) })
        });
        if found.is_none() {
            self.damaged = Some(hash);
        }
        Ok(found)
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        let lowest = self.canonical.first()?.map(|(number, _)| number.value());
        let highest = self.canonical.last()?.map(|(number, _)| number.value());
        Ok(lowest.zip(highest))
    }
}
