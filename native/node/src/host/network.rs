//! The network of a node: its swarm, and the listeners.

use super::config::HostConfig;
use super::error::HostError;
use super::identity::Identity;
use super::native::{Native, NativeEvent, protocols};
use super::shared::Core;
use super::streams::Streams;
use super::transport::{self, Setup};
use super::twins::Twins;
use super::upgrade::{Muxers, Securities};
use super::ws::Listening;
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, TransportError};
use opp2p_core::node::SyncConfig;
use opp2p_core::sync::ServerConfig;
use opp2p_wire::{Bandwidth, Behaviour, IDLE_TIMEOUT, PING_INTERVAL, RangeUse};
use std::sync::Arc;

/// Maximum number of inbound streams of one connection that negotiate their protocol at once.
/// Further ones wait unread.
const NEGOTIATING_STREAMS: usize = 64;

/// A network that does not listen yet.
pub(super) struct Network {
    pub(super) swarm: Swarm<Native>,
    pub(super) agent: Arc<str>,
    /// Protocols that identify reports to peers.
    pub(super) protocols: Arc<[String]>,
    pub(super) bandwidth: Arc<Bandwidth>,
    pub(super) streams: Streams,
    pub(super) twins: Twins,
}

/// What the listeners reported before the driver runs.
pub(super) struct Bound {
    /// The TCP address; empty if the node is offline.
    pub(super) address: Multiaddr,
    pub(super) listening: Listening,
    /// All events so far, for the driver.
    pub(super) early: Vec<SwarmEvent<NativeEvent>>,
}

impl Network {
    pub(super) fn new(
        config: &HostConfig,
        identity: &Identity,
        core: &Core,
    ) -> Result<Self, HostError> {
        let Identity { keypair, peer_id, .. } = identity;
        let wiring = opp2p_wire::Config {
            chain_id: config.chain.chain_id,
            agent: config.agent.clone(),
            payloads: config.sync.is_some(),
            ranges: range_use(config.sync.as_ref()),
            ping: config.ping.then_some(PING_INTERVAL),
            gatekeeper: Some(core.gatekeeper()),
        };
        let behaviour = Native::new(Behaviour::new(keypair, &wiring), *peer_id, config.nat);
        let bandwidth = Arc::new(Bandwidth::default());
        let streams = Streams::new(spare_streams(config.sync.as_ref()));
        let (twins, timeout) = (Twins::default(), config.negotiation_timeout);
        let setup = Setup {
            securities: Securities::new(&config.security, keypair, timeout, twins.dials())?,
            muxers: Muxers::new(&config.mux, timeout, &streams),
            dial_timeout: config.dial_timeout,
            accept_timeout: config.accept_timeout,
        };
        let certificate = identity.certificate.clone();
        let gatekeeper = wiring.gatekeeper.as_ref();
        let transport = transport::transport(setup, gatekeeper, &bandwidth, certificate)?;
        let options = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_TIMEOUT)
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS);
        Ok(Self {
            swarm: Swarm::new(transport, behaviour, *peer_id, options),
            agent: wiring.agent.as_str().into(),
            protocols: protocols(&wiring, config.nat).into(),
            bandwidth,
            streams,
            twins,
        })
    }

    /// Listens on the configured addresses, and waits until each listener is bound.
    pub(super) async fn listen(
        &mut self,
        config: &HostConfig,
        advertised: &[Multiaddr],
    ) -> Result<Bound, HostError> {
        let swarm = &mut self.swarm;
        for address in advertised {
            swarm.add_external_address(address.clone());
        }
        let tcp = Multiaddr::from(config.listen_ip).with(Protocol::Tcp(config.listen_tcp));
        let tcp_listener = if config.offline { None } else { Some(listen(swarm, &tcp)?) };
        let ws = match config.ws.as_ref().map(|ws| ws.listen_address(config.listen_ip)) {
            Some(address) => Some((listen(swarm, &address)?, address)),
            None => None,
        };
        let mut early = Vec::new();
        let address = match tcp_listener {
            Some(listener) => until_bound(swarm, listener, &tcp, &mut early).await?,
            None => Multiaddr::empty(),
        };
        if let Some((listener, address)) = &ws {
            until_bound(swarm, *listener, address, &mut early).await?;
        }
        if let Some(discovery) = &config.discovery
            && let Some(ip) = discovery.advertise_ip
        {
            let port = match discovery.advertise_tcp {
                0 => tcp_port(&address).unwrap_or_default(),
                port => port,
            };
            swarm.add_external_address(Multiaddr::from(ip).with(Protocol::Tcp(port)));
        }
        // The other addresses of this machine, if it listens on all of them.
        while let Some(event) = swarm.select_next_some().now_or_never() {
            early.push(event);
        }
        let listening = Listening::default();
        early.iter().for_each(|event| listening.heard(event));
        Ok(Bound { address, listening, early })
    }
}

/// Returns the number of streams that peers may have open beyond their own.
fn spare_streams(sync: Option<&SyncConfig>) -> usize {
    let ranges = sync.filter(|sync| range_use(Some(sync)) == RangeUse::Serves);
    let ranges = ranges.map_or(0, |sync| sync.serve_ranges.streams);
    sync.map_or_else(ServerConfig::default, |sync| sync.serve).places() + ranges
}

/// Returns how the range protocol is used.
fn range_use(sync: Option<&SyncConfig>) -> RangeUse {
    match sync {
        Some(sync) if sync.ranges && sync.serves => RangeUse::Serves,
        Some(sync) if sync.ranges && sync.fill.client.asks_peers => RangeUse::Asks,
        _ => RangeUse::Off,
    }
}

/// Returns the TCP port in an address.
pub fn tcp_port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}

fn refused(address: &Multiaddr, reason: String) -> HostError {
    HostError::Listen { address: address.clone(), reason }
}

fn listen(swarm: &mut Swarm<Native>, address: &Multiaddr) -> Result<ListenerId, HostError> {
    swarm.listen_on(address.clone()).map_err(|error| match error {
        TransportError::Other(error) => refused(address, error.to_string()),
        TransportError::MultiaddrNotSupported(_) => {
            refused(address, "not an IP address and TCP port".into())
        }
    })
}

/// Waits until the listener has an address and returns the first one. Other events are appended to
/// `early`.
async fn until_bound(
    swarm: &mut Swarm<Native>,
    listener: ListenerId,
    address: &Multiaddr,
    early: &mut Vec<SwarmEvent<NativeEvent>>,
) -> Result<Multiaddr, HostError> {
    let mut seen = 0;
    loop {
        while let Some(event) = early.get(seen) {
            seen += 1;
            match event {
                SwarmEvent::NewListenAddr { listener_id, address } if *listener_id == listener => {
                    return Ok(address.clone());
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. }
                    if *listener_id == listener =>
                {
                    let why = reason.as_ref().err().map_or("closed".into(), ToString::to_string);
                    return Err(refused(address, why));
                }
                SwarmEvent::ListenerError { listener_id, error } if *listener_id == listener => {
                    return Err(refused(address, error.to_string()));
                }
                _ => {}
            }
        }
        early.push(swarm.select_next_some().await);
    }
}
