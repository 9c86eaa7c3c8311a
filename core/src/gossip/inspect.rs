//! Judges one captured message and reports all of its contents.

use super::{
    Acceptance, BLOCK_DOMAIN, Check, Judged, MessageId, OneThread, Reason, Refusal, Rules,
    SIGNATURE_SIZE, ScheduleBreach, Unpacked, block_topic, payload_hash, recover, signing_hash,
};
use crate::payload::{Block, PayloadVersion};
use alloy_primitives::{Address, B256, hex};
use serde::{Serialize, Serializer};

/// Contents of a captured message and the verdict on it.
///
/// It serialises to one flat object, the same on the command line and in a browser: `verdict`,
/// `reason` (a name or null), `topic` (`v1` to `v4`), `chain_id`, `block_number`, `block_hash`,
/// `parent_hash`, `timestamp`, `timestamp_ms`, `tx_count`, `signer`, `message_id`,
/// `compressed_bytes`, `payload_bytes`. Unknown values are null. Three more fields are set for a
/// block that breaks a rule of our fork schedule, and are null otherwise: `schedule_rule` (the
/// rule's name), `schedule_says` (the schedule's requirement) and `remedy` (advice for the
/// operator).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The check that failed, or `None` if the message passes all of them.
    pub reason: Option<Reason>,
    /// The L2 chain for which the message was judged.
    pub chain_id: u64,
    /// Payload version of the topic on which it was judged.
    pub version: PayloadVersion,
    /// Name of that topic.
    pub topic: String,
    /// The message's id on that topic.
    pub message_id: MessageId,
    /// Size of the message as sent (compressed), in bytes.
    pub compressed_bytes: usize,
    /// Number of bytes after the signature, or `None` if the message does not decompress to a
    /// signature and more.
    pub payload_bytes: Option<usize>,
    /// The block, if it decodes as the topic's version, even if another check fails.
    pub block: Option<Block>,
    /// The signer, or `None` if no key can be recovered.
    pub signer: Option<Address>,
    /// The rule of our fork schedule that the block breaks, if it passes all other checks.
    pub breach: Option<ScheduleBreach>,
}

impl Inspection {
    /// Returns gossip's action for the message if the node has not seen it before.
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
            timestamp_ms: Option<u64>,
            tx_count: Option<usize>,
            signer: Option<Address>,
            message_id: String,
            compressed_bytes: usize,
            payload_bytes: Option<usize>,
            schedule_rule: Option<&'static str>,
            schedule_says: Option<String>,
            remedy: Option<String>,
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
            timestamp_ms: block.map(Block::timestamp_ms),
            tx_count: block.map(|block| block.payload().transaction_count()),
            signer: self.signer,
            message_id: hex::encode(self.message_id),
            compressed_bytes: self.compressed_bytes,
            payload_bytes: self.payload_bytes,
            schedule_rule: self.breach.map(|breach| breach.rule.name()),
            schedule_says: self.breach.map(|breach| breach.schedule_says()),
            remedy: self.breach.map(|breach| breach.remedy()),
        };
        flat.serialize(serializer)
    }
}

/// Validates the data field of a captured message at `now` (Unix seconds), as a node that has seen
/// no other message. Decodes as much of the message as possible, even if an earlier check fails.
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
        recover(signature, &signing_hash(BLOCK_DOMAIN, rules.chain_id.into(), payload_hash(body)))
            .ok()
    });
    let payload_bytes = parts.as_ref().map(|(_, length, _)| *length);
    let block =
        parts.and_then(|(signature, _, body)| Block::decode(version, Some(signature), body).ok());
    let threads = None::<&OneThread>;
    let check = Check { threads, rules, version, message, now, names_untimely: false };
    let (reason, breach) = match check.judge() {
        Ok(judged @ Judged { breach, .. }) => (judged.doubt(), breach),
        Err(Refusal { reason, .. }) => (Some(reason), None),
    };
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
        breach,
    }
}
