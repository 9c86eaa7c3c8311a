//! `opp2p status`: how a running node is.

use super::super::{Failure, NO, answer, runtime};
use super::NodeArgs;
use crate::rpc::types::{EngineInfo, GapInfo, Head, NodeStatus, SyncInfo};
use crate::text::{count, short_hash, size};
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

/// Prints it. The exit code is 1 if the node is not ready.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let node = args.node.node()?;
    let whole: Value = runtime()?.block_on(node.call("opp2p_nodeStatus", json!([])))?;
    let status: NodeStatus = serde_json::from_value(whole.clone()).map_err(|error| {
        Failure::new(format!("the node's status has another shape than this program's: {error}"))
    })?;
    answer(if args.json { whole.to_string() } else { text(&status) })?;
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// For people: one line for each thing.
pub(super) fn text(status: &NodeStatus) -> String {
    let mut lines = Lines::default();
    lines.add("node", format!("{}  {}  up {}", status.user_agent, status.peer_id, time(status.uptime)));
    lines.add("chain", format!("{} ({})", status.network, status.chain_id));
    for address in &status.addresses {
        lines.add("address", address);
    }
    lines.add("head", status.head.as_ref().map_or_else(|| "none yet".into(), head));
    if let Some(highest) =
        status.highest.filter(|highest| status.head.is_none_or(|head| head.number != highest.number))
    {
        lines.add("highest", format!("{}  {}", highest.number, short_hash(&highest.hash, 8)));
    }
    if let Some(stored) = status.stored {
        lines.add("stored", stored.number.to_string());
    }
    lines.add("gaps", if status.gaps.is_empty() { "none".into() } else { gaps(&status.gaps) });
    lines.add("sync", status.sync.map_or_else(|| "switched off".into(), sync));
    let peers = status.peers;
    let mut text = format!(
        "{} connected ({} inbound, {} on the topic, {} in the mesh), {} known",
        peers.connected, peers.inbound, peers.subscribers, peers.mesh, peers.known
    );
    if peers.browsers > 0 {
        let _ = write!(text, ", {} ({} in their mesh)", count(peers.browsers, "browser"), peers.browser_mesh);
    }
    if peers.missing > 0 {
        let _ = write!(text, "; {} more wanted", peers.missing);
    }
    lines.add("peers", text);
    let messages = &status.messages;
    let mut text = format!(
        "{} accepted, {} ignored, {} rejected",
        messages.accepted, messages.ignored, messages.rejected
    );
    if !messages.reasons.is_empty() {
        let reasons = messages.reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
        let _ = write!(text, " ({})", reasons.collect::<Vec<_>>().join(", "));
    }
    lines.add("messages", text);
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
    if !status.problems.is_empty() {
        lines.add("problems", status.problems.join("; "));
    }
    lines.text.truncate(lines.text.trim_end().len());
    lines.text
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
    let age = head.age.map_or_else(String::new, |age| format!("  {} old", time(age)));
    format!("{}  {}{age}", head.number, short_hash(&head.hash, 8))
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
    match sync.wanted {
        None => format!("nothing to fetch; {} could be asked", count(sync.servers, "peer")),
        Some(wanted) => format!(
            "fetching {} and below: {} left, {} under way, {} pending, from {}",
            wanted.number,
            sync.left,
            sync.in_flight,
            sync.pending,
            count(sync.servers, "peer")
        ),
    }
}

fn signer(status: &NodeStatus) -> String {
    let signer = &status.signer;
    let Some(current) = signer.current else { return "nobody is known: every block is ignored".into() };
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

/// `42 s`, `3 min`, `5 h 12 min`, `2 d 3 h`.
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

    /// A node that has something to say of everything.
    pub(in super::super) fn busy() -> NodeStatus {
        let hash = |byte: &str| format!("0x{}", byte.repeat(32));
        serde_json::from_value(json!({
            "version": "0.1.0", "userAgent": "opp2p/0.1.0", "network": "OP Mainnet", "chainID": 10,
            "peerID": "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq",
            "addresses": ["/ip4/10.0.0.7/tcp/9222"], "uptime": 3700,
            "head": { "number": 100, "hash": hash("ab"), "timestamp": 1_700_000_000, "age": 65 },
            "highest": { "number": 130, "hash": hash("cd") }, "stored": { "number": 100, "hash": hash("ab") },
            "gaps": [{
                "id": 1, "after": { "number": 100, "hash": hash("ab") }, "before": { "number": 125, "hash": hash("cd") },
                "highest": { "number": 130, "hash": hash("cd") }, "missing": 24,
            }],
            "sync": {
                "wanted": { "number": 124, "hash": hash("ef") }, "left": 24, "pending": 0, "inFlight": 4, "servers": 1,
                "landing": 0,
            },
            "peers": {
                "connected": 3, "inbound": 1, "browsers": 2, "subscribers": 3, "mesh": 2, "browserMesh": 2, "known": 9,
                "missing": 17,
            },
            "messages": { "accepted": 7, "ignored": 1, "rejected": 2, "reasons": { "already_seen": 1, "wrong_signer": 2 } },
            "served": 1, "bandwidth": { "in": 1_234_567, "out": 89 },
            "rates": { "over": 60, "blocks": 0.5, "messages": 0.75, "served": 0.0, "bytesIn": 2500.0, "bytesOut": 10.0 },
            "signer": {
                "current": "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "previous": "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "origin": "L1", "l1Block": 77, "l1Error": "the L1 node did not answer within 10 s",
            },
            "ready": false, "notReady": ["the head is 65 s old"],
        }))
        .expect("the shape")
    }

    #[test]
    fn people_read_a_line_for_each_thing() {
        let text = text(&busy());
        for line in [
            "node      opp2p/0.1.0  16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq  up 1 h 1 min",
            "chain     OP Mainnet (10)",
            "address   /ip4/10.0.0.7/tcp/9222",
            "head      100  abababab  65 s old",
            "highest   130  cdcdcdcd",
            "gaps      24 missing above 100",
            "sync      fetching 124 and below: 24 left, 4 under way, 0 pending, from 1 peer",
            "peers     3 connected (1 inbound, 3 on the topic, 2 in the mesh), 9 known, 2 browsers (2 in their mesh); 17 more wanted",
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
    fn times_are_short() {
        let times = [0, 119, 120, 3599, 3660, 86_399, 90_000].map(time);
        assert_eq!(times, ["0 s", "119 s", "2 min", "59 min", "1 h 1 min", "23 h 59 min", "1 d 1 h"]);
    }
}
