//! The node's status, health and readiness, as the core judges them.

use super::recent::Recent;
use super::types::{
    Bandwidth, DoubtInfo, EngineInfo, GapInfo, Head, MessageNumbers, NodeStatus, PeerNumbers,
    ScheduleInfo, SignerInfo, SyncInfo, TroubleInfo, UnknownForkInfo,
};
use opp2p_core::gossip::Acceptance;
use opp2p_core::node::Node;
use opp2p_core::payload::Block;
use opp2p_node::host::{HostHandle, Status};
use std::time::Duration;

/// Maximum number of gaps in a status.
const GAPS: usize = 64;

/// Returns the reasons why the node is not ready, one sentence each; empty if it is ready.
pub(super) fn obstacles(host: &HostHandle) -> Vec<String> {
    let stopped = (!host.is_running()).then(|| "the node has stopped".to_owned());
    let reasons = host
        .core(|node, now| node.not_ready(now).iter().map(ToString::to_string).collect::<Vec<_>>());
    stopped.into_iter().chain(reasons).collect()
}

/// Returns the node's troubles. The node keeps running with them.
pub(super) fn troubles(host: &HostHandle) -> Vec<TroubleInfo> {
    host.core(|node, now| node.troubles(now).map(TroubleInfo::from).collect())
}

/// Returns the troubles as sentences.
pub(super) fn problems(troubles: &[TroubleInfo]) -> Vec<String> {
    troubles.iter().map(|trouble| trouble.text.clone()).collect()
}

fn head(node: &Node, unix: Duration) -> Option<Head> {
    let head = node.view().head()?;
    let block = node.view().canonical_by_hash(&head.hash);
    let age = block.map(|block| unix.saturating_sub(Duration::from_millis(block.timestamp_ms())));
    Some(Head {
        number: head.number,
        hash: head.hash,
        timestamp: block.map(Block::timestamp),
        timestamp_ms: block.filter(|block| block.base_time().is_some()).map(Block::timestamp_ms),
        age: age.map(|age| age.as_secs()),
        age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn sync(node: &Node) -> Option<SyncInfo> {
    let sync = node.sync_status()?;
    let base = node.view().head().map_or(0, |head| head.number);
    Some(SyncInfo {
        wanted: sync.wanted.map(Into::into),
        history: sync.history.map(Into::into),
        left: sync.wanted.map_or(0, |wanted| wanted.number.saturating_sub(base)),
        pending: sync.pending as u64,
        in_flight: sync.in_flight as u64,
        servers: sync.servers as u64,
        endpoints: sync.endpoints as u64,
        landing: sync.landing as u64,
    })
}

fn peers(node: &Node, now: &Status) -> PeerNumbers {
    let peers = node.peers();
    let inbound =
        |peer: &&_| peers.is_inbound(peer) == Some(true) && peers.is_browser(peer) != Some(true);
    PeerNumbers {
        connected: now.peers as u64,
        inbound: peers.connected_peers().filter(inbound).count() as u64,
        browsers: now.browsers as u64,
        subscribers: now.subscribers as u64,
        mesh: now.mesh as u64,
        browser_mesh: now.browser_mesh as u64,
        known: peers.book().len() as u64,
        missing: peers.missing() as u64,
    }
}

/// Answers `opp2p_nodeStatus`.
pub(super) fn status(host: &HostHandle, recent: &Recent) -> NodeStatus {
    let now = host.status().borrow().clone();
    let (received, sent) = host.bandwidth();
    let report = host.signer_report().borrow().clone();
    let mut status = host.core(|node, at| {
        let (view, signers) = (node.view(), node.signers());
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            user_agent: host.agent().into(),
            network: node.chain().name.clone().into_owned(),
            chain_id: node.chain().chain_id,
            peer_id: host.peer_id().to_string(),
            addresses: Vec::new(),
            uptime: at.monotonic.since_start().as_secs(),
            head: head(node, at.unix),
            highest: view.highest().map(Into::into),
            stored: now.stored.map(Into::into),
            problems: Vec::new(),
            troubles: node.troubles(at).map(TroubleInfo::from).collect(),
            gaps: view.gaps().take(GAPS).map(GapInfo::from).collect(),
            sync: sync(node),
            peers: peers(node, &now),
            messages: MessageNumbers::default(),
            served: now.served,
            bandwidth: Bandwidth { received, sent },
            rates: recent.rates(),
            signer: SignerInfo {
                current: signers.current,
                previous: signers.previous,
                origin: report.origin.name().to_owned(),
                l1_block: report.l1_block,
                l1_error: report.l1_error,
            },
            engine: host.engine().map(|engine| EngineInfo::from(&engine)),
            schedule: ScheduleInfo {
                doubt: node.schedule_doubt().map(DoubtInfo::from),
                unknown_forks: node.unknown_forks(at).map(UnknownForkInfo::from).collect(),
            },
            ready: false,
            not_ready: Vec::new(),
        }
    });
    status.addresses = host.addresses().iter().map(ToString::to_string).collect();
    status.messages = MessageNumbers {
        accepted: now.accepted,
        ignored: now.judged(Acceptance::Ignore),
        rejected: now.judged(Acceptance::Reject),
        reasons: now
            .refused
            .iter()
            .map(|(reason, count)| (reason.name().to_owned(), *count))
            .collect(),
    };
    status.problems = problems(&status.troubles);
    status.not_ready = obstacles(host);
    status.ready = status.not_ready.is_empty();
    status
}
