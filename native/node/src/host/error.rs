//! Reasons why a node can't start, or can't do what it was asked to do.

use crate::discovery::DiscoveryError;
use crate::http::HttpError;
use crate::key::KeyFormatError;
use libp2p::Multiaddr;
use opp2p_core::chain::ConfigError;
use opp2p_core::gossip::InvalidMesh;
use opp2p_core::peers::ListFull;
use opp2p_store::StoreError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of [`HostHandle::connect`](super::HostHandle::connect), as in the reference's
/// `opp2p_connectPeer`.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Reason why a requested connection to a peer failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address does not name the peer.
    #[error("{0} does not end in /p2p/<peer id>; add the peer's id")]
    NoPeerId(Multiaddr),
    /// The network or the gatekeeper refused it.
    #[error("{0}")]
    Failed(String),
    /// There was no connection before the timeout.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

/// Reason why a node can't start. Each message is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The chain configuration is invalid.
    #[error("the chain configuration is wrong: {0}")]
    Chain(#[from] ConfigError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sizes of the mesh can't be used.
    #[error(transparent)]
    Mesh(#[from] InvalidMesh),
    /// The node's key is not valid.
    #[error("the node's key can't be used: {0}")]
    Key(#[from] KeyFormatError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {reason}; choose another address or port")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Error from the operating system.
        reason: String,
    },
    /// The WebSocket listener has no usable certificate.
    #[error("{} {why}", .file.display())]
    Tls {
        /// File of the certificate or the key.
        file: PathBuf,
        /// What is wrong with the file, and the remedy.
        why: String,
    },
    /// Both certificate files and ACME are configured for the browsers' listener.
    #[error(
        "the browsers' listener has both certificate files and a configuration to obtain a \
         certificate: remove one of them"
    )]
    TwoCertificates,
    /// A URL or file in the ACME configuration is unusable.
    #[error("the configuration to obtain a certificate is unusable: {0}")]
    Acme(#[source] HttpError),
    /// An advertised address ends with the id of another node.
    #[error(
        "{0} is to be advertised and names another node; end it with this node's id, or leave the \
         id out"
    )]
    Advertised(Multiaddr),
    /// Discovery can't start.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The HTTP client for the L1 node can't be created.
    #[error("the L1 node can't be asked: {0}")]
    L1(#[source] HttpError),
    /// The HTTP client for an endpoint of `endpoints` can't be created.
    #[error("a JSON-RPC endpoint for missing blocks can't be asked: {0}")]
    Endpoint(#[source] HttpError),
    /// The configuration blocks more than a block list has room for.
    #[error("the configuration blocks too much: {0}; block whole subnets in place of addresses")]
    BlockList(ListFull),
    /// A static peer's address does not name the peer.
    #[error("static peer {0} does not end in /p2p/<peer id>; add the peer's id")]
    StaticPeer(Multiaddr),
    /// The system refused something that every node needs.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was requested.
        what: &'static str,
        /// Error from the operating system.
        source: io::Error,
    },
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;
