//! Commands that the handle gives to the driver, and the reasons why it can't start.

use super::reads::Question;
use super::wanted::{Found, Wanted};
use alloy_primitives::Address;
use futures::channel::oneshot;
use opp2p_core::chain::ConfigError;

/// Command from the handle.
#[derive(Debug)]
pub(crate) enum Command {
    /// There may be a network again.
    NetworkChanged,
    /// The page read the signer; `None` stands for the network's own.
    SignerRead(Option<Address>),
    /// The page asks for a block.
    Block(Wanted, oneshot::Sender<Option<Found>>),
    /// Answer a wallet's read with JSON.
    Read(Question, oneshot::Sender<String>),
    /// Cancel the read with this ticket.
    CancelRead(u32),
    /// Close everything, then confirm.
    Stop(oneshot::Sender<()>),
}

/// Reason why an observer can't start, apart from its options.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the chain configuration is wrong: {0}")]
    Chain(#[from] ConfigError),
    #[error("there are no random numbers here: {0}")]
    Random(#[from] getrandom::Error),
}
