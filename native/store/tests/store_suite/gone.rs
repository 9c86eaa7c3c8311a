//! A store whose file is removed or replaced while it is open.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use opp2p_store::{Store, StoreError, WriteFailed, Writer, WriterConfig};

use crate::support::{block, extend, open};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_stored_in_a_file_that_the_next_start_does_not_find() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("data");
    let path = folder.join("blocks.redb");
    let store = open(&path);
    store.commit(&extend([block(1, 0)])).expect("commits");
    let refused = |store: &Store, says: &str| {
        let error = store.commit(&extend([block(2, 0)])).expect_err("it would be lost");
        assert!(matches!(error, StoreError::Gone { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(path.to_str().expect("text")), "{text}");
    };
    let aside = directory.path().join("aside");
    fs::rename(&folder, &aside).expect("moves");
    refused(&store, "was removed");
    assert_eq!(store.len().expect("it still reads"), 1);
    fs::create_dir(&folder).expect("makes it");
    refused(&store, "was removed");
    fs::write(&path, "another file").expect("writes");
    refused(&store, "was replaced by another file");
    assert_eq!(fs::read(&path).expect("reads"), b"another file", "it is left alone");
    fs::remove_dir_all(&folder).expect("removes");
    fs::rename(&aside, &folder).expect("moves");
    store.commit(&extend([block(2, 0)])).expect("it is back");
    drop(store);
    assert_eq!(open(&path).len().expect("reads"), 2);
}

#[test]
fn a_writer_notices_a_removed_file_while_idle_and_keeps_new_batches() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let store = open(&path);
    let (tell, health) = mpsc::channel();
    let told = move |error: Option<&StoreError>| {
        tell.send(error.map(ToString::to_string)).expect("waited for");
    };
    let writer =
        Writer::start_patient(store.clone(), WriterConfig::default(), told).expect("starts");
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).expect("moves");
    let error = health.recv_timeout(PATIENCE).expect("noticed").expect("an error");
    assert!(error.contains("was removed"), "{error}");
    fs::rename(&aside, &path).expect("moves");
    assert_eq!(health.recv_timeout(PATIENCE).expect("noticed"), None);

    fs::rename(&path, &aside).expect("moves");
    let (send, outcome) = mpsc::channel();
    let done = move |result: Result<(), Box<WriteFailed>>| {
        send.send(result.is_ok()).expect("waited for");
    };
    writer.submit(extend([block(1, 0)]), done).expect("room");
    assert!(health.recv_timeout(PATIENCE).expect("noticed").is_some());
    assert!(outcome.try_recv().is_err(), "it waits");
    fs::rename(&aside, &path).expect("moves");
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(true));
    writer.stop();
    drop(store);
    assert_eq!(open(&path).len().expect("reads"), 1);
}
