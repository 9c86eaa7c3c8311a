//! Root of the Merkle Patricia trie that maps `rlp(index)` to the item at that index: what a block
//! header holds of its transactions and withdrawals.
//!
//! The keys of such a trie are known before the items are: there is nothing to insert and no node
//! to keep. The trie is walked as a recursion over ranges of the sorted keys, and each leaf is
//! hashed straight from the item's bytes. Depth is at most eight nibbles (2^20 items), a branch is
//! 532 bytes on the stack, and nothing is allocated.

use alloy_primitives::{B256, Keccak256, b256, keccak256};

/// Root of a trie without items: `keccak256(rlp(""))`.
pub const EMPTY_ROOT: B256 = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Root over `count` items; `item` answers each item's bytes by its index.
///
/// `count` is below 2^24 (keys of at most four bytes); payloads hold at most 2^20 transactions.
pub fn ordered_root<'a>(count: usize, item: impl Fn(usize) -> &'a [u8]) -> B256 {
    debug_assert!(count < 1 << 24);
    if count == 0 {
        return EMPTY_ROOT;
    }
    match (Trie { count, item }).node(0, count, 0) {
        NodeRef::Hash(hash) => hash,
        NodeRef::Inline { bytes, length } => keccak256(&bytes[..usize::from(length)]),
    }
}

/// How a parent refers to a child: by hash, or by the node itself where it is shorter than one.
enum NodeRef {
    Hash(B256),
    Inline { bytes: [u8; 31], length: u8 },
}

/// The nibbles of one key, `rlp(index)`, most significant first.
struct Key {
    nibbles: [u8; 8],
    length: usize,
}

impl Key {
    fn of(index: usize) -> Self {
        let mut bytes = [0_u8; 4];
        let length = match index {
            0 => {
                bytes[0] = 0x80;
                1
            }
            1..=0x7f => {
                bytes[0] = index as u8;
                1
            }
            _ => {
                let significant = (usize::BITS - index.leading_zeros()).div_ceil(8) as usize;
                bytes[0] = 0x80 + significant as u8;
                let big_endian = (index as u32).to_be_bytes();
                bytes[1..=significant].copy_from_slice(&big_endian[4 - significant..]);
                1 + significant
            }
        };
        let mut nibbles = [0; 8];
        for (at, byte) in bytes[..length].iter().enumerate() {
            nibbles[2 * at] = byte >> 4;
            nibbles[2 * at + 1] = byte & 0xf;
        }
        Self { nibbles, length: 2 * length }
    }

    fn from(&self, depth: usize) -> &[u8] {
        &self.nibbles[depth..self.length]
    }
}

struct Trie<F> {
    count: usize,
    item: F,
}

impl<'a, F: Fn(usize) -> &'a [u8]> Trie<F> {
    /// The index whose key stands at `position` among the sorted keys: 1 to 127 come first
    /// (`01`..`7f`), then 0 (`80`), then all from 128 on.
    fn index_at(&self, position: usize) -> usize {
        let single_bytes = (self.count - 1).min(0x7f);
        match position {
            _ if position < single_bytes => position + 1,
            _ if position == single_bytes => 0,
            _ => position,
        }
    }

    /// The node over the sorted keys `[start, end)`, which agree in their first `depth` nibbles.
    fn node(&self, start: usize, end: usize, depth: usize) -> NodeRef {
        let first = Key::of(self.index_at(start));
        if end - start == 1 {
            return leaf(first.from(depth), (self.item)(self.index_at(start)));
        }
        let last = Key::of(self.index_at(end - 1));
        let shared = first.from(depth).iter().zip(last.from(depth)).take_while(|(a, b)| a == b).count();
        let branch = self.branch(start, end, depth + shared);
        if shared == 0 { branch } else { extension(&first.from(depth)[..shared], &branch) }
    }

    fn branch(&self, start: usize, end: usize, depth: usize) -> NodeRef {
        let mut node = Buffer::<532>::new();
        let mut from = start;
        for nibble in 0..16 {
            let to = from
                + partition_point(end - from, |at| {
                    Key::of(self.index_at(from + at)).nibbles[depth] <= nibble
                });
            if from == to {
                node.push(&[0x80]);
            } else {
                node.push_ref(&self.node(from, to, depth + 1));
            }
            from = to;
        }
        // No key is another's prefix, so a branch never holds a value.
        node.push(&[0x80]);
        finish(node.filled())
    }
}

/// Number of leading positions for which `holds`; it holds for a prefix of them.
///
/// Doubles its steps before it halves them: most children of a branch are short, so the end of one
/// is near its start.
fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (0, 1);
    while low + step <= count && holds(low + step - 1) {
        low += step;
        step *= 2;
    }
    let mut high = count.min(low + step - 1);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

fn leaf(path: &[u8], item: &[u8]) -> NodeRef {
    let mut path_bytes = Buffer::<6>::new();
    push_path(&mut path_bytes, path, true);
    let mut item_header = Buffer::<9>::new();
    match item {
        [single] if *single < 0x80 => {}
        _ => push_header(&mut item_header, 0x80, item.len()),
    }
    let content = path_bytes.length + item_header.length + item.len();
    let mut head = Buffer::<24>::new();
    push_header(&mut head, 0xc0, content);
    head.push(path_bytes.filled());
    head.push(item_header.filled());
    if head.length + item.len() < 32 {
        let mut node = Buffer::<31>::new();
        node.push(head.filled());
        node.push(item);
        return NodeRef::Inline { bytes: node.bytes, length: node.length as u8 };
    }
    let mut hasher = Keccak256::new();
    hasher.update(head.filled());
    hasher.update(item);
    NodeRef::Hash(hasher.finalize())
}

fn extension(path: &[u8], child: &NodeRef) -> NodeRef {
    let mut content = Buffer::<40>::new();
    push_path(&mut content, path, false);
    content.push_ref(child);
    finish(content.filled())
}

/// Wraps a node's content in its list header, and refers to it.
fn finish(content: &[u8]) -> NodeRef {
    let mut head = Buffer::<9>::new();
    push_header(&mut head, 0xc0, content.len());
    if head.length + content.len() < 32 {
        let mut node = Buffer::<31>::new();
        node.push(head.filled());
        node.push(content);
        return NodeRef::Inline { bytes: node.bytes, length: node.length as u8 };
    }
    let mut hasher = Keccak256::new();
    hasher.update(head.filled());
    hasher.update(content);
    NodeRef::Hash(hasher.finalize())
}

/// Hex-prefix encoding of `path` as an RLP string (yellow paper, appendix C).
fn push_path<const N: usize>(out: &mut Buffer<N>, path: &[u8], is_leaf: bool) {
    let flag = if is_leaf { 0x20 } else { 0 };
    let odd = path.len() % 2 == 1;
    let encoded = 1 + path.len() / 2;
    if encoded > 1 {
        out.push(&[0x80 + encoded as u8]);
    }
    let rest = if odd {
        out.push(&[flag | 0x10 | path[0]]);
        &path[1..]
    } else {
        out.push(&[flag]);
        path
    };
    for pair in rest.chunks_exact(2) {
        out.push(&[pair[0] << 4 | pair[1]]);
    }
}

/// RLP header of a string (`base` 0x80) or list (`base` 0xc0) with `length` bytes of content.
fn push_header<const N: usize>(out: &mut Buffer<N>, base: u8, length: usize) {
    if length < 56 {
        out.push(&[base + length as u8]);
        return;
    }
    let big_endian = (length as u64).to_be_bytes();
    let skip = big_endian.iter().take_while(|byte| **byte == 0).count();
    out.push(&[base + 55 + (8 - skip) as u8]);
    out.push(&big_endian[skip..]);
}

/// Bytes on the stack. The sizes above are the largest that the callers can need.
struct Buffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Buffer<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn push_ref(&mut self, node: &NodeRef) {
        match node {
            NodeRef::Hash(hash) => {
                self.push(&[0xa0]);
                self.push(hash.as_slice());
            }
            NodeRef::Inline { bytes, length } => self.push(&bytes[..usize::from(*length)]),
        }
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root_of(items: &[Vec<u8>]) -> B256 {
        ordered_root(items.len(), |index| &items[index])
    }

    fn root_by_library(items: &[Vec<u8>]) -> B256 {
        alloy_trie::root::ordered_trie_root_with_encoder(items, |item, out| {
            out.extend_from_slice(item);
        })
    }

    #[test]
    fn no_items_have_the_empty_root() {
        assert_eq!(root_of(&[]), EMPTY_ROOT);
    }

    #[test]
    fn every_count_up_to_700_agrees_with_the_library() {
        let items: Vec<Vec<u8>> = (0..700_usize).map(|index| vec![index as u8; 1 + index * 7 % 90]).collect();
        for count in 0..=items.len() {
            assert_eq!(root_of(&items[..count]), root_by_library(&items[..count]), "{count} items");
        }
    }

    #[test]
    fn counts_around_the_key_lengths_agree_with_the_library() {
        for count in [65_535, 65_536, 65_537, 65_792, 65_793] {
            let items: Vec<Vec<u8>> = (0..count).map(|index: u32| index.to_le_bytes().to_vec()).collect();
            assert_eq!(root_of(&items), root_by_library(&items), "{count} items");
        }
    }

    proptest! {
        #[test]
        fn any_items_agree_with_the_library(items in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(any::<u8>(), 40..400),
                (0_u8..=255).prop_map(|byte| vec![byte]),
            ],
            0..300,
        )) {
            prop_assert_eq!(root_of(&items), root_by_library(&items));
        }

        #[test]
        fn large_items_agree_with_the_library(sizes in prop::collection::vec(0_usize..70_000, 1..5)) {
            let items: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0x5a; *size]).collect();
            prop_assert_eq!(root_of(&items), root_by_library(&items));
        }
    }
}
