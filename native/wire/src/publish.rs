//! Publication on both meshes, and retries of messages that a mesh did not take.
//!
//! The nodes carry a block to the network, so their mesh decides whether it is published. Browsers
//! get it too, at the first attempt, but a block that only browsers have is not published unless
//! [`Behaviour::let_browsers_suffice`] says so.
//!
//! # Full queues
//! The library remembers a message as sent before it knows whether any queue takes it, and refuses
//! to send it again. A message that no queue took is therefore sent again under another name. The
//! name stays within the library: the network derives its own from the contents.
//!
//! # Bounds
//! [`Untaken`] holds at most [`MAX_UNTAKEN`] names, of this node's own blocks and of accepted ones.

use crate::{Behaviour, Only};
use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError, TopicHash};
use opp2p_core::gossip::{Mesh, Unpacked, block_topic};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sequencer::SendOutcome;
use std::collections::VecDeque;

/// Maximum number of messages that are remembered as not taken: as many as the core has waiting.
const MAX_UNTAKEN: usize = 512;

/// Messages of one mesh that the library counts as sent, although no queue took them, and the
/// number of attempts at each. Oldest first.
#[derive(Debug, Default)]
pub(super) struct Untaken(VecDeque<(gossipsub::MessageId, u32)>);

impl Untaken {
    /// Returns the number of attempts at a message that no queue took.
    fn attempts(&self, id: &gossipsub::MessageId) -> Option<u32> {
        self.0.iter().find(|(untaken, _)| untaken == id).map(|(_, attempts)| *attempts)
    }

    fn set(&mut self, id: gossipsub::MessageId, attempts: u32) {
        self.remove(&id);
        if self.0.len() == MAX_UNTAKEN {
            self.0.pop_front();
        }
        self.0.push_back((id, attempts));
    }

    fn remove(&mut self, id: &gossipsub::MessageId) {
        self.0.retain(|(untaken, _)| untaken != id);
    }
}

impl Behaviour {
    /// Counts a block as published if a browser took it and no node is there. A node for browsers
    /// alone needs this; for any other, the block is not published before a node has taken it.
    pub const fn let_browsers_suffice(&mut self) {
        self.judging.browsers_suffice = true;
    }

    /// Publishes a message of our own on both meshes. Returns the outcome on the nodes' mesh, since
    /// that mesh carries the message to the network. The next attempt leaves out a mesh that has
    /// taken the message.
    pub fn publish(
        &mut self,
        chain_id: u64,
        version: PayloadVersion,
        contents: &[u8],
    ) -> SendOutcome {
        let name = block_topic(chain_id, version);
        let message = Unpacked::from_contents(contents);
        let id = gossipsub::MessageId(message.message_id(&name).to_vec());
        let topic = TopicHash::from_raw(name);
        let browsers = if self.judging.browsers_have(&id) {
            SendOutcome::AlreadySent
        } else {
            self.publish_on(Mesh::Browsers, &topic, &id, message.clone())
        };
        let browsers_have = matches!(browsers, SendOutcome::Sent | SendOutcome::AlreadySent);
        let nodes = self.publish_on(Mesh::Nodes, &topic, &id, message);
        let is_over = matches!(nodes, SendOutcome::Sent | SendOutcome::AlreadySent);
        self.judging.set_browsers_have((browsers_have && !is_over).then_some(id));
        if nodes == SendOutcome::NoPeers && browsers_have && self.judging.browsers_suffice {
            return browsers;
        }
        nodes
    }

    /// Publishes a message on one mesh.
    pub(super) fn publish_on(
        &mut self,
        mesh: Mesh,
        topic: &TopicHash,
        id: &gossipsub::MessageId,
        message: Unpacked,
    ) -> SendOutcome {
        // Without peers, compressing it would be a waste.
        if self.only(mesh).is_none_or(|only| only.count() == 0) {
            return SendOutcome::NoPeers;
        }
        let only = match mesh {
            Mesh::Nodes => self.gossipsub.as_mut(),
            Mesh::Browsers => self.browsers.as_mut(),
        };
        let Some(gossipsub) = only.map(Only::inner_mut) else { return SendOutcome::NoPeers };
        let untaken = self.judging.untaken(mesh).attempts(id);
        let published = match untaken {
            None => gossipsub.publish(topic.clone(), message.into_marked()),
            Some(attempts) => {
                // Longer than any id of the network, so it is the name of no other message.
                let alias = [id.0.as_slice(), &attempts.to_be_bytes()].concat();
                let alias = gossipsub::MessageId(alias);
                let transform = self.judging.transform(mesh);
                transform.set_alias(Some(alias.clone()));
                let published = gossipsub.publish(topic.clone(), message.into_marked());
                transform.set_alias(None);
                if matches!(published, Ok(_) | Err(PublishError::AllQueuesFull(_))) {
                    // Only the network's name may be advertised to peers. No peer brought the
                    // message, so none is judged.
                    gossipsub.report_message_validation_result(
                        &alias,
                        &PeerId::random(),
                        MessageAcceptance::Ignore,
                    );
                }
                published
            }
        };
        let untaken_now = self.judging.untaken_mut(mesh);
        match &published {
            Ok(_) => untaken_now.remove(id),
            Err(PublishError::AllQueuesFull(_)) => {
                untaken_now.set(id.clone(), untaken.map_or(0, |attempts| attempts.wrapping_add(1)));
            }
            Err(_) => {}
        }
        outcome(published)
    }
}

fn outcome(published: Result<gossipsub::MessageId, PublishError>) -> SendOutcome {
    match published {
        Ok(_) => SendOutcome::Sent,
        Err(PublishError::Duplicate) => SendOutcome::AlreadySent,
        Err(PublishError::NoPeersSubscribedToTopic) => SendOutcome::NoPeers,
        Err(PublishError::MessageTooLarge) => SendOutcome::Failed(
            "the compressed block is larger than a gossip message may be".into(),
        ),
        Err(PublishError::AllQueuesFull(peers)) => {
            SendOutcome::Failed(format!("the send queues of all {peers} peers are full"))
        }
        Err(PublishError::SigningError(error)) => SendOutcome::Failed(error.to_string()),
        Err(PublishError::TransformFailed(error)) => SendOutcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_untaken_messages_are_bounded() {
        let mut untaken = Untaken::default();
        let id = |number: usize| gossipsub::MessageId(number.to_be_bytes().to_vec());
        for number in 0..2 * MAX_UNTAKEN {
            untaken.set(id(number), 0);
        }
        assert_eq!(untaken.0.len(), MAX_UNTAKEN);
        assert_eq!(untaken.attempts(&id(MAX_UNTAKEN - 1)), None);
        untaken.set(id(MAX_UNTAKEN), 5);
        assert_eq!(untaken.0.len(), MAX_UNTAKEN);
        assert_eq!(untaken.attempts(&id(MAX_UNTAKEN)), Some(5));
        untaken.remove(&id(MAX_UNTAKEN));
        assert_eq!(untaken.attempts(&id(MAX_UNTAKEN)), None);
    }
}
