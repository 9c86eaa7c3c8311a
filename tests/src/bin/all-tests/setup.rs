//! Dependencies that a fresh machine may lack: detected, named, and installed where possible.

use std::path::Path;

use crate::plan::left_out;
use crate::shell::{self, Shell};

/// Rust's name for the browser target.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Programs, and the Debian packages that provide them.
type Programs = &'static [(&'static str, &'static [&'static str])];

/// libsecp256k1 is compiled from C; Perl generates the assembly of Keccak.
const C_COMPILER: Programs = &[("cc", &["gcc", "libc6-dev"]), ("perl", &["perl"])];

/// The page's tools are written in JavaScript.
const NODE: Programs = &[("node", &["nodejs"]), ("npm", &["npm"])];

/// The oldest Node.js that runs all of them.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// The browser, and the driver that Rust's own tests use.
const CHROMIUM: Programs = &[("chromium", &["chromium"]), ("chromedriver", &["chromium-driver"])];

/// The other browsers of the end-to-end tests, by the names that these use. WebKitGTK needs a
/// display, for which GTK's broadway server suffices.
const OTHER_BROWSERS: &[(&str, Programs)] = &[
    ("firefox", &[("firefox-esr", &["firefox-esr"])]),
    ("webkit", &[("WebKitWebDriver", &["webkit2gtk-driver"]), ("broadwayd", &["libgtk-3-bin"])]),
];

/// Scrapes the node's metrics.
const PROMETHEUS: Programs = &[("prometheus", &["prometheus"]), ("promtool", &["prometheus"])];

/// Receives the feed.
const NATS: Programs = &[("nats-server", &["nats-server"])];

/// The fuzzer is written in C++.
const CPP_COMPILER: Programs = &[("c++", &["g++"])];

/// Installs a C++ compiler.
pub(crate) fn cpp_compiler(shell: &Shell) -> Result<String, String> {
    programs(shell, CPP_COMPILER)
}

/// Counts instructions.
const VALGRIND: Programs = &[("valgrind", &["valgrind", "libc6-dbg"])];

/// Installs Valgrind.
pub(crate) fn valgrind(shell: &Shell) -> Result<String, String> {
    programs(shell, VALGRIND)
}

/// Installs Prometheus, where it is available. Without it the steps that need it are left out and
/// report that.
pub(crate) fn prometheus(shell: &Shell) -> Result<String, String> {
    Ok(programs(shell, PROMETHEUS).unwrap_or_else(left_out))
}

/// Tests the metrics, the dashboard and the alerts in a real Prometheus.
pub(crate) fn metrics(shell: &Shell) -> Result<String, String> {
    if let Some((name, _)) = missing(PROMETHEUS, shell::has).first() {
        return Ok(left_out(format_args!(
            "there is no `{name}` here, which Debian's package `prometheus` has"
        )));
    }
    let test = ["test", "--locked", "--workspace", "--test", "metrics_suite", "prometheus"];
    shell.cargo(&test)
}

/// Installs a NATS server, where it is available. Without it the test that needs it is left out and
/// reports that.
pub(crate) fn nats(shell: &Shell) -> Result<String, String> {
    if has_nats() {
        return Ok("here already".to_owned());
    }
    let installed = programs(shell, NATS);
    Ok(if has_nats() { "installed".to_owned() } else { installed.unwrap_or_else(left_out) })
}

/// Returns whether a NATS server is present. Debian installs it among the administrator's programs,
/// where the test looks too.
fn has_nats() -> bool {
    shell::has("nats-server") || Path::new("/usr/sbin/nats-server").is_file()
}

/// Tests the feed with a real NATS server; both the server and the node are killed.
pub(crate) fn feed(shell: &Shell) -> Result<String, String> {
    if !has_nats() {
        return Ok(left_out(
            "there is no `nats-server` here, which Debian's package of that name has",
        ));
    }
    shell.cargo(&["test", "--locked", "--workspace", "--test", "crash", "feed::"])
}

/// Reverse proxies in front of a gateway.
const PROXIES: Programs = &[("nginx", &["nginx-light"]), ("caddy", &["caddy"])];

/// Installs nginx and Caddy, where they are available, and runs both in front of a gateway.
pub(crate) fn proxies(shell: &Shell) -> Result<String, String> {
    let lacking = missing(PROXIES, has_proxy);
    let installed = programs_by(shell, PROXIES, has_proxy);
    // Debian starts each as a service, which this machine's owner did not ask for.
    for (name, _) in lacking.iter().filter(|(name, _)| has_proxy(name)) {
        if shell::has("systemctl") {
            let _ = shell.command("systemctl").args(["disable", "--quiet", "--now", name]).status();
        }
    }
    shell.cargo(&["test", "--locked", "--workspace", "--test", "cli_suite", "proxies::"])?;
    Ok(installed.map_or_else(left_out, |_| "nginx and Caddy".to_owned()))
}

/// Returns whether a proxy is present. Debian installs nginx among the administrator's programs.
fn has_proxy(name: &str) -> bool {
    shell::has(name) || Path::new("/usr/sbin").join(name).is_file()
}

/// Make certificates, and have a browser trust them.
const CERTIFICATE_TOOLS: Programs = &[("certutil", &["libnss3-tools"]), ("openssl", &["openssl"])];

/// Installs the tools for certificates.
pub(crate) fn certificate_tools(shell: &Shell) -> Result<String, String> {
    programs(shell, CERTIFICATE_TOOLS)
}

/// Installs a C compiler and Perl.
pub(crate) fn c_compiler(shell: &Shell) -> Result<String, String> {
    programs(shell, C_COMPILER)
}

/// Installs Node.js and npm, and checks that Node.js is new enough.
pub(crate) fn node(shell: &Shell) -> Result<String, String> {
    let note = programs(shell, NODE)?;
    let version = shell::output(shell.command("node").arg("--version"))
        .ok_or("`node --version` does not answer: install Node.js again")?;
    let (major, minor) = OLDEST_NODE;
    if node_version(&version).is_none_or(|found| found < OLDEST_NODE) {
        return Err(format!("Node.js here is {version}: install {major}.{minor} or newer"));
    }
    Ok(format!("Node.js {version}, {note}"))
}

/// Returns major and minor version in the output of `node --version`.
fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Installs Chromium and chromedriver, from one source so that their versions match. Installs the
/// other browsers too, where they are available: without them the end-to-end tests leave them out
/// and report that.
pub(crate) fn browsers(shell: &Shell) -> Result<String, String> {
    let mut note = format!("Chromium: {}", programs(shell, CHROMIUM)?);
    for (name, browser) in OTHER_BROWSERS {
        let done = programs(shell, browser).unwrap_or_else(|reason| format!("left out: {reason}"));
        note += &format!("; {name}: {done}");
    }
    Ok(note)
}

/// Returns the names of the browsers that are here, and the reasons why the others are left out.
pub(crate) fn found_browsers() -> (Vec<&'static str>, Vec<String>) {
    browsers_by(shell::has)
}

fn browsers_by(has: impl Fn(&str) -> bool) -> (Vec<&'static str>, Vec<String>) {
    let (mut found, mut lacking) = (vec!["chromium"], Vec::new());
    for (name, browser) in OTHER_BROWSERS {
        match missing(browser, &has).first() {
            None => found.push(name),
            Some((program, _)) => {
                lacking.push(format!("{name} is left out: there is no `{program}` here"));
            }
        }
    }
    (found, lacking)
}

/// Installs those of the programs that are missing.
fn programs(shell: &Shell, programs: Programs) -> Result<String, String> {
    programs_by(shell, programs, shell::has)
}

fn programs_by(
    shell: &Shell,
    programs: Programs,
    has: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let missing = missing(programs, &has);
    if missing.is_empty() {
        return Ok("here already".to_owned());
    }
    let packages: Vec<&str> =
        missing.iter().flat_map(|(_, packages)| packages.iter().copied()).collect();
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let packages = deduplicated(&packages);
    println!("{} missing: installing {}", names.join(" and "), packages.join(", "));
    install(shell, &packages)?;
    if let Some((name, _)) = self::missing(programs, &has).first() {
        return Err(format!(
            "the packages were installed, and still there is no `{name}` on the path"
        ));
    }
    Ok(format!("installed {}", packages.join(", ")))
}

/// Returns each package once, in order of first occurrence.
fn deduplicated<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut once: Vec<&str> = Vec::new();
    for package in packages {
        if !once.contains(package) {
            once.push(package);
        }
    }
    once
}

fn missing(
    programs: Programs,
    has: impl Fn(&str) -> bool,
) -> Vec<(&'static str, &'static [&'static str])> {
    programs.iter().filter(|(program, _)| !has(program)).copied().collect()
}

/// Installs Debian packages, as root or with a sudo that needs no password.
fn install(shell: &Shell, packages: &[&str]) -> Result<(), String> {
    let by_hand =
        format!("install {} (names as in Debian) and run this again", packages.join(", "));
    if !shell::has("apt-get") {
        return Err(format!("there is no apt-get here: {by_hand}"));
    }
    let root = shell::output(shell.command("id").arg("-u")).as_deref() == Some("0");
    let sudo = !root && shell::output(shell.command("sudo").args(["-n", "true"])).is_some();
    if !root && !sudo {
        return Err(format!("only root may install packages: {by_hand}"));
    }
    for arguments in
        [&["update"][..], &[&["install", "-y", "--no-install-recommends"], packages].concat()]
    {
        let mut command = shell.command(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.args(["-n", "apt-get"]);
        }
        shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// Installs the standard library for the browser.
pub(crate) fn wasm_target(shell: &Shell) -> Result<String, String> {
    rust_target(shell, WASM)
}

/// A C compiler for programs that contain their C library, and binutils to look into them.
const MUSL: Programs =
    &[("musl-gcc", &["musl-tools"]), ("readelf", &["binutils"]), ("dpkg-deb", &["dpkg"])];

/// Installs what static programs are built with.
pub(crate) fn musl(shell: &Shell, target: &str) -> Result<String, String> {
    let installed = programs(shell, MUSL)?;
    Ok(format!("{installed}; {}", rust_target(shell, target)?))
}

/// Makes a fresh Debian, and boots it.
const DEBIAN: Programs =
    &[("debootstrap", &["debootstrap"]), ("systemd-nspawn", &["systemd-container"])];

/// Installs what makes and boots a fresh Debian. It can be tried without booting it.
pub(crate) fn debian(shell: &Shell) -> Result<(), String> {
    match programs(shell, DEBIAN) {
        Err(reason) if !["mmdebstrap", "debootstrap"].into_iter().any(shell::has) => Err(reason),
        _ => Ok(()),
    }
}

/// Builds images of containers.
const BUILDAH: Programs = &[("buildah", &["buildah"])];

/// Installs buildah.
pub(crate) fn buildah(shell: &Shell) -> Result<String, String> {
    programs(shell, BUILDAH)
}

/// Installs the standard library for a target.
pub(crate) fn rust_target(shell: &Shell, target: &str) -> Result<String, String> {
    if has_target(shell, target) {
        return Ok("here already".to_owned());
    }
    println!("{target} is missing: rustup adds it");
    if !shell::has("rustup") {
        return Err(format!(
            "there is no rustup here: install Rust's {target} target by what installed Rust"
        ));
    }
    shell::run(shell.command("rustup").args(["target", "add", target]))?;
    if has_target(shell, target) {
        Ok(format!("added {target}"))
    } else {
        Err(format!("rustup added {target}, but not to the toolchain that builds this workspace"))
    }
}

/// Asks the compiler itself, which works with and without rustup.
fn has_target(shell: &Shell, target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder =
        shell::output(shell.command(rustc).args(["--print", "target-libdir", "--target", target]));
    folder.is_some_and(|folder| Path::new(&folder).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_packages_are_installed() {
        assert!(missing(C_COMPILER, |_| true).is_empty());
        assert_eq!(missing(C_COMPILER, |program| program == "cc"), [("perl", &["perl"][..])]);
        assert_eq!(deduplicated(&["a", "b", "a"]), ["a", "b"]);
        assert_eq!(missing(CHROMIUM, |_| false).len(), CHROMIUM.len());
    }

    #[test]
    fn a_browser_that_is_not_here_is_left_out_and_named() {
        assert_eq!(browsers_by(|_| true), (vec!["chromium", "firefox", "webkit"], vec![]));
        let (found, lacking) = browsers_by(|program| program != "broadwayd");
        assert_eq!(found, ["chromium", "firefox"]);
        assert!(matches!(&lacking[..], [reason] if reason.contains("`broadwayd`")), "{lacking:?}");
    }

    #[test]
    fn versions_of_node_compare_as_numbers() {
        assert_eq!(node_version("v20.19.2\n"), Some((20, 19)));
        assert!(node_version("v9.11.2").is_some_and(|found| found < OLDEST_NODE));
        assert!(node_version("v20.9.0").is_some_and(|found| found < OLDEST_NODE));
        assert!(node_version("v24.0.0").is_some_and(|found| found >= OLDEST_NODE));
        assert_eq!(
            [node_version("20.1.0"), node_version("v20"), node_version("")],
            [None, None, None]
        );
    }
}
