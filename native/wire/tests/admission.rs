//! The gatekeeper: it refuses at the right stage, and learns of every end exactly once.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use futures::StreamExt;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, Swarm, Transport, noise, tcp, yamux};
use opp2p_core::peers::{ConnectionId, Denied, Door, Knock};
use opp2p_wire::{Behaviour, Config, Event, Gatekeeper};
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// All knocks at a gatekeeper, in order.
type Asked = Arc<Mutex<Vec<Knock>>>;

/// Returns a gatekeeper that refuses according to `refuses`, and the record of its knocks.
fn gatekeeper(refuses: impl Fn(&Knock) -> bool + Send + Sync + 'static) -> (Gatekeeper, Asked) {
    let asked = Asked::default();
    let record = Arc::clone(&asked);
    let gatekeeper = move |knock: &Knock| {
        record.lock().unwrap().push(*knock);
        if refuses(knock) { Err(Denied::PeerBlocked) } else { Ok(()) }
    };
    (Arc::new(gatekeeper), asked)
}

fn swarm(gatekeeper: Gatekeeper) -> Swarm<Behaviour> {
    let key = Keypair::generate_secp256k1();
    let wiring = Config {
        chain_id: 901,
        agent: "test".into(),
        payloads: true,
        ranges: opp2p_wire::RangeUse::Off,
        ping: Some(opp2p_wire::PING_INTERVAL),
        gatekeeper: Some(gatekeeper),
    };
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .or_transport(MemoryTransport::new())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = Behaviour::new(&key, &wiring);
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(60));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// A listener and a dialler.
struct Pair {
    listener: Swarm<Behaviour>,
    dialler: Swarm<Behaviour>,
    address: Multiaddr,
}

impl Pair {
    async fn new(listens: Gatekeeper, dials: Gatekeeper, address: &str) -> Self {
        let (mut listener, dialler) = (swarm(listens), swarm(dials));
        listener.listen_on(address.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = listener.select_next_some().await {
                break address;
            }
        };
        Self { listener, dialler, address }
    }

    fn dial(&mut self) -> Result<(), DialError> {
        let options =
            DialOpts::peer_id(*self.listener.local_peer_id()).addresses(vec![self.address.clone()]);
        self.dialler.dial(options.build())
    }

    /// Returns the numbers of admitted connections of the listener and of the dialler.
    fn inside(&self) -> (usize, usize) {
        let inside = |swarm: &Swarm<Behaviour>| swarm.behaviour().admission.inside();
        (inside(&self.listener), inside(&self.dialler))
    }

    /// Runs both until each has emitted the wanted event.
    async fn until(
        &mut self,
        mut listener: impl FnMut(&SwarmEvent<Event>) -> bool,
        mut dialler: impl FnMut(&SwarmEvent<Event>) -> bool,
    ) {
        let (mut left, mut right) = (false, false);
        let both = async {
            while !(left && right) {
                tokio::select! {
                    event = self.listener.select_next_some() => left |= listener(&event),
                    event = self.dialler.select_next_some() => right |= dialler(&event),
                }
            }
        };
        timeout(Duration::from_secs(20), both).await.expect("in time");
    }
}

/// Asserts that each admitted connection ended once, and no other did.
fn balanced(asked: &Asked, is_let_in: impl Fn(&Knock) -> Option<ConnectionId>) {
    let asked = asked.lock().unwrap();
    let let_in: BTreeSet<ConnectionId> = asked.iter().filter_map(is_let_in).collect();
    let ended: Vec<ConnectionId> = asked
        .iter()
        .filter_map(|knock| if let Knock::Ended(id) = knock { Some(*id) } else { None })
        .collect();
    let once: BTreeSet<ConnectionId> = ended.iter().copied().collect();
    assert_eq!(once.len(), ended.len(), "an end was said twice: {asked:?}");
    assert_eq!(once, let_in, "{asked:?}");
}

const fn accepted(knock: &Knock) -> Option<ConnectionId> {
    if let Knock::Accept { id, .. } = knock { Some(*id) } else { None }
}

const fn secured(knock: &Knock) -> Option<ConnectionId> {
    if let Knock::Secured { id, .. } = knock { Some(*id) } else { None }
}

/// Returns the innermost cause.
fn cause(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

const fn is_listen_error(event: &SwarmEvent<Event>) -> bool {
    matches!(event, SwarmEvent::IncomingConnectionError { error: ListenError::Denied { .. }, .. })
}

#[tokio::test]
async fn a_peer_refused_before_the_handshake_is_not_counted() {
    let (listens, asked) = gatekeeper(|knock| matches!(knock, Knock::Accept { .. }));
    let (dials, dialled) = gatekeeper(|_| false);
    let mut pair = Pair::new(listens, dials, "/ip4/127.0.0.1/tcp/0").await;
    pair.dial().unwrap();
    pair.until(is_listen_error, |event| {
        matches!(event, SwarmEvent::OutgoingConnectionError { .. })
    })
    .await;
    let (id, door) = (ConnectionId(0), Door::Tcp);
    let knock = Knock::Accept { id, door, ip: Some([127, 0, 0, 1].into()) };
    assert_eq!(*asked.lock().unwrap(), [knock]);
    assert_eq!(pair.inside(), (0, 0));
    // The dialler's gatekeeper saw the peer, and nothing after that.
    assert_eq!(dialled.lock().unwrap().len(), 1);
    assert!(matches!(dialled.lock().unwrap()[0], Knock::DialPeer(_)));
}

#[tokio::test]
async fn a_peer_refused_after_the_handshake_is_counted_and_its_connection_ends() {
    let (listens, asked) = gatekeeper(|knock| matches!(knock, Knock::Secured { .. }));
    let (dials, dialled) = gatekeeper(|_| false);
    let mut pair = Pair::new(listens, dials, "/memory/0").await;
    pair.dial().unwrap();
    // The dialler's handshake is over before it learns of the refusal.
    pair.until(is_listen_error, |event| matches!(event, SwarmEvent::ConnectionClosed { .. })).await;
    let peer = opp2p_wire::from_libp2p(pair.dialler.local_peer_id()).unwrap();
    let (id, door) = (ConnectionId(0), Door::Tcp);
    let expected = [
        Knock::Accept { id, door, ip: None },
        Knock::Secured { id, door, peer, ip: None, is_inbound: true },
        Knock::Ended(id),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
    balanced(&dialled, secured);
    assert_eq!(pair.inside(), (0, 0));
}

#[tokio::test]
async fn a_dial_can_be_refused_before_and_after_the_handshake() {
    let (listens, asked) = gatekeeper(|_| false);
    let (dials, dialled) = gatekeeper(|knock| matches!(knock, Knock::DialPeer(_)));
    let mut pair = Pair::new(listens, dials, "/memory/0").await;
    let error = pair.dial().unwrap_err();
    assert_eq!(cause(&error), Denied::PeerBlocked.to_string());
    let DialError::Denied { cause } = error else { panic!("{error}") };
    assert_eq!(cause.downcast::<Denied>().unwrap(), Denied::PeerBlocked);
    assert!(asked.lock().unwrap().is_empty());

    let (dials, late) = gatekeeper(|knock| matches!(knock, Knock::Secured { .. }));
    pair.dialler = swarm(dials);
    pair.dial().unwrap();
    let denied = |event: &SwarmEvent<Event>| {
        matches!(event, SwarmEvent::OutgoingConnectionError { error: DialError::Denied { .. }, .. })
    };
    let ended = |event: &SwarmEvent<Event>| {
        matches!(
            event,
            SwarmEvent::ConnectionClosed { .. } | SwarmEvent::IncomingConnectionError { .. }
        )
    };
    pair.until(ended, denied).await;
    balanced(&asked, accepted);
    balanced(&dialled, |_| None);
    balanced(&late, |_| None);
    assert_eq!(late.lock().unwrap().len(), 2, "asked for the peer and after the handshake");
}

#[tokio::test]
async fn a_closed_connection_ends_once_on_both_sides() {
    let (listens, asked) = gatekeeper(|_| false);
    let (dials, dialled) = gatekeeper(|_| false);
    let mut pair = Pair::new(listens, dials, "/ip4/127.0.0.1/tcp/0").await;
    for _ in 0..3 {
        pair.dial().unwrap();
        let established =
            |event: &SwarmEvent<Event>| matches!(event, SwarmEvent::ConnectionEstablished { .. });
        pair.until(established, established).await;
        let admission = &pair.listener.behaviour().admission;
        assert_eq!(admission.inside(), 1);
        let last = asked.lock().unwrap().iter().filter_map(accepted).max().unwrap();
        let connection = admission.connection(last).expect("it stands");
        assert_eq!(admission.id(connection), Some(last));
        assert!(pair.listener.close_connection(connection));
        let closed =
            |event: &SwarmEvent<Event>| matches!(event, SwarmEvent::ConnectionClosed { .. });
        pair.until(closed, closed).await;
    }
    balanced(&asked, accepted);
    balanced(&dialled, secured);
    assert_eq!(pair.inside(), (0, 0));
}

#[tokio::test]
async fn a_connection_without_a_handshake_ends_too() {
    let (listens, asked) = gatekeeper(|_| false);
    let (dials, _) = gatekeeper(|_| false);
    let mut pair = Pair::new(listens, dials, "/ip4/127.0.0.1/tcp/0").await;
    let port = pair.address.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let silent = std::net::TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
    drop(silent);
    let failed =
        |event: &SwarmEvent<Event>| matches!(event, SwarmEvent::IncomingConnectionError { .. });
    let listener = async { while !failed(&pair.listener.select_next_some().await) {} };
    timeout(Duration::from_secs(20), listener).await.expect("in time");
    balanced(&asked, accepted);
    assert_eq!(asked.lock().unwrap().len(), 2);
}
