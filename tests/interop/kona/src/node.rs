//! One node: kona's gossip and discovery, with the same loop around them as in kona's node.

use crate::blocks::{Encoded, bytes, rollup, signed};
use crate::write;
use alloy_primitives::Address;
use discv5::enr::CombinedKey;
use discv5::{ConfigBuilder, Enr, ListenConfig};
use k256::ecdsa::SigningKey;
use kona_p2p::{
    ConnectionGater, Discv5Builder, Discv5Handler, Event, GossipDriver, GossipDriverBuilder,
    LocalNode,
};
use kona_peers::PeerScoreLevel;
use libp2p::identity::{Keypair, secp256k1};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, gossipsub};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// Maximum time to establish a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a node.
#[derive(Deserialize)]
pub(crate) struct Start {
    /// The chain's rollup.json.
    rollup: Value,
    /// Signer whose blocks are accepted.
    signer: Address,
    /// Key that signs the node's blocks, if it publishes: 32 bytes in hexadecimal digits.
    key: Option<String>,
    /// Whether peers are scored, as in kona's default.
    scores: bool,
    /// Whether peers are also scored by block topic, which is off in kona's default.
    #[serde(default)]
    topic_scores: bool,
    /// Maximum number of peers in a mesh, in place of kona's default.
    mesh: Option<usize>,
    /// Discovery settings; `None` for no discovery.
    discovery: Option<Discovery>,
}

/// Discovery settings of a node.
#[derive(Deserialize)]
struct Discovery {
    /// Records of the bootnodes.
    bootnodes: Vec<String>,
    /// Folder of the table of known nodes.
    store: PathBuf,
}

/// An address that ends with the peer's id.
#[derive(Deserialize)]
pub(crate) struct ToAddress {
    address: Multiaddr,
}

/// A peer.
#[derive(Deserialize)]
pub(crate) struct OfPeer {
    peer: String,
}

impl OfPeer {
    fn id(&self) -> Result<PeerId, String> {
        self.peer.parse().map_err(|error| format!("this is not a peer: {error}"))
    }
}

/// A block to publish.
#[derive(Deserialize)]
pub(crate) struct Publish {
    block: Encoded,
}

type Gossip = GossipDriver<ConnectionGater>;
type Task = Box<dyn FnOnce(&mut Gossip) + Send>;

/// A running node. It ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Node {
    tasks: mpsc::UnboundedSender<Task>,
    key: Option<SigningKey>,
    discovery: Option<Discv5Handler>,
}

impl Node {
    /// Starts a node on loopback. Returns the node and its description.
    pub(crate) async fn start(number: u64, start: Start) -> Result<(Self, Value), String> {
        let rollup = rollup(&start.rollup)?;
        let chain_id = rollup.l2_chain_id.id();
        let key = start.key.as_deref().map(bytes).transpose()?;
        let key = key
            .map(|key| SigningKey::from_slice(&key))
            .transpose()
            .map_err(|error| error.to_string())?;

        let identity = secp256k1::Keypair::generate();
        let secret = identity.secret().to_bytes();
        let listen: Multiaddr =
            [Protocol::Ip4(Ipv4Addr::LOCALHOST), Protocol::Tcp(0)].into_iter().collect();
        let mut config = kona_p2p::default_config_builder();
        if let Some(size) = start.mesh {
            config
                .mesh_n(size)
                .mesh_n_low(size)
                .mesh_n_high(size)
                .mesh_outbound_min(0)
                .retain_scores(size);
        }
        let scoring = if start.scores { PeerScoreLevel::Light } else { PeerScoreLevel::Off };
        let (mut gossip, signer) =
            GossipDriverBuilder::new(rollup, start.signer, listen, Keypair::from(identity))
                .with_config(config.build().map_err(|error| error.to_string())?)
                .with_peer_scoring(scoring)
                .with_topic_scoring(start.topic_scores)
                .build()
                .map_err(|error| error.to_string())?;
        gossip.start().await.map_err(|error| format!("it can't listen: {error}"))?;
        let id = *gossip.local_peer_id();
        let addresses: Vec<Multiaddr> = gossip
            .swarm
            .listeners()
            .map(|address| address.clone().with(Protocol::P2p(id)))
            .collect();

        let (discovery, records) = match start.discovery {
            Some(discovery) => {
                let (handler, records) = discover(chain_id, &secret, &addresses, discovery)?;
                (Some(handler), records)
            }
            // A channel on which no message is sent.
            None => (None, mpsc::channel(1).1),
        };
        let enr = match &discovery {
            Some(discovery) => discovery.local_enr().await.ok().map(|enr| enr.to_base64()),
            None => None,
        };
        let told = json!({
            "node": number, "peer_id": id.to_string(), "addresses": addresses, "enr": enr,
        });
        let (tasks, todo) = mpsc::unbounded_channel();
        tokio::spawn(run(number, gossip, todo, records, signer));
        Ok((Self { tasks, key, discovery }, told))
    }

    /// Runs a closure in the node's own loop.
    async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Gossip) -> R + Send + 'static,
    ) -> Result<R, String> {
        let (result, done) = oneshot::channel();
        let task: Task = Box::new(move |gossip| {
            let _ = result.send(act(gossip));
        });
        self.tasks.send(task).map_err(|_| "the node has ended")?;
        done.await.map_err(|_| "the node has ended".into())
    }

    /// Dials as kona's RPC does, and waits until the connection is established.
    pub(crate) async fn connect(&self, to: ToAddress) -> Result<Value, String> {
        let peer =
            ConnectionGater::peer_id_from_addr(&to.address).ok_or("the address names no peer")?;
        self.with(move |gossip| gossip.dial_multiaddr(to.address)).await?;
        let stands = async {
            while !self.with(move |gossip| gossip.swarm.is_connected(&peer)).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(Value::Bool(true))
        };
        tokio::time::timeout(PATIENCE, stands)
            .await
            .unwrap_or_else(|_| Err("it does not connect".into()))
    }

    /// Closes the connections with a peer.
    pub(crate) async fn disconnect(&self, of: OfPeer) -> Result<Value, String> {
        let peer = of.id()?;
        Ok(self.with(move |gossip| gossip.swarm.disconnect_peer_id(peer).is_ok()).await?.into())
    }

    /// Returns whether there is a connection with the peer.
    pub(crate) async fn connected(&self, of: OfPeer) -> Result<Value, String> {
        let peer = of.id()?;
        Ok(self.with(move |gossip| gossip.swarm.is_connected(&peer)).await?.into())
    }

    /// Signs a block and publishes it on the topic that kona chooses.
    pub(crate) async fn publish(&self, params: Publish) -> Result<Value, String> {
        let key = self.key.clone().ok_or("the node has no key to sign with")?;
        let block = params.block.decoded()?;
        let (timestamp, hash) =
            (block.execution_payload.timestamp(), block.execution_payload.block_hash());
        let published = self.with(move |gossip| {
            let chain_id = gossip.handler.rollup_config.l2_chain_id.id();
            let envelope = signed(block, &key, chain_id)?;
            let topic = gossip.handler.topic(timestamp);
            let id = gossip
                .publish(|handler| handler.topic(timestamp), Some(envelope))
                .map_err(|error| error.to_string())?;
            Ok::<_, String>((topic.to_string(), id.map(|id| hex::encode(id.0))))
        });
        let (topic, id) = published.await??;
        Ok(json!({ "hash": hash, "topic": topic, "id": id }))
    }

    /// Returns the node's knowledge about connected peers, by peer.
    pub(crate) async fn peers(&self) -> Result<Value, String> {
        let (mut peers, pings) = self.with(|gossip| (peers(gossip), gossip.ping.clone())).await?;
        for (peer, time) in pings.lock().await.iter() {
            if let Some(told) = peers.get_mut(&peer.to_string()) {
                told["ping"] = json!(time.as_secs_f64());
            }
        }
        Ok(peers.into())
    }

    /// Returns the peers in each topic's mesh.
    pub(crate) async fn meshed(&self) -> Result<Value, String> {
        let meshed = |gossip: &mut Gossip| {
            let gossipsub = &gossip.swarm.behaviour().gossipsub;
            let of = |topic: &gossipsub::TopicHash| {
                let peers: Vec<String> =
                    gossipsub.mesh_peers(topic).map(ToString::to_string).collect();
                (topic.to_string(), json!(peers))
            };
            gossipsub.topics().map(of).collect::<Map<String, Value>>()
        };
        Ok(self.with(meshed).await?.into())
    }

    /// Returns the records in the node's discovery table.
    pub(crate) async fn table(&self) -> Result<Value, String> {
        let discovery = self.discovery.as_ref().ok_or("the node has no discovery")?;
        let records = discovery.table_enrs().await.map_err(|_| "discovery has ended")?;
        Ok(records.iter().map(Enr::to_base64).collect::<Vec<_>>().into())
    }
}

/// Starts discovery on a free port. Returns its handle, and the channel of nodes that it finds.
fn discover(
    chain_id: u64,
    secret: &[u8],
    addresses: &[Multiaddr],
    Discovery { bootnodes, store }: Discovery,
) -> Result<(Discv5Handler, mpsc::Receiver<Enr>), String> {
    let tcp = addresses.iter().flatten().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    // Kona puts the configured port into the record, so the system can't choose the port.
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let udp = udp.map_err(|error| error.to_string())?.port();
    let CombinedKey::Secp256k1(key) = CombinedKey::secp256k1_from_bytes(&mut secret.to_vec())
        .map_err(|error| error.to_string())?
    else {
        return Err("this is not a key of discovery's".into());
    };
    let bootnodes =
        bootnodes.iter().map(|record| record.parse()).collect::<Result<Vec<Enr>, _>>()?;
    let local =
        LocalNode::new(key, Ipv4Addr::LOCALHOST.into(), tcp.ok_or("it does not listen")?, udp);
    let config =
        ConfigBuilder::new(ListenConfig::Ipv4 { ip: Ipv4Addr::LOCALHOST, port: udp }).build();
    let driver = Discv5Builder::new(local, chain_id, config)
        .with_bootnodes(bootnodes)
        .with_bootstore(store)
        .with_interval(Duration::from_secs(1))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(driver.start())
}

/// Loop of kona's node, as far as it concerns peers.
async fn run(
    number: u64,
    mut gossip: Gossip,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    mut records: mpsc::Receiver<Enr>,
    // Kept because the handler would otherwise see a closed channel of signers.
    _signer: watch::Sender<Address>,
) {
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                Some(task) => task(&mut gossip),
                None => return,
            },
            Some(record) = records.recv() => gossip.dial(record),
            event = gossip.next() => match event {
                Some(event) => handle(number, &mut gossip, event),
                None => return,
            },
        }
    }
}

/// Lets kona handle an event, and reports its results for messages.
fn handle(number: u64, gossip: &mut Gossip, event: SwarmEvent<Event>) {
    let from = match &event {
        SwarmEvent::Behaviour(Event::Gossipsub(event)) => match &**event {
            gossipsub::Event::Message { propagation_source, message, .. } => {
                Some((propagation_source.to_string(), message.topic.to_string()))
            }
            _ => None,
        },
        _ => None,
    };
    let block = gossip.handle_event(event);
    let Some((from, topic)) = from else {
        return;
    };
    write(&match block {
        Some(block) => json!({
            "event": "block", "node": number, "from": from, "topic": topic, "at": nanoseconds(),
            "number": block.payload.block_number(), "hash": block.payload.block_hash(),
        }),
        None => json!({ "event": "refused", "node": number, "from": from, "topic": topic }),
    });
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// Returns the connected peers: their identify data, the topics that they subscribe to, and their
/// scores.
fn peers(gossip: &Gossip) -> Map<String, Value> {
    let behaviour = gossip.swarm.behaviour();
    let of = |peer: &PeerId| {
        let info = gossip.peerstore.get(peer);
        let topics =
            behaviour.gossipsub.all_peers().find(|(id, _)| *id == peer).map(|(_, topics)| topics);
        let topics: Vec<String> = topics.into_iter().flatten().map(ToString::to_string).collect();
        let protocols: Option<Vec<String>> =
            info.map(|info| info.protocols.iter().map(ToString::to_string).collect());
        let told = json!({
            "agent": info.map(|info| &info.agent_version),
            "protocols": protocols,
            "addresses": info.map(|info| &info.listen_addrs),
            "topics": topics,
            "score": behaviour.gossipsub.peer_score(peer),
        });
        (peer.to_string(), told)
    };
    gossip.swarm.connected_peers().map(of).collect()
}
