//! The devnet's nodes: a sequencer and its followers, each a whole [`Host`] with a key, a port and a
//! store of its own, on loopback.

use super::{BlockMaker, Member, NodeInfo};
use crate::clock::since_epoch;
use crate::host::{Host, HostConfig, HostError, HostEvent};
use crate::key::{KeyError, KeyFormatError, SecretKey};
use crate::store::StoreError;
use alloy_primitives::{B256, b256};
use libp2p::multiaddr::Protocol;
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::gossip::HEARTBEAT;
use opp2p_core::payload::Envelope;
use opp2p_core::sequencer::{InvalidSecretKey, LocalSigner, PublishError};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// The devnet's L2 chain id.
pub const CHAIN_ID: u64 = 901;
/// Its genesis: any hash and time will do, as long as the next run has the same.
const GENESIS_HASH: B256 = b256!("6f707032702d6465766e65742d67656e657369732d626c6f636b2d6861736821");
const GENESIS_TIME: u64 = 1_700_000_000;
/// How long the nodes may take to find each other.
const MESH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the devnet can't start. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A node can't start.
    #[error("the {member} can't start: {source}")]
    Host {
        /// Which node.
        member: Member,
        /// Why.
        source: HostError,
    },
    /// A key file can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key can't be used.
    #[error(transparent)]
    KeyFormat(#[from] KeyFormatError),
    /// A key can't sign.
    #[error(transparent)]
    Signer(#[from] InvalidSecretKey),
    /// A directory can't be made.
    #[error("can't make the directory {}: {source}; choose another --data-dir", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The nodes did not find each other in time.
    #[error("after 30 s only {0} of the followers are in the sequencer's mesh; is loopback blocked?")]
    NoMesh(usize),
    /// The sequencer's store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a devnet is made of.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Number of followers.
    pub followers: usize,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Newest active fork; it and all before it are active from genesis.
    pub fork: Fork,
    /// Where keys and stores are.
    pub directory: PathBuf,
}

/// The running nodes.
#[derive(Debug)]
pub struct Network {
    sequencer: Host,
    followers: Vec<Host>,
    chain: ChainConfig,
}

/// A block that the sequencer published, or why not.
#[derive(Debug)]
pub struct Publication {
    /// The block.
    pub block: BlockId,
    /// Its transactions.
    pub transactions: usize,
    /// Bytes of its encoded envelope.
    pub bytes: usize,
    /// When the sequencer was given it.
    pub at: Instant,
    /// What became of it.
    pub result: Result<(), PublishError>,
}

impl Network {
    /// Starts all nodes. Each follower has the sequencer and the follower before it as static peers,
    /// so that there is more than one way for a block to come.
    ///
    /// # Errors
    /// If a node can't start.
    pub async fn start(config: &NetworkConfig) -> Result<Self, NetworkError> {
        let signing_key = key(&config.directory, "sequencer.key")?;
        // The configuration counts in whole seconds; blocks may come faster all the same.
        let block_time = config.block_time.as_secs_f64().ceil().max(1.0) as u64;
        let chain = ChainConfig::development(
            CHAIN_ID,
            GENESIS_HASH,
            GENESIS_TIME,
            block_time,
            config.fork,
            signing_key.address(),
        );
        let start = async |member, name: &str, static_peers, sequencer| {
            let directory = config.directory.join(name);
            let mut host =
                HostConfig::new(chain.clone(), key(&directory, "p2p.key")?, directory.join("blocks.redb"));
            host.listen_ip = Ipv4Addr::LOCALHOST.into();
            host.listen_tcp = 0;
            host.from_genesis = true;
            host.static_peers = static_peers;
            host.sequencer = sequencer;
            Host::start(host).await.map_err(|source| NetworkError::Host { member, source })
        };
        let signer = LocalSigner::from_bytes(signing_key.secret_bytes())?;
        let sequencer = start(Member::Sequencer, "sequencer", Vec::new(), Some(signer)).await?;
        let mut followers: Vec<Host> = Vec::new();
        for index in 0..config.followers {
            let mut peers = vec![sequencer.address()];
            peers.extend(followers.last().map(Host::address));
            let name = format!("follower-{}", index + 1);
            followers.push(start(Member::Follower(index), &name, peers, None).await?);
        }
        Ok(Self { sequencer, followers, chain })
    }

    /// Who the sequencer is.
    pub fn sequencer_info(&self) -> NodeInfo {
        info(&self.sequencer)
    }

    /// Who the followers are.
    pub fn follower_infos(&self) -> Vec<NodeInfo> {
        self.followers.iter().map(info).collect()
    }

    /// The follower of this index.
    pub fn follower(&self, index: usize) -> Option<&Host> {
        self.followers.get(index)
    }

    /// All nodes, the sequencer first.
    pub fn members(&self) -> impl Iterator<Item = (Member, &Host)> {
        let followers = self.followers.iter().enumerate();
        std::iter::once((Member::Sequencer, &self.sequencer))
            .chain(followers.map(|(index, host)| (Member::Follower(index), host)))
    }

    /// Everything that happens in any node from now on, as it happens.
    ///
    /// The queue is as long as its reader is slow; the nodes' own queues bound how much can be
    /// missed, and a node whose events were missed is named by `None`.
    pub fn events(&self) -> mpsc::Receiver<(Member, Option<HostEvent>)> {
        let (sender, receiver) = mpsc::channel(1024);
        for (member, host) in self.members() {
            let (mut events, sender) = (host.events(), sender.clone());
            tokio::spawn(async move {
                loop {
                    let event = match events.recv().await {
                        Ok(event) => Some(event),
                        Err(RecvError::Lagged(_)) => None,
                        Err(RecvError::Closed) => return,
                    };
                    if sender.send((member, event)).await.is_err() {
                        return;
                    }
                }
            });
        }
        receiver
    }

    /// Waits until every follower is subscribed at the sequencer and all meshes have formed.
    ///
    /// A graft takes effect when it arrives, and what was published in between reaches its sender
    /// only if somebody else relays it: one heartbeat after the last one all is settled.
    ///
    /// # Errors
    /// If that takes longer than 30 s.
    pub async fn meshed(&self) -> Result<(), NetworkError> {
        let deadline = Instant::now() + MESH_TIMEOUT;
        loop {
            let subscribed = self.sequencer.status().borrow().subscribers;
            let meshed = self.members().all(|(_, host)| host.status().borrow().mesh > 0);
            if subscribed >= self.followers.len() && meshed {
                tokio::time::sleep(HEARTBEAT).await;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(NetworkError::NoMesh(subscribed));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A maker of blocks that goes on where the sequencer's store left off.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn maker(&self, seed: u64) -> Result<BlockMaker, NetworkError> {
        let mut maker = BlockMaker::new(&self.chain, seed);
        if let Some(head) = self.sequencer.stored_head()? {
            let timestamp = self.sequencer.stored_block(head.number)?.map_or(0, |block| block.timestamp());
            maker.resume(head, timestamp);
        }
        Ok(maker)
    }

    /// Gives the sequencer a block and waits until it is on its way.
    pub async fn publish(&self, envelope: Envelope) -> Publication {
        let payload = &envelope.payload;
        let block = BlockId::new(payload.block_number, payload.block_hash);
        let transactions = payload.transactions.len();
        let mut encoded = Vec::new();
        // A block that does not encode is refused by the sequencer just the same.
        let bytes = envelope.encode(&mut encoded).map_or(0, |_| encoded.len());
        let at = Instant::now();
        let result = match self.sequencer.publish(envelope).await {
            Ok(result) => result.map(|_| ()),
            Err(_) => Err(PublishError::NoSigner),
        };
        Publication { block, transactions, bytes, at, result }
    }

    /// Stops all nodes and waits until what they have is on the disk.
    pub async fn stop(self) {
        for host in self.followers {
            host.stop().await;
        }
        self.sequencer.stop().await;
    }
}

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

fn key(directory: &Path, name: &str) -> Result<SecretKey, NetworkError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| NetworkError::Directory { path: directory.to_path_buf(), source })?;
    Ok(SecretKey::load_or_create(&directory.join(name))?.key)
}

fn info(host: &Host) -> NodeInfo {
    let port = host.address().iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    NodeInfo { peer_id: host.peer_id().to_string(), port: port.unwrap_or_default() }
}
