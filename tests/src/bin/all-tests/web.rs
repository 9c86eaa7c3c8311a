//! The browser's package, its page, its example and its Rust tests.
//!
//! `web/dist/package` is the npm package, `web/dist/page` the page with the package in it. Both are
//! made here: cargo and wasm-pack build the module, and the scripts in `web/build` assemble the
//! rest around it. Stamps avoid rebuilding unchanged parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::shell::{self, Shell};
use crate::stamp::Stamp;
use crate::{setup, tools};

/// No step here takes longer unless it hangs; the slowest compiles the tests from scratch.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Debian's version 108 silently breaks the module.
const OLDEST_WASM_OPT: u32 = 130;

/// Paths of the parts, relative to the root of the workspace.
pub(crate) const PACKAGE: &str = "web/dist/package";
pub(crate) const PAGE: &str = "web/dist/page";
const EXAMPLE: &str = "web/example";
/// The node's program, in the target folder. It serves the page from [`PAGE`]: only release builds
/// embed it.
const NODE: &str = "debug/opp2p";
/// Bundlers for the projects that the packed package is tested in.
const PROJECT_TOOLS: &str = "web/e2e/projects/tools";
/// The table that the page's form suggests networks from.
const NETWORKS: &str = "core/src/chain/networks/table.rs";

/// Installs `web/package-lock.json` with `npm ci`.
pub(crate) fn npm(shell: &Shell) -> Result<String, String> {
    let note = npm_ci(&shell.root().join("web"))?;
    let version = shell::output(
        node(shell)?.arg("web/node_modules/binaryen/bin/wasm-opt").arg("--version"),
    )
    .ok_or(
        "wasm-opt of npm's binaryen does not answer: remove web/node_modules and run this again",
    )?;
    if wasm_opt_version(&version).is_none_or(|found| found < OLDEST_WASM_OPT) {
        return Err(format!("`{version}` is too old: {OLDEST_WASM_OPT} or newer is needed"));
    }
    Ok(note)
}

/// Returns the number in `wasm-opt version 132 (version_132)`.
fn wasm_opt_version(text: &str) -> Option<u32> {
    text.split_whitespace().nth(2)?.parse().ok()
}

/// Installs a folder's lock file, unless it is installed already.
pub(crate) fn npm_ci(folder: &Path) -> Result<String, String> {
    let modules = folder.join("node_modules");
    let inputs = [folder.join("package.json"), folder.join("package-lock.json")];
    let stamp = Stamp::of(modules.join(".stamp"), &inputs, "")?;
    if stamp.holds() {
        return Ok("here already".to_owned());
    }
    npm_ci_always(folder)?;
    stamp.set()?;
    Ok("installed".to_owned())
}

/// No package's scripts are run: none is needed.
fn npm_ci_always(folder: &Path) -> Result<(), String> {
    let npm = shell::find("npm").ok_or("there is no npm on the path")?;
    shell::run(Command::new(npm).current_dir(folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))
}

/// Returns a Node.js command for the root, with the right tools first on its path.
fn node(shell: &Shell) -> Result<Command, String> {
    tool(shell, "node")
}

fn tool(shell: &Shell, program: &str) -> Result<Command, String> {
    let modules = shell.root().join("web/node_modules/.bin").into_os_string();
    let mut command = shell.command(program);
    command.env("PATH", shell::path_with(&[tools::folder(shell), modules])?);
    if let Some(chromium) = shell::find("chromium") {
        command.env("CHROMIUM", chromium);
    }
    command.env("OPP2P_BROWSERS", setup::found_browsers().0.join(" "));
    for (variable, program) in [("FIREFOX", "firefox-esr"), ("WEBKIT", "WebKitWebDriver")] {
        if let Some(found) = shell::find(program) {
            command.env(variable, found);
        }
    }
    Ok(command)
}

fn paths(shell: &Shell, paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(|path| shell.root().join(path)).collect()
}

/// Builds the npm package.
pub(crate) fn package(shell: &Shell) -> Result<String, String> {
    let module = module(shell, ("opp2p-web", "web"), "web", &[])?;
    let evm = self::module(shell, ("opp2p-web-evm", "web/evm"), "web-evm", &[])?;
    let inputs = [
        &[module.clone(), evm.clone()][..],
        &paths(shell, &["web/js", "web/build", "LICENSE-MIT", "LICENSE-APACHE"]),
    ]
    .concat();
    let stamp =
        Stamp::of(shell.root().join("web/dist/package.stamp"), &inputs, env!("CARGO_PKG_VERSION"))?;
    if stamp.holds() {
        return Ok(format!("unchanged, in {PACKAGE}"));
    }
    stamp.clear()?;
    let mut command = node(shell)?;
    command
        .arg("web/build/package.js")
        .args([&module, &evm])
        .args([PACKAGE, env!("CARGO_PKG_VERSION")]);
    shell::run(&mut command)?;
    stamp.set()?;
    Ok(format!("in {PACKAGE}"))
}

/// Builds a module, of this crate in this folder, with cargo and, if the result changed, with
/// wasm-pack. Returns the module's folder.
fn module(
    shell: &Shell,
    (package, source): (&str, &str),
    name: &str,
    features: &[&str],
) -> Result<PathBuf, String> {
    let target = shell.target();
    let folder = target.join("web-module").join(name);
    let build = ["build", "--locked", "--lib", "--profile", "web", "--target", setup::WASM];
    let flags = without_paths(shell)?;
    let mut cargo = shell.cargo_command();
    cargo.args(build).args(["--package", package]).args(features).env(FLAGS, &flags);
    shell::run(&mut cargo)?;
    let raw = target.join(setup::WASM).join(format!("web/{}.wasm", package.replace('-', "_")));
    let manifest = format!("{source}/Cargo.toml");
    let inputs = [&[raw][..], &paths(shell, &[&manifest, "web/package-lock.json"])].concat();
    let stamp = Stamp::of(
        target.join(format!("web-module/{name}.stamp")),
        &inputs,
        &tools::wasm_versions(shell)?,
    )?;
    if !stamp.holds() {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .map_err(|error| format!("{} cannot be removed: {error}", folder.display()))?;
        }
        let mut command = tool(shell, "wasm-pack")?;
        command
            .args([
                "build",
                source,
                "--target",
                "web",
                "--mode",
                "no-install",
                "--no-pack",
                "--profile",
                "web",
            ])
            .arg("--out-dir")
            .arg(&folder)
            .args(["--", "--locked"])
            .args(features)
            .env(FLAGS, &flags);
        shell::run(&mut command)?;
        stamp.set()?;
    }
    Ok(folder)
}

/// Cargo's variable for compiler flags that may contain spaces.
const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";

/// Returns flags that keep this machine's folders out of the module: every panic names its file,
/// for every visitor to download.
fn without_paths(shell: &Shell) -> Result<String, String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let sources = home.ok_or("this user has no home folder: set CARGO_HOME")?.join("registry/src");
    // The folder is missing before the first crate is fetched, and then there is nothing to build
    // either.
    let registries =
        fs::read_dir(&sources).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = registries.chain([shell.root().to_path_buf()]).collect();
    folders.sort();
    let flags = folders.iter().map(|folder| format!("--remap-path-prefix={}/=", folder.display()));
    Ok(flags.collect::<Vec<_>>().join("\u{1f}"))
}

/// Builds the page around the package, and prints the size of a visitor's download. The script
/// fails above its limit.
pub(crate) fn page(shell: &Shell) -> Result<String, String> {
    let inputs = paths(
        shell,
        &["web/dist/package.stamp", "web/page", "web/build", "web/package-lock.json", NETWORKS],
    );
    let stamp = Stamp::of(shell.root().join("web/dist/page.stamp"), &inputs, "")?;
    if !stamp.holds() {
        stamp.clear()?;
        shell::run(node(shell)?.args(["web/build/page.js", PACKAGE, PAGE]))?;
        stamp.set()?;
    }
    let sizes =
        shell::output(node(shell)?.args(["web/build/sizes.js", PAGE])).ok_or_else(|| {
            format!("the sizes of {PAGE} cannot be read: remove it and run this again")
        })?;
    println!("{sizes}");
    sources(shell)?.set()?;
    Ok(sizes.lines().next_back().unwrap_or_default().trim().to_owned())
}

/// Returns whether the page is up to date. Needs no tool, and errs only by taking too much for a
/// change.
pub(crate) fn page_is_fresh(shell: &Shell) -> Result<bool, String> {
    Ok(shell.root().join("web/dist/page.stamp").exists() && sources(shell)?.holds())
}

/// Returns the stamp of all inputs of the page.
fn sources(shell: &Shell) -> Result<Stamp, String> {
    let inputs = [
        "Cargo.toml",
        "Cargo.lock",
        "core/Cargo.toml",
        "core/data",
        "core/evm",
        "core/src",
        "native/wire",
        "web/Cargo.toml",
        "web/evm",
        "web/build",
        "web/js",
        "web/package-lock.json",
        "web/page",
        "web/src",
    ];
    Stamp::of(
        shell.root().join("web/dist/sources.stamp"),
        &paths(shell, &inputs),
        &tools::wasm_versions(shell)?,
    )
}

/// Environment in which a file of Rust tests can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In Node.js.
    Node,
    /// In headless Chromium.
    Browser,
}

/// Returns whether a test file runs here. Without `wasm_bindgen_test_configure!` it runs in both
/// places.
fn runs_in(source: &str, place: Place) -> bool {
    let only_browser = [
        "run_in_browser",
        "run_in_dedicated_worker",
        "run_in_shared_worker",
        "run_in_service_worker",
    ];
    match place {
        Place::Node => !only_browser.iter().any(|mode| source.contains(mode)),
        Place::Browser => !source.contains("run_in_node"),
    }
}

/// Runs each file of `web/tests` that runs in Node.js.
pub(crate) fn test_node(shell: &Shell) -> Result<String, String> {
    test(shell, Place::Node, &["--node".into()])
}

/// Runs each file of `web/tests` that runs in a browser.
pub(crate) fn test_browser(shell: &Shell) -> Result<String, String> {
    let driver = shell::find("chromedriver").ok_or("there is no chromedriver on the path")?;
    let driver = driver.to_string_lossy().into_owned();
    test(
        shell,
        Place::Browser,
        &["--headless".into(), "--chrome".into(), "--chromedriver".into(), driver],
    )
}

fn test(shell: &Shell, place: Place, how: &[String]) -> Result<String, String> {
    let tests = shell.root().join("web/tests");
    let unreadable = |error| format!("web/tests cannot be read: {error}");
    let mut files: Vec<PathBuf> = fs::read_dir(&tests)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(unreadable)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    let mut notes = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).map_err(unreadable)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        if !runs_in(&source, place) {
            println!("{name}: not for this place, by its own configuration");
            continue;
        }
        let mut command = tool(shell, "wasm-pack")?;
        command.arg("test").args(how).args([
            "--mode",
            "no-install",
            "web",
            "--locked",
            "--test",
            &name,
        ]);
        // Without it, a file that also runs elsewhere is skipped.
        if place == Place::Browser && !source.contains("wasm_bindgen_test_configure!") {
            command.env("WASM_BINDGEN_USE_BROWSER", "1");
        }
        command.env("WASM_BINDGEN_TEST_TIMEOUT", "300");
        let (success, output) = shell::run_for_output(&mut command, LIMIT)?;
        print!("{output}");
        let passed = passed(&output).map_err(|reason| format!("{name}: {reason}"))?;
        if !success {
            return Err(format!("{name}: wasm-pack failed though {passed} tests passed"));
        }
        notes.push(format!("{name} {passed}"));
    }
    if notes.is_empty() {
        return Err("no file of web/tests ran".to_owned());
    }
    Ok(format!("passed: {}", notes.join(", ")))
}

/// Returns the number of passed tests. A file that is skipped, has no test or has a failed or
/// ignored one is an error: the runner itself counts some of these as success.
fn passed(output: &str) -> Result<u32, String> {
    let results: Vec<&str> =
        output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")).collect();
    let [result] = results[..] else {
        return Err(format!("{} test results were printed instead of one", results.len()));
    };
    let (verdict, counts) = result.split_once(". ").unwrap_or((result, ""));
    let mut passed = 0;
    for count in counts.split(';') {
        match count.trim().split_once(' ').map(|(number, what)| (number.parse::<u32>(), what)) {
            Some((Ok(number), "passed")) => passed = number,
            Some((Ok(number), what @ ("failed" | "ignored" | "filtered out"))) if number > 0 => {
                return Err(format!("{number} {what}"));
            }
            _ => {}
        }
    }
    if verdict != "ok" || passed == 0 {
        Err(format!("no test passed: {result}"))
    } else {
        Ok(passed)
    }
}

/// Measures validation in Node.js, in Chromium, by hand in JavaScript and natively, all in one run.
pub(crate) fn bench(shell: &Shell) -> Result<String, String> {
    let features = ["--features", "bench"];
    let module = module(shell, ("opp2p-web", "web"), "bench", &features)?;
    let mut native = shell.cargo_command();
    native.args(["bench", "--locked", "--package", "opp2p-core", "--bench", "browser"]);
    native.args(["--features", "fixtures,asm-keccak"]);
    let (success, figures) = shell::run_for_output(&mut native, LIMIT)?;
    if !success {
        return Err("the native benchmark failed".to_owned());
    }
    let site = shell.target().join("web-bench");
    shell::run(node(shell)?.arg("web/bench/run.js").args([&module, &site]).arg(figures.trim()))?;
    Ok(String::new())
}

/// Builds the example as a reader would, and opens it in Chromium.
pub(crate) fn example(shell: &Shell) -> Result<String, String> {
    // Always: the package that it installs is new after every build.
    npm_ci_always(&shell.root().join(EXAMPLE))?;
    for script in [&["typescript/bin/tsc", "--noEmit"][..], &["vite/bin/vite.js", "build"]] {
        let (program, arguments) = script.split_first().ok_or("no program")?;
        let mut command = node(shell)?;
        command
            .current_dir(shell.root().join(EXAMPLE))
            .arg(format!("node_modules/{program}"))
            .args(arguments);
        shell::run(&mut command)?;
    }
    shell::run(node(shell)?.args(["web/build/example.js", "web/example/dist"]))?;
    Ok("type-checked, bundled, and opened in Chromium".to_owned())
}

/// Tests the package in Chromium against native nodes: gateways that are killed, cut off, or lie.
/// Then tests what every browser is tested with, in all browsers that are here.
pub(crate) fn observer(shell: &Shell) -> Result<String, String> {
    lab(shell)?;
    let passed = node_tests(shell, "web/e2e/observer.test.mjs")?
        + node_tests(shell, "web/e2e/reads.test.mjs")?
        + node_tests(shell, "web/e2e/tabs.test.mjs")?;
    let each = node_tests(shell, "web/e2e/browsers.test.mjs")?;
    let (found, lacking) = setup::found_browsers();
    let mut notes =
        vec![format!("{} passed; {each} of them in {}", passed + each, found.join(", "))];
    notes.extend(lacking);
    Ok(notes.join("; "))
}

/// Tests the package's scripts by themselves, then the packed package in fresh projects: the
/// environments that most developers have.
pub(crate) fn projects(shell: &Shell) -> Result<String, String> {
    npm_ci(&shell.root().join(PROJECT_TOOLS))?;
    lab(shell)?;
    let mut passed = 0;
    let scripts = ["start", "observer", "provider", "libraries", "shared", "seen", "leader"];
    for name in scripts {
        passed += node_tests(shell, &format!("web/e2e/package/{name}.test.mjs"))?;
    }
    passed += node_tests(shell, "web/e2e/projects/fast.test.mjs")?;
    Ok(format!("{passed} passed"))
}

/// Tests the packed package in fresh projects of all other environments, newly installed from the
/// npm registry.
pub(crate) fn bundlers(shell: &Shell) -> Result<String, String> {
    lab(shell)?;
    let passed = node_tests(shell, "web/e2e/projects/bundlers.test.mjs")?;
    Ok(format!("{passed} passed"))
}

fn lab(shell: &Shell) -> Result<(), String> {
    shell.cargo(&["build", "--locked", "--workspace", "--example", "lab"]).map(|_| ())
}

/// Tests the page: its parts, over a made-up chain, and on a devnet as a user starts it.
pub(crate) fn looks(shell: &Shell) -> Result<String, String> {
    // The example has the features of the tests built, so that this build takes no time.
    let parts = ["--bin", "opp2p", "--example", "lab"];
    shell.cargo(&[&["build", "--locked", "--workspace"][..], &parts].concat())?;
    let parts = node_tests(shell, "web/e2e/page/parts.test.mjs")?
        + node_tests(shell, "web/e2e/page/trust.test.mjs")?
        + node_tests(shell, "web/e2e/page/rpc.test.mjs")?
        + node_tests(shell, "web/e2e/page/crash.test.mjs")?
        + node_tests(shell, "web/e2e/page/maps.test.mjs")?;
    let mut check = node(shell)?;
    check.args(["web/e2e/page/check.mjs", "--modules", "web/node_modules", "--opp2p"]);
    check.arg(shell.target().join(NODE));
    if let Some(chromium) = shell::find("chromium") {
        check.arg("--browser").arg(chromium);
    }
    shell::run(&mut check)?;
    let devnet = node_tests(shell, "web/e2e/page.test.mjs")?;
    Ok(format!("{} passed, and every check of the page", parts + devnet))
}

/// Runs a file of Node.js's test runner. Returns the number of passed tests. A failed, skipped or
/// unwritten (todo) test is an error.
fn node_tests(shell: &Shell, file: &str) -> Result<u32, String> {
    node_tests_with(shell, file, &[])
}

/// Does the same, with these environment variables.
pub(crate) fn node_tests_with(
    shell: &Shell,
    file: &str,
    variables: &[(&str, PathBuf)],
) -> Result<u32, String> {
    let mut command = node(shell)?;
    command.envs(variables.iter().cloned());
    // A failed test may leave connections open, for which the runner would wait.
    command.args(["--test-force-exit", "--test-reporter=tap", file]);
    command.env("OPP2P", shell.target().join(NODE));
    command.env("OPP2P_LAB", shell.target().join("debug/examples/lab"));
    command.env("OPP2P_PROJECTS", shell.target().join("web-projects"));
    let (success, output) = shell::run_for_output(&mut command, LIMIT)?;
    let is_result =
        |line: &&str| ["ok ", "not ok ", "# "].iter().any(|start| line.starts_with(start));
    if success {
        for line in output.lines().filter(is_result) {
            println!("{line}");
        }
    } else {
        print!("{output}");
    }
    let passed = tap(&output).map_err(|reason| format!("{file}: {reason}"))?;
    if success {
        Ok(passed)
    } else {
        Err(format!("{file}: Node.js failed though {passed} tests passed"))
    }
}

/// Returns the number of passed tests from the counts at the end of the TAP output of Node.js's
/// test runner.
fn tap(output: &str) -> Result<u32, String> {
    let count = |name: &str| {
        let line =
            output.lines().rev().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
        line.and_then(|number| number.trim().parse::<u32>().ok())
    };
    for what in ["fail", "cancelled", "skipped", "todo"] {
        match count(what) {
            Some(0) => {}
            Some(number) => return Err(format!("{number} tests {what}")),
            None => return Err(format!("it does not say how many tests {what}")),
        }
    }
    count("pass").filter(|passed| *passed > 0).ok_or_else(|| "no test passed".to_owned())
}

/// Measures a visitor's waiting times, beside the native node.
pub(crate) fn measure(shell: &Shell) -> Result<String, String> {
    let release = ["build", "--locked", "--release", "--package"];
    shell.cargo(&[&release[..], &["opp2p", "--bin", "opp2p"]].concat())?;
    shell.cargo(&[&release[..], &["opp2p-tests", "--example", "lab"]].concat())?;
    let mut command = node(shell)?;
    command
        .arg("web/e2e/measure.mjs")
        .env("OPP2P_LAB", shell.target().join("release/examples/lab"));
    shell::run(&mut command)?;
    let mut loads = node(shell)?;
    loads.arg("web/e2e/page/measure.mjs").env("OPP2P", shell.target().join("release/opp2p"));
    shell::run(&mut loads)?;
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_result_with_passed_tests_counts() {
        let result =
            |text: &str| passed(&format!("running\n\ntest result: {text}; finished in 0.01s\n"));
        assert_eq!(result("ok. 3 passed; 0 failed; 0 ignored; 0 filtered out"), Ok(3));
        for (text, says) in [
            ("ok. 0 passed; 0 failed; 0 ignored; 0 filtered out", "no test passed"),
            ("FAILED. 2 passed; 1 failed; 0 ignored; 0 filtered out", "1 failed"),
            ("ok. 2 passed; 0 failed; 1 ignored; 0 filtered out", "1 ignored"),
            ("ok. 2 passed; 0 failed; 0 ignored; 3 filtered out", "3 filtered out"),
            ("FAILED. 2 passed", "no test passed"),
            ("ok", "no test passed"),
        ] {
            let reason = result(text).expect_err(says);
            assert!(reason.contains(says), "{reason}");
        }
        assert!(
            passed("this test suite is only configured to run in a browser, skipping\n").is_err()
        );
        assert!(passed("test result: ok. 1 passed\ntest result: ok. 1 passed\n").is_err());
    }

    #[test]
    fn every_node_test_must_pass() {
        let counts = |text: &str| {
            let all = "fail 0 cancelled 0 skipped 0 todo 0 ".to_owned() + text;
            let words: Vec<&str> = all.split_whitespace().collect();
            words.chunks(2).map(|pair| format!("# {}\n", pair.join(" "))).collect::<String>()
        };
        assert_eq!(tap(&counts("pass 7")), Ok(7));
        assert!(tap(&counts("pass 0")).is_err() && tap("").is_err());
        for wrong in ["fail 1", "cancelled 1", "skipped 2", "todo 1"] {
            let reason = tap(&counts(&format!("pass 7 {wrong}"))).expect_err(wrong);
            assert!(wrong.split(' ').all(|word| reason.contains(word)), "{reason}");
        }
    }

    #[test]
    fn a_test_file_declares_where_it_runs() {
        let of = |source| [Place::Node, Place::Browser].map(|place| runs_in(source, place));
        assert_eq!(of("fn x() {}"), [true, true]);
        assert_eq!(of("wasm_bindgen_test_configure!(run_in_browser);"), [false, true]);
        assert_eq!(of("wasm_bindgen_test_configure!(run_in_dedicated_worker);"), [false, true]);
        assert_eq!(of("wasm_bindgen_test_configure!(run_in_node_experimental);"), [true, false]);
    }

    #[test]
    fn lock_files_of_npm_name_no_host() {
        let interop = ["tests/interop/js-libp2p", "tests/interop/web3"];
        for folder in ["web", EXAMPLE, PROJECT_TOOLS].into_iter().chain(interop) {
            let file = Shell::new().root().join(folder).join("package-lock.json");
            let lock = fs::read_to_string(file).expect("it is committed");
            assert!(lock.contains("integrity"), "{folder} pins no contents");
            let host = lock.lines().find(|line| line.contains("://"));
            assert_eq!(host, None, "remove `funding` and `resolved` in {folder}");
        }
    }

    #[test]
    fn the_version_of_wasm_opt_is_read() {
        assert_eq!(wasm_opt_version("wasm-opt version 132 (version_132)"), Some(132));
        assert_eq!(wasm_opt_version("wasm-opt version 108"), Some(108));
        assert_eq!(wasm_opt_version("wasm-opt"), None);
    }
}
