//! The browser judges as the native node does: the same list of messages is judged on both, and
//! both must get the same digest of all verdicts with all their details. Natively the workspace's
//! tests recover keys with libsecp256k1 and hash with hand-written assembly; here it is pure Rust
//! and its scalar counterpart.
//!
//! The list: every bundled message and block; blocks that break each rule, signed by the sequencer;
//! and thousands of mutations of all these: of the compressed message, of the signed body and of
//! the signature.

use alloy_primitives::{Address, B256, Bytes, Keccak256, U256};
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{Reason, Rules, SIGNATURE_SIZE, Signers, Unpacked, inspect, validate};
use opp2p_core::payload::{
    BLOCK_NUMBER_LIMIT, Envelope, ExecutionPayload, PayloadVersion, Withdrawal, snappy,
};
use opp2p_core::sequencer::LocalSigner;
use std::collections::BTreeMap;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Digest of all verdicts, here and natively.
const DIGEST: &str = "0x97ece8e915b16c89523116ce59976733cf9f2ea3dff77e810b52a9769d95e800";

const CHAIN_ID: u64 = 901;
const NOW: u64 = 1_700_000_000;

#[test]
fn verdicts_in_the_browser_equal_the_native_ones() {
    let mut verdicts = Verdicts::default();
    bundled(&mut verdicts);
    for version in PayloadVersion::ALL {
        broken(version, &mut verdicts);
        random(version, &mut verdicts);
    }

    // Checks that no message reaches because the decoder comes first, and those that need more than
    // the message.
    let unreachable = [
        Reason::SignerInDoubt,
        Reason::HashInDoubt,
        Reason::ClockInDoubt,
        Reason::TooOldHere,
        Reason::BlobGasUsed,
        Reason::BaseTimeForm,
        Reason::BaseTimeMillis,
        Reason::BaseTimeTwice,
        Reason::ForkBaseTimeEarly,
        Reason::ForkBaseTimeMissing,
        Reason::ForkTimestamp,
        Reason::ForkMillis,
        Reason::ForkBaseTimeSource,
        Reason::UnknownFork,
        Reason::WithdrawalsPresent,
        Reason::WithdrawalsMissing,
        Reason::BlobGasUsedPresent,
        Reason::ExcessBlobGasPresent,
        Reason::BeaconRootMissing,
        Reason::WithdrawalsRootMissing,
        Reason::TooManyBlocks,
        Reason::AlreadySeen,
        Reason::Throttled,
        Reason::Panicked,
    ];
    for reason in Reason::ALL {
        let reached = verdicts.counts.contains_key(reason.name());
        assert_ne!(reached, unreachable.contains(reason), "{reason:?}: {:?}", verdicts.counts);
    }
    assert!(verdicts.counts["accept"] > 1000, "{:?}", verdicts.counts);
    let (counts, digest) = (verdicts.counts, verdicts.hasher.finalize());
    assert_eq!(digest.to_string(), DIGEST, "{counts:?}");
}

/// Digest of the verdicts, and the count of each.
#[derive(Default)]
struct Verdicts {
    hasher: Keccak256,
    counts: BTreeMap<&'static str, u32>,
}

impl Verdicts {
    /// Judges a compressed message, through the interface for tools and through the node's.
    fn judge(&mut self, rules: &Rules, version: PayloadVersion, data: &[u8], now: u64) {
        let inspection = inspect(rules, version, data, now);
        let verified = validate(rules, version, Unpacked::new(data), now);
        assert_eq!(verified.as_ref().err(), inspection.reason.as_ref());
        if let Ok(verified) = &verified {
            assert_eq!(Some(verified.signer), inspection.signer);
        }
        *self.counts.entry(inspection.reason.map_or("accept", Reason::name)).or_default() += 1;
        self.hasher.update(serde_json::to_vec(&inspection).expect("an inspection is JSON"));
    }
}

/// Deterministic random numbers, the same on every platform: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number less than `bound`, which must not be zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Applies one to three random changes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.next() as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => {
                    let count = 1 + self.below(20);
                    let more = self.bytes(count);
                    bytes.splice(at..at, more);
                }
                4 => drop(bytes.remove(at)),
                _ => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
    }
}

fn key(byte: u8) -> LocalSigner {
    LocalSigner::from_bytes(&[byte; 32]).expect("a valid key")
}

fn forks(version: PayloadVersion) -> ForkSchedule {
    match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Canyon),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Ecotone),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    }
}

fn rules(version: PayloadVersion, chain_id: u64, signer: Address) -> Rules {
    let mut chain = ChainConfig::development(chain_id, B256::ZERO, 0, 2, Fork::Canyon, signer);
    chain.forks = forks(version);
    Rules::new(&chain, Signers { current: Some(signer), previous: Some(key(9).address()) })
}

/// Returns a compressed message: signature and body.
fn message(signer: &LocalSigner, chain_id: u64, body: &[u8]) -> Vec<u8> {
    snappy::compress(&signed(signer, chain_id, body))
}

/// Returns signature and body.
fn signed(signer: &LocalSigner, chain_id: u64, body: &[u8]) -> Vec<u8> {
    signer.sign_body(chain_id, body)
}

fn body(envelope: &Envelope) -> Vec<u8> {
    let mut body = Vec::new();
    envelope.encode(&mut body).expect("encodes");
    body
}

/// Returns a valid block after a change, with its hash recomputed.
fn block(version: PayloadVersion, change: impl FnOnce(&mut ExecutionPayload)) -> Envelope {
    let mut payload = ExecutionPayload {
        parent_hash: B256::repeat_byte(0x11),
        fee_recipient: Address::repeat_byte(0x22),
        state_root: B256::repeat_byte(0x33),
        receipts_root: B256::repeat_byte(0x44),
        prev_randao: B256::repeat_byte(0x55),
        block_number: 1000,
        gas_limit: 30_000_000,
        gas_used: 50_000,
        timestamp: NOW,
        extra_data: Bytes::from_static(b"test"),
        base_fee_per_gas: U256::from(7),
        transactions: vec![Bytes::from_static(&[0x7e, 1, 2, 3]), Bytes::from_static(&[2; 100])],
        withdrawals: version.has_withdrawals().then(Vec::new),
        blob_gas_used: version.has_beacon_root().then_some(0),
        excess_blob_gas: version.has_beacon_root().then_some(0),
        withdrawals_root: version.has_withdrawals_root().then_some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    change(&mut payload);
    let root = version.has_beacon_root().then_some(B256::with_last_byte(0x34));
    payload.seal(root).expect("encodes");
    Envelope { parent_beacon_block_root: root, payload }
}

/// Messages and blocks of real nodes, on each topic, whole and mutated.
fn bundled(verdicts: &mut Verdicts) {
    let mut random = Random(1);
    for real in fixtures::messages() {
        for version in PayloadVersion::ALL {
            let rules = rules(version, real.chain_id, real.signer);
            for now in [0, real.timestamp, real.timestamp + 61, u64::MAX] {
                verdicts.judge(&rules, version, &real.data, now);
            }
        }
        let rules = rules(real.version, real.chain_id, real.signer);
        for _ in 0..100 {
            let mut data = real.data.to_vec();
            random.mutate(&mut data);
            verdicts.judge(&rules, real.version, &data, real.timestamp);
        }
    }
    let sequencer = key(7);
    for real in fixtures::blocks() {
        let rules = rules(real.version, real.chain_id, sequencer.address());
        let (good, now) = (body(&real.envelope), real.envelope.payload.timestamp);
        verdicts.judge(&rules, real.version, &message(&sequencer, real.chain_id, &good), now);
        for _ in 0..5 {
            let mut changed = good.clone();
            random.mutate(&mut changed);
            verdicts.judge(
                &rules,
                real.version,
                &message(&sequencer, real.chain_id, &changed),
                now,
            );
        }
    }
}

/// Violations of each rule, signed by the sequencer where the rule needs it.
fn broken(version: PayloadVersion, verdicts: &mut Verdicts) {
    let sequencer = key(7);
    let rules = rules(version, CHAIN_ID, sequencer.address());
    let jovian = Rules { forks: ForkSchedule::up_to(Fork::Jovian), ..rules.clone() };
    let good = body(&block(version, |_| {}));
    let contents = signed(&sequencer, CHAIN_ID, &good);
    let whole = snappy::compress(&contents);

    let headers: [&[u8]; 7] = [
        &[],
        &[0x80],
        &[0xff; 12],
        &[0xff, 0xff, 0xff, 0x7f],
        &[65],
        &[66],
        &[0x80, 0x80, 0x80, 5],
    ];
    for data in headers {
        verdicts.judge(&rules, version, data, NOW);
    }
    for v in 0..=255 {
        let mut contents = contents.clone();
        contents[SIGNATURE_SIZE - 1] = v;
        verdicts.judge(&rules, version, &snappy::compress(&contents), NOW);
    }
    for byte in [0, 1, 0xff] {
        let mut contents = contents.clone();
        contents[..64].fill(byte);
        verdicts.judge(&rules, version, &snappy::compress(&contents), NOW);
    }
    for (signer, chain_id) in [(key(8), CHAIN_ID), (key(9), CHAIN_ID), (key(7), CHAIN_ID + 1)] {
        verdicts.judge(&rules, version, &message(&signer, chain_id, &good), NOW);
    }
    let signerless = Rules { signers: Signers { current: None, previous: None }, ..rules.clone() };
    verdicts.judge(&signerless, version, &whole, NOW);
    for now in [NOW - 6, NOW - 5, NOW, NOW + 60, NOW + 61] {
        verdicts.judge(&rules, version, &whole, now);
    }

    let of_versions = PayloadVersion::ALL.map(|other| block(other, |_| {}));
    let of_fields = [
        block(version, |payload| {
            payload.withdrawals = payload.withdrawals.take().map(|_| vec![Withdrawal::default()]);
        }),
        block(version, |payload| payload.blob_gas_used = payload.blob_gas_used.map(|_| 1)),
        block(version, |payload| payload.excess_blob_gas = payload.excess_blob_gas.map(|_| 1)),
        block(version, |payload| {
            payload.withdrawals_root = payload.withdrawals_root.map(|_| B256::ZERO);
        }),
        block(version, |payload| payload.extra_data = Bytes::from(vec![1; 32])),
        block(version, |payload| payload.transactions.clear()),
        block(version, |payload| payload.transactions = vec![Bytes::new(); 300]),
        block(version, |payload| payload.base_fee_per_gas = U256::MAX),
        block(version, |payload| payload.block_number = BLOCK_NUMBER_LIMIT),
    ];
    for envelope in of_versions.iter().chain(&of_fields) {
        let data = message(&sequencer, CHAIN_ID, &body(envelope));
        verdicts.judge(&rules, version, &data, NOW);
        verdicts.judge(&jovian, version, &data, NOW);
    }
}

/// Random messages: noise, and mutations of valid blocks.
fn random(version: PayloadVersion, verdicts: &mut Verdicts) {
    let mut random = Random(u64::from(version.number()));
    let sequencer = key(7);
    let rules = rules(version, CHAIN_ID, sequencer.address());
    for _ in 0..200 {
        let length = random.below(400);
        let noise = random.bytes(length);
        verdicts.judge(&rules, version, &noise, NOW);
        verdicts.judge(&rules, version, &snappy::compress(&noise), NOW);
        // Noise with a valid signature.
        verdicts.judge(&rules, version, &message(&sequencer, CHAIN_ID, &noise), NOW);
    }
    for _ in 0..300 {
        let count = random.below(6);
        let mut transactions: Vec<Bytes> = Vec::new();
        for _ in 0..count {
            let length = random.below(300);
            transactions.push(random.bytes(length).into());
        }
        let number = random.next() >> 1;
        let good = body(&block(version, |payload| {
            payload.transactions = transactions;
            payload.block_number = number;
        }));
        let contents = signed(&sequencer, CHAIN_ID, &good);
        let data = snappy::compress(&contents);
        verdicts.judge(&rules, version, &data, NOW);

        let mut travelled = data;
        random.mutate(&mut travelled);
        verdicts.judge(&rules, version, &travelled, NOW);

        let mut tampered = contents;
        random.mutate(&mut tampered);
        verdicts.judge(&rules, version, &snappy::compress(&tampered), NOW);

        let mut changed = good;
        random.mutate(&mut changed);
        verdicts.judge(&rules, version, &message(&sequencer, CHAIN_ID, &changed), NOW);
    }
}
