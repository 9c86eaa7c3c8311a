//! What a fresh machine may lack: looked for, named, and installed where that is possible.

use std::path::Path;

use crate::shell::{self, Shell};

/// The browser, as Rust calls it.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// What is needed, and the Debian packages that bring it.
const PROGRAMS: &[(&str, &[&str])] = &[("cc", &["gcc", "libc6-dev"]), ("perl", &["perl"])];

/// libsecp256k1 is compiled from C; the assembly of Keccak is written out by Perl.
pub(crate) fn c_compiler(shell: &Shell) -> Result<String, String> {
    let missing = missing(shell::has);
    if missing.is_empty() {
        return Ok("here already".to_owned());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(_, packages)| packages.iter().copied()).collect();
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    println!("{} missing: installing {}", names.join(" and "), packages.join(", "));
    install(shell, &packages)?;
    if let Some((name, _)) = self::missing(shell::has).first() {
        return Err(format!("the packages were installed, and still there is no `{name}` on the path"));
    }
    Ok(format!("installed {}", packages.join(", ")))
}

fn missing(has: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static [&'static str])> {
    PROGRAMS.iter().filter(|(program, _)| !has(program)).copied().collect()
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
        assert!(missing(|_| true).is_empty());
        assert_eq!(missing(|program| program == "cc"), [("perl", &["perl"][..])]);
        assert_eq!(missing(|_| false).len(), PROGRAMS.len());
    }
}
