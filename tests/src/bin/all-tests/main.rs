//! `cargo all-tests`: sets up a fresh machine and runs every test of the workspace.
//!
//! Each step announces itself, then runs with its output shown. A failed step stops only the steps
//! that need it. Tests and steps that a busy machine can fail by accident have a second attempt,
//! and the summary names those that needed it. The last line counts. `cargo all-tests -- --list`
//! lists the steps. `cargo all-tests -- wasm deny` runs the steps with these names, or whose names
//! contain them, and the steps that they need.
//!
//! `cargo devnet` is this program too: it builds the node, replaces itself by the devnet, and
//! builds the page meanwhile.
//!
//! This binary is built before anything is set up, so it has almost no dependencies.

mod ahead;
mod attack;
mod counts;
mod crash;
mod deny;
mod devnet;
mod failures;
mod features;
mod fuzz;
mod interop;
mod measure;
mod packages;
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

use ahead::Ahead;
use plan::Step;
use shell::Shell;

/// Every step, in order.
const STEPS: &[Step] = &[
    Step::new("c-compiler", "set-up: a C compiler and Perl", &[], setup::c_compiler),
    Step::new("wasm-target", "set-up: Rust's wasm32 target", &[], setup::wasm_target).twice(),
    Step::new("node", "set-up: Node.js and npm", &[], setup::node),
    Step::new("npm", "set-up: npm packages that build and test the page", &["node"], web::npm)
        .twice(),
    Step::new(
        "chromium",
        "set-up: Chromium and chromedriver; Firefox and WebKitGTK where they are available",
        &[],
        setup::browsers,
    )
    .twice(),
    Step::new(
        "prometheus",
        "set-up: Prometheus, where Debian's package can be had",
        &[],
        setup::prometheus,
    )
    .twice(),
    Step::new("nats", "set-up: a NATS server, where Debian's package can be had", &[], setup::nats)
        .twice(),
    Step::new("valgrind", "set-up: Valgrind, where it can be had", &[], counts::valgrind).twice(),
    Step::new(
        "test",
        "every unit, documentation and integration test of the workspace",
        &["c-compiler"],
        |shell| shell.cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]),
    ),
    Step::new(
        "metrics",
        "the metrics, the dashboard and the alerts in a real Prometheus",
        &["c-compiler", "prometheus"],
        setup::metrics,
    ),
    Step::new(
        "feed",
        "the feed in a real NATS server: both sides are killed, nothing is lost or doubled",
        &["c-compiler", "nats"],
        setup::feed,
    ),
    Step::new(
        "proxies",
        "nginx and Caddy with the shipped configurations, in front of a gateway",
        &["c-compiler"],
        setup::proxies,
    ),
    // The workspace's tests compare the pure signatures and hashes with those in C and assembly,
    // and the browser's tests run them.
    Step::new(
        "core-alone",
        "the core and its tests compile as the browser builds it: pure Rust, no C",
        &[],
        |shell| {
            let package = ["--package", "opp2p-core", "--features", "fixtures", "--all-targets"];
            shell.cargo(&[&["check", "--locked"], &package[..]].concat())
        },
    ),
    Step::new(
        "features",
        "the program compiles without each of its optional parts, and links nothing for them",
        &["c-compiler"],
        features::run,
    ),
    Step::new("wasm-core", "the core compiles for the browser", &["wasm-target"], |shell| {
        wasm(shell, &["--package", "opp2p-core"])
    }),
    Step::new("wasm-tools", "set-up: wasm-bindgen and wasm-pack", &[], tools::wasm).twice(),
    Step::new(
        "wasm-test-node",
        "the browser's tests in Rust, in Node.js",
        &["wasm-target", "wasm-tools", "npm"],
        web::test_node,
    ),
    Step::new(
        "wasm-test-browser",
        "the browser's tests in Rust, in headless Chromium",
        &["wasm-target", "wasm-tools", "npm", "chromium"],
        web::test_browser,
    )
    .twice(),
    Step::new(
        "web-package",
        "the npm package",
        &["wasm-target", "wasm-tools", "npm"],
        web::package,
    ),
    Step::new(
        "web-example",
        "the example project: types, bundle, and a look at it in headless Chromium",
        &["web-package", "chromium"],
        web::example,
    )
    .twice(),
    Step::new("web-page", "the page, and its size", &["web-package"], web::page),
    Step::new(
        "web-e2e",
        "package and page in headless browsers against native nodes, some of which lie",
        &["web-page", "chromium", "c-compiler"],
        web::observer,
    )
    .twice(),
    Step::new(
        "web-projects",
        "the packed package in fresh projects: Vite, esbuild, service workers, Node.js …",
        &["web-package", "chromium", "c-compiler"],
        web::projects,
    ),
    Step::new(
        "web-bundlers",
        "the same with every other bundler and runtime",
        &["web-package", "chromium", "c-compiler"],
        web::bundlers,
    )
    .only_if_named(),
    Step::new(
        "web-bench",
        "the cost of a validation in the browser",
        &["wasm-target", "wasm-tools", "npm", "chromium"],
        web::bench,
    )
    .only_if_named(),
    Step::new(
        "web-measure",
        "a visitor's waiting times: to the first block, and from publication to the page",
        &["web-page", "chromium", "c-compiler"],
        web::measure,
    )
    .only_if_named(),
    Step::new(
        "release",
        "what operators install: static binary, Debian package, container image, crates, checksums",
        &["c-compiler", "web-page"],
        packages::run,
    )
    .only_if_named(),
    Step::new(
        "builds",
        "the static build beside the dynamic one: time to start, memory, processor time",
        &["c-compiler", "node"],
        packages::compare,
    )
    .only_if_named(),
    Step::new(
        "web-looks",
        "the page in headless Chromium: over a made-up chain, and on a devnet",
        &["web-page", "npm", "chromium", "c-compiler"],
        web::looks,
    )
    .twice(),
    Step::new(
        "devnet",
        "the devnet as a user runs it: five followers, thirty blocks",
        &["c-compiler", "web-page"],
        devnet::run,
    )
    .twice(),
    Step::new(
        "op-node",
        "set-up: op-node's own p2p package, where Go is here",
        &["c-compiler"],
        interop::op_node,
    )
    .twice(),
    Step::new(
        "op-node-newest",
        "set-up: the same of a newer release, where Go 1.26 is here",
        &["c-compiler"],
        interop::op_node_newest,
    )
    .twice(),
    Step::new(
        "pubsub",
        "set-up: bare go-libp2p hosts, where Go 1.26 is here",
        &[],
        interop::pubsub,
    )
    .twice(),
    Step::new(
        "kona",
        "set-up: kona's p2p crate, where the registry can be had: six hundred crates",
        &["c-compiler"],
        interop::kona,
    )
    .twice()
    .only_if_named(),
    Step::new("js-libp2p", "set-up: js-libp2p, where Node.js is here", &[], interop::js_libp2p)
        .twice(),
    Step::new("web3", "set-up: viem and ethers, where Node.js is here", &[], interop::web3).twice(),
    Step::new(
        "interop",
        "our nodes beside op-node's and other foreign ones",
        &["c-compiler", "op-node", "op-node-newest", "pubsub", "js-libp2p", "web3"],
        interop::run,
    ),
    Step::new("op-geth", "set-up: op-geth, where Go is", &[], interop::op_geth).twice(),
    Step::new(
        "execution",
        "our nodes with real execution clients",
        &["c-compiler", "op-geth"],
        interop::execution,
    ),
    Step::new(
        "pebble",
        "set-up: a certificate authority, if Go 1.25 is installed",
        &[],
        interop::pebble,
    )
    .twice(),
    Step::new(
        "certificates",
        "gateways that obtain certificates from pebble",
        &["c-compiler", "pebble"],
        interop::certificates,
    ),
    Step::new(
        "p2p-forge",
        "set-up: the broker for nodes' own names, if Go 1.25 is installed",
        &[],
        interop::p2p_forge,
    )
    .twice()
    .only_if_named(),
    Step::new(
        "autotls",
        "nodes without a domain that obtain certificates for their own names",
        &["c-compiler", "pebble", "p2p-forge"],
        interop::autotls,
    )
    .only_if_named(),
    Step::new(
        "autotls-browser",
        "Chromium opens wss to a node's own name, with the authority's root trusted",
        &["c-compiler", "web-page", "chromium", "pebble", "p2p-forge"],
        interop::autotls_browser,
    )
    .only_if_named(),
    Step::new(
        "side-by-side",
        "the cost of our node beside the reference",
        &["c-compiler", "op-node"],
        interop::report,
    )
    .only_if_named(),
    Step::new(
        "soak",
        "half an hour of a mixed network with restarts",
        &["c-compiler", "op-node"],
        interop::soak,
    )
    .only_if_named(),
    Step::new(
        "counts",
        "instruction counts of the hot paths, compared with core/benches/counts.json",
        &["c-compiler", "valgrind"],
        counts::run,
    ),
    Step::new(
        "counts-accept",
        "writes the present counts to core/benches/counts.json",
        &["c-compiler", "valgrind"],
        counts::accept,
    )
    .only_if_named(),
    Step::new(
        "validation",
        "the cost of a message, from its arrival to its verdict",
        &["c-compiler"],
        report::validation,
    )
    .only_if_named(),
    Step::new(
        "report",
        "measures everything and writes tests/REPORT.md",
        &["c-compiler"],
        report::run,
    )
    .only_if_named(),
    Step::new(
        "report-write",
        "writes tests/REPORT.md from the latest measurements",
        &[],
        report::write,
    )
    .only_if_named(),
    Step::new("path", "the latency of a block", &["c-compiler"], measure::path).only_if_named(),
    Step::new(
        "wan",
        "our nodes beside op-node's in an emulated wide-area network, as root on Linux",
        &["c-compiler", "op-node"],
        measure::wan,
    )
    .only_if_named(),
    Step::new(
        "denim",
        "ten nodes at five blocks a second, for ten minutes",
        &["c-compiler"],
        measure::denim,
    )
    .only_if_named(),
    Step::new("cost", "processor time and memory of a node", &["c-compiler"], measure::cost)
        .only_if_named(),
    Step::new(
        "crash",
        "killed nodes, and nodes whose disk, clock or descriptors fail (part of `test`)",
        &["c-compiler"],
        crash::run,
    )
    .only_if_named(),
    Step::new("crash-rounds", "two hundred rounds of kill -9", &["c-compiler"], crash::rounds)
        .only_if_named(),
    Step::new(
        "store-writes",
        "bytes written to the disk per byte of blocks",
        &["c-compiler"],
        crash::writes,
    )
    .only_if_named(),
    Step::new(
        "soak-ours",
        "half an hour in which peers and callers come and go",
        &["c-compiler"],
        crash::soak,
    )
    .only_if_named(),
    Step::new(
        "attack",
        "attacks over real sockets, during which honest blocks go on (part of `test`)",
        &["c-compiler"],
        attack::run,
    )
    .only_if_named(),
    Step::new(
        "attack-report",
        "the cost of the attacks, in release code",
        &["c-compiler"],
        attack::report,
    )
    .only_if_named(),
    Step::new(
        "fuzz",
        "every decoder and state machine under a fuzzer, for some seconds each",
        &["c-compiler"],
        fuzz::short,
    ),
    Step::new("fuzz-hours", "the same for an hour each", &["c-compiler"], fuzz::hours)
        .only_if_named(),
    Step::new(
        "deny",
        "licences, bans and sources of all dependencies, without advisories",
        &[],
        deny::run,
    ),
];

/// Checks that one package's library compiles for the browser. The npm package is built in full by
/// a later step.
fn wasm(shell: &Shell, package: &[&str]) -> Result<String, String> {
    let build = ["check", "--locked", "--lib", "--target", setup::WASM];
    shell.cargo(&[&build[..], package].concat())
}

/// If this is the first argument, all others go to the devnet.
const DEVNET: &str = "--devnet";

const USAGE: &str = "cargo all-tests [-- [--list | WORD...]]

Sets this machine up and passes every test. With words, runs the steps whose names are or contain
one of them, and the steps that those need. --list names the steps.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, flags)) = arguments.split_first()
        && first == DEVNET
    {
        return up::run(&Shell::new(), flags);
    }
    if arguments.first().is_some_and(|first| first == up::FOLLOWING_PAGE) {
        return up::follow(&Shell::new());
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
    let selected = match plan::select(STEPS, &words) {
        Ok(selected) => selected,
        Err(word) => {
            eprintln!("No step's name contains `{word}`. The steps are:\n{}", plan::list(STEPS));
            return ExitCode::from(2);
        }
    };
    let shell = Shell::new();
    let mut ahead = Ahead::new();
    let results = plan::run(&selected, |step| {
        if words.is_empty() && step.name == ahead::DURING {
            ahead.start(&shell);
        }
        if ahead::STEPS.contains(&step.name) {
            ahead.wait(&shell);
        }
        (step.run)(&shell)
    });
    print!("{}", plan::summary(&results));
    if results.iter().all(|result| result.outcome.is_good()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_build_ahead_are_steps() {
        for name in ahead::STEPS {
            assert!(STEPS.iter().any(|step| step.name == *name), "{name} is not a step");
        }
    }

    #[test]
    fn step_names_are_unique_and_dependencies_come_first() {
        for (at, step) in STEPS.iter().enumerate() {
            let before: Vec<_> = STEPS.iter().take(at).map(|step| step.name).collect();
            assert!(!before.contains(&step.name), "two steps are called {}", step.name);
            for need in step.needs {
                assert!(
                    before.contains(need),
                    "{} needs {need}, which does not come before it",
                    step.name
                );
            }
        }
    }
}
