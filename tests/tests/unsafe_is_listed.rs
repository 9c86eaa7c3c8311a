//! Checks that the list in `THREATS.md` names exactly the files that may have `unsafe` code, each
//! with its purpose.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is around it")
        .to_path_buf()
}

/// Collects the files below `folder` that lift the workspace's lint.
fn lifting(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "dist"].contains(&&*name) && !name.starts_with('.') {
                lifting(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("it is text");
            // rustfmt may break the attribute's line.
            let text: String = text.split_whitespace().collect();
            let lifts = |level: &str| text.contains(&format!("{level}(unsafe_code"));
            if ["allow", "expect", "warn"].into_iter().any(lifts) {
                let path = path.strip_prefix(root()).expect("it is below");
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
}

#[test]
fn unsafe_code_is_only_where_the_list_says() {
    let mut found = Vec::new();
    for package in ["core", "native", "web", "tests"] {
        lifting(&root().join(package), &mut found);
    }
    found.sort();
    let page = fs::read_to_string(root().join("tests/THREATS.md")).expect("it is here");
    let table = &page[page.rfind("| file |").expect("the list is the last one")..];
    let mut listed: Vec<String> = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    listed.sort();
    assert_eq!(found, listed);
    assert!(!found.is_empty(), "the search finds something");
}
