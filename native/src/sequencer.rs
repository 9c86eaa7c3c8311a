//! Handle that starts and stops block building, as op-conductor does over RPC.

use alloy_primitives::B256;
use opp2p_core::engine::Sequencing;
use opp2p_node::host::HostHandle;
use tokio::sync::watch;

/// Controls and observes an engine task's block building.
#[derive(Clone, Debug)]
pub struct SequencerHandle {
    pub(crate) host: HostHandle,
    pub(crate) wanted: watch::Sender<bool>,
    pub(crate) state: watch::Receiver<Sequencing>,
}

/// Reasons why building can't start or stop. The texts are op-node's, because op-conductor matches
/// them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequencerError {
    /// This node builds no blocks.
    #[error("sequencer is not enabled")]
    Disabled,
    /// Building already runs.
    #[error("sequencer already running")]
    Running,
    /// Building is already stopped.
    #[error("sequencer not running")]
    NotRunning,
    /// This node has no head to build on.
    #[error("no prestate, cannot determine if sequencer start at {0} is safe")]
    NoHead(B256),
    /// The caller named another head than this node's.
    #[error("block hash does not match: head {head}, received {received}")]
    OtherHead {
        /// This node's head.
        head: B256,
        /// The head that the caller named.
        received: B256,
    },
    /// The engine task has ended.
    #[error("the node is stopping")]
    Ended,
}

impl SequencerHandle {
    /// Returns `true` if blocks are being built.
    pub fn is_active(&self) -> bool {
        *self.state.borrow() == Sequencing::Active
    }

    /// Returns `true` if this node can build blocks.
    pub fn is_enabled(&self) -> bool {
        *self.state.borrow() != Sequencing::Disabled
    }

    /// Starts building on this head, which must be this node's.
    ///
    /// # Errors
    /// If building already runs or is disabled, or this node's head differs.
    pub async fn start(&self, head: B256) -> Result<(), SequencerError> {
        match *self.state.borrow() {
            Sequencing::Disabled => return Err(SequencerError::Disabled),
            Sequencing::Active => return Err(SequencerError::Running),
            Sequencing::Stopping | Sequencing::Stopped => {}
        }
        let own = self.head().ok_or(SequencerError::NoHead(head))?;
        if own != head {
            return Err(SequencerError::OtherHead { head: own, received: head });
        }
        self.wanted.send_replace(true);
        self.until(Sequencing::Active).await
    }

    /// Stops building. Waits until the last built block is this node's head, and returns the head's
    /// hash.
    ///
    /// # Errors
    /// If no blocks are being built.
    pub async fn stop(&self) -> Result<B256, SequencerError> {
        match *self.state.borrow() {
            Sequencing::Disabled => return Err(SequencerError::Disabled),
            Sequencing::Stopping | Sequencing::Stopped => return Err(SequencerError::NotRunning),
            Sequencing::Active => {}
        }
        self.wanted.send_replace(false);
        self.until(Sequencing::Stopped).await?;
        Ok(self.head().unwrap_or_default())
    }

    /// Returns the unsafe head; before the first block, the engine's head, such as genesis.
    fn head(&self) -> Option<B256> {
        let head = self.host.core(|node, _| node.view().head());
        head.or_else(|| self.host.engine()?.head).map(|head| head.hash)
    }

    async fn until(&self, wanted: Sequencing) -> Result<(), SequencerError> {
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| *state == wanted).await;
        reached.map(drop).map_err(|_| SequencerError::Ended)
    }
}
