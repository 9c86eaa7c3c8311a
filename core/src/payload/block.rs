//! A block that was judged good, with the bytes that it came in.

use super::{
    BEACON_ROOT_SIZE, BLOCK_NUMBER_LIMIT, DecodeError, Envelope, PayloadLayout, PayloadVersion, PayloadView,
    header_hash, split_body, transactions_root,
};
use crate::chain::ChainBlock;
use crate::gossip::Signature;
use alloy_primitives::{B256, Bytes};
use std::fmt;
use std::sync::Arc;

/// A decoded block. Cheap to clone: the bytes are shared.
///
/// Whoever makes one vouches for it: gossip for the signature and every rule, a range sync for the
/// hash and the link to its child.
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
}

impl Block {
    /// Decodes `body`: the parent beacon block root where the version has one, then the payload.
    ///
    /// The hash that the payload claims is taken as it stands; the caller has checked it or will.
    ///
    /// # Errors
    /// The first rule of the decoder that is broken.
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
        Ok(Self(Arc::new(Inner { layout, signature, body, number, hash, parent_hash, timestamp })))
    }

    /// Number of the block.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Hash of the block.
    pub fn hash(&self) -> B256 {
        self.0.hash
    }

    /// Hash of its parent.
    pub fn parent_hash(&self) -> B256 {
        self.0.parent_hash
    }

    /// Unix seconds.
    pub fn timestamp(&self) -> u64 {
        self.0.timestamp
    }

    /// Version of the payload.
    pub fn version(&self) -> PayloadVersion {
        self.0.layout.version()
    }

    /// The sequencer's signature; `None` for a block that came by number and was checked by its link.
    pub fn signature(&self) -> Option<&Signature> {
        self.0.signature.as_ref()
    }

    /// The signed bytes: parent beacon block root where there is one, then the SSZ payload.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Root of the L1 beacon block, on v3 and v4.
    pub fn parent_beacon_block_root(&self) -> Option<B256> {
        self.0.body.get(..self.root_size()).and_then(|root| B256::try_from(root).ok())
    }

    /// The payload, in place.
    pub fn payload(&self) -> PayloadView<'_> {
        self.0.layout.view(&self.0.body[self.root_size()..])
    }

    /// Whether the block has the hash that it claims: rebuilds the header and hashes it.
    ///
    /// A number of 2^63 or more has none: in the reference it turns negative (`op-service/eth/types.go`).
    pub fn has_true_hash(&self) -> bool {
        self.has_true_hash_by(self.transactions_root())
    }

    /// Root over the transactions.
    pub(crate) fn transactions_root(&self) -> B256 {
        transactions_root(&self.payload())
    }

    /// As [`Self::has_true_hash`], by the root over the transactions.
    pub(crate) fn has_true_hash_by(&self, transactions_root: B256) -> bool {
        self.number() < BLOCK_NUMBER_LIMIT
            && header_hash(&self.payload(), transactions_root, self.parent_beacon_block_root()) == self.hash()
    }

    /// Everything as owned values.
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
