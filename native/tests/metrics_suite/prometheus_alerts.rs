//! The alert rules, checked by Prometheus' own tool, and the operators' page about troubles.
//!
//! Debian's package `prometheus` has `promtool`. If it is not on the path, its test says so and
//! ends; `cargo all-tests` installs it first.

use crate::prometheus::program;
use crate::support::*;
use opp2p_core::trouble::TroubleKind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The rest of the page is generated.
const MARK: &str = "<!-- The rest is made from the program's own table of troubles. -->\n";

/// Kinds without an alert of their own, each with the reason.
const WITHOUT_ALERT: &[(TroubleKind, &str)] = &[];

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

/// One alert rule.
#[derive(Debug, Default)]
struct Alert {
    name: String,
    expr: String,
    wait: String,
    severity: String,
    summary: String,
    description: String,
}

impl Alert {
    /// Returns the kind of trouble that it is about.
    fn kind(&self) -> Option<&str> {
        self.expr.strip_prefix("opp2p_trouble{kind=\"")?.strip_suffix("\"} == 1")
    }
}

/// Reads the rules, which `promtool` has checked for being YAML.
fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(assets().join("alerts.yml")).unwrap();
    let mut alerts: Vec<Alert> = Vec::new();
    let mut field = "";
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(Alert { name: name.to_owned(), ..Alert::default() });
            continue;
        }
        let Some(alert) = alerts.last_mut() else { continue };
        match line.split_once(": ") {
            Some(("expr", expr)) => alert.expr = expr.to_owned(),
            Some(("for", wait)) => alert.wait = wait.to_owned(),
            Some(("severity", severity)) => alert.severity = severity.to_owned(),
            Some((name @ ("summary" | "description"), ">-")) => {
                field = if name == "summary" { "summary" } else { "description" };
            }
            _ if line.starts_with("- name:") || line == "rules:" || line.ends_with("s:") => {
                field = "";
            }
            _ => {
                let text = match field {
                    "summary" => &mut alert.summary,
                    "description" => &mut alert.description,
                    _ => continue,
                };
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(line);
            }
        }
    }
    alerts
}

#[test]
fn each_kind_of_trouble_has_an_alert_and_each_alert_one_kind() {
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "two alerts have one name");
    for alert in &alerts {
        assert!(["critical", "warning"].contains(&alert.severity.as_str()), "{alert:?}");
        assert!(alert.summary.starts_with("opp2p on {{ $labels.instance }} "), "{alert:?}");
        // A paragraph.
        assert!(alert.description.len() > 100 && alert.description.ends_with('.'), "{alert:?}");
        if let Some(kind) = alert.kind() {
            let known = TroubleKind::ALL.iter().any(|known| known.name() == kind);
            assert!(known, "{} is about a trouble that does not exist: {kind}", alert.name);
        }
    }
    let others = alerts.iter().filter(|alert| alert.kind().is_none());
    let others: Vec<&str> = others.map(|alert| alert.expr.as_str()).collect();
    assert_eq!(others, ["opp2p_ready == 0", "up{job=~\".*opp2p.*\"} == 0"]);
    for kind in TroubleKind::ALL {
        let count = alerts.iter().filter(|alert| alert.kind() == Some(kind.name())).count();
        let excused = WITHOUT_ALERT.iter().any(|(other, why)| other == kind && !why.is_empty());
        assert_eq!(count, usize::from(!excused), "{kind}");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let Some(promtool) = program("promtool") else { return };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output =
            Command::new(&promtool).args(arguments).current_dir(assets()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
    // No alert is left out of the tests.
    let tests = std::fs::read_to_string(assets().join("alerts_test.yml")).unwrap();
    for alert in alerts() {
        let line = format!("alertname: {}", alert.name);
        assert!(tests.lines().any(|found| found.trim() == line), "{} is not tested", alert.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_the_families_that_the_alerts_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    let node = Measured::follower(directory.path(), "alone", &[]).await;
    let scrape = node.scrape().await;
    for kind in TroubleKind::ALL {
        let series = format!("opp2p_trouble{{kind=\"{kind}\"}}");
        assert!(scrape.get(&series).is_some(), "there is no {series}");
    }
    let signer = format!("opp2p_signer_info{{address=\"{}\"}}", signer().address());
    for (series, value) in [
        ("opp2p_ready", 0.0),
        ("opp2p_signer_known", 1.0),
        (signer.as_str(), 1.0),
        ("opp2p_remote_signer_answers_total{result=\"failed\"}", 0.0),
    ] {
        assert_eq!(scrape.get(series), Some(value), "{series}");
    }
    node.stop().await;
}

fn once(cause: &str, state: &str, time: Duration) -> String {
    match time.as_secs() {
        0 => format!("as soon as the cause is {cause}"),
        seconds => format!("once the cause has {state} for {seconds} s"),
    }
}

/// Returns a section for each kind of trouble.
fn sections() -> String {
    let alerts = alerts();
    let mut page = String::new();
    for kind in TroubleKind::ALL {
        let alert = alerts.iter().find(|alert| alert.kind() == Some(kind.name()));
        page += &format!("\n## `{kind}`\n\n{}.\n\n", kind.meaning());
        page += &format!("* **What to do**: {}.\n", kind.remedy());
        page += &format!(
            "* **Reported** {}, and ended {}.\n",
            once("seen", "lasted", kind.raise_after()),
            once("gone", "been gone", kind.clear_after())
        );
        if let Some(Alert { name, wait, severity, description, .. }) = alert {
            let wait = if wait.is_empty() { "at once".to_owned() } else { format!("after {wait}") };
            page += &format!("* **Alert** `{name}` ({severity}, {wait}): {description}\n");
        }
    }
    page
}

#[test]
fn the_troubles_page_covers_every_kind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("TROUBLES.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, found) = page.split_once(MARK).expect("the mark of the generated part");
    let expected = sections();
    if found != expected {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("TROUBLES.md");
        std::fs::write(&made, format!("{before}{MARK}{expected}")).unwrap();
        panic!("native/TROUBLES.md is not up to date: copy {} over it", made.display());
    }
}
