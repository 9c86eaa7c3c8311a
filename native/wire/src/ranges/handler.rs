//! The streams of one connection.

use super::limits::{MAX_INCOMING, NAME};
use super::stream;
use alloy_primitives::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Ready, ready};
use libp2p::StreamProtocol;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use opp2p_core::sync::range::{
    REQUEST_SIZE, RangeServeId, Request, RequestError, StreamClose, StreamId,
};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// An order to a handler.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is the core's output of that name")]
pub enum Order {
    Open(StreamId, [u8; REQUEST_SIZE]),
    Receive(StreamId, usize),
    Cancel(StreamId),
    Write(RangeServeId, Bytes),
    End(RangeServeId, Vec<u8>),
    Reset(RangeServeId),
}

/// A report of a handler.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is the core's input of that name")]
pub enum Report {
    Received(StreamId, Bytes),
    Closed(StreamId, StreamClose),
    Requested(RangeServeId, Result<Request, RequestError>),
    Written(RangeServeId),
    Gone(RangeServeId),
}

/// A stream of ours. It has an order to read until the bytes are there.
enum Outgoing {
    /// It is being opened, and perhaps there is an order to read from it then.
    Opening {
        request: [u8; REQUEST_SIZE],
        limit: Option<usize>,
    },
    Asking(BoxFuture<'static, Result<Stream, StreamClose>>, Option<usize>),
    Idle(Stream),
    Reading(BoxFuture<'static, Result<(Stream, Bytes), StreamClose>>),
}

/// A stream of a peer.
enum Incoming {
    Requesting(BoxFuture<'static, Option<(Stream, Result<Request, RequestError>)>>),
    Idle(Stream),
    /// A chunk is being written, and perhaps the end follows.
    Writing(BoxFuture<'static, Option<Stream>>, Option<Vec<u8>>),
    Ending(BoxFuture<'static, ()>),
}

/// The inbound side of the protocol, if peers may open streams.
#[derive(Clone, Copy, Debug)]
pub struct Listening(bool);

impl UpgradeInfo for Listening {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.then_some(NAME).into_iter()
    }
}

impl InboundUpgrade<Stream> for Listening {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// The streams of one connection: see the [module's documentation](super).
pub struct Handler {
    serves: bool,
    /// Id of the next stream of any peer.
    next: Arc<AtomicU64>,
    outgoing: BTreeMap<StreamId, Outgoing>,
    incoming: BTreeMap<RangeServeId, Incoming>,
    to_open: VecDeque<StreamId>,
    reports: VecDeque<Report>,
    waker: Option<Waker>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("outgoing", &self.outgoing.len())
            .field("incoming", &self.incoming.len())
            .finish_non_exhaustive()
    }
}

impl Handler {
    pub(super) const fn new(serves: bool, next: Arc<AtomicU64>) -> Self {
        Self {
            serves,
            next,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            to_open: VecDeque::new(),
            reports: VecDeque::new(),
            waker: None,
        }
    }

    fn receive(&mut self, id: StreamId, limit: usize) {
        let Some(outgoing) = self.outgoing.remove(&id) else { return };
        let outgoing = match outgoing {
            Outgoing::Opening { request, .. } => Outgoing::Opening { request, limit: Some(limit) },
            Outgoing::Asking(asking, _) => Outgoing::Asking(asking, Some(limit)),
            Outgoing::Idle(stream) => read(stream, limit),
            // The core orders one read at a time.
            reading @ Outgoing::Reading(_) => reading,
        };
        self.outgoing.insert(id, outgoing);
    }

    fn write(&mut self, id: RangeServeId, frame: Bytes) {
        if let Some(Incoming::Idle(stream)) = self.incoming.remove(&id) {
            self.incoming.insert(id, Incoming::Writing(stream::write(stream, frame).boxed(), None));
        } else {
            self.reports.push_back(Report::Gone(id));
        }
    }

    fn end(&mut self, id: RangeServeId, frame: Vec<u8>) {
        let incoming = match self.incoming.remove(&id) {
            Some(Incoming::Idle(stream)) => Incoming::Ending(stream::end(stream, frame).boxed()),
            Some(Incoming::Writing(writing, _)) => Incoming::Writing(writing, Some(frame)),
            _ => return,
        };
        self.incoming.insert(id, incoming);
    }

    fn poll_outgoing(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<StreamId> = self.outgoing.keys().copied().collect();
        for id in ids {
            // Terminates: each turn waits, ends, or goes from asking to reading.
            while let Some(outgoing) = self.outgoing.get_mut(&id) {
                let next = match outgoing {
                    Outgoing::Asking(asking, limit) => {
                        let Poll::Ready(asked) = asking.poll_unpin(cx) else { break };
                        let limit = *limit;
                        asked.map(|stream| match limit {
                            Some(limit) => read(stream, limit),
                            None => Outgoing::Idle(stream),
                        })
                    }
                    Outgoing::Reading(reading) => {
                        let Poll::Ready(read) = reading.poll_unpin(cx) else { break };
                        read.map(|(stream, bytes)| {
                            self.reports.push_back(Report::Received(id, bytes));
                            Outgoing::Idle(stream)
                        })
                    }
                    Outgoing::Opening { .. } | Outgoing::Idle(_) => break,
                };
                match next {
                    Ok(next) => *outgoing = next,
                    Err(close) => {
                        self.outgoing.remove(&id);
                        self.reports.push_back(Report::Closed(id, close));
                    }
                }
            }
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<RangeServeId> = self.incoming.keys().copied().collect();
        for id in ids {
            // Terminates: each turn waits, ends, or goes from writing to ending.
            while let Some(incoming) = self.incoming.get_mut(&id) {
                let next = match incoming {
                    Incoming::Requesting(requesting) => {
                        let Poll::Ready(requested) = requesting.poll_unpin(cx) else { break };
                        requested.map(|(stream, request)| {
                            self.reports.push_back(Report::Requested(id, request));
                            Incoming::Idle(stream)
                        })
                    }
                    Incoming::Writing(writing, end) => {
                        let Poll::Ready(written) = writing.poll_unpin(cx) else { break };
                        let end = end.take();
                        let report = if written.is_some() { Report::Written } else { Report::Gone };
                        self.reports.push_back(report(id));
                        written.map(|stream| match end {
                            Some(end) => Incoming::Ending(stream::end(stream, end).boxed()),
                            None => Incoming::Idle(stream),
                        })
                    }
                    Incoming::Ending(ending) => {
                        let Poll::Ready(()) = ending.poll_unpin(cx) else { break };
                        None
                    }
                    Incoming::Idle(_) => break,
                };
                match next {
                    Some(next) => *incoming = next,
                    None => {
                        self.incoming.remove(&id);
                    }
                }
            }
        }
    }
}

fn read(stream: Stream, limit: usize) -> Outgoing {
    Outgoing::Reading(stream::read_some(stream, limit).boxed())
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Report;
    type InboundProtocol = Listening;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = StreamId;

    fn listen_protocol(&self) -> SubstreamProtocol<Listening> {
        SubstreamProtocol::new(Listening(self.serves), ())
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Open(id, request) => {
                self.outgoing.insert(id, Outgoing::Opening { request, limit: None });
                self.to_open.push_back(id);
            }
            Order::Receive(id, limit) => self.receive(id, limit),
            // Dropping a stream resets it, unless both sides are closed.
            Order::Cancel(id) => {
                self.outgoing.remove(&id);
            }
            Order::Write(id, frame) => self.write(id, frame),
            Order::End(id, frame) => self.end(id, frame),
            Order::Reset(id) => {
                self.incoming.remove(&id);
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Listening, Self::OutboundProtocol, (), StreamId>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => {
                if self.incoming.len() < MAX_INCOMING {
                    let id = RangeServeId(self.next.fetch_add(1, Ordering::Relaxed));
                    let requesting = stream::read_request(protocol).boxed();
                    self.incoming.insert(id, Incoming::Requesting(requesting));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info: id,
            }) => {
                // It may have been cancelled meanwhile.
                if let Some(Outgoing::Opening { request, limit }) = self.outgoing.remove(&id) {
                    let asking = stream::ask(protocol, request).boxed();
                    self.outgoing.insert(id, Outgoing::Asking(asking, limit));
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: id, error }) => {
                if self.outgoing.remove(&id).is_some() {
                    let close = match error {
                        StreamUpgradeError::NegotiationFailed => StreamClose::Unsupported,
                        StreamUpgradeError::Timeout => StreamClose::Reset,
                        StreamUpgradeError::Io(_) => StreamClose::Lost,
                        StreamUpgradeError::Apply(never) => match never {},
                    };
                    self.reports.push_back(Report::Closed(id, close));
                }
            }
            _ => return,
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, StreamId, Report>> {
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        while let Some(id) = self.to_open.pop_front() {
            if self.outgoing.contains_key(&id) {
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(NAME), id);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        self.poll_outgoing(cx);
        self.poll_incoming(cx);
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
