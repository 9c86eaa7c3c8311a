//! Whose signature counts and why, and what this node signs with.

use crate::remote_signer::RemoteSigner;
use opp2p_core::sequencer::LocalSigner;
use std::sync::Arc;

/// Where the unsafe-block signer in force comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignerOrigin {
    /// Nobody named one.
    #[default]
    Nobody,
    /// The chain configuration, until L1 is read.
    ChainConfig,
    /// The operator (`--signer`), for good.
    Operator,
    /// The SystemConfig contract on L1.
    L1,
    /// [`HostHandle::set_signer`](super::HostHandle::set_signer).
    Caller,
}

impl SignerOrigin {
    /// For JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::ChainConfig => "chain configuration",
            Self::Operator => "operator",
            Self::L1 => "L1",
            Self::Caller => "caller",
        }
    }
}

/// Why the signer in force is the one it is. Who it is the core knows:
/// [`HostHandle::signers`](super::HostHandle::signers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignerReport {
    /// Where it comes from.
    pub origin: SignerOrigin,
    /// L1 block at which the contract was read last.
    pub l1_block: Option<u64>,
    /// Why the last attempt to read it failed, one sentence; `None` if it did not.
    pub l1_error: Option<String>,
}

/// What a sequencer signs its blocks with.
#[derive(Debug)]
pub enum BlockSigner {
    /// A key in this process.
    Local(LocalSigner),
    /// A signer elsewhere.
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
