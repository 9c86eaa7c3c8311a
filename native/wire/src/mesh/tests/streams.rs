//! The behaviour, with reports of handlers that the test makes up.

use super::message;
use crate::from_libp2p;
use crate::mesh::handler::{Report, Told};
use crate::mesh::link::Place;
use crate::mesh::{Streams, WINDOW};
use libp2p::PeerId;
use libp2p::core::{ConnectedPoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{ConnectionId, FromSwarm, ListenError, NetworkBehaviour, ToSwarm};
use opp2p_core::mesh::{StreamEvent, Version};
use opp2p_core::peers;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

struct Bench {
    streams: Streams,
    peer: PeerId,
    id: peers::PeerId,
}

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn address() -> Multiaddr {
    "/memory/1".parse().expect("an address")
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener { local_addr: address(), send_back_addr: address() }
}

impl Bench {
    /// A peer with connections 0 and 1.
    fn new() -> Self {
        let peer = PeerId::random();
        let id = from_libp2p(&peer).expect("an id");
        let mut bench = Self { streams: Streams::new(), peer, id };
        bench.connect(0);
        bench.connect(1);
        bench
    }

    fn connect(&mut self, number: usize) {
        self.attempt(number);
        self.streams.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: self.peer,
            connection_id: connection(number),
            endpoint: &endpoint(),
            failed_addresses: &[],
            other_established: number,
        }));
    }

    fn attempt(&mut self, number: usize) {
        let (here, there) = (address(), address());
        let id = connection(number);
        self.streams
            .handle_established_inbound_connection(id, self.peer, &here, &there)
            .expect("accepted");
    }

    fn close(&mut self, number: usize) {
        self.streams.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: self.peer,
            connection_id: connection(number),
            endpoint: &endpoint(),
            cause: None,
            remaining_established: 0,
        }));
    }

    fn told(&mut self, number: usize, told: Told) {
        self.streams.on_connection_handler_event(self.peer, connection(number), Report(told));
    }

    fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(ToSwarm::GenerateEvent(event)) = self.streams.poll(&mut cx) {
            events.push(match event {
                StreamEvent::Supports(_) => "supports".to_owned(),
                StreamEvent::WriterOpened(_, version) => format!("opened {}", version.protocol()),
                StreamEvent::WriterClosed { is_refused, .. } => format!("closed {is_refused}"),
                StreamEvent::Written(_, bytes) => format!("written {bytes}"),
                StreamEvent::ReaderOpened(_) => "reader".to_owned(),
                StreamEvent::Frame(_, frame) => format!("frame {frame}"),
                StreamEvent::Malformed(_) => "malformed".to_owned(),
            });
        }
        events
    }

    /// Returns the writer and the reset of a connection's wishes.
    fn wishes(&self, number: usize) -> (Option<u64>, u64) {
        let link = &self.streams.peers[&self.peer].connections[number].1;
        let wishes = link.wishes(Waker::noop());
        (wishes.writer, wishes.reset)
    }

    fn frame(&mut self, number: usize, reader: u64, byte: u8) {
        let link = self.streams.peers[&self.peer].connections[number].1.clone();
        let place = Place::new(&link, &self.streams.memory, 1);
        self.told(number, Told::Frame(reader, vec![byte].into(), place));
    }
}

#[test]
fn the_writer_is_on_the_oldest_connection_and_moves_when_that_closes() {
    let mut bench = Bench::new();
    let id = bench.id;
    bench.streams.open_writer(&id);
    assert_eq!((bench.wishes(0).0, bench.wishes(1).0), (Some(1), None));
    bench.told(0, Told::WriterOpened(1, Version::V1_1));
    bench.told(0, Told::Written(1, 10));
    assert_eq!(bench.events(), ["opened /meshsub/1.1.0", "written 10"]);
    bench.close(0);
    assert_eq!(bench.events(), ["closed false"]);
    bench.streams.open_writer(&id);
    assert_eq!(bench.wishes(0).0, Some(2), "of those that are left");
    // A connection without the writer closes in silence.
    bench.connect(2);
    bench.close(2);
    assert_eq!(bench.events(), [""; 0]);
    bench.close(1);
    assert!(bench.streams.peers.is_empty() && bench.streams.pending.is_empty());
    assert_eq!(bench.events(), [""; 0], "the owner knows that the peer is gone");
    bench.streams.open_writer(&id);
    assert_eq!(bench.events(), ["closed false"], "there is no connection");
}

#[test]
fn a_refusal_is_told_from_a_failure() {
    let mut bench = Bench::new();
    let id = bench.id;
    for is_refused in [true, false] {
        bench.streams.open_writer(&id);
        let writer = bench.wishes(0).0.expect("wanted");
        bench.told(0, Told::WriterClosed { writer, is_refused });
        assert_eq!(bench.wishes(0).0, None);
        assert_eq!(bench.events(), [format!("closed {is_refused}")]);
    }
}

#[test]
fn words_of_an_earlier_writer_don_t_count() {
    let mut bench = Bench::new();
    let id = bench.id;
    bench.streams.open_writer(&id);
    bench.told(0, Told::WriterOpened(1, Version::V1_2));
    bench.told(0, Told::Written(1, 10));
    bench.streams.close_writer(&id);
    assert_eq!(bench.wishes(0).0, None);
    bench.told(0, Told::Written(1, 10));
    bench.streams.open_writer(&id);
    bench.told(0, Told::Written(1, 10));
    bench.told(0, Told::WriterClosed { writer: 1, is_refused: false });
    assert_eq!(bench.events(), [""; 0]);
    assert_eq!(bench.wishes(0).0, Some(2));
}

#[test]
fn the_newest_reader_of_each_connection_counts() {
    let mut bench = Bench::new();
    bench.told(0, Told::ReaderOpened(5));
    bench.told(1, Told::ReaderOpened(6));
    bench.frame(0, 5, 1);
    bench.frame(1, 6, 2);
    assert_eq!(bench.events(), ["reader", "reader", "frame 0x01", "frame 0x02"]);
    // On the same connection, the handler has replaced it.
    bench.told(1, Told::ReaderOpened(7));
    bench.frame(1, 6, 3);
    bench.told(1, Told::Malformed(6));
    bench.frame(1, 7, 4);
    assert_eq!(bench.events(), ["reader", "frame 0x04"]);
    bench.told(1, Told::Malformed(7));
    bench.frame(1, 7, 5);
    bench.told(0, Told::ReaderClosed(5));
    bench.frame(0, 5, 6);
    assert_eq!(bench.events(), ["malformed"]);
    assert_eq!((bench.wishes(0).1, bench.wishes(1).1), (0, 0), "they end by themselves");
    bench.told(0, Told::ReaderOpened(8));
    bench.told(1, Told::ReaderOpened(9));
    bench.close(0);
    bench.frame(0, 9, 7);
    let id = bench.id;
    bench.streams.reset_reader(&id);
    assert_eq!(bench.wishes(0).1, 9);
}

#[test]
fn a_reader_that_is_reset_says_no_more() {
    let mut bench = Bench::new();
    let id = bench.id;
    bench.told(0, Told::ReaderOpened(5));
    bench.frame(0, 5, 1);
    bench.told(0, Told::Supports);
    bench.streams.reset_reader(&id);
    assert_eq!(bench.wishes(0).1, 5);
    bench.frame(0, 5, 2);
    assert_eq!(bench.events(), ["supports"]);
    let link = bench.streams.peers[&bench.peer].connections[0].1.clone();
    assert_eq!(Arc::strong_count(&link), 2, "frames that are dropped keep no place");
}

#[test]
fn a_stream_takes_what_its_window_allows() {
    let mut bench = Bench::new();
    let id = bench.id;
    let mut windows = Vec::new();
    let mut fill = |bench: &mut Bench, length| {
        bench.streams.fill(&id, |window| {
            windows.push(window);
            (windows.len() < 10).then(|| message(1, length))
        });
        std::mem::take(&mut windows)
    };
    assert_eq!(fill(&mut bench, 20_000), [0; 0], "there is no writer");
    bench.streams.open_writer(&id);
    let length = message(1, 20_000).len();
    let expected: Vec<_> = (0..4).map(|count| WINDOW - count * length).collect();
    assert_eq!(fill(&mut bench, 20_000), expected);
    assert_eq!(fill(&mut bench, 20_000), [0; 0]);
    bench.streams.close_writer(&id);
    bench.streams.open_writer(&id);
    assert_eq!(fill(&mut bench, 1 << 20), [WINDOW], "a large frame is alone");
}

#[test]
fn a_connection_that_others_refuse_leaves_nothing() {
    let mut bench = Bench::new();
    bench.attempt(2);
    assert_eq!(bench.streams.pending.len(), 1);
    bench.streams.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
        local_addr: &address(),
        send_back_addr: &address(),
        error: &ListenError::Aborted,
        connection_id: connection(2),
        peer_id: Some(bench.peer),
    }));
    assert!(bench.streams.pending.is_empty());
}
