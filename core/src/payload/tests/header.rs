//! Tests of block hashes against headers that are written field by field, with a minimal RLP
//! encoder and the library's trie.

use super::*;
use PayloadVersion::{V1, V2, V3, V4};
use alloy_primitives::{hex, keccak256};

/// Returns the RLP of a string.
fn string(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [single] if *single < 0x80 => vec![*single],
        _ => headed(0x80, bytes),
    }
}

/// Returns the RLP of a number: a string without leading zeros.
fn number(value: impl TryInto<U256, Error: std::fmt::Debug>) -> Vec<u8> {
    let bytes: [u8; 32] = value.try_into().expect("fits").to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    string(&bytes[zeros..])
}

/// Returns the RLP of a list of encoded items.
fn list(items: &[Vec<u8>]) -> Vec<u8> {
    headed(0xc0, &items.concat())
}

fn headed(base: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = match content.len() {
        short @ 0..56 => vec![base + short as u8],
        _ => vec![base + 55 + length.len() as u8],
    };
    if content.len() >= 56 {
        out.extend(length);
    }
    out.extend(content);
    out
}

fn trie_root(items: &[Vec<u8>]) -> B256 {
    alloy_trie::root::ordered_trie_root_with_encoder(items, |item, out| out.extend_from_slice(item))
}

/// Returns the header's hash, with the fields in the order of the execution layer's specification.
fn hash_by_hand(
    version: PayloadVersion,
    payload: &ExecutionPayload,
    beacon_root: Option<B256>,
) -> B256 {
    let transactions: Vec<Vec<u8>> =
        payload.transactions.iter().map(|item| item.to_vec()).collect();
    let withdrawals: Vec<Vec<u8>> = payload
        .withdrawals
        .iter()
        .flatten()
        .map(|w| {
            list(&[
                number(w.index),
                number(w.validator_index),
                string(&w.address[..]),
                number(w.amount),
            ])
        })
        .collect();
    let mut fields = vec![
        string(&payload.parent_hash[..]),
        // Hash of the RLP of an empty list of uncles.
        string(&keccak256([0xc0])[..]),
        string(&payload.fee_recipient[..]),
        string(&payload.state_root[..]),
        string(&trie_root(&transactions)[..]),
        string(&payload.receipts_root[..]),
        string(&payload.logs_bloom[..]),
        number(0_u64), // difficulty
        number(payload.block_number),
        number(payload.gas_limit),
        number(payload.gas_used),
        number(payload.timestamp),
        string(&payload.extra_data),
        string(&payload.prev_randao[..]),
        string(&[0; 8]), // nonce
        number(payload.base_fee_per_gas),
    ];
    match version {
        V1 => {}
        V2 | V3 => fields.push(string(&trie_root(&withdrawals)[..])),
        V4 => fields.push(string(&payload.withdrawals_root.expect("v4 has it")[..])),
    }
    if matches!(version, V3 | V4) {
        fields.push(number(payload.blob_gas_used.expect("v3 has it")));
        fields.push(number(payload.excess_blob_gas.expect("v3 has it")));
        fields.push(string(&beacon_root.expect("v3 has it")[..]));
    }
    if version == V4 {
        // Requests hash: sha256 of the empty string.
        fields.push(string(&hex!(
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )));
    }
    keccak256(list(&fields))
}

fn hash_of(version: PayloadVersion, payload: &ExecutionPayload, beacon_root: Option<B256>) -> B256 {
    let bytes = encoded(payload);
    block_hash(&PayloadView::parse(version, &bytes).expect("decodes"), beacon_root)
}

/// Returns a payload like those of live chains: no withdrawals, zero blob gas.
fn plain(version: PayloadVersion) -> ExecutionPayload {
    let mut payload = sample(version);
    payload.block_number = 26_207_960;
    payload.withdrawals = payload.withdrawals.map(|_| Vec::new());
    payload.blob_gas_used = payload.blob_gas_used.map(|_| 0);
    payload.excess_blob_gas = payload.excess_blob_gas.map(|_| 0);
    payload
}

#[test]
fn each_version_has_the_header_of_its_fork() {
    for version in PayloadVersion::ALL {
        for payload in [plain(version), sample(version)] {
            let root = root_of(version);
            assert_eq!(
                hash_of(version, &payload, root),
                hash_by_hand(version, &payload, root),
                "{version}"
            );
        }
    }
}

#[test]
fn a_canyon_header_has_the_root_of_no_withdrawals() {
    // The header of v2 has one more field than that of v1, with a known value.
    let [v1, v2] = [V1, V2].map(|version| hash_of(version, &plain(version), None));
    assert_ne!(v1, v2);
    assert_eq!(withdrawals_root(std::iter::empty()), trie::EMPTY_ROOT);
    assert_eq!(trie::EMPTY_ROOT, keccak256(string(&[])));
}

#[test]
fn an_isthmus_header_has_the_payloads_withdrawals_root_not_the_lists() {
    let root = root_of(V4);
    let payload = plain(V4);
    let mut with_list = payload.clone();
    with_list.withdrawals = Some(vec![withdrawal(1)]);
    assert_eq!(hash_of(V4, &payload, root), hash_of(V4, &with_list, root));
    let mut with_root = payload.clone();
    with_root.withdrawals_root = Some(trie::EMPTY_ROOT);
    assert_ne!(hash_of(V4, &payload, root), hash_of(V4, &with_root, root));
    // Before Isthmus the list determines the root.
    for version in [V2, V3] {
        let mut with_list = plain(version);
        with_list.withdrawals = Some(vec![withdrawal(1)]);
        let root = root_of(version);
        assert_ne!(hash_of(version, &plain(version), root), hash_of(version, &with_list, root));
    }
}

#[test]
fn an_isthmus_header_ends_in_the_requests_hash() {
    assert_eq!(EMPTY_REQUESTS_HASH.0, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest([])));
    let mut isthmus = plain(V4);
    isthmus.withdrawals_root = Some(trie::EMPTY_ROOT);
    // With the same withdrawals root, the headers of v3 and v4 differ only in the requests hash.
    assert_ne!(hash_of(V3, &plain(V3), root_of(V3)), hash_of(V4, &isthmus, root_of(V4)));
}

#[test]
fn a_jovian_header_has_the_footprint_in_blob_gas_used() {
    let mut payload = plain(V4);
    let mut hashes = Vec::new();
    for used in [0, 1, 127, 128, 1 << 20, u64::MAX] {
        payload.blob_gas_used = Some(used);
        let hash = hash_of(V4, &payload, root_of(V4));
        assert_eq!(hash, hash_by_hand(V4, &payload, root_of(V4)), "{used}");
        assert!(!hashes.contains(&hash));
        hashes.push(hash);
    }
}

#[test]
fn the_hash_covers_every_field_except_the_claimed_hash() {
    let changes: [fn(&mut ExecutionPayload); 17] = [
        |p| p.parent_hash.0[0] ^= 1,
        |p| p.fee_recipient.0[0] ^= 1,
        |p| p.state_root.0[0] ^= 1,
        |p| p.receipts_root.0[0] ^= 1,
        |p| p.logs_bloom.0[0] ^= 1,
        |p| p.prev_randao.0[0] ^= 1,
        |p| p.block_number ^= 1,
        |p| p.gas_limit ^= 1,
        |p| p.gas_used ^= 1,
        |p| p.timestamp ^= 1,
        |p| p.extra_data = Bytes::from_static(b"other"),
        |p| p.base_fee_per_gas ^= U256::ONE,
        |p| p.transactions.truncate(3),
        |p| p.transactions.swap(0, 1),
        |p| p.blob_gas_used = p.blob_gas_used.map(|used| used ^ 1),
        |p| p.excess_blob_gas = p.excess_blob_gas.map(|excess| excess ^ 1),
        |p| p.withdrawals_root = p.withdrawals_root.map(|root| root ^ B256::with_last_byte(1)),
    ];
    let base = plain(V4);
    let hash = hash_of(V4, &base, root_of(V4));
    for (index, change) in changes.into_iter().enumerate() {
        let mut payload = base.clone();
        change(&mut payload);
        assert_ne!(hash_of(V4, &payload, root_of(V4)), hash, "change {index}");
    }
    assert_ne!(hash_of(V4, &base, Some(B256::ZERO)), hash, "the beacon root");
    let mut claimed = base;
    claimed.block_hash = B256::ZERO;
    assert_eq!(hash_of(V4, &claimed, root_of(V4)), hash);
}

#[test]
fn a_beacon_root_before_ecotone_is_not_in_the_header() {
    for version in [V1, V2] {
        let payload = plain(version);
        assert_eq!(
            hash_of(version, &payload, Some(B256::repeat_byte(9))),
            hash_of(version, &payload, None)
        );
    }
}

#[test]
fn sealing_sets_the_hash_of_the_contents() {
    for version in PayloadVersion::ALL {
        let mut payload = plain(version);
        let root = root_of(version);
        let hash = payload.seal(root).expect("encodes");
        assert_eq!(payload.block_hash, hash);
        assert_eq!(hash, hash_by_hand(version, &payload, root));
        assert_eq!(payload.seal(root), Ok(hash), "sealing again changes nothing");
    }
}

proptest! {
    #[test]
    fn every_block_hash_matches_the_hand_built_header(
        (version, payload) in any_payload(), root in any_hash()
    ) {
        let root = version.has_beacon_root().then_some(root);
        prop_assert_eq!(hash_of(version, &payload, root), hash_by_hand(version, &payload, root));
    }

    #[test]
    fn withdrawals_roots_match_the_library(list in payload_of(V2)) {
        let withdrawals = list.withdrawals.expect("v2 has them");
        let encoded: Vec<Vec<u8>> = withdrawals
            .iter()
            .map(|w| self::list(&[
                number(w.index), number(w.validator_index), string(&w.address[..]),
                number(w.amount),
            ]))
            .collect();
        prop_assert_eq!(withdrawals_root(withdrawals.into_iter()), trie_root(&encoded));
    }
}
