//! `cargo all-tests`: sets a fresh machine up and passes every test of the workspace.
//!
//! Each step says what it does, then does it, its output in plain sight; a step that fails stops only those that need
//! it. The last line counts. `cargo all-tests -- --list` names the steps, `cargo all-tests -- wasm deny` runs those
//! of these names, or whose names contain them, with what they need.
//!
//! `cargo devnet` is this program too: it makes the page that the devnet's node serves, and becomes the devnet.
//!
//! This binary is built before anything is set up, so it depends on next to nothing.

mod attack;
mod counts;
mod crash;
mod deny;
mod devnet;
mod fuzz;
mod interop;
mod measure;
mod plan;
mod report;
mod setup;
mod shell;
mod stamp;
mod tools;
mod up;
mod validation;
mod web;

use std::process::ExitCode;

use plan::{Outcome, Step};
use shell::Shell;

/// Every step, in order.
const STEPS: &[Step] = &[
    Step { name: "c-compiler", what: "set-up: a C compiler and Perl", needs: &[], run: setup::c_compiler },
    Step { name: "wasm-target", what: "set-up: Rust's wasm32 target", needs: &[], run: setup::wasm_target },
    Step { name: "node", what: "set-up: Node.js and npm", needs: &[], run: setup::node },
    Step {
        name: "npm",
        what: "set-up: npm packages that build and test the page",
        needs: &["node"],
        run: web::npm,
    },
    Step { name: "chromium", what: "set-up: Chromium and chromedriver", needs: &[], run: setup::chromium },
    Step { name: "wasm-tools", what: "set-up: wasm-bindgen and wasm-pack", needs: &[], run: tools::wasm },
    Step {
        name: "test",
        what: "every unit, documentation and integration test of the workspace",
        needs: &["c-compiler"],
        run: |shell| shell.cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]),
    },
    Step {
        name: "prometheus",
        what: "set-up: Prometheus, where Debian's package can be had",
        needs: &[],
        run: setup::prometheus,
    },
    Step {
        name: "metrics",
        what: "the metrics and the dashboard in a real Prometheus",
        needs: &["c-compiler", "prometheus"],
        run: setup::metrics,
    },
    Step {
        name: "nats",
        what: "set-up: a NATS server, where Debian's package can be had",
        needs: &[],
        run: setup::nats,
    },
    Step {
        name: "feed",
        what: "the feed in a real NATS server: both sides are killed, and nothing is lost or doubled",
        needs: &["c-compiler", "nats"],
        run: setup::feed,
    },
    Step {
        name: "core-alone",
        what: "the core's tests as the browser builds it: pure Rust, no C",
        needs: &[],
        run: |shell| {
            let package = ["--package", "opp2p-core", "--features", "fixtures"];
            shell.cargo(&[&["test", "--locked", "--no-fail-fast"], &package[..]].concat())
        },
    },
    Step {
        name: "wasm-core",
        what: "the core builds for the browser",
        needs: &["wasm-target"],
        run: |shell| wasm(shell, &["--package", "opp2p-core"]),
    },
    Step {
        name: "wasm-wiring",
        what: "the libp2p wiring that both shells share builds for the browser",
        needs: &["wasm-target"],
        run: |shell| wasm(shell, &["--package", "opp2p", "--no-default-features"]),
    },
    Step {
        name: "wasm-web",
        what: "the browser shell builds for the browser",
        needs: &["wasm-target"],
        run: |shell| wasm(shell, &["--package", "opp2p-web"]),
    },
    Step {
        name: "wasm-test-node",
        what: "the browser's tests in Rust, in Node.js",
        needs: &["wasm-target", "wasm-tools", "npm"],
        run: web::test_node,
    },
    Step {
        name: "wasm-test-browser",
        what: "the browser's tests in Rust, in headless Chromium",
        needs: &["wasm-target", "wasm-tools", "npm", "chromium"],
        run: web::test_browser,
    },
    Step {
        name: "web-package",
        what: "the npm package",
        needs: &["wasm-target", "wasm-tools", "npm"],
        run: web::package,
    },
    Step {
        name: "web-example",
        what: "the example project: types, bundle, and a look at it in headless Chromium",
        needs: &["web-package", "chromium"],
        run: web::example,
    },
    Step {
        name: "web-e2e",
        what: "the package in headless Chromium against native nodes, some of which lie",
        needs: &["web-package", "chromium", "c-compiler"],
        run: web::observer,
    },
    Step { name: "web-page", what: "the page, and its size", needs: &["web-package"], run: web::page },
    Step {
        name: "web-measure",
        what: "what a visitor waits for: time to the first block, and from publication to the page",
        needs: &["web-package", "chromium", "c-compiler"],
        run: web::measure,
    },
    Step {
        name: "web-bench",
        what: "what a validation costs in the browser (runs only if it is named)",
        needs: &["wasm-target", "wasm-tools", "npm", "chromium"],
        run: web::bench,
    },
    Step {
        name: "release",
        what: "the release build of the node, the page inside",
        needs: &["c-compiler", "web-page"],
        run: |shell| shell.cargo(&["build", "--locked", "--release", "--package", "opp2p", "--bin", "opp2p"]),
    },
    Step {
        name: "web-looks",
        what: "the page in headless Chromium: over a made-up chain, and on a devnet",
        needs: &["release", "npm", "chromium"],
        run: web::looks,
    },
    Step {
        name: "devnet",
        what: "the devnet as a user runs it: five followers, thirty blocks",
        needs: &["release"],
        run: devnet::run,
    },
    Step {
        name: "op-node",
        what: "set-up: op-node's own p2p package, where Go is here",
        needs: &["c-compiler"],
        run: interop::op_node,
    },
    Step {
        name: "kona",
        what: "set-up: kona's p2p crate, where the registry can be had",
        needs: &["c-compiler"],
        run: interop::kona,
    },
    Step {
        name: "js-libp2p",
        what: "set-up: js-libp2p, where Node.js is here",
        needs: &[],
        run: interop::js_libp2p,
    },
    Step {
        name: "web3",
        what: "set-up: viem and ethers, where Node.js is here",
        needs: &[],
        run: interop::web3,
    },
    Step {
        name: "interop",
        what: "our nodes beside op-node's and other foreign ones",
        needs: &["c-compiler", "op-node", "kona", "js-libp2p", "web3"],
        run: interop::run,
    },
    Step { name: "op-geth", what: "set-up: op-geth, where Go is", needs: &[], run: interop::op_geth },
    Step {
        name: "execution",
        what: "our nodes with real execution clients",
        needs: &["c-compiler", "op-geth"],
        run: interop::execution,
    },
    Step {
        name: "side-by-side",
        what: "what ours and the reference cost (runs only if it is named)",
        needs: &["c-compiler", "op-node"],
        run: interop::report,
    },
    Step {
        name: "soak",
        what: "half an hour of a mixed network with restarts (runs only if it is named)",
        needs: &["c-compiler", "op-node"],
        run: interop::soak,
    },
    Step {
        name: "valgrind",
        what: "set-up: Valgrind, where it can be had",
        needs: &[],
        run: counts::valgrind,
    },
    Step {
        name: "counts",
        what: "instructions of the hot paths, beside those of core/benches/counts.json",
        needs: &["c-compiler", "valgrind"],
        run: counts::run,
    },
    Step {
        name: "counts-accept",
        what: "writes core/benches/counts.json anew (runs only if it is named)",
        needs: &["c-compiler", "valgrind"],
        run: counts::accept,
    },
    Step {
        name: "validation",
        what: "what a message costs, from its arrival to its verdict (runs only if it is named)",
        needs: &["c-compiler"],
        run: report::validation,
    },
    Step {
        name: "report",
        what: "measures everything and writes tests/REPORT.md (runs only if it is named)",
        needs: &["c-compiler"],
        run: report::run,
    },
    Step {
        name: "report-write",
        what: "writes tests/REPORT.md from what was measured last (runs only if it is named)",
        needs: &[],
        run: report::write,
    },
    Step {
        name: "path",
        what: "how long a block is on its way (runs only if it is named)",
        needs: &["c-compiler"],
        run: measure::path,
    },
    Step {
        name: "cost",
        what: "processor time and memory of a node (runs only if it is named)",
        needs: &["c-compiler"],
        run: measure::cost,
    },
    Step {
        name: "crash",
        what: "nodes that are killed, and whose disk, clock or file descriptors fail (`test` does it too)",
        needs: &["c-compiler"],
        run: crash::run,
    },
    Step {
        name: "crash-rounds",
        what: "two hundred rounds of kill -9 (runs only if it is named)",
        needs: &["c-compiler"],
        run: crash::rounds,
    },
    Step {
        name: "store-writes",
        what: "how many bytes are written for a byte of blocks (runs only if it is named)",
        needs: &["c-compiler"],
        run: crash::writes,
    },
    Step {
        name: "soak-ours",
        what: "half an hour of peers and callers that come and go (runs only if it is named)",
        needs: &["c-compiler"],
        run: crash::soak,
    },
    Step {
        name: "attack",
        what: "attacks with real sockets on a node, and that honest blocks go on (part of `test`; alone if it is named)",
        needs: &["c-compiler"],
        run: attack::run,
    },
    Step {
        name: "attack-report",
        what: "what the attacks cost, in release code (runs only if it is named)",
        needs: &["c-compiler"],
        run: attack::report,
    },
    Step {
        name: "fuzz",
        what: "every decoder and state machine under a fuzzer, for some seconds each",
        needs: &["c-compiler"],
        run: fuzz::short,
    },
    Step {
        name: "fuzz-hours",
        what: "the same for an hour each (runs only if it is named)",
        needs: &["c-compiler"],
        run: fuzz::hours,
    },
    Step {
        name: "deny",
        what: "licences, bans and sources of all dependencies (advisories need a database from the network: not here)",
        needs: &[],
        run: deny::run,
    },
];

/// Steps that measure, or take very long, and run only if a word names them.
const MEASUREMENTS: &[&str] = &[
    "web-bench",
    "web-measure",
    "side-by-side",
    "soak",
    "counts-accept",
    "validation",
    "report",
    "report-write",
    "path",
    "cost",
    "crash",
    "crash-rounds",
    "store-writes",
    "soak-ours",
    "attack",
    "attack-report",
    "fuzz-hours",
];

/// Builds one package's library for the browser.
fn wasm(shell: &Shell, package: &[&str]) -> Result<String, String> {
    let build = ["build", "--locked", "--lib", "--target", setup::WASM];
    shell.cargo(&[&build[..], package].concat())
}

/// With this first, all that follows is the devnet's.
const DEVNET: &str = "--devnet";

const USAGE: &str = "cargo all-tests [-- [--list | WORD...]]

Sets this machine up and passes every test. With words, runs the steps of those names, or whose names contain them, and
what those need. --list names the steps.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, flags)) = arguments.split_first()
        && first == DEVNET
    {
        return up::run(&Shell::new(), flags);
    }
    let words: Vec<String> = arguments.into_iter().filter(|word| word != "--").collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--list") {
        print!("{}", plan::list(STEPS));
        return ExitCode::SUCCESS;
    }
    if let Some(option) = words.iter().find(|word| word.starts_with('-')) {
        eprintln!("all-tests knows no option {option}.\n\n{USAGE}");
        return ExitCode::from(2);
    }
    let mut selected = match plan::select(STEPS, &words) {
        Ok(selected) => selected,
        Err(word) => {
            eprintln!("No step's name contains `{word}`. The steps are:\n{}", plan::list(STEPS));
            return ExitCode::from(2);
        }
    };
    // A part of a name is not enough to name these: `fuzz` is a step, and `fuzz-hours` takes hours.
    selected.retain(|step| !MEASUREMENTS.contains(&step.name) || words.iter().any(|word| word == step.name));
    let shell = Shell::new();
    let results = plan::run(&selected, |step| (step.run)(&shell));
    print!("{}", plan::summary(&results));
    if results.iter().all(|result| matches!(result.outcome, Outcome::Passed(_))) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_what_a_step_needs_comes_before_it() {
        for (at, step) in STEPS.iter().enumerate() {
            let before: Vec<_> = STEPS.iter().take(at).map(|step| step.name).collect();
            assert!(!before.contains(&step.name), "two steps are called {}", step.name);
            for need in step.needs {
                assert!(before.contains(need), "{} needs {need}, which does not come before it", step.name);
            }
        }
    }
}
