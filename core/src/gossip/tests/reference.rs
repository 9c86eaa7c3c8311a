//! The reference's own gossip tests (`op-node/p2p/gossip_test.go`), under their names.
//!
//! `TestGuardGossipValidator` is among the node's tests, because the guard belongs to the node.
//! `TestCombinePeers` joins lists of peers, which the core does not keep.

use super::*;
use crate::payload::{Envelope, Withdrawal};
use alloy_primitives::{Address, address};

/// Rules of chain 100, which the reference's signature test uses.
fn chain_100(signer: Option<Address>) -> Rules {
    Rules { chain_id: 100, ..rules_of(V1, signer, None) }
}

/// A message for that chain. The reference's message is not a block, which this validator reports
/// before it checks the signature.
fn any_msg() -> Vec<u8> {
    let body = body(&block(V1));
    let hash = signing_hash(BLOCK_DOMAIN, 100.into(), payload_hash(&body));
    [&sequencer().sign(&hash)[..], &body].concat()
}

#[test]
fn verify_block_signature_valid() {
    let hash = signing_hash(BLOCK_DOMAIN, 100.into(), payload_hash(b"any msg"));
    assert_eq!(recover(&sequencer().sign(&hash), &hash), Ok(sequencer().address()));
    assert_accepted(&chain_100(Some(sequencer().address())), V1, &any_msg());
}

#[test]
fn verify_block_signature_wrong_signer() {
    let configured = address!("0000000000000000000000000000000000001234");
    assert_rejected(&chain_100(Some(configured)), V1, &any_msg(), Reason::WrongSigner);
}

#[test]
fn verify_block_signature_invalid_signature() {
    let contents = [&[0; 65][..], &body(&block(V1))].concat();
    assert_rejected(&chain_100(Some(sequencer().address())), V1, &contents, Reason::Signature);
}

#[test]
fn verify_block_signature_no_sequencer() {
    assert_eq!(judge(&chain_100(None), V1, &any_msg()), Some(Reason::NoSigner));
    // The zero address, which a contract may name, also means that the signer is unknown.
    let rotation = SignerRotation::new(Some(Address::ZERO));
    let signers = rotation.at(Default::default());
    assert_eq!(
        judge(&Rules { signers, ..chain_100(None) }, V1, &any_msg()),
        Some(Reason::NoSigner)
    );
}

#[test]
fn block_validator_execution_payload_v2_valid() {
    assert_accepted(&rules(V2), V2, &signed(&block(V2)));
}

#[test]
fn block_validator_execution_payload_v2_non_zero_withdrawals() {
    let envelope = changed(V2, |payload| payload.withdrawals = Some(vec![Withdrawal::default()]));
    assert_rejected(&rules(V2), V2, &signed(&envelope), Reason::WithdrawalsNotEmpty);
}

#[test]
fn block_validator_execution_payload_v2_non_zero_blob_properties() {
    // Because the blob fields are present (and zero), the encoder writes the layout of v3.
    let Envelope { payload, .. } = block(V3);
    let mut bytes = Vec::new();
    assert_eq!(payload.encode(&mut bytes), Ok(V3));
    assert_rejected(&rules(V2), V2, &signed_by(&sequencer(), &bytes), Reason::Payload);
}

#[test]
fn block_validator_v3_reject_execution_payload() {
    let Envelope { payload, .. } = block(V3);
    let mut without_root = Vec::new();
    payload.encode(&mut without_root).expect("encodes");
    assert_rejected(&rules(V3), V3, &signed_by(&sequencer(), &without_root), Reason::Payload);
}

#[test]
fn block_validator_envelope_v3_reject_non_zero_excess_gas() {
    let envelope = changed(V3, |payload| payload.excess_blob_gas = Some(1));
    assert_rejected(&rules(V3), V3, &signed(&envelope), Reason::ExcessBlobGas);
}

#[test]
fn block_validator_envelope_v3_reject_non_zero_blob_gas_used() {
    // The reference rejects it. This validator ignores it, because our schedule may be stale.
    let envelope = changed(V3, |payload| payload.blob_gas_used = Some(1));
    assert_eq!(judge(&rules(V3), V3, &signed(&envelope)), Some(Reason::ForkBlobGas));
}

#[test]
fn block_validator_envelope_v3_valid() {
    let mut envelope = block(V3);
    envelope.parent_beacon_block_root = Some(B256::left_padding_from(&[0x12, 0x34]));
    assert_accepted(&rules(V3), V3, &signed(&sealed(envelope)));
}
