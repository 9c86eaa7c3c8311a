//! The crates and the npm package, as their registries would get them. Nothing is uploaded.

use std::fs;
use std::path::Path;

use super::megabytes;
use crate::shell::{self, Shell};
use crate::web;

/// The crates that are published, each after those that it needs.
const CRATES: &[&str] =
    &["opp2p-core", "opp2p-evm", "opp2p-wire", "opp2p-store", "opp2p-node", "opp2p"];

/// Packs every crate, and builds each from what was packed.
pub(super) fn crates(shell: &Shell) -> Result<String, String> {
    let mut publish = shell.cargo_command();
    // A working copy with changes may be tried too.
    publish.args(["publish", "--dry-run", "--allow-dirty"]);
    for name in CRATES {
        publish.args(["--package", *name]);
    }
    shell::run(&mut publish)?;
    let packed = shell.target().join("package");
    let sizes: Vec<String> = CRATES
        .iter()
        .map(|name| {
            let file = format!("{name}-{}.crate", env!("CARGO_PKG_VERSION"));
            format!("{name} {:.1} MB", megabytes(&packed.join(file)))
        })
        .collect();
    Ok(format!("crates packed and built: {}", sizes.join(", ")))
}

/// Packs the npm package into `out`, and has it checked by publint and attw.
pub(super) fn npm(shell: &Shell, out: &Path) -> Result<String, String> {
    let npm = shell::find("npm").ok_or("there is no npm on the path")?;
    let mut pack = shell.command(npm);
    pack.args(["pack", "--ignore-scripts", "--pack-destination"]).arg(out);
    shell::run(pack.arg(shell.root().join(web::PACKAGE)))?;
    let file = out.join(format!("opp2p-{}.tgz", env!("CARGO_PKG_VERSION")));
    let size = fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?.len();
    let variables = [("OPP2P_TARBALL", file)];
    web::node_tests_with(shell, "web/e2e/projects/publish.test.mjs", &variables)?;
    Ok(format!("npm package {:.1} MB, no remarks of publint and attw", size as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the manifest of each crate.
    fn manifests(shell: &Shell) -> impl Iterator<Item = (&'static str, String)> {
        let folders = ["core", "core/evm", "native/wire", "native/store", "native/node", "native"];
        let root = shell.root().to_path_buf();
        CRATES.iter().zip(folders).map(move |(name, folder)| {
            let file = root.join(folder).join("Cargo.toml");
            (*name, fs::read_to_string(file).expect("it is committed"))
        })
    }

    #[test]
    fn each_crate_comes_after_those_that_it_needs() {
        let shell = Shell::new();
        for (at, (name, manifest)) in manifests(&shell).enumerate() {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let later = CRATES[at + 1..].iter().find(|other| {
                let (workspace, table) = (format!("\n{other}.workspace"), format!("\n{other} = "));
                manifest.contains(&workspace) || manifest.contains(&table)
            });
            assert_eq!(later, None, "{name} needs a later one");
        }
    }

    #[test]
    fn the_registry_learns_what_each_crate_is() {
        let shell = Shell::new();
        for (name, manifest) in manifests(&shell) {
            for field in ["description = ", "license.", "repository.", "keywords.", "categories."] {
                assert!(manifest.contains(&format!("\n{field}")), "{name} lacks {field}");
            }
        }
    }

    #[test]
    fn members_of_the_workspace_are_needed_in_its_version() {
        let manifest = fs::read_to_string(Shell::new().root().join("Cargo.toml"));
        let manifest = manifest.expect("it is committed");
        for name in CRATES {
            let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = ")));
            let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
            assert!(line.is_some_and(|line| line.contains(&version)), "{line:?}");
        }
    }
}
