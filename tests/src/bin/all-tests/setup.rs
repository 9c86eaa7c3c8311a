//! What a fresh machine may lack: looked for, named, and installed where that is possible.

use std::path::Path;

use crate::shell::{self, Shell};

/// The browser, as Rust calls it.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Programs, and the Debian packages that bring them.
type Programs = &'static [(&'static str, &'static [&'static str])];

/// libsecp256k1 is compiled from C; the assembly of Keccak is written out by Perl.
const C_COMPILER: Programs = &[("cc", &["gcc", "libc6-dev"]), ("perl", &["perl"])];

/// The page's tools are written in JavaScript.
const NODE: Programs = &[("node", &["nodejs"]), ("npm", &["npm"])];

/// The oldest Node.js that all of them run on.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// The browser, and what drives it in Rust's own tests.
const CHROMIUM: Programs = &[("chromium", &["chromium"]), ("chromedriver", &["chromium-driver"])];

/// What the node's metrics are shown to.
const PROMETHEUS: Programs = &[("prometheus", &["prometheus"]), ("promtool", &["prometheus"])];

/// What the feed is published to.
const NATS: Programs = &[("nats-server", &["nats-server"])];

/// The fuzzer is written in C++.
const CPP_COMPILER: Programs = &[("c++", &["g++"])];

/// A C++ compiler.
pub(crate) fn cpp_compiler(shell: &Shell) -> Result<String, String> {
    programs(shell, CPP_COMPILER)
}

/// What counts instructions.
const VALGRIND: Programs = &[("valgrind", &["valgrind", "libc6-dbg"])];

/// Valgrind.
pub(crate) fn valgrind(shell: &Shell) -> Result<String, String> {
    programs(shell, VALGRIND)
}

/// Prometheus, where it can be had: without it the steps that need it are left out and say so.
pub(crate) fn prometheus(shell: &Shell) -> Result<String, String> {
    Ok(programs(shell, PROMETHEUS).unwrap_or_else(|reason| format!("left out: {reason}")))
}

/// The metrics and the dashboard in a real Prometheus.
pub(crate) fn metrics(shell: &Shell) -> Result<String, String> {
    if let Some((name, _)) = missing(PROMETHEUS, shell::has).first() {
        return Ok(format!("left out: there is no `{name}` here, which Debian's package `prometheus` has"));
    }
    let test = ["test", "--locked", "--package", "opp2p", "--test", "metrics_suite", "prometheus"];
    shell.cargo(&test)
}

/// A NATS server, where it can be had: without it the test that needs it is left out and says so.
pub(crate) fn nats(shell: &Shell) -> Result<String, String> {
    if has_nats() {
        return Ok("here already".to_owned());
    }
    let installed = programs(shell, NATS);
    Ok(if has_nats() {
        "installed".to_owned()
    } else {
        installed.unwrap_or_else(|reason| format!("left out: {reason}"))
    })
}

/// Debian has it among the administrator's programs, where the test looks too.
fn has_nats() -> bool {
    shell::has("nats-server") || Path::new("/usr/sbin/nats-server").is_file()
}

/// The feed in a real NATS server that is killed, and so is the node.
pub(crate) fn feed(shell: &Shell) -> Result<String, String> {
    if !has_nats() {
        return Ok(
            "left out: there is no `nats-server` here, which Debian's package of that name has".to_owned()
        );
    }
    shell.cargo(&["test", "--locked", "--package", "opp2p-tests", "--test", "crash", "feed::"])
}

/// A C compiler and Perl.
pub(crate) fn c_compiler(shell: &Shell) -> Result<String, String> {
    programs(shell, C_COMPILER)
}

/// Node.js that is new enough, and npm.
pub(crate) fn node(shell: &Shell) -> Result<String, String> {
    let note = programs(shell, NODE)?;
    let version = shell::output(shell.command("node").arg("--version"))
        .ok_or("`node --version` does not answer: install Node.js anew")?;
    let (major, minor) = OLDEST_NODE;
    if node_version(&version).is_none_or(|found| found < OLDEST_NODE) {
        return Err(format!("Node.js here is {version}: install {major}.{minor} or newer"));
    }
    Ok(format!("Node.js {version}, {note}"))
}

/// Major and minor of what `node --version` prints.
fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Chromium and chromedriver, from one source so that their versions match.
pub(crate) fn chromium(shell: &Shell) -> Result<String, String> {
    programs(shell, CHROMIUM)
}

/// Installs those of the programs that are missing.
fn programs(shell: &Shell, programs: Programs) -> Result<String, String> {
    let missing = missing(programs, shell::has);
    if missing.is_empty() {
        return Ok("here already".to_owned());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(_, packages)| packages.iter().copied()).collect();
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let packages = deduplicated(&packages);
    println!("{} missing: installing {}", names.join(" and "), packages.join(", "));
    install(shell, &packages)?;
    if let Some((name, _)) = self::missing(programs, shell::has).first() {
        return Err(format!("the packages were installed, and still there is no `{name}` on the path"));
    }
    Ok(format!("installed {}", packages.join(", ")))
}

/// Each once, in the order of their first places.
fn deduplicated<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut once: Vec<&str> = Vec::new();
    for package in packages {
        if !once.contains(package) {
            once.push(package);
        }
    }
    once
}

fn missing(programs: Programs, has: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static [&'static str])> {
    programs.iter().filter(|(program, _)| !has(program)).copied().collect()
}

/// Installs Debian packages, as root or by a sudo that asks for nothing.
fn install(shell: &Shell, packages: &[&str]) -> Result<(), String> {
    let by_hand = format!("install {} (names as in Debian) and run this again", packages.join(", "));
    if !shell::has("apt-get") {
        return Err(format!("there is no apt-get here: {by_hand}"));
    }
    let root = shell::output(shell.command("id").arg("-u")).as_deref() == Some("0");
    let sudo = !root && shell::output(shell.command("sudo").args(["-n", "true"])).is_some();
    if !root && !sudo {
        return Err(format!("only root may install packages: {by_hand}"));
    }
    for arguments in [&["update"][..], &[&["install", "-y", "--no-install-recommends"], packages].concat()] {
        let mut command = shell.command(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.args(["-n", "apt-get"]);
        }
        shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// The standard library for the browser.
pub(crate) fn wasm_target(shell: &Shell) -> Result<String, String> {
    if has_wasm_target(shell) {
        return Ok("here already".to_owned());
    }
    println!("{WASM} is missing: rustup adds it");
    if !shell::has("rustup") {
        return Err(format!("there is no rustup here: install Rust's {WASM} target by what installed Rust"));
    }
    shell::run(shell.command("rustup").args(["target", "add", WASM]))?;
    if has_wasm_target(shell) {
        Ok(format!("added {WASM}"))
    } else {
        Err(format!("rustup added {WASM}, but not to the toolchain that builds this workspace"))
    }
}

/// Asks the compiler itself, which knows with and without rustup.
fn has_wasm_target(shell: &Shell) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = shell::output(shell.command(rustc).args(["--print", "target-libdir", "--target", WASM]));
    folder.is_some_and(|folder| Path::new(&folder).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert!(missing(C_COMPILER, |_| true).is_empty());
        assert_eq!(missing(C_COMPILER, |program| program == "cc"), [("perl", &["perl"][..])]);
        assert_eq!(deduplicated(&["a", "b", "a"]), ["a", "b"]);
        assert_eq!(missing(CHROMIUM, |_| false).len(), CHROMIUM.len());
    }

    #[test]
    fn versions_of_node_compare_as_numbers() {
        assert_eq!(node_version("v20.19.2\n"), Some((20, 19)));
        assert!(node_version("v9.11.2").is_some_and(|found| found < OLDEST_NODE));
        assert!(node_version("v20.9.0").is_some_and(|found| found < OLDEST_NODE));
        assert!(node_version("v24.0.0").is_some_and(|found| found >= OLDEST_NODE));
        assert_eq!([node_version("20.1.0"), node_version("v20"), node_version("")], [None, None, None]);
    }
}
