//! Log lines for a node's events: one line for each event that operators follow.
//!
//! A trouble has one line at its start, with the cause and the remedy, and one at its end. What
//! leads to a trouble is logged at the debug level only, so that nothing is told twice.
//!
//! Lines that peers can cause have the target [`PEERS`], which is rate-limited; the contents of
//! their messages are logged at the debug level only.

use super::flags;
use super::log_limit::PEERS;
use crate::schedule;
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use opp2p_core::peers::{Conduct, PeerEvent};
use opp2p_core::sync::{AnswerError, Answered, RpcError, Source, SyncEvent};
use opp2p_core::trouble::TroubleEntry;
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{HostEvent, HostEventKind, L1News, NatEvent};
use std::time::Duration;

/// Logs the number of events that came faster than they could be logged.
pub(super) fn missed(missed: u64) {
    tracing::warn!(target: PEERS, missed, "the log is behind and leaves events out");
}

/// Logs an event.
pub(super) fn log(event: &HostEvent) {
    match &event.kind {
        HostEventKind::Core(Event::Chain(event)) => log_chain(event),
        HostEventKind::Core(Event::SignerChanged { current: Some(current), .. }) => {
            tracing::info!(%current, "unsafe-block signer changed");
        }
        HostEventKind::Core(Event::SignerChanged { current: None, .. }) => {
            tracing::info!("the unsafe-block signer is not known any more");
        }
        HostEventKind::Core(Event::TroubleBegan(entry)) => log_trouble(entry),
        HostEventKind::Core(Event::TroubleEnded(entry)) => log_end(entry),
        HostEventKind::Core(Event::ScheduleInDoubt(doubt)) => {
            tracing::debug!(rule = %doubt.rule, "blocks break the fork schedule");
        }
        HostEventKind::Core(Event::ScheduleDoubtEnded(doubt)) => {
            tracing::debug!(rule = %doubt.rule, "blocks keep to the fork schedule again");
        }
        // One that is active is a trouble.
        HostEventKind::Core(Event::UnknownFork(fork)) if !fork.is_active => {
            tracing::info!("{}", schedule::unknown(fork));
        }
        HostEventKind::Core(Event::UnknownFork(_)) => {}
        HostEventKind::Core(Event::Sync(event)) => log_sync(event),
        HostEventKind::Core(
            Event::Published { .. } | Event::Commanded { .. } | Event::Configured { .. },
        ) => {}
        HostEventKind::Core(Event::Peers(event)) => log_peers(event),
        HostEventKind::Verdict(verdict) => {
            if let Err(reason) = verdict.result {
                tracing::debug!(topic = %verdict.topic, %reason, "message not accepted");
            }
        }
        HostEventKind::Connected { peer, address } => {
            tracing::info!(target: PEERS, %peer, %address, "connected");
        }
        HostEventKind::Disconnected { peer } => {
            tracing::info!(target: PEERS, %peer, "disconnected");
        }
        HostEventKind::DialFailed { peer, error } => {
            tracing::info!(target: PEERS, %peer, %error, "could not connect");
        }
        HostEventKind::Identified { peer, agent } => tracing::debug!(%peer, agent, "identified"),
        HostEventKind::Stored(block) => tracing::debug!(number = block.number, "stored"),
        HostEventKind::StoreFailed(error) => tracing::debug!(%error, "not stored"),
        HostEventKind::StoreRecovered => tracing::debug!("the disk takes blocks again"),
        HostEventKind::L1(news) => log_l1(news),
        HostEventKind::Nat(NatEvent::Mapped { external, .. }) => {
            tracing::info!(address = %external, "the router lets connections in");
        }
        HostEventKind::Nat(NatEvent::Expired { external, .. }) => {
            tracing::warn!(address = %external, "the router lets no more connections in");
        }
        HostEventKind::Nat(NatEvent::NoGateway) => {
            tracing::warn!(
                "no router with UPnP was found; forward the port by hand if there is a router"
            );
        }
        HostEventKind::Nat(NatEvent::PrivateGateway) => {
            tracing::warn!(
                "the router has no public address; peers can't connect to this node through it"
            );
        }
    }
}

/// Logs the start of a trouble, with the remedy.
fn log_trouble(entry: &TroubleEntry) {
    let TroubleEntry { trouble, .. } = entry;
    tracing::warn!(trouble = trouble.kind().name(), "{trouble}{}", flags::of_trouble(trouble));
}

/// Logs the end of a trouble, with its length from its first sign to its newest.
fn log_end(entry: &TroubleEntry) {
    let TroubleEntry { trouble, since, last } = entry;
    let kind = trouble.kind();
    tracing::info!(
        trouble = kind.name(),
        lasted_s = last.saturating_sub(*since),
        cause = %trouble,
        "over: {}",
        kind.meaning()
    );
}

fn log_l1(news: &L1News) {
    match news {
        L1News::Read { signer: Some(signer), block } => {
            tracing::debug!(%signer, l1_block = block, "read the unsafe-block signer from L1");
        }
        L1News::Read { signer: None, block } => {
            tracing::warn!(
                l1_block = block,
                "the SystemConfig contract on L1 names no unsafe-block signer"
            );
        }
        L1News::Failed(error) => {
            tracing::debug!(%error, "the unsafe-block signer is not read from L1");
        }
        L1News::GaveUp(error) => {
            tracing::debug!(
                %error,
                "the unsafe-block signer could not be read from L1 at the start"
            );
        }
    }
}

fn log_chain(event: &ChainEvent<Block>) {
    match event {
        ChainEvent::Extended(block) => log_block(block),
        ChainEvent::Reorg { ancestor, abandoned, adopted } => tracing::warn!(
            ancestor = %ancestor,
            depth = abandoned.len(),
            old_head = %abandoned.last().unwrap_or(ancestor),
            new_head = %adopted.last().unwrap_or(ancestor),
            "reorg"
        ),
        ChainEvent::Equivocation { number, first, second } => tracing::warn!(
            number, first = %first.hash, second = %second.hash,
            "the sequencer signed two blocks of one number"
        ),
        ChainEvent::GapOpened(gap) => {
            tracing::info!(
                after = gap.after.number,
                before = gap.before.number,
                missing = gap.missing,
                "gap"
            );
        }
        ChainEvent::GapClosed { end, .. } => {
            tracing::info!(%end, "gap closed");
        }
        ChainEvent::Contended { shown, other } => {
            tracing::debug!(%shown, %other, "the sequencer's key signs two branches at once");
        }
        ChainEvent::Skipped { from, to, .. } => log_skip(from, to),
        ChainEvent::GapChanged(_) => {}
    }
}

/// Says how a peer answered a request.
const fn conduct_of(conduct: Conduct) -> &'static str {
    match conduct {
        Conduct::ValidResponse => "valid answer",
        Conduct::ErrorResponse => "no or an unreadable answer",
        Conduct::RejectedPayload => "a block that is not the chain's",
    }
}

fn log_skip(from: &BlockId, to: &BlockId) {
    match from.between(to) {
        Some(left_out) => tracing::warn!(
            first = left_out.start(),
            last = left_out.end(),
            blocks = left_out.end() - left_out.start() + 1,
            "blocks were not received and are left out"
        ),
        // No number is missing, but the link between the two positions is.
        None => tracing::warn!(
            from = from.number,
            to = to.number,
            "the chain goes on at a block whose link to the head is not known"
        ),
    }
}

fn log_peers(event: &PeerEvent) {
    let name = |peer| opp2p_wire::to_libp2p(peer).map(|peer| peer.to_string()).unwrap_or_default();
    match event {
        PeerEvent::Banned { peer, score, until } => {
            tracing::info!(target: PEERS, peer = %name(peer), score, until, "banned");
        }
        PeerEvent::Dropped { peer, why } => {
            tracing::debug!(peer = %name(peer), %why, "disconnecting");
        }
        PeerEvent::Lacking(true) => tracing::debug!("fewer peers than wanted"),
        PeerEvent::OtherChain { peer, chain_id } => {
            tracing::warn!(
                target: PEERS, peer = %name(peer), chain_id,
                "a peer follows another chain only"
            );
        }
        PeerEvent::Lacking(false) => tracing::debug!("enough peers"),
    }
}

fn log_sync(event: &SyncEvent) {
    match event {
        SyncEvent::Found { lowest, missing, .. } => {
            tracing::debug!(number = lowest.number, missing, "a missing block was found");
        }
        SyncEvent::Landing { after, highest, blocks } => {
            tracing::info!(
                from = after.number + 1,
                to = highest.number,
                blocks,
                "missing blocks fetched"
            );
        }
        SyncEvent::Refused { error, .. } => {
            tracing::warn!(%error, "missing blocks are not fetched");
        }
        SyncEvent::Range { result: Ok(()), .. } => tracing::info!("the range is fetched"),
        SyncEvent::Range { result: Err(error), .. } => {
            tracing::warn!(%error, "the range is not fetched");
        }
        SyncEvent::History { lowest, end } => {
            tracing::info!(lowest, reason = %end, "no more history is fetched");
        }
        SyncEvent::Conduct { conduct, .. } => {
            tracing::debug!(conduct = conduct_of(*conduct), "a peer answered");
        }
        SyncEvent::Answered(Answered {
            source: Source::Endpoint(endpoint),
            number,
            took,
            result,
        }) => {
            log_endpoint(*endpoint, *number, *took, result.as_ref().err());
        }
        SyncEvent::Answered(Answered { number, took, result, .. }) => match result {
            Ok(_) => tracing::debug!(number, ?took, "fetched"),
            Err(error) => tracing::debug!(number, ?took, %error, "not fetched"),
        },
    }
}

/// Logs the result of a request to the endpoint at this place in `--sync.rpc`.
fn log_endpoint(endpoint: usize, number: u64, took: Duration, error: Option<&AnswerError>) {
    match error {
        None => tracing::debug!(endpoint, number, ?took, "fetched"),
        Some(
            error @ (AnswerError::BlockHash
            | AnswerError::WrongNumber { .. }
            | AnswerError::Rpc(RpcError::Block(_))),
        ) => tracing::warn!(
            endpoint, number, %error,
            "an endpoint of --sync.rpc sent something else than the block; it is left alone for a \
             while"
        ),
        Some(AnswerError::Rpc(error @ RpcError::Unsupported(_))) => tracing::info!(
            endpoint, %error, "an endpoint of --sync.rpc is asked for the parts of blocks instead"
        ),
        Some(AnswerError::Rpc(error @ (RpcError::Refused { .. } | RpcError::Nonsense(_)))) => {
            tracing::warn!(endpoint, number, %error, "an endpoint of --sync.rpc does not help");
        }
        Some(error) => tracing::debug!(endpoint, number, ?took, %error, "not fetched"),
    }
}

fn log_block(block: &Block) {
    let payload = block.payload();
    let age = since_epoch().as_millis();
    let age = u64::try_from(age).unwrap_or(u64::MAX).saturating_sub(block.timestamp_ms());
    let timestamp_ms = block.base_time().map(|_| block.timestamp_ms());
    tracing::info!(
        number = block.number(), timestamp_ms, hash = %block.hash(),
        txs = payload.transaction_count(), bytes = payload.as_bytes().len(),
        gas = payload.gas_used(), age_ms = age, "block"
    );
}
