//! Cost of one new gossip message, in total and by parts, for a small, a usual and a large block.
//!
//! `whole` covers everything that a node does between the arrival of a message and its verdict:
//! decompress, compute the id, validate. `two threads` is the same with half of a large block's
//! hashing on a second thread. `forged` is a message signed by a foreign key, which is the cost
//! that anyone can impose on a node. `garbage` is a message whose signed part is not a block,
//! `late` one that is too old, and `copy` a duplicate. The signature is measured separately, with
//! both libraries: its cost is the same for every message, and its cost with k256 serves as the
//! yardstick for comparing machines.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures threads")]

mod messages;

use alloy_primitives::{Address, B256, keccak256};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use k256::ecdsa::{self, RecoveryId, VerifyingKey};
use messages::{Message, SIZES};
use opp2p_core::gossip::{
    Copies, Reason, SIGNATURE_SIZE, Signature, Threads, Unpacked, payload_hash, recover,
};
use opp2p_core::payload::{
    PayloadLayout, PayloadVersion, PayloadView, header_hash, snappy, transactions_root,
};
use opp2p_core::time::Instant;
use std::hint::black_box;
use std::time::Duration;

const VERSIONS: [PayloadVersion; 3] = [PayloadVersion::V1, PayloadVersion::V3, PayloadVersion::V4];

/// Recovers a signer in the same way as the core does without the C library.
fn recover_by_k256(signature: &Signature, hash: &B256) -> Address {
    let id = RecoveryId::from_byte(signature[SIGNATURE_SIZE - 1]).expect("0 to 3");
    let parsed = ecdsa::Signature::from_slice(&signature[..64]).expect("in range");
    assert_eq!(parsed.normalize_s(), parsed, "our own are low");
    let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &parsed, id).expect("recovers");
    Address::from_slice(&keccak256(&key.to_sec1_point(false).as_bytes()[1..])[12..])
}

/// Executor with two threads, like the native node's.
struct TwoThreads;

impl Threads for TwoThreads {
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        std::thread::scope(|scope| {
            let other = scope.spawn(other);
            (one(), other.join().expect("it does not panic"))
        })
    }
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

            group.bench_function(id("whole"), |bencher| {
                bencher.iter(|| message.judge(&message.data));
            });
            group.bench_function(id("forged"), |bencher| {
                bencher.iter(|| message.judge(&message.forged));
            });
            group.bench_function(id("two threads"), |bencher| {
                bencher.iter(|| message.judge_on(Some(&TwoThreads), &message.data));
            });
            let garbage = snappy::compress(&vec![0x5a; message.contents.len()]);
            assert_eq!(message.judge(&garbage), Err(Reason::Payload));
            group.bench_function(id("garbage"), |bencher| bencher.iter(|| message.judge(&garbage)));
            group.bench_function(id("late"), |bencher| bencher.iter(|| message.judge_late()));
            let now = Instant::default();
            let mut copies = Copies::default();
            copies.insert(now, &message.topic, message.data.clone(), [1; 20]);
            group.bench_function(id("copy"), |bencher| {
                bencher.iter(|| copies.find(now, &message.topic, black_box(&message.data)));
            });
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
