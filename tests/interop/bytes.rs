//! Bytes and verdicts without a network: the reference's own decoder, encoder and validator,
//! compared with ours.

use crate::op_node::{OpNodes, encoded};
use crate::ours::{ANY_AGE, chain, chain_of, message, signed, signed_bytes, signer};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, hex};
use opp2p::devnet::BlockMaker;
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    Acceptance, Reason, Rules, SIGNATURE_SIZE, SeenBlocks, Signers, Unpacked, validate,
};
use opp2p_core::payload::{
    BLOCK_NUMBER_LIMIT, Block, Envelope, ExecutionPayload, PayloadVersion, Withdrawal, snappy,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Number of payloads of each of the four versions, in each direction.
const EACH: usize = 2_500;
/// Number of blocks in one call, so that lines stay short.
const AT_ONCE: usize = 250;

/// Result of the reference's decoder.
#[derive(Debug, Deserialize)]
struct Read {
    refused: Option<String>,
    ssz: Option<String>,
    block: Option<Value>,
    hash: Option<B256>,
}

/// Pseudo-random numbers that are the same in every run.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Returns a number that is small, large or in between, and often one of the extremes.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            _ => {
                let shift = self.below(64);
                self.next() >> shift
            }
        }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn up_to(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        self.bytes(count)
    }

    fn hash(&mut self) -> B256 {
        B256::from_slice(&self.bytes(32))
    }

    /// Makes a block of the version in which only the structure is valid.
    fn envelope(&mut self, version: PayloadVersion) -> Envelope {
        let withdrawal = |dice: &mut Self| Withdrawal {
            index: dice.number(),
            validator_index: dice.number(),
            address: Address::from_slice(&dice.bytes(20)),
            amount: dice.number(),
        };
        let payload = ExecutionPayload {
            parent_hash: self.hash(),
            fee_recipient: Address::from_slice(&self.bytes(20)),
            state_root: self.hash(),
            receipts_root: self.hash(),
            logs_bloom: Bloom::from_slice(&self.bytes(256)),
            prev_randao: self.hash(),
            block_number: self.number(),
            gas_limit: self.number(),
            gas_used: self.number(),
            timestamp: self.number(),
            extra_data: self.up_to(32).into(),
            base_fee_per_gas: U256::from_be_slice(&self.up_to(32)),
            block_hash: self.hash(),
            transactions: (0..self.below(8)).map(|_| Bytes::from(self.up_to(300))).collect(),
            withdrawals: version
                .has_withdrawals()
                .then(|| (0..self.below(4)).map(|_| withdrawal(self)).collect()),
            blob_gas_used: version.has_beacon_root().then(|| self.number()),
            excess_blob_gas: version.has_beacon_root().then(|| self.number()),
            withdrawals_root: version.has_withdrawals_root().then(|| self.hash()),
        };
        Envelope {
            parent_beacon_block_root: version.has_beacon_root().then(|| self.hash()),
            payload,
        }
    }
}

/// Returns the block in the JSON of the Engine API, which the reference's type has too.
fn as_json(envelope: &Envelope) -> Value {
    let number = |number: u64| format!("{number:#x}");
    let payload = &envelope.payload;
    let withdrawals = payload.withdrawals.as_ref().map(|all| {
        let one = |withdrawal: &Withdrawal| {
            json!({
                "index": number(withdrawal.index),
                "validatorIndex": number(withdrawal.validator_index),
                "address": withdrawal.address, "amount": number(withdrawal.amount),
            })
        };
        all.iter().map(one).collect::<Vec<_>>()
    });
    let mut executed = json!({
        "parentHash": payload.parent_hash, "feeRecipient": payload.fee_recipient,
        "stateRoot": payload.state_root,
        "receiptsRoot": payload.receipts_root, "logsBloom": payload.logs_bloom,
        "prevRandao": payload.prev_randao,
        "blockNumber": number(payload.block_number), "gasLimit": number(payload.gas_limit),
        "gasUsed": number(payload.gas_used), "timestamp": number(payload.timestamp),
        "extraData": payload.extra_data,
        "baseFeePerGas": format!("{:#x}", payload.base_fee_per_gas),
        "blockHash": payload.block_hash, "transactions": payload.transactions,
    });
    for (name, value) in [
        ("withdrawals", withdrawals.map(Value::from)),
        ("blobGasUsed", payload.blob_gas_used.map(|gas| number(gas).into())),
        ("excessBlobGas", payload.excess_blob_gas.map(|gas| number(gas).into())),
        ("withdrawalsRoot", payload.withdrawals_root.map(|root| json!(root))),
    ] {
        if let Some(value) = value {
            executed[name] = value;
        }
    }
    match envelope.parent_beacon_block_root {
        Some(root) => json!({ "parentBeaconBlockRoot": root, "executionPayload": executed }),
        None => json!({ "executionPayload": executed }),
    }
}

/// Returns the value without absent fields, with all digits in lower case: the reference writes
/// `null` for some fields, and addresses with a checksum.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            fields
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) => text.to_lowercase().into(),
        other => other.clone(),
    }
}

/// Returns the true hash of a block as our code computes it, whatever hash the block has.
fn true_hash(version: PayloadVersion, body: &[u8]) -> B256 {
    let block = Block::decode(version, None, Bytes::copy_from_slice(body)).unwrap();
    opp2p_core::payload::block_hash(&block.payload(), block.parent_beacon_block_root())
}

/// Returns `true` if both sides compute the same hash for the block. The reference converts large
/// heights to negative numbers, which have no encoding, and leaves empty transactions out of the
/// trie, which has no empty values; ours includes them. No chain has either.
fn is_hashed_alike(envelope: &Envelope) -> bool {
    envelope.payload.block_number < BLOCK_NUMBER_LIMIT
        && envelope.payload.transactions.iter().all(|transaction| !transaction.is_empty())
}

pub(crate) async fn they_decode_our_encodings() {
    let (nodes, mut dice) = (OpNodes::start(), Dice(1));
    for version in PayloadVersion::ALL {
        for _ in 0..EACH / AT_ONCE {
            let envelopes: Vec<Envelope> = (0..AT_ONCE).map(|_| dice.envelope(version)).collect();
            let blocks: Vec<Value> = envelopes.iter().map(encoded).collect();
            let read: Vec<Read> = nodes.call("decode", json!({ "blocks": blocks })).await;
            for (envelope, read) in envelopes.iter().zip(read) {
                assert_eq!(read.refused, None, "{envelope:?}");
                let mut ssz = Vec::new();
                envelope.encode(&mut ssz).unwrap();
                assert_eq!(read.ssz, Some(hex::encode(&ssz)));
                assert_eq!(plain(&read.block.unwrap()), plain(&as_json(envelope)));
                let hash = Some(true_hash(version, &ssz));
                assert_eq!(read.hash == hash, is_hashed_alike(envelope), "{envelope:?}");
            }
        }
    }
}

pub(crate) async fn we_decode_their_encodings() {
    let nodes = OpNodes::start();
    for version in PayloadVersion::ALL {
        for seed in 0..EACH / AT_ONCE {
            let params = json!({ "version": version.index(), "seed": seed, "count": AT_ONCE });
            let made: Vec<Read> = nodes.call("make_payloads", params).await;
            for made in made {
                let ssz = hex::decode(made.ssz.unwrap()).unwrap();
                let envelope = Envelope::decode(version, &ssz).unwrap();
                assert_eq!(plain(&made.block.unwrap()), plain(&as_json(&envelope)));
                let mut again = Vec::new();
                assert_eq!(envelope.encode(&mut again), Ok(version));
                assert_eq!(again, ssz);
                let hash = Some(true_hash(version, &ssz));
                assert_eq!(made.hash == hash, is_hashed_alike(&envelope), "{envelope:?}");
            }
        }
    }
}

/// Returns an encoding that has an error in most cases.
fn damaged(dice: &mut Dice, version: PayloadVersion) -> Vec<u8> {
    let mut ssz = Vec::new();
    dice.envelope(version).encode(&mut ssz).unwrap();
    let root = if version.has_beacon_root() { 32 } else { 0 };
    // In the fixed part, only the offsets can be wrong: those of extra data, transactions and
    // withdrawals.
    let offsets = [root + 436, root + 504, root + 508];
    let offsets = if version.has_withdrawals() { &offsets[..] } else { &offsets[..2] };
    match dice.below(8) {
        0 => {
            let length = dice.below(ssz.len());
            ssz.truncate(length);
        }
        1 => {
            let more = dice.up_to(8);
            ssz.extend(more);
        }
        2 => {
            let at = dice.below(ssz.len());
            ssz[at] ^= 1 << dice.below(8);
        }
        3 | 4 => {
            // An offset that is slightly wrong.
            let at = offsets[dice.below(offsets.len())];
            ssz[at] = ssz[at].wrapping_add(dice.below(9) as u8).wrapping_sub(4);
        }
        5 => {
            let (one, other) =
                (offsets[dice.below(offsets.len())], offsets[dice.below(offsets.len())]);
            for byte in 0..4 {
                ssz.swap(one + byte, other + byte);
            }
        }
        6 => {
            let at = offsets[dice.below(offsets.len())];
            let value = dice.bytes(4);
            ssz[at..at + 4].copy_from_slice(&value);
        }
        _ => {
            // In the variable part, which starts with the offsets of the transactions.
            let fixed = root + version.fixed_size();
            if ssz.len() > fixed {
                let at = fixed + dice.below((ssz.len() - fixed).min(64));
                ssz[at] = dice.next() as u8;
            }
        }
    }
    ssz
}

pub(crate) async fn damaged_encodings_are_refused_by_both() {
    let (nodes, mut dice) = (OpNodes::start(), Dice(2));
    let (mut taken, mut refused) = (0, 0);
    for version in PayloadVersion::ALL {
        for _ in 0..EACH / AT_ONCE {
            let all: Vec<Vec<u8>> = (0..AT_ONCE).map(|_| damaged(&mut dice, version)).collect();
            let blocks = all
                .iter()
                .map(|ssz| json!({ "version": version.index(), "ssz": hex::encode(ssz) }));
            let params = json!({ "blocks": blocks.collect::<Vec<_>>() });
            let read: Vec<Read> = nodes.call("decode", params).await;
            for (ssz, theirs) in all.iter().zip(read) {
                match (Envelope::decode(version, ssz), theirs.refused) {
                    (Ok(ours), None) => {
                        assert_eq!(
                            plain(&theirs.block.unwrap()),
                            plain(&as_json(&ours)),
                            "{}",
                            hex::encode(ssz)
                        );
                        taken += 1;
                    }
                    (Err(_), Some(_)) => refused += 1,
                    (ours, theirs) => {
                        let (ours, ssz) = (ours.err(), hex::encode(ssz));
                        panic!("{version:?}: ours says {ours:?}, theirs {theirs:?} to {ssz}");
                    }
                }
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

/// A validator of each side, with the same settings.
struct Judges {
    nodes: OpNodes,
    chain: ChainConfig,
    previous: Option<Address>,
    current: Option<Address>,
}

const NOW: u64 = 1_750_000_000;
const THRESHOLD: u64 = 60;

impl Judges {
    fn of(chain: ChainConfig) -> Self {
        Self { nodes: OpNodes::start(), chain, previous: None, current: Some(signer().address()) }
    }

    /// Passes the same messages to both, one after the other, and compares their verdicts. Returns
    /// our verdicts.
    async fn agree(
        &self,
        version: PayloadVersion,
        threshold: u64,
        messages: &[(String, Vec<u8>)],
    ) -> Vec<Acceptance> {
        let rollup: Value = serde_json::from_str(&self.chain.to_rollup_json()).unwrap();
        let params = json!({
            "rollup": rollup, "signer": self.current.unwrap_or_default(),
            "previous": self.previous.unwrap_or_default(), "version": version.index(), "now": NOW,
            "threshold": threshold,
            "messages": messages.iter().map(|(_, data)| hex::encode(data)).collect::<Vec<_>>(),
        });
        let theirs: Vec<String> = self.nodes.call("judge", params).await;
        let signers = Signers { current: self.current, previous: self.previous };
        let rules = Rules {
            timestamp_threshold: Duration::from_secs(threshold),
            ..Rules::new(&self.chain, signers)
        };
        let mut seen = SeenBlocks::default();
        let mut words = Vec::new();
        for ((what, data), theirs) in messages.iter().zip(theirs) {
            let ours = validate(&rules, version, Unpacked::new(data), NOW).and_then(|verified| {
                seen.admit(version, verified.block.number(), verified.block.hash())
            });
            let word = ours.map_or_else(Reason::acceptance, |()| Acceptance::Accept);
            let said = match word {
                // The sender is not at fault for a refusal that only our configuration causes.
                _ if matches!(ours, Err(Reason::ForkBlobGas | Reason::TooOldHere)) => "reject",
                Acceptance::Accept => "accept",
                Acceptance::Ignore => "ignore",
                Acceptance::Reject => "reject",
            };
            assert_eq!(said, theirs, "{version:?}: {what}: ours says {ours:?}");
            words.push(word);
        }
        words
    }
}

fn accepted(words: &[Acceptance]) -> usize {
    words.iter().filter(|word| **word == Acceptance::Accept).count()
}

pub(crate) async fn validators_agree_on_every_rule() {
    for chain in [
        chain_of(PayloadVersion::V1),
        chain_of(PayloadVersion::V2),
        chain_of(PayloadVersion::V3),
        chain_of(PayloadVersion::V4),
        chain(ForkSchedule::up_to(Fork::Jovian)),
    ] {
        let judges = Judges::of(chain.clone());
        for version in PayloadVersion::ALL {
            let words = judges.agree(version, THRESHOLD, &cases(&chain)).await;
            let own = PayloadVersion::at(&chain.forks, NOW) == version;
            assert_eq!(accepted(&words) > 5, own, "{} of {}", accepted(&words), words.len());
        }
    }
}

/// A change to a block before it is sealed.
type Change<'a> = &'a dyn Fn(&mut Envelope);

/// Returns messages on both sides of each gossip rule's limit, for blocks of the chain.
fn cases(chain: &ChainConfig) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut seed = 0;
    // Each has a height of its own, so that no rule about heights hides another.
    let mut block = |timestamp: u64, change: Change<'_>| {
        seed += 1;
        let mut envelope = BlockMaker::new(chain, seed).next(timestamp);
        envelope.payload.block_number = seed;
        change(&mut envelope);
        envelope
    };
    let seal = |envelope: &mut Envelope| {
        let _ = envelope.payload.seal(envelope.parent_beacon_block_root);
    };
    for (what, timestamp) in [
        ("now", NOW),
        ("as old as may be", NOW - THRESHOLD),
        ("a second too old", NOW - THRESHOLD - 1),
        ("as early as may be", NOW + 5),
        ("a second too early", NOW + 6),
        ("at the beginning of time", 0),
        ("at the end of time", u64::MAX),
    ] {
        all.push((what.into(), message(chain, &block(timestamp, &seal))));
    }
    all.push(("a wrong hash".into(), message(chain, &block(NOW, &|_| {}))));
    let changes: [(&str, Change<'_>); 6] = [
        ("a withdrawal", &|envelope| {
            if let Some(withdrawals) = &mut envelope.payload.withdrawals {
                withdrawals.push(Withdrawal::default());
            }
        }),
        ("blob gas used", &|envelope| {
            if let Some(gas) = &mut envelope.payload.blob_gas_used {
                *gas = 131_072;
            }
        }),
        ("no blob gas used", &|envelope| {
            if let Some(gas) = &mut envelope.payload.blob_gas_used {
                *gas = 0;
            }
        }),
        ("excess blob gas", &|envelope| {
            if let Some(gas) = &mut envelope.payload.excess_blob_gas {
                *gas = 1;
            }
        }),
        ("no extra data", &|envelope| envelope.payload.extra_data = Bytes::new()),
        ("no transactions", &|envelope| envelope.payload.transactions.clear()),
    ];
    for (what, change) in changes {
        let envelope = block(NOW, &|envelope| {
            change(envelope);
            seal(envelope);
        });
        all.push((what.into(), message(chain, &envelope)));
    }
    // Heights: the same block twice, and more blocks on one height than are allowed.
    let twice = message(chain, &block(NOW, &seal));
    all.extend([("once".to_owned(), twice.clone()), ("twice".to_owned(), twice)]);
    for at in 1..=8 {
        let envelope = block(NOW, &|envelope| {
            envelope.payload.block_number = 1_000_000;
            seal(envelope);
        });
        all.push((format!("number {at} of a height"), message(chain, &envelope)));
    }
    // Signatures.
    let envelope = block(NOW, &seal);
    let good = signed(chain, &envelope);
    let resigned = |change: &dyn Fn(&mut [u8])| {
        let mut contents = good.clone();
        change(&mut contents[..SIGNATURE_SIZE]);
        snappy::compress(&contents)
    };
    for v in [2, 3, 4, 26, 27, 28, 29, 255] {
        all.push((format!("a recovery id of {v}"), resigned(&|signature| signature[64] = v)));
    }
    all.push(("the other recovery id".into(), resigned(&|signature| signature[64] ^= 1)));
    all.push(("no signature".into(), resigned(&|signature| signature.fill(0))));
    all.push(("a signature of ones".into(), resigned(&|signature| signature.fill(0xff))));
    all.push(("r of zero".into(), resigned(&|signature| signature[..32].fill(0))));
    all.push(("s of zero".into(), resigned(&|signature| signature[32..64].fill(0))));
    // The same signature with s on the curve's other half.
    let order = U256::from_be_slice(&hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    all.push((
        "a high s".into(),
        resigned(&|signature| {
            let high = order - U256::from_be_slice(&signature[32..64]);
            signature[32..64].copy_from_slice(&high.to_be_bytes::<32>());
            signature[64] ^= 1;
        }),
    ));
    all.push(("a byte changed after signing".into(), {
        let mut contents = good.clone();
        contents[200] ^= 1;
        snappy::compress(&contents)
    }));
    // Lengths and compression.
    for length in [0, 1, 64, 65, 66, 67, 600] {
        all.push((format!("{length} zeros"), snappy::compress(&vec![0; length])));
    }
    for length in [10 << 20, (10 << 20) + 1] {
        all.push((format!("{length} zeros"), snappy::compress(&vec![0; length])));
    }
    for data in
        [&[][..], &[0], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], &[200, 1, 0xff, 0xff]]
    {
        all.push((format!("{data:02x?}"), data.to_vec()));
    }
    let mut cut = snappy::compress(&good);
    cut.pop();
    all.push(("cut snappy".into(), cut));
    let mut long = snappy::compress(&good);
    long.push(0);
    all.push(("snappy and a byte".into(), long));
    all.push(("snappy".into(), snappy::compress(&good)));
    all
}

pub(crate) async fn validators_agree_on_the_allowed_signers() {
    let chain = chain_of(PayloadVersion::V4);
    let message = ("a block".to_owned(), message(&chain, &BlockMaker::new(&chain, 1).next(NOW)));
    let (own, other) = (signer().address(), Address::repeat_byte(7));
    for (current, previous, wanted) in [
        (Some(own), None, Acceptance::Accept),
        (Some(other), Some(own), Acceptance::Accept),
        (Some(own), Some(other), Acceptance::Accept),
        (Some(other), None, Acceptance::Reject),
        (None, None, Acceptance::Ignore),
        (None, Some(own), Acceptance::Ignore),
    ] {
        let judges = Judges { current, previous, ..Judges::of(chain.clone()) };
        let words =
            judges.agree(PayloadVersion::V4, THRESHOLD, std::slice::from_ref(&message)).await;
        assert_eq!(words, [wanted], "{current:?}, {previous:?}");
    }
}

pub(crate) async fn validators_agree_on_changed_messages() {
    let mut dice = Dice(3);
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let mut maker = BlockMaker::new(&chain, 5);
        let mut messages = Vec::new();
        for at in 0..600 {
            let envelope = maker.next(NOW);
            let contents = signed(&chain, &envelope);
            // Only small ones, since the changes are in the fields.
            if contents.len() > 60_000 {
                continue;
            }
            let (signature, body) = contents.split_at(SIGNATURE_SIZE);
            let mut body = body.to_vec();
            for _ in 0..dice.below(3) {
                let at = dice.below(body.len().min(700));
                body[at] ^= 1 << dice.below(8);
            }
            // Most are signed again, so that the fields are checked.
            let contents = match dice.below(4) {
                0 => [signature, &body].concat(),
                _ => signed_bytes(&chain, &body),
            };
            messages.push((format!("message {at}"), snappy::compress(&contents)));
        }
        let judges = Judges::of(chain);
        for some in messages.chunks(100) {
            judges.agree(version, THRESHOLD, some).await;
        }
    }
}

pub(crate) async fn validators_agree_on_real_blocks() {
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
        let messages: Vec<_> = real
            .map(|block| (block.block_hash.to_string(), message(&chain, &block.envelope)))
            .collect();
        let words = Judges::of(chain).agree(version, ANY_AGE.as_secs(), &messages).await;
        assert_eq!(accepted(&words), messages.len());
    }
    // Messages signed by others: for their chain, with their key.
    for signed in fixtures::messages() {
        let chain = ChainConfig { chain_id: signed.chain_id, ..chain_of(signed.version) };
        let judges = Judges { current: Some(signed.signer), ..Judges::of(chain) };
        let messages = [(signed.block_hash.to_string(), signed.data.to_vec())];
        let age = NOW - signed.timestamp;
        assert_eq!(judges.agree(signed.version, age, &messages).await, [Acceptance::Accept]);
    }
}
