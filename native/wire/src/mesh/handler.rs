//! Handler of one connection: opens and accepts streams, reads one and writes one.

use super::link::{Link, Memory, Place, Wishes};
use super::reader::{Read, Reader};
use super::writer::{Writer, Wrote};
use alloy_primitives::Bytes;
use futures::future::{Ready, ready};
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
    ProtocolsChange,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use opp2p_core::mesh::Version;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The versions that we speak, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Spoken;

/// A version's name in the negotiation of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Name(Version);

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.0.protocol()
    }
}

impl UpgradeInfo for Spoken {
    type Info = Name;
    type InfoIter = [Name; Version::SPOKEN.len()];

    fn protocol_info(&self) -> Self::InfoIter {
        Version::SPOKEN.map(Name)
    }
}

impl InboundUpgrade<Stream> for Spoken {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: Name) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Spoken {
    type Output = (Stream, Version);
    type Error = Infallible;
    type Future = Ready<Result<(Stream, Version), Infallible>>;

    fn upgrade_outbound(self, stream: Stream, Name(version): Name) -> Self::Future {
        ready(Ok((stream, version)))
    }
}

/// A report of a handler to the behaviour. The numbers are those of the writer or of the reader.
#[derive(Debug)]
pub struct Report(pub(super) Told);

#[derive(Debug)]
pub(super) enum Told {
    /// The peer supports one of our versions.
    Supports,
    WriterOpened(u64, Version),
    WriterClosed {
        writer: u64,
        is_refused: bool,
    },
    Written(u64, usize),
    ReaderOpened(u64),
    ReaderClosed(u64),
    Frame(u64, Bytes, Place),
    Malformed(u64),
}

#[derive(Debug)]
enum Writing {
    Closed,
    /// It is being negotiated.
    Opening(u64),
    Open(Writer<Stream>),
}

impl Writing {
    const fn number(&self) -> Option<u64> {
        match self {
            Self::Closed => None,
            Self::Opening(number) => Some(*number),
            Self::Open(writer) => Some(writer.number),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Handler {
    link: Arc<Link>,
    memory: Arc<Memory>,
    /// The newest request for a writer that was handled.
    wished: Option<u64>,
    writing: Writing,
    reader: Option<Reader<Stream>>,
    /// Reports to send: only a few, because no event is handled before they are taken.
    told: VecDeque<Told>,
    /// Whether the writer comes before the reader.
    writes_first: bool,
}

type Event = ConnectionHandlerEvent<Spoken, u64, Report>;

impl Handler {
    pub(super) const fn new(link: Arc<Link>, memory: Arc<Memory>) -> Self {
        Self {
            link,
            memory,
            wished: None,
            writing: Writing::Closed,
            reader: None,
            told: VecDeque::new(),
            writes_first: false,
        }
    }

    /// Carries out the behaviour's requests. Returns a stream to open.
    fn obey(&mut self, wishes: Wishes) -> Option<Event> {
        self.reader.take_if(|reader| reader.number <= wishes.reset);
        if wishes.writer == self.wished {
            return None;
        }
        self.wished = wishes.writer;
        self.writing = Writing::Closed;
        let number = wishes.writer?;
        self.writing = Writing::Opening(number);
        let protocol = SubstreamProtocol::new(Spoken, number);
        Some(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn opened(&mut self, stream: Stream, version: Version, number: u64) {
        // Dropping a stream that is no longer wanted resets it.
        if self.writing.number() == Some(number) {
            self.writing = Writing::Open(Writer::new(stream, number));
            self.told.push_back(Told::WriterOpened(number, version));
        }
    }

    fn failed(&mut self, number: u64, error: &StreamUpgradeError<Infallible>) {
        if self.writing.number() == Some(number) {
            self.writing = Writing::Closed;
            let is_refused = matches!(error, StreamUpgradeError::NegotiationFailed);
            self.told.push_back(Told::WriterClosed { writer: number, is_refused });
        }
    }

    /// The newest stream counts. Dropping an older one resets it.
    fn accept(&mut self, stream: Stream) {
        let reader = Reader::new(stream, self.memory.clone());
        self.told.push_back(Told::ReaderOpened(reader.number));
        self.reader = Some(reader);
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let Writing::Open(writer) = &mut self.writing else { return Poll::Pending };
        let number = writer.number;
        writer.poll(cx, &self.link).map(|wrote| match wrote {
            Wrote::Bytes(bytes) => Told::Written(number, bytes),
            Wrote::End => {
                self.writing = Writing::Closed;
                Told::WriterClosed { writer: number, is_refused: false }
            }
        })
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let Some(reader) = &mut self.reader else { return Poll::Pending };
        let number = reader.number;
        reader.poll(cx, &self.link).map(|read| match read {
            Read::Frame(frame) => {
                let place = Place::new(&self.link, &self.memory, frame.len());
                Told::Frame(number, frame, place)
            }
            Read::End => {
                self.reader = None;
                Told::ReaderClosed(number)
            }
            Read::Malformed => {
                self.reader = None;
                Told::Malformed(number)
            }
        })
    }

    /// Writes and reads in turn, so that neither keeps the other waiting.
    fn work(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        self.writes_first = !self.writes_first;
        for writes in [self.writes_first, !self.writes_first] {
            let told = if writes { self.write(cx) } else { self.read(cx) };
            if told.is_ready() {
                return told;
            }
        }
        Poll::Pending
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Report;
    type InboundProtocol = Spoken;
    type OutboundProtocol = Spoken;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Spoken> {
        SubstreamProtocol::new(Spoken, ())
    }

    fn on_behaviour_event(&mut self, never: Infallible) {
        match never {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Spoken, Spoken, (), u64>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.accept(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, version),
                info,
            }) => self.opened(stream, version, info),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.failed(info, &error);
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(mut added)) => {
                let is_spoken = |name: &str| Version::SPOKEN.iter().any(|v| v.protocol() == name);
                if added.any(|protocol| is_spoken(protocol.as_ref())) {
                    self.told.push_back(Told::Supports);
                }
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let wishes = self.link.wishes(cx.waker());
        if let Some(request) = self.obey(wishes) {
            return Poll::Ready(request);
        }
        let told = match self.told.pop_front() {
            Some(told) => Poll::Ready(told),
            None => self.work(cx),
        };
        told.map(|told| ConnectionHandlerEvent::NotifyBehaviour(Report(told)))
    }
}
