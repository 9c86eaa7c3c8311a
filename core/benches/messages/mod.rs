//! Messages to measure with: real transactions' bytes in blocks of three sizes.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use alloy_primitives::{Address, B256, Bytes};
use opp2p_core::chain::{Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    BLOCK_DOMAIN, OneThread, Reason, Rules, SIGNATURE_SIZE, Signature, Signers, TIMESTAMP_THRESHOLD, Threads,
    Unpacked, block_topic, payload_hash, signing_hash, validate, validate_on,
};
use opp2p_core::payload::{Envelope, ExecutionPayload, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use std::hint::black_box;

pub(crate) const CHAIN_ID: u64 = 10;
pub(crate) const NOW: u64 = 1_750_000_000;
/// Transactions, and bytes of the whole decompressed message.
pub(crate) const SIZES: [(usize, usize, &str); 3] =
    [(10, 2_600, "10 txs 2.6 kB"), (200, 61_000, "200 txs 61 kB"), (2000, 1_000_000, "2000 txs 1 MB")];

/// One message and the rules that accept it.
pub(crate) struct Message {
    pub(crate) version: PayloadVersion,
    pub(crate) rules: Rules,
    pub(crate) topic: String,
    /// As it travels.
    pub(crate) data: Vec<u8>,
    /// Decompressed.
    pub(crate) contents: Vec<u8>,
    /// The same block, signed by a foreign key.
    pub(crate) forged: Vec<u8>,
}

impl Message {
    pub(crate) fn new(version: PayloadVersion, transactions: usize, size: usize) -> Self {
        let forks = match version {
            PayloadVersion::V1 => ForkSchedule::default(),
            PayloadVersion::V2 => ForkSchedule::up_to(Fork::Canyon),
            PayloadVersion::V3 => ForkSchedule::up_to(Fork::Ecotone),
            PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
        };
        let sequencer = LocalSigner::from_bytes(&[7; 32]).expect("a valid key");
        let stranger = LocalSigner::from_bytes(&[8; 32]).expect("a valid key");
        let without = size - signed(&sequencer, &envelope(version, Vec::new())).len() - 4 * transactions;
        let envelope = envelope(version, cut(transactions, without));
        let contents = signed(&sequencer, &envelope);
        assert_eq!(contents.len(), size);
        Self {
            version,
            rules: Rules {
                chain_id: CHAIN_ID,
                forks,
                signers: Signers { current: Some(sequencer.address()), previous: None },
                timestamp_threshold: TIMESTAMP_THRESHOLD,
            },
            topic: block_topic(CHAIN_ID, version),
            data: snappy::compress(&contents),
            forged: snappy::compress(&signed(&stranger, &envelope)),
            contents,
        }
    }

    /// From the arrival of a message to its verdict.
    pub(crate) fn judge(&self, data: &[u8]) -> Result<Address, Reason> {
        self.judge_on(None::<&OneThread>, data)
    }

    /// The same with these threads.
    pub(crate) fn judge_on(&self, threads: Option<&impl Threads>, data: &[u8]) -> Result<Address, Reason> {
        let message = Unpacked::new(black_box(data));
        black_box(message.message_id(&self.topic));
        validate_on(threads, &self.rules, self.version, message, NOW).map(|verified| verified.signer)
    }

    /// The same when it is too late.
    pub(crate) fn judge_late(&self) -> Result<Address, Reason> {
        let message = Unpacked::new(black_box(&self.data));
        black_box(message.message_id(&self.topic));
        validate(&self.rules, self.version, message, NOW + 100).map(|verified| verified.signer)
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.contents[SIGNATURE_SIZE..]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        if self.version.has_beacon_root() { &self.body()[32..] } else { self.body() }
    }

    pub(crate) fn signature(&self) -> (Signature, B256) {
        let signature = self.contents[..SIGNATURE_SIZE].try_into().expect("65 bytes");
        (signature, signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(self.body())))
    }
}

fn envelope(version: PayloadVersion, transactions: Vec<Bytes>) -> Envelope {
    let real = &fixtures::blocks()[0].envelope;
    let root = real.parent_beacon_block_root.filter(|_| version.has_beacon_root());
    let mut payload = ExecutionPayload {
        timestamp: NOW,
        transactions,
        withdrawals: version.has_withdrawals().then(Vec::new),
        blob_gas_used: version.has_beacon_root().then_some(0),
        excess_blob_gas: version.has_beacon_root().then_some(0),
        withdrawals_root: version.has_withdrawals_root().then_some(B256::repeat_byte(0x5c)),
        ..real.payload.clone()
    };
    payload.seal(root).expect("encodes");
    Envelope { parent_beacon_block_root: root, payload }
}

fn signed(signer: &LocalSigner, envelope: &Envelope) -> Vec<u8> {
    let mut contents = vec![0; SIGNATURE_SIZE];
    envelope.encode(&mut contents).expect("encodes");
    let hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(&contents[SIGNATURE_SIZE..]));
    contents[..SIGNATURE_SIZE].copy_from_slice(&signer.sign(&hash));
    contents
}

/// `count` transactions of `total` bytes together: pieces of real ones' bytes, half to one and a half
/// times the mean long. What they say does not matter, validation does not read them.
fn cut(count: usize, total: usize) -> Vec<Bytes> {
    let blocks = fixtures::blocks();
    let real = blocks.iter().flat_map(|block| &block.envelope.payload.transactions);
    let mut stream =
        real.flat_map(|transaction| transaction.iter().copied()).collect::<Vec<u8>>().into_iter().cycle();
    let mean = total / count;
    let mut left = total;
    (0..count)
        .map(|index| {
            let length = if index + 1 == count { left } else { mean / 2 + (index * 37 % 101) * mean / 100 };
            let length = length.min(left);
            left -= length;
            stream.by_ref().take(length).collect::<Vec<u8>>().into()
        })
        .collect()
}
