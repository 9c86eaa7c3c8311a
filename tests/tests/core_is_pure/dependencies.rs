//! Crates that must not be linked into the core.

use std::path::Path;
use std::process::Command;

/// Crates that own a runtime, a clock, a socket, a file, a thread, an entropy source, a logger or
/// the page's JavaScript. A trailing `*` stands for any ending. `rand_core` is not listed: its
/// traits have no source of their own.
const FORBIDDEN: &[&str] = &[
    "async-*",
    "chrono",
    "crossbeam*",
    "env_logger",
    "event-listener",
    "fastrand",
    "futures*",
    "getrandom",
    "gloo*",
    "h2",
    "hickory*",
    "hyper*",
    "instant",
    "jiff",
    "js-sys",
    "libp2p*",
    "log",
    "mio",
    "nix",
    "oorandom",
    "parking_lot*",
    "polling",
    "quinn*",
    "rand",
    "rand_chacha",
    "rayon*",
    "reqwest",
    "rustix",
    "rustls*",
    "slog*",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio*",
    "tower*",
    "tracing*",
    "ureq",
    "wasm-bindgen*",
    "wasm-timer",
    "wasmtimer",
    "web-sys",
    "web-time",
];

/// Returns `true` if a crate of this name (with `-` or `_`) may not be part of the core.
pub(crate) fn is_forbidden(name: &str) -> bool {
    let name = name.replace('_', "-");
    FORBIDDEN.iter().any(|rule| {
        let rule = rule.replace('_', "-");
        match rule.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == rule,
        }
    })
}

/// Returns the crates linked with `package`, one `name vX.Y.Z` per line. Macros that run in the
/// compiler are left out.
pub(crate) fn tree_of(package: &str, features: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--prefix",
            "none",
            "--edges",
            "normal,no-proc-macro",
            "--package",
            package,
        ])
        .args(features)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("cargo tree printed no text: {error}"))
}

/// Returns the forbidden crates in a tree, each once, with its version.
pub(crate) fn offending(tree: &str) -> Vec<String> {
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            is_forbidden(name).then(|| format!("{name} {version}"))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_forbidden_crate_is_seen_in_a_tree() {
    for rule in FORBIDDEN {
        let name = rule.replace('*', "-x");
        let tree =
            format!("opp2p-core v0.1.0 (/core)\nsha2 v0.11.1\n{name} v1.2.3\n{name} v1.2.3 (*)\n");
        assert_eq!(offending(&tree), [format!("{name} v1.2.3")], "{rule}");
    }
}

#[test]
fn a_starred_rule_covers_the_family_and_a_plain_one_only_itself() {
    for name in [
        "tokio",
        "tokio-util",
        "futures",
        "futures-timer",
        "futures_core",
        "libp2p-gossipsub",
        "rand",
    ] {
        assert!(is_forbidden(name), "{name}");
    }
    for name in ["rand_core", "logos", "timer-free", "serde", "k256", "instantiate"] {
        assert!(!is_forbidden(name), "{name}");
    }
}

#[test]
fn the_same_check_flags_the_native_node() {
    let tree = tree_of("opp2p", &["--target", "all"]).expect("cargo tree works");
    let found = offending(&tree);
    for name in ["tokio v", "libp2p v", "getrandom v", "tracing v"] {
        assert!(found.iter().any(|found| found.starts_with(name)), "no {name} in {found:?}");
    }
}

#[test]
fn the_node_and_the_page_have_no_gossip_router_but_the_cores() {
    for package in ["opp2p", "opp2p-web"] {
        let tree = tree_of(package, &["--target", "all"]).expect("cargo tree works");
        assert!(tree.contains("libp2p-swarm v"), "{package} has libp2p");
        assert!(!tree.contains("libp2p-gossipsub"), "{package} has libp2p's router");
    }
}

#[test]
fn a_package_that_does_not_exist_is_an_error_and_not_an_empty_tree() {
    assert!(tree_of("no-such-package", &[]).is_err());
}
