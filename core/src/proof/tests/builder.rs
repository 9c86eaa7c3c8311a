//! A naive trie that makes proofs, with values in branches and embedded nodes.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Encodable, Header};
use std::collections::BTreeMap;

use crate::payload::trie::EMPTY_ROOT;

/// Values by the nibbles of their keys.
#[derive(Clone, Debug, Default)]
pub(in crate::proof) struct Trie(BTreeMap<Vec<u8>, Vec<u8>>);

type Entry<'a> = (&'a [u8], &'a [u8]);

impl Trie {
    pub(in crate::proof) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(nibbles(key), value);
    }

    pub(in crate::proof) fn root(&self) -> B256 {
        if self.0.is_empty() { EMPTY_ROOT } else { keccak256(node(&self.entries(), 0)) }
    }

    /// Returns the root by the library, for keys of one length.
    pub(in crate::proof) fn root_by_library(&self) -> B256 {
        let mut builder = alloy_trie::HashBuilder::default();
        for (key, value) in &self.0 {
            builder.add_leaf(alloy_trie::Nibbles::from_nibbles(key), value);
        }
        builder.root()
    }

    /// Returns the proof of a key. Embedded nodes are entries of their own if `with_embedded`.
    pub(in crate::proof) fn proof(&self, key: &[u8], with_embedded: bool) -> Vec<Vec<u8>> {
        let key = nibbles(key);
        let mut nodes = Vec::new();
        let mut entries = self.entries();
        let mut depth = 0;
        while !entries.is_empty() {
            let bytes = node(&entries, depth);
            if nodes.is_empty() || with_embedded || bytes.len() >= 32 {
                nodes.push(bytes);
            }
            if entries.len() == 1 {
                break;
            }
            match shared(&entries, depth) {
                0 => {
                    let Some(nibble) = key.get(depth) else { break };
                    entries.retain(|(entry, _)| entry.get(depth) == Some(nibble));
                    depth += 1;
                }
                more => {
                    if key.get(depth..depth + more) != Some(&entries[0].0[depth..depth + more]) {
                        break;
                    }
                    depth += more;
                }
            }
        }
        nodes
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.0.iter().map(|(key, value)| (&key[..], &value[..])).collect()
    }
}

pub(in crate::proof) fn nibbles(key: &[u8]) -> Vec<u8> {
    key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect()
}

/// Returns the number of nibbles, after the first `depth`, that all keys share.
fn shared(entries: &[Entry<'_>], depth: usize) -> usize {
    let (first, last) = (&entries[0].0[depth..], &entries[entries.len() - 1].0[depth..]);
    first.iter().zip(last).take_while(|(a, b)| a == b).count()
}

/// Encodes the node over entries that share their first `depth` nibbles.
fn node(entries: &[Entry<'_>], depth: usize) -> Vec<u8> {
    if let [(key, value)] = entries {
        return list(&[string(&hex_prefix(&key[depth..], true)), string(value)]);
    }
    let more = shared(entries, depth);
    if more > 0 {
        let path = hex_prefix(&entries[0].0[depth..depth + more], false);
        return list(&[string(&path), reference(&node(entries, depth + more))]);
    }
    let mut items: Vec<Vec<u8>> = (0..16)
        .map(|nibble| {
            let below = entries.iter().filter(|(key, _)| key.get(depth) == Some(&nibble));
            let below: Vec<_> = below.copied().collect();
            if below.is_empty() { string(&[]) } else { reference(&node(&below, depth + 1)) }
        })
        .collect();
    let value = entries.iter().find(|(key, _)| key.len() == depth);
    items.push(string(value.map_or(&[], |(_, value)| value)));
    list(&items)
}

fn reference(node: &[u8]) -> Vec<u8> {
    if node.len() < 32 { node.to_vec() } else { string(keccak256(node).as_slice()) }
}

pub(in crate::proof) fn hex_prefix(nibbles: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = if is_leaf { 2 } else { 0 };
    let padded = match nibbles.len() % 2 {
        0 => [&[flag, 0], nibbles].concat(),
        _ => [&[flag + 1], nibbles].concat(),
    };
    padded.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(in crate::proof) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.encode(&mut out);
    out
}

pub(in crate::proof) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { list: true, payload_length: items.iter().map(Vec::len).sum() }.encode(&mut out);
    out.extend(items.concat());
    out
}
