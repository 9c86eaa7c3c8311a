//! A peer that follows no rules: libp2p's transport and nothing above it, so that a test opens
//! streams and writes bytes itself.

use futures::prelude::*;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, noise, tcp, websocket, yamux};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Block topic of the current fork.
pub(crate) const TOPIC: &str = "/optimism/901/3/blocks";
/// The gossip protocol.
const MESHSUB: &str = "/meshsub/1.1.0";
const IDENTIFY: &str = "/ipfs/id/1.0.0";
const HEADER: &str = "/multistream/1.0.0";

/// Behaviour of a peer on the streams that the attacked node opens.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Agrees to gossip and reads everything.
    Listens,
    /// Agrees to gossip and reads nothing.
    Deaf,
    /// Answers identify with these bytes, and otherwise behaves like `Listens`.
    Identifies(Arc<[u8]>),
}

/// A connection to the attacked node. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Peer {
    streams: mpsc::UnboundedSender<oneshot::Sender<SubstreamBox>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn transport(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    websocket::Config::new(tcp())
        .or_transport(tcp())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed()
}

impl Peer {
    /// Connects with a new key.
    pub(crate) async fn connect(address: &Multiaddr, manner: Manner) -> io::Result<Self> {
        Self::connect_as(&Keypair::generate_secp256k1(), address, manner).await
    }

    pub(crate) async fn connect_as(
        key: &Keypair,
        address: &Multiaddr,
        manner: Manner,
    ) -> io::Result<Self> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport(key).dial(address.clone(), options).map_err(io::Error::other)?;
        let made = timeout(Duration::from_secs(10), dial).await?;
        let (_, mut muxer) = made.map_err(io::Error::other)?;
        let (streams, mut wanted) = mpsc::unbounded_channel::<oneshot::Sender<SubstreamBox>>();
        let task = tokio::spawn(async move {
            let mut waiting = VecDeque::new();
            future::poll_fn(|cx| {
                while let Poll::Ready(next) = wanted.poll_recv(cx) {
                    match next {
                        Some(next) => waiting.push_back(next),
                        None => return Poll::Ready(()),
                    }
                }
                while !waiting.is_empty() {
                    match muxer.poll_outbound_unpin(cx) {
                        // The caller may have given up.
                        Poll::Ready(Ok(stream)) => drop(waiting.pop_front().unwrap().send(stream)),
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => break,
                    }
                }
                while let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx) {
                    match stream {
                        Ok(stream) => drop(tokio::spawn(answer(stream, manner.clone()))),
                        Err(_) => return Poll::Ready(()),
                    }
                }
                while let Poll::Ready(event) = muxer.poll_unpin(cx) {
                    if event.is_err() {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            })
            .await;
        });
        Ok(Self { streams, task })
    }

    /// Returns whether the connection has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }

    /// Opens a stream without negotiating a protocol.
    pub(crate) async fn stream(&self) -> io::Result<SubstreamBox> {
        let (ready, stream) = oneshot::channel();
        self.streams.send(ready).map_err(|_| io::ErrorKind::NotConnected)?;
        timeout(Duration::from_secs(10), stream)
            .await?
            .map_err(|_| io::ErrorKind::NotConnected.into())
    }

    /// Opens a stream and negotiates this protocol.
    pub(crate) async fn speak(&self, protocol: &str) -> io::Result<SubstreamBox> {
        let mut stream = self.stream().await?;
        let agree = async {
            stream.write_all(&[line(HEADER), line(protocol)].concat()).await?;
            stream.flush().await?;
            read_line(&mut stream).await?;
            let answer = read_line(&mut stream).await?;
            if answer == protocol { Ok(()) } else { Err(io::Error::other(answer)) }
        };
        timeout(Duration::from_secs(10), agree).await??;
        Ok(stream)
    }

    /// Opens a gossip stream that is subscribed to the block topic.
    pub(crate) async fn gossip(&self) -> io::Result<SubstreamBox> {
        let mut stream = self.speak(MESHSUB).await?;
        send(&mut stream, &subscription(true, TOPIC)).await?;
        Ok(stream)
    }
}

/// Answers on a stream that the other side opened.
async fn answer(mut stream: SubstreamBox, manner: Manner) -> io::Result<()> {
    stream.write_all(&line(HEADER)).await?;
    stream.flush().await?;
    read_line(&mut stream).await?;
    loop {
        let protocol = read_line(&mut stream).await?;
        let agrees = protocol.starts_with("/meshsub/")
            || (protocol == IDENTIFY && matches!(manner, Manner::Identifies(_)));
        let word = if agrees { &protocol } else { "na" };
        stream.write_all(&line(word)).await?;
        stream.flush().await?;
        if protocol == IDENTIFY
            && let Manner::Identifies(bytes) = &manner
        {
            stream.write_all(bytes).await?;
            return stream.close().await;
        }
        if agrees {
            break;
        }
    }
    if matches!(manner, Manner::Deaf) {
        return future::pending().await;
    }
    futures::io::copy(stream, &mut futures::io::sink()).await.map(drop)
}

/// Encodes a line of the negotiation.
pub(crate) fn line(text: &str) -> Vec<u8> {
    framed(format!("{text}\n").as_bytes())
}

async fn read_line(stream: &mut SubstreamBox) -> io::Result<String> {
    let mut length = 0_usize;
    for shift in [0, 7, 14] {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Prefixes a body with its length.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&varint(body.len() as u64)[..], body].concat()
}

/// Encodes a length-delimited protobuf field.
pub(crate) fn field(number: u64, contents: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), framed(contents)].concat()
}

/// Encodes a gossip RPC that subscribes to a topic, or unsubscribes from it.
pub(crate) fn subscription(subscribe: bool, topic: &str) -> Vec<u8> {
    field(1, &[&[1 << 3, u8::from(subscribe)], &field(2, topic.as_bytes())[..]].concat())
}

/// Encodes an RPC with one message.
pub(crate) fn publication(data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, TOPIC.as_bytes())].concat())
}

/// Encodes an RPC with control messages. `kind` is the number of the field: 1 IHAVE, 2 IWANT, 3
/// GRAFT, 4 PRUNE, 5 IDONTWANT.
pub(crate) fn control(kind: u64, ids: &[Vec<u8>]) -> Vec<u8> {
    let (topic, ids_field) = match kind {
        1 => (field(1, TOPIC.as_bytes()), 2),
        2 | 5 => (Vec::new(), 1),
        _ => (field(1, TOPIC.as_bytes()), 0),
    };
    let ids: Vec<u8> = ids.iter().flat_map(|id| field(ids_field, id)).collect();
    field(3, &field(kind, &[topic, ids].concat()))
}

/// Sends an RPC.
pub(crate) async fn send(stream: &mut SubstreamBox, rpc: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(rpc)).await?;
    stream.flush().await
}
