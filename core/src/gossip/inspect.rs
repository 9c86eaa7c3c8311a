//! Judges one captured message and tells everything that it says.

use super::{
    Acceptance, BLOCK_DOMAIN, MessageId, Reason, Rules, SIGNATURE_SIZE, Unpacked, block_topic, payload_hash,
    recover, signing_hash, validate,
};
use crate::payload::{Block, PayloadVersion};
use alloy_primitives::{Address, B256, hex};
use serde::{Serialize, Serializer};

/// What one captured message is.
///
/// Serialised it is one flat object, the same on the command line and in a browser: `verdict`,
/// `reason` (a name or null), `topic` (`v1` to `v4`), `chain_id`, `block_number`, `block_hash`,
/// `parent_hash`, `timestamp`, `tx_count`, `signer`, `message_id`, `compressed_bytes`,
/// `payload_bytes`; what is not known is null.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The check that decided against it; `None` if it passes all.
    pub reason: Option<Reason>,
    /// The chain that it was judged for.
    pub chain_id: u64,
    /// Version of the topic that it was judged on.
    pub version: PayloadVersion,
    /// Name of that topic.
    pub topic: String,
    /// Its id on that topic.
    pub message_id: MessageId,
    /// Bytes as it travels.
    pub compressed_bytes: usize,
    /// Bytes behind the signature, if it decompresses to that many.
    pub payload_bytes: Option<usize>,
    /// The block, if it decodes as the topic's version, whatever else is wrong with it.
    pub block: Option<Block>,
    /// Who signed it, if a key can be recovered.
    pub signer: Option<Address>,
}

impl Inspection {
    /// What a node would do with the message if it saw it first.
    pub const fn acceptance(&self) -> Acceptance {
        match self.reason {
            Some(reason) => reason.acceptance(),
            None => Acceptance::Accept,
        }
    }
}

impl Serialize for Inspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat {
            verdict: &'static str,
            reason: Option<&'static str>,
            topic: String,
            chain_id: u64,
            block_number: Option<u64>,
            block_hash: Option<B256>,
            parent_hash: Option<B256>,
            timestamp: Option<u64>,
            tx_count: Option<usize>,
            signer: Option<Address>,
            message_id: String,
            compressed_bytes: usize,
            payload_bytes: Option<usize>,
        }
        let block = self.block.as_ref();
        let flat = Flat {
            verdict: self.acceptance().name(),
            reason: self.reason.map(Reason::name),
            topic: self.version.to_string(),
            chain_id: self.chain_id,
            block_number: block.map(Block::number),
            block_hash: block.map(Block::hash),
            parent_hash: block.map(Block::parent_hash),
            timestamp: block.map(Block::timestamp),
            tx_count: block.map(|block| block.payload().transaction_count()),
            signer: self.signer,
            message_id: hex::encode(self.message_id),
            compressed_bytes: self.compressed_bytes,
            payload_bytes: self.payload_bytes,
        };
        flat.serialize(serializer)
    }
}

/// Judges the data field of a captured message as a node would that has seen nothing else, at `now`
/// (Unix seconds). What can be read is read even if an earlier check fails.
pub fn inspect(rules: &Rules, version: PayloadVersion, data: &[u8], now: u64) -> Inspection {
    let topic = block_topic(rules.chain_id, version);
    let message = Unpacked::new(data);
    let message_id = message.message_id(&topic);
    let contents = message.clone().into_contents().ok();
    let parts = contents.as_ref().and_then(|contents| {
        let (signature, body) = contents.split_first_chunk::<SIGNATURE_SIZE>()?;
        Some((*signature, body.len(), contents.slice(SIGNATURE_SIZE..)))
    });
    let signer = parts.as_ref().and_then(|(signature, _, body)| {
        recover(signature, &signing_hash(BLOCK_DOMAIN, rules.chain_id.into(), payload_hash(body))).ok()
    });
    let payload_bytes = parts.as_ref().map(|(_, length, _)| *length);
    let block = parts.and_then(|(signature, _, body)| Block::decode(version, Some(signature), body).ok());
    let reason = validate(rules, version, message, now).err();
    Inspection {
        reason,
        chain_id: rules.chain_id,
        version,
        topic,
        message_id,
        compressed_bytes: data.len(),
        payload_bytes,
        block,
        signer,
    }
}
