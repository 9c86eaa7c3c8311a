//! A peer that is not a full node: it gossips and checks nothing, so that
//! hundreds of them fit on the machine of the measured node.

use crate::gossiper::{Gossiper, GossiperEvent, topic};
use crate::world::PATIENCE;
use futures::StreamExt;
use libp2p::core::transport::Transport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, gossipsub, noise, tcp, websocket, yamux};
use opp2p_core::gossip::{MessageId, Unpacked, block_topic};
use opp2p_core::payload::PayloadVersion;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A peer. Dropping it stops it.
pub(crate) struct Peer {
    publish: mpsc::UnboundedSender<(Vec<u8>, oneshot::Sender<Instant>)>,
    heard: mpsc::UnboundedReceiver<(MessageId, Instant)>,
}

impl Peer {
    /// Starts a peer, and waits until it is connected to the node and in its mesh.
    pub(crate) async fn start(chain_id: u64, node: &Multiaddr) -> Self {
        let mut swarm = swarm(chain_id);
        swarm.dial(node.clone()).unwrap();
        let topic = topic(chain_id, PayloadVersion::V4);
        let in_mesh = async {
            let is_in_mesh = |swarm: &Swarm<Gossiper>| {
                swarm.behaviour().gossipsub.mesh_peers(&topic).next().is_some()
            };
            while !is_in_mesh(&swarm) {
                if let SwarmEvent::ConnectionClosed { cause, .. } = swarm.select_next_some().await {
                    panic!("turned out: {cause:?}");
                }
            }
        };
        timeout(PATIENCE, in_mesh).await.expect("the node takes a peer in");
        let (publish, wanted) = mpsc::unbounded_channel();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(drive(swarm, chain_id, wanted, tell));
        Self { publish, heard }
    }

    /// Publishes a message, given uncompressed. The receiver gets the time at which publishing
    /// started.
    pub(crate) fn publish(&self, contents: Vec<u8>) -> oneshot::Receiver<Instant> {
        let (answer, sent) = oneshot::channel();
        self.publish.send((contents, answer)).expect("the peer lives");
        sent
    }

    /// Returns the next message that arrives, and its time.
    pub(crate) async fn heard(&mut self) -> (MessageId, Instant) {
        timeout(PATIENCE, self.heard.recv())
            .await
            .expect("a message comes in time")
            .expect("the peer lives")
    }

    /// Drops all messages received so far.
    pub(crate) fn forget(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }
}

/// Returns the id of an uncompressed message of the newest version.
pub(crate) fn message_id(chain_id: u64, contents: &[u8]) -> MessageId {
    Unpacked::from_contents(contents).message_id(&block_topic(chain_id, PayloadVersion::V4))
}

async fn drive(
    mut swarm: Swarm<Gossiper>,
    chain_id: u64,
    mut wanted: mpsc::UnboundedReceiver<(Vec<u8>, oneshot::Sender<Instant>)>,
    tell: mpsc::UnboundedSender<(MessageId, Instant)>,
) {
    let mut heartbeat = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(GossiperEvent::Gossipsub(event)) => {
                    if let gossipsub::Event::Message { message_id, .. } = event
                        && let Ok(id) = MessageId::try_from(message_id.0.as_slice())
                        && tell.send((id, Instant::now())).is_err()
                    {
                        return;
                    }
                }
                SwarmEvent::ConnectionClosed { .. } => return,
                _ => {}
            },
            wanted = wanted.recv() => {
                let Some((contents, sent)) = wanted else { return };
                let began = Instant::now();
                swarm.behaviour_mut().publish(chain_id, PayloadVersion::V4, &contents).unwrap();
                let _ = sent.send(began);
            }
            // Without this, the library's heartbeat would stop on a quiet peer.
            _ = heartbeat.tick() => {}
        }
    }
}

fn swarm(chain_id: u64) -> Swarm<Gossiper> {
    let key = Keypair::generate_secp256k1();
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = websocket::Config::new(tcp())
        .or_transport(tcp())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = Gossiper::new(&key, chain_id, "measure").unwrap();
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(3600));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}
