//! Peers that speak the request protocol but serve nothing, as most peers do today.
//!
//! Releases of op-node after 1.19 do not speak it at all. Other clients answer every request with
//! the code of a missing block. They do so without reading the request, and end or reset the stream
//! at once. None of this is a fault.

use super::support::*;
use futures::prelude::*;
use libp2p::gossipsub::{self, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::node::Event;
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_core::sync::{AnswerError, ResultCode, SyncEvent, protocol_id};
use opp2p_node::host::{Host, HostEvent, HostEventKind};
use opp2p_wire::from_libp2p;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// The code of a missing block, and the byte that shims write after it.
const NOT_FOUND: [u8; 2] = [1, 0];

/// Number of streams after which a peer that never had a block must have been given up.
const MOST: usize = 12;

/// A shim's handling of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It answers at once and ends the stream.
    Ends,
    /// It answers at once and resets the stream.
    Resets,
    /// It answers at once and leaves the stream open.
    Stays,
    /// It reads the request, answers and ends the stream.
    Reads,
}

/// Serves streams in this manner, and counts them.
#[derive(Clone, Debug)]
struct ShimCodec {
    manner: Manner,
    streams: Arc<AtomicUsize>,
}

impl request_response::Codec for ShimCodec {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.streams.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Reads {
            io.read_exact(&mut [0; 8]).await?;
        }
        Ok(())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&NOT_FOUND).await?;
        io.flush().await?;
        match self.manner {
            Manner::Ends | Manner::Reads => Ok(()),
            // The library drops the stream without ending it, which resets it.
            Manner::Resets => Err(io::ErrorKind::ConnectionReset.into()),
            Manner::Stays => future::pending().await,
        }
    }
}

#[derive(NetworkBehaviour)]
struct Shim {
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
    shim: request_response::Behaviour<ShimCodec>,
}

fn swarm(codec: ShimCodec) -> Swarm<Shim> {
    let protocol = StreamProtocol::try_from_owned(protocol_id(CHAIN_ID)).unwrap();
    let shim = request_response::Behaviour::with_codec(
        codec,
        [(protocol, ProtocolSupport::Inbound)],
        request_response::Config::default(),
    );
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keypair| {
            let config = gossipsub::ConfigBuilder::default()
                .validation_mode(ValidationMode::Anonymous)
                .message_id_fn(|message| MessageId::new(&message.data))
                .build()?;
            let author = MessageAuthenticity::Anonymous;
            let identity = identify::Config::new("x".into(), keypair.public());
            Ok(Shim {
                gossipsub: gossipsub::Behaviour::new(author, config)?,
                identify: identify::Behaviour::new(identity),
                shim,
            })
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// A shim that is connected to the node and has published blocks with a gap between them.
struct Running {
    id: PeerId,
    streams: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a shim that publishes these messages as soon as the node subscribes.
async fn start(host: &Host, manner: Manner, messages: Vec<Vec<u8>>) -> Running {
    let streams = Arc::new(AtomicUsize::new(0));
    let mut swarm = swarm(ShimCodec { manner, streams: Arc::clone(&streams) });
    let id = *swarm.local_peer_id();
    swarm.dial(host.address()).unwrap();
    let topic = super::topic(PayloadVersion::V4);
    let subscribed = async {
        loop {
            if let SwarmEvent::Behaviour(ShimEvent::Gossipsub(gossipsub::Event::Subscribed {
                topic: theirs,
                ..
            })) = swarm.select_next_some().await
                && theirs == topic.hash()
            {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), subscribed).await.expect("the node subscribes");
    for message in messages {
        swarm.behaviour_mut().gossipsub.publish(topic.clone(), message).unwrap();
    }
    let task = tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(ShimEvent::Shim(request_response::Event::Message {
                message: request_response::Message::Request { channel, .. },
                ..
            })) = swarm.select_next_some().await
            {
                swarm.behaviour_mut().shim.send_response(channel, ()).unwrap();
            }
        }
    });
    Running { id, streams, task }
}

/// Returns block 1 and block `last` in their wire format.
fn ends_of_a_gap(seed: u64, last: usize) -> Vec<Vec<u8>> {
    let mut maker = BlockMaker::new(&chain(), seed);
    let blocks: Vec<_> = (0..last).map(|_| maker.next(unix_seconds())).collect();
    [&blocks[0], &blocks[last - 1]].map(|block| snappy::compress(&signed(block))).to_vec()
}

/// Returns the reason why the node's next request brings no block.
async fn answered(events: &mut broadcast::Receiver<HostEvent>) -> AnswerError {
    let answered = async {
        loop {
            if let HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))) =
                events.recv().await.unwrap().kind
            {
                break answered.result.unwrap_err();
            }
        }
    };
    timeout(Duration::from_secs(20), answered).await.expect("the node asks")
}

fn score(host: &Host, peer: &PeerId) -> f64 {
    host.peers(|peers, now| peers.score(now, &from_libp2p(peer).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_answers_unasked_has_no_block_and_keeps_its_score() {
    for (seed, manner) in
        [(60, Manner::Ends), (61, Manner::Resets), (62, Manner::Stays), (63, Manner::Reads)]
    {
        let directory = tempfile::tempdir().unwrap();
        let (host, mut events) =
            Host::start_heard(config(directory.path(), "host", &[])).await.unwrap();
        let shim = start(&host, manner, ends_of_a_gap(seed, 4)).await;
        for _ in 0..2 {
            let not_found = AnswerError::Refused(ResultCode::NotFound.byte());
            assert_eq!(answered(&mut events).await, not_found, "{manner:?}");
        }
        assert!(score(&host, &shim.id) >= 0.0, "{manner:?}");
        assert_eq!(host.status().borrow().peers, 1, "{manner:?}");
        // The shim saw at least those two streams, and few more: it never has anything.
        let streams = shim.streams.load(Ordering::Relaxed);
        assert!((2..=MOST).contains(&streams), "{manner:?}: {streams}");
        host.stop().await;
    }
}
