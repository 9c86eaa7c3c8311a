//! Files of blocks, and the check of a whole store.

use std::io::Cursor;
use std::path::Path;

use alloy_primitives::B256;
use opp2p_core::chain::BlockId;
use opp2p_core::payload::{Block, Envelope, ExecutionPayload};
use opp2p_core::sync::range::{ChunkError, StreamError};
use opp2p_store::transfer::{ExportError, HEADER_SIZE, ImportError, Imported};
use opp2p_store::{Store, StoreConfig, StoredBlock};

use crate::support::{config, extend, open};

/// Linked real blocks 0 to `last`, lowest first.
pub(crate) fn chain(last: u64, salt: u8) -> Vec<Block> {
    let mut made: Vec<Block> = Vec::new();
    for number in 0..=last {
        let mut payload = ExecutionPayload {
            parent_hash: made.last().map_or(B256::ZERO, Block::hash),
            block_number: number,
            timestamp: 9000 + 2 * number,
            extra_data: vec![salt].into(),
            transactions: vec![vec![number as u8; 900].into()],
            withdrawals: Some(Vec::new()),
            ..ExecutionPayload::default()
        };
        payload.seal(None).expect("complete");
        let mut body = Vec::new();
        let envelope = Envelope { parent_beacon_block_root: None, payload };
        let version = envelope.encode(&mut body).expect("complete");
        made.push(Block::decode(version, None, body.into()).expect("ours"));
    }
    made
}

pub(crate) fn stored(block: &Block) -> StoredBlock {
    // A signature, which an import must not lose.
    let mut message = vec![7; 65];
    message.extend_from_slice(block.body());
    StoredBlock {
        number: block.number(),
        hash: block.hash(),
        parent_hash: block.parent_hash(),
        timestamp: block.timestamp(),
        received_unix_ms: 5,
        version: block.version().number(),
        message,
    }
}

pub(crate) fn with(path: &Path, blocks: &[Block]) -> Store {
    let store = open(path);
    store.commit(&extend(blocks.iter().map(stored))).expect("commits");
    store
}

fn file(path: &Path, blocks: &[Block]) -> Vec<u8> {
    let mut out = Vec::new();
    with(path, blocks).export(0, None, &mut out).expect("exports");
    out
}

fn import(store: &Store, file: &[u8]) -> (Result<(), ImportError>, Imported) {
    let mut progress = Imported::default();
    (store.import(&mut Cursor::new(file), None, &mut progress), progress)
}

/// Returns the canonical hashes of a store, lowest first.
pub(crate) fn hashes(store: &Store) -> Vec<B256> {
    let mut ids = store.canonical_ids(u64::MAX, 10_000).expect("reads");
    ids.retain(|id| store.canonical_by_number(id.number).expect("reads").is_some());
    ids.reverse();
    ids.into_iter().map(|id| id.hash).collect()
}

pub(crate) fn hashes_of(blocks: &[Block]) -> Vec<B256> {
    blocks.iter().map(Block::hash).collect()
}

#[test]
fn a_chain_moves_from_store_to_store_and_is_whole() {
    let place = tempfile::tempdir().expect("a directory");
    let blocks = chain(700, 0);
    let from = with(&place.path().join("from"), &blocks[100..]);
    let mut out = Vec::new();
    let done = from.export(200, None, &mut out).expect("exports");
    assert_eq!((done.blocks, done.lowest, done.is_cut), (501, 200, false));
    assert_eq!((done.highest, done.bytes), (BlockId::of(&blocks[700]), out.len() as u64));

    let to = open(&place.path().join("to"));
    let (result, progress) = import(&to, &out);
    result.expect("imports");
    assert_eq!((progress.new, progress.known, progress.lowest), (501, 0, Some(200)));
    assert!(!progress.is_linked, "nothing proves the highest block");
    assert_eq!(hashes(&to), hashes_of(&blocks[200..]));
    let verified = to.verify().expect("reads");
    assert_eq!((verified.blocks, verified.canonical, verified.defects), (501, 501, 0));
    let info = to.info().expect("reads");
    assert_eq!((info.blocks, info.canonical, info.pending), (501, 501, 0));
    assert_eq!(info.lowest.map(|id| id.number), Some(200));
    assert_eq!(info.highest, Some(BlockId::of(&blocks[700])));
    assert!(info.block_bytes > 0);

    // Once more, nothing changes.
    let (result, progress) = import(&to, &out);
    result.expect("imports");
    assert_eq!((progress.new, progress.known, progress.is_linked), (0, 501, true));
}

#[test]
fn an_import_fills_in_around_what_is_stored_and_keeps_signatures() {
    let place = tempfile::tempdir().expect("a directory");
    let blocks = chain(300, 0);
    let out = file(&place.path().join("from"), &blocks[..=250]);
    let store = with(&place.path().join("to"), &[&blocks[100..=110], &blocks[251..]].concat());
    let before = store.canonical_by_number(105).expect("reads");
    let (result, progress) = import(&store, &out);
    result.expect("imports");
    assert_eq!((progress.new, progress.known), (240, 11));
    assert!(progress.is_linked, "block 251 names block 250");
    assert_eq!(hashes(&store), hashes_of(&blocks));
    assert_eq!(store.canonical_by_number(105).expect("reads"), before);
}

#[test]
fn a_file_of_another_branch_changes_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let (blocks, branch) = (chain(120, 0), chain(120, 1));
    let out = file(&place.path().join("from"), &branch[..=100]);
    // What is stored lies at the same numbers, above, below, or in the middle of the file's.
    let cases = [&blocks[..], &blocks[101..], &blocks[50..60], &blocks[..=0]];
    for (at, stored) in cases.into_iter().enumerate() {
        let store = with(&place.path().join(at.to_string()), stored);
        let (result, _) = import(&store, &out);
        assert!(matches!(result, Err(ImportError::OtherBranch { .. })), "{at}: {result:?}");
        let kept: Vec<_> = hashes_of(stored);
        assert!(kept.iter().all(|hash| hashes(&store).contains(hash)), "{at}");
    }
}

#[test]
fn a_damaged_file_is_refused_at_any_byte_and_keeps_only_true_blocks() {
    let place = tempfile::tempdir().expect("a directory");
    let blocks = chain(40, 0);
    let good = file(&place.path().join("from"), &blocks);
    let store = open(&place.path().join("to"));
    let (mut refused, mut tried) = (0, 0);
    for at in (0..good.len()).step_by(7).chain(HEADER_SIZE..HEADER_SIZE + 20) {
        let mut bad = good.clone();
        bad[at] ^= 0x11;
        let (result, progress) = import(&store, &bad);
        // The value of the end is of no consequence, and other compressed bytes may give the same.
        assert!(result.is_err() || progress.lowest == Some(0), "byte {at}");
        refused += usize::from(result.is_err());
        tried += 1;
    }
    assert!(refused > tried / 2, "{refused} of {tried}");
    for end in (0..good.len()).step_by(11) {
        let (result, _) = import(&store, &good[..end]);
        assert!(result.is_err(), "cut at {end}");
    }
    let all = hashes_of(&blocks);
    assert!(hashes(&store).iter().all(|hash| all.contains(hash)));
    assert_eq!(store.verify().expect("reads").defects, 0);
}

#[test]
fn each_unusable_file_has_its_reason() {
    let place = tempfile::tempdir().expect("a directory");
    let blocks = chain(40, 0);
    let good = file(&place.path().join("from"), &blocks);
    let store = open(&place.path().join("to"));
    let reason = |bytes: &[u8]| import(&store, bytes).0.expect_err("refused").to_string();
    assert!(reason(b"").contains("not a file of blocks"));
    assert!(reason(b"PK and so on, for many bytes").contains("not a file of blocks"));
    let mut later = good.clone();
    later[8] = 2;
    assert!(reason(&later).contains("version 2"), "{}", reason(&later));
    assert!(reason(&[&good[..], &[0]].concat()).contains("follow the end"));
    assert!(reason(&good[..HEADER_SIZE]).contains("no end"));
    let mut progress = Imported::default();
    let other = Some(B256::repeat_byte(1));
    let result = store.import(&mut Cursor::new(&good), other, &mut progress);
    assert!(matches!(result, Err(ImportError::OtherHead { .. })));
    let fresh = |name: &str, change: &dyn Fn(&mut StoreConfig)| {
        let mut config = config(&place.path().join(name));
        change(&mut config);
        import(&Store::open(config).expect("opens"), &good).0.expect_err("refused")
    };
    let chain = fresh("chain", &|config| config.chain_id = 5);
    assert!(matches!(chain, ImportError::OtherChain { found: 901, expected: 5 }));
    let genesis = fresh("genesis", &|config| config.genesis_hash = B256::ZERO);
    assert!(matches!(genesis, ImportError::OtherGenesis { .. }));

    // A header that names another highest block, and a file that breaks off.
    let mut head = good.clone();
    head[60] ^= 1;
    let (result, progress) = import(&store, &head);
    let fault = result.expect_err("refused");
    assert!(matches!(fault, ImportError::Block { above: 41, error: ChunkError::Link(40) }));
    assert_eq!(progress.lowest, None);
    let (result, progress) = import(&store, &good[..good.len() - 14]);
    let fault = result.expect_err("refused");
    let cut = StreamError::Truncated;
    assert!(matches!(&fault, ImportError::Layout { above: 0, error } if *error == cut), "{fault}");
    assert_eq!(progress.lowest, Some(0), "the blocks before are right");
}

#[test]
fn exports_name_what_is_missing() {
    let place = tempfile::tempdir().expect("a directory");
    let blocks = chain(30, 0);
    let store = open(&place.path().join("store"));
    let mut out = Vec::new();
    assert!(matches!(store.export(0, None, &mut out), Err(ExportError::Empty)));
    store.commit(&extend(blocks[20..].iter().map(stored))).expect("commits");
    store.commit(&extend(blocks[5..10].iter().map(stored))).expect("commits");
    let missing = store.export(0, Some(31), &mut out);
    assert!(matches!(missing, Err(ExportError::Missing { number: 31, highest: 30 })));
    let missing = store.export(0, Some(19), &mut out);
    assert!(matches!(missing, Err(ExportError::Missing { number: 19, .. })), "{missing:?}");
    let order = store.export(9, Some(7), &mut out);
    assert!(matches!(order, Err(ExportError::Order { lowest: 9, highest: 7 })));
    assert!(out.is_empty(), "nothing was written");
    let done = store.export(0, None, &mut out).expect("exports");
    assert_eq!((done.blocks, done.lowest, done.is_cut), (11, 20, true));
    let done = store.export(25, None, &mut out).expect("exports");
    assert_eq!((done.blocks, done.lowest, done.is_cut), (6, 25, false));
    assert_eq!(store.verify().expect("reads").holes, 1);
}

#[test]
fn a_check_names_blocks_whose_contents_are_not_theirs() {
    let place = tempfile::tempdir().expect("a directory");
    let (blocks, other) = (chain(30, 0), chain(30, 1));
    let store = with(&place.path().join("store"), &blocks[..20]);
    // Records that are intact, with the contents of other blocks.
    let swapped = StoredBlock { message: stored(&other[20]).message, ..stored(&blocks[20]) };
    let short = StoredBlock { message: vec![1; 10], ..stored(&blocks[21]) };
    store.commit(&extend([swapped, short])).expect("commits");
    let verified = store.verify().expect("reads");
    assert_eq!((verified.blocks, verified.defects, verified.holes), (22, 2, 0));
    let numbers: Vec<_> = verified.first_defects.iter().map(|defect| defect.number).collect();
    assert_eq!(numbers, [20, 21]);
}
