//! The families that only this node has. Their names begin with `opp2p_`.

use super::snapshot::Core;
use crate::version;
use opp2p_core::chain::{GapEnd, SkipReason};
use opp2p_core::engine::Activity;
use opp2p_core::gossip::{Acceptance, Reason, ScheduleRule};
use opp2p_core::node::JobKind;
use opp2p_core::peers::DisconnectReason;
use opp2p_core::sequencer::PublishError;
use opp2p_core::trouble::TroubleKind;
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{ENDPOINT_RESULTS, HostHandle};
use opp2p_node::measure::{Exposition, Kind};

/// Writes all of them.
pub(super) fn write(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let build = [
        ("version", version::VERSION),
        ("commit", version::COMMIT),
        ("date", version::COMMIT_DATE),
    ];
    text.own(
        "opp2p_build_info",
        Kind::Gauge,
        "Version of this program, with its commit and the date of the commit",
    )
    .sample(&build, 1);
    troubles(host, core, text);
    engine(host, text);
    judging(host, core, text);
    peers(host, core, text);
    sources(host, text);
    chain(host, core, text);
    gaps(host, core, text);
    sync(host, core, text);
    ranges(core, text);
    publishing(host, core, text);
    disk(host, text);
}

/// Writes the numbers of peers and connections, and the reasons why peers left.
fn peers(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    let mut peers =
        text.own("opp2p_peers", Kind::Gauge, "Connected peers, by the door that they came through");
    peers.sample(&[("door", "tcp")], status.peers).sample(&[("door", "browser")], status.browsers);
    let mut connections = text.own(
        "opp2p_connections",
        Kind::Gauge,
        "Connections, by door and what is known of them",
    );
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
    let mut mesh =
        text.own("opp2p_mesh_peers", Kind::Gauge, "Peers in the mesh of the present fork's topic");
    mesh.sample(&[("mesh", "nodes")], status.mesh)
        .sample(&[("mesh", "browsers")], status.browser_mesh);
    text.own(
        "opp2p_subscribers",
        Kind::Gauge,
        "Peers that subscribe to that topic, without browsers",
    )
    .value(status.subscribers);
    text.own("opp2p_peers_wanted", Kind::Gauge, "Peers that are missing below the low mark")
        .value(core.missing_peers);
    let mut bans =
        text.own("opp2p_bans", Kind::Gauge, "Bans in force, or over and not yet cleared away");
    bans.sample(&[("of", "peer")], core.banned.0).sample(&[("of", "ip")], core.banned.1);
    let mut banned = text.own("opp2p_bans_total", Kind::Counter, "Bans, by who decided");
    banned
        .sample(&[("by", "score")], meter.bans_by_score.get())
        .sample(&[("by", "operator")], meter.bans_by_operator.get());
    let mut farewells =
        text.own("opp2p_disconnects_total", Kind::Counter, "Peers that this node left, by why");
    for (why, count) in meter.farewells.each(&DisconnectReason::NAMES) {
        farewells.sample(&[("why", why)], count);
    }
    let mut opened =
        text.own("opp2p_peer_changes_total", Kind::Counter, "Peers that came and went");
    opened.sample(&[("change", "connected")], meter.connected.get());
    opened.sample(&[("change", "disconnected")], meter.disconnected.get());
    text.own("opp2p_dials_failed_total", Kind::Counter, "Dials that led to no connection")
        .value(meter.dials_failed.get());
    text.own(
        "opp2p_other_chain_total",
        Kind::Counter,
        "Peers that turned out to be on another chain",
    )
    .value(meter.other_chains.get());
}

/// Writes the results of discovery and of the reads of L1.
fn sources(host: &HostHandle, text: &mut Exposition) {
    let meter = host.meter();
    text.own("opp2p_discovery_table", Kind::Gauge, "Node records in discovery's table")
        .value(host.discovery_table().map_or(0, |table| table.len()));
    text.own("opp2p_l1_reads_total", Kind::Counter, "Times that L1 said who signs blocks")
        .value(meter.l1_reads.get());
    text.own(
        "opp2p_l1_failures_total",
        Kind::Counter,
        "Times that L1 did not say who signs blocks",
    )
    .value(meter.l1_failures.get());
}

/// Writes the state of the publish queue.
fn publishing(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
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
    for (why, count) in meter.publish_errors.each(&PublishError::NAMES) {
        errors.sample(&[("why", why)], count);
    }
}

/// Writes the state of the store.
fn disk(host: &HostHandle, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    text.own(
        "opp2p_store_stored_total",
        Kind::Counter,
        "Blocks of the chain that were put on the disk",
    )
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

/// Writes the trouble list, and whether the node is ready.
fn troubles(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let mut troubles = text.own(
        "opp2p_trouble",
        Kind::Gauge,
        "1 while the node has a trouble of this kind, which /healthz describes",
    );
    for kind in TroubleKind::ALL {
        troubles.sample(&[("kind", kind.name())], u8::from(core.troubles.contains(kind)));
    }
    text.own("opp2p_ready", Kind::Gauge, "1 while the node is ready, as /readyz says")
        .value(u8::from(core.is_ready && host.is_running()));
    text.own("opp2p_signer_known", Kind::Gauge, "1 while the unsafe-block signer is known")
        .value(u8::from(core.signer.is_some()));
    let mut signer =
        text.own("opp2p_signer_info", Kind::Gauge, "Address of the unsafe-block signer");
    if let Some(address) = core.signer {
        signer.sample(&[("address", &address.to_string())], 1);
    }
    let meter = host.meter();
    let mut answers = text.own(
        "opp2p_remote_signer_answers_total",
        Kind::Counter,
        "Requests to the remote signer that ended, by result",
    );
    answers
        .sample(&[("result", "signed")], meter.signed_elsewhere.get())
        .sample(&[("result", "failed")], meter.remote_signer_failures.get());
}

/// Writes the state of the execution client, if there is one.
fn engine(host: &HostHandle, text: &mut Exposition) {
    let Some(status) = host.engine() else { return };
    let is_fed = matches!(status.activity, Activity::Following | Activity::Syncing);
    text.own("opp2p_engine_up", Kind::Gauge, "1 while the execution client is fed")
        .value(u64::from(is_fed));
    text.own(
        "opp2p_engine_behind",
        Kind::Gauge,
        "Blocks that the execution client is behind this node's head",
    )
    .value(status.behind);
    let labels = [
        ("head", status.head),
        ("safe", status.labels.safe),
        ("finalized", status.labels.finalized),
    ];
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

/// Writes whether the fork schedule matches the chain.
fn schedule(core: &Core, text: &mut Exposition) {
    let mut doubts = text.own(
        "opp2p_schedule_doubt",
        Kind::Gauge,
        "1 while blocks that the sequencer signed break this rule of the fork schedule",
    );
    for rule in ScheduleRule::ALL {
        let is_broken = core.schedule_doubt.is_some_and(|doubt| doubt.rule == rule);
        doubts.sample(&[("rule", rule.name())], u8::from(is_broken));
    }
    text.own(
        "opp2p_schedule_doubt_blocks",
        Kind::Gauge,
        "Blocks that broke the fork schedule since the doubt began; 0 without a doubt",
    )
    .value(core.schedule_doubt.map_or(0, |doubt| doubt.blocks));
    let (all, active) = core.unknown_forks;
    let mut forks = text.own(
        "opp2p_unknown_forks",
        Kind::Gauge,
        "Forks of the configuration that this version does not know",
    );
    forks.sample(&[("state", "active")], active);
    forks.sample(&[("state", "planned")], all - active);
}

/// Writes the verdicts on messages, and the time that judging took.
fn judging(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    let mut verdicts = text.own(
        "opp2p_verdicts_total",
        Kind::Counter,
        "Messages judged, by verdict and the check that decided",
    );
    verdicts
        .sample(&[("verdict", Acceptance::Accept.name()), ("reason", "valid")], status.accepted);
    for reason in Reason::ALL {
        let count = status.refused.get(reason).copied().unwrap_or_default();
        verdicts
            .sample(&[("verdict", reason.acceptance().name()), ("reason", reason.name())], count);
    }
    schedule(core, text);
    let mut jobs = text.own(
        "opp2p_work_duration_seconds",
        Kind::Histogram,
        "Time that costly work takes on its thread: validation of messages, encoding, checks of \
         fetched blocks",
    );
    // A label `job` would collide with the one that Prometheus adds.
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

/// Writes the state of the chain.
fn chain(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    if let Some((head, _)) = core.head {
        text.own("opp2p_head_number", Kind::Gauge, "Number of the contiguous head")
            .value(head.number);
    }
    if let Some(highest) = core.highest {
        text.own(
            "opp2p_highest_number",
            Kind::Gauge,
            "Number of the highest block that the sequencer signed",
        )
        .value(highest.number);
    }
    if let Some((_, Some(time))) = core.head {
        let time = time as f64 / 1000.0;
        text.own(
            "opp2p_head_timestamp_seconds",
            Kind::Gauge,
            "Time of the head, unix seconds, with milliseconds where blocks carry them",
        )
        .value(time);
        let age = since_epoch().as_secs_f64() - time;
        text.own("opp2p_head_age_seconds", Kind::Gauge, "Time since the head's own time")
            .value(age);
    }
    text.own("opp2p_block_time_seconds", Kind::Gauge, "Time between two blocks of the chain")
        .value(core.block_time.as_secs_f64());
    text.own("opp2p_blocks_total", Kind::Counter, "Blocks that the chain went on by")
        .value(meter.blocks.get());
    text.own("opp2p_reorgs_total", Kind::Counter, "Changes to another branch")
        .value(meter.reorgs.get());
    text.own(
        "opp2p_equivocations_total",
        Kind::Counter,
        "Second blocks of one number that the sequencer signed",
    )
    .value(meter.equivocations.get());
}

/// Writes the gaps of the chain, and what became of them.
fn gaps(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let meter = host.meter();
    text.own("opp2p_gaps", Kind::Gauge, "Gaps below blocks that wait").value(core.gaps);
    text.own("opp2p_missing_blocks", Kind::Gauge, "Numbers in those gaps").value(core.missing);
    text.own("opp2p_gaps_opened_total", Kind::Counter, "Gaps that opened")
        .value(meter.gaps_opened.get());
    let mut ended = text.own("opp2p_gaps_ended_total", Kind::Counter, "Gaps that ended, by how");
    for (how, count) in meter.gaps_ended.each(&GapEnd::NAMES) {
        ended.sample(&[("how", how)], count);
    }
    let mut skips =
        text.own("opp2p_skips_total", Kind::Counter, "Times that blocks were left out, by why");
    for (why, count) in meter.skips.each(&SkipReason::NAMES) {
        skips.sample(&[("why", why)], count);
    }
    text.own("opp2p_left_out_blocks_total", Kind::Counter, "Blocks that were left out")
        .value(meter.left_out.get());
    let (blocks, bytes) = core.held;
    text.own("opp2p_view_blocks", Kind::Gauge, "Blocks held in memory").value(blocks);
    text.own("opp2p_view_bytes", Kind::Gauge, "Bytes of the blocks held in memory").value(bytes);
}

/// Writes the progress of fetching and serving blocks by number.
fn sync(host: &HostHandle, core: &Core, text: &mut Exposition) {
    let (meter, status) = (host.meter(), host.status().borrow().clone());
    text.own("opp2p_sync_landed_total", Kind::Counter, "Blocks that were fetched and handed on")
        .value(meter.landed.get());
    if let Some(sync) = core.sync {
        text.own("opp2p_sync_in_flight", Kind::Gauge, "Requests for blocks under way")
            .value(sync.in_flight);
        text.own("opp2p_sync_servers", Kind::Gauge, "Peers that may be asked for blocks")
            .value(sync.servers);
        text.own(
            "opp2p_sync_rpc_endpoints",
            Kind::Gauge,
            "JSON-RPC endpoints that are asked for blocks when peers don't deliver",
        )
        .value(sync.endpoints);
        let mut requests = text.own(
            "opp2p_sync_rpc_requests_total",
            Kind::Counter,
            "Requests to JSON-RPC endpoints for blocks that ended, by result",
        );
        for (result, count) in meter.endpoints.each(&ENDPOINT_RESULTS) {
            requests.sample(&[("result", result)], count);
        }
        text.own("opp2p_sync_landing", Kind::Gauge, "Fetched blocks that are being handed on")
            .value(sync.landing);
        text.own(
            "opp2p_sync_memory_bytes",
            Kind::Gauge,
            "Bytes of fetched blocks, and of room for answers",
        )
        .value(sync.memory);
    }
    text.own("opp2p_served_total", Kind::Counter, "Blocks served to peers by number")
        .value(status.served);
}

/// Writes what was served and fetched by ranges. The names of the ends are fixed, so peers can add
/// no series.
fn ranges(core: &Core, text: &mut Exposition) {
    let roles = || core.ranges.iter().filter_map(|(role, counts)| Some((*role, counts.as_ref()?)));
    let mut blocks = text.own(
        "opp2p_range_blocks_total",
        Kind::Counter,
        "Blocks in ranges: sent as a server, or received and proved as a client",
    );
    for (role, counts) in roles() {
        blocks.sample(&[("role", role)], counts.blocks);
    }
    let mut bytes = text.own(
        "opp2p_range_bytes_total",
        Kind::Counter,
        "Bytes of answers with ranges: sent as a server, or received as a client",
    );
    for (role, counts) in roles() {
        bytes.sample(&[("role", role)], counts.bytes);
    }
    let mut requests = text.own(
        "opp2p_range_requests_total",
        Kind::Counter,
        "Requests for ranges that ended, by role and how; without those that this node cancelled",
    );
    for (role, counts) in roles() {
        for (end, count) in counts.ends() {
            requests.sample(&[("role", role), ("end", end)], count);
        }
    }
}
