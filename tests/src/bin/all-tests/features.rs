//! The optional parts of the program.

use std::time::Duration;

use crate::shell::{self, Shell};

/// The features of the package `opp2p` that leave out a part when they are off. All are on by
/// default.
const FEATURES: [&str; 5] = ["devnet", "engine", "evm", "nats", "tui"];
/// Packages that only one feature brings.
const BROUGHT: [(&str, &str); 5] = [
    ("devnet", "tempfile"),
    ("engine", "alloy-provider"),
    ("evm", "revm"),
    ("nats", "async-nats"),
    ("tui", "ratatui"),
];
const LIMIT: Duration = Duration::from_secs(120);

/// Checks that the program compiles with either half of its features, and with none, and that a
/// feature that is off brings no dependency.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    // Each feature is on in one half and off in the other. The devnet uses most of the others.
    for on in ["devnet,nats", "engine,evm,tui", ""] {
        check(shell, on)?;
    }
    let tree = tree(shell, &FEATURES.join(","))?;
    let bare = self::tree(shell, "")?;
    for (feature, package) in BROUGHT {
        let has = |tree: &str| tree.lines().any(|line| line.starts_with(&format!("{package} v")));
        if !has(&tree) || has(&bare) {
            return Err(format!("{package} is not linked exactly if the feature {feature} is on"));
        }
    }
    let has_fixtures = |tree: &str| {
        let mut lines = tree.lines().filter(|line| line.starts_with("opp2p-core v"));
        lines.any(|line| line.contains("fixtures"))
    };
    if !has_fixtures(&tree) || has_fixtures(&bare) {
        return Err("the core's fixtures are not linked exactly if the feature devnet is on".into());
    }
    Ok(String::new())
}

fn check(shell: &Shell, features: &str) -> Result<String, String> {
    let check = ["check", "--locked", "--package", "opp2p", "--lib", "--no-default-features"];
    shell.cargo(&[&check[..], &["--features", features]].concat())
}

/// Returns the packages that are linked with the program, each with its features on one line.
fn tree(shell: &Shell, features: &str) -> Result<String, String> {
    let mut cargo = shell.cargo_command();
    cargo.args(["tree", "--locked", "--package", "opp2p", "--no-default-features"]);
    cargo.args([
        "--features",
        features,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p} {f}",
    ]);
    match shell::run_for_output(&mut cargo, LIMIT)? {
        (true, tree) => Ok(tree),
        (false, _) => Err("cargo tree failed".into()),
    }
}
