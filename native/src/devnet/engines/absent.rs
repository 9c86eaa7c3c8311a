//! Stand-in for execution clients in builds without the feature `engine`. Its types have no values.

use super::Network;
use crate::sequencer::SequencerHandle;
use alloy_primitives::{Address, B256};
use std::path::{Path, PathBuf};

/// The account that would have ether.
pub const FUNDED: Address = Address::ZERO;

/// An execution client's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {}

impl Program {
    /// Finds no program.
    pub fn find(_: &[PathBuf]) -> Option<Self> {
        None
    }
}

/// Reasons why the execution clients can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EnginesError {}

/// The running clients.
#[derive(Debug)]
pub enum Engines {}

impl Engines {
    /// Starts the clients.
    ///
    /// # Errors
    /// Never.
    pub async fn start(program: &Program, _: &Path) -> Result<Self, EnginesError> {
        match *program {}
    }

    /// Returns the hash and the time of the chain's genesis.
    pub const fn genesis(&self) -> (B256, u64) {
        match *self {}
    }

    /// Returns the clients' name.
    pub const fn name(&self) -> &'static str {
        match *self {}
    }

    /// Returns one sentence about a client that has ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        match *self {}
    }

    /// Returns the URLs of the clients' public JSON-RPC.
    pub fn urls(&self) -> [String; 2] {
        match *self {}
    }

    /// Links nodes to the clients.
    ///
    /// # Errors
    /// Never.
    pub fn link(&self, _: &Network) -> Result<Links, EnginesError> {
        match *self {}
    }
}

/// The links of nodes to their clients.
#[derive(Debug)]
pub enum Links {}

impl Links {
    /// Returns the handle that stops the building of blocks.
    pub fn sequencer(&self) -> SequencerHandle {
        match *self {}
    }

    /// Ends the links.
    pub async fn stop(self) {
        match self {}
    }
}
