//! The node's own families.

use super::gossip::{self, Library};
use super::{Exposition, Kind};
use crate::clock::since_epoch;
use crate::host::{
    CODES, FAREWELLS, GAP_ENDS, HostHandle, LastBlock, PUBLISH_ERRORS, Requests, SCORE_PARTS, SKIP_REASONS,
};
use opp2p_core::chain::BlockId;
use opp2p_core::engine::Activity;
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::node::JobKind;
use opp2p_core::payload::Block;
use opp2p_core::peers::{ConnectionCounts, Door, GateCounts};
use opp2p_core::sync::SyncStatus;

/// The reference's families by name without the namespace, with type and labels: every row of its table that concerns
/// the p2p layer, `rpc_server_*` apart, which [`RpcMeter`](super::RpcMeter) tells.
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

/// The only method of requests and answers.
const METHOD: (&str, &str) = ("p2p_method", "payload_by_number");

/// What the core says, copied while it is locked.
struct Core {
    gate: GateCounts,
    doors: [(&'static str, ConnectionCounts); 2],
    banned: (usize, usize),
    buffer: (usize, usize),
    /// The head, and its timestamp while it is held.
    head: Option<(BlockId, Option<u64>)>,
    highest: Option<BlockId>,
    waits: Option<BlockId>,
    gaps: usize,
    missing: u64,
    held: (usize, usize),
    publishing: usize,
    validating: usize,
    sync: Option<SyncStatus>,
    missing_peers: usize,
    block_time: u64,
}

impl Core {
    fn read(host: &HostHandle) -> Self {
        host.core(|node, _| {
            let (view, peers) = (node.view(), node.peers());
            let gate = peers.gate();
            Self {
                gate: peers.counts(),
                doors: [("tcp", Door::Tcp), ("browser", Door::Browser)]
                    .map(|(name, door)| (name, peers.limits().counts(door))),
                banned: (gate.peer_bans().count(), gate.ip_bans().count()),
                buffer: view.pending(),
                head: view.head().map(|id| (id, view.get(&id.hash).map(Block::timestamp))),
                highest: view.highest(),
                waits: view.gap().map(|gap| gap.before),
                gaps: view.gaps().count(),
                missing: view.gaps().map(|gap| gap.missing).sum(),
                held: (view.blocks(), view.bytes()),
                publishing: node.publishing().len(),
                validating: node.waiting(),
                sync: node.sync_status(),
                missing_peers: peers.missing(),
                block_time: node.chain().block_time,
            }
        })
    }
}

/// Writes all of them.
pub(super) fn write(host: &HostHandle, text: &mut Exposition) {
    let core = Core::read(host);
    peers(host, &core, text);
    gossip_events(host, text);
    requests(host, &core, text);
    payloads(host, &core, text);
    references(host, &core, text);
    ours(host, &core, text);
}

fn peers(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    text.reference("info", Kind::Gauge, "Version of this program")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.reference("up", Kind::Gauge, "1 once the node has started").value(1);
    // As the reference, which counts those whose handshake is done.
    let connections: usize =
        core.doors.iter().map(|(_, door)| door.inbound + door.exempt + door.outbound).sum();
    text.reference("p2p_peer_count", Kind::Gauge, "Connections with peers").value(connections);
    text.reference("p2p_stream_count", Kind::Gauge, "Open streams of all connections").value(host.streams());
    let mut scores = text.reference(
        "peer_scores",
        Kind::Histogram,
        "Scores of connected peers, taken every 15 s, by part",
    );
    for (part, histogram) in SCORE_PARTS.iter().zip(&meter.scores) {
        scores.histogram(&[("type", part)], histogram);
    }
    let (bytes_in, bytes_out) = host.bandwidth();
    text.reference("p2p_bandwidth_bytes_total", Kind::Gauge, "Bytes over all connections since the start")
        .sample(&[("direction", "in")], bytes_in)
        .sample(&[("direction", "out")], bytes_out);
    text.reference("p2p_peer_bans", Kind::Counter, "Bans of peers, whoever decided")
        .value(meter.bans_by_score.get() + meter.bans_by_operator.get());
    let gate = &core.gate;
    text.reference("p2p_peer_unbans", Kind::Counter, "Bans of peers that are over").value(gate.peer_unbans);
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
    let meter = host.meter();
    let library = host.gossip_counters().map(Library::read).unwrap_or_default();
    let status = host.status().borrow().clone();
    let refused: u64 = status.refused.values().sum();
    let own_refused = meter.publish_errors.each(&PUBLISH_ERRORS).find(|(why, _)| *why == "refused");
    let events = [
        ("PUBLISH_MESSAGE", meter.given_to_gossip.get()),
        ("REJECT_MESSAGE", refused + library.invalid + own_refused.map_or(0, |(_, count)| count)),
        ("DUPLICATE_MESSAGE", library.duplicates()),
        ("DELIVER_MESSAGE", status.accepted + meter.published.get()),
        ("ADD_PEER", meter.connected.get()),
        ("REMOVE_PEER", meter.disconnected.get()),
        ("RECV_RPC", meter.rpcs.get()),
        ("SEND_RPC", library.sent),
        ("DROP_RPC", library.dropped),
        ("JOIN", gossip::joined(!host.browser_addresses().is_empty()) as u64),
        ("LEAVE", 0),
        ("GRAFT", library.grafts),
        ("PRUNE", library.prunes),
    ];
    let mut family = text.reference(
        "p2p_gossip_events_total",
        Kind::Counter,
        "Events of gossip, by the Go library's names",
    );
    for (name, count) in events {
        family.sample(&[("type", name)], count);
    }
}

fn requests(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    let roles: [(&str, &Requests); 2] = [("client", &meter.asked), ("server", &meter.served)];
    let mut durations =
        text.reference("p2p_req_duration_seconds", Kind::Histogram, "Time of requests for blocks by number");
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
    let mut last =
        text.reference("p2p_payload_by_number", Kind::Gauge, "Number of the block that was last asked for");
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
    text.reference("last_unsafe_payloads_unix", Kind::Gauge, "When the last of them came, unix seconds")
        .value(meter.last_received.get());
    text.reference("publishing_errors_total", Kind::Counter, "Blocks of our own that were not published")
        .value(meter.publish_errors.sum());
    text.reference("last_publishing_errors_unix", Kind::Gauge, "When the last of them failed, unix seconds")
        .value(meter.last_publish_error.get());
    let (blocks, bytes) = core.buffer;
    text.reference("unsafe_payloads_buffer_len", Kind::Gauge, "Blocks that wait for missing ones below them")
        .value(blocks);
    text.reference("unsafe_payloads_buffer_mem_size", Kind::Gauge, "Bytes of the blocks that wait")
        .value(bytes);
}

/// The first eight bytes of a hash as a number, which shows when two nodes differ.
fn hash_value(id: &BlockId) -> u64 {
    id.hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn references(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    let known = |name, block: Option<LastBlock>| {
        block.map(|LastBlock { id, timestamp, latency }| (name, id, Some(timestamp), Some(latency)))
    };
    // After a restart the head is what the store had, which came nobody knows when.
    let head = core.head.map(|(id, timestamp)| {
        let latency = meter.head().filter(|head| head.id == id).map(|head| head.latency);
        ("l2_unsafe", id, timestamp, latency)
    });
    let received = known("received_payload", meter.last_received());
    let waits = core.waits.map(|id| ("l2_buffer_unsafe", id, None, None));
    let blocks: Vec<_> = [head, received, waits].into_iter().flatten().collect();
    const LAYER: (&str, &str) = ("layer", "l2");
    let mut numbers = text.reference("refs_number", Kind::Gauge, "Numbers of blocks, by what they are");
    for (name, id, ..) in &blocks {
        numbers.sample(&[LAYER, ("type", name)], id.number);
    }
    let mut times = text.reference("refs_time", Kind::Gauge, "Timestamps of the same, unix seconds");
    for (name, _, timestamp, _) in &blocks {
        if let Some(timestamp) = timestamp {
            times.sample(&[LAYER, ("type", name)], timestamp);
        }
    }
    let mut hashes =
        text.reference("refs_hash", Kind::Gauge, "First eight bytes of the hashes of the same, as a number");
    for (name, id, ..) in &blocks {
        hashes.sample(&[LAYER, ("type", name)], hash_value(id));
    }
    let mut latencies = text.reference(
        "refs_latency",
        Kind::Gauge,
        "Timestamps of the same less the time when they came, seconds: negative for what comes late",
    );
    for (name, .., latency) in &blocks {
        if let Some(latency) = latency {
            latencies.sample(&[LAYER, ("type", name)], latency);
        }
    }
}

fn ours(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    text.own("opp2p_build_info", Kind::Gauge, "Version of this program")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    engine(host, text);
    judging(host, core, text);

    let mut peers =
        text.own("opp2p_peers", Kind::Gauge, "Connected peers, by the door that they came through");
    peers.sample(&[("door", "tcp")], status.peers).sample(&[("door", "browser")], status.browsers);
    let mut connections =
        text.own("opp2p_connections", Kind::Gauge, "Connections, by door and what is known of them");
    for (door, counts) in &core.doors {
        let kinds = [
            ("half_open", counts.half_open),
            ("inbound", counts.inbound),
            ("exempt", counts.exempt),
            ("outbound", counts.outbound),
        ];
        for (kind, count) in kinds {
            connections.sample(&[("door", door), ("kind", kind)], count);
        }
    }
    let mut mesh = text.own("opp2p_mesh_peers", Kind::Gauge, "Peers in the mesh of the present fork's topic");
    mesh.sample(&[("mesh", "nodes")], status.mesh).sample(&[("mesh", "browsers")], status.browser_mesh);
    text.own("opp2p_subscribers", Kind::Gauge, "Peers but for browsers that subscribe to that topic")
        .value(status.subscribers);
    text.own("opp2p_peers_wanted", Kind::Gauge, "Peers that are missing below the low mark")
        .value(core.missing_peers);
    let mut bans = text.own("opp2p_bans", Kind::Gauge, "Bans in force, or over and not yet cleared away");
    bans.sample(&[("of", "peer")], core.banned.0).sample(&[("of", "ip")], core.banned.1);
    let mut banned = text.own("opp2p_bans_total", Kind::Counter, "Bans, by who decided");
    banned
        .sample(&[("by", "score")], meter.bans_by_score.get())
        .sample(&[("by", "operator")], meter.bans_by_operator.get());
    let mut farewells =
        text.own("opp2p_disconnects_total", Kind::Counter, "Peers that this node left, by why");
    for (why, count) in meter.farewells.each(&FAREWELLS) {
        farewells.sample(&[("why", why)], count);
    }
    let mut opened = text.own("opp2p_peer_changes_total", Kind::Counter, "Peers that came and went");
    opened.sample(&[("change", "connected")], meter.connected.get());
    opened.sample(&[("change", "disconnected")], meter.disconnected.get());
    text.own("opp2p_dials_failed_total", Kind::Counter, "Dials that led to no connection")
        .value(meter.dials_failed.get());
    text.own("opp2p_other_chain_total", Kind::Counter, "Peers that turned out to be on another chain")
        .value(meter.other_chains.get());

    text.own("opp2p_discovery_table", Kind::Gauge, "Node records in discovery's table")
        .value(host.discovery_table().map_or(0, |table| table.len()));
    text.own("opp2p_l1_reads_total", Kind::Counter, "Times that L1 said who signs blocks")
        .value(meter.l1_reads.get());
    text.own("opp2p_l1_failures_total", Kind::Counter, "Times that L1 did not say who signs blocks")
        .value(meter.l1_failures.get());

    chain(host, core, text);

    let publishing = core.publishing;
    text.own("opp2p_publish_queue_length", Kind::Gauge, "Blocks of our own on their way out")
        .value(publishing);
    text.own("opp2p_published_total", Kind::Counter, "Blocks of our own that went out")
        .value(meter.published.get());
    let mut errors = text.own(
        "opp2p_publish_errors_total",
        Kind::Counter,
        "Blocks of our own that did not go out, by why",
    );
    for (why, count) in meter.publish_errors.each(&PUBLISH_ERRORS) {
        errors.sample(&[("why", why)], count);
    }

    text.own("opp2p_store_stored_total", Kind::Counter, "Blocks of the chain that were put on the disk")
        .value(meter.stored.get());
    text.own("opp2p_store_failures_total", Kind::Counter, "Writes to the store that failed")
        .value(meter.store_failures.get());
    text.own("opp2p_store_failing", Kind::Gauge, "1 while the disk takes no blocks")
        .value(u64::from(status.store_error.is_some()));
    if let Ok(bytes) = host.store_size() {
        text.own("opp2p_store_size_bytes", Kind::Gauge, "Size of the store's file").value(bytes);
    }
    if let Some(stored) = status.stored {
        text.own("opp2p_store_head", Kind::Gauge, "Number of the highest block on the disk")
            .value(stored.number);
    }
}

/// How the execution client does, if there is one.
fn engine(host: &HostHandle, text: &mut Exposition) {
    let Some(status) = host.engine() else { return };
    let is_fed = matches!(status.activity, Activity::Following | Activity::Syncing);
    text.own("opp2p_engine_up", Kind::Gauge, "1 while the execution client is fed").value(u64::from(is_fed));
    text.own(
        "opp2p_engine_behind",
        Kind::Gauge,
        "Blocks that the execution client is behind this node's head",
    )
    .value(status.behind);
    let labels =
        [("head", status.head), ("safe", status.labels.safe), ("finalized", status.labels.finalized)];
    let mut family = text.own(
        "opp2p_engine_block",
        Kind::Gauge,
        "Number of the execution client's blocks, by what they are",
    );
    for (label, id) in labels {
        if let Some(id) = id {
            family.sample(&[("block", label)], id.number);
        }
    }
}

/// What became of messages, and what that took.
fn judging(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    let mut verdicts = text.own(
        "opp2p_verdicts_total",
        Kind::Counter,
        "Messages judged, by verdict and the check that decided",
    );
    verdicts.sample(&[("verdict", Acceptance::Accept.name()), ("reason", "valid")], status.accepted);
    for reason in Reason::ALL {
        let count = status.refused.get(reason).copied().unwrap_or_default();
        verdicts.sample(&[("verdict", reason.acceptance().name()), ("reason", reason.name())], count);
    }
    let mut jobs = text.own(
        "opp2p_work_duration_seconds",
        Kind::Histogram,
        "Time that costly work takes on its thread: validation of messages, encoding, checks of fetched blocks",
    );
    // A label `job` would meet Prometheus's own.
    for kind in JobKind::ALL {
        jobs.histogram(&[("work", kind.name())], meter.times_of(kind));
    }
    text.own("opp2p_validation_waiting", Kind::Gauge, "Messages that wait for validation")
        .value(core.validating);
    text.own(
        "opp2p_block_delay_seconds",
        Kind::Histogram,
        "From the timestamp of a gossiped block to its acceptance: publication, way and validation",
    )
    .histogram(&[], &meter.delay);
}

/// The chain, its gaps, and how they are filled.
fn chain(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    if let Some((head, _)) = core.head {
        text.own("opp2p_head_number", Kind::Gauge, "Number of the contiguous head").value(head.number);
    }
    if let Some(highest) = core.highest {
        text.own(
            "opp2p_highest_number",
            Kind::Gauge,
            "Number of the highest block that the sequencer signed",
        )
        .value(highest.number);
    }
    if let Some((_, Some(timestamp))) = core.head {
        text.own("opp2p_head_timestamp_seconds", Kind::Gauge, "Timestamp of the head, unix seconds")
            .value(timestamp);
        let age = since_epoch().as_secs_f64() - timestamp as f64;
        text.own("opp2p_head_age_seconds", Kind::Gauge, "Time since the head's timestamp").value(age);
    }
    text.own("opp2p_block_time_seconds", Kind::Gauge, "Time between two blocks of the chain")
        .value(core.block_time);
    text.own("opp2p_blocks_total", Kind::Counter, "Blocks that the chain went on by")
        .value(meter.blocks.get());
    text.own("opp2p_reorgs_total", Kind::Counter, "Changes to another branch").value(meter.reorgs.get());
    text.own(
        "opp2p_equivocations_total",
        Kind::Counter,
        "Second blocks of one number that the sequencer signed",
    )
    .value(meter.equivocations.get());
    text.own("opp2p_gaps", Kind::Gauge, "Gaps below blocks that wait").value(core.gaps);
    text.own("opp2p_missing_blocks", Kind::Gauge, "Numbers in those gaps").value(core.missing);
    text.own("opp2p_gaps_opened_total", Kind::Counter, "Gaps that opened").value(meter.gaps_opened.get());
    let mut ended = text.own("opp2p_gaps_ended_total", Kind::Counter, "Gaps that ended, by how");
    for (how, count) in meter.gaps_ended.each(&GAP_ENDS) {
        ended.sample(&[("how", how)], count);
    }
    let mut skips = text.own("opp2p_skips_total", Kind::Counter, "Times that blocks were left out, by why");
    for (why, count) in meter.skips.each(&SKIP_REASONS) {
        skips.sample(&[("why", why)], count);
    }
    let (blocks, bytes) = core.held;
    text.own("opp2p_view_blocks", Kind::Gauge, "Blocks held in memory").value(blocks);
    text.own("opp2p_view_bytes", Kind::Gauge, "Bytes of the blocks held in memory").value(bytes);
    text.own("opp2p_sync_landed_total", Kind::Counter, "Blocks that were fetched and handed on")
        .value(meter.landed.get());
    if let Some(sync) = core.sync {
        text.own("opp2p_sync_in_flight", Kind::Gauge, "Requests for blocks under way").value(sync.in_flight);
        text.own("opp2p_sync_servers", Kind::Gauge, "Peers that may be asked for blocks").value(sync.servers);
        text.own("opp2p_sync_landing", Kind::Gauge, "Fetched blocks that are being handed on")
            .value(sync.landing);
        text.own("opp2p_sync_memory_bytes", Kind::Gauge, "Bytes of fetched blocks, and of room for answers")
            .value(sync.memory);
    }
    text.own("opp2p_served_total", Kind::Counter, "Blocks served to peers by number").value(status.served);
}
