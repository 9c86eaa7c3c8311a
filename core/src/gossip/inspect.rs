//! Judges one captured message and tells everything that it says.

use super::{
    Acceptance, BLOCK_DOMAIN, MessageId, Reason, Rules, SIGNATURE_SIZE, Unpacked, block_topic, payload_hash,
    recover, signing_hash, validate,
};
use crate::payload::{Block, PayloadVersion};
use alloy_primitives::Address;

/// What one captured message is.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The check that decided against it; `None` if it passes all.
    pub reason: Option<Reason>,
    /// Name of the topic that it was judged on.
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
    Inspection { reason, topic, message_id, compressed_bytes: data.len(), payload_bytes, block, signer }
}
