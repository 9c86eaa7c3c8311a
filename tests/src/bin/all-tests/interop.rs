//! Foreign peers for our nodes: programs around code of other projects, in the folders of
//! `tests/interop`.
//!
//! They need things that a machine may lack: a recent Go, and the registries that have the code.
//! Without them the steps are left out and report that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::plan::left_out;
use crate::shell::{self, Shell};
use crate::{setup, up, web};

/// The oldest Go that builds op-node's package and op-geth, according to their `go.mod`.
const OLDEST_GO: (u32, u32) = (1, 24);

/// Oldest Go version that builds pebble and p2p-forge.
const OLDEST_GO_OF_AUTHORITY: (u32, u32) = (1, 25);

/// The oldest Go that builds the programs with the current go-libp2p.
const OLDEST_GO_OF_NEWEST: (u32, u32) = (1, 26);

/// The folder of the newest op-node that builds, and the name of its program.
const NEWEST: &str = "op-node-newest";

/// The module of op-node.
const OPTIMISM: &str = "github.com/ethereum-optimism/optimism";

/// Maximum time for downloading a module.
const DOWNLOAD: Duration = Duration::from_secs(600);

/// Variable that gives the tests the folder of the built programs.
pub(crate) const PROGRAMS: &str = "OPP2P_INTEROP";

/// Returns the folder of the built programs.
pub(crate) fn programs(shell: &Shell) -> PathBuf {
    shell.target().join("interop")
}

/// Reports that a program is not built, and why. Removes an earlier build, which would be taken for
/// this run's.
fn not_built(program: &Path, why: &str) -> Result<String, String> {
    if program.exists() {
        fs::remove_file(program)
            .map_err(|error| format!("{} cannot be removed: {error}", program.display()))?;
    }
    Ok(left_out(why))
}

/// Returns the path of the program with this name.
fn program(shell: &Shell, name: &str) -> PathBuf {
    programs(shell).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Returns the path of the program around op-node's own p2p package.
fn op_node_program(shell: &Shell) -> PathBuf {
    program(shell, "op-node")
}

/// Returns the path of op-geth.
fn op_geth_program(shell: &Shell) -> PathBuf {
    program(shell, "op-geth")
}

/// Builds op-node's own p2p package.
pub(crate) fn op_node(shell: &Shell) -> Result<String, String> {
    go_program(shell, "op-node", OLDEST_GO, ".")
}

/// Builds op-geth from its Go module.
pub(crate) fn op_geth(shell: &Shell) -> Result<String, String> {
    go_program(shell, "op-geth", OLDEST_GO, "github.com/ethereum/go-ethereum/cmd/geth")
}

/// Builds the certificate authority pebble from its Go module.
pub(crate) fn pebble(shell: &Shell) -> Result<String, String> {
    let package = "github.com/letsencrypt/pebble/v2/cmd/pebble";
    go_program(shell, "pebble", OLDEST_GO_OF_AUTHORITY, package)
}

/// Builds p2p-forge, the broker for nodes' own names, from its Go module.
pub(crate) fn p2p_forge(shell: &Shell) -> Result<String, String> {
    go_program(shell, "p2p-forge", OLDEST_GO_OF_AUTHORITY, "github.com/ipshipyard/p2p-forge")
}

/// Builds bare go-libp2p hosts.
pub(crate) fn pubsub(shell: &Shell) -> Result<String, String> {
    go_program(shell, "pubsub", OLDEST_GO_OF_NEWEST, ".")
}

/// Returns the version of the installed Go, or why it can't build the folder.
fn usable_go(shell: &Shell, folder: &str, oldest: (u32, u32)) -> Result<String, String> {
    let (major, minor) = oldest;
    if !shell::has("go") {
        return Err(format!(
            "there is no `go` on the path; {major}.{minor} or newer builds {folder}"
        ));
    }
    let version = shell::output(shell.command("go").args(["env", "GOVERSION"])).unwrap_or_default();
    if go_version(&version).is_none_or(|found| found < oldest) {
        return Err(format!("Go here is `{version}`; {major}.{minor} or newer builds {folder}"));
    }
    Ok(version)
}

/// Downloads the modules of a folder beside the tests and builds its package.
fn go_program(
    shell: &Shell,
    folder: &str,
    oldest: (u32, u32),
    package: &str,
) -> Result<String, String> {
    let program = program(shell, folder);
    let version = match usable_go(shell, folder, oldest) {
        Ok(version) => version,
        Err(why) => return not_built(&program, &why),
    };
    println!("{folder} and what it is made of: hundreds of megabytes and minutes, the first time");
    let started = Instant::now();
    if let Err(reason) = shell::run(&mut go(shell, folder, &["mod", "download"])) {
        return not_built(&program, &format!("its modules can't be had: {reason}"));
    }
    let downloaded = started.elapsed();
    shell::run(go(shell, folder, &["build", "-o"]).arg(&program).arg(package))?;
    built(&program, &version, started, downloaded)
}

/// Reports on a program that was built.
fn built(
    program: &Path,
    version: &str,
    started: Instant,
    downloaded: Duration,
) -> Result<String, String> {
    let size =
        fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?.len();
    let (took, downloaded) = (started.elapsed().as_secs(), downloaded.as_secs());
    let built = took - downloaded;
    Ok(format!(
        "{version}, downloaded in {downloaded} s, built in {built} s, {} MB",
        size / 1_000_000
    ))
}

/// Builds the package of the folder `op-node` with a newer release. The published module of that
/// release can't be a dependency: it lacks a file that it embeds. A copy of the module with the
/// file replaces it.
pub(crate) fn op_node_newest(shell: &Shell) -> Result<String, String> {
    let program = program(shell, NEWEST);
    let version = match usable_go(shell, NEWEST, OLDEST_GO_OF_NEWEST) {
        Ok(version) => version,
        Err(why) => return not_built(&program, &why),
    };
    let started = Instant::now();
    let source = shell.root().join("tests/interop").join(NEWEST);
    let modules = read(&source.join("go.mod"))?;
    let release = required(&modules, OPTIMISM)
        .ok_or_else(|| format!("{NEWEST}/go.mod does not require {OPTIMISM}"))?;
    let mut download = go(shell, NEWEST, &["mod", "download", "-json"]);
    download.arg(format!("{OPTIMISM}@{release}"));
    let (is_there, told) = shell::run_for_output(&mut download, DOWNLOAD)?;
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    let Some(module) = told["Dir"].as_str().filter(|_| is_there) else {
        let why = told["Error"].as_str().unwrap_or("see above");
        return not_built(&program, &format!("its module can't be had: {why}"));
    };
    let copy = programs(shell).join("optimism");
    let mut prepare = go(shell, NEWEST, &["run", "prepare.go", module]);
    // The preparation uses no modules, and those of the folder are incomplete before it.
    shell::run(prepare.arg(&copy).env("GO111MODULE", "off"))?;

    let modfile = programs(shell).join("op-node-newest.mod");
    let replaced = format!("{modules}\nreplace {OPTIMISM} => {}\n", copy.display());
    write(&modfile, &replaced)?;
    write(&modfile.with_extension("sum"), &read(&source.join("go.sum"))?)?;
    let mut flag = std::ffi::OsString::from("-modfile=");
    flag.push(&modfile);
    let with = |arguments: &[&str]| {
        let mut command = go(shell, "op-node", arguments);
        command.arg(&flag).args(["-tags", "newest"]);
        command
    };
    // Lists nothing, but downloads the modules needed for the list: fewer than all modules.
    if let Err(reason) = shell::run(with(&["list", "-deps", "-f", "{{if false}}{{end}}"]).arg("."))
    {
        return not_built(&program, &format!("its modules can't be had: {reason}"));
    }
    let downloaded = started.elapsed();
    shell::run(with(&["build"]).arg("-o").arg(&program).arg("."))?;
    built(&program, &version, started, downloaded).map(|note| format!("{release}: {note}"))
}

/// Returns the version of a module that a `go.mod` requires.
fn required<'a>(modules: &'a str, module: &str) -> Option<&'a str> {
    modules.lines().find_map(|line| {
        let mut words = line.trim_start().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    })
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Returns a Go command for a program's folder.
fn go(shell: &Shell, folder: &str, arguments: &[&str]) -> Command {
    let mut command = shell.command("go");
    command.current_dir(shell.root().join("tests/interop").join(folder)).args(arguments);
    // Use neither another release of Go nor a workspace around this one.
    command.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    command
}

/// Builds op-node's package a second time, with a library that lifts the limits that op-node has as
/// constants.
fn lifted(shell: &Shell) -> Result<(), String> {
    let source = shell.root().join("tests/interop");
    let modules = programs(shell).join("lifted.mod");
    let replaced = format!(
        "{}\nreplace golang.org/x/time => {}\n",
        read(&source.join("op-node/go.mod"))?,
        source.join("lifted").display()
    );
    write(&modules, &replaced)?;
    write(&modules.with_extension("sum"), &read(&source.join("op-node/go.sum"))?)?;
    let program = program(shell, "op-node-lifted");
    let mut modfile = std::ffi::OsString::from("-modfile=");
    modfile.push(&modules);
    shell::run(go(shell, "op-node", &["build"]).arg(modfile).arg("-o").arg(program).arg("."))
}

/// Builds kona's p2p crate: a workspace of its own, so that its hundreds of crates stay out of
/// ours.
pub(crate) fn kona(shell: &Shell) -> Result<String, String> {
    let name = format!("kona{}", std::env::consts::EXE_SUFFIX);
    let (program, target) = (programs(shell).join(&name), programs(shell).join("kona-target"));
    let cargo = |command: &str| {
        let mut cargo = shell.cargo_command();
        cargo.args([command, "--locked", "--manifest-path", "tests/interop/kona/Cargo.toml"]);
        cargo
    };
    println!("kona's p2p crate and what it is made of: six hundred crates, the first time");
    if let Err(reason) = shell::run(&mut cargo("fetch")) {
        return not_built(&program, &format!("its crates can't be had: {reason}"));
    }
    let started = Instant::now();
    shell::run(cargo("build").arg("--target-dir").arg(&target))?;
    let built = started.elapsed().as_secs();
    let size = fs::copy(target.join("debug").join(&name), &program)
        .map_err(|error| format!("{} cannot be written: {error}", program.display()))?;
    Ok(format!("built in {built} s, {} MB", size / 1_000_000))
}

/// Installs js-libp2p beside the program that uses it.
pub(crate) fn js_libp2p(shell: &Shell) -> Result<String, String> {
    of_npm(shell, "js-libp2p", &["missing.mjs", "blocks.mjs", "main.mjs"])
}

/// Installs viem and ethers beside the program that uses them.
pub(crate) fn web3(shell: &Shell) -> Result<String, String> {
    of_npm(shell, "web3", &["main.mjs"])
}

/// Installs the dependencies of the program in this folder, beside a copy of it.
fn of_npm(shell: &Shell, name: &str, sources: &[&str]) -> Result<String, String> {
    let folder = programs(shell).join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if let Err(reason) = setup::node(shell) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        return Ok(left_out(reason));
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    for file in ["package.json", "package-lock.json"].iter().chain(sources) {
        fs::copy(shell.root().join("tests/interop").join(name).join(file), folder.join(file))
            .map_err(failed)?;
    }
    web::npm_ci(&folder)
}

/// Runs the tests with those foreign programs that are built.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let cargo = ["test", "--locked", "--workspace", "--test", "interop"];
    // Programs that only read our RPC need no reference peer.
    if !op_node_program(shell).exists() && programs(shell).join("web3/node_modules/.stamp").exists()
    {
        let note = run_tests(shell, &cargo, &["web3::"])?;
        let why = "with viem and ethers alone: op-node's package is not built, as that step says";
        return Ok([why, &note].join("\n").trim_end().to_owned());
    }
    tests(shell, &cargo, &[])
}

/// Runs the tests with execution clients.
pub(crate) fn execution(shell: &Shell) -> Result<String, String> {
    if !op_geth_program(shell).exists() {
        return Ok(left_out("op-geth is not built, as that step says"));
    }
    let mut command = shell.cargo_command();
    command.args(["test", "--locked", "--workspace", "--test", "execution"]);
    shell::run_tests(command.env(PROGRAMS, programs(shell)))
}

/// Runs the tests of certificates with pebble.
pub(crate) fn certificates(shell: &Shell) -> Result<String, String> {
    with_authority(shell, "acme::", &["pebble"])
}

/// Programs that nodes obtain certificates for their own names from.
const FOR_OWN_NAMES: &[&str] = &["pebble", "p2p-forge"];

/// Runs the tests of nodes' own names with pebble and p2p-forge.
pub(crate) fn autotls(shell: &Shell) -> Result<String, String> {
    with_authority(shell, "own_name::", FOR_OWN_NAMES)
}

/// Opens the page of a node with its own name in Chromium, which trusts pebble's root.
pub(crate) fn autotls_browser(shell: &Shell) -> Result<String, String> {
    if let Some(lacking) = lacking(shell, FOR_OWN_NAMES) {
        return Ok(left_out(lacking));
    }
    if let Err(reason) = setup::certificate_tools(shell) {
        return Ok(left_out(reason));
    }
    up::build(shell)?;
    let variables = [(PROGRAMS, programs(shell))];
    let passed = web::node_tests_with(shell, "web/e2e/autotls.test.mjs", &variables)?;
    Ok(format!("{passed} passed"))
}

/// Says which of these programs is not built.
fn lacking(shell: &Shell, names: &[&str]) -> Option<String> {
    let name = names.iter().find(|name| !program(shell, name).exists())?;
    Some(format!("{name} is not built, as that step says"))
}

fn with_authority(shell: &Shell, tests: &str, needs: &[&str]) -> Result<String, String> {
    if let Some(lacking) = lacking(shell, needs) {
        return Ok(left_out(lacking));
    }
    run_tests(shell, &["test", "--locked", "--workspace", "--test", "certificates"], &[tests])
}

/// Measures our node and the reference side by side, and prints the report.
pub(crate) fn report(shell: &Shell) -> Result<String, String> {
    if op_node_program(shell).exists() {
        lifted(shell)?;
    }
    let release =
        ["test", "--locked", "--release", "--package", "opp2p-tests", "--test", "interop"];
    tests(shell, &release, &["--report"])
}

/// Runs a mixed network for half an hour, in which nodes end and start again.
pub(crate) fn soak(shell: &Shell) -> Result<String, String> {
    tests(shell, &["test", "--locked", "--workspace", "--test", "interop"], &["--soak"])
}

fn tests(shell: &Shell, cargo: &[&str], arguments: &[&str]) -> Result<String, String> {
    if !op_node_program(shell).exists() {
        return Ok(left_out("op-node's package is not built, as that step says"));
    }
    run_tests(shell, cargo, arguments)
}

fn run_tests(shell: &Shell, cargo: &[&str], arguments: &[&str]) -> Result<String, String> {
    let mut command = shell.cargo_command();
    command.args(cargo).arg("--").args(arguments).env(PROGRAMS, programs(shell));
    shell::run_tests(&mut command)
}

/// Returns major and minor version of `go1.26.8`.
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers =
        text.trim().strip_prefix("go")?.split(['.', 'r', 'b', '-', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_module_version_is_read_in_both_forms() {
        let modules =
            "module x\n\nrequire a.b/c v1.2.3\nrequire (\n\ta.b/d v4.5.6 // indirect\n)\n";
        assert_eq!(required(modules, "a.b/c"), Some("v1.2.3"));
        assert_eq!(required(modules, "a.b/d"), Some("v4.5.6"));
        assert_eq!(required(modules, "a.b"), None);
    }

    #[test]
    fn versions_of_go_compare_as_numbers() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.25rc1"), Some((1, 25)));
        assert!(go_version("go1.9.2").is_some_and(|found| found < OLDEST_GO));
        assert_eq!([go_version("devel"), go_version("go1"), go_version("")], [None, None, None]);
    }
}
