//! Proofs of Merkle Patricia tries: the value of a key, or its absence.
//!
//! A proof is the list of nodes on the path from the root to the key. Each node is hashed and
//! compared with the reference in its parent, so a proof contains nothing that the root does not
//! commit to. A node shorter than a hash is embedded in its parent. Some servers also list such a
//! node as an entry of the proof, directly after the parent; an entry that equals the embedded node
//! is skipped.
//!
//! # Bounds
//! At most [`MAX_NODES`] nodes of [`MAX_NODE_SIZE`] bytes each: 66 kB to hash. Nothing is
//! allocated.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::Header;

use crate::payload::trie::EMPTY_ROOT;

/// Maximum number of nodes in a proof: one for each nibble of a hashed key, and the last leaf.
pub const MAX_NODES: usize = 65;

/// Maximum size of a node in bytes. A branch of a state trie has at most 532 bytes.
pub const MAX_NODE_SIZE: usize = 1024;

/// Encoding of an empty string: an absent child, an absent value, an empty trie.
const EMPTY: u8 = 0x80;

/// The false part of a trie proof. `node` is the index in the list of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieError {
    /// The proof has more than [`MAX_NODES`] nodes.
    #[error("the proof has {0} nodes, and at most {MAX_NODES} are accepted")]
    TooManyNodes(usize),
    /// A node has more than [`MAX_NODE_SIZE`] bytes.
    #[error("node {node} has {size} bytes, and at most {MAX_NODE_SIZE} are accepted")]
    NodeTooLarge {
        /// Index of the node.
        node: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// The path continues, but the proof ends before this node.
    #[error("node {node} is missing")]
    MissingNode {
        /// Index at which the node is expected.
        node: usize,
    },
    /// A node's hash differs from the reference in its parent, or from the root.
    #[error("node {node} has the hash {computed} instead of {expected}")]
    FalseNode {
        /// Index of the node.
        node: usize,
        /// Hash that the parent (or the root) requires.
        expected: B256,
        /// Hash of the given node.
        computed: B256,
    },
    /// A node has the right hash, but its bytes are not a trie node.
    #[error("node {node} is malformed")]
    MalformedNode {
        /// Index of the node. For an embedded node: of the node that contains it.
        node: usize,
    },
    /// The path ends before this node.
    #[error("node {node} is not on the path")]
    SuperfluousNode {
        /// Index of the node.
        node: usize,
    },
}

/// Returns the value at `key` in the trie with this root, or `None` if the proof shows that the key
/// is absent.
///
/// `key` is the key in the trie: in state tries, the hash of an address or slot.
///
/// # Errors
/// The false node.
pub fn prove<'p, N: AsRef<[u8]>>(
    root: B256,
    key: &[u8],
    nodes: &'p [N],
) -> Result<Option<&'p [u8]>, TrieError> {
    if nodes.len() > MAX_NODES {
        return Err(TrieError::TooManyNodes(nodes.len()));
    }
    let mut walk = Walk { nodes, next: 0, key, depth: 0 };
    let value = walk.value(root)?;
    match walk.nodes.len() {
        count if count == walk.next => Ok(value),
        _ => Err(TrieError::SuperfluousNode { node: walk.next }),
    }
}

/// What follows a node on the path.
enum Step<'p> {
    /// The path ends with this value, or with an absent key.
    End(Option<&'p [u8]>),
    /// The path continues in the node with this hash.
    Hash(B256),
    /// The path continues in this embedded node.
    Embedded(&'p [u8]),
}

struct Walk<'p, 'k, N> {
    nodes: &'p [N],
    /// Index of the next node.
    next: usize,
    key: &'k [u8],
    /// Number of nibbles of the key above the current node.
    depth: usize,
}

impl<'p, N: AsRef<[u8]>> Walk<'p, '_, N> {
    fn value(&mut self, root: B256) -> Result<Option<&'p [u8]>, TrieError> {
        if root == EMPTY_ROOT {
            // Servers prove that a trie is empty by no node, or by the encoding of an empty trie.
            if self.peek() == Some(&[EMPTY]) {
                self.next += 1;
            }
            return Ok(None);
        }
        let mut expected = root;
        loop {
            let mut node = self.hashed(expected)?;
            expected = loop {
                let malformed = TrieError::MalformedNode { node: self.next - 1 };
                match self.step(node).ok_or(malformed)? {
                    Step::End(value) => return Ok(value),
                    Step::Hash(hash) => break hash,
                    Step::Embedded(child) => node = child,
                }
                if self.peek() == Some(node) {
                    self.next += 1;
                }
            }
        }
    }

    fn peek(&self) -> Option<&'p [u8]> {
        self.nodes.get(self.next).map(AsRef::as_ref)
    }

    /// Takes the next node, which must have this hash.
    fn hashed(&mut self, expected: B256) -> Result<&'p [u8], TrieError> {
        let node = self.next;
        let bytes = self.peek().ok_or(TrieError::MissingNode { node })?;
        if bytes.len() > MAX_NODE_SIZE {
            return Err(TrieError::NodeTooLarge { node, size: bytes.len() });
        }
        let computed = keccak256(bytes);
        if computed != expected {
            return Err(TrieError::FalseNode { node, expected, computed });
        }
        self.next += 1;
        Ok(bytes)
    }

    /// Reads a node, and takes its nibbles from the key. Returns `None` if the node is malformed.
    fn step(&mut self, node: &'p [u8]) -> Option<Step<'p>> {
        let mut items = [&[][..]; 17];
        match read_list(node, &mut items)? {
            17 => self.branch(&items),
            2 => self.short(items[0], items[1]),
            _ => None,
        }
    }

    fn branch(&mut self, items: &[&'p [u8]; 17]) -> Option<Step<'p>> {
        let Some(nibble) = self.nibble(self.depth) else {
            let value = read_string(items[16])?;
            return Some(Step::End((!value.is_empty()).then_some(value)));
        };
        self.depth += 1;
        let child = items[usize::from(nibble)];
        if child == [EMPTY] { Some(Step::End(None)) } else { reference(child) }
    }

    /// Reads a leaf or an extension.
    fn short(&mut self, path: &'p [u8], rest: &'p [u8]) -> Option<Step<'p>> {
        let (first, pairs) = read_string(path)?.split_first()?;
        let (is_leaf, is_odd) = match first >> 4 {
            flag @ 0..=3 => (flag & 2 != 0, flag & 1 != 0),
            _ => return None,
        };
        if !is_odd && first & 0xf != 0 {
            return None;
        }
        let odd = is_odd.then_some(first & 0xf);
        let nibbles = odd.into_iter().chain(pairs.iter().flat_map(|pair| [pair >> 4, pair & 0xf]));
        let mut at = self.depth;
        let is_on_path = nibbles.fold(true, |same, nibble| {
            at += 1;
            same && self.nibble(at - 1) == Some(nibble)
        });
        if is_leaf {
            let value = read_string(rest)?;
            let is_found = is_on_path && at == 2 * self.key.len();
            return (!value.is_empty()).then_some(Step::End(is_found.then_some(value)));
        }
        if at == self.depth || rest == [EMPTY] {
            return None;
        }
        self.depth = at;
        let child = reference(rest)?;
        Some(if is_on_path { child } else { Step::End(None) })
    }

    fn nibble(&self, at: usize) -> Option<u8> {
        let byte = self.key.get(at / 2)?;
        Some(if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf })
    }
}

/// Reads a reference to a child: its hash, or the embedded node.
fn reference(item: &[u8]) -> Option<Step<'_>> {
    if item.first()? >= &0xc0 {
        return (item.len() < 32).then_some(Step::Embedded(item));
    }
    B256::try_from(read_string(item)?).ok().map(Step::Hash)
}

/// Splits a list into its encoded items. Returns their number, or `None` if the bytes are not
/// exactly a list of at most 17 items.
fn read_list<'p>(mut bytes: &'p [u8], items: &mut [&'p [u8]; 17]) -> Option<usize> {
    let mut rest = Header::decode_bytes(&mut bytes, true).ok()?;
    let mut count = 0;
    while !rest.is_empty() {
        let item = items.get_mut(count)?;
        let before = rest;
        let header = Header::decode(&mut rest).ok()?;
        rest = rest.get(header.payload_length..)?;
        *item = before.get(..before.len() - rest.len())?;
        count += 1;
    }
    bytes.is_empty().then_some(count)
}

/// Returns the contents of an encoded string.
fn read_string(mut item: &[u8]) -> Option<&[u8]> {
    let contents = Header::decode_bytes(&mut item, false).ok()?;
    item.is_empty().then_some(contents)
}
