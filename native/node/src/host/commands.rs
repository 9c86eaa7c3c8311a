//! Commands of handles and tasks, and the answers to their callers.
//!
//! # Bounds
//! [`Callers`] holds one entry for each command in progress. The core answers each command, mostly
//! in the same turn, and bounds the publications that wait. A dial ends with an event.

use alloy_primitives::{Address, B256};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::BlockId;
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use opp2p_core::peers::{CommandId, ListFull, PeerCommand, PeerLists, PeerListsChange, PeerNews};
use opp2p_core::sequencer::{Publication, PublishError, PublishId};
use opp2p_core::sync::{RangeError, RangeId, SyncEvent};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Channel to the caller of a command.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// Commands from handles and tasks of the node.
#[derive(Debug)]
pub(super) enum Command {
    Publish { publication: Publication, answer: Answer<Result<B256, PublishError>> },
    SetSigner { signer: Option<Address> },
    SignerRead { signer: Option<Address>, l1_block: u64, as_of: Option<u64> },
    Found(opp2p_core::peers::PeerId, PeerNews),
    Insert { block: Block, answer: Answer<()> },
    FetchRange { to: BlockId, answer: Answer<Result<(), RangeError>> },
    Peer { command: PeerCommand, answer: Answer<Result<(), ListFull>> },
    Configure { lists: PeerLists, answer: Answer<Result<PeerListsChange, ListFull>> },
    Announce { old: Vec<Multiaddr>, new: Vec<Multiaddr> },
    Connect { peer: PeerId, address: Multiaddr, answer: Answer<Result<(), String>> },
}

/// Callers that wait for an answer, by the id of their command.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// The next id, of any kind.
    next: u64,
    pub(super) publications: BTreeMap<PublishId, Answer<Result<B256, PublishError>>>,
    pub(super) ranges: BTreeMap<RangeId, Answer<Result<(), RangeError>>>,
    pub(super) peer_commands: BTreeMap<CommandId, Answer<Result<(), ListFull>>>,
    pub(super) lists: BTreeMap<CommandId, Answer<Result<PeerListsChange, ListFull>>>,
    pub(super) connects: Vec<Connecting>,
}

/// A dial that a caller waits for.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) peer: PeerId,
    pub(super) dial: ConnectionId,
    pub(super) answer: Answer<Result<(), String>>,
}

impl Callers {
    pub(super) const fn next(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Answers the caller of the command that an event ends, if there is one. A caller may have
    /// stopped waiting.
    pub(super) fn on_core(&mut self, event: &Event) {
        match event {
            Event::Published { id, result } => {
                if let Some(answer) = self.publications.remove(id) {
                    let _ = answer.send(result.clone());
                }
            }
            Event::Sync(SyncEvent::Range { id, result }) => {
                if let Some(answer) = self.ranges.remove(id) {
                    let _ = answer.send(*result);
                }
            }
            Event::Commanded { id, result } => {
                if let Some(answer) = self.peer_commands.remove(id) {
                    let _ = answer.send(*result);
                }
            }
            Event::Configured { id, result } => {
                if let Some(answer) = self.lists.remove(id) {
                    let _ = answer.send(*result);
                }
            }
            _ => {}
        }
    }

    /// Answers the callers that wait for a connection to this peer.
    pub(super) fn connected(&mut self, peer: PeerId) {
        self.connect_ended(|waiting| waiting.peer == peer, &Ok(()));
    }

    /// Answers the caller that waits for this dial.
    pub(super) fn dial_failed(&mut self, dial: ConnectionId, why: &str) {
        self.connect_ended(|waiting| waiting.dial == dial, &Err(why.to_owned()));
    }

    fn connect_ended(&mut self, ended: impl Fn(&Connecting) -> bool, result: &Result<(), String>) {
        for Connecting { answer, .. } in self.connects.extract_if(.., |waiting| ended(waiting)) {
            let _ = answer.send(result.clone());
        }
    }
}
