//! Blocks and signed messages for tests: valid ones, and ones that no sequencer would send.

use crate::chain::{BlockSchedule, Fork, ForkSchedule, Genesis};
use crate::gossip::{Rules, SIGNATURE_SIZE, Signature, Signers, TIMESTAMP_THRESHOLD};
use crate::payload::{BaseTime, Block, Envelope, ExecutionPayload, PayloadVersion};
use crate::sequencer::LocalSigner;
use alloy_primitives::{Address, B256, Bytes, U256, uint};

/// Id of the chain for which everything here is signed.
pub(crate) const CHAIN_ID: u64 = 901;
/// The present time of the tests, in Unix seconds.
pub(crate) const NOW: u64 = 1_700_000_000;

/// Returns the signer with a secret of 32 times this byte.
pub(crate) fn key(byte: u8) -> LocalSigner {
    LocalSigner::from_bytes(&[byte; 32]).expect("a valid key")
}

/// Returns the accepted signer.
pub(crate) fn sequencer() -> LocalSigner {
    key(7)
}

/// Returns the forks up to the one that introduced `version`, active from the start.
pub(crate) fn forks(version: PayloadVersion) -> ForkSchedule {
    match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Canyon),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Ecotone),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    }
}

/// Returns the block times of a chain that starts at time 0 and has these forks.
pub(crate) fn schedule(forks: &ForkSchedule) -> BlockSchedule {
    BlockSchedule::new(&Genesis { number: 0, hash: B256::ZERO, time: 0 }, 2, forks)
}

/// Returns the rules of a chain that has made a block every 200 ms for the last 100 seconds.
pub(crate) fn denim() -> Rules {
    let forks = ForkSchedule::up_to(Fork::Denim).with(Fork::Denim, Some(NOW - 100));
    Rules { forks, schedule: schedule(&forks), ..rules(PayloadVersion::V4) }
}

/// Returns the number of the first block of [`denim`] that has a BaseTime deposit.
pub(crate) fn first_of_denim() -> u64 {
    denim().schedule.first_with_base_time().expect("Denim is planned")
}

/// Returns the block with this number that the sequencer of [`denim`] makes, after `change`.
pub(crate) fn denim_block(number: u64, change: impl FnOnce(&mut ExecutionPayload)) -> Envelope {
    let schedule = denim().schedule;
    changed(PayloadVersion::V4, |payload| {
        payload.block_number = number;
        payload.timestamp = schedule.timestamp_of(number).expect("in range");
        payload.blob_gas_used = Some(40_000);
        if number >= first_of_denim() {
            let millis = schedule.millis_of(number).expect("in range");
            let deposit = BaseTime::of_block(number, millis).to_transaction();
            payload.transactions.insert(1, Bytes::copy_from_slice(&deposit));
        }
        change(payload);
    })
}

/// Returns the rules of a chain with blocks of `version`, signed by the [`sequencer`].
pub(crate) fn rules(version: PayloadVersion) -> Rules {
    Rules {
        chain_id: CHAIN_ID,
        forks: forks(version),
        schedule: schedule(&forks(version)),
        signers: Signers { current: Some(sequencer().address()), previous: None },
        timestamp_threshold: TIMESTAMP_THRESHOLD,
        unknown_from: None,
    }
}

/// Returns the same rules with these signers.
pub(crate) fn rules_of(
    version: PayloadVersion,
    current: Option<Address>,
    previous: Option<Address>,
) -> Rules {
    Rules { signers: Signers { current, previous }, ..rules(version) }
}

/// Returns a block that passes every check at [`NOW`].
pub(crate) fn block(version: PayloadVersion) -> Envelope {
    changed(version, |_| {})
}

/// Returns that block after a change, with its new hash.
pub(crate) fn changed(
    version: PayloadVersion,
    change: impl FnOnce(&mut ExecutionPayload),
) -> Envelope {
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
        transactions: vec![Bytes::from_static(&[0x7e, 1, 2, 3]), Bytes::from_static(&[0x02; 100])],
        withdrawals: version.has_withdrawals().then(Vec::new),
        blob_gas_used: version.has_beacon_root().then_some(0),
        excess_blob_gas: version.has_beacon_root().then_some(0),
        withdrawals_root: version.has_withdrawals_root().then_some(B256::repeat_byte(0x66)),
        ..ExecutionPayload::default()
    };
    change(&mut payload);
    let root = version.has_beacon_root().then_some(B256::with_last_byte(0x34));
    sealed(Envelope { parent_beacon_block_root: root, payload })
}

/// Returns the block with the correct hash for its contents.
pub(crate) fn sealed(mut envelope: Envelope) -> Envelope {
    envelope.payload.seal(envelope.parent_beacon_block_root).expect("encodes");
    envelope
}

/// Returns the signed part of a block.
pub(crate) fn body(envelope: &Envelope) -> Vec<u8> {
    let mut body = Vec::new();
    envelope.encode(&mut body).expect("encodes");
    body
}

/// Returns the block as a node holds it, without a signature.
pub(crate) fn decoded(envelope: &Envelope) -> Block {
    let version = envelope.payload.version().expect("a version");
    Block::decode(version, None, body(envelope).into()).expect("decodes")
}

/// Returns the block with this payload, the correct hash and no beacon root.
pub(crate) fn sealed_block(payload: ExecutionPayload) -> Block {
    decoded(&sealed(Envelope { parent_beacon_block_root: None, payload }))
}

/// Returns a message of the [`sequencer`]: signature and block, decompressed.
pub(crate) fn signed(envelope: &Envelope) -> Vec<u8> {
    signed_by(&sequencer(), &body(envelope))
}

/// Returns a message with any body, signed by any key.
pub(crate) fn signed_by(signer: &LocalSigner, body: &[u8]) -> Vec<u8> {
    signer.sign_body(CHAIN_ID, body)
}

/// Returns the other signature by the same key over the same bytes.
pub(crate) fn high_s_twin(contents: &[u8]) -> Vec<u8> {
    const ORDER: U256 =
        uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let (signature, body) = contents.split_first_chunk::<SIGNATURE_SIZE>().expect("a signature");
    let mut twin: Signature = *signature;
    let s = ORDER - U256::from_be_slice(&signature[32..64]);
    twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    twin[64] ^= 1;
    [&twin[..], body].concat()
}

/// Returns the message with another last byte of its signature.
pub(crate) fn with_v(contents: &[u8], v: u8) -> Vec<u8> {
    let mut contents = contents.to_vec();
    contents[SIGNATURE_SIZE - 1] = v;
    contents
}

/// Returns a snappy header that announces `length` bytes.
pub(crate) fn announcing(mut length: u64) -> Vec<u8> {
    let mut header = Vec::new();
    while length >= 0x80 {
        header.push(length as u8 | 0x80);
        length >>= 7;
    }
    header.push(length as u8);
    header
}
