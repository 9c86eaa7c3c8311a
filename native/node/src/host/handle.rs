//! Queries and commands of a running node.

use super::advertised::Advertised;
use super::canonical;
use super::certificate::Certificate;
use super::commands::Command;
use super::error::{CONNECT_TIMEOUT, ConnectError, Stopped};
use super::event::{HostEvent, HostEventKind, Status};
use super::meter::Meter;
use super::shared::Core;
use super::signer::SignerReport;
use super::streams::Streams;
use super::ws::Listening;
use super::{persist, reports};
use crate::discovery::Known;
use alloy_primitives::{Address, B256};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::BlockId;
use opp2p_core::engine::EngineStatus;
use opp2p_core::feed::{Page, Query};
use opp2p_core::gossip::Signers;
use opp2p_core::node::{InsertError, Node, vouched};
use opp2p_core::payload::{Block, Envelope};
use opp2p_core::peers::{BlockEntry, ListFull, PeerCommand, PeerManager};
use opp2p_core::sequencer::{Publication, PublishError};
use opp2p_core::sync::RangeError;
use opp2p_core::time::Now;
use opp2p_store::{Store, StoreError};
use opp2p_wire::{Bandwidth, from_libp2p};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Maximum time that [`HostHandle::command`] waits for a connection to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Queries and commands of a running node, for any number of callers. It does not keep the node
/// running: when the [`Host`](super::Host) has stopped, commands return [`Stopped`], and queries
/// show the final state. It does keep the store's file open.
#[derive(Clone, Debug)]
pub struct HostHandle {
    pub(super) peer_id: PeerId,
    pub(super) agent: Arc<str>,
    pub(super) protocols: Arc<[String]>,
    pub(super) address: Multiaddr,
    pub(super) advertised: Advertised,
    pub(super) listening: Listening,
    pub(super) store: Store,
    pub(super) core: Core,
    pub(super) bandwidth: Arc<Bandwidth>,
    pub(super) streams: Streams,
    pub(super) meter: Arc<Meter>,
    pub(super) commands: mpsc::Sender<Command>,
    /// Weak, so that listeners notice the end of the node.
    pub(super) events: broadcast::WeakSender<HostEvent>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) signer: watch::Receiver<SignerReport>,
    /// Present problem of the feed into a stream, once it has begun.
    pub(super) feed: Arc<OnceLock<watch::Receiver<Option<String>>>>,
    pub(super) proofs: Arc<OnceLock<watch::Receiver<Option<String>>>>,
    /// Records of discovery, if it is enabled.
    pub(super) known: Option<watch::Receiver<Known>>,
    /// Status of the engine that this node's chain is fed to, if there is one.
    pub(super) engine: Arc<OnceLock<watch::Receiver<EngineStatus>>>,
    /// Certificate of the browsers' listener, if it has one.
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl HostHandle {
    /// Returns the peer id of this node.
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Returns the agent version that identify reports.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Returns the protocols that identify reports to peers.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Returns all listen addresses and the advertised ones, each with the peer id.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let mut ways = self.listening.addresses();
        let mut advertised = self.advertised.get();
        advertised.retain(|way| !ways.contains(way));
        ways.append(&mut advertised);
        ways.into_iter().map(|way| way.with(Protocol::P2p(self.peer_id))).collect()
    }

    /// Returns the node records in discovery's table, as text; `None` if discovery is disabled.
    pub fn discovery_table(&self) -> Option<Vec<String>> {
        self.known.as_ref().map(|known| known.borrow().table.clone())
    }

    /// Returns this node's own record, as text; `None` if discovery is disabled.
    pub fn local_enr(&self) -> Option<String> {
        self.known.as_ref().map(|known| known.borrow().local.clone())
    }

    /// Returns `true` until the node has stopped.
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Returns the TCP listen address with the peer id, in the form for another node's list of
    /// static peers. An offline node has only the peer id.
    pub fn address(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer_id))
    }

    /// Returns the addresses for browsers to dial, each with this node's peer id: the advertised
    /// ones, or else the WebSocket listener's. Empty if there is no listener.
    pub fn browser_addresses(&self) -> Vec<Multiaddr> {
        let advertised = self.advertised.get();
        let ways = if advertised.is_empty() { self.listening.door() } else { advertised };
        ways.into_iter().map(|way| way.with(Protocol::P2p(self.peer_id))).collect()
    }

    /// Returns a receiver of all events from now on. A receiver that falls more than 1024 events
    /// behind misses some, and is told how many; until then the blocks in them are kept in memory.
    /// It ends with the node.
    pub fn events(&self) -> broadcast::Receiver<HostEvent> {
        let ended = || broadcast::channel(1).1;
        self.events.upgrade().map_or_else(ended, |events| events.subscribe())
    }

    /// Returns the node's status, which is updated on each change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Returns the bytes received and sent on all connections since the node started, as they
    /// passed the sockets, including handshakes and framing.
    pub fn bandwidth(&self) -> (u64, u64) {
        self.bandwidth.totals()
    }

    /// Signs and publishes a block, and waits until it is on its way to at least one peer.
    ///
    /// # Errors
    /// [`PublishError`] from the publish queue; [`Stopped`] if the node stops first.
    pub async fn publish(&self, envelope: Envelope) -> Result<Result<B256, PublishError>, Stopped> {
        let (answer, result) = oneshot::channel();
        let publication = Publication::Envelope(Box::new(envelope));
        self.commands.send(Command::Publish { publication, answer }).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Adds a block that the caller vouches for to the chain: it counts as signed by the sequencer,
    /// but is not gossiped. It is added when this returns; whether it becomes the head depends on
    /// the blocks present.
    ///
    /// # Errors
    /// [`InsertError`] if the block is not valid; [`Stopped`] if the node has stopped.
    pub async fn insert(
        &self,
        envelope: Envelope,
    ) -> Result<Result<BlockId, InsertError>, Stopped> {
        let vouched = tokio::task::spawn_blocking(move || vouched(&envelope)).await;
        let block = match vouched {
            Ok(Ok(block)) => block,
            Ok(Err(error)) => return Ok(Err(error)),
            // The blocking task ended with the runtime.
            Err(_) => return Err(Stopped),
        };
        let id = BlockId::of(&block);
        let (answer, taken) = oneshot::channel();
        self.commands.send(Command::Insert { block, answer }).await.map_err(|_| Stopped)?;
        taken.await.map_err(|_| Stopped)?;
        Ok(Ok(id))
    }

    /// Registers the engine that the node's chain is fed to, for this handle and all its clones.
    /// Only the first call counts.
    pub fn set_engine(&self, status: watch::Receiver<EngineStatus>) {
        // Ignores a second engine: one node feeds one.
        let _ = self.engine.set(status);
    }

    /// Returns the status of the engine that this node's chain is fed to; `None` if there is none.
    pub fn engine(&self) -> Option<EngineStatus> {
        self.engine.get().map(|status| status.borrow().clone())
    }

    /// Returns the current time of the node's clocks.
    pub fn now(&self) -> Now {
        self.core.clock.now()
    }

    /// Converts an instant of the node's monotonic clock to the runtime's.
    pub fn instant(&self, at: opp2p_core::time::Instant) -> tokio::time::Instant {
        self.core.clock.instant(at)
    }

    /// Replaces the unsafe-block signer. The old one still counts for a grace period.
    ///
    /// # Errors
    /// If the node has stopped.
    pub async fn set_signer(&self, signer: Option<Address>) -> Result<(), Stopped> {
        let command = Command::SetSigner { signer };
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Returns the signers whose signatures count now.
    pub fn signers(&self) -> Signers {
        self.core.lock().signers()
    }

    /// Returns the origin of the signer in force.
    pub fn signer_report(&self) -> watch::Receiver<SignerReport> {
        self.signer.clone()
    }

    /// Fetches the chain up to `to`, whose hash the caller vouches for, from peers, and waits until
    /// it is there.
    ///
    /// # Errors
    /// [`RangeError`] if the range is not valid or can't be fetched; [`Stopped`] if the node stops
    /// first.
    pub async fn fetch_range(&self, to: BlockId) -> Result<Result<(), RangeError>, Stopped> {
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::FetchRange { to, answer }).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Blocks, bans, protects or disconnects a peer, an address or a subnet, and waits until that
    /// is done. A named peer that this disconnects is gone by then, unless its connection takes
    /// more than 5 s to close, so that a later connect opens a new connection.
    ///
    /// # Errors
    /// [`ListFull`] if the list is full; [`Stopped`] if the node stops first.
    pub async fn command(&self, command: PeerCommand) -> Result<Result<(), ListFull>, Stopped> {
        let leaves = match command {
            PeerCommand::Disconnect(peer)
            | PeerCommand::Block(BlockEntry::Peer(peer))
            | PeerCommand::BanPeer(peer, _) => Some(peer),
            _ => None,
        };
        let mut events = self.events();
        let is_connected = |peer| self.peers(|peers, _| peers.is_inbound(&peer).is_some());
        let leaves = leaves.filter(|peer| is_connected(*peer));
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::Peer { command, answer }).await.map_err(|_| Stopped)?;
        let result = result.await.map_err(|_| Stopped)?;
        if let (Some(peer), Ok(())) = (leaves, result) {
            let gone = async {
                loop {
                    match events.recv().await.map(|event| event.kind) {
                        Ok(HostEventKind::Disconnected { peer: gone })
                            if from_libp2p(&gone) == Some(peer) =>
                        {
                            break;
                        }
                        Err(broadcast::error::RecvError::Closed) => break,
                        Err(broadcast::error::RecvError::Lagged(_)) if !is_connected(peer) => break,
                        _ => {}
                    }
                }
            };
            // A peer can keep its connection from closing; the wait for that is limited.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, gone).await;
        }
        Ok(result)
    }

    /// Connects to a peer once, and waits for the connection.
    ///
    /// # Errors
    /// [`ConnectError`] if the address does not end in `/p2p/<peer id>` or there is no connection;
    /// [`Stopped`] if the node stops first.
    pub async fn connect(&self, address: Multiaddr) -> Result<Result<(), ConnectError>, Stopped> {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Ok(Err(ConnectError::NoPeerId(address)));
        };
        let (answer, result) = oneshot::channel();
        self.commands
            .send(Command::Connect { peer, address, answer })
            .await
            .map_err(|_| Stopped)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, result).await {
            Ok(result) => Ok(result.map_err(|_| Stopped)?.map_err(ConnectError::Failed)),
            Err(_) => Ok(Err(ConnectError::Timeout)),
        }
    }

    /// Returns the number of open streams on all connections, whichever side opened them.
    pub fn streams(&self) -> u64 {
        self.streams.open()
    }

    /// Returns the duration of the last opening of the store, with all its checks.
    pub fn store_opening_took(&self) -> Duration {
        self.store.opening_took()
    }

    /// Returns the size of the store's file, in bytes.
    ///
    /// # Errors
    /// If the file's size can't be read.
    pub fn store_size(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }

    /// Returns the node's counters.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Runs `look` on the node's core. The node waits while it runs.
    pub fn core<R>(&self, look: impl FnOnce(&Node, Now) -> R) -> R {
        let now = self.core.clock.now();
        self.core.look(|node| look(node, now))
    }

    /// Runs `look` on the peers. The node waits while it runs.
    pub fn peers<R>(&self, look: impl FnOnce(&PeerManager, Now) -> R) -> R {
        let now = self.core.clock.now();
        self.core.look(|node| look(node.peers(), now))
    }

    /// Returns the canonical block with this number, from the chain view if it is recent, else from
    /// the store. It is on the chain of the view's head. While the store lags behind a reorg, a
    /// block that is not known to be on that chain is `None`. Blocks while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn canonical_block(&self, number: u64) -> Result<Option<Block>, StoreError> {
        canonical::block(&self.core, &self.store, number)
    }

    /// Returns the lowest canonical block that is held, on the chain of the view's head. Blocks
    /// while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn lowest_block(&self) -> Result<Option<Block>, StoreError> {
        canonical::lowest(&self.core, &self.store)
    }

    /// Returns the stored canonical block with this number, which may be on a branch that the view
    /// has just left. Blocks while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_block(&self, number: u64) -> Result<Option<Block>, StoreError> {
        Ok(self.store.canonical_by_number(number)?.and_then(persist::loaded))
    }

    /// Returns the stored block with this hash, canonical or not. Blocks while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_block_by_hash(&self, hash: B256) -> Result<Option<Block>, StoreError> {
        Ok(self.store.block_by_hash(hash)?.and_then(persist::loaded))
    }

    /// Returns the store's page for a feed, without positions that are not final in the store yet.
    /// A block whose record is damaged comes from the chain view, or is left out if that no longer
    /// holds it. Blocks while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn feed_page(&self, query: Query) -> Result<Page<Block>, StoreError> {
        let held = |hash: &B256| self.core.lock().view().get(hash).cloned();
        let mut page = persist::page(&self.store, query, held)?;
        self.core(|node, now| page.settle(node.view(), canonical::is_live(node, now)));
        Ok(page)
    }

    /// Returns the damage of the store that was met so far; `None` if there is none.
    pub fn store_damage(&self) -> Option<String> {
        reports::damage(&self.store)
    }

    /// Registers a feed by its present problem, which is then one of the node's troubles. Only the
    /// first call counts.
    pub fn set_feed(&self, problem: watch::Receiver<Option<String>>) {
        // Ignores a second feed: there is one sink for each node.
        let _ = self.feed.set(problem);
    }

    /// Sets the source of the `proofs` trouble: the false answers that the prover of reads
    /// received. Later calls have no effect.
    pub fn set_proofs(&self, problem: watch::Receiver<Option<String>>) {
        // Each node has one prover.
        let _ = self.proofs.set(problem);
    }

    /// Returns the stored head. Blocks while it reads the disk.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn stored_head(&self) -> Result<Option<BlockId>, StoreError> {
        self.store.canonical_head()
    }
}
