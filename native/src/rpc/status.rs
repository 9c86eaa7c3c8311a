//! How the node does, and whether it is ready.

use super::recent::Recent;
use super::types::{
    Bandwidth, EngineInfo, GapInfo, Head, MessageNumbers, NodeStatus, PeerNumbers, SignerInfo, SyncInfo,
};
use crate::feed::FeedMeter;
use crate::host::HostHandle;
use opp2p_core::gossip::{Acceptance, TIMESTAMP_THRESHOLD};
use std::time::Duration;

/// Gaps that a status names.
const GAPS: usize = 64;
/// A head is fresh for so many block times, and at least as long as a block may be gossiped.
const FRESH_BLOCKS: u64 = 10;

/// How old the head of a node that is ready may be: the longer of 60 s and ten block times.
fn freshness(block_time: u64) -> Duration {
    TIMESTAMP_THRESHOLD.max(Duration::from_secs(block_time.saturating_mul(FRESH_BLOCKS)))
}

/// Why a node is not ready; nothing if it is.
///
/// It is ready if it runs, is connected to a peer that is no browser, has a disk that takes blocks, and has a head of
/// which the timestamp is not older than [`freshness`].
pub(super) fn obstacles(host: &HostHandle) -> Vec<String> {
    let (head, block_time) = host.core(|node, now| (head(node, now.unix_seconds()), node.chain().block_time));
    why_not(host, head, block_time)
}

fn why_not(host: &HostHandle, head: Option<Head>, block_time: u64) -> Vec<String> {
    let mut reasons = Vec::new();
    if !host.is_running() {
        reasons.push("the node has stopped".to_owned());
    }
    if host.status().borrow().peers == 0 {
        reasons.push("no peer is connected".to_owned());
    }
    reasons.extend(store_problem(host));
    reasons.extend(crate::panics::lost());
    let limit = freshness(block_time).as_secs();
    match head.map(|head| head.age) {
        None => reasons.push("there is no head yet".to_owned()),
        Some(None) => reasons.push("the head's age is not known".to_owned()),
        Some(Some(age)) if age > limit => {
            reasons.push(format!("the head is {age} s old, which is more than {limit} s"));
        }
        Some(Some(_)) => {}
    }
    reasons
}

fn store_problem(host: &HostHandle) -> Option<String> {
    let error = host.status().borrow().store_error.clone();
    error.map(|error| format!("blocks are not stored: {error}"))
}

/// What is wrong with the node itself, whatever its peers do. It goes on all the same.
pub(super) fn problems(host: &HostHandle) -> Vec<String> {
    let engine = host.engine().and_then(|engine| crate::engine::problem(&engine.activity));
    let feed = host.feed().and_then(FeedMeter::problem);
    store_problem(host).into_iter().chain(engine).chain(feed).chain(crate::panics::problems()).collect()
}

fn head(node: &opp2p_core::node::Node, unix: u64) -> Option<Head> {
    let head = node.view().head()?;
    let timestamp = node.view().canonical_by_hash(&head.hash).map(opp2p_core::payload::Block::timestamp);
    let age = timestamp.map(|timestamp| unix.saturating_sub(timestamp));
    Some(Head { number: head.number, hash: head.hash, timestamp, age })
}

/// `opp2p_nodeStatus`.
pub(super) fn status(host: &HostHandle, recent: &Recent) -> NodeStatus {
    let now = host.status().borrow().clone();
    let (received, sent) = host.bandwidth();
    let report = host.signer_report().borrow().clone();
    let mut status = host.core(|node, at| {
        let (view, peers, signers) = (node.view(), node.peers(), node.signers());
        let inbound =
            |peer: &&_| peers.is_inbound(peer) == Some(true) && peers.is_browser(peer) != Some(true);
        let sync = node.sync_status().map(|sync| {
            let base = view.head().map_or(0, |head| head.number);
            SyncInfo {
                wanted: sync.wanted.map(Into::into),
                left: sync.wanted.map_or(0, |wanted| wanted.number.saturating_sub(base)),
                pending: sync.pending as u64,
                in_flight: sync.in_flight as u64,
                servers: sync.servers as u64,
                landing: sync.landing as u64,
            }
        });
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            user_agent: host.agent().into(),
            network: node.chain().name.clone().into_owned(),
            chain_id: node.chain().chain_id,
            peer_id: host.peer_id().to_string(),
            addresses: Vec::new(),
            uptime: at.monotonic.since_start().as_secs(),
            head: head(node, at.unix_seconds()),
            highest: view.highest().map(Into::into),
            stored: now.stored.map(Into::into),
            problems: Vec::new(),
            gaps: view.gaps().take(GAPS).map(GapInfo::from).collect(),
            sync,
            peers: PeerNumbers {
                connected: now.peers as u64,
                inbound: peers.connected_peers().filter(inbound).count() as u64,
                browsers: now.browsers as u64,
                subscribers: now.subscribers as u64,
                mesh: now.mesh as u64,
                browser_mesh: now.browser_mesh as u64,
                known: peers.book().len() as u64,
                missing: peers.missing() as u64,
            },
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
            ready: false,
            not_ready: Vec::new(),
        }
    });
    status.addresses = host.addresses().iter().map(ToString::to_string).collect();
    status.messages = MessageNumbers {
        accepted: now.accepted,
        ignored: now.judged(Acceptance::Ignore),
        rejected: now.judged(Acceptance::Reject),
        reasons: now.refused.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect(),
    };
    status.problems = problems(host);
    let block_time = host.core(|node, _| node.chain().block_time);
    status.not_ready = why_not(host, status.head, block_time);
    status.ready = status.not_ready.is_empty();
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_fresh_for_a_minute_or_ten_blocks() {
        assert_eq!(freshness(2), Duration::from_secs(60));
        assert_eq!(freshness(12), Duration::from_secs(120));
        assert_eq!(freshness(u64::MAX), Duration::from_secs(u64::MAX));
    }
}
