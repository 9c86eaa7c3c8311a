//! A running node: sockets, threads, clock and disk around one [`opp2p_core::node::Node`].
//!
//! [`Host::start`] opens everything and spawns one task that drives the core; a [`Host`] owns that
//! task, and a [`HostHandle`] queries and commands it. Threads of their own validate large blocks
//! and answer peers' requests, and another writes the store.

mod acme;
mod advertised;
mod canonical;
mod certificate;
mod commands;
mod config;
mod driver;
mod endpoints;
mod ends;
mod error;
mod event;
mod finder;
mod handle;
mod identity;
mod key_file;
mod l1;
mod lists;
mod memory;
mod meter;
mod native;
mod network;
mod persist;
mod pool;
mod reload;
mod reports;
mod requests;
mod shared;
mod signer;
mod start;
mod storage;
mod storing;
mod streams;
mod transport;
mod twins;
mod upgrade;
mod ws;
mod wss;

pub use crate::clock::WallClock;
pub use acme::{AcmeConfig, CertificateName, LETS_ENCRYPT, OwnName, PUBLIC_BROKER, PUBLIC_DOMAIN};
pub use config::{DEFAULT_AGENT, HostConfig, Peerstore, Retention};
pub use endpoints::TIMEOUT as ENDPOINT_TIMEOUT;
pub use error::{ConnectError, HostError, Stopped};
pub use event::{HostEvent, HostEventKind, L1News, NatEvent, Status};
pub use handle::HostHandle;
pub use l1::L1Reader;
pub use meter::{
    CODES, Counter, Counters, ENDPOINT_RESULTS, LastBlock, Meter, Requests, SCORE_PARTS,
};
pub use network::tcp_port;
pub use reload::{LiveChange, LiveSettings};
pub use requests::BlockSource;
pub use signer::{BlockSigner, SignerOrigin, SignerReport};
pub use upgrade::{Muxer, Security};
pub use ws::{WsConfig, WsTls};

use crate::discovery::Discovery;
use opp2p_core::chain::BlockId;
use opp2p_store::StoreError;
use std::convert::Infallible;
use std::ops::Deref;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A running node. Dropping it stops the node; [`Host::stop`] also waits for that. Its
/// [`HostHandle`] has all queries and commands.
#[derive(Debug)]
pub struct Host {
    handle: HostHandle,
    discovery: Option<Discovery>,
    /// Dropped to stop the driver.
    alive: oneshot::Sender<Infallible>,
    task: JoinHandle<()>,
    /// Ends when the threads that hold the store open have ended.
    ended: mpsc::Receiver<Infallible>,
}

impl Deref for Host {
    type Target = HostHandle;

    fn deref(&self) -> &HostHandle {
        &self.handle
    }
}

impl Host {
    /// Returns a handle for others that query or command this node.
    pub fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Closes all connections, writes what is still to be stored, and waits for both.
    pub async fn stop(self) {
        if let Some(discovery) = self.discovery {
            discovery.stop().await;
        }
        drop(self.alive);
        // The task does not contain its own panics; one would end the node and show here.
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the node ended unexpectedly");
        }
    }

    /// Ends the node at once, without closing connections in order, to test what survives that.
    /// Returns the stored head, from which a start on the same store resumes; the store is closed
    /// and can be opened again.
    ///
    /// It differs from `kill -9` in two ways: blocks that were queued for the disk are still
    /// written, and the store's file is closed in order, whereas a killed process leaves one that
    /// the next start repairs. Blocks that the node had not queued are lost, and peers see the
    /// same, connections that end.
    ///
    /// # Errors
    /// If the store can't be read; the node has ended all the same.
    pub async fn kill(self) -> Result<Option<BlockId>, StoreError> {
        let Self { task, discovery, mut ended, handle: HostHandle { store, .. }, .. } = self;
        if let Some(discovery) = discovery {
            discovery.abort();
        }
        task.abort();
        // Cancellation is the expected result. Everything that the task owned is dropped then,
        // apart from what takes time.
        let _ = task.await;
        while ended.recv().await.is_some() {}
        let head = tokio::task::spawn_blocking(move || store.canonical_head()).await;
        // The closure does not panic; an error means that the runtime shuts down.
        head.unwrap_or(Ok(None))
    }
}
