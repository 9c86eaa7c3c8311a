//! Files and places that the store must refuse, each with its own error, and leave unchanged.

use std::fs;
use std::path::Path;

use alloy_primitives::B256;
use opp2p_store::{Store, StoreConfig, StoreError};

use crate::support::{CHAIN, block, config, extend, genesis, open};

/// Tries to open the path, and checks that this failed, named the path and changed neither the file
/// nor its directory.
fn refuse(config: StoreConfig) -> StoreError {
    let path = config.path.clone();
    let before = fs::read(&path).ok();
    let listing = list(path.parent().expect("a parent"));
    let error = Store::open(config).expect_err("must be refused");
    assert_eq!(fs::read(&path).ok(), before, "the file changed");
    assert_eq!(list(path.parent().expect("a parent")), listing, "the directory changed");
    let text = error.to_string();
    assert!(text.contains(path.to_str().expect("text")), "{text}");
    assert!(!text.contains('\n'), "{text}");
    error
}

fn list(directory: &Path) -> Option<Vec<std::ffi::OsString>> {
    let mut names: Vec<_> =
        fs::read_dir(directory).ok()?.map(|entry| entry.expect("lists").file_name()).collect();
    names.sort();
    Some(names)
}

fn good_store(path: &Path) {
    open(path).commit(&extend((1..=5).map(|n| block(n, 0)))).expect("commits");
}

#[test]
fn files_of_other_programs_are_refused_and_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let mut sqlite = b"SQLite format 3\0".to_vec();
    sqlite.resize(8192, 0x5A);
    let random: Vec<u8> =
        (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let contents: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("one byte", b"r"),
        ("text", b"a diary\n"),
        ("sqlite", &sqlite),
        ("random", &random),
        ("zeros", &[0; 80_000]),
        ("almost the magic number", b"redb\x1A\x0A\xA9\x0D\x0B and more"),
    ];
    for (name, content) in contents {
        fs::write(&path, content).expect("writes");
        let error = refuse(config(&path));
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
        assert_eq!(fs::read(&path).expect("reads"), content, "{name}");
    }
}

#[test]
fn a_file_with_only_a_database_header_is_damaged_and_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    for length in [9, 10, 64, 320, 4096, 80_000] {
        let mut content = b"redb\x1A\x0A\xA9\x0D\x0A".to_vec();
        content.resize(length, 0xEE);
        fs::write(&path, &content).expect("writes");
        let error = refuse(config(&path));
        assert!(
            matches!(error, StoreError::Corrupted { .. } | StoreError::NotAStore { .. }),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_untouched() {
    use redb::{Database, TableDefinition};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let empty = Database::create(&path).expect("creates");
    drop(empty);
    assert!(matches!(refuse(config(&path)), StoreError::NotAStore { .. }));

    // A table of the same name, with other types and with the same.
    fs::remove_file(&path).expect("removes");
    let other_types: TableDefinition<'_, u64, u64> = TableDefinition::new("meta");
    let database = Database::create(&path).expect("creates");
    let transaction = database.begin_write().expect("begins");
    transaction.open_table(other_types).expect("opens").insert(1, 2).expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    assert!(matches!(refuse(config(&path)), StoreError::NotAStore { .. }));

    fs::remove_file(&path).expect("removes");
    let same_types: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let database = Database::create(&path).expect("creates");
    let transaction = database.begin_write().expect("begins");
    transaction
        .open_table(same_types)
        .expect("opens")
        .insert("format", b"x".as_slice())
        .expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    assert!(matches!(refuse(config(&path)), StoreError::NotAStore { .. }));
}

#[test]
fn the_store_of_another_chain_is_refused_and_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    good_store(&path);
    let error = refuse(StoreConfig { chain_id: 10, ..config(&path) });
    assert!(matches!(error, StoreError::OtherChain { found: CHAIN, expected: 10, .. }), "{error}");
    let other = B256::repeat_byte(0x22);
    let error = refuse(StoreConfig { genesis_hash: other, ..config(&path) });
    assert!(
        matches!(error, StoreError::OtherGenesis { found, expected, .. }
            if found == genesis() && expected == other),
        "{error}"
    );
    assert_eq!(open(&path).len().expect("reads"), 5);
}

#[test]
fn the_store_of_another_chain_that_was_not_closed_is_refused_and_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, copy) = (directory.path().join("blocks.redb"), directory.path().join("copy.redb"));
    let store = open(&path);
    store.commit(&extend((1..=5).map(|n| block(n, 0)))).expect("commits");
    // The state after a kill: the file as it is while it is open.
    fs::copy(&path, &copy).expect("copies");
    let error = refuse(StoreConfig { chain_id: 10, ..config(&copy) });
    assert!(matches!(error, StoreError::OtherChain { .. }), "{error}");
    assert_eq!(open(&copy).len().expect("reads"), 5);
}

#[test]
fn an_unknown_schema_is_refused_and_untouched() {
    use redb::{Database, TableDefinition};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    good_store(&path);
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let set = |key: &str, value: Option<&[u8]>| {
        let database = Database::open(&path).expect("opens");
        let transaction = database.begin_write().expect("begins");
        {
            let mut meta = transaction.open_table(meta).expect("opens");
            match value {
                Some(value) => drop(meta.insert(key, value).expect("inserts")),
                None => drop(meta.remove(key).expect("removes")),
            }
        }
        transaction.commit().expect("commits");
    };
    set("schema", Some(&2u32.to_be_bytes()));
    let error = refuse(config(&path));
    assert!(matches!(error, StoreError::UnknownSchema { found: 2, known: 1, .. }), "{error}");
    let text = error.to_string();
    for part in ["schema 2", "schema 1", "export the blocks", "bans", "are lost"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    set("schema", Some(b"odd"));
    assert!(matches!(refuse(config(&path)), StoreError::Corrupted { .. }));
    set("schema", Some(&1u32.to_be_bytes()));
    set("genesis_hash", None);
    assert!(matches!(refuse(config(&path)), StoreError::Corrupted { .. }));
}

#[test]
fn a_directory_at_the_path_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    fs::create_dir(&path).expect("makes");
    assert!(matches!(refuse(config(&path)), StoreError::NotAFile { found: "a directory", .. }));
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_at_the_path_is_refused() {
    for device in ["/dev/full", "/dev/zero", "/dev/null"] {
        let error = Store::open(config(Path::new(device))).expect_err("refused");
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_refused_and_a_link_to_a_store_is_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, target) =
        (directory.path().join("blocks.redb"), directory.path().join("target.redb"));
    std::os::unix::fs::symlink(&target, &path).expect("links");
    assert!(matches!(refuse(config(&path)), StoreError::NotAFile { .. }));
    assert!(!target.exists());
    good_store(&target);
    assert_eq!(open(&path).len().expect("reads"), 5);
}

#[test]
fn a_path_below_a_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, b"precious").expect("writes");
    for below in ["blocks.redb", "deeper/blocks.redb"] {
        let error = Store::open(config(&file.join(below))).expect_err("refused");
        assert!(matches!(error, StoreError::Directory { .. }), "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
    assert_eq!(fs::read(&file).expect("reads"), b"precious");
}

#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_directory_is_refused_even_to_root() {
    // The kernel's own file systems accept no new files.
    for path in ["/proc/blocks.redb", "/sys/blocks.redb", "/proc/opp2p/blocks.redb"] {
        let error = Store::open(config(Path::new(path))).expect_err("refused");
        assert!(matches!(error, StoreError::Directory { .. }), "{path}: {error}");
    }
}

#[test]
fn a_store_in_use_is_refused_and_works_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    store.commit(&extend([block(1, 0)])).expect("commits");
    assert!(matches!(refuse(config(&path)), StoreError::Locked { .. }));
    // The store's chain can't be read while it is in use; the error is the same for every chain.
    assert!(matches!(
        refuse(StoreConfig { chain_id: 10, ..config(&path) }),
        StoreError::Locked { .. }
    ));
    store.commit(&extend([block(2, 0)])).expect("commits");
    let clone = store.clone();
    drop(store);
    assert!(matches!(refuse(config(&path)), StoreError::Locked { .. }), "a clone holds it too");
    drop(clone);
    assert_eq!(open(&path).len().expect("reads"), 2);
}

#[test]
fn concurrent_opens_never_share_a_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(config(&path)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(opened.iter().filter(|result| result.is_ok()).count(), 1);
    for result in &opened {
        assert!(matches!(result, Ok(_) | Err(StoreError::Locked { .. })), "{result:?}");
    }
    assert_eq!(list(directory.path()).expect("lists").len(), 1, "nothing is left beside the store");
}
