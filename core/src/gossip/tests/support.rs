//! Blocks and signed messages for tests: what a sequencer would send, and what it never would.

use crate::chain::{Fork, ForkSchedule};
use crate::gossip::{
    BLOCK_DOMAIN, Rules, SIGNATURE_SIZE, Signature, Signers, TIMESTAMP_THRESHOLD, payload_hash, signing_hash,
};
use crate::payload::{Envelope, ExecutionPayload, PayloadVersion};
use crate::sequencer::LocalSigner;
use alloy_primitives::{Address, B256, Bytes, U256, uint};

/// The chain that everything here is signed for.
pub(crate) const CHAIN_ID: u64 = 901;
/// The time that it is now, in Unix seconds.
pub(crate) const NOW: u64 = 1_700_000_000;

/// The signer with this byte 32 times as its secret.
pub(crate) fn key(byte: u8) -> LocalSigner {
    LocalSigner::from_bytes(&[byte; 32]).expect("a valid key")
}

/// The signer that counts.
pub(crate) fn sequencer() -> LocalSigner {
    key(7)
}

/// Forks up to the one that brought `version`, active from the start.
pub(crate) fn forks(version: PayloadVersion) -> ForkSchedule {
    match version {
        PayloadVersion::V1 => ForkSchedule::default(),
        PayloadVersion::V2 => ForkSchedule::up_to(Fork::Canyon),
        PayloadVersion::V3 => ForkSchedule::up_to(Fork::Ecotone),
        PayloadVersion::V4 => ForkSchedule::up_to(Fork::Isthmus),
    }
}

/// The rules of a chain on which blocks of `version` are made by [`sequencer`].
pub(crate) fn rules(version: PayloadVersion) -> Rules {
    Rules {
        chain_id: CHAIN_ID,
        forks: forks(version),
        signers: Signers { current: Some(sequencer().address()), previous: None },
        timestamp_threshold: TIMESTAMP_THRESHOLD,
    }
}

/// The same, but this is who signs.
pub(crate) fn rules_of(
    version: PayloadVersion,
    current: Option<Address>,
    previous: Option<Address>,
) -> Rules {
    Rules { signers: Signers { current, previous }, ..rules(version) }
}

/// A block that passes every check at [`NOW`].
pub(crate) fn block(version: PayloadVersion) -> Envelope {
    changed(version, |_| {})
}

/// The same after a change, with the hash of what it is then.
pub(crate) fn changed(version: PayloadVersion, change: impl FnOnce(&mut ExecutionPayload)) -> Envelope {
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

/// The block with the hash of what it is.
pub(crate) fn sealed(mut envelope: Envelope) -> Envelope {
    envelope.payload.seal(envelope.parent_beacon_block_root).expect("encodes");
    envelope
}

/// What is signed of a block.
pub(crate) fn body(envelope: &Envelope) -> Vec<u8> {
    let mut body = Vec::new();
    envelope.encode(&mut body).expect("encodes");
    body
}

/// A message of the [`sequencer`]: signature and block, decompressed.
pub(crate) fn signed(envelope: &Envelope) -> Vec<u8> {
    signed_by(&sequencer(), &body(envelope))
}

/// A message with any body, signed by anybody.
pub(crate) fn signed_by(signer: &LocalSigner, body: &[u8]) -> Vec<u8> {
    let hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash(body));
    [&signer.sign(&hash)[..], body].concat()
}

/// The other signature of the same key over the same bytes.
pub(crate) fn high_s_twin(contents: &[u8]) -> Vec<u8> {
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let (signature, body) = contents.split_first_chunk::<SIGNATURE_SIZE>().expect("a signature");
    let mut twin: Signature = *signature;
    let s = ORDER - U256::from_be_slice(&signature[32..64]);
    twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    twin[64] ^= 1;
    [&twin[..], body].concat()
}

/// The message with another last byte of its signature.
pub(crate) fn with_v(contents: &[u8], v: u8) -> Vec<u8> {
    let mut contents = contents.to_vec();
    contents[SIGNATURE_SIZE - 1] = v;
    contents
}

/// A snappy header that announces `length` bytes.
pub(crate) fn announcing(mut length: u64) -> Vec<u8> {
    let mut header = Vec::new();
    while length >= 0x80 {
        header.push(length as u8 | 0x80);
        length >>= 7;
    }
    header.push(length as u8);
    header
}
