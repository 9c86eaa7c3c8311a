//! A validated block with its encoded bytes.

use super::{
    BASE_TIME_INDEX, BEACON_ROOT_SIZE, BLOCK_NUMBER_LIMIT, BaseTime, DecodeError, Envelope,
    PayloadLayout, PayloadVersion, PayloadView, header_hash, split_body, transactions_root,
};
use crate::chain::ChainBlock;
use crate::gossip::Signature;
use alloy_primitives::{B256, Bytes};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A decoded block. Cloning is cheap, because the bytes are shared.
///
/// The code that creates a block vouches for it: gossip for the signature and every rule, range
/// sync for the hash and the link to its child.
#[derive(Clone)]
pub struct Block(Arc<Inner>);

struct Inner {
    layout: PayloadLayout,
    signature: Option<Signature>,
    body: Bytes,
    number: u64,
    hash: B256,
    parent_hash: B256,
    timestamp: u64,
    base_time: Option<BaseTime>,
    /// Computed once: validation needs it, and so does everyone who shows the header.
    transactions_root: OnceLock<B256>,
}

impl Block {
    /// Decodes `body`: the parent beacon block root if the version has one, then the payload.
    ///
    /// The hash that the payload claims is not checked here; the caller must check it.
    ///
    /// # Errors
    /// The first violated rule of the decoder.
    pub fn decode(
        version: PayloadVersion,
        signature: Option<Signature>,
        body: Bytes,
    ) -> Result<Self, DecodeError> {
        let (_, payload) = split_body(version, &body)?;
        let view = PayloadView::parse(version, payload)?;
        let (number, hash, parent_hash, timestamp) =
            (view.block_number(), view.block_hash(), view.parent_hash(), view.timestamp());
        let layout = view.layout();
        let base_time = view.transaction(BASE_TIME_INDEX).and_then(BaseTime::read);
        Ok(Self(Arc::new(Inner {
            layout,
            signature,
            body,
            number,
            hash,
            parent_hash,
            timestamp,
            base_time,
            transactions_root: OnceLock::new(),
        })))
    }

    /// Returns the block number.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Returns the block hash.
    pub fn hash(&self) -> B256 {
        self.0.hash
    }

    /// Returns the hash of the parent block.
    pub fn parent_hash(&self) -> B256 {
        self.0.parent_hash
    }

    /// Returns the header's timestamp: whole seconds since the Unix epoch.
    pub fn timestamp(&self) -> u64 {
        self.0.timestamp
    }

    /// Returns the block's time in milliseconds since the Unix epoch: the header's timestamp, plus
    /// the milliseconds of the [`BaseTime`] deposit if there is one.
    pub fn timestamp_ms(&self) -> u64 {
        let millis = self.0.base_time.map_or(0, |time| u64::from(time.millis));
        self.0.timestamp.saturating_mul(1000).saturating_add(millis)
    }

    /// Returns the block's [`BaseTime`] deposit, or `None` if its second transaction is another
    /// one.
    pub fn base_time(&self) -> Option<BaseTime> {
        self.0.base_time
    }

    /// Returns the payload version.
    pub fn version(&self) -> PayloadVersion {
        self.0.layout.version()
    }

    /// Returns the sequencer's signature, or `None` for a block that was fetched by number and
    /// checked by its link.
    pub fn signature(&self) -> Option<&Signature> {
        self.0.signature.as_ref()
    }

    /// Returns the signed bytes: the parent beacon block root if there is one, then the SSZ
    /// payload.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Returns the parent beacon block root, which only v3 and v4 have.
    pub fn parent_beacon_block_root(&self) -> Option<B256> {
        self.0.body.get(..self.root_size()).and_then(|root| B256::try_from(root).ok())
    }

    /// Returns a view of the payload, without copying.
    pub fn payload(&self) -> PayloadView<'_> {
        self.0.layout.view(&self.0.body[self.root_size()..])
    }

    /// Returns `true` if the block has the hash that it claims. Rebuilds and hashes the header.
    ///
    /// The result is `false` for a number of 2^63 or more, which becomes negative in the reference
    /// (`op-service/eth/types.go`).
    pub fn has_true_hash(&self) -> bool {
        self.has_true_hash_by(self.transactions_root())
    }

    /// Returns the trie root of the transactions. It is computed at the first call.
    pub fn transactions_root(&self) -> B256 {
        *self.0.transactions_root.get_or_init(|| transactions_root(&self.payload()))
    }

    /// Like [`Self::has_true_hash`], but with a given root of the transactions.
    pub(crate) fn has_true_hash_by(&self, transactions_root: B256) -> bool {
        self.number() < BLOCK_NUMBER_LIMIT
            && header_hash(&self.payload(), transactions_root, self.parent_beacon_block_root())
                == self.hash()
    }

    /// Copies the block into owned values.
    pub fn to_envelope(&self) -> Envelope {
        Envelope {
            parent_beacon_block_root: self.parent_beacon_block_root(),
            payload: self.payload().to_payload(),
        }
    }

    fn root_size(&self) -> usize {
        if self.version().has_beacon_root() { BEACON_ROOT_SIZE } else { 0 }
    }
}

impl ChainBlock for Block {
    fn number(&self) -> u64 {
        self.0.number
    }

    fn hash(&self) -> B256 {
        self.0.hash
    }

    fn parent_hash(&self) -> B256 {
        self.0.parent_hash
    }

    fn size(&self) -> usize {
        self.0.body.len() + size_of::<Inner>()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("number", &self.0.number)
            .field("hash", &self.0.hash)
            .field("version", &self.version())
            .field("bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
