//! `opp2p status`: the status of a running node.

use super::super::{Failure, NO, answer, flags, runtime};
use super::{NodeArgs, READ};
use crate::rpc::types::{EngineInfo, GapInfo, Head, NodeStatus, SyncInfo, TroubleInfo};
use crate::text::{count, short_hash, size, utc};
use opp2p_core::trouble::TroubleKind;
use serde_json::{Value, json};
use std::fmt::{Display, Write};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Print the node's answer, one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints the status. The exit code is 1 if the node is not ready.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let node = args.node.node(READ)?;
    let whole: Value = runtime()?.block_on(node.call("opp2p_nodeStatus", json!([])))?;
    let status: NodeStatus = serde_json::from_value(whole.clone()).map_err(|error| {
        Failure::new(format!("the node's status has another shape than this program's: {error}"))
    })?;
    answer(if args.json { whole.to_string() } else { with_troubles(&status) })?;
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Formats the status for people, the troubles at the end, where they are seen first.
fn with_troubles(status: &NodeStatus) -> String {
    let mut lines = vec![text(status)];
    lines.extend(troubles(status));
    lines.join("\n")
}

/// Formats the status for people: one line per topic, without the troubles.
pub(super) fn text(status: &NodeStatus) -> String {
    let mut lines = Lines::default();
    lines.add(
        "node",
        format!("{}  {}  up {}", status.user_agent, status.peer_id, time(status.uptime)),
    );
    // A chain without a name has its id for one.
    let id = status.chain_id;
    lines.add(
        "chain",
        match status.network == format!("chain {id}") {
            true => id.to_string(),
            false => format!("{} ({id})", status.network),
        },
    );
    for address in &status.addresses {
        lines.add("address", address);
    }
    lines.add("head", status.head.as_ref().map_or_else(|| "none yet".into(), head));
    if let Some(highest) = status
        .highest
        .filter(|highest| status.head.is_none_or(|head| head.number != highest.number))
    {
        lines.add("highest", format!("{}  {}", highest.number, short_hash(&highest.hash, 8)));
    }
    if let Some(stored) = status.stored {
        lines.add("stored", stored.number.to_string());
    }
    lines.add("gaps", if status.gaps.is_empty() { "none".into() } else { gaps(&status.gaps) });
    lines.add("sync", status.sync.map_or_else(|| "switched off".into(), sync));
    lines.add("peers", peers(status));
    lines.add("messages", messages(status));
    let rates = status.rates;
    lines.add(
        "rates",
        format!(
            "{:.2} blocks/s, {:.2} messages/s, {}/s in, {}/s out, over {} s",
            rates.blocks,
            rates.messages,
            size(rates.bytes_in as u64),
            size(rates.bytes_out as u64),
            rates.over
        ),
    );
    lines.add(
        "traffic",
        format!(
            "{} in, {} out, {} served",
            size(status.bandwidth.received),
            size(status.bandwidth.sent),
            count(status.served, "block")
        ),
    );
    lines.add("signer", signer(status));
    if let Some(engine) = &status.engine {
        lines.add("engine", self::engine(engine));
    }
    lines.add(
        "ready",
        if status.ready { "yes".into() } else { format!("no: {}", status.not_ready.join("; ")) },
    );
    lines.text.truncate(lines.text.trim_end().len());
    lines.text
}

fn peers(status: &NodeStatus) -> String {
    let peers = status.peers;
    let mut text = format!(
        "{} connected ({} inbound, {} on the topic, {} in the mesh), {} known",
        peers.connected, peers.inbound, peers.subscribers, peers.mesh, peers.known
    );
    if peers.browsers > 0 {
        let _ = write!(
            text,
            ", {} ({} in their mesh)",
            count(peers.browsers, "browser"),
            peers.browser_mesh
        );
    }
    if peers.missing > 0 {
        let _ = write!(text, "; {} more wanted", peers.missing);
    }
    text
}

fn messages(status: &NodeStatus) -> String {
    let messages = &status.messages;
    let mut text = format!(
        "{} accepted, {} ignored, {} rejected",
        messages.accepted, messages.ignored, messages.rejected
    );
    if !messages.reasons.is_empty() {
        let reasons = messages.reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
        let _ = write!(text, " ({})", reasons.collect::<Vec<_>>().join(", "));
    }
    text
}

/// Formats the trouble list: one line for each entry.
pub(super) fn troubles(status: &NodeStatus) -> Vec<String> {
    let line = |trouble: &TroubleInfo| {
        let text: String = trouble.text.chars().filter(|c| !c.is_control()).collect();
        let kind = TroubleKind::ALL.iter().find(|kind| kind.name() == trouble.kind);
        let flags = kind.map_or("", |kind| flags::of_kind(*kind));
        format!("trouble since {}: {text}{flags}", utc(trouble.since))
    };
    status.troubles.iter().map(line).collect()
}

/// Names and values in two columns.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.text, "{name:9} {value}");
    }
}

fn head(head: &Head) -> String {
    format!("{}  {}{}", head.number, short_hash(&head.hash, 8), age(head))
}

/// Formats the head's age after two spaces; empty if the age is unknown.
pub(super) fn age(head: &Head) -> String {
    match (head.age, head.age_ms) {
        (_, Some(age)) if age < 10_000 => format!("  {age} ms old"),
        (Some(age), _) => format!("  {} old", time(age)),
        (None, _) => String::new(),
    }
}

fn engine(engine: &EngineInfo) -> String {
    let mut text = engine.activity.clone();
    if let Some(head) = engine.head {
        let _ = write!(text, " at {}", head.number);
    }
    if engine.behind > 0 {
        let _ = write!(text, ", {} behind", count(engine.behind, "block"));
    }
    for (label, id) in [("safe", engine.safe), ("finalized", engine.finalized)] {
        if let Some(id) = id {
            let _ = write!(text, ", {label} {}", id.number);
        }
    }
    text
}

fn gaps(gaps: &[GapInfo]) -> String {
    let each = gaps.iter().map(|gap| match gap.missing {
        0 => format!("a branch above {}", gap.after.number),
        missing => format!("{missing} missing above {}", gap.after.number),
    });
    each.collect::<Vec<_>>().join("; ")
}

fn sync(sync: SyncInfo) -> String {
    match (sync.wanted, sync.history) {
        (None, None) => format!("nothing to fetch; {} could be asked", sources(&sync)),
        (None, Some(history)) => format!(
            "fetching history, {} and below: {} under way, from {}",
            history.number,
            sync.in_flight,
            sources(&sync)
        ),
        (Some(wanted), _) => format!(
            "fetching {} and below: {} left, {} under way, {} pending, from {}",
            wanted.number,
            sync.left,
            sync.in_flight,
            sync.pending,
            sources(&sync)
        ),
    }
}

/// Formats the sources of missing blocks.
fn sources(sync: &SyncInfo) -> String {
    let peers = count(sync.servers, "peer");
    match sync.endpoints {
        0 => peers,
        endpoints => format!("{peers} and {}", count(endpoints, "JSON-RPC endpoint")),
    }
}

fn signer(status: &NodeStatus) -> String {
    let signer = &status.signer;
    let Some(current) = signer.current else {
        return "unknown: every block is ignored".into();
    };
    let mut text = current.to_string();
    if let Some(previous) = signer.previous {
        let _ = write!(text, ", and {previous} for a while");
    }
    let _ = write!(text, ", from {}", signer.origin);
    if let Some(block) = signer.l1_block {
        let _ = write!(text, " (block {block})");
    }
    if let Some(error) = &signer.l1_error {
        let _ = write!(text, "; {error}");
    }
    text
}

/// Formats a time: `42 s`, `3 min`, `5 h 12 min`, `2 d 3 h`.
pub(super) fn time(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0..2) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a status with a value in every field.
    pub(in super::super) fn busy() -> NodeStatus {
        let hash = |byte: &str| format!("0x{}", byte.repeat(32));
        serde_json::from_value(json!({
            "version": "0.1.0", "userAgent": "opp2p/0.1.0", "network": "OP Mainnet", "chainID": 10,
            "peerID": "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq",
            "addresses": ["/ip4/10.0.0.7/tcp/9222"], "uptime": 3700,
            "head": { "number": 100, "hash": hash("ab"), "timestamp": 1_700_000_000, "age": 65 },
            "highest": { "number": 130, "hash": hash("cd") },
            "stored": { "number": 100, "hash": hash("ab") },
            "gaps": [{
                "id": 1, "after": { "number": 100, "hash": hash("ab") },
                "before": { "number": 125, "hash": hash("cd") },
                "highest": { "number": 130, "hash": hash("cd") }, "missing": 24,
            }],
            "sync": {
                "wanted": { "number": 124, "hash": hash("ef") }, "left": 24, "pending": 0,
                "inFlight": 4, "servers": 1,
                "landing": 0,
            },
            "peers": {
                "connected": 3, "inbound": 1, "browsers": 2, "subscribers": 3, "mesh": 2,
                "browserMesh": 2, "known": 9,
                "missing": 17,
            },
            "messages": {
                "accepted": 7, "ignored": 1, "rejected": 2,
                "reasons": { "already_seen": 1, "wrong_signer": 2 }
            },
            "served": 1, "bandwidth": { "in": 1_234_567, "out": 89 },
            "rates": {
                "over": 60, "blocks": 0.5, "messages": 0.75, "served": 0.0,
                "bytesIn": 2500.0, "bytesOut": 10.0
            },
            "signer": {
                "current": "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "previous": "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "origin": "L1", "l1Block": 77, "l1Error": "the L1 node did not answer within 10 s",
            },
            "problems": ["Blocks are not stored: the disk is full; make room on the disk"],
            "troubles": [
                {
                    "kind": "store",
                    "text": "Blocks are not stored: the disk is full; make room on the disk",
                    "remedy": "make room on the disk", "since": 1_777_593_600,
                    "last": 1_777_593_661,
                },
                {
                    "kind": "no_peers", "text": "No peer is connected; check the network",
                    "remedy": "check the network", "since": 1_777_593_600, "last": 1_777_593_661,
                },
            ],
            "ready": false, "notReady": ["the head is 65 s old"],
        }))
        .expect("the shape")
    }

    #[test]
    fn the_status_has_one_line_per_item() {
        let text = text(&busy());
        for line in [
            "node      opp2p/0.1.0  16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq  up 1 h \
             1 min",
            "chain     OP Mainnet (10)",
            "address   /ip4/10.0.0.7/tcp/9222",
            "head      100  abababab  65 s old",
            "highest   130  cdcdcdcd",
            "gaps      24 missing above 100",
            "sync      fetching 124 and below: 24 left, 4 under way, 0 pending, from 1 peer",
            "peers     3 connected (1 inbound, 3 on the topic, 2 in the mesh), 9 known, 2 browsers \
             (2 in their mesh); 17 more wanted",
            "messages  7 accepted, 1 ignored, 2 rejected (already_seen 1, wrong_signer 2)",
            "rates     0.50 blocks/s, 0.75 messages/s, 2.5 kB/s in, 10 B/s out, over 60 s",
            "traffic   1.23 MB in, 89 B out, 1 block served",
            "ready     no: the head is 65 s old",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        let signer = text.lines().find(|line| line.starts_with("signer")).expect("a signer");
        for part in ["0xaAaA", "0xbB", "for a while", "from L1 (block 77)", "did not answer"] {
            assert!(signer.to_lowercase().contains(&part.to_lowercase()), "{signer}");
        }
    }

    #[test]
    fn each_trouble_is_a_line_with_its_time_the_cause_and_the_remedy() {
        let text = with_troubles(&busy());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[lines.len() - 2..],
            [
                "trouble since 2026-05-01 00:00:00 UTC: Blocks are not stored: the disk is full; \
                 make room on the disk",
                "trouble since 2026-05-01 00:00:00 UTC: No peer is connected; check the network",
            ]
        );
        let well = NodeStatus { troubles: Vec::new(), ..busy() };
        assert!(!with_troubles(&well).contains("trouble"));
    }

    #[test]
    fn the_age_of_a_young_head_is_shown_in_milliseconds() {
        let mut head = busy().head.expect("a head");
        let mut text = |seconds, millis| {
            (head.age, head.age_ms) = (seconds, millis);
            age(&head)
        };
        assert_eq!(text(Some(1), Some(1240)), "  1240 ms old");
        assert_eq!(text(Some(10), Some(10_000)), "  10 s old");
        assert_eq!(text(Some(65), None), "  65 s old");
        assert_eq!(text(None, None), "");
    }

    #[test]
    fn times_are_short() {
        let times = [0, 119, 120, 3599, 3660, 86_399, 90_000].map(time);
        assert_eq!(
            times,
            ["0 s", "119 s", "2 min", "59 min", "1 h 1 min", "23 h 59 min", "1 d 1 h"]
        );
    }
}
