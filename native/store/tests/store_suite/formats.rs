//! Files of every schema so far, which each later version must open.
//!
//! `tests/fixtures/schema-N.redb.sz` is a store of schema N, compressed in snappy's framing format.
//! A change of the schema adds a file and keeps the others. Before the change, this writes the file
//! of the present schema:
//!
//! ```text
//! OPP2P_WRITE_SCHEMA=1 cargo test --workspace --test store_suite formats
//! ```

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use opp2p_store::{Batch, Store};
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;

use crate::support::{block, extend, forked, hash, open};

/// Variable that has the file of the present schema written.
const WRITE: &str = "OPP2P_WRITE_SCHEMA";
/// The schemas with a file.
const SCHEMAS: [u32; 1] = [1];

fn file(schema: u32) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures");
    fixtures.join(format!("schema-{schema}.redb.sz"))
}

/// Fills every table: a chain, a branch that was left, a block that waits, and memory.
fn fill(path: &Path) {
    let store = open(path);
    store.commit(&extend((1..=9).map(|number| block(number, 0)))).expect("commits");
    let branch = [forked(8, 1, 0, 300), forked(9, 1, 1, 300), forked(10, 1, 1, 300)];
    store.commit(&extend(branch)).expect("commits");
    store.commit(&Batch { pending: vec![block(20, 0)], ..Batch::default() }).expect("commits");
    let memory = vec![(b"peer".to_vec(), Some(b"known".to_vec()))];
    store.commit(&Batch { memory, ..Batch::default() }).expect("commits");
}

/// Asserts that the store has all of that.
fn check(store: &Store, what: &str) {
    let at = |number: u64| store.canonical_by_number(number).expect("reads");
    assert_eq!(store.head().expect("reads"), Some(forked(10, 1, 1, 300).id()), "{what}");
    assert_eq!(store.lowest().expect("reads"), Some(block(1, 0)), "{what}");
    assert_eq!((at(7), at(8)), (Some(block(7, 0)), Some(forked(8, 1, 0, 300))), "{what}");
    let left = store.block_by_hash(hash(9, 0)).expect("reads");
    assert_eq!(left, Some(block(9, 0)), "{what}: the branch that was left");
    let pending = store.pending().expect("reads");
    assert!(pending.iter().map(|pending| pending.hash).eq([hash(20, 0)]), "{what}: {pending:?}");
    let memory = store.memory().expect("reads");
    assert_eq!(memory, [(b"peer".to_vec(), b"known".to_vec())], "{what}");
    assert_eq!(store.len().expect("reads"), 13, "{what}");
}

/// Writes the file of the present schema if the variable asks for it.
fn write_if_asked(path: &Path) {
    if std::env::var_os(WRITE).is_none() {
        return;
    }
    let [.., schema] = SCHEMAS;
    let file = file(schema);
    fs::create_dir_all(file.parent().expect("a folder")).expect("makes");
    let mut packed = FrameEncoder::new(Vec::new());
    packed.write_all(&fs::read(path).expect("reads")).expect("compresses");
    fs::write(file, packed.into_inner().expect("compresses")).expect("writes");
}

#[test]
fn a_store_of_this_version_has_all_that_the_files_have() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    fill(&path);
    write_if_asked(&path);
    check(&open(&path), "this version");
}

#[test]
fn stores_of_every_schema_open_and_grow() {
    for schema in SCHEMAS {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks.redb");
        let packed = fs::read(file(schema)).unwrap_or_else(|error| {
            panic!("{} can't be read ({error}): see this file's head", file(schema).display())
        });
        let mut bytes = Vec::new();
        FrameDecoder::new(packed.as_slice()).read_to_end(&mut bytes).expect("a snappy stream");
        fs::write(&path, bytes).expect("writes");
        let what = format!("schema {schema}");
        let store = open(&path);
        check(&store, &what);
        let next = forked(11, 1, 1, 300);
        store.commit(&extend([next.clone()])).expect("commits");
        drop(store);
        assert_eq!(open(&path).head().expect("reads"), Some(next.id()), "{what}");
    }
}
