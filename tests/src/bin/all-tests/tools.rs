//! Programs written in Rust that steps use, each in exactly one version, so that their behaviour
//! stays the same. Missing ones are built into `target/tools`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{self, Shell};

/// Folder in which they are built if they are not on the path.
const TOOLS: &str = "target/tools";

/// The version of wasm-pack.
const WASM_PACK: &str = "0.15.1";

/// A program, and the package that provides it.
#[derive(Debug)]
pub(crate) struct Tool<'a> {
    /// The package on the registry.
    pub(crate) package: &'a str,
    /// The program, which supports `--version`.
    pub(crate) program: &'a str,
    /// The required version.
    pub(crate) version: &'a str,
    /// Its optimisation level: a program that only runs for a second builds fastest with "0".
    pub(crate) opt_level: &'a str,
}

/// Returns the program, installed first if needed, and a note for the summary (empty if it was
/// present).
pub(crate) fn ensure(shell: &Shell, tool: &Tool<'_>) -> Result<(PathBuf, String), String> {
    let Tool { package, program, version, opt_level } = tool;
    let tools = shell.root().join(TOOLS);
    let own = tools.join("bin").join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
    for path in [&own, Path::new(program)] {
        if is_right(shell, path, version) {
            return Ok((path.to_path_buf(), String::new()));
        }
    }
    println!(
        "{package} {version} is not here: installing it into {TOOLS}, which takes a minute or two"
    );
    let build = tools.join("build");
    let mut install = shell.cargo_command();
    install
        .args(["install", "--locked", "--force", package, "--version", version, "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &build)
        // The programs' own release profiles take several times as long to build.
        .envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")])
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level);
    shell::run(&mut install)?;
    fs::remove_dir_all(&build)
        .map_err(|error| format!("{TOOLS}/build cannot be removed: {error}"))?;
    if !is_right(shell, &own, version) {
        return Err(format!(
            "{package} was installed into {TOOLS}, but does not answer as {version}"
        ));
    }
    Ok((own, format!("installed {package} {version} into {TOOLS}")))
}

fn is_right(shell: &Shell, program: &Path, version: &str) -> bool {
    let answer = shell::output(shell.command(program).arg("--version"));
    answer.is_some_and(|answer| answer.split_whitespace().nth(1) == Some(version))
}

/// Installs wasm-pack, and wasm-bindgen in the version that the workspace is locked to: the module
/// accepts no other.
pub(crate) fn wasm(shell: &Shell) -> Result<String, String> {
    let bindgen = wasm_bindgen_version(shell)?;
    let tools = [
        // It processes the whole module: unoptimised it is slower than the build before it.
        Tool {
            package: "wasm-bindgen-cli",
            program: "wasm-bindgen",
            version: &bindgen,
            opt_level: "1",
        },
        Tool { package: "wasm-pack", program: "wasm-pack", version: WASM_PACK, opt_level: "0" },
    ];
    let notes: Vec<String> =
        tools.iter().map(|tool| Ok(ensure(shell, tool)?.1)).collect::<Result<_, String>>()?;
    let installed: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    Ok(if installed.is_empty() { "here already".to_owned() } else { installed.join(", ") })
}

/// Describes the versions of the wasm tools: another version of one makes another module.
pub(crate) fn wasm_versions(shell: &Shell) -> Result<String, String> {
    Ok(format!("wasm-bindgen {}, wasm-pack {WASM_PACK}", wasm_bindgen_version(shell)?))
}

/// Returns the folder of the tools that this program built.
pub(crate) fn folder(shell: &Shell) -> OsString {
    shell.root().join(TOOLS).join("bin").into_os_string()
}

fn wasm_bindgen_version(shell: &Shell) -> Result<String, String> {
    locked_version(shell, "wasm-bindgen")
}

/// Returns the version of a package that the workspace is locked to.
pub(crate) fn locked_version(shell: &Shell, package: &str) -> Result<String, String> {
    let lock = fs::read_to_string(shell.root().join("Cargo.lock"))
        .map_err(|error| format!("Cargo.lock cannot be read: {error}"))?;
    locked(&lock, package).ok_or_else(|| format!("Cargo.lock names no version of {package}"))
}

/// Returns the version of a package in a lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_that_of_the_package_itself() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.108\"\nsource = \"x\"\n";
        assert_eq!(locked(lock, "wasm-bindgen").as_deref(), Some("0.2.108"));
        assert_eq!(locked(lock, "wasm"), None);
        assert_eq!(locked("name = \"wasm\"\n", "wasm"), None);
    }

    #[test]
    fn this_workspace_is_locked_to_one_version_of_wasm_bindgen() {
        let version = wasm_bindgen_version(&Shell::new()).expect("it is locked");
        assert!(version.split('.').count() == 3, "{version}");
    }
}
