//! Files and directories that this user may not write.
//!
//! Permissions do not bind root, so a root that runs the tests has them run by a copy of this
//! program under another user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use opp2p_store::{Store, StoreError};

use crate::support::{again, block, config, extend, open, print_to_parent, role, store_of_role};

const NAME: &str = "permissions::a_store_that_this_user_may_not_write_is_refused_and_untouched";

/// The user and group that own nothing, by custom.
const NOBODY: u32 = 65_534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets permissions");
}

/// Returns `true` if permissions don't bind this process.
fn privileged(directory: &Path) -> bool {
    let closed = directory.join("closed");
    fs::create_dir(&closed).expect("makes");
    allow(&closed, 0o555);
    fs::write(closed.join("file"), b"").is_ok()
}

/// The process without privileges.
fn child() {
    let directory = store_of_role();
    let in_closed = directory.join("closed-directory");
    let refuse = |path: PathBuf| Store::open(config(&path)).expect_err("refused");

    let error = refuse(in_closed.join("new.redb"));
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
    let error = refuse(in_closed.join("deeper/new.redb"));
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
    let error = refuse(directory.join("read-only.redb"));
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    let error = refuse(directory.join("unreadable.redb"));
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    let error = refuse(directory.join("hidden-directory/blocks.redb"));
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
    let store = open(&in_closed.join("writable.redb"));
    store
        .commit(&extend([block(2, 0)]))
        .expect("the file is writable, though its directory is not");
    print_to_parent("done");
}

#[test]
fn a_store_that_this_user_may_not_write_is_refused_and_untouched() {
    if role().is_some() {
        return child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    allow(directory, 0o755);
    let (closed, hidden) = (directory.join("closed-directory"), directory.join("hidden-directory"));
    fs::create_dir(&closed).expect("makes");
    fs::create_dir(&hidden).expect("makes");
    let stores = [
        (directory.join("read-only.redb"), 0o444),
        (directory.join("unreadable.redb"), 0o000),
        (hidden.join("blocks.redb"), 0o666),
        (closed.join("writable.redb"), 0o666),
    ];
    for (path, mode) in &stores {
        open(path).commit(&extend([block(1, 0)])).expect("commits");
        allow(path, *mode);
    }
    allow(&closed, 0o555);
    allow(&hidden, 0o000);
    let before: Vec<_> = stores[..2].iter().map(|(path, _)| fs::read(path).ok()).collect();

    // The program may lie where another user can't reach it.
    let program = directory.join("program");
    fs::copy(std::env::current_exe().expect("a program"), &program).expect("copies");
    allow(&program, 0o755);
    let mut copy = again(&program, NAME, "unprivileged", directory);
    if privileged(directory) {
        copy.uid(NOBODY).gid(NOBODY);
    }
    let output = copy.current_dir("/").stdin(Stdio::null()).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.lines().any(|line| line == "done"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );

    allow(&closed, 0o755);
    allow(&hidden, 0o755);
    let after: Vec<_> = stores[..2].iter().map(|(path, _)| fs::read(path).ok()).collect();
    assert!(before == after, "a refused file changed");
    assert_eq!(
        fs::read_dir(&closed).expect("lists").count(),
        1,
        "nothing was left in the closed directory"
    );
    allow(&stores[1].0, 0o600);
    assert_eq!(open(&stores[1].0).len().expect("reads"), 1);
}
