//! Trie proofs.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use proptest::prelude::*;

use super::builder::{Trie, hex_prefix, list, string};
use crate::payload::trie::EMPTY_ROOT;
use crate::proof::trie::{MAX_NODE_SIZE, MAX_NODES, TrieError, prove};

fn hashed(count: u32, value: impl Fn(u32) -> Vec<u8>) -> (Trie, Vec<B256>) {
    let keys: Vec<B256> = (0..count).map(|index| keccak256(index.to_be_bytes())).collect();
    let mut trie = Trie::default();
    for (index, key) in (0..).zip(&keys) {
        trie.insert(key.as_slice(), value(index));
    }
    (trie, keys)
}

fn by_library(root: B256, key: &[u8], value: Option<&[u8]>, proof: &[Vec<u8>]) -> bool {
    let proof: Vec<Bytes> = proof.iter().map(|node| node.clone().into()).collect();
    verify_proof(root, Nibbles::unpack(key), value.map(<[u8]>::to_vec), &proof).is_ok()
}

#[test]
fn present_and_absent_keys_are_proved_as_by_the_library() {
    for count in [1, 2, 3, 17, 300] {
        let (trie, keys) = hashed(count, |index| vec![1 + index as u8 % 200; 40]);
        assert_eq!(trie.root(), trie.root_by_library());
        for (index, key) in keys.iter().enumerate() {
            let proof = trie.proof(key.as_slice(), false);
            let value = prove(trie.root(), key.as_slice(), &proof);
            assert_eq!(value, Ok(Some(&[1 + index as u8 % 200; 40][..])));
            assert!(by_library(trie.root(), key.as_slice(), value.unwrap_or_default(), &proof));
            let absent = keccak256(key);
            let proof = trie.proof(absent.as_slice(), false);
            assert_eq!(prove(trie.root(), absent.as_slice(), &proof), Ok(None));
            assert!(by_library(trie.root(), absent.as_slice(), None, &proof));
        }
    }
}

#[test]
fn every_changed_byte_names_its_node() {
    let (trie, keys) = hashed(300, |index| vec![1 + index as u8 % 200; 40]);
    let proof = trie.proof(keys[7].as_slice(), false);
    assert!(proof.len() >= 3);
    for node in 0..proof.len() {
        for at in 0..proof[node].len() {
            let mut lie = proof.clone();
            lie[node][at] ^= 1;
            let error = prove(trie.root(), keys[7].as_slice(), &lie);
            let (expected, computed) = (keccak256(&proof[node]), keccak256(&lie[node]));
            assert_eq!(error, Err(TrieError::FalseNode { node, expected, computed }));
        }
    }
}

#[test]
fn missing_and_superfluous_nodes_are_named() {
    let (trie, keys) = hashed(300, |_| vec![5; 40]);
    let (root, key) = (trie.root(), keys[7].as_slice());
    let proof = trie.proof(key, false);
    for end in 0..proof.len() {
        assert_eq!(prove(root, key, &proof[..end]), Err(TrieError::MissingNode { node: end }));
    }
    for extra in [proof[0].clone(), vec![0x80], Vec::new()] {
        let more = [&proof[..], &[extra]].concat();
        assert_eq!(prove(root, key, &more), Err(TrieError::SuperfluousNode { node: proof.len() }));
    }
    // The proof of one key does not prove another.
    assert!(prove(root, keys[8].as_slice(), &proof).is_err());
}

#[test]
fn an_empty_trie_is_proved_by_nothing_or_by_its_encoding() {
    let none: [&[u8]; 0] = [];
    assert_eq!(prove(EMPTY_ROOT, &[1], &none), Ok(None));
    assert_eq!(prove(EMPTY_ROOT, &[1], &[[0x80]]), Ok(None));
    let superfluous = |node| Err(TrieError::SuperfluousNode { node });
    assert_eq!(prove(EMPTY_ROOT, &[1], &[[0x81]]), superfluous(0));
    assert_eq!(prove(EMPTY_ROOT, &[1], &[[0x80], [0x80]]), superfluous(1));
    assert_eq!(prove(B256::ZERO, &[1], &none), Err(TrieError::MissingNode { node: 0 }));
}

#[test]
fn embedded_nodes_are_read_in_place_and_as_entries() {
    let mut trie = Trie::default();
    for (key, value) in [([0x12, 0x34], 1), ([0x12, 0x35], 2), ([0x52, 0x34], 3)] {
        trie.insert(&key, vec![value]);
    }
    let (root, key) = (trie.root(), [0x12, 0x35]);
    let (plain, listed) = (trie.proof(&key, false), trie.proof(&key, true));
    assert_eq!((plain.len(), listed.len()), (1, 4));
    assert_eq!(prove(root, &key, &plain), Ok(Some(&[2][..])));
    assert_eq!(prove(root, &key, &listed), Ok(Some(&[2][..])));
    assert_eq!(prove(root, &[0x12, 0x36], &plain), Ok(None));
    for node in 1..listed.len() {
        for at in 0..listed[node].len() {
            let mut lie = listed.clone();
            lie[node][at] ^= 1;
            assert_eq!(prove(root, &key, &lie), Err(TrieError::SuperfluousNode { node }));
        }
    }
}

#[test]
fn values_in_branches_are_found() {
    let mut trie = Trie::default();
    let keys: [&[u8]; 5] = [&[0x12], &[0x12, 0x34], &[0x12, 0x34, 0x56], &[0x13], &[0x40]];
    for (key, value) in keys.iter().zip(1..) {
        trie.insert(key, vec![value; 33]);
    }
    for (key, value) in keys.iter().zip(1..) {
        let proof = trie.proof(key, false);
        assert_eq!(prove(trie.root(), key, &proof), Ok(Some(&[value; 33][..])), "{key:?}");
    }
    for key in [&[][..], &[0x12, 0x35], &[0x12, 0x34, 0x57], &[0x41], &[0x12, 0x34, 0x56, 0x78]] {
        let proof = trie.proof(key, false);
        assert_eq!(prove(trie.root(), key, &proof), Ok(None), "{key:?}");
    }
}

#[test]
fn malformed_nodes_are_refused_even_with_the_right_hash() {
    let key = [0x12];
    let leaf = |path: &[u8], value: Vec<u8>| list(&[string(path), value]);
    let whole = hex_prefix(&[1, 2], true);
    let good = leaf(&whole, string(&[7]));
    assert_eq!(prove(keccak256(&good), &key, &[&good]), Ok(Some(&[7][..])));
    let branch = |item: Vec<u8>| {
        let mut items = vec![string(&[]); 17];
        items[1] = item;
        list(&items)
    };
    let nodes = [
        Vec::new(),
        vec![0x80],
        string(&good),
        list(&[]),
        list(&[string(&whole), string(&[7]), string(&[])]),
        list(&vec![string(&[]); 18]),
        leaf(&[], string(&[7])),
        leaf(&[0x40, 0x12], string(&[7])),
        leaf(&[0x21, 0x12], string(&[7])),
        leaf(&whole, string(&[])),
        leaf(&whole, list(&[])),
        leaf(&hex_prefix(&[], false), string(&[7; 32])),
        leaf(&hex_prefix(&[1], false), string(&[])),
        leaf(&hex_prefix(&[1], false), string(&[7; 31])),
        leaf(&hex_prefix(&[1], false), string(&[7; 33])),
        branch(string(&[7; 31])),
        branch(list(&[string(&hex_prefix(&[2], true)), string(&[7; 40])])),
        branch(list(&[string(&[7])])),
        [&good[..], &[0]].concat(),
        good[..good.len() - 1].to_vec(),
    ];
    for node in nodes {
        let proof = [&node];
        let result = prove(keccak256(&node), &key, &proof);
        let is_empty_trie = node == [0x80];
        let expected =
            if is_empty_trie { Ok(None) } else { Err(TrieError::MalformedNode { node: 0 }) };
        assert_eq!(result, expected, "{node:02x?}");
    }
}

#[test]
fn limits_hold_before_anything_is_hashed() {
    let many = vec![vec![0xc0]; MAX_NODES + 1];
    assert_eq!(prove(B256::ZERO, &[1], &many), Err(TrieError::TooManyNodes(MAX_NODES + 1)));
    let large = [vec![0; MAX_NODE_SIZE + 1]];
    let size = MAX_NODE_SIZE + 1;
    assert_eq!(prove(B256::ZERO, &[1], &large), Err(TrieError::NodeTooLarge { node: 0, size }));
}

/// A change of a proof.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index, prop::sample::Index),
    Append(Vec<u8>),
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), at(), 1_u8..).prop_map(|(node, byte, bits)| Change::Flip(node, byte, bits)),
        at().prop_map(Change::Drop),
        at().prop_map(Change::Repeat),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        (at(), at()).prop_map(|(node, byte)| Change::Cut(node, byte)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Change::Append),
    ]
}

impl Change {
    fn apply(&self, proof: &mut Vec<Vec<u8>>) {
        let count = proof.len();
        match self {
            Self::Flip(node, byte, bits) => {
                let node = &mut proof[node.index(count)];
                let at = byte.index(node.len());
                node[at] ^= bits;
            }
            Self::Drop(node) => drop(proof.remove(node.index(count))),
            Self::Repeat(node) => {
                let node = node.index(count);
                proof.insert(node, proof[node].clone());
            }
            Self::Swap(a, b) => proof.swap(a.index(count), b.index(count)),
            Self::Cut(node, byte) => {
                let node = &mut proof[node.index(count)];
                node.truncate(byte.index(node.len()));
            }
            Self::Append(node) => proof.push(node.clone()),
        }
    }
}

proptest! {
    #[test]
    fn any_trie_is_proved_and_no_change_is(
        keys in prop::collection::btree_set(any::<[u8; 3]>(), 1..60),
        value in prop::collection::vec(1_u8.., 1..40),
        asked in any::<prop::sample::Index>(),
        absent in any::<[u8; 3]>(),
        change in any_change(),
    ) {
        let mut trie = Trie::default();
        for key in &keys {
            trie.insert(key, value.clone());
        }
        let root = trie.root();
        prop_assert_eq!(root, trie.root_by_library());
        let present = *keys.iter().nth(asked.index(keys.len())).expect("an index");
        for key in [present, absent] {
            let proof = trie.proof(&key, false);
            let expected = keys.contains(&key).then_some(&value[..]);
            prop_assert_eq!(prove(root, &key, &proof), Ok(expected));
            // The library refuses a root that is shorter than a hash.
            let is_short = proof[0].len() < 32;
            prop_assert!(is_short || by_library(root, &key, expected, &proof));
            let listed = trie.proof(&key, true);
            prop_assert_eq!(prove(root, &key, &listed), Ok(expected));
            let mut lie = proof.clone();
            change.apply(&mut lie);
            if lie != proof && lie != listed {
                // A listed embedded node is the only change that is accepted.
                let result = prove(root, &key, &lie);
                let is_listed = lie.iter().all(|node| listed.contains(node));
                prop_assert!(result.is_err() || is_listed && result == Ok(expected));
            }
        }
    }

    #[test]
    fn any_nodes_are_read_without_a_panic(
        key in prop::collection::vec(any::<u8>(), 0..4),
        nodes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
        items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..34), 2..18),
    ) {
        let _ = prove(keccak256(&nodes[0]), &key, &nodes);
        let node = list(&items);
        let _ = prove(keccak256(&node), &key, &[node]);
    }
}
