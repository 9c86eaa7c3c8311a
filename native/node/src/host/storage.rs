//! The stores of a node: opening them, what is read at the start, and the threads that write.

use super::config::{HostConfig, Peerstore};
use super::ends::OffRuntime;
use super::error::HostError;
use super::memory::{Disk, PeerMemory, Place};
use super::persist::{self, Resumed};
use opp2p_core::engine::first_head;
use opp2p_core::time::Now;
use opp2p_store::{MemoryEntry, Store, StoreConfig, StoreError, Writer, WriterConfig};
use std::convert::Infallible;
use tokio::sync::mpsc;

/// The open stores.
pub(super) struct Storage {
    pub(super) blocks: Store,
    /// The store of the peer data, which may be that of the blocks; `None` to keep none.
    peers: Option<Store>,
}

/// The writers of the stores, with what they report.
pub(super) struct Writers {
    pub(super) blocks: OffRuntime<Writer>,
    pub(super) memory: PeerMemory,
    /// State of each disk: the error while it fails, or `None` when it takes data again.
    pub(super) health: mpsc::UnboundedReceiver<(Disk, Option<String>)>,
}

impl Storage {
    pub(super) fn open(config: &HostConfig) -> Result<Self, HostError> {
        let (chain_id, genesis_hash) = (config.chain.chain_id, config.chain.genesis.hash);
        let blocks = Store::open(StoreConfig {
            path: config.store.clone(),
            chain_id,
            genesis_hash,
            max_blocks: config.retention.max_blocks,
            max_bytes: config.retention.max_bytes,
            max_age: config.retention.max_age,
        })?;
        let peers = match &config.peerstore {
            Peerstore::WithBlocks => Some(blocks.clone()),
            Peerstore::Memory => None,
            Peerstore::File(path) => {
                Some(Store::open(StoreConfig::for_memory(path.clone(), chain_id, genesis_hash))?)
            }
        };
        Ok(Self { blocks, peers })
    }

    /// Reads the peer data.
    pub(super) fn memory(&self) -> Result<Vec<MemoryEntry>, StoreError> {
        Ok(self.peers.as_ref().map(Store::memory).transpose()?.unwrap_or_default())
    }

    /// Reads the state from which the node resumes.
    pub(super) fn resume(&self, config: &HostConfig, now: Now) -> Result<Resumed, StoreError> {
        let view = &config.view;
        let resumed = persist::resume(&self.blocks, view.keep_depth, view.max_remembered)?;
        let Some(engine) = &config.engine else { return Ok(resumed) };
        let max_age = config.sync.and_then(|sync| sync.fill.max_age);
        let first = first_head(resumed.head, engine, now, max_age);
        if first == resumed.head {
            return Ok(resumed);
        }
        persist::resume_at(&self.blocks, first, view.max_remembered)
    }

    /// Starts the writers. The channel of `ends` closes when they have ended.
    pub(super) fn start_writers(
        self,
        ends: &mpsc::Sender<Infallible>,
    ) -> Result<Writers, HostError> {
        let (told, health) = mpsc::unbounded_channel();
        let start = |store: Store, disk: Disk| {
            let told = told.clone();
            let report = move |error: Option<&StoreError>| {
                // The node may have stopped meanwhile.
                let _ = told.send((disk, error.map(ToString::to_string)));
            };
            match Writer::start_patient(store, WriterConfig::default(), report) {
                Ok(writer) => Ok(OffRuntime::new(writer, ends)),
                Err(source) => Err(HostError::System { what: "a thread", source }),
            }
        };
        let blocks = start(self.blocks.clone(), Disk::Blocks)?;
        let memory = PeerMemory::new(match self.peers {
            None => Place::Gone,
            Some(peers) if peers.path() == self.blocks.path() => Place::WithBlocks,
            Some(peers) => Place::Apart(start(peers, Disk::Peers)?),
        });
        Ok(Writers { blocks, memory, health })
    }
}
