//! Messages for the benchmarks: bytes of real transactions in blocks of three sizes.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use alloy_primitives::{Address, B256, Bytes};
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    BLOCK_DOMAIN, OneThread, Reason, Rules, SIGNATURE_SIZE, Signature, Signers, Threads, Unpacked,
    block_topic, payload_hash, signing_hash, validate, validate_on,
};
use opp2p_core::payload::{Envelope, ExecutionPayload, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use std::hint::black_box;

pub(crate) const CHAIN_ID: u64 = 10;
pub(crate) const NOW: u64 = 1_750_000_000;
/// Number of transactions, bytes of the whole decompressed message, and name of each size.
pub(crate) const SIZES: [(usize, usize, &str); 3] = [
    (10, 2_600, "10 txs 2.6 kB"),
    (200, 61_000, "200 txs 61 kB"),
    (2000, 1_000_000, "2000 txs 1 MB"),
];

/// A message and the rules that accept it.
pub(crate) struct Message {
    pub(crate) version: PayloadVersion,
    pub(crate) rules: Rules,
    pub(crate) topic: String,
    /// The message as sent (compressed).
    pub(crate) data: Vec<u8>,
    /// The message, decompressed.
    pub(crate) contents: Vec<u8>,
    /// The same block, signed by a foreign key.
    pub(crate) forged: Vec<u8>,
}

fn rules(forks: ForkSchedule, signer: Address) -> Rules {
    let mut chain = ChainConfig::development(CHAIN_ID, B256::ZERO, 0, 2, Fork::Canyon, signer);
    chain.forks = forks;
    Rules::new(&chain, Signers { current: Some(signer), previous: None })
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
        let without =
            size - signed(&sequencer, &envelope(version, Vec::new())).len() - 4 * transactions;
        let envelope = envelope(version, cut(transactions, without));
        let contents = signed(&sequencer, &envelope);
        assert_eq!(contents.len(), size);
        Self {
            version,
            rules: rules(forks, sequencer.address()),
            topic: block_topic(CHAIN_ID, version),
            data: snappy::compress(&contents),
            forged: snappy::compress(&signed(&stranger, &envelope)),
            contents,
        }
    }

    /// Performs all steps from the arrival of a message to its verdict.
    pub(crate) fn judge(&self, data: &[u8]) -> Result<Address, Reason> {
        self.judge_on(None::<&OneThread>, data)
    }

    /// Performs the same steps with this executor's threads.
    pub(crate) fn judge_on(
        &self,
        threads: Option<&impl Threads>,
        data: &[u8],
    ) -> Result<Address, Reason> {
        let message = Unpacked::new(black_box(data));
        black_box(message.message_id(&self.topic));
        validate_on(threads, &self.rules, self.version, message, NOW)
            .map(|verified| verified.signer)
    }

    /// Performs the same steps for a message that arrives too late.
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
    signer.sign_block(CHAIN_ID, envelope).expect("encodes").1
}

/// Returns `count` transactions of `total` bytes in all: pieces of real transactions' bytes, with
/// lengths from half to one and a half times the mean. Their contents do not matter, because
/// validation does not read them.
fn cut(count: usize, total: usize) -> Vec<Bytes> {
    let blocks = fixtures::blocks();
    let real = blocks.iter().flat_map(|block| &block.envelope.payload.transactions);
    let mut stream = real
        .flat_map(|transaction| transaction.iter().copied())
        .collect::<Vec<u8>>()
        .into_iter()
        .cycle();
    let mean = total / count;
    let mut left = total;
    (0..count)
        .map(|index| {
            let length =
                if index + 1 == count { left } else { mean / 2 + (index * 37 % 101) * mean / 100 };
            let length = length.min(left);
            left -= length;
            stream.by_ref().take(length).collect::<Vec<u8>>().into()
        })
        .collect()
}
