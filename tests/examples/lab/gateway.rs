//! A gateway: a node with a WebSocket listener, which can be killed and restarted with the same
//! state.

use crate::{Failure, Tls, now, unlimited};
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::{BlockId, ChainConfig, ChainEvent};
use opp2p_core::node::Event;
use opp2p_core::peers::DoorLimits;
use opp2p_node::host::{Host, HostConfig, HostEventKind, WsConfig, WsTls};
use opp2p_node::key::SecretKey;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Maximum time for a gateway to join the sequencer's mesh.
const MESH_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Gateway {
    plan: Plan,
    host: Option<Host>,
    peer_id: PeerId,
    seen: Arc<Mutex<Vec<(BlockId, f64)>>>,
}

#[derive(Clone)]
struct Plan {
    chain: ChainConfig,
    directory: PathBuf,
    sequencer: Multiaddr,
    tls: Option<Tls>,
    port: u16,
    /// Maximum number of browsers, if it is not the default.
    room: Option<usize>,
}

impl Plan {
    async fn start(&self) -> Result<Host, Failure> {
        let key = SecretKey::load_or_create(&self.directory.join("p2p.key"))?.key;
        let mut config =
            HostConfig::new(self.chain.clone(), key, self.directory.join("blocks.redb"));
        config.listen_ip = Ipv4Addr::LOCALHOST.into();
        config.listen_tcp = 0;
        config.from_genesis = true;
        config.static_peers = vec![self.sequencer.clone()];
        let tls = self.tls.clone().map(|Tls { cert, key }| WsTls { cert, key });
        config.ws = Some(WsConfig { port: self.port, tls, ..WsConfig::default() });
        if let Some(room) = self.room {
            config.peers.limits.browser = DoorLimits::browsers(room);
        }
        unlimited(&mut config);
        Ok(Host::start(config).await?)
    }
}

impl Gateway {
    pub(crate) async fn start(
        chain: ChainConfig,
        directory: PathBuf,
        sequencer: Multiaddr,
        tls: Option<Tls>,
        room: Option<usize>,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(&directory)?;
        // A port that was free a moment ago. The gateway keeps it across restarts.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Self::of(Plan { chain, directory, sequencer, tls, port, room }, Arc::default()).await
    }

    /// Restarts it with its files and port, if it is down.
    pub(crate) async fn up(self) -> Result<Self, Failure> {
        if self.host.is_some() { Ok(self) } else { Self::of(self.plan, self.seen).await }
    }

    async fn of(plan: Plan, seen: Arc<Mutex<Vec<(BlockId, f64)>>>) -> Result<Self, Failure> {
        let host = plan.start().await?;
        // From then on it misses no block.
        let mut status = host.status();
        tokio::time::timeout(MESH_TIMEOUT, status.wait_for(|status| status.mesh > 0)).await??;
        let mut events = host.events();
        let record = Arc::clone(&seen);
        // Ends with the host.
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if let HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))) = event.kind {
                    // The event has the time of the monotonic clock; convert it.
                    let at = now() - event.at.elapsed().as_secs_f64() * 1000.0;
                    record
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((BlockId::of(&block), at));
                }
            }
        });
        Ok(Self { plan, peer_id: host.peer_id(), host: Some(host), seen })
    }

    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        if let Some(host) = self.host.take() {
            host.kill().await?;
        }
        Ok(())
    }

    fn host(&self) -> Result<&Host, Failure> {
        self.host.as_ref().ok_or_else(|| "the gateway is down".into())
    }

    pub(crate) fn address(&self) -> Result<Multiaddr, Failure> {
        self.host()?
            .browser_addresses()
            .into_iter()
            .next()
            .ok_or_else(|| "it has no door for browsers".into())
    }

    pub(crate) const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    pub(crate) fn peers(&self) -> Result<Value, Failure> {
        let status = self.host()?.status();
        let status = status.borrow();
        Ok(json!({ "nodes": status.peers, "browsers": status.browsers }))
    }

    pub(crate) fn served(&self) -> Result<Value, Failure> {
        let counts = self.host()?.handle().core(|node, _| node.ranges_served().copied());
        Ok(json!({ "blocks": counts.map_or(0, |counts| counts.blocks) }))
    }

    pub(crate) fn seen(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let each = seen
            .iter()
            .map(|(id, at)| json!({ "number": id.number, "hash": id.hash.to_string(), "at": at }));
        each.collect()
    }
}
