//! The core decides and does nothing: no time, threads, files, sockets, processes, environment, ambient
//! randomness, async or logging of its own, and none by way of a dependency.
//!
//! Two checks hold it to that. [`source`] walks the core's module tree as the compiler does, leaves out what
//! exists only under `cfg(test)`, and [`rules`] judges every token of the rest, macro bodies included.
//! [`dependencies`] reads the tree of crates that the core brings along. Each has tests of its own that break
//! every rule once.

mod dependencies;
mod rules;
mod source;

use std::path::{Path, PathBuf};

/// The root of the workspace.
fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map_or_else(|| tests.to_path_buf(), Path::to_path_buf)
}

#[test]
fn the_source_of_the_core_reaches_for_nothing_outside_itself() {
    let crate_root = workspace().join("core");
    let report = source::check_crate(&crate_root).expect("the core's source can be read");
    assert!(report.files > 3, "the walk saw {} files of the core: it is blind", report.files);
    assert!(report.findings.is_empty(), "the core is not pure:\n{}", report.findings.join("\n"));
}

#[test]
fn the_dependencies_of_the_core_reach_for_nothing_outside_themselves() {
    // As the browser builds it, as the native node builds it, and with everything on.
    let builds: [&[&str]; 3] = [
        &["--target", "wasm32-unknown-unknown"],
        &["--target", "all", "--no-default-features", "--features", "libsecp256k1,asm-keccak,fixtures"],
        &["--target", "all", "--all-features"],
    ];
    for features in builds {
        let tree = dependencies::tree_of("opp2p-core", features).expect("cargo tree works");
        assert!(tree.contains("alloy-primitives v"), "no tree of the core:\n{tree}");
        let findings = dependencies::offending(&tree);
        assert!(
            findings.is_empty(),
            "`cargo tree --package opp2p-core --edges normal {}` has what the core may not bring:\n{}",
            features.join(" "),
            findings.join("\n"),
        );
    }
}
