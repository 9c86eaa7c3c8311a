//! Root of the Merkle Patricia trie that maps `rlp(index)` to the item at that index. A block
//! header has such roots of its transactions and withdrawals.
//!
//! The keys of such a trie are known in advance, so there are no insertions and no nodes to keep.
//! The trie is walked recursively over ranges of the sorted keys, and each leaf is hashed directly
//! from the item's bytes. The depth is at most eight nibbles (2^20 items), and a branch takes 532
//! bytes on the stack.
//!
//! If the processor can hash many messages at once, the leaves are hashed first: a first walk lists
//! groups of them, at most 16 groups are hashed at a time, and a second walk uses the results. The
//! leaves account for 99 of 100 bytes. Only the list and the results are allocated, 60 bytes for
//! each group.

use crate::keccak::{Lanes, Message};
use alloy_primitives::{B256, b256, keccak256};

/// Root of a trie without items: `keccak256(rlp(""))`.
pub const EMPTY_ROOT: B256 =
    b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Returns the root over `count` items. `item` returns an item's bytes by its index.
///
/// `count` must be below 2^24 (keys of at most four bytes); payloads hold at most 2^20
/// transactions.
pub fn ordered_root<'a>(count: usize, item: impl Fn(usize) -> &'a [u8]) -> B256 {
    debug_assert!(count < 1 << 24);
    if count == 0 {
        return EMPTY_ROOT;
    }
    ordered_root_by(Lanes::widest(), count, item)
}

fn ordered_root_by<'a>(lanes: Lanes, count: usize, item: impl Fn(usize) -> &'a [u8]) -> B256 {
    let trie = Trie { count, item };
    let ready = if lanes == Lanes::One { Vec::new() } else { trie.groups(lanes) };
    match trie.node(0, count, 0, &mut ready.iter().peekable()) {
        NodeRef::Hash(hash) => hash,
        NodeRef::Inline { bytes, length } => keccak256(&bytes[..usize::from(length)]),
    }
}

/// A parent's reference to a child: the hash, or the node itself if it is shorter than a hash.
#[derive(Clone, Copy)]
enum NodeRef {
    Hash(B256),
    Inline { bytes: [u8; 31], length: u8 },
}

/// A leaf without sibling leaves, or a branch with only leaves below it, over the sorted keys
/// `[start, end)`, which agree in their first `depth` nibbles.
#[derive(Clone, Copy)]
struct Group {
    start: u32,
    end: u32,
    depth: u32,
}

/// Maximum number of leaves in a group.
const GROUP: usize = 16;
/// Maximum number of groups hashed at a time.
const GROUPS: usize = 16;

/// The hashed groups, in the order of the second walk.
type Ready<'r> = std::iter::Peekable<std::slice::Iter<'r, (Group, NodeRef)>>;

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
    /// Returns the index whose key is at `position` among the sorted keys: 1 to 127 come first
    /// (`01`..`7f`), then 0 (`80`), then all from 128 on.
    fn index_at(&self, position: usize) -> usize {
        let single_bytes = (self.count - 1).min(0x7f);
        match position {
            _ if position < single_bytes => position + 1,
            _ if position == single_bytes => 0,
            _ => position,
        }
    }

    /// Returns the node over the sorted keys `[start, end)`, which agree in their first `depth`
    /// nibbles.
    fn node(&self, start: usize, end: usize, depth: usize, ready: &mut Ready<'_>) -> NodeRef {
        if let Some((_, node)) = ready.next_if(|(group, _)| group.is(start, end)) {
            return *node;
        }
        if end - start == 1 {
            let index = self.index_at(start);
            return Leaf::new(Key::of(index).from(depth), (self.item)(index)).refer();
        }
        let shared = self.shared(start, end, depth);
        let branch = self.branch(start, end, depth + shared, ready).refer();
        self.extend(start, depth, shared, branch)
    }

    /// Returns the node that leads to `branch`, which lies `shared` nibbles below `depth`.
    fn extend(&self, start: usize, depth: usize, shared: usize, branch: NodeRef) -> NodeRef {
        if shared == 0 {
            return branch;
        }
        extension(&Key::of(self.index_at(start)).from(depth)[..shared], &branch)
    }

    /// Returns the number of nibbles, after the first `depth`, that the keys share.
    fn shared(&self, start: usize, end: usize, depth: usize) -> usize {
        let (first, last) = (Key::of(self.index_at(start)), Key::of(self.index_at(end - 1)));
        first.from(depth).iter().zip(last.from(depth)).take_while(|(a, b)| a == b).count()
    }

    /// Calls `child` with the range of each child of the branch at `depth`. A range may be empty.
    fn children(
        &self,
        start: usize,
        end: usize,
        depth: usize,
        mut child: impl FnMut(usize, usize),
    ) {
        let mut from = start;
        for nibble in 0..16 {
            let to = from
                + partition_point(end - from, |at| {
                    Key::of(self.index_at(from + at)).nibbles[depth] <= nibble
                });
            child(from, to);
            from = to;
        }
    }

    fn branch(&self, start: usize, end: usize, depth: usize, ready: &mut Ready<'_>) -> Branch {
        let mut branch = Branch::new();
        self.children(start, end, depth, |from, to| {
            branch.push((from < to).then(|| self.node(from, to, depth + 1, ready)).as_ref());
        });
        branch
    }

    /// Hashes all groups, as many at once as `lanes` allows.
    fn groups(&self, lanes: Lanes) -> Vec<(Group, NodeRef)> {
        let mut groups = Vec::with_capacity(self.count / GROUP + 4);
        self.list(0, self.count, 0, &mut groups);
        let mut ready = Vec::with_capacity(groups.len());
        for few in groups.chunks(GROUPS) {
            self.hash(few, lanes, &mut ready);
        }
        ready
    }

    /// Lists the groups below the node, in the order of the walk.
    fn list(&self, start: usize, end: usize, depth: usize, groups: &mut Vec<Group>) {
        let group = Group::new(start, end, depth);
        if end - start == 1 {
            return groups.push(group);
        }
        let branch = depth + self.shared(start, end, depth);
        let nibble = |position| Key::of(self.index_at(position)).nibbles[branch];
        if end - start <= GROUP && (start..end).is_sorted_by(|a, b| nibble(*a) < nibble(*b)) {
            return groups.push(group);
        }
        self.children(start, end, branch, |from, to| {
            if from < to {
                self.list(from, to, branch + 1, groups);
            }
        });
    }

    /// Hashes at most [`GROUPS`] groups: first their leaves, then their branches.
    fn hash(&self, groups: &[Group], lanes: Lanes, ready: &mut Vec<(Group, NodeRef)>) {
        let mut leaves = [Leaf::default(); GROUPS * GROUP];
        let mut nibbles = [0; GROUPS * GROUP];
        let mut count = 0;
        for group in groups {
            let depth = self.leaf_depth(*group);
            for position in group.range() {
                let index = self.index_at(position);
                let key = Key::of(index);
                leaves[count] = Leaf::new(key.from(depth), (self.item)(index));
                nibbles[count] = key.nibbles[depth.saturating_sub(1)];
                count += 1;
            }
        }
        let mut nodes = [NodeRef::EMPTY; GROUPS * GROUP];
        refer_all(lanes, leaves[..count].iter().map(Leaf::message), &mut nodes);

        let mut branches = [const { Branch::new() }; GROUPS];
        let mut taken = 0;
        for (group, branch) in groups.iter().zip(&mut branches) {
            let here = taken..taken + group.range().len();
            taken = here.end;
            if here.len() == 1 {
                continue;
            }
            let mut children = nibbles[here.clone()].iter().zip(&nodes[here]).peekable();
            for nibble in 0..16 {
                branch.push(children.next_if(|(at, _)| **at == nibble).map(|(_, node)| node));
            }
            branch.finish();
        }
        let mut branch_nodes = [NodeRef::EMPTY; GROUPS];
        refer_all(lanes, branches[..groups.len()].iter().map(Branch::message), &mut branch_nodes);

        let mut taken = 0;
        for (group, branch) in groups.iter().zip(branch_nodes) {
            let (depth, shared) = (group.depth as usize, self.leaf_depth(*group));
            let node = match shared.checked_sub(depth + 1) {
                None => nodes[taken],
                Some(shared) => self.extend(group.start as usize, depth, shared, branch),
            };
            taken += group.range().len();
            ready.push((*group, node));
        }
    }

    /// Returns the number of nibbles above the group's leaves.
    fn leaf_depth(&self, group: Group) -> usize {
        let (start, end, depth) = (group.start as usize, group.end as usize, group.depth as usize);
        if end - start == 1 { depth } else { depth + self.shared(start, end, depth) + 1 }
    }
}

impl Group {
    const fn new(start: usize, end: usize, depth: usize) -> Self {
        Self { start: start as u32, end: end as u32, depth: depth as u32 }
    }

    const fn is(self, start: usize, end: usize) -> bool {
        self.start as usize == start && self.end as usize == end
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Returns the number of leading positions for which `holds` is true. `holds` must be true for
/// exactly a prefix of the positions.
///
/// The step is doubled before it is halved: most children of a branch are short, so a child's end
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

/// A leaf: the encoding before the item, and the item.
#[derive(Clone, Copy, Default)]
struct Leaf<'a> {
    head: Buffer<24>,
    item: &'a [u8],
}

impl<'a> Leaf<'a> {
    fn new(path: &[u8], item: &'a [u8]) -> Self {
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
        Self { head, item }
    }

    fn message(&self) -> Message<'_> {
        Message { head: self.head.filled(), rest: self.item }
    }

    fn refer(&self) -> NodeRef {
        refer(&self.message())
    }
}

/// A branch: its list header and its content.
struct Branch {
    head: Buffer<9>,
    content: Buffer<532>,
}

impl Branch {
    const fn new() -> Self {
        Self { head: Buffer::new(), content: Buffer::new() }
    }

    fn push(&mut self, child: Option<&NodeRef>) {
        match child {
            Some(node) => self.content.push_ref(node),
            None => self.content.push(&[0x80]),
        }
    }

    fn finish(&mut self) {
        // No key is a prefix of another, so a branch never holds a value.
        self.content.push(&[0x80]);
        push_header(&mut self.head, 0xc0, self.content.length);
    }

    fn message(&self) -> Message<'_> {
        Message { head: self.head.filled(), rest: self.content.filled() }
    }

    fn refer(mut self) -> NodeRef {
        self.finish();
        refer(&self.message())
    }
}

fn extension(path: &[u8], child: &NodeRef) -> NodeRef {
    let mut content = Buffer::<40>::new();
    push_path(&mut content, path, false);
    content.push_ref(child);
    let mut head = Buffer::<9>::new();
    push_header(&mut head, 0xc0, content.length);
    refer(&Message { head: head.filled(), rest: content.filled() })
}

/// Returns the reference to a node with this encoding.
fn refer(node: &Message<'_>) -> NodeRef {
    NodeRef::inline(node).unwrap_or_else(|| NodeRef::Hash(node.hash()))
}

/// Stores the reference to each node in `refs`, which must have room for all of them.
fn refer_all<'m, const N: usize>(
    lanes: Lanes,
    nodes: impl Iterator<Item = Message<'m>>,
    refs: &mut [NodeRef; N],
) {
    let mut messages = [Message::default(); N];
    let mut places = [0_u16; N];
    let mut count = 0;
    for (place, node) in nodes.enumerate() {
        match NodeRef::inline(&node) {
            Some(inline) => refs[place] = inline,
            None => {
                messages[count] = node;
                places[count] = place as u16;
                count += 1;
            }
        }
    }
    let mut hashes = [B256::ZERO; N];
    lanes.hash_all(&messages[..count], &mut hashes);
    for (place, hash) in places[..count].iter().zip(hashes) {
        refs[usize::from(*place)] = NodeRef::Hash(hash);
    }
}

impl NodeRef {
    const EMPTY: Self = Self::Inline { bytes: [0; 31], length: 0 };

    /// Returns the node itself if it is shorter than a hash, and `None` otherwise.
    fn inline(node: &Message<'_>) -> Option<Self> {
        if node.head.len() + node.rest.len() >= 32 {
            return None;
        }
        let mut inline = Buffer::<31>::new();
        inline.push(node.head);
        inline.push(node.rest);
        Some(Self::Inline { bytes: inline.bytes, length: inline.length as u8 })
    }
}

/// Appends the hex-prefix encoding of `path` as an RLP string (yellow paper, appendix C).
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

/// Appends the RLP header of a string (`base` 0x80) or list (`base` 0xc0) with `length` bytes of
/// content.
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

/// A byte buffer on the stack. Each use above has the maximum size that its callers need.
#[derive(Clone, Copy)]
struct Buffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Self::new()
    }
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

    /// Returns the root, after checking it with every kind of lanes on this processor.
    fn root_of(items: &[Vec<u8>]) -> B256 {
        let root = ordered_root(items.len(), |index| &items[index]);
        for lanes in Lanes::all() {
            if !items.is_empty() {
                assert_eq!(
                    ordered_root_by(lanes, items.len(), |index| &items[index]),
                    root,
                    "{lanes:?}"
                );
            }
        }
        root
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
        let items: Vec<Vec<u8>> =
            (0..700_usize).map(|index| vec![index as u8; 1 + index * 7 % 90]).collect();
        for count in 0..=items.len() {
            assert_eq!(root_of(&items[..count]), root_by_library(&items[..count]), "{count} items");
        }
    }

    #[test]
    fn counts_around_the_key_lengths_agree_with_the_library() {
        for count in [65_535, 65_536, 65_537, 65_792, 65_793] {
            let items: Vec<Vec<u8>> =
                (0..count).map(|index: u32| index.to_le_bytes().to_vec()).collect();
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
        fn large_items_agree_with_the_library(
            sizes in prop::collection::vec(0_usize..70_000, 1..5)
        ) {
            let items: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0x5a; *size]).collect();
            prop_assert_eq!(root_of(&items), root_by_library(&items));
        }
    }
}
