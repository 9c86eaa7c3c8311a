//! A lying gateway: it gossips and publishes messages that must not be accepted.

use crate::Failure;
use crate::gossiper::Gossiper;
use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, Transport, noise, tcp, websocket, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::key::SecretKey;
use serde::Deserialize;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Kind of messages that it publishes, five times a second.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lie {
    /// Whole blocks signed by another key.
    Forged,
    /// Blocks that the sequencer signed, an hour old.
    Stale,
    /// Random bytes.
    Garbage,
}

pub(crate) struct Liar {
    pub(crate) address: Multiaddr,
    pub(crate) peer_id: PeerId,
    task: JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    pub(crate) async fn start(
        chain: &ChainConfig,
        sequencer: &SecretKey,
        lie: Lie,
    ) -> Result<Self, Failure> {
        let key = Keypair::generate_secp256k1();
        let peer_id = key.public().to_peer_id();
        let transport = websocket::Config::new(tcp::tokio::Transport::default())
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&key)?)
            .multiplex(yamux::Config::default())
            .boxed();
        let behaviour = Gossiper::new(&key, chain.chain_id, "an honest node")?;
        let idle = Duration::from_secs(3600);
        let options =
            libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(idle);
        let mut swarm = Swarm::new(transport, behaviour, peer_id, options);
        swarm.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with_p2p(peer_id).map_err(|_| "two peer ids")?;
            }
        };
        let signer = match lie {
            Lie::Forged | Lie::Garbage => {
                LocalSigner::from_bytes(SecretKey::generate()?.secret_bytes())?
            }
            Lie::Stale => LocalSigner::from_bytes(sequencer.secret_bytes())?,
        };
        let task = tokio::spawn(send_lies(swarm, chain.clone(), signer, lie));
        Ok(Self { address, peer_id, task })
    }
}

async fn send_lies(mut swarm: Swarm<Gossiper>, chain: ChainConfig, signer: LocalSigner, lie: Lie) {
    let mut maker = BlockMaker::new(&chain, 666);
    let mut count: u8 = 0;
    let signed = |envelope: &Envelope| signer.sign_block(chain.chain_id, envelope).ok();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            // It neither judges nor answers messages.
            _ = swarm.select_next_some() => {}
            _ = tick.tick() => {
                count = count.wrapping_add(1);
                let contents = match lie {
                    Lie::Forged => signed(&maker.next(unix_seconds())),
                    Lie::Stale => signed(&maker.next(unix_seconds() - 3600)),
                    Lie::Garbage => Some((PayloadVersion::V4, vec![count; 1000])),
                };
                if let Some((version, contents)) = contents {
                    // It does not matter if no peer listens yet.
                    let _ = swarm.behaviour_mut().publish(chain.chain_id, version, &contents);
                }
            }
        }
    }
}
