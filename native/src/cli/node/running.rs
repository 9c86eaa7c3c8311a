//! A node with the services beside it, which start and stop together.

use super::super::Failure;
use super::super::feed::FeedPlan;
use super::super::metrics::MetricsArgs;
use super::super::reload::{ReloadPlan, Reloader};
use super::super::rpc;
use super::super::web::Web;
use super::doors::doors;
use crate::engine::{EngineLink, EngineSetup};
use crate::feed::NatsFeed;
use crate::metrics::{Metrics, RpcMeter};
use crate::page::{Page, PageStart};
use crate::rpc::{RpcConfig, RpcServer};
use opp2p_core::engine::EngineEvent;
use opp2p_node::host::{Host, HostHandle};
use opp2p_node::measure::Source;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;

/// Services to start beside a node.
pub(super) struct Services<'a> {
    pub(super) engine: Option<EngineSetup>,
    pub(super) page: Option<Observed>,
    pub(super) feed: &'a FeedPlan,
    pub(super) rpc: Option<RpcConfig>,
    pub(super) reload: ReloadPlan,
    pub(super) metrics: &'a MetricsArgs,
}

/// The observer page, with its configuration.
pub(super) struct Observed {
    pub(super) web: Web,
    pub(super) start: PageStart,
    /// Whether the node listens on all addresses of its machine.
    pub(super) on_all: bool,
}

/// Everything that a started node owns. [`Self::stop`] stops the services before the node, so that
/// each of them still finds what it uses. Dropping it stops all at once.
pub(super) struct Running {
    engine: Option<EngineLink>,
    stream: Option<NatsFeed>,
    rpc: Option<RpcServer>,
    page: Option<Page>,
    metrics: Option<Metrics>,
    pub(super) host: Host,
}

/// What a running node reports to its process.
pub(super) struct Reports {
    /// Events of the engine, from the first on; `None` without an engine.
    pub(super) engine: Option<Receiver<EngineEvent>>,
    pub(super) reloader: Reloader,
}

impl Running {
    /// Starts the services of a node. If one of them can't start, stops everything.
    pub(super) async fn start(
        host: Host,
        services: Services<'_>,
    ) -> Result<(Self, Reports), Failure> {
        let mut running =
            Self { engine: None, stream: None, rpc: None, page: None, metrics: None, host };
        match running.start_all(services).await {
            Ok(reports) => Ok((running, reports)),
            Err(failure) => {
                running.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_all(&mut self, services: Services<'_>) -> Result<Reports, Failure> {
        let Services { engine, page, feed, rpc, reload, metrics } = services;
        let host = self.host.handle();
        let engine = engine.map(|setup| EngineLink::start(host.clone(), &setup)).transpose()?;
        let (engine, events) = engine.unzip();
        self.engine = engine;
        self.page = match page {
            Some(page) => Some(serve(page, host.clone()).await?),
            None => None,
        };
        let reloader = Reloader::new(reload, host.clone());
        let calls = rpc.as_ref().map(|_| RpcMeter::new(crate::rpc::names()));
        let rpc = rpc.map(|config| RpcConfig {
            reload: Some(Arc::new(reloader.clone())),
            observer: calls.clone().map(|calls| calls as _),
            sequencer: self.engine.as_ref().map(EngineLink::sequencer),
            ..config
        });
        self.stream = feed.start(host.clone());
        self.rpc = rpc::serve(rpc, &self.host).await?;
        let calls = calls.map(|calls| calls as Arc<dyn Source>);
        let blocks = self.stream.as_ref().map(|stream| stream.meter() as Arc<dyn Source>);
        self.metrics = metrics.start(host, calls.into_iter().chain(blocks).collect()).await?;
        Ok(Reports { engine: events, reloader })
    }

    /// Stops the services, then the node.
    pub(super) async fn stop(self) {
        let Self { engine, stream, rpc, page, metrics, host } = self;
        if let Some(engine) = engine {
            engine.stop().await;
        }
        if let Some(stream) = stream {
            stream.stop().await;
        }
        if let Some(rpc) = rpc {
            rpc.stop().await;
        }
        if let Some(page) = page {
            page.stop().await;
        }
        if let Some(metrics) = metrics {
            metrics.stop().await;
        }
        host.stop().await;
    }
}

/// Serves the page. Each visit gets the current signer and addresses: a node that obtains a
/// certificate learns its name later.
async fn serve(page: Observed, host: HostHandle) -> Result<Page, Failure> {
    let Observed { web, mut start, on_all } = page;
    let refresh = move |start: &mut PageStart| {
        start.signer = host.signers().current;
        start.peers = doors(&host.browser_addresses(), on_all);
    };
    refresh(&mut start);
    let page = web.start(start, Some(Arc::new(refresh))).await?;
    tracing::info!(url = page.url(), "serving the observer page");
    Ok(page)
}
