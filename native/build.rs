//! Embeds the observer page: makes a table of all files in `web/dist/page`, which `cargo web-page` fills.
//!
//! With nothing there the table is empty, and the binary says so when it is asked for the page.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../web/dist");
    let page = dist.join("page");
    // A path that does not exist would run this anew each time; the folder around it tells when it appears.
    let watched = if page.is_dir() { &page } else { &dist };
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    // The browser's build shares this crate and serves nothing.
    if page.is_dir() && env::var_os("CARGO_FEATURE_NODE").is_some() {
        list(&page, "", &mut files)?;
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

/// Adds the files below `folder` by their name in an URL, which is `prefix` and their path from there.
fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name =
            entry.file_name().into_string().map_err(|name| format!("{name:?} is no name for a web page"))?;
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
