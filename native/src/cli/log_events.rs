//! What the log says of a node's events: one line for what people follow.
//!
//! What peers can cause has the target [`PEERS`], of which the log shows so many lines and counts the rest; what they
//! send is shown at the debug level only.

use super::log_limit::{DISK, PEERS};
use crate::clock::since_epoch;
use crate::host::{HostEvent, HostEventKind, L1News, NatEvent};
use crate::swarm;
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use opp2p_core::peers::PeerEvent;
use opp2p_core::sync::{Answered, SyncEvent};

/// So many events came faster than they could be logged.
pub(super) fn missed(missed: u64) {
    tracing::warn!(target: PEERS, missed, "the log is behind and leaves events out");
}

/// Logs an event.
pub(super) fn log(event: &HostEvent) {
    match &event.kind {
        HostEventKind::Core(Event::Chain(event)) => log_chain(event),
        HostEventKind::Core(Event::SignerChanged { current, .. }) => {
            tracing::info!(?current, "unsafe-block signer changed");
        }
        HostEventKind::Core(Event::Sync(event)) => log_sync(event),
        HostEventKind::Core(Event::Published { .. } | Event::Commanded { .. }) => {}
        HostEventKind::Core(Event::Peers(event)) => log_peers(event),
        HostEventKind::Verdict(verdict) => {
            if let Err(reason) = verdict.result {
                tracing::debug!(topic = %verdict.topic, %reason, "message not accepted");
            }
        }
        HostEventKind::Connected { peer, address } => {
            tracing::info!(target: PEERS, %peer, %address, "connected");
        }
        HostEventKind::Disconnected { peer } => tracing::info!(target: PEERS, %peer, "disconnected"),
        HostEventKind::DialFailed { peer, error } => {
            tracing::info!(target: PEERS, %peer, %error, "could not connect");
        }
        HostEventKind::Identified { peer, agent } => tracing::debug!(%peer, agent, "identified"),
        HostEventKind::Stored(block) => tracing::debug!(number = block.number, "stored"),
        HostEventKind::StoreFailed(error) => tracing::error!(target: DISK, %error, "not stored"),
        HostEventKind::StoreRecovered => tracing::info!("the disk takes blocks again"),
        HostEventKind::L1(news) => log_l1(news),
        HostEventKind::Nat(NatEvent::Mapped { external, .. }) => {
            tracing::info!(address = %external, "the router lets connections in");
        }
        HostEventKind::Nat(NatEvent::Expired { external, .. }) => {
            tracing::warn!(address = %external, "the router lets no more connections in");
        }
        HostEventKind::Nat(NatEvent::NoGateway) => {
            tracing::warn!("no router with UPnP was found; forward the port by hand if there is a router");
        }
        HostEventKind::Nat(NatEvent::PrivateGateway) => {
            tracing::warn!("the router has no public address; peers can't connect to this node through it");
        }
    }
}

fn log_l1(news: &L1News) {
    match news {
        L1News::Read { signer: Some(signer), block } => {
            tracing::debug!(%signer, l1_block = block, "L1 says who signs");
        }
        L1News::Read { signer: None, block } => {
            tracing::warn!(l1_block = block, "the SystemConfig contract on L1 names no unsafe-block signer");
        }
        L1News::Failed(error) => tracing::warn!(%error, "the unsafe-block signer is not read from L1"),
        L1News::GaveUp(error) => {
            tracing::error!(%error, "the unsafe-block signer could not be read from L1 at the start");
        }
    }
}

fn log_chain(event: &ChainEvent<Block>) {
    match event {
        ChainEvent::Extended(block) => log_block(block),
        ChainEvent::Reorg { ancestor, abandoned, adopted } => tracing::warn!(
            ancestor = %ancestor, abandoned = abandoned.len(), adopted = adopted.len(), "reorg"
        ),
        ChainEvent::Equivocation { number, first, second } => tracing::warn!(
            number, first = %first.hash, second = %second.hash, "the sequencer signed two blocks of one number"
        ),
        ChainEvent::GapOpened(gap) => {
            tracing::info!(
                after = gap.after.number,
                before = gap.before.number,
                missing = gap.missing,
                "gap"
            );
        }
        ChainEvent::GapClosed { end, .. } => tracing::info!(?end, "gap closed"),
        ChainEvent::Skipped { from, to, .. } => tracing::warn!(
            from = from.number,
            to = to.number,
            "the blocks between were not received and are left out"
        ),
        ChainEvent::GapChanged(_) => {}
    }
}

fn log_peers(event: &PeerEvent) {
    let name = |peer| swarm::to_libp2p(peer).map(|peer| peer.to_string()).unwrap_or_default();
    match event {
        PeerEvent::Banned { peer, score, until } => {
            tracing::info!(target: PEERS, peer = name(peer), score, until, "banned");
        }
        PeerEvent::Dropped { peer, why } => tracing::debug!(peer = name(peer), ?why, "disconnecting"),
        PeerEvent::Lacking(true) => tracing::debug!("fewer peers than wanted"),
        PeerEvent::OtherChain { peer, chain_id } => {
            tracing::warn!(target: PEERS, peer = name(peer), chain_id, "a peer is on another chain and of no use");
        }
        PeerEvent::Lacking(false) => tracing::debug!("enough peers"),
    }
}

fn log_sync(event: &SyncEvent) {
    match event {
        SyncEvent::Landing { after, highest, blocks } => {
            tracing::info!(from = after.number + 1, to = highest.number, blocks, "missing blocks fetched");
        }
        SyncEvent::Refused { error, .. } => tracing::warn!(%error, "missing blocks are not fetched"),
        SyncEvent::Range { result: Ok(()), .. } => tracing::info!("the range is there"),
        SyncEvent::Range { result: Err(error), .. } => tracing::warn!(%error, "the range is not fetched"),
        SyncEvent::Conduct { conduct, .. } => tracing::debug!(?conduct, "a peer's conduct"),
        SyncEvent::Answered(Answered { number, took, result, .. }) => match result {
            Ok(_) => tracing::debug!(number, ?took, "fetched"),
            Err(error) => tracing::debug!(number, ?took, %error, "not fetched"),
        },
    }
}

fn log_block(block: &Block) {
    let payload = block.payload();
    let age = since_epoch().as_millis();
    let age = u64::try_from(age).unwrap_or(u64::MAX).saturating_sub(block.timestamp().saturating_mul(1000));
    tracing::info!(
        number = block.number(), hash = %block.hash(), txs = payload.transaction_count(),
        bytes = payload.as_bytes().len(), gas = payload.gas_used(), age_ms = age, "block"
    );
}
