//! Ranges of blocks over a connection: both sides as a driver uses them.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use alloy_primitives::Bytes;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, Transport, noise, yamux};
use opp2p_core::node::{Input, Output, RangeInput, RangeOutput};
use opp2p_core::peers::{PeerId, PeerNews};
use opp2p_core::sync::range::{End, First, PROTOCOL, RangeServeId, Request, StreamClose, StreamId};
use opp2p_wire::{Behaviour, Config, IDLE_TIMEOUT, RangeUse, Wire, from_libp2p};
use std::time::Duration;
use tokio::time::timeout;

/// Time within which everything here must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const CHAIN_ID: u64 = 901;

/// Two connected networks. The left one asks, the right one serves.
struct Pair {
    left: Wire,
    right: Wire,
    asks: PeerId,
    serves: PeerId,
    /// Protocols that the right one reports, as the left one hears.
    protocols: Vec<String>,
    at_left: Vec<RangeInput>,
    at_right: Vec<RangeInput>,
}

async fn network(ranges: RangeUse) -> (Wire, Multiaddr, PeerId) {
    let key = Keypair::generate_secp256k1();
    let config = Config {
        chain_id: CHAIN_ID,
        agent: "test".into(),
        payloads: false,
        ranges,
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
    let behaviour = Behaviour::new(&key, &config);
    let mut swarm = Swarm::new(transport, behaviour, own, options);
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let mut wire = Wire::new(swarm);
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = wire.next().await {
            return (wire, address, from_libp2p(&own).unwrap());
        }
    }
}

impl Pair {
    async fn new(serves: RangeUse) -> Self {
        let (mut left, _, asks) = network(RangeUse::Asks).await;
        let (right, address, peer) = network(serves).await;
        let dial = Output::Dial { peer, addresses: vec![address.to_string()] };
        assert!(matches!(left.carry_out(dial), Ok(None)));
        let mut pair = Self {
            left,
            right,
            asks,
            serves: peer,
            protocols: Vec::new(),
            at_left: Vec::new(),
            at_right: Vec::new(),
        };
        pair.until(|pair| !pair.protocols.is_empty()).await;
        pair
    }

    /// Runs both until this holds.
    async fn until(&mut self, is_over: impl Fn(&Self) -> bool) {
        let run = async {
            while !is_over(self) {
                let (is_left, input) = tokio::select! {
                    event = self.left.next() => (true, self.left.on_swarm(event)),
                    event = self.right.next() => (false, self.right.on_swarm(event)),
                };
                match input {
                    Some(Input::Range(input)) if is_left => self.at_left.push(input),
                    Some(Input::Range(input)) => self.at_right.push(input),
                    Some(Input::Peer(_, PeerNews::Identified(info))) if is_left => {
                        self.protocols = info.protocols;
                    }
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, run).await.expect("in time");
    }

    /// Runs both for a moment in which nothing should happen.
    async fn rest(&mut self) {
        let _ = timeout(Duration::from_millis(200), async {
            loop {
                tokio::select! {
                    event = self.left.next() => {
                        if let Some(Input::Range(input)) = self.left.on_swarm(event) {
                            self.at_left.push(input);
                        }
                    }
                    event = self.right.next() => {
                        if let Some(Input::Range(input)) = self.right.on_swarm(event) {
                            self.at_right.push(input);
                        }
                    }
                }
            }
        })
        .await;
    }

    fn left(&mut self, output: RangeOutput) {
        let answer = self.left.carry_out(Output::Range(output)).expect("it is the network's");
        if let Some(Input::Range(input)) = answer {
            self.at_left.push(input);
        }
    }

    fn right(&mut self, output: RangeOutput) {
        let answer = self.right.carry_out(Output::Range(output)).expect("it is the network's");
        if let Some(Input::Range(input)) = answer {
            self.at_right.push(input);
        }
    }

    /// Opens a stream. Returns its id at the other side.
    async fn open(&mut self, id: StreamId) -> RangeServeId {
        self.left(RangeOutput::Open { id, to: self.serves, request: request() });
        let before = self.at_right.len();
        self.until(|pair| pair.at_right.len() > before).await;
        match &self.at_right[before] {
            RangeInput::Requested { from, id, request: Ok(asked) } => {
                assert_eq!((*from, *asked), (self.asks, request()));
                *id
            }
            other => panic!("{other:?}"),
        }
    }

    /// Returns the bytes that arrived.
    fn received(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for input in &self.at_left {
            if let RangeInput::Received { bytes: piece, .. } = input {
                bytes.extend_from_slice(piece);
            }
        }
        bytes
    }
}

fn request() -> Request {
    let first = First::Canonical(7);
    // As it is decoded: the codecs that all read are in the set.
    Request::decode(
        &Request { chain_id: CHAIN_ID, first, blocks: 1, bytes: 1 << 20, codecs: 0 }.encode(),
    )
    .unwrap()
}

#[tokio::test]
async fn an_answer_arrives_as_it_is_asked_for() {
    let mut pair = Pair::new(RangeUse::Serves).await;
    assert!(pair.protocols.iter().any(|name| name == PROTOCOL), "{:?}", pair.protocols);
    let ours = StreamId(1);
    let theirs = pair.open(ours).await;
    let frame: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    pair.right(RangeOutput::Write { id: theirs, frame: frame.clone() });
    // Nothing is read, so the chunk is not taken: the window of a stream is smaller.
    pair.rest().await;
    assert!(pair.at_left.is_empty(), "{:?}", pair.at_left.len());
    assert!(!pair.at_right.iter().any(|input| matches!(input, RangeInput::Written(_))));
    let end = End::Complete;
    let whole = [&frame[..], &end.encode()].concat();
    let mut has_ended = false;
    while pair.received().len() < whole.len() {
        let before = pair.at_left.len();
        pair.left(RangeOutput::Receive { id: ours, limit: 100_000 });
        pair.until(|pair| pair.at_left.len() > before).await;
        let piece = &pair.at_left[before];
        assert!(
            matches!(piece, RangeInput::Received { bytes, .. } if bytes.len() <= 100_000),
            "{piece:?}"
        );
        let is_written = pair.at_right.iter().any(|input| matches!(input, RangeInput::Written(_)));
        if is_written && !has_ended {
            has_ended = true;
            pair.right(RangeOutput::End { id: theirs, end });
        }
        if !has_ended && pair.received().len() == frame.len() {
            pair.until(|pair| {
                pair.at_right.iter().any(|input| matches!(input, RangeInput::Written(_)))
            })
            .await;
            has_ended = true;
            pair.right(RangeOutput::End { id: theirs, end });
        }
    }
    assert!(pair.received() == whole);
    let before = pair.at_left.len();
    pair.left(RangeOutput::Receive { id: ours, limit: 10 });
    pair.until(|pair| pair.at_left.len() > before).await;
    assert!(matches!(
        pair.at_left[before],
        RangeInput::Closed { id, close: StreamClose::Finished } if id == ours
    ));
}

#[tokio::test]
async fn a_cancelled_stream_ends_on_the_other_side() {
    let mut pair = Pair::new(RangeUse::Serves).await;
    let ours = StreamId(1);
    let theirs = pair.open(ours).await;
    pair.right(RangeOutput::Write { id: theirs, frame: vec![7; 3_000_000].into() });
    pair.left(RangeOutput::Receive { id: ours, limit: 10 });
    pair.until(|pair| pair.at_left.len() == 1).await;
    pair.left(RangeOutput::Cancel(ours));
    pair.until(|pair| pair.at_right.len() == 2).await;
    assert!(matches!(pair.at_right[1], RangeInput::Cancelled(id) if id == theirs));
    // Nothing more is reported of it.
    pair.left(RangeOutput::Receive { id: ours, limit: 10 });
    pair.rest().await;
    assert_eq!((pair.at_left.len(), pair.at_right.len()), (1, 2));
}

#[tokio::test]
async fn a_reset_stream_and_a_lost_connection_end_what_was_asked() {
    let mut pair = Pair::new(RangeUse::Serves).await;
    let (first, second) = (StreamId(1), StreamId(2));
    let theirs = pair.open(first).await;
    pair.left(RangeOutput::Receive { id: first, limit: 10 });
    pair.right(RangeOutput::Reset(theirs));
    pair.until(|pair| pair.at_left.len() == 1).await;
    assert!(matches!(pair.at_left[0], RangeInput::Closed { id, .. } if id == first));
    let theirs = pair.open(second).await;
    let peer = pair.serves;
    assert!(matches!(pair.left.carry_out(Output::Disconnect(peer)), Ok(None)));
    pair.until(|pair| pair.at_left.len() == 2 && pair.at_right.len() == 3).await;
    let RangeInput::Closed { id, close } = pair.at_left[1] else { panic!("it is lost") };
    assert_eq!((id, close), (second, StreamClose::Lost));
    assert!(matches!(pair.at_right[2], RangeInput::Cancelled(id) if id == theirs));
    // A peer that is not connected is known not to answer.
    let id = StreamId(3);
    pair.left(RangeOutput::Open { id, to: peer, request: request() });
    assert!(matches!(pair.at_left[2], RangeInput::Closed { id: of, .. } if of == id));
}

#[tokio::test]
async fn a_peer_that_does_not_serve_is_recognised() {
    for serves in [RangeUse::Off, RangeUse::Asks] {
        let mut pair = Pair::new(serves).await;
        assert!(!pair.protocols.iter().any(|name| name == PROTOCOL));
        let id = StreamId(1);
        let to = pair.serves;
        pair.left(RangeOutput::Open { id, to, request: request() });
        pair.left(RangeOutput::Receive { id, limit: 10 });
        pair.until(|pair| !pair.at_left.is_empty()).await;
        let close = StreamClose::Unsupported;
        assert!(matches!(pair.at_left[0], RangeInput::Closed { close: how, .. } if how == close));
    }
    // Nor does one that does not speak the protocol ask.
    let (mut wire, ..) = network(RangeUse::Off).await;
    let (_, _, to) = network(RangeUse::Serves).await;
    let id = StreamId(1);
    let open = Output::Range(RangeOutput::Open { id, to, request: request() });
    assert!(matches!(
        wire.carry_out(open),
        Ok(Some(Input::Range(RangeInput::Closed { close: StreamClose::Unsupported, .. })))
    ));
}
