//! The unsafe-block signer and its origin, and the signer of this node's own blocks.

use crate::remote_signer::RemoteSigner;
pub use opp2p_core::l1::SignerOrigin;
use opp2p_core::sequencer::LocalSigner;
use std::sync::Arc;

/// Origin of the signer in force. The core knows its address:
/// [`HostHandle::signers`](super::HostHandle::signers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignerReport {
    /// Origin of the signer.
    pub origin: SignerOrigin,
    /// L1 block at which the contract was last read.
    pub l1_block: Option<u64>,
    /// Reason in one sentence why the last attempt to read it failed; `None` if it did not.
    pub l1_error: Option<String>,
}

/// Signer of a sequencer's own blocks.
#[derive(Debug)]
pub enum BlockSigner {
    /// A key in this process.
    Local(LocalSigner),
    /// A remote signer.
    Remote(Arc<RemoteSigner>),
}

impl From<LocalSigner> for BlockSigner {
    fn from(signer: LocalSigner) -> Self {
        Self::Local(signer)
    }
}

impl From<RemoteSigner> for BlockSigner {
    fn from(signer: RemoteSigner) -> Self {
        Self::Remote(Arc::new(signer))
    }
}
