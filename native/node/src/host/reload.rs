//! Settings that can change while the node runs: static peers, block lists and the certificate.

use super::commands::Command;
use super::error::{HostError, Stopped};
use super::handle::HostHandle;
use super::lists::static_peers;
use super::ws::WsTls;
use libp2p::Multiaddr;
use opp2p_core::peers::{BlockEntry, PeerLists, PeerListsChange};
use tokio::sync::oneshot;

/// New values of the settings that can change. All replace those in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSettings {
    /// Peers to stay connected to; each address ends in `/p2p/<peer id>`.
    pub static_peers: Vec<Multiaddr>,
    /// Peers, addresses and networks to refuse, beside those that commands blocked.
    pub blocked: Vec<BlockEntry>,
    /// Certificate of the browsers' listener. It has no effect on a listener without one.
    pub tls: Option<WsTls>,
}

/// What new settings changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveChange {
    /// Changes of the lists.
    pub lists: PeerListsChange,
    /// Whether the certificate is another one.
    pub certificate: bool,
}

impl HostHandle {
    /// Puts new settings in force, all or none. Open connections of browsers keep the certificate
    /// with which they began.
    ///
    /// # Errors
    /// [`HostError`] if a static peer, a list or a certificate file is wrong: nothing is changed
    /// then. [`Stopped`] if the node stops first.
    pub async fn reconfigure(
        &self,
        settings: LiveSettings,
    ) -> Result<Result<LiveChange, HostError>, Stopped> {
        let LiveSettings { static_peers: list, blocked, tls } = settings;
        let renewed = match (&self.certificate, tls) {
            (Some(held), Some(files)) => match files.load() {
                Ok(loaded) => Some((held, loaded)),
                Err(error) => return Ok(Err(error)),
            },
            _ => None,
        };
        let static_peers = match static_peers(&list, self.peer_id) {
            Ok(peers) => peers,
            Err(error) => return Ok(Err(error)),
        };
        let lists = PeerLists { static_peers, blocked };
        let (answer, result) = oneshot::channel();
        let command = Command::Configure { lists, answer };
        self.commands.send(command).await.map_err(|_| Stopped)?;
        let lists = match result.await.map_err(|_| Stopped)? {
            Ok(change) => change,
            Err(full) => return Ok(Err(HostError::BlockList(full))),
        };
        let certificate = renewed.is_some_and(|(held, loaded)| held.renew(loaded));
        Ok(Ok(LiveChange { lists, certificate }))
    }
}
