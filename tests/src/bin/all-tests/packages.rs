//! What an operator installs: a static binary, a Debian package, a container image, with checksums
//! and a list of all components. Everything is in `target/packages`.

mod accept;

use std::fs;
use std::path::{Path, PathBuf};

use crate::plan::left_out;
use crate::setup;
use crate::shell::{self, Shell};
use crate::tools::{self, Tool};

/// Rust's name for machines whose programs contain their C library.
const STATIC: &str = "x86_64-unknown-linux-musl";
/// The profile of the workspace for shipped binaries.
const PROFILE: &str = "dist";

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
const MOST_EXPOSED: &str = "20";

/// Builds everything, and checks it as far as this machine can.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let out = shell.target().join("packages");
    shell::remove_folder(&out)?;
    make_folder(&out)?;
    setup::musl(shell, STATIC)?;
    shell.cargo(&[
        "build",
        "--locked",
        "--profile",
        PROFILE,
        "--target",
        STATIC,
        "--package",
        "opp2p",
        "--bin",
        "opp2p",
    ])?;
    let program = shell.target().join(STATIC).join(PROFILE).join("opp2p");
    check_binary(shell, &program)?;
    documents(shell, &program, &out)?;
    let archive = archive(shell, &program, &out)?;
    let deb = debian(shell, &out, 1)?;
    let next = out.join("next");
    make_folder(&next)?;
    let accepted = accept::run(shell, &deb, &debian(shell, &next, 2)?)?;
    shell::remove_folder(&next)?;
    let image = image(shell, &program, &out)?;
    components(shell, &out)?;
    let sums = ["-c", "sha256sum -- *.deb *.tar.gz *.json > SHA256SUMS && cat SHA256SUMS"];
    shell::run(shell.command("sh").args(sums).current_dir(&out))?;
    let megabytes =
        |path: &Path| fs::metadata(path).map_or(0.0, |metadata| metadata.len() as f64 / 1e6);
    Ok(format!(
        "binary {:.1} MB, archive {:.1} MB, Debian package {:.1} MB ({accepted}), {image}; in {}",
        megabytes(&program),
        megabytes(&archive),
        megabytes(&deb),
        out.display()
    ))
}

fn make_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Checks that the program runs, needs no library of the machine, and names its commit.
fn check_binary(shell: &Shell, program: &Path) -> Result<(), String> {
    let version = shell::output(shell.command(program).arg("--version"))
        .ok_or_else(|| format!("{} does not run", program.display()))?;
    println!("{version}");
    if !version.contains('(') {
        return Err(format!("the binary names no commit: {version}"));
    }
    let headers = shell::output(shell.command("readelf").arg("--program-headers").arg(program))
        .ok_or("`readelf` does not answer: install binutils")?;
    if headers.contains("INTERP") {
        return Err("the binary needs a loader: it is not static".to_owned());
    }
    Ok(())
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

/// Packs the binary with the licences and the settings of all roles.
fn archive(shell: &Shell, program: &Path, out: &Path) -> Result<PathBuf, String> {
    let name = format!("opp2p-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let folder = out.join(&name);
    make_folder(&folder)?;
    let root = shell.root();
    let mut copy = shell.command("cp");
    copy.arg("-r").arg(program);
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
fn debian(shell: &Shell, out: &Path, revision: u32) -> Result<PathBuf, String> {
    let (program, _) = tools::ensure(shell, &DEB)?;
    let revision = revision.to_string();
    let deb = out.join(format!("opp2p_{}-{revision}_amd64.deb", env!("CARGO_PKG_VERSION")));
    let mut pack = shell.command(program);
    pack.args(["--no-build", "--no-strip", "--package", "opp2p", "--profile", PROFILE]);
    pack.args(["--deb-revision", &revision, "--target", STATIC, "--output"]).arg(&deb);
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

/// Builds the container image and runs its program, where buildah is available.
fn image(shell: &Shell, program: &Path, out: &Path) -> Result<String, String> {
    if !shell::has("buildah") {
        return Ok(left_out("there is no `buildah` here for the container image"));
    }
    let context = out.join("image");
    make_folder(&context.join("data"))?;
    let mut copy = shell.command("cp");
    copy.arg(program).arg("/etc/ssl/certs/ca-certificates.crt").arg(&context);
    shell::run(&mut copy)?;
    let file = shell.root().join("native/packaging/Containerfile");
    let name = "opp2p-all-tests";
    let mut build = shell.command("buildah");
    build.args(["build", "--isolation", "chroot", "--tag", name, "--file"]);
    shell::run(build.arg(file).arg(&context))?;
    let script = format!(
        "set -e; container=$(buildah from {name}); \
         buildah run --isolation chroot $container /usr/bin/opp2p --version; \
         buildah rm $container >/dev/null"
    );
    shell::run(shell.command("sh").args(["-c", &script]))?;
    shell::remove_folder(&context)?;
    Ok("container image built and run".to_owned())
}

/// Lists all components of the binary, in the format of CycloneDX.
fn components(shell: &Shell, out: &Path) -> Result<(), String> {
    let (program, _) = tools::ensure(shell, &SBOM)?;
    let mut list = shell.command(program);
    list.args([
        "cyclonedx",
        "--format",
        "json",
        "--target",
        STATIC,
        "--override-filename",
        "opp2p",
    ]);
    list.arg("--manifest-path").arg(shell.root().join("native/Cargo.toml"));
    shell::run(&mut list)?;
    // It writes one list beside each manifest of the workspace.
    let parts = ["native/node", "native/store", "native/wire", "core/evm", "web/evm"];
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
