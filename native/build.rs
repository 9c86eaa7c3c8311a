//! Embeds the observer page: writes a table of all files in `web/dist/page`, which `cargo web-page`
//! creates.
//!
//! Builds that are not optimised embed nothing, so that a new page does not make developers rebuild
//! the crate. Then, and if there are no files, the table is empty, and the binary reports that when
//! the page is requested.
//!
//! It also sets the commit shown by the program: from the variables `OPP2P_COMMIT` and
//! `OPP2P_COMMIT_DATE`, else from the repository, else from the file that `cargo package` writes.
//! Builds that are not optimised name no commit, so that a new commit does not make developers
//! rebuild the crate.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    emit_commit(Path::new(&env::var("CARGO_MANIFEST_DIR")?))?;
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../web/dist");
    let page = dist.join("page");
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    if env::var("PROFILE")? == "release" {
        // Watching a path that does not exist would rerun this script at each build. The parent
        // folder changes when the path appears.
        let watched = if page.is_dir() { &page } else { &dist };
        println!("cargo::rerun-if-changed={}", watched.display());
        if page.is_dir() {
            list(&page, "", &mut files)?;
        }
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (name, path) in files {
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    table.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("page.rs"), table)?;
    Ok(())
}

/// Adds the files below `folder` by their names in URLs: `prefix`, then the path from `folder`.
fn list(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| format!("{name:?} is not a name for a web page"))?;
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            list(&path, &format!("{name}/"), files)?;
        } else {
            files.push((name, path.canonicalize()?));
        }
    }
    Ok(())
}

/// Sets the variables that `version.rs` reads.
fn emit_commit(package: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=OPP2P_COMMIT");
    println!("cargo::rerun-if-env-changed=OPP2P_COMMIT_DATE");
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let found = match given("OPP2P_COMMIT") {
        Some(commit) => Some((commit, given("OPP2P_COMMIT_DATE").unwrap_or_default())),
        None if env::var("PROFILE")? != "release" => None,
        None => of_repository(package).or_else(|| of_package(package)),
    };
    let is_hash =
        |commit: &str| commit.len() >= 8 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = found.filter(|(commit, _)| is_hash(commit));
    let (commit, date) = found.map_or_else(Default::default, |(commit, date)| {
        let date: String =
            date.chars().filter(|c| c.is_ascii_digit() || *c == '-').take(10).collect();
        (commit[..8].to_owned(), date)
    });
    let version = env::var("CARGO_PKG_VERSION")?;
    let long = match (commit.is_empty(), date.is_empty()) {
        (true, _) => format!("{version} (no commit known)"),
        (false, true) => format!("{version} ({commit})"),
        (false, false) => format!("{version} ({commit} {date})"),
    };
    let parts = [format!("v{version}"), commit.clone(), date.replace('-', ""), "opp2p".into()];
    let like_op_node: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    println!("cargo::rustc-env=OPP2P_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=OPP2P_BUILD_DATE={date}");
    println!("cargo::rustc-env=OPP2P_BUILD_VERSION={long}");
    println!("cargo::rustc-env=OPP2P_BUILD_OP_NODE={}", like_op_node.join("-"));
    Ok(())
}

/// Returns the commit and its date, if this is the program's own repository and git is installed.
fn of_repository(package: &Path) -> Option<(String, String)> {
    let git = |arguments: &[&str]| {
        let run = Command::new("git").arg("-C").arg(package).args(arguments).output().ok()?;
        let text = String::from_utf8(run.stdout).ok()?;
        run.status.success().then(|| text.trim().to_owned())
    };
    // The sources may be part of another project's repository.
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top != package.parent()?.canonicalize().ok()? {
        return None;
    }
    // Exactly these files change with each commit and each checkout. Watching a file that does not
    // exist would rerun this script at each build.
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let file = git(&["rev-parse", "--git-path", name]).map(|file| package.join(file));
        if let Some(file) = file.filter(|file| file.is_file()) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    let line = git(&["log", "-1", "--format=%H %cs"])?;
    line.split_once(' ').map(|(commit, date)| (commit.to_owned(), date.to_owned()))
}

/// Returns the commit of a packaged crate. Its date is not known.
fn of_package(package: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(package.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    let commit = rest.split('"').nth(1)?;
    Some((commit.to_owned(), String::new()))
}
