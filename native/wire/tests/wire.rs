//! The network as drivers use it: events become inputs, and outputs become calls.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use futures::FutureExt;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, Transport, noise, yamux};
use opp2p_core::mesh::{self, Frame, StreamAction, StreamEvent};
use opp2p_core::node::{Input, Output, StoreChange, StoreId};
use opp2p_core::peers::{self, ConnectionId};
use opp2p_core::sync::{ResultCode, ServeId};
use opp2p_core::time::Instant;
use opp2p_wire::{Behaviour, Config, Event, Frames, IDLE_TIMEOUT, Notice, Wire, from_libp2p};
use std::time::Duration;
use tokio::time::timeout;

/// Time within which everything here must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A network without peers, and its address.
async fn network() -> (Wire, Multiaddr, PeerId) {
    network_of(Keypair::generate_secp256k1(), false).await
}

/// The same with this key, and listening for [`opp2p_wire::REPLACED`] if `listens`.
async fn network_of(key: Keypair, listens: bool) -> (Wire, Multiaddr, PeerId) {
    let config = Config {
        chain_id: 901,
        agent: "test".into(),
        payloads: false,
        ranges: opp2p_wire::RangeUse::Off,
        ping: None,
        gatekeeper: None,
    };
    let transport = MemoryTransport::new()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let options =
        libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let own = key.public().to_peer_id();
    let mut behaviour = Behaviour::new(&key, &config);
    if listens {
        behaviour.farewell.listen();
    }
    let mut swarm = Swarm::new(transport, behaviour, own, options);
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let mut wire = Wire::new(swarm);
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = wire.next().await {
            break address;
        }
    };
    (wire, address, own)
}

fn core_id(peer: PeerId) -> peers::PeerId {
    from_libp2p(&peer).unwrap()
}

/// Runs both networks until `is_over`. Returns the inputs of each that tell of connections and of
/// gossip streams.
async fn inputs(
    networks: [&mut Wire; 2],
    mut is_over: impl FnMut(&[Vec<Input>; 2]) -> bool,
) -> [Vec<Input>; 2] {
    let [left, right] = networks;
    let mut all = [Vec::new(), Vec::new()];
    let both = async {
        while !is_over(&all) {
            let (place, wire, event): (usize, &mut Wire, SwarmEvent<Event>) = tokio::select! {
                event = left.next() => (0, &mut *left, event),
                event = right.next() => (1, &mut *right, event),
            };
            let input = wire.on_swarm(event);
            all[place].extend(input.filter(|input| {
                matches!(
                    input,
                    Input::Connected(_) | Input::Disconnected(_) | Input::Wake | Input::Mesh(_)
                )
            }));
        }
    };
    timeout(PATIENCE, both).await.expect("in time");
    all
}

#[tokio::test]
async fn a_peer_is_connected_from_its_first_connection_to_its_last() {
    let (mut left, _, left_id) = network().await;
    let (mut right, address, right_id) = network().await;
    let peer = core_id(right_id);
    let dial = Output::Dial { peer, addresses: vec![address.to_string()] };
    assert!(matches!(left.carry_out(dial.clone()), Ok(None)));
    let begun = |all: &[Vec<Input>; 2]| all.iter().all(|all| !all.is_empty());
    let [here, there] = inputs([&mut left, &mut right], begun).await;
    assert!(matches!(here[..], [Input::Connected(id)] if id == peer), "{here:?}");
    assert!(matches!(there[..], [Input::Connected(id)] if id == core_id(left_id)), "{there:?}");
    assert!(left.is_connected(&right_id));
    // A dial of a peer that is connected is not a failure.
    assert!(matches!(left.carry_out(dial), Ok(None)));
    assert!(left.connect(right_id, vec![address]).is_err());
    assert!(matches!(left.carry_out(Output::Disconnect(peer)), Ok(None)));
    let is_end = |input: &Input| matches!(input, Input::Disconnected(_));
    let ended = |all: &[Vec<Input>; 2]| all.iter().all(|all| all.iter().any(is_end));
    let all = inputs([&mut left, &mut right], ended).await;
    // Each learns it once, at the end.
    for inputs in &all {
        assert!(is_end(&inputs[inputs.len() - 1]), "{inputs:?}");
        assert_eq!(inputs.iter().filter(|input| is_end(input)).count(), 1, "{inputs:?}");
    }
}

#[tokio::test]
async fn the_cores_router_has_its_streams_opened_written_and_reset() {
    let (mut left, _, _) = network().await;
    let (mut right, address, right_id) = network().await;
    let peer = core_id(right_id);
    let dial = Output::Dial { peer, addresses: vec![address.to_string()] };
    assert!(matches!(left.carry_out(dial), Ok(None)));
    let supports = |inputs: &Vec<Input>| {
        inputs.iter().any(|input| matches!(input, Input::Mesh(StreamEvent::Supports(_))))
    };
    inputs([&mut left, &mut right], |all| all.iter().all(supports)).await;

    let act = Output::Mesh;
    assert!(matches!(left.carry_out(act(StreamAction::OpenWriter(peer))), Ok(None)));
    let is_open = |input: &Input| {
        matches!(
            input,
            Input::Mesh(
                StreamEvent::WriterOpened(_, mesh::Version::V1_2) | StreamEvent::ReaderOpened(_)
            )
        )
    };
    inputs([&mut left, &mut right], |all| all.iter().all(|all| all.iter().any(is_open))).await;

    left.write(|_, _| panic!("the core has not said that it has frames"));
    assert!(matches!(left.carry_out(act(StreamAction::Transmit(peer))), Ok(None)));
    let frame = Frame::message("blocks", vec![7; 1000].into());
    let mut frames = vec![frame.clone()];
    left.write(|to, window| {
        assert!(*to == peer && window > 0);
        frames.pop()
    });
    let written = |all: &[Vec<Input>; 2]| {
        let counts = all[0].iter().map(|input| match input {
            Input::Mesh(StreamEvent::Written(to, bytes)) if *to == peer => *bytes,
            _ => 0,
        });
        counts.sum::<usize>()
    };
    let received = |all: &[Vec<Input>; 2]| {
        all[1].iter().find_map(|input| match input {
            Input::Mesh(StreamEvent::Frame(_, bytes)) => Some(bytes.clone()),
            _ => None,
        })
    };
    let both = |all: &[Vec<Input>; 2]| written(all) == frame.len() && received(all).is_some();
    let all = inputs([&mut left, &mut right], both).await;
    let bytes = frame.parts().map(|part| &part[..]).concat();
    assert!(bytes.ends_with(&received(&all).unwrap()));
    // What is written makes room for more.
    let mut asked = 0;
    left.write(|_, _| {
        asked += 1;
        None
    });
    assert_eq!(asked, 1);
    assert_eq!(left.frames(), Frames { received: 0, sent: 1 });
    assert_eq!(right.frames(), Frames { received: 1, sent: 0 });

    let left_id = right.connected_peers().next().map(|id| core_id(*id)).unwrap();
    assert!(matches!(right.carry_out(act(StreamAction::ResetReader(left_id))), Ok(None)));
    let closed = |input: &Input| {
        matches!(input, Input::Mesh(StreamEvent::WriterClosed { is_refused: false, .. }))
    };
    inputs([&mut left, &mut right], |all| all[0].iter().any(closed)).await;
    assert!(matches!(left.carry_out(act(StreamAction::CloseWriter(peer))), Ok(None)));
    left.heartbeat(Instant::default());
}

#[tokio::test]
async fn a_dial_that_fails_is_reported_whenever_it_fails() {
    let (mut wire, _, _) = network().await;
    let peer = PeerId::random();
    // No address, none that can be read, and one at which nothing listens.
    for addresses in [vec![], vec!["nowhere".to_owned()], vec!["/memory/4242".to_owned()]] {
        let dial = Output::Dial { peer: core_id(peer), addresses };
        assert!(matches!(wire.carry_out(dial), Ok(None)));
        let failed = async {
            loop {
                let event = wire.next().await;
                let notice = wire.notice(&event);
                let Some(Notice::DialFailed { peer: who, dial, .. }) = notice else {
                    wire.on_swarm(event);
                    continue;
                };
                assert_eq!(who, peer);
                let input = wire.on_swarm(event);
                assert!(matches!(input, Some(Input::DialFailed(who)) if who == core_id(peer)));
                assert!(!wire.is_own_dial(dial), "it is over");
                break;
            }
        };
        timeout(PATIENCE, failed).await.expect("in time");
    }
    let dial = wire.connect(peer, vec!["/memory/4242".parse().unwrap()]).expect("it begins");
    assert!(wire.is_own_dial(dial));
}

#[tokio::test]
async fn outputs_of_the_network_are_carried_out_and_others_given_back() {
    let (mut wire, _, _) = network().await;
    let peer = core_id(PeerId::random());
    let serve = ServeId(2);
    for output in [Output::Disconnect(peer), Output::Close(ConnectionId(7))] {
        assert!(matches!(wire.carry_out(output.clone()), Ok(None)), "{output:?}");
    }
    let refuse = Output::Refuse { id: serve, code: ResultCode::NotFound };
    let gone = wire.carry_out(refuse).unwrap().unwrap();
    assert!(matches!(gone, Input::Responded(id) if id == serve), "{gone:?}");
    for output in [
        Output::ReadSigner,
        Output::Load(Vec::new()),
        Output::Store { id: StoreId(4), change: StoreChange::Detach },
        Output::Remember(Vec::new()),
        Output::Serve { id: serve, number: 1, held: None },
    ] {
        assert!(wire.carry_out(output.clone()).is_err(), "{output:?}");
    }
    wire.heartbeat(Instant::default());
    assert!(wire.close(PATIENCE).now_or_never().is_some(), "no peer delays it");
}

/// Connects a network to a gateway, which then closes the connection in favour of a newer one.
/// Returns what the network is told; or `None`, while it is silent, if it `is_dead`.
async fn closed_in_favour_of_another(listens: bool, is_dead: bool) -> Option<bool> {
    let (mut gateway, address, gateway_id) = network().await;
    let (mut browser, _, _) = network_of(Keypair::generate_secp256k1(), listens).await;
    let dial = Output::Dial { peer: core_id(gateway_id), addresses: vec![address.to_string()] };
    assert!(matches!(browser.carry_out(dial), Ok(None)));
    inputs([&mut gateway, &mut browser], |all| all.iter().all(|all| !all.is_empty())).await;
    // Both agree on their protocols before one of them dies.
    let pause = tokio::time::sleep(Duration::from_millis(100));
    let both = async {
        loop {
            tokio::select! {
                event = gateway.next() => drop(gateway.on_swarm(event)),
                event = browser.next() => drop(browser.on_swarm(event)),
            }
        }
    };
    tokio::select! { _ = both => {}, () = pause => {} }
    let close = Output::Close(ConnectionId(0));
    // It is closed once, however often that is wanted.
    assert!(matches!(gateway.carry_out(close.clone()), Ok(None)));
    assert!(matches!(gateway.carry_out(close), Ok(None)));
    let mut told = None;
    let mut is_closed = false;
    let over = async {
        while !(is_closed && (is_dead || told.is_some())) {
            tokio::select! {
                event = gateway.next() => {
                    let notice = gateway.notice(&event);
                    is_closed |= matches!(notice, Some(Notice::Disconnected { .. }));
                    gateway.on_swarm(event);
                }
                event = browser.next(), if !is_dead => {
                    if let Some(Notice::Disconnected { is_replaced, .. }) = browser.notice(&event) {
                        told = Some(is_replaced);
                    }
                    browser.on_swarm(event);
                }
            }
        }
    };
    timeout(PATIENCE, over).await.expect("in time");
    told
}

#[tokio::test]
async fn a_browser_learns_that_another_connection_replaces_its_own() {
    assert_eq!(closed_in_favour_of_another(true, false).await, Some(true));
    // Others don't know the protocol, and a dead line carries no word. Both are closed as well.
    assert_eq!(closed_in_favour_of_another(false, false).await, Some(false));
    assert_eq!(closed_in_favour_of_another(true, true).await, None);
}

#[tokio::test]
async fn a_gateway_that_disconnects_a_browser_has_not_replaced_it() {
    let (mut gateway, address, gateway_id) = network().await;
    let (mut browser, _, browser_id) = network_of(Keypair::generate_secp256k1(), true).await;
    let dial = Output::Dial { peer: core_id(gateway_id), addresses: vec![address.to_string()] };
    assert!(matches!(browser.carry_out(dial), Ok(None)));
    inputs([&mut gateway, &mut browser], |all| all.iter().all(|all| !all.is_empty())).await;
    assert!(matches!(gateway.carry_out(Output::Disconnect(core_id(browser_id))), Ok(None)));
    let mut told = None;
    let over = async {
        while told.is_none() {
            tokio::select! {
                event = gateway.next() => drop(gateway.on_swarm(event)),
                event = browser.next() => {
                    if let Some(Notice::Disconnected { is_replaced, .. }) = browser.notice(&event) {
                        told = Some(is_replaced);
                    }
                    browser.on_swarm(event);
                }
            }
        }
    };
    timeout(PATIENCE, over).await.expect("in time");
    assert_eq!(told, Some(false));
}
