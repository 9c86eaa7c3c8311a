//! What an operator installs: static binaries, a Debian package, a container image, with checksums
//! and a list of all components; and the crates and the npm package, ready to be published.
//! Everything is in `target/packages`.

mod accept;
mod build;
mod image;
mod publish;

use std::fs;
use std::path::{Path, PathBuf};

use build::Built;

use crate::shell::{self, Shell};
use crate::tools::{self, Tool};

/// Makes the Debian package. It only packs files, so it is built with the least optimisation.
const DEB: Tool<'_> =
    Tool { package: "cargo-deb", program: "cargo-deb", version: "3.8.0", opt_level: "0" };
/// Lists the components.
const SBOM: Tool<'_> = Tool {
    package: "cargo-cyclonedx",
    program: "cargo-cyclonedx",
    version: "0.5.9",
    opt_level: "0",
};

/// Exposure of the unit, in tenths, that `systemd-analyze security` may find at most.
const MOST_EXPOSED: &str = "16";

/// Builds everything, and checks it as far as this machine can.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let out = shell.target().join("packages");
    shell::remove_folder(&out)?;
    make_folder(&out)?;
    let built = build::here(shell)?;
    documents(shell, &built.program, &out)?;
    let mut notes = vec![format!("{}: {}", built.target, built.note)];
    let files = [archive(shell, &built, &out)?, debian(shell, &built, &out, 1)?];
    match build::arm(shell)? {
        Ok(arm) => {
            notes.push(format!("{}: {}", arm.target, arm.note));
            archive(shell, &arm, &out)?;
            debian(shell, &arm, &out, 1)?;
        }
        Err(why) => notes.push(format!("nothing for ARM: {why}")),
    }
    let next = out.join("next");
    make_folder(&next)?;
    notes.push(accept::run(shell, &files[1], &debian(shell, &built, &next, 2)?)?);
    shell::remove_folder(&next)?;
    notes.push(image::run(shell, &built.program, &out)?);
    components(shell, &built, &out)?;
    notes.push(publish::npm(shell, &out)?);
    notes.push(publish::crates(shell)?);
    let sums = "find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\\0' | sort -z \
                | xargs -0 sha256sum -- > SHA256SUMS && cat SHA256SUMS";
    shell::run(shell.command("sh").args(["-c", sums]).current_dir(&out))?;
    let [archive, deb] = files.map(|file| megabytes(&file));
    notes
        .push(format!("archive {archive:.1} MB, Debian package {deb:.1} MB; in {}", out.display()));
    Ok(notes.join("; "))
}

/// Measures the static build beside the dynamic one: time to start, memory, processor time.
pub(crate) fn compare(shell: &Shell) -> Result<String, String> {
    let built = build::here(shell)?;
    let mut measure = shell.command("node");
    measure.arg("tests/packages/builds.mjs");
    for (name, program) in [("static", built.program), ("dynamic", build::dynamic(shell)?)] {
        measure.arg(format!("{name}={}", program.display()));
    }
    shell::run(&mut measure)?;
    Ok(format!("static: {}, {}", built.target, built.note))
}

fn megabytes(file: &Path) -> f64 {
    fs::metadata(file).map_or(0.0, |metadata| metadata.len() as f64 / 1e6)
}

fn make_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes the manual pages and the shell completions.
fn documents(shell: &Shell, program: &Path, out: &Path) -> Result<(), String> {
    shell::run(shell.command(program).arg("man").arg(out.join("man")))?;
    let completions = out.join("completions");
    make_folder(&completions)?;
    for (name, file) in [("bash", "opp2p"), ("zsh", "_opp2p"), ("fish", "opp2p.fish")] {
        let text = shell::output(shell.command(program).args(["completions", name]))
            .ok_or_else(|| format!("there are no completions for {name}"))?;
        let file = completions.join(file);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// Packs the binary with the licences and the settings of all roles. `cargo binstall` knows the
/// name of the archive and the folder in it.
fn archive(shell: &Shell, built: &Built, out: &Path) -> Result<PathBuf, String> {
    let name = format!("opp2p-{}-{}", env!("CARGO_PKG_VERSION"), built.target);
    let folder = out.join(&name);
    make_folder(&folder)?;
    let root = shell.root();
    let mut copy = shell.command("cp");
    copy.arg("-r").arg(&built.program);
    let shipped = ["LICENSE-APACHE", "LICENSE-MIT", "native/README.md", "native/packaging/roles"];
    copy.args(shipped.map(|name| root.join(name))).arg(&folder);
    shell::run(&mut copy)?;
    let archive = out.join(format!("{name}.tar.gz"));
    let mut tar = shell.command("tar");
    tar.args(["--owner=0", "--group=0", "--sort=name", "-czf"]).arg(&archive);
    shell::run(tar.arg("-C").arg(out).arg(&name))?;
    shell::remove_folder(&folder)?;
    Ok(archive)
}

/// Makes this revision of the Debian package, and checks its unit.
fn debian(shell: &Shell, built: &Built, out: &Path, revision: u32) -> Result<PathBuf, String> {
    let (program, _) = tools::ensure(shell, &DEB)?;
    let revision = revision.to_string();
    let name = format!("opp2p_{}-{revision}_{}.deb", env!("CARGO_PKG_VERSION"), built.debian);
    let deb = out.join(name);
    let mut pack = shell.command(program);
    pack.args(["--no-build", "--no-strip", "--package", "opp2p", "--profile", build::PROFILE]);
    pack.args(["--deb-revision", &revision, "--target", built.target, "--output"]).arg(&deb);
    shell::run(&mut pack)?;
    shell::run(shell.command("dpkg-deb").arg("--contents").arg(&deb))?;
    if shell::has("systemd-analyze") {
        let unit = shell.root().join("native/packaging/systemd/opp2p.service");
        let threshold = format!("--threshold={MOST_EXPOSED}");
        let analyze = ["security", "--offline=true", "--no-pager", &threshold];
        shell::run(shell.command("systemd-analyze").args(analyze).arg(unit))?;
    }
    Ok(deb)
}

/// Lists all components of the binary, in the format of CycloneDX.
fn components(shell: &Shell, built: &Built, out: &Path) -> Result<(), String> {
    let (program, _) = tools::ensure(shell, &SBOM)?;
    let mut list = shell.command(program);
    list.args(["cyclonedx", "--format", "json", "--target", built.target]);
    list.args(["--override-filename", "opp2p", "--manifest-path"]);
    shell::run(list.arg(shell.root().join("native/Cargo.toml")))?;
    // It writes one list beside each manifest of the workspace.
    let parts = ["native/node", "native/store", "native/wire", "core/evm", "web/evm", "tests/fuzz"];
    for folder in ["native", "core", "web", "tests"].iter().chain(&parts) {
        let made = shell.root().join(folder).join("opp2p.json");
        if *folder == "native" {
            fs::copy(&made, out.join("opp2p.cdx.json"))
                .map_err(|error| format!("{}: {error}", made.display()))?;
        }
        // Most manifests are not part of the binary, and have no list.
        let _ = fs::remove_file(made);
    }
    Ok(())
}
