//! A peer whose streams the test holds: it does whatever the test wants, or nothing.

use crate::{TOPIC, transport};
use futures::future::{Ready, ready};
use futures::{AsyncRead, AsyncWrite, Stream as _};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, Stream, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identity::Keypair};
use opp2p_core::mesh::wire::{Control, ControlWriter, Pool, Rpc};
use opp2p_core::mesh::{Frame, FrameReader, Id, Version};
use opp2p_core::time::Instant;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// What the handler and the test share.
#[derive(Debug, Default)]
struct Shared {
    /// Number of streams to open.
    wanted: usize,
    /// The version with which they are opened.
    version: Option<Version>,
    opened: Vec<Stream>,
    accepted: Vec<Stream>,
    handler: Option<Waker>,
}

#[derive(Clone, Debug)]
pub(crate) struct Speaks(&'static [Version]);

impl UpgradeInfo for Speaks {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|version| StreamProtocol::new(version.protocol())).collect()
    }
}

impl InboundUpgrade<Stream> for Speaks {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    speaks: Speaks,
    shared: Arc<Mutex<Shared>>,
}

impl ConnectionHandler for Behaviour {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Speaks;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Speaks> {
        SubstreamProtocol::new(self.speaks.clone(), ())
    }

    fn on_behaviour_event(&mut self, never: Infallible) {
        match never {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Speaks, ReadyUpgrade<StreamProtocol>>,
    ) {
        let mut shared = self.shared.lock().unwrap();
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => shared.accepted.push(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol, ..
            }) => shared.opened.push(protocol),
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Infallible>> {
        let mut shared = self.shared.lock().unwrap();
        shared.handler = Some(cx.waker().clone());
        let Some(version) = shared.version.filter(|_| shared.wanted > 0) else {
            return Poll::Pending;
        };
        shared.wanted -= 1;
        let protocol = StreamProtocol::new(version.protocol());
        let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), ());
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Self;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.clone())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.clone())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        never: THandlerOutEvent<Self>,
    ) {
        match never {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// What we said to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Subscribe(bool),
    Graft,
    Prune(u64),
    IHave(Vec<Id>),
    IWant(Vec<Id>),
    IDontWant(Vec<Id>),
    /// Contents.
    Message(Vec<u8>),
}

pub(crate) struct Raw {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    shared: Arc<Mutex<Shared>>,
    /// The stream on which the peer writes, and what it has not written yet.
    pub(crate) writer: Option<Stream>,
    pub(crate) outgoing: Vec<u8>,
    /// Number of its streams that we closed or reset.
    pub(crate) resets: usize,
    /// Number of its streams that it has replaced.
    pub(crate) replaced: usize,
    /// The stream on which we write.
    pub(crate) reader: Option<Stream>,
    pub(crate) reads: bool,
    frames: FrameReader,
    pool: Pool,
    pub(crate) said: Vec<Said>,
}

impl Raw {
    /// A peer that speaks these versions, and opens its stream with the first one.
    pub(crate) fn new(speaks: &'static [Version]) -> Self {
        let key = Keypair::generate_secp256k1();
        let shared = Arc::<Mutex<Shared>>::default();
        let behaviour = Behaviour { speaks: Speaks(speaks), shared: shared.clone() };
        let mut swarm = transport::swarm(&key, behaviour);
        let address = transport::listen(&mut swarm);
        let mut raw = Self {
            swarm,
            peer: key.public().to_peer_id(),
            address,
            shared,
            writer: None,
            outgoing: Vec::new(),
            resets: 0,
            replaced: 0,
            reader: None,
            reads: true,
            frames: FrameReader::default(),
            pool: Pool::default(),
            said: Vec::new(),
        };
        if let Some(version) = speaks.first() {
            raw.opens(*version);
        }
        raw.open();
        raw
    }

    /// Has it open its streams with this version.
    pub(crate) fn opens(&mut self, version: Version) {
        self.shared.lock().unwrap().version = Some(version);
    }

    /// Opens a stream to write on, which replaces an earlier one.
    pub(crate) fn open(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        shared.wanted += 1;
        if let Some(handler) = shared.handler.take() {
            handler.wake();
        }
    }

    pub(crate) fn say(&mut self, write: impl FnOnce(&mut ControlWriter)) {
        let mut writer = ControlWriter::default();
        write(&mut writer);
        self.outgoing.extend(writer.finish().unwrap().to_vec());
    }

    pub(crate) fn subscribe(&mut self) {
        self.say(|writer| writer.subscription(TOPIC, true));
    }

    pub(crate) fn send(&mut self, contents: &[u8]) {
        let frame = Frame::message(TOPIC, crate::compressed(contents).into());
        self.outgoing.extend(frame.to_vec());
    }

    pub(crate) fn got(&self, contents: &[u8]) -> bool {
        self.said.iter().any(|said| matches!(said, Said::Message(got) if got == contents))
    }

    pub(crate) fn has_written(&self) -> bool {
        self.writer.is_some() && self.outgoing.is_empty()
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = Pin::new(&mut self.swarm).poll_next(cx) {}
        let mut shared = self.shared.lock().unwrap();
        if let Some(stream) = shared.opened.pop() {
            self.replaced += usize::from(self.writer.replace(stream).is_some());
        }
        if let Some(stream) = shared.accepted.pop() {
            self.reader = Some(stream);
            self.frames.close(&mut self.pool);
        }
        drop(shared);
        self.write(cx);
        if self.reads {
            self.read(cx);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        let Some(writer) = &mut self.writer else { return };
        let mut is_over = Pin::new(&mut *writer).poll_read(cx, &mut [0]).is_ready();
        while !is_over && !self.outgoing.is_empty() {
            match Pin::new(&mut *writer).poll_write(cx, &self.outgoing) {
                Poll::Ready(Ok(length)) => drop(self.outgoing.drain(..length)),
                Poll::Ready(Err(_)) => is_over = true,
                Poll::Pending => break,
            }
        }
        is_over |= matches!(Pin::new(&mut *writer).poll_flush(cx), Poll::Ready(Err(_)));
        if is_over {
            self.writer = None;
            self.outgoing.clear();
            self.resets += 1;
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let mut buffer = vec![0; 64 << 10];
        while let Some(reader) = &mut self.reader {
            match Pin::new(reader).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(0) | Err(_)) => self.reader = None,
                Poll::Ready(Ok(length)) => self.hear(&buffer[..length]),
                Poll::Pending => return,
            }
        }
    }

    fn hear(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let (taken, frame) =
                self.frames.read(Instant::default(), input, &mut self.pool).unwrap();
            input = &input[taken..];
            if let Some(frame) = frame {
                self.said.extend(said(&Rpc::parse(&frame).unwrap()));
            }
        }
    }
}

fn said(rpc: &Rpc<'_>) -> Vec<Said> {
    let ids = |ids: opp2p_core::mesh::wire::Ids<'_>| ids.filter_map(Id::new).collect::<Vec<_>>();
    let mut said: Vec<_> =
        rpc.subscriptions().map(|subscription| Said::Subscribe(subscription.subscribes)).collect();
    said.extend(rpc.messages().map(|message| {
        let contents = opp2p_core::gossip::Unpacked::new(message.data);
        Said::Message(contents.into_contents().unwrap().to_vec())
    }));
    said.extend(rpc.control().map(|control| match control {
        Control::Graft(_) => Said::Graft,
        Control::Prune { backoff, .. } => Said::Prune(backoff),
        Control::IHave { ids: list, .. } => Said::IHave(ids(list)),
        Control::IWant(list) => Said::IWant(ids(list)),
        Control::IDontWant(list) => Said::IDontWant(ids(list)),
    }));
    said
}
