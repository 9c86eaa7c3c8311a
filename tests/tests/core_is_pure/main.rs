//! Checks that the core performs no effects: no time, threads, files, sockets, processes,
//! environment, ambient randomness, async or logging.
//!
//! What the standard library has for effects is refused by the lints of `core/clippy.toml`. Here,
//! one test checks that no source file switches these lints off, and the others read the core's
//! dependency tree.

mod dependencies;

use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map_or_else(|| tests.to_path_buf(), Path::to_path_buf)
}

/// Returns the paths of all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_source_file_of_the_core_switches_the_lints_for_purity_off() {
    let lints = std::fs::read_to_string(workspace().join("core/clippy.toml")).expect("the lints");
    for path in ["std::time::SystemTime", "std::fs::File", "std::thread::spawn", "std::println"] {
        assert!(lints.contains(&format!("\"{path}\"")), "{path} is permitted");
    }
    let sources = files(&workspace().join("core/src"));
    assert!(sources.len() > 100, "the walk is blind: {sources:?}");
    for file in sources {
        let text = std::fs::read_to_string(&file).expect("text");
        for word in ["clippy::disallowed_", "clippy::style", "clippy::all", "extern crate"] {
            assert!(!text.contains(word), "{word} in {}", file.display());
        }
    }
}

/// Returns the names of the core's features.
fn features() -> Vec<String> {
    let manifest = workspace().join("core/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("the core has a manifest");
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once(" = [")?.0.to_owned()))
        .collect()
}

#[test]
fn the_core_dependencies_are_pure() {
    // op-alloy's types bring a logger, for programs that link them anyway.
    let features = features();
    assert!(features.iter().any(|feature| feature == "op-alloy"), "{features:?}");
    let all = features.into_iter().filter(|feature| feature != "op-alloy").collect::<Vec<_>>();
    let all = all.join(",");
    // As the browser builds it, as the native node builds it, and with all other features.
    let builds: [&[&str]; 3] = [
        &["--target", "wasm32-unknown-unknown"],
        &[
            "--target",
            "all",
            "--no-default-features",
            "--features",
            "libsecp256k1,asm-keccak,fixtures",
        ],
        &["--target", "all", "--features", &all],
    ];
    for features in builds {
        let tree = dependencies::tree_of("opp2p-core", features).expect("cargo tree works");
        assert!(tree.contains("alloy-primitives v"), "no tree of the core:\n{tree}");
        let findings = dependencies::offending(&tree);
        assert!(
            findings.is_empty(),
            "`cargo tree --package opp2p-core --edges normal {}` has what the core may not bring:\n\
             {}",
            features.join(" "),
            findings.join("\n"),
        );
    }
}
