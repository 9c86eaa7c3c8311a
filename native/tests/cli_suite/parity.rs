//! Checks `native/OP-NODE.md`, the guide for operators who come from op-node, against the program.

use crate::support::Place;
use opp2p::metrics::families;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../OP-NODE.md");

/// Flags without effect, with their variables and reasons.
type Idle = BTreeMap<String, (String, String)>;

/// Returns the rows of the table below a heading, cell by cell, without backquotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, below) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = below.split("\n## ").next().expect("a section");
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    lines.map(cells).collect()
}

/// Returns each flag of `opp2p node` with an effect and its variable, and each without an effect
/// with its variable and the reason.
fn flags() -> (BTreeMap<String, String>, Idle) {
    let shown = Place::new().run(&["config", "--json", "--network", "base"]);
    let settings: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (mut flags, mut idle) = (BTreeMap::new(), BTreeMap::new());
    for (name, setting) in settings.as_object().expect("an object") {
        let variable = text(&setting["variable"]);
        match setting.get("ignored") {
            Some(why) => drop(idle.insert(name.clone(), (variable, text(why)))),
            None => drop(flags.insert(name.clone(), variable)),
        }
    }
    flags.insert("config".into(), "OPP2P_CONFIG".into());
    (flags, idle)
}

#[test]
fn the_page_lists_exactly_our_flags_with_their_variables() {
    let mut told = BTreeMap::new();
    for row in rows("Flags of op-node") {
        let variable =
            if row[1].is_empty() { String::new() } else { format!("OP_NODE_{}", row[1]) };
        told.insert(row[0].clone(), variable);
    }
    for row in rows("Flags of our own") {
        told.insert(row[0].clone(), row[1].clone());
    }
    let (flags, _) = flags();
    let missing: Vec<_> =
        flags.iter().filter(|(name, variable)| told.get(*name) != Some(variable)).collect();
    let unknown: Vec<_> = told.iter().filter(|(name, _)| !flags.contains_key(*name)).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "not on the page: {missing:?}; on it alone: {unknown:?}"
    );
}

#[test]
fn the_page_lists_exactly_the_flags_without_effect_and_why() {
    let told: Idle = rows("Flags of op-node without effect")
        .into_iter()
        .map(|row| {
            let why = row[2].strip_prefix("refused: ").unwrap_or(&row[2]).to_owned();
            (row[0].clone(), (format!("OP_NODE_{}", row[1]), why))
        })
        .collect();
    let (_, idle) = flags();
    assert_eq!(idle, told);
}

#[test]
fn the_page_lists_exactly_the_metrics() {
    let told: BTreeSet<String> =
        rows("Metrics of op-node").into_iter().map(|row| row[0].clone()).collect();
    let there: BTreeSet<String> = families().iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(there, told);
}

#[test]
fn the_page_lists_exactly_the_rpc_methods() {
    let tables = ["RPC of op-node", "RPC of our own"].into_iter().flat_map(rows);
    let told: BTreeSet<String> = tables.map(|row| row[0].clone()).collect();
    let mut there: BTreeSet<String> = opp2p::rpc::names().map(str::to_owned).collect();
    // Subscriptions are not calls.
    there.extend(
        ["opp2p_subscribe", "opp2p_unsubscribe", "eth_subscribe", "eth_unsubscribe"]
            .map(str::to_owned),
    );
    assert_eq!(there, told);
}

#[test]
fn every_test_named_on_the_page_exists() {
    let mut known = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in [
        "core/src",
        "core/tests",
        "native/node",
        "native/src",
        "native/store",
        "native/tests",
        "native/wire",
        "tests/execution",
        "tests/tests",
    ] {
        functions(&root.join(folder), &mut known);
    }
    let sections = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| !rows(heading).is_empty());
    let mut count = 0;
    for row in sections.flat_map(rows) {
        let test = row.last().expect("a cell");
        assert!(known.contains(test), "{}: there is no test {test:?}", row[0]);
        count += 1;
    }
    assert!(count > 130, "only {count} rows were read");
}

/// Collects the names of all functions in the sources below a folder.
fn functions(folder: &Path, into: &mut BTreeSet<String>) {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    folders.iter().for_each(|folder| functions(folder, into));
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let text = std::fs::read_to_string(file).expect("a source");
        for (_, after) in text.match_indices("fn ").map(|(at, _)| text.split_at(at + 3)) {
            into.insert(
                after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect(),
            );
        }
    }
}
