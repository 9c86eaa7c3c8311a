//! The metrics of real nodes: their names, their values, and their use by a real Prometheus.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

#[path = "../kit/mod.rs"]
mod kit;
mod prometheus;
mod prometheus_alerts;
mod support;

use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::metrics::{Kind, MetricsConfig, MetricsError, families};
use opp2p_core::gossip::Reason;
use opp2p_core::peers::{BlockEntry, PeerCommand};
use opp2p_core::sync::range::ENDINGS;
use opp2p_node::host::{HostConfig, WsConfig};
use std::collections::BTreeSet;
use std::time::Duration;
use support::*;

/// The reference's table (`op-node/metrics/metrics.go` and what it embeds), written down a second
/// time: name after the namespace, type, labels, and the values of the last label where the
/// reference fixes them.
const REFERENCE: &[(&str, &str, &[&str], &[&str])] = &[
    ("p2p_peer_count", "gauge", &[], &[]),
    ("p2p_stream_count", "gauge", &[], &[]),
    (
        "peer_scores",
        "histogram",
        &["type"],
        &[
            "total",
            "ipColocation",
            "behavioralPenalty",
            "blocksFirstMessage",
            "blocksTimeInMesh",
            "blocksMessageDeliveries",
            "blocksInvalidMessageDeliveries",
            "reqRespValidResponses",
            "reqRespErrorResponses",
            "reqRespRejectedPayloads",
        ],
    ),
    (
        "p2p_gossip_events_total",
        "counter",
        &["type"],
        &[
            "PUBLISH_MESSAGE",
            "REJECT_MESSAGE",
            "DUPLICATE_MESSAGE",
            "DELIVER_MESSAGE",
            "ADD_PEER",
            "REMOVE_PEER",
            "RECV_RPC",
            "SEND_RPC",
            "DROP_RPC",
            "JOIN",
            "LEAVE",
            "GRAFT",
            "PRUNE",
        ],
    ),
    ("p2p_bandwidth_bytes_total", "gauge", &["direction"], &["in", "out"]),
    ("p2p_peer_bans", "counter", &[], &[]),
    ("p2p_peer_unbans", "counter", &[], &[]),
    ("p2p_ip_unbans", "counter", &[], &[]),
    ("p2p_dials", "counter", &["allow"], &["true", "false"]),
    ("p2p_accepts", "counter", &["allow"], &["true", "false"]),
    ("p2p_req_duration_seconds", "histogram", &["p2p_role", "p2p_method", "result_code"], &[]),
    (
        "p2p_req_total",
        "counter",
        &["p2p_role", "p2p_method", "result_code"],
        &["0", "1", "2", "3", "4", "5"],
    ),
    ("p2p_payload_by_number", "gauge", &["p2p_role"], &["client", "server"]),
    ("p2p_payloads_quarantine_total", "gauge", &[], &[]),
    ("unsafe_payloads_total", "counter", &[], &[]),
    ("last_unsafe_payloads_unix", "gauge", &[], &[]),
    ("publishing_errors_total", "counter", &[], &[]),
    ("last_publishing_errors_unix", "gauge", &[], &[]),
    ("unsafe_payloads_buffer_len", "gauge", &[], &[]),
    ("unsafe_payloads_buffer_mem_size", "gauge", &[], &[]),
    ("refs_number", "gauge", &["layer", "type"], &["received_payload"]),
    ("refs_time", "gauge", &["layer", "type"], &["received_payload"]),
    ("refs_hash", "gauge", &["layer", "type"], &["received_payload"]),
    ("refs_latency", "gauge", &["layer", "type"], &["received_payload"]),
    ("rpc_server_requests_total", "counter", &["method"], &["opp2p_self"]),
    ("rpc_server_request_duration_seconds", "histogram", &["method"], &["opp2p_self"]),
    ("info", "gauge", &["version"], &[]),
    ("up", "gauge", &[], &[]),
];

/// Buckets of the reference's `peer_scores`.
const SCORE_BUCKETS: &[&str] = &[
    "-100", "-40", "-20", "-10", "-5", "-2", "-1", "-0.5", "-0.05", "0", "0.05", "0.5", "1", "2",
    "5", "10", "20", "40", "+Inf",
];

fn op(name: &str) -> String {
    format!("op_node_default_{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_metrics_have_the_same_names_types_and_labels() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    publish(&sequencer, &mut maker, 3).await;
    follower.until(|status| status.head.is_some_and(|head| head.number == 3)).await;
    // A method has durations once it was called.
    follower.rpc.answered("opp2p_self", Duration::from_millis(1));
    let scrape = follower.scrape().await;
    for (name, kind, labels, values) in REFERENCE {
        let name = op(name);
        assert_eq!(scrape.types.get(&name).map(String::as_str), Some(*kind), "{name}");
        let expected: BTreeSet<String> = labels.iter().map(ToString::to_string).collect();
        assert_eq!(scrape.label_names(&name), expected, "{name}");
        let found = scrape.labels(&name);
        for value in *values {
            let has =
                |series: &Vec<(String, String)>| series.iter().any(|(_, found)| found == value);
            assert!(found.iter().any(has), "{name} has no series for {value}");
        }
    }
    let buckets: BTreeSet<_> = scrape.labels(&op("peer_scores")).into_iter().flatten().collect();
    for bucket in SCORE_BUCKETS {
        assert!(buckets.contains(&("le".to_owned(), (*bucket).to_owned())), "{bucket}");
    }
    // The reference's namespace contains only its own names, and they are those in the
    // documentation.
    let known: BTreeSet<String> = REFERENCE.iter().map(|row| op(row.0)).collect();
    let found = scrape.types.keys().filter(|name| name.starts_with("op_node_"));
    assert_eq!(found.cloned().collect::<BTreeSet<_>>(), known);
    let listed =
        families().iter().map(|(name, kind, labels)| (op(name), kind.name(), labels.len()));
    let rpc = |name: &str| name.contains("rpc_server");
    let rows =
        REFERENCE.iter().filter(|row| !rpc(row.0)).map(|row| (op(row.0), row.1, row.2.len()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), rows.collect::<BTreeSet<_>>());
    assert_eq!(Kind::Counter.name(), "counter");
    // Every family has a help text.
    assert!(
        scrape.types.keys().all(|name| scrape.help.get(name).is_some_and(|help| help.len() > 8))
    );
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_counted_once_by_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 2);
    publish(&sequencer, &mut maker, 4).await;
    // A block may be fetched before its message is judged.
    follower
        .until(|status| status.stored.is_some_and(|head| head.number == 4) && status.accepted == 4)
        .await;
    // An old block is refused by its own node.
    let mut old = maker.next(unix_seconds());
    old.payload.timestamp = 1_700_000_100;
    sequencer.host.publish(old).await.unwrap().expect_err("it is too old");

    // RPCs are counted at each heartbeat: four blocks at least, and subscriptions.
    let scrape =
        follower.until_at_least(&op("p2p_gossip_events_total{type=\"RECV_RPC\"}"), 5.0).await;
    let event = |kind: &str| {
        scrape.get(&op(&format!("p2p_gossip_events_total{{type=\"{kind}\"}}"))).unwrap()
    };
    assert_eq!(
        (event("DELIVER_MESSAGE"), event("REJECT_MESSAGE"), event("PUBLISH_MESSAGE")),
        (4.0, 0.0, 0.0)
    );
    assert_eq!(
        (event("ADD_PEER"), event("REMOVE_PEER"), event("JOIN"), event("LEAVE")),
        (1.0, 0.0, 4.0, 0.0)
    );
    assert!(event("GRAFT") >= 1.0);
    let value = |series: &str| scrape.get(series).unwrap_or_else(|| panic!("no {series}"));
    assert_eq!(value(&op("unsafe_payloads_total")), 4.0 + value("opp2p_sync_landed_total"));
    assert_eq!(value(&op("p2p_peer_count")), 1.0);
    assert!(value(&op("p2p_stream_count")) >= 2.0, "gossip has a stream each way");
    assert!(value(&op("p2p_dials{allow=\"true\"}")) >= 2.0, "the peer, and its address");
    assert_eq!(value(&op("refs_number{layer=\"l2\",type=\"received_payload\"}")), 4.0);
    assert_eq!(value(&op("refs_number{layer=\"l2\",type=\"l2_unsafe\"}")), 4.0);
    let latency = value(&op("refs_latency{layer=\"l2\",type=\"received_payload\"}"));
    assert!((-30.0..=6.0).contains(&latency), "{latency}");
    assert_eq!(value("opp2p_verdicts_total{verdict=\"accept\",reason=\"valid\"}"), 4.0);
    assert_eq!(value("opp2p_block_delay_seconds_count"), 4.0);
    assert!(value("opp2p_work_duration_seconds_count{work=\"validate\"}") >= 4.0);
    assert_eq!((value("opp2p_blocks_total"), value("opp2p_head_number")), (4.0, 4.0));
    assert_eq!((value("opp2p_store_stored_total"), value("opp2p_store_head")), (4.0, 4.0));
    assert!(value("opp2p_store_size_bytes") > 0.0);
    assert_eq!(value("opp2p_peers{door=\"tcp\"}"), 1.0);
    assert!(value(&op("p2p_bandwidth_bytes_total{direction=\"in\"}")) > 1000.0);

    // The RPCs sent, too.
    let sent = op("p2p_gossip_events_total{type=\"SEND_RPC\"}");
    let scrape = sequencer.until_at_least(&sent, 4.0).await;
    let value = |series: &str| scrape.get(series).unwrap_or_else(|| panic!("no {series}"));
    assert_eq!((value("opp2p_published_total"), value(&op("publishing_errors_total"))), (4.0, 1.0));
    assert_eq!(value("opp2p_publish_errors_total{why=\"refused\"}"), 1.0);
    assert!(value(&op("last_publishing_errors_unix")) > 1.7e9);
    assert_eq!(value(&op("p2p_gossip_events_total{type=\"PUBLISH_MESSAGE\"}")), 4.0);
    assert_eq!(value(&op("p2p_accepts{allow=\"true\"}")), 2.0);
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_on_both_sides_and_scores_are_observed() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 3);
    publish(&sequencer, &mut maker, 5).await;
    follower.until(|status| status.head.is_some_and(|head| head.number == 5)).await;
    // A late follower asks for what it missed, block by block.
    let mut by_number = config(directory.path(), "late", &[&sequencer]);
    by_number.sync.as_mut().unwrap().ranges = false;
    let late = Measured::start(by_number).await;
    sequencer.until(|status| status.subscribers == 2).await;
    publish(&sequencer, &mut maker, 1).await;
    late.until(|status| status.head.is_some_and(|head| head.number == 6)).await;
    let label = "p2p_method=\"payload_by_number\",result_code=\"0\"";
    let (asked, served) = (
        op(&format!("p2p_req_total{{p2p_role=\"client\",{label}}}")),
        op(&format!("p2p_req_total{{p2p_role=\"server\",{label}}}")),
    );
    let scrape = late.until_at_least(&asked, 5.0).await;
    let value = |series: &str| scrape.get(series).unwrap_or_else(|| panic!("no {series}"));
    assert!(value("opp2p_sync_landed_total") >= 5.0 && value("opp2p_gaps_opened_total") >= 1.0);
    assert!(value(&op("unsafe_payloads_total")) >= 6.0);
    let answered = [&sequencer.scrape().await, &follower.scrape().await]
        .map(|scrape| scrape.get(&served).unwrap());
    assert!(answered.iter().sum::<f64>() >= 5.0, "{answered:?}");
    assert_eq!(scrape.get(&served), Some(0.0));
    let seconds = op(&format!("p2p_req_duration_seconds_count{{p2p_role=\"client\",{label}}}"));
    assert_eq!(scrape.get(&seconds), scrape.get(&asked));

    // The reference takes scores every 15 s.
    let total = op("peer_scores_count{type=\"total\"}");
    let scrape = late.until_at_least(&total, 1.0).await;
    assert_eq!(
        scrape.get(&op("peer_scores_count{type=\"reqRespValidResponses\"}")),
        scrape.get(&total)
    );
    for node in [late, follower, sequencer] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_counted_on_both_sides_by_their_ends() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let first = Measured::follower(directory.path(), "first", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 3);
    publish(&sequencer, &mut maker, 5).await;
    first.until(|status| status.head.is_some_and(|head| head.number == 5)).await;
    let late = Measured::follower(directory.path(), "late", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 2).await;
    publish(&sequencer, &mut maker, 1).await;
    late.until(|status| status.head.is_some_and(|head| head.number == 6)).await;

    let series = |what: &str, labels: &str| format!("opp2p_range_{what}_total{{{labels}}}");
    let client = late.until_at_least(&series("blocks", "role=\"client\""), 5.0).await;
    let server = sequencer.until_at_least(&series("blocks", "role=\"server\""), 5.0).await;
    let sent = server.get(&series("bytes", "role=\"server\"")).unwrap();
    let received = client.get(&series("bytes", "role=\"client\"")).unwrap();
    assert!(sent > 1000.0 && received > 1000.0, "{sent} bytes sent, {received} received");
    let ends = |scrape: &Scrape, role: &str| -> f64 {
        let of = |end: &str| {
            let labels = format!("role=\"{role}\",end=\"{end}\"");
            scrape.get(&series("requests", &labels)).unwrap_or_else(|| panic!("no {labels}"))
        };
        ENDINGS.iter().map(|end| of(end)).sum()
    };
    assert!(ends(&server, "server") >= 1.0, "every request ends");
    assert!(ends(&client, "client") >= 1.0, "every answer ends");
    for node in [late, first, sequencer] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_waiting_above_a_gap_and_the_head_after_a_restart_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let first = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 8);
    publish(&sequencer, &mut maker, 3).await;
    first.until(|status| status.stored.is_some_and(|head| head.number == 3)).await;
    first.stop().await;

    // It fetches nothing, so it waits for the blocks that it missed.
    let config = || HostConfig { sync: None, ..config(directory.path(), "b", &[&sequencer]) };
    let second = Measured::start(config()).await;
    sequencer.until(|status| status.subscribers == 1).await;
    publish(&sequencer, &mut maker, 2).await;
    second.until(|status| status.accepted == 2).await;
    let scrape = second.scrape().await;
    let value = |series: &str| scrape.get(series).unwrap_or_else(|| panic!("no {series}"));
    assert_eq!(value(&op("unsafe_payloads_buffer_len")), 2.0);
    assert!(value(&op("unsafe_payloads_buffer_mem_size")) > 500.0);
    assert_eq!((value("opp2p_gaps"), value("opp2p_missing_blocks")), (1.0, 3.0));
    assert_eq!(value(&op("refs_number{layer=\"l2\",type=\"l2_buffer_unsafe\"}")), 4.0);
    assert_eq!((value("opp2p_highest_number"), value("opp2p_head_number")), (5.0, 0.0));
    assert_eq!(scrape.get("opp2p_sync_servers"), None, "fetching is switched off");
    second.stop().await;

    // A stored head is reported before any block arrives.
    let third = Measured::start(support::config(directory.path(), "a", &[])).await;
    let scrape = third.scrape().await;
    let head =
        |name: &str| scrape.get(&op(&format!("refs_{name}{{layer=\"l2\",type=\"l2_unsafe\"}}")));
    assert_eq!((head("number"), scrape.get("opp2p_head_number")), (Some(3.0), Some(3.0)));
    assert!(head("time") > Some(1.7e9) && scrape.get("opp2p_head_age_seconds").is_some());
    assert_eq!(head("latency"), None);
    third.stop().await;
    sequencer.stop().await;
}

/// Listeners that read nothing lose events; counters don't.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_listener_loses_no_counts() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = Measured::sequencer(directory.path()).await;
    let mut follower = Measured::follower(directory.path(), "a", &[&sequencer]).await;
    sequencer.until(|status| status.subscribers == 1).await;
    let mut maker = BlockMaker::new(&chain(), 4);
    // Each makes a verdict, a block and a stored one: more than the 1024 events that are kept.
    let count = 400;
    publish(&sequencer, &mut maker, count).await;
    let all = count as u64;
    follower
        .until(|status| {
            status.accepted == all && status.stored.is_some_and(|head| head.number == all)
        })
        .await;
    assert!(follower.events.recv().await.is_err(), "the listener is behind");
    let scrape = follower.scrape().await;
    let value = |series: &str| scrape.get(series).unwrap_or_else(|| panic!("no {series}"));
    assert_eq!(
        (value("opp2p_blocks_total"), value("opp2p_block_delay_seconds_count")),
        (400.0, 400.0)
    );
    // Some may have been fetched as well.
    assert_eq!(value(&op("unsafe_payloads_total")), 400.0 + value("opp2p_sync_landed_total"));
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_garbage_create_no_series() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "a", &[]);
    config.ws = Some(WsConfig::default());
    let node = Measured::start(config).await;
    let families = |scrape: &Scrape| scrape.samples.keys().cloned().collect::<BTreeSet<_>>();
    // All methods without an entry of their own share one series, which begins with the first call.
    node.rpc.answered("made_up", Duration::ZERO);
    let before = families(&node.scrape().await);
    for number in 0..5 {
        let other = Measured::follower(directory.path(), &format!("peer-{number}"), &[&node]).await;
        node.until(|status| status.peers > 0).await;
        let peer = opp2p_wire::from_libp2p(&other.host.peer_id()).unwrap();
        node.host.command(PeerCommand::Block(BlockEntry::Peer(peer))).await.unwrap().unwrap();
        other.stop().await;
        node.until(|status| status.peers == 0).await;
        node.rpc.answered(&format!("made_up_{number}"), Duration::ZERO);
    }
    // A scrape may be some time old.
    let left = "opp2p_disconnects_total{why=\"blocked\"}";
    let after = node.until_at_least(left, 5.0).await;
    let new: Vec<_> = families(&after).symmetric_difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:?}");
    assert_eq!(after.get(left), Some(5.0));
    assert_eq!(after.get(&op("p2p_gossip_events_total{type=\"JOIN\"}")), Some(4.0));
    // A label for each reason, and no others.
    let reasons = after.labels("opp2p_verdicts_total").len();
    assert_eq!(reasons, Reason::ALL.len() + 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_only_reads_and_stops_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let node = Measured::follower(directory.path(), "a", &[]).await;
    let address = node.metrics.address();
    let (head, body) = get(address, "/metrics").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.ends_with('\n') && body.len() > 10_000, "{} bytes", body.len());
    assert!(get(address, "/").await.1.contains("/metrics"));
    assert!(get(address, "/metrics/../../etc/passwd").await.0.starts_with("HTTP/1.1 404"));
    let ask = |line: &'static str| request(address, line);
    let (head, body) = ask("HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    let (head, _) = ask("DELETE /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    let (head, _) = ask("\u{1}\u{2}garbage\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    // A used port is reported in one sentence.
    let second =
        opp2p::metrics::Metrics::start(MetricsConfig::new(address), node.host.handle()).await;
    let error = second.expect_err("the port is used");
    assert!(matches!(error, MetricsError::InUse(_)));
    assert!(error.to_string().contains("choose another port"), "{error}");
    // The node may end before its metrics do.
    let Measured { host, metrics, .. } = node;
    host.stop().await;
    assert!(get(address, "/metrics").await.0.starts_with("HTTP/1.1 200"));
    metrics.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
