//! The families that the reference has too.

use super::gossip;
use super::own;
use super::snapshot::Core;
use opp2p_core::chain::BlockId;
use opp2p_node::host::{CODES, HostHandle, LastBlock, Requests, SCORE_PARTS};
use opp2p_node::measure::{Exposition, Kind};

/// Returns the reference's families, each with its name without the namespace, its type and its
/// labels: every row of the reference's table that concerns the p2p layer, except `rpc_server_*`,
/// which [`RpcMeter`](super::RpcMeter) writes.
pub const fn families() -> &'static [(&'static str, Kind, &'static [&'static str])] {
    use Kind::{Counter, Gauge, Histogram};
    const SERVING: &[&str] = &["p2p_role", "p2p_method", "result_code"];
    const REF: &[&str] = &["layer", "type"];
    &[
        ("info", Gauge, &["version"]),
        ("up", Gauge, &[]),
        ("p2p_peer_count", Gauge, &[]),
        ("p2p_stream_count", Gauge, &[]),
        ("peer_scores", Histogram, &["type"]),
        ("p2p_gossip_events_total", Counter, &["type"]),
        ("p2p_bandwidth_bytes_total", Gauge, &["direction"]),
        ("p2p_peer_bans", Counter, &[]),
        ("p2p_peer_unbans", Counter, &[]),
        ("p2p_ip_unbans", Counter, &[]),
        ("p2p_dials", Counter, &["allow"]),
        ("p2p_accepts", Counter, &["allow"]),
        ("p2p_req_duration_seconds", Histogram, SERVING),
        ("p2p_req_total", Counter, SERVING),
        ("p2p_payload_by_number", Gauge, &["p2p_role"]),
        ("p2p_payloads_quarantine_total", Gauge, &[]),
        ("unsafe_payloads_total", Counter, &[]),
        ("last_unsafe_payloads_unix", Gauge, &[]),
        ("publishing_errors_total", Counter, &[]),
        ("last_publishing_errors_unix", Gauge, &[]),
        ("unsafe_payloads_buffer_len", Gauge, &[]),
        ("unsafe_payloads_buffer_mem_size", Gauge, &[]),
        ("refs_number", Gauge, REF),
        ("refs_time", Gauge, REF),
        ("refs_hash", Gauge, REF),
        ("refs_latency", Gauge, REF),
    ]
}

/// The only request-response protocol.
const METHOD: (&str, &str) = ("p2p_method", "payload_by_number");

/// Writes all of the node's own families.
pub(super) fn write(host: &HostHandle, text: &mut Exposition) {
    let core = Core::read(host);
    peers(host, &core, text);
    gossip_events(host, text);
    requests(host, &core, text);
    payloads(host, &core, text);
    references(host, &core, text);
    own::write(host, &core, text);
}

fn peers(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    text.reference("info", Kind::Gauge, "Version of this program")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.reference("up", Kind::Gauge, "1 once the node has started").value(1);
    // As in the reference, only connections with a completed handshake count.
    let connections: usize =
        core.doors.iter().map(|(_, door)| door.inbound + door.exempt + door.outbound).sum();
    text.reference("p2p_peer_count", Kind::Gauge, "Connections with peers").value(connections);
    text.reference("p2p_stream_count", Kind::Gauge, "Open streams of all connections")
        .value(host.streams());
    let mut scores = text.reference(
        "peer_scores",
        Kind::Histogram,
        "Scores of connected peers, taken every 15 s, by part",
    );
    for (part, histogram) in SCORE_PARTS.iter().zip(&meter.scores) {
        scores.histogram(&[("type", part)], histogram);
    }
    let (bytes_in, bytes_out) = host.bandwidth();
    text.reference(
        "p2p_bandwidth_bytes_total",
        Kind::Gauge,
        "Bytes over all connections since the start",
    )
    .sample(&[("direction", "in")], bytes_in)
    .sample(&[("direction", "out")], bytes_out);
    text.reference("p2p_peer_bans", Kind::Counter, "Bans of peers, by score or by an operator")
        .value(meter.bans_by_score.get() + meter.bans_by_operator.get());
    let gate = &core.gate;
    text.reference("p2p_peer_unbans", Kind::Counter, "Bans of peers that are over")
        .value(gate.peer_unbans);
    text.reference("p2p_ip_unbans", Kind::Counter, "Bans of IP addresses that are over")
        .value(gate.ip_unbans);
    text.reference(
        "p2p_dials",
        Kind::Counter,
        "Decisions on dials: of peers, of addresses, of handshakes done",
    )
    .sample(&[("allow", "true")], gate.dials_allowed)
    .sample(&[("allow", "false")], gate.dials_denied);
    text.reference(
        "p2p_accepts",
        Kind::Counter,
        "Decisions on who comes: on connections, on handshakes done",
    )
    .sample(&[("allow", "true")], gate.accepts_allowed)
    .sample(&[("allow", "false")], gate.accepts_denied);
}

fn gossip_events(host: &HostHandle, text: &mut Exposition) {
    let mut family = text.reference(
        "p2p_gossip_events_total",
        Kind::Counter,
        "Events of gossip, by the Go library's names",
    );
    for (name, count) in gossip::events(host) {
        family.sample(&[("type", name)], count);
    }
}

fn requests(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    let roles: [(&str, &Requests); 2] = [("client", &meter.asked), ("server", &meter.served)];
    let mut durations = text.reference(
        "p2p_req_duration_seconds",
        Kind::Histogram,
        "Time of requests for blocks by number",
    );
    for (role, requests) in roles {
        for (code, times) in CODES.iter().zip(&requests.times) {
            durations.histogram(&[("p2p_role", role), METHOD, ("result_code", code)], times);
        }
    }
    let mut total = text.reference("p2p_req_total", Kind::Counter, "Requests for blocks by number");
    for (role, requests) in roles {
        for (code, times) in CODES.iter().zip(&requests.times) {
            total.sample(&[("p2p_role", role), METHOD, ("result_code", code)], times.count());
        }
    }
    let mut last = text.reference(
        "p2p_payload_by_number",
        Kind::Gauge,
        "Number of the block that was last asked for",
    );
    for (role, requests) in roles {
        last.sample(&[("p2p_role", role)], requests.last_number.get());
    }
    text.reference(
        "p2p_payloads_quarantine_total",
        Kind::Gauge,
        "Blocks fetched by number that wait for their link to the chain",
    )
    .value(core.sync.map_or(0, |sync| sync.pending));
}

fn payloads(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    text.reference(
        "unsafe_payloads_total",
        Kind::Counter,
        "Blocks accepted from gossip, and fetched ones that were handed on",
    )
    .value(meter.received.get());
    text.reference(
        "last_unsafe_payloads_unix",
        Kind::Gauge,
        "When the last of them came, unix seconds",
    )
    .value(meter.last_received.get());
    text.reference(
        "publishing_errors_total",
        Kind::Counter,
        "Blocks of our own that were not published",
    )
    .value(meter.publish_errors.sum());
    text.reference(
        "last_publishing_errors_unix",
        Kind::Gauge,
        "When the last of them failed, unix seconds",
    )
    .value(meter.last_publish_error.get());
    let (blocks, bytes) = core.buffer;
    text.reference(
        "unsafe_payloads_buffer_len",
        Kind::Gauge,
        "Blocks that wait for missing ones below them",
    )
    .value(blocks);
    text.reference("unsafe_payloads_buffer_mem_size", Kind::Gauge, "Bytes of the blocks that wait")
        .value(bytes);
}

/// Returns the first eight bytes of a hash as a number, which shows when two nodes differ.
fn hash_value(id: &BlockId) -> u64 {
    id.hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn references(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    let known = |name, block: Option<LastBlock>| {
        block.map(|LastBlock { id, time, latency }| (name, id, Some(time), Some(latency)))
    };
    // After a restart the head comes from the store, and its time of arrival is unknown.
    let head = core.head.map(|(id, time)| {
        let latency = meter.head().filter(|head| head.id == id).map(|head| head.latency);
        ("l2_unsafe", id, time, latency)
    });
    let received = known("received_payload", meter.last_received());
    let waits = core.waits.map(|id| ("l2_buffer_unsafe", id, None, None));
    let blocks: Vec<_> = [head, received, waits].into_iter().flatten().collect();
    const LAYER: (&str, &str) = ("layer", "l2");
    let mut numbers =
        text.reference("refs_number", Kind::Gauge, "Numbers of blocks, by what they are");
    for (name, id, ..) in &blocks {
        numbers.sample(&[LAYER, ("type", name)], id.number);
    }
    let mut times =
        text.reference("refs_time", Kind::Gauge, "Timestamps of the same, unix seconds");
    for (name, _, time, _) in &blocks {
        if let Some(time) = time {
            times.sample(&[LAYER, ("type", name)], time / 1000);
        }
    }
    let mut hashes = text.reference(
        "refs_hash",
        Kind::Gauge,
        "First eight bytes of the hashes of the same, as a number",
    );
    for (name, id, ..) in &blocks {
        hashes.sample(&[LAYER, ("type", name)], hash_value(id));
    }
    let mut latencies = text.reference(
        "refs_latency",
        Kind::Gauge,
        "Timestamps of the same less the time when they came, seconds: negative for what comes \
         late",
    );
    for (name, .., latency) in &blocks {
        if let Some(latency) = latency {
            latencies.sample(&[LAYER, ("type", name)], latency);
        }
    }
}
