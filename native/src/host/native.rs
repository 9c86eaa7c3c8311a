//! What only a native node speaks: the shared wiring, and with `p2p.nat` also UPnP and AutoNAT.
//!
//! UPnP asks the router to let connections in. AutoNAT tells peers whether they can be reached, by dialling them;
//! of ourselves nothing is asked, as in the reference.
//!
//! # Bounds
//! * Dial-backs: [`GLOBAL_DIALS`] in [`DIAL_PERIOD`], of them [`PEER_DIALS`] for one peer, as the reference; each
//!   to at most [`DIAL_ADDRESSES`] addresses, all on the IP from which the peer came. Peers cause them. What a
//!   dial-back connects is closed as soon as the answer is on its way.
//! * Port mappings: one for each port that is listened on.

use super::event::NatEvent;
use crate::swarm;
use libp2p::autonat::v1::{self as autonat, InboundProbeEvent, ProbeId};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{PeerId, upnp};
use opp2p_core::sync::{protocol_id, spec_protocol_id};
use std::collections::BTreeMap;
use std::time::Duration;

/// Dial-backs for all peers in one period.
const GLOBAL_DIALS: usize = 10;
/// Dial-backs for one peer in one period.
const PEER_DIALS: usize = 5;
/// The period.
const DIAL_PERIOD: Duration = Duration::from_secs(60);
/// Addresses that one dial-back tries.
const DIAL_ADDRESSES: usize = 16;
/// AutoNAT's client can't be left out, so it waits longer than any node runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The behaviour of a native node.
///
/// The shared wiring comes first, and with it the door.
#[derive(NetworkBehaviour)]
pub(super) struct Native {
    pub(super) wire: swarm::Behaviour,
    upnp: Toggle<upnp::tokio::Behaviour>,
    autonat: Toggle<autonat::Behaviour>,
}

impl Native {
    /// The wiring, and what `nat` adds to it. UPnP starts to look for a router at once, so this must be called
    /// on a tokio runtime.
    pub(super) fn new(wire: swarm::Behaviour, own: PeerId, nat: bool) -> Self {
        let upnp = nat.then(upnp::tokio::Behaviour::default);
        let autonat = nat.then(|| autonat::Behaviour::new(own, server_only()));
        Self { wire, upnp: upnp.into(), autonat: autonat.into() }
    }
}

/// The protocols that identify tells peers, in order.
pub(super) fn protocols(wiring: &swarm::Config, nat: bool) -> Vec<String> {
    let own = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"].map(|version| format!("/meshsub/{version}"));
    let mut all = Vec::from(["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"].map(String::from));
    all.extend(own);
    if wiring.payloads {
        all.extend([protocol_id(wiring.chain_id), spec_protocol_id(wiring.chain_id)]);
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

/// Dial-backs under way, to close what they connect: neither side has a use for a second connection, and ours
/// never close for idleness.
///
/// Bounded by AutoNAT's throttle; each ends with a success or an error. A dial that outlasts its request (30 s)
/// is forgotten, and what it connects stays until the peer closes it.
#[derive(Debug, Default)]
pub(super) struct DialBacks {
    under_way: BTreeMap<ProbeId, (PeerId, Option<ConnectionId>)>,
}

impl DialBacks {
    /// A connection stands, the `nth` to this peer. It may be that of a dial-back: they go to peers that are
    /// connected.
    pub(super) fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint, nth: u32) {
        if nth > 1 && endpoint.is_dialer() {
            let of_peer = self.under_way.values_mut().find(|(asking, _)| *asking == peer);
            if let Some((_, connection)) = of_peer {
                *connection = Some(id);
            }
        }
    }

    /// What AutoNAT says; the answer is a connection that can be closed now.
    pub(super) fn on_event(&mut self, event: &autonat::Event) -> Option<ConnectionId> {
        let autonat::Event::InboundProbe(event) = event else { return None };
        tracing::debug!(?event, "a peer asks whether it can be reached");
        match event {
            InboundProbeEvent::Request { probe_id, peer, .. } => {
                self.under_way.insert(*probe_id, (*peer, None));
                None
            }
            // Requests that were refused come here too, and are unknown.
            InboundProbeEvent::Response { probe_id, .. } | InboundProbeEvent::Error { probe_id, .. } => {
                self.under_way.remove(probe_id)?.1
            }
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
    use opp2p_core::gossip::MeshParams;
    use std::sync::Arc;
    use tokio::time::timeout;

    fn swarm<B: NetworkBehaviour>(make: impl FnOnce(&Keypair) -> B) -> Swarm<B> {
        let key = Keypair::generate_secp256k1();
        let setup = crate::host::transport::tests::setup(&key);
        let transport = crate::host::transport::transport(setup, None, &Arc::default(), None).unwrap();
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(3600));
        Swarm::new(transport, make(&key), key.public().to_peer_id(), config)
    }

    /// A node's behaviour that knows no difference between loopback and the world.
    fn server(key: &Keypair) -> Native {
        let wiring = swarm::Config {
            chain_id: 901,
            agent: "test".into(),
            mesh: MeshParams::default(),
            browsers: false,
            payloads: false,
            ping: None,
            scoring: None,
            gatekeeper: None,
        };
        let wire = swarm::Behaviour::new(key, &wiring).unwrap();
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
    async fn a_peer_learns_that_it_is_reached_and_the_dial_back_is_closed_and_limited() {
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
                            peer_id, connection_id, endpoint, num_established, ..
                        } => {
                            dial_backs.connected(peer_id, connection_id, &endpoint, num_established.get());
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
                        SwarmEvent::Behaviour(autonat::Event::OutboundProbe(OutboundProbeEvent::Error {
                            error: OutboundProbeError::Response(_), ..
                        })) => refused = true,
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
    fn only_a_second_connection_of_ours_to_a_peer_that_asked_is_a_dial_back() {
        let endpoint = ConnectedPoint::Dialer {
            address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let mut dial_backs = DialBacks::default();
        dial_backs.connected(PeerId::random(), ConnectionId::new_unchecked(1), &endpoint, 2);
        assert!(dial_backs.under_way.is_empty());
    }
}
