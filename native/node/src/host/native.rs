//! The behaviour of a native node: the shared wiring, and with `p2p.nat` also UPnP and AutoNAT.
//!
//! UPnP asks the router to forward connections. AutoNAT tells peers whether they can be reached, by
//! dialling them. As in the reference, this node does not ask others to dial it.
//!
//! # Bounds
//! * Dial-backs: [`GLOBAL_DIALS`] per [`DIAL_PERIOD`], of which [`PEER_DIALS`] for one peer, as in
//!   the reference; each to at most [`DIAL_ADDRESSES`] addresses, all on the IP from which the peer
//!   connected. Peers cause them. A connection from a dial-back is closed as soon as the answer is
//!   on its way.
//! * Port mappings: one for each listen port.

use super::event::NatEvent;
use libp2p::autonat::v1::{self as autonat, InboundProbeEvent, ProbeId};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{PeerId, upnp};
use opp2p_core::mesh::Version;
use opp2p_core::sync::{protocol_id, spec_protocol_id};
use opp2p_wire::{Behaviour, Wired};
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum number of dial-backs for all peers per period.
const GLOBAL_DIALS: usize = 10;
/// Maximum number of dial-backs for one peer per period.
const PEER_DIALS: usize = 5;
/// Period of the limits on dial-backs.
const DIAL_PERIOD: Duration = Duration::from_secs(60);
/// Maximum number of addresses that one dial-back tries.
const DIAL_ADDRESSES: usize = 16;
/// Interval of AutoNAT's client, which can't be disabled: longer than any node runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The behaviour of a native node.
///
/// The shared wiring must be first, since it contains the door.
#[derive(NetworkBehaviour)]
pub(super) struct Native {
    pub(super) wire: Behaviour,
    upnp: Toggle<upnp::tokio::Behaviour>,
    autonat: Toggle<autonat::Behaviour>,
}

impl Wired for Native {
    fn wiring(&self) -> &Behaviour {
        &self.wire
    }

    fn wiring_mut(&mut self) -> &mut Behaviour {
        &mut self.wire
    }

    fn event_of_wiring(event: NativeEvent) -> Option<opp2p_wire::Event> {
        match event {
            NativeEvent::Wire(event) => Some(event),
            NativeEvent::Upnp(_) | NativeEvent::Autonat(_) => None,
        }
    }
}

impl Native {
    /// Combines the wiring with the protocols of `nat`. UPnP starts to look for a router at once,
    /// so this must be called on a tokio runtime.
    pub(super) fn new(wire: Behaviour, own: PeerId, nat: bool) -> Self {
        let upnp = nat.then(upnp::tokio::Behaviour::default);
        let autonat = nat.then(|| autonat::Behaviour::new(own, server_only()));
        Self { wire, upnp: upnp.into(), autonat: autonat.into() }
    }
}

/// Returns the protocols that identify reports to peers, sorted.
pub(super) fn protocols(wiring: &opp2p_wire::Config, nat: bool) -> Vec<String> {
    let mut all =
        Vec::from(["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"].map(String::from));
    all.extend(Version::SPOKEN.map(|version| version.protocol().to_owned()));
    if wiring.payloads {
        all.extend([protocol_id(wiring.chain_id), spec_protocol_id(wiring.chain_id)]);
    }
    if wiring.ranges == opp2p_wire::RangeUse::Serves {
        all.push(opp2p_core::sync::range::PROTOCOL.to_string());
    }
    if nat {
        all.push(autonat::DEFAULT_PROTOCOL_NAME.to_string());
    }
    all.sort();
    all
}

fn server_only() -> autonat::Config {
    autonat::Config {
        boot_delay: NEVER,
        refresh_interval: NEVER,
        retry_interval: NEVER,
        use_connected: false,
        max_peer_addresses: DIAL_ADDRESSES,
        throttle_clients_global_max: GLOBAL_DIALS,
        throttle_clients_peer_max: PEER_DIALS,
        throttle_clients_period: DIAL_PERIOD,
        ..autonat::Config::default()
    }
}

impl From<upnp::Event> for NatEvent {
    fn from(event: upnp::Event) -> Self {
        match event {
            upnp::Event::NewExternalAddr { local_addr, external_addr } => {
                Self::Mapped { local: local_addr, external: external_addr }
            }
            upnp::Event::ExpiredExternalAddr { local_addr, external_addr } => {
                Self::Expired { local: local_addr, external: external_addr }
            }
            upnp::Event::GatewayNotFound => Self::NoGateway,
            upnp::Event::NonRoutableGateway => Self::PrivateGateway,
        }
    }
}

/// Dial-backs in progress, to close their connections: neither side needs a second connection, and
/// this node's connections have no idle timeout. A peer must not make itself one that this node has
/// chosen to dial, so a dial-back is closed even if the peer left meanwhile.
///
/// Dial-backs are bounded by AutoNAT's throttle; each ends with a success or an error.
#[derive(Debug, Default)]
pub(super) struct DialBacks {
    under_way: BTreeMap<ProbeId, (PeerId, Option<ConnectionId>)>,
}

impl DialBacks {
    /// Handles a new connection; `is_own` if it is from one of the node's own dials, and not from
    /// AutoNAT's. Returns it if it must be closed: it is from a dial-back whose request has ended.
    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
        is_own: bool,
    ) -> Option<ConnectionId> {
        if is_own || !endpoint.is_dialer() {
            return None;
        }
        match self.under_way.values_mut().find(|(asking, _)| *asking == peer) {
            Some((_, connection)) => {
                *connection = Some(id);
                None
            }
            None => Some(id),
        }
    }

    /// Handles an event of AutoNAT. Returns a connection that can be closed now.
    pub(super) fn on_event(&mut self, event: &autonat::Event) -> Option<ConnectionId> {
        let autonat::Event::InboundProbe(event) = event else { return None };
        if let InboundProbeEvent::Request { peer, .. } = event {
            tracing::debug!(%peer, "a peer asks whether it can be reached");
        }
        match event {
            InboundProbeEvent::Request { probe_id, peer, .. } => {
                self.under_way.insert(*probe_id, (*peer, None));
                None
            }
            // Requests that were refused end here too, and are unknown.
            InboundProbeEvent::Response { probe_id, .. }
            | InboundProbeEvent::Error { probe_id, .. } => self.under_way.remove(probe_id)?.1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::*;
    use futures::StreamExt;
    use libp2p::autonat::{NatStatus, OutboundProbeError, OutboundProbeEvent};
    use libp2p::core::transport::PortUse;
    use libp2p::identity::Keypair;
    use libp2p::swarm::SwarmEvent;
    use libp2p::{Multiaddr, Swarm};
    use std::sync::Arc;
    use tokio::time::timeout;

    fn swarm<B: NetworkBehaviour>(make: impl FnOnce(&Keypair) -> B) -> Swarm<B> {
        let key = Keypair::generate_secp256k1();
        let setup = crate::host::transport::tests::setup(&key);
        let transport =
            crate::host::transport::transport(setup, None, &Arc::default(), None).unwrap();
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(3600));
        Swarm::new(transport, make(&key), key.public().to_peer_id(), config)
    }

    /// Returns a node's behaviour whose AutoNAT also serves loopback addresses.
    fn server(key: &Keypair) -> Native {
        let wiring = opp2p_wire::Config {
            chain_id: 901,
            agent: "test".into(),
            payloads: false,
            ranges: opp2p_wire::RangeUse::Off,
            ping: None,
            gatekeeper: None,
        };
        let wire = Behaviour::new(key, &wiring);
        let config = autonat::Config { only_global_ips: false, ..server_only() };
        let autonat = autonat::Behaviour::new(key.public().to_peer_id(), config);
        Native { wire, upnp: None.into(), autonat: Some(autonat).into() }
    }

    fn client(key: &Keypair) -> autonat::Behaviour {
        let config = autonat::Config {
            only_global_ips: false,
            boot_delay: Duration::from_millis(100),
            retry_interval: Duration::from_millis(100),
            refresh_interval: Duration::from_millis(100),
            throttle_server_period: Duration::ZERO,
            confidence_max: 100,
            ..autonat::Config::default()
        };
        autonat::Behaviour::new(key.public().to_peer_id(), config)
    }

    async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        }
    }

    #[tokio::test]
    async fn a_peer_learns_its_reachability_and_dial_backs_are_closed_and_limited() {
        let (mut server, mut client) = (swarm(server), swarm(client));
        let address = listen(&mut server).await;
        listen(&mut client).await;
        client.dial(address).unwrap();
        let mut dial_backs = DialBacks::default();
        let (mut public, mut refused, mut dialled, mut closed) = (false, false, 0, 0);
        let both = async {
            while !(public && refused && closed == PEER_DIALS) {
                tokio::select! {
                    event = server.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished {
                            peer_id, connection_id, endpoint, ..
                        } => {
                            let surplus =
                                dial_backs.connected(peer_id, connection_id, &endpoint, false);
                            assert_eq!(surplus, None);
                            dialled += usize::from(endpoint.is_dialer());
                        }
                        SwarmEvent::Behaviour(NativeEvent::Autonat(event)) => {
                            let asks = matches!(event, autonat::Event::InboundProbe(_));
                            assert!(asks, "the server probes for itself: {event:?}");
                            if let Some(connection) = dial_backs.on_event(&event) {
                                assert!(server.close_connection(connection));
                            }
                        }
                        SwarmEvent::ConnectionClosed { num_established, .. } => {
                            assert!(num_established >= 1, "the peer's own connection stays");
                            closed += 1;
                        }
                        _ => {}
                    },
                    event = client.select_next_some() => match event {
                        SwarmEvent::Behaviour(autonat::Event::StatusChanged { new, .. }) => {
                            public |= matches!(new, NatStatus::Public(_));
                        }
                        SwarmEvent::Behaviour(autonat::Event::OutboundProbe(
                            OutboundProbeEvent::Error {
                                error: OutboundProbeError::Response(_), ..
                            },
                        )) => refused = true,
                        _ => {}
                    },
                }
            }
        };
        timeout(Duration::from_secs(30), both).await.expect("in time");
        assert_eq!(dialled, PEER_DIALS);
        assert!(dial_backs.under_way.is_empty());
    }

    #[test]
    fn only_a_dial_back_to_a_departed_peer_is_closed() {
        let endpoint = ConnectedPoint::Dialer {
            address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let inbound = ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        };
        let (mut dial_backs, peer) = (DialBacks::default(), PeerId::random());
        let [own, other] = [1, 2].map(ConnectionId::new_unchecked);
        assert_eq!(dial_backs.connected(peer, own, &endpoint, true), None);
        assert_eq!(dial_backs.connected(peer, other, &inbound, false), None);
        // Its request ended with the peer's own connection.
        assert_eq!(dial_backs.connected(peer, other, &endpoint, false), Some(other));
        assert!(dial_backs.under_way.is_empty());
    }
}
