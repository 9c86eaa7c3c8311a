//! Foreign peers for our nodes to meet: programs around other people's code, in the folders of `tests/interop`.
//!
//! They need what a machine may lack: a Go that is new enough, and the registries that have the code. Without them the
//! steps are left out and say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::shell::{self, Shell};
use crate::{setup, web};

/// The oldest Go that builds op-node's package and op-geth, as their `go.mod` say.
const OLDEST_GO: (u32, u32) = (1, 24);

/// Where the tests find the folder of the built programs.
const PROGRAMS: &str = "OPP2P_INTEROP";

/// The folder of the built programs.
fn programs(shell: &Shell) -> PathBuf {
    shell.target().join("interop")
}

/// A program is not built, for this reason. One of an earlier run would be taken for this one's.
fn left_out(program: &Path, why: &str) -> Result<String, String> {
    if program.exists() {
        fs::remove_file(program)
            .map_err(|error| format!("{} cannot be removed: {error}", program.display()))?;
    }
    Ok(format!("left out: {why}"))
}

/// The program of op-node's own p2p package.
fn op_node_program(shell: &Shell) -> PathBuf {
    programs(shell).join(format!("op-node{}", std::env::consts::EXE_SUFFIX))
}

/// The program of op-geth.
fn op_geth_program(shell: &Shell) -> PathBuf {
    programs(shell).join(format!("op-geth{}", std::env::consts::EXE_SUFFIX))
}

/// Builds op-node's own p2p package.
pub(crate) fn op_node(shell: &Shell) -> Result<String, String> {
    go_program(shell, "op-node", &op_node_program(shell), ".")
}

/// Builds op-geth, by way of its Go module.
pub(crate) fn op_geth(shell: &Shell) -> Result<String, String> {
    go_program(shell, "op-geth", &op_geth_program(shell), "github.com/ethereum/go-ethereum/cmd/geth")
}

/// Builds the package in one of the folders beside the tests, and what it is made of.
fn go_program(shell: &Shell, folder: &str, program: &Path, package: &str) -> Result<String, String> {
    let left_out = |why: String| left_out(program, &why);
    let go = |arguments: &[&str]| go(shell, folder, arguments);
    let (major, minor) = OLDEST_GO;
    if !shell::has("go") {
        return left_out(format!("there is no `go` on the path; {major}.{minor} or newer builds {folder}"));
    }
    let version = shell::output(shell.command("go").args(["env", "GOVERSION"])).unwrap_or_default();
    if go_version(&version).is_none_or(|found| found < OLDEST_GO) {
        return left_out(format!("Go here is `{version}`; {major}.{minor} or newer builds {folder}"));
    }
    println!("{folder} and what it is made of: hundreds of megabytes and minutes, the first time");
    let started = Instant::now();
    if let Err(reason) = shell::run(&mut go(&["mod", "download"])) {
        return left_out(format!("its modules can't be had: {reason}"));
    }
    let downloaded = started.elapsed().as_secs();
    shell::run(go(&["build", "-o"]).arg(program).arg(package))?;
    let size = fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?.len();
    let built = started.elapsed().as_secs() - downloaded;
    Ok(format!("{version}, downloaded in {downloaded} s, built in {built} s, {} MB", size / 1_000_000))
}

/// Go, to be run in a program's folder.
fn go(shell: &Shell, folder: &str, arguments: &[&str]) -> Command {
    let mut command = shell.command("go");
    command.current_dir(shell.root().join("tests/interop").join(folder)).args(arguments);
    // Neither another release of Go nor somebody's workspace around this one.
    command.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    command
}

/// Builds op-node's package once more, with a library that lifts the limits which it keeps in constants.
fn lifted(shell: &Shell) -> Result<(), String> {
    let source = shell.root().join("tests/interop");
    let modules = programs(shell).join("lifted.mod");
    let read = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let write = |path: PathBuf, text: String| {
        fs::write(&path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    };
    let replaced = format!(
        "{}\nreplace golang.org/x/time => {}\n",
        read(source.join("op-node/go.mod"))?,
        source.join("lifted").display()
    );
    write(modules.clone(), replaced)?;
    write(modules.with_extension("sum"), read(source.join("op-node/go.sum"))?)?;
    let program = programs(shell).join(format!("op-node-lifted{}", std::env::consts::EXE_SUFFIX));
    let mut modfile = std::ffi::OsString::from("-modfile=");
    modfile.push(&modules);
    shell::run(go(shell, "op-node", &["build"]).arg(modfile).arg("-o").arg(program).arg("."))
}

/// Builds kona's p2p crate: a workspace of its own, whose hundreds of crates are none of ours.
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
        return left_out(&program, &format!("its crates can't be had: {reason}"));
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

/// Installs what the program in this folder uses, beside a copy of it.
fn of_npm(shell: &Shell, name: &str, sources: &[&str]) -> Result<String, String> {
    let folder = programs(shell).join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if let Err(reason) = setup::node(shell) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        return Ok(format!("left out: {reason}"));
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    for file in ["package.json", "package-lock.json"].iter().chain(sources) {
        fs::copy(shell.root().join("tests/interop").join(name).join(file), folder.join(file))
            .map_err(failed)?;
    }
    web::npm_ci(&folder)
}

/// Runs the tests beside those of the foreign programs that are built.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let cargo = ["test", "--locked", "--package", "opp2p-tests", "--test", "interop"];
    // Who only reads our RPC needs no peer of the reference's.
    if !op_node_program(shell).exists() && programs(shell).join("web3/node_modules/.stamp").exists() {
        run_tests(shell, &cargo, &["web3::"])?;
        return Ok("with viem and ethers alone: op-node's package is not built, as that step says".to_owned());
    }
    tests(shell, &cargo, &[])
}

/// Runs the tests with execution clients.
pub(crate) fn execution(shell: &Shell) -> Result<String, String> {
    if !op_geth_program(shell).exists() {
        return Ok("left out: op-geth is not built, as that step says".to_owned());
    }
    let mut command = shell.cargo_command();
    command.args(["test", "--locked", "--package", "opp2p-tests", "--test", "execution"]);
    shell::run(command.env(PROGRAMS, programs(shell))).map(|()| String::new())
}

/// Measures ours and the reference side by side, and prints the report.
pub(crate) fn report(shell: &Shell) -> Result<String, String> {
    if op_node_program(shell).exists() {
        lifted(shell)?;
    }
    let release = ["test", "--locked", "--release", "--package", "opp2p-tests", "--test", "interop"];
    tests(shell, &release, &["--report"])
}

/// A mixed network for half an hour, nodes of which end and start again.
pub(crate) fn soak(shell: &Shell) -> Result<String, String> {
    tests(shell, &["test", "--locked", "--package", "opp2p-tests", "--test", "interop"], &["--soak"])
}

fn tests(shell: &Shell, cargo: &[&str], arguments: &[&str]) -> Result<String, String> {
    if !op_node_program(shell).exists() {
        return Ok("left out: op-node's package is not built, as that step says".to_owned());
    }
    run_tests(shell, cargo, arguments).map(|()| String::new())
}

fn run_tests(shell: &Shell, cargo: &[&str], arguments: &[&str]) -> Result<(), String> {
    let mut command = shell.cargo_command();
    command.args(cargo).arg("--").args(arguments).env(PROGRAMS, programs(shell));
    shell::run(&mut command)
}

/// Major and minor of `go1.26.8`.
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split(['.', 'r', 'b', '-', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_compare_as_numbers() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.25rc1"), Some((1, 25)));
        assert!(go_version("go1.9.2").is_some_and(|found| found < OLDEST_GO));
        assert_eq!([go_version("devel"), go_version("go1"), go_version("")], [None, None, None]);
    }
}
