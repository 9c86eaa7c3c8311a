//! A lying peer: a node with its own key that signs blocks itself, and holds a chain of them.
//!
//! It is a complete node that takes its own key for the sequencer's. It publishes its blocks, and
//! answers requests for blocks by number with those of its own chain. To every other node these are
//! invalid messages and false answers.

use super::network::STORE;
use super::{BlockMaker, Network, NetworkError, unix_seconds};
use opp2p_core::chain::BlockId;
use opp2p_core::peers::{PeerId, Scoring};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{BlockSigner, Host, HostConfig};
use opp2p_node::key::SecretKey;
use std::net::Ipv4Addr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Seed of its blocks.
const SEED: u64 = 666;
/// Age of its stale blocks in seconds: more than the 60 s that the network accepts.
const STALE: u64 = 120;
/// Time limit of connecting to the followers.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of getting banned.
const LIE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two lies, and the time limit of sending one.
const PAUSE: Duration = Duration::from_millis(500);

/// The peer. Dropping it ends it.
pub(super) struct Liar {
    host: Host,
    maker: BlockMaker,
    /// Maker of stale blocks. `None` if the chain's schedule determines each block's time.
    stale: Option<BlockMaker>,
    /// Holds its store. Dropped after the node.
    _directory: TempDir,
}

impl Liar {
    /// Starts the peer and connects it to all followers. Its own chain begins after `base` and
    /// reaches up to the number `head`.
    pub(super) async fn join(
        network: &Network,
        (base, timestamp): (BlockId, u64),
        head: u64,
    ) -> Result<Self, NetworkError> {
        let path = network.directory();
        let directory = tempfile::Builder::new()
            .prefix("liar-")
            .tempdir_in(path)
            .map_err(|source| NetworkError::Directory { path: path.to_path_buf(), source })?;
        let signing_key = SecretKey::generate()?;
        let signer = LocalSigner::from_bytes(signing_key.secret_bytes())?;
        let store = directory.path().join(STORE);
        let mut config = HostConfig::new(network.chain().clone(), SecretKey::generate()?, store);
        config.listen_ip = Ipv4Addr::LOCALHOST.into();
        config.listen_tcp = 0;
        config.static_peers = network.follower_addresses();
        config.signer = Some(signer.address());
        config.sequencer = Some(BlockSigner::from(signer));
        // By its own rules, the other nodes are the liars, and stale blocks are new.
        config.peers.scoring = Scoring::None;
        config.peers.bans.is_enabled = false;
        config.timestamp_threshold = Duration::from_secs(60 * 60);
        let host = Host::start(config).await.map_err(NetworkError::LyingPeer)?;

        let mut maker = BlockMaker::new(network.chain(), SEED);
        maker.resume(base, timestamp);
        let stale = maker.due().is_none().then(|| {
            let mut stale = maker.clone();
            stale.branch(base, 0);
            stale
        });
        for _ in base.number..head {
            // A block that it does not hold is one false answer less.
            let _ = host.insert(maker.next(unix_seconds())).await;
        }
        let mut status = host.status();
        let followers = network.follower_addresses().len();
        let joined = status.wait_for(|status| status.subscribers >= followers);
        // It lies to those that it has reached by then.
        let _ = timeout(JOIN_TIMEOUT, joined).await;
        Ok(Self { host, maker, stale, _directory: directory })
    }

    /// Returns its id as text.
    pub(super) fn peer_id(&self) -> String {
        self.host.peer_id().to_string()
    }

    /// Sends invalid blocks until every running follower has banned the peer. Returns `false` if
    /// that takes too long.
    pub(super) async fn lie(&mut self, network: &Network) -> bool {
        let Some(id) = opp2p_wire::from_libp2p(&self.host.peer_id()) else { return false };
        timeout(LIE_TIMEOUT, self.lie_on(network, &id)).await.is_ok()
    }

    async fn lie_on(&mut self, network: &Network, id: &PeerId) {
        while !network.is_banned(id) {
            let forged = self.maker.next(unix_seconds());
            let stale = self.stale.as_mut();
            let stale = stale.map(|maker| maker.next(unix_seconds().saturating_sub(STALE)));
            for lie in std::iter::once(forged).chain(stale) {
                // It can't send anything to nodes that have banned it.
                let _ = timeout(PAUSE, self.host.publish(lie)).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Ends the peer.
    pub(super) async fn leave(self) {
        self.host.stop().await;
    }
}
