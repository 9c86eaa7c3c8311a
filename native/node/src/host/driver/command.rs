//! Commands of handles and tasks.

use super::super::commands::{Answer, Command, Connecting};
use super::super::signer::{SignerOrigin, SignerReport};
use super::Driver;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::node::Input;
use opp2p_core::peers::CommandId;
use opp2p_core::sequencer::PublishId;
use opp2p_core::sync::RangeId;
use opp2p_wire::{dial_failure, from_libp2p};

impl Driver {
    /// Carries out a command.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { publication, answer } => {
                let id = PublishId(self.callers.next());
                self.callers.publications.insert(id, answer);
                self.feed(Input::Publish { id, publication });
            }
            Command::SetSigner { signer } => {
                self.feed(Input::SetSigner(signer));
                self.report.send_modify(|report| report.origin = SignerOrigin::Caller);
            }
            Command::SignerRead { signer, l1_block, as_of } => {
                // A block of unknown age proves nothing against peers.
                self.feed(Input::SignerRead { signer, as_of: as_of.unwrap_or(0) });
                let (origin, l1_block) = (SignerOrigin::L1, Some(l1_block));
                self.report.send_modify(|report| {
                    *report = SignerReport { origin, l1_block, l1_error: None };
                });
            }
            Command::Peer { command, answer } => {
                let id = CommandId(self.callers.next());
                self.callers.peer_commands.insert(id, answer);
                self.feed(Input::Command { id, command });
            }
            Command::Configure { lists, answer } => {
                let id = CommandId(self.callers.next());
                self.callers.lists.insert(id, answer);
                self.feed(Input::Configure { id, lists });
            }
            Command::Insert { block, answer } => {
                self.feed(Input::Insert(block));
                // The caller may have stopped waiting.
                let _ = answer.send(());
            }
            Command::Found(peer, news) => self.feed(Input::Peer(peer, news)),
            Command::Announce { old, new } => self.wire.announce(&old, new),
            Command::Connect { peer, address, answer } => self.connect(peer, address, answer),
            Command::FetchRange { to, answer } => {
                let id = RangeId(self.callers.next());
                self.callers.ranges.insert(id, answer);
                self.feed(Input::FetchRange { id, to });
            }
        }
    }

    /// Connects to a peer on request.
    fn connect(&mut self, peer: PeerId, address: Multiaddr, answer: Answer<Result<(), String>>) {
        if !self.is_online {
            let _ = answer.send(Err("this node is offline (p2p.disable)".into()));
            return;
        }
        if self.wire.is_connected(&peer) {
            let _ = answer.send(Ok(()));
            return;
        }
        // A peer id alone stands for all known addresses of the peer.
        let is_only_id = address.iter().count() == 1;
        let addresses = if is_only_id { self.known_addresses(&peer) } else { vec![address] };
        match self.wire.connect(peer, addresses) {
            Ok(dial) => self.callers.connects.push(Connecting { peer, dial, answer }),
            Err(error) => {
                let _ = answer.send(Err(dial_failure(&error)));
            }
        }
    }

    /// Returns the addresses at which the core would dial a peer.
    fn known_addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(peer) = from_libp2p(peer) else { return Vec::new() };
        let now = self.core.clock.now();
        let node = self.core.lock();
        let addresses = node.peers().dial_addresses(now, &peer);
        addresses.filter_map(|address| address.parse().ok()).collect()
    }
}
