//! Tests with a real Prometheus: it accepts the text, and the dashboard's queries find data.
//!
//! Debian's package `prometheus` has both programs. If they are not on the path, these tests say so
//! and end; `cargo all-tests` installs them first.

use crate::support::*;
use opp2p::devnet::BlockMaker;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const DASHBOARD: &str = include_str!("../../assets/grafana.json");

/// Returns the path of a program, or reports that it is missing.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no `{name}` on the path; Debian's package `prometheus` has it");
    }
    found
}

/// A Prometheus that does not outlive its test.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts a Prometheus that scrapes these targets every second.
    async fn start(program: &Path, directory: &Path, targets: &[SocketAddr]) -> Self {
        let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: opp2p, static_configs: [{{targets: [{}]}}]}}]\n",
            targets.join(", ")
        );
        let file = directory.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let log = directory.join("prometheus.log");
        // It can't report a port that the system chose, so this tries ports that were free a moment
        // ago.
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            let process = Command::new(program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
                .arg(format!("--web.listen-address={free}"))
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&log).unwrap())
                .spawn()
                .unwrap();
            let mut started = Self { process, address: free, log: log.clone() };
            if started.is_ready().await {
                return started;
            }
        }
        panic!("Prometheus does not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
    }

    async fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.process.try_wait().unwrap().is_none() {
            if tokio::net::TcpStream::connect(self.address).await.is_ok()
                && get(self.address, "/-/ready").await.0.starts_with("HTTP/1.1 200")
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Returns the result of a query; an error is Prometheus' own.
    async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let escaped: String = query
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let path = format!("/api/v1/query?query={escaped}");
        let request_text = format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n");
        let body = request(self.address, &request_text).await.1;
        let answer: Value = serde_json::from_str(&body).map_err(|_| format!("{query}: {body}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(format!("{query}: {}", answer["error"])),
        }
    }
}

/// Returns every query of the dashboard, as Grafana would send it for all nodes.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let asked = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        // At least four scrapes, as Grafana chooses it.
        query.replace("$instance", ".*").replace("$__rate_interval", "6s")
    });
    asked.collect()
}

#[test]
fn the_dashboard_is_complete() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().unwrap().len() > 10, "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
    let queries = queries();
    assert!(queries.len() > 60, "{}", queries.len());
    assert!(queries.iter().all(|query| !query.contains('$')), "a variable that is not known");
}

/// Checks without Prometheus that the dashboard uses only names that the node has.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_uses_only_existing_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    publish(&sequencer, &mut BlockMaker::new(&chain(), 5), 1).await;
    follower.until(|status| status.stored.is_some() && status.accepted == 1).await;
    let scrape = follower.scrape().await;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for query in queries() {
        for word in query.split(|c| !is_name(c)) {
            let ours =
                ["opp2p_", "op_node_", "process_"].iter().any(|start| word.starts_with(start));
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = |name: &str| scrape.types.contains_key(name);
            assert!(!ours || known(word) || family.is_some_and(known), "{word} in {query}");
        }
    }
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_accepts_the_metrics_text() {
    let Some(promtool) = program("promtool") else { return };
    let directory = tempfile::tempdir().unwrap();
    let node = Measured::sequencer(directory.path()).await;
    publish_without_peers(&node).await;
    let (_, text) = get(node.metrics.address(), "/metrics").await;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let outcome = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[outcome.stdout, outcome.stderr].concat()).into_owned();
    // It also checks naming conventions, and some of the reference's names violate them: exactly
    // these.
    let mut remarks: BTreeSet<&str> =
        said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (name, _) in STYLE {
        let found = remarks
            .iter()
            .copied()
            .filter(|line| line.starts_with(&format!("{name} ")))
            .collect::<Vec<_>>();
        assert!(!found.is_empty(), "no remark on {name} any more: {said}");
        found.iter().for_each(|line| assert!(remarks.remove(line)));
    }
    assert!(remarks.is_empty(), "{remarks:#?}");
    node.stop().await;
}

/// `promtool`'s remarks: names of the reference, with the reasons.
const STYLE: &[(&str, &str)] = &[
    ("op_node_default_p2p_peer_bans", "a counter without _total"),
    ("op_node_default_p2p_peer_unbans", "a counter without _total"),
    ("op_node_default_p2p_ip_unbans", "a counter without _total"),
    ("op_node_default_p2p_dials", "a counter without _total"),
    ("op_node_default_p2p_accepts", "a counter without _total"),
    ("op_node_default_p2p_bandwidth_bytes_total", "a gauge with _total"),
    ("op_node_default_p2p_payloads_quarantine_total", "a gauge with _total"),
    ("op_node_default_p2p_peer_count", "a gauge with _count"),
    ("op_node_default_p2p_stream_count", "a gauge with _count"),
];

async fn publish_without_peers(node: &Measured) {
    // It has no peer, so the block waits; all that is needed is a non-empty queue.
    let block = BlockMaker::new(&chain(), 6).next(opp2p::devnet::unix_seconds());
    let waiting = timeout(Duration::from_millis(300), node.host.publish(block)).await;
    assert!(waiting.is_err(), "nobody is there to take it");
    node.until_at_least("opp2p_publish_queue_length", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_finds_data_in_a_real_prometheus() {
    let Some(program) = program("prometheus") else { return };
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let targets = [sequencer.metrics.address(), follower.metrics.address()];
    let prometheus = Prometheus::start(&program, directory.path(), &targets).await;
    let mut maker = BlockMaker::new(&chain(), 7);
    let mut waiting: BTreeSet<String> = queries().into_iter().collect();
    let all = waiting.len();
    let mut found_in = 0;
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut late = None;
    // Each query finds data at some moment while blocks are published; those without data are
    // repeated.
    while !waiting.is_empty() {
        assert!(Instant::now() < deadline, "{} of {all} find nothing: {waiting:#?}", waiting.len());
        publish(&sequencer, &mut maker, 1).await;
        follower.rpc.answered("opp2p_self", Duration::from_millis(2));
        if late.is_none() && found_in > all / 2 {
            // A follower that has to ask for blocks that it missed, by number as older peers do.
            let mut config = config(directory.path(), "late", &[&sequencer]);
            config.sync.as_mut().unwrap().ranges = false;
            late = Some(Measured::start(config).await);
        }
        for query in waiting.clone() {
            let found = prometheus.query(&query).await.unwrap();
            let values = found.iter().filter_map(|series| series["value"][1].as_str());
            let numbers = values.filter_map(|value| value.parse::<f64>().ok());
            if numbers.filter(|value| value.is_finite()).count() > 0 {
                waiting.remove(&query);
                found_in += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Prometheus recorded the families that the nodes expose.
    let types = prometheus.query("count by (__name__) ({job=\"opp2p\"})").await.unwrap();
    assert!(types.len() > 80, "{}", types.len());
    assert!(
        std::fs::read_to_string(&prometheus.log)
            .unwrap()
            .lines()
            .all(|line| !line.contains("level=error"))
    );
    drop(prometheus);
    for node in [Some(follower), Some(sequencer), late].into_iter().flatten() {
        node.stop().await;
    }
}
