//! Results of the validation benchmark, beside the goals.

use serde_json::Value;
use std::fs;
use std::path::Path;

use opp2p_tests::report::{Row, Section};

/// A block's size by the benchmark's name, and the goals for the whole validation: on one thread
/// and on two.
const SIZES: [(&str, f64, Option<f64>); 3] = [
    ("10 txs 2.6 kB", 55.0, None),
    ("200 txs 61 kB", 250.0, None),
    ("2000 txs 1 MB", 3500.0, Some(2300.0)),
];

/// The newest payload version.
const VERSION: &str = "v4";

/// Results reported beside the whole: the benchmark's part, and its name in the report.
const PARTS: [(&str, &str); 8] = [
    ("forged", "signed by a stranger"),
    ("garbage", "no block behind the signature"),
    ("late", "too old"),
    ("copy", "a copy of one that came before"),
    ("snappy", "of the whole: decompression"),
    ("message id", "of the whole: message id"),
    ("payload hash", "of the whole: payload hash"),
    ("transactions root", "of the whole: transactions root"),
];

/// The parts that make up most of the whole.
const PROFILE: [&str; 4] = ["payload hash", "transactions root", "message id", "snappy"];

/// Reads the medians that the benchmark left in its folder.
pub(crate) fn section(folder: &Path) -> Result<Section, String> {
    let median = |size: &str, part: &str| {
        let path = folder.join(size).join(part).join(VERSION).join("new/estimates.json");
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let nanoseconds = value["median"]["point_estimate"].as_f64();
        nanoseconds
            .map(|nanoseconds| nanoseconds / 1000.0)
            .ok_or_else(|| format!("{} has no median", path.display()))
    };
    let mut rows = Vec::new();
    for (size, goal, goal_on_two) in SIZES {
        let whole = median(size, "whole")?;
        let profile = PROFILE
            .iter()
            .map(|part| Ok(format!("{part} {:.0} %", median(size, part)? / whole * 100.0)))
            .collect::<Result<Vec<_>, String>>()?
            .join(", ");
        rows.push(held(&format!("{size}: the whole, on one thread"), whole, goal, &profile));
        let on_two = median(size, "two threads")?;
        if let Some(goal) = goal_on_two {
            let reason =
                "decompression and message id come before, on the task that drives the sockets";
            rows.push(held(&format!("{size}: the whole, on two threads"), on_two, goal, reason));
        }
        for (part, words) in PARTS {
            rows.push(Row::new(format!("{size}: {words}"), microseconds(median(size, part)?)));
        }
    }
    Ok(Section {
        name: "00-validation".to_owned(),
        title: "Validation".to_owned(),
        command: "cargo all-tests -- validation".to_owned(),
        about: "From the arrival of a gossip message to its verdict: decompression, message id, \
                every check. Payloads of version 4."
            .to_owned(),
        rows,
    })
}

/// Returns a figure with its goal, and the reason if it misses the goal.
fn held(what: &str, found: f64, goal: f64, reason: &str) -> Row {
    let row = Row::new(what, microseconds(found)).held_to(microseconds(goal), found <= goal);
    if found <= goal { row } else { row.noted(reason) }
}

/// Formats with three significant digits.
fn microseconds(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2} µs"),
        ..100.0 => format!("{value:.1} µs"),
        _ => format!("{value:.0} µs"),
    }
}
