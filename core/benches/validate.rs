//! What one new gossip message costs, whole and in parts, for a small, a usual and a large block.
//!
//! `whole` is everything that a node does between the arrival of a message and its verdict:
//! decompress, name, validate. `forged` is the same for a message of a foreign key, which is what
//! anybody can make a node pay. The signature is measured on its own, by both libraries: it costs
//! the same for every message, and its cost by k256 is the yardstick that makes machines comparable.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use k256::ecdsa::{self, RecoveryId, VerifyingKey};
use opp2p_core::chain::{Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    BLOCK_DOMAIN, Reason, Rules, SIGNATURE_SIZE, Signature, Signers, TIMESTAMP_THRESHOLD, Unpacked,
    block_topic, payload_hash, recover, signing_hash, validate,
};
use opp2p_core::payload::{
    Envelope, ExecutionPayload, PayloadLayout, PayloadVersion, PayloadView, header_hash, snappy,
    transactions_root,
};
use opp2p_core::sequencer::LocalSigner;
use std::hint::black_box;
use std::time::Duration;

const CHAIN_ID: u64 = 10;
const NOW: u64 = 1_750_000_000;
/// Transactions, and bytes of the whole decompressed message.
const SIZES: [(usize, usize, &str); 3] =
    [(10, 2_600, "10 txs 2.6 kB"), (200, 61_000, "200 txs 61 kB"), (2000, 1_000_000, "2000 txs 1 MB")];
const VERSIONS: [PayloadVersion; 3] = [PayloadVersion::V1, PayloadVersion::V3, PayloadVersion::V4];

/// One message and the rules that accept it.
struct Message {
    version: PayloadVersion,
    rules: Rules,
    topic: String,
    /// As it travels.
    data: Vec<u8>,
    /// Decompressed.
    contents: Vec<u8>,
    /// The same block, signed by a foreign key.
    forged: Vec<u8>,
}

impl Message {
    fn new(version: PayloadVersion, transactions: usize, size: usize) -> Self {
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
    fn judge(&self, data: &[u8]) -> Result<Address, Reason> {
        let message = Unpacked::new(black_box(data));
        black_box(message.message_id(&self.topic));
        validate(&self.rules, self.version, message, NOW).map(|verified| verified.signer)
    }

    fn body(&self) -> &[u8] {
        &self.contents[SIGNATURE_SIZE..]
    }

    fn payload(&self) -> &[u8] {
        if self.version.has_beacon_root() { &self.body()[32..] } else { self.body() }
    }

    fn signature(&self) -> (Signature, B256) {
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

/// What the core does without the C library.
fn recover_by_k256(signature: &Signature, hash: &B256) -> Address {
    let id = RecoveryId::from_byte(signature[SIGNATURE_SIZE - 1]).expect("0 to 3");
    let parsed = ecdsa::Signature::from_slice(&signature[..64]).expect("in range");
    assert_eq!(parsed.normalize_s(), parsed, "our own are low");
    let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &parsed, id).expect("recovers");
    Address::from_slice(&keccak256(&key.to_sec1_point(false).as_bytes()[1..])[12..])
}

fn signature(criterion: &mut Criterion) {
    let message = Message::new(PayloadVersion::V3, 10, 2_600);
    let (signature, hash) = message.signature();
    let signer = message.rules.signers.current.expect("known");
    assert_eq!(recover(&signature, &hash), Ok(signer));
    assert_eq!(recover_by_k256(&signature, &hash), signer);
    let mut group = criterion.benchmark_group("signature");
    group.bench_function("libsecp256k1", |bencher| {
        bencher.iter(|| recover(black_box(&signature), black_box(&hash)));
    });
    group.bench_function("k256", |bencher| {
        bencher.iter(|| recover_by_k256(black_box(&signature), black_box(&hash)));
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    for (transactions, size, name) in SIZES {
        let mut group = criterion.benchmark_group(name);
        for version in VERSIONS {
            let message = Message::new(version, transactions, size);
            assert!(message.judge(&message.data).is_ok());
            assert_eq!(message.judge(&message.forged), Err(Reason::WrongSigner));
            let id = |part: &str| BenchmarkId::new(part, version);

            group.bench_function(id("whole"), |bencher| bencher.iter(|| message.judge(&message.data)));
            group.bench_function(id("forged"), |bencher| bencher.iter(|| message.judge(&message.forged)));
            group.bench_function(id("snappy"), |bencher| {
                bencher.iter(|| Unpacked::new(black_box(&message.data)));
            });
            group.bench_function(id("message id"), |bencher| {
                let unpacked = Unpacked::new(&message.data);
                bencher.iter(|| black_box(&unpacked).message_id(&message.topic));
            });
            group.bench_function(id("payload hash"), |bencher| {
                bencher.iter(|| payload_hash(black_box(message.body())));
            });
            group.bench_function(id("ssz"), |bencher| {
                bencher.iter(|| PayloadLayout::check(version, black_box(message.payload())));
            });
            let view = PayloadView::parse(version, message.payload()).expect("decodes");
            group.bench_function(id("transactions root"), |bencher| {
                bencher.iter(|| transactions_root(black_box(&view)));
            });
            group.bench_function(id("header"), |bencher| {
                let root = transactions_root(&view);
                bencher.iter(|| header_hash(black_box(&view), black_box(root), Some(B256::ZERO)));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = validation;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(900));
    targets = signature, messages
}
criterion_main!(validation);
