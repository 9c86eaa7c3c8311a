//! A node and the services beside it, from their start to their end.

use super::super::engine;
use super::super::feed::FeedPlan;
use super::super::metrics::MetricsArgs;
use super::super::reload::ReloadPlan;
use super::super::stdin::Lines;
use super::super::web::Web;
use super::super::{End, Failure, Request, log_events};
use super::running::{Observed, Reports, Running, Services};
use crate::engine::EngineSetup;
use crate::page::PageStart;
use crate::rpc::{Reload as _, RpcConfig};
use alloy_primitives::{Address, hex};
use opp2p_core::chain::ChainConfig;
use opp2p_core::engine::EngineEvent;
use opp2p_core::payload::Envelope;
use opp2p_node::host::{Host, HostConfig, HostEvent, HostEventKind, HostHandle, L1News};
use std::process::ExitCode;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Services beside the node.
pub(super) struct Extras {
    pub(super) web: Option<Web>,
    pub(super) rpc: Option<RpcConfig>,
    pub(super) engine: Option<EngineSetup>,
    pub(super) feed: FeedPlan,
    /// Whether standard input supplies blocks to publish.
    pub(super) publish: bool,
    /// How the settings are read again.
    pub(super) reload: ReloadPlan,
}

/// Runs the node until it is told to end or fails.
pub(super) async fn follow(
    config: HostConfig,
    extras: Extras,
    metrics: &MetricsArgs,
) -> Result<ExitCode, Failure> {
    let Extras { web, rpc, engine, feed, publish, reload } = extras;
    let mut end = End::listen_and_reload()?;
    let chain = config.chain.clone();
    let start = web.as_ref().map(|_| page_start(&config));
    let on_all = config.listen_ip.is_unspecified()
        && config.ws.as_ref().is_some_and(|browsers| browsers.advertise.is_empty());
    let (host, events) = tokio::select! {
        started = Host::start_heard(config) => started?,
        () = end.asked() => return Ok(ExitCode::SUCCESS),
    };
    log_start(&host, &chain);
    let page = web.zip(start).map(|(web, start)| Observed { web, start, on_all });
    let services = Services { engine, page, feed: &feed, rpc, reload, metrics };
    let (running, reports) = Running::start(host, services).await?;
    let failure =
        match until_end(running.host.handle(), &mut end, events, reports, &feed, publish).await {
            Ended::Asked => None,
            Ended::Failed(failure) => Some(failure),
            Ended::Lost => {
                return Err(Failure::new(
                    "the node ended unexpectedly: see the log, and start it again",
                ));
            }
        };
    tracing::info!("stopping");
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        () = end.asked() => tracing::warn!("asked twice: ending without waiting for the disk"),
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Logs what a node is and does at its start.
fn log_start(host: &HostHandle, chain: &ChainConfig) {
    let head = host.status().borrow().head;
    tracing::info!(
        chain = %chain.name, chain_id = chain.chain_id, address = %host.address(),
        store_ms = u64::try_from(host.store_opening_took().as_millis()).unwrap_or(u64::MAX),
        head = %head.map_or_else(|| "none".into(), |head| head.number.to_string()), "started"
    );
    let (signer, from) = (host.signers().current, host.signer_report().borrow().origin.name());
    match signer {
        Some(signer) => tracing::info!(%signer, from, "unsafe-block signer"),
        None => tracing::info!("the unsafe-block signer is not known yet"),
    }
    if let Some(record) = host.local_enr() {
        tracing::info!(record, "looking for peers; they find this node by its record");
    }
    for address in host.browser_addresses() {
        tracing::info!(%address, "browsers can connect");
    }
}

/// Why a node no longer follows its chain.
enum Ended {
    /// The process was asked to end.
    Asked,
    /// Something failed that the node can't do without.
    Failed(Failure),
    /// The node's own task has ended.
    Lost,
}

/// Logs events, publishes and reloads until there is a reason to end.
async fn until_end(
    host: HostHandle,
    end: &mut End,
    mut events: Receiver<HostEvent>,
    reports: Reports,
    feed: &FeedPlan,
    publish: bool,
) -> Ended {
    let Reports { engine: mut engine_events, reloader } = reports;
    let mut publishing = Box::pin(publish_lines(&host));
    let mut published = !publish;
    let mut l1_signer = None;
    let mut lines = Box::pin(feed.lines(host.clone()));
    loop {
        tokio::select! {
            request = end.request() => match request {
                Request::End => return Ended::Asked,
                Request::Reload => drop(tokio::spawn(reloader.reload())),
            },
            event = events.recv() => match event {
                Ok(event) => {
                    log_events::log(&event);
                    if let Err(failure) = on_l1(&host, &event.kind, &mut l1_signer) {
                        return Ended::Failed(failure);
                    }
                }
                Err(RecvError::Lagged(missed)) => log_events::missed(missed),
                Err(RecvError::Closed) => return Ended::Lost,
            },
            Some(event) = heard(&mut engine_events) => engine::log(&event),
            failure = &mut lines, if feed.has_lines() => return Ended::Failed(failure),
            result = &mut publishing, if !published => {
                if let Err(failure) = result {
                    return Ended::Failed(failure);
                }
                published = true;
                tracing::info!("standard input has ended; the node keeps running");
            }
        }
    }
}

/// Logs each new signer that L1 names. Fails if L1 can't be read and there is no other signer.
fn on_l1(
    host: &HostHandle,
    event: &HostEventKind,
    last: &mut Option<Address>,
) -> Result<(), Failure> {
    match event {
        HostEventKind::L1(L1News::Read { signer: Some(signer), block })
            if last.replace(*signer) != Some(*signer) =>
        {
            tracing::info!(%signer, from = "L1", l1_block = block, "unsafe-block signer");
            Ok(())
        }
        HostEventKind::L1(L1News::GaveUp(error)) if host.signers().current.is_none() => {
            Err(Failure::new(format!(
                "the unsafe-block signer is not known and can't be read from L1 (--l1): {error}"
            )))
        }
        _ => Ok(()),
    }
}

/// Returns the next event of the engine, or waits for ever if there is no engine (any more).
async fn heard(events: &mut Option<Receiver<EngineEvent>>) -> Option<EngineEvent> {
    loop {
        let Some(receiver) = events else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(missed)) => log_events::missed(missed),
            Err(RecvError::Closed) => *events = None,
        }
    }
}

/// Returns the page's configuration for a node, without its addresses.
fn page_start(config: &HostConfig) -> PageStart {
    let HostConfig { chain, signer, from_genesis, .. } = config;
    let name = chain.name.clone().into_owned();
    PageStart {
        chain: chain.clone(),
        signer: *signer,
        peers: Vec::new(),
        from_genesis: *from_genesis,
        name,
    }
}

/// Publishes the blocks on standard input in order, until the input ends.
async fn publish_lines(host: &HostHandle) -> Result<(), Failure> {
    let mut lines = Lines::start()?;
    while let Some(line) = lines.next().await {
        publish_line(host, &line).await;
    }
    Ok(())
}

async fn publish_line(host: &HostHandle, line: &[u8]) {
    let text = line.trim_ascii();
    if text.is_empty() {
        return;
    }
    let Some(envelope) = hex::decode(text).ok().and_then(|body| Envelope::decode_any(&body).ok())
    else {
        tracing::error!(
            bytes = text.len(),
            "a line on standard input is not a block in hexadecimal"
        );
        return;
    };
    let number = envelope.payload.block_number;
    match host.publish(envelope).await {
        Ok(Ok(hash)) => tracing::info!(number, %hash, "published"),
        Ok(Err(error)) => tracing::error!(number, %error, "not published"),
        Err(stopped) => tracing::error!(number, error = %stopped, "not published"),
    }
}
