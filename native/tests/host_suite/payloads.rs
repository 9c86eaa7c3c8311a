//! The payload server's handling of strangers' streams.

use super::support::*;
use futures::prelude::*;
use libp2p::request_response::{self, OutboundFailure, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::sync::{decode_response, protocol_id, spec_protocol_id};
use opp2p_node::host::Host;
use std::io;
use std::time::{Duration, Instant};

/// A request that a client sends.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// These bytes, then the end of the stream.
    Bytes(&'static [u8]),
    /// A number, then the end of the stream.
    Number(u64),
    /// These bytes, without the end of the stream.
    Open(&'static [u8]),
    /// A number; the answer is never read.
    Unread(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Client {
    reads_not: bool,
}

impl request_response::Codec for Client {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        if self.reads_not {
            future::pending::<()>().await;
        }
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Request::Bytes(bytes) => io.write_all(bytes).await,
            Request::Number(number) => io.write_all(&number.to_le_bytes()).await,
            Request::Open(bytes) => {
                io.write_all(bytes).await?;
                io.flush().await?;
                future::pending().await
            }
            Request::Unread(number) => {
                self.reads_not = true;
                io.write_all(&number.to_le_bytes()).await
            }
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }
}

type Stranger = Swarm<request_response::Behaviour<Client>>;

async fn stranger(host: &Host, protocol: String) -> Stranger {
    let protocol = StreamProtocol::try_from_owned(protocol).unwrap();
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(60))
        .with_max_concurrent_streams(1000);
    let behaviour = request_response::Behaviour::with_codec(
        Client::default(),
        [(protocol, ProtocolSupport::Outbound)],
        config,
    );
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.dial(host.address()).unwrap();
    while !swarm.is_connected(&host.peer_id()) {
        swarm.select_next_some().await;
    }
    swarm
}

/// Returns the answer to one request.
async fn ask(
    swarm: &mut Stranger,
    host: &Host,
    request: Request,
) -> Result<Vec<u8>, OutboundFailure> {
    let id = swarm.behaviour_mut().send_request(&host.peer_id(), request);
    let answer = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Response { request_id, response },
                    ..
                }) if request_id == id => return Ok(response),
                SwarmEvent::Behaviour(request_response::Event::OutboundFailure {
                    request_id,
                    error,
                    ..
                }) if request_id == id => {
                    return Err(error);
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), answer).await.unwrap()
}

/// Starts a sequencer with some blocks, the last of one megabyte, and a follower that has them too.
async fn served(directory: &std::path::Path) -> (Host, Host, Vec<alloy_primitives::B256>) {
    let first = sequencer(directory).await;
    let second = follower(directory, "second", &[&first]).await;
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 21);
    let mut published = Vec::new();
    for number in 1..=5_u8 {
        let mut envelope = maker.next(unix_seconds());
        if number == 5 {
            let mut state = 1_u64;
            let noise = (0..1 << 20).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            });
            envelope.payload.transactions.push(noise.collect::<Vec<u8>>().into());
            envelope.payload.seal(envelope.parent_beacon_block_root).unwrap();
        }
        published.push(first.publish(envelope).await.unwrap().unwrap());
    }
    until(&first, |status| status.stored.is_some_and(|stored| stored.number == 5)).await;
    (first, second, published)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocol_names_are_served_with_every_code() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, published) = served(directory.path()).await;
    for protocol in [protocol_id(CHAIN_ID), spec_protocol_id(CHAIN_ID)] {
        let mut swarm = stranger(&first, protocol).await;
        let answer = ask(&mut swarm, &first, Request::Number(3)).await.unwrap();
        assert_eq!(answer[..5], [0, 1, 0, 0, 0]);
        let (_, body) = decode_response(&answer, 10 << 20).unwrap();
        let stored = first.stored_block(3).unwrap().unwrap();
        assert_eq!((&body[..], stored.hash()), (&stored.body()[..], published[2]));
        assert_eq!(ask(&mut swarm, &first, Request::Number(6)).await.unwrap(), [1]);
        assert_eq!(ask(&mut swarm, &first, Request::Number(u64::MAX)).await.unwrap(), [2]);
    }
    let mut other = stranger(&first, protocol_id(10)).await;
    let refused = ask(&mut other, &first, Request::Number(3)).await;
    assert!(matches!(refused, Err(OutboundFailure::UnsupportedProtocols)), "{refused:?}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_short_are_cut_off_and_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, _) = served(directory.path()).await;
    let mut swarm = stranger(&first, protocol_id(CHAIN_ID)).await;
    for bytes in [&b""[..], b"1234567"] {
        let start = Instant::now();
        let answer = ask(&mut swarm, &first, Request::Bytes(bytes)).await;
        assert!(answer.as_ref().map_or(true, Vec::is_empty), "{answer:?} to {} bytes", bytes.len());
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "{} bytes are judged at once",
            bytes.len()
        );
    }
    // Bytes after the number are ignored.
    assert_eq!(ask(&mut swarm, &first, Request::Bytes(&[0; 1000])).await.unwrap(), [1]);
    assert_eq!(ask(&mut swarm, &first, Request::Bytes(b"123456789")).await.unwrap(), [2]);
    assert_eq!(ask(&mut swarm, &first, Request::Number(1)).await.unwrap()[0], 0);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_left_open_or_unread_are_cut_off_and_delay_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, _) = served(directory.path()).await;
    let mut rude = stranger(&first, protocol_id(CHAIN_ID)).await;
    let host = first.peer_id();
    let start = Instant::now();
    for _ in 0..30 {
        rude.behaviour_mut().send_request(&host, Request::Open(b"1234"));
    }
    // A megabyte that is never read.
    for _ in 0..3 {
        rude.behaviour_mut().send_request(&host, Request::Unread(5));
    }
    let rudeness = tokio::spawn(async move {
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end {
            let _ = tokio::time::timeout(Duration::from_millis(100), rude.select_next_some()).await;
        }
        rude
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut polite = stranger(&first, protocol_id(CHAIN_ID)).await;
    assert_eq!(ask(&mut polite, &first, Request::Number(2)).await.unwrap()[0], 0);
    assert!(start.elapsed() < Duration::from_secs(5), "somebody else's streams delay nobody");
    let mut rude = rudeness.await.unwrap();
    // All were cut off, so there is room again.
    assert_eq!(ask(&mut rude, &first, Request::Number(2)).await.unwrap()[0], 0);
    first.stop().await;
    second.stop().await;
}
