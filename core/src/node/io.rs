//! What goes into a [`Node`](super::Node) and what comes out.

use super::{Job, JobResult};
use crate::chain::{BlockId, ChainEvent};
use crate::gossip::{MessageId, Reason, Signature, Unpacked};
use crate::payload::{Block, PayloadVersion};
use crate::peers::PeerId;
use crate::sequencer::{Publication, PublishError, PublishId, SendOutcome};
use alloy_primitives::{Address, B256, Bytes};

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first copy of a gossip message came in. Exactly one [`Output::Verdict`] answers it.
    Gossip {
        /// Who sent this copy.
        from: PeerId,
        /// Version of the topic that it came on.
        topic: PayloadVersion,
        /// Its id on that topic, see [`Unpacked::message_id`].
        id: MessageId,
        /// Its contents.
        message: Unpacked,
    },
    /// A job ended.
    JobDone(JobResult),
    /// A block of our own is to be published. Exactly one [`Event::Published`] answers it.
    Publish {
        /// The caller's name for it.
        id: PublishId,
        /// The block.
        publication: Publication,
    },
    /// The signer answered an [`Output::Sign`].
    Signed {
        /// Which publication.
        id: PublishId,
        /// The signature, or one sentence on why there is none.
        result: Result<Signature, String>,
    },
    /// The network answered an [`Output::Send`].
    Sent {
        /// Which publication.
        id: PublishId,
        /// What became of it.
        outcome: SendOutcome,
    },
    /// The unsafe-block signer is now this one; `None` if nobody is known.
    SetSigner(Option<Address>),
    /// The first connection to a peer stands.
    Connected(PeerId),
    /// The last connection to a peer is gone.
    Disconnected(PeerId),
    /// An attempt to connect to a peer failed.
    DialFailed(PeerId),
    /// Nothing but time passed: the driver woke up at [`Node::next_wakeup`](super::Node::next_wakeup).
    Wake,
}

/// Something that the driver is to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Run this and give the result back.
    Job(Job),
    /// Tell gossip what to do with a message.
    Verdict(Verdict),
    /// Have this signed and give the signature back.
    Sign(SignRequest),
    /// Publish a message of our own on gossip and give the outcome back.
    Send {
        /// Which publication.
        id: PublishId,
        /// Version of the topic to publish on.
        topic: PayloadVersion,
        /// The message, decompressed.
        contents: Bytes,
    },
    /// Connect to a peer whose address the driver knows.
    Dial(PeerId),
    /// Put this into the store. Changes are to be applied in the order in which they come.
    Store(StoreChange),
    /// Tell whoever is interested.
    Event(Event),
}

/// The judgement over one gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who sent the first copy.
    pub from: PeerId,
    /// Version of the topic.
    pub topic: PayloadVersion,
    /// Which message.
    pub id: MessageId,
    /// The block if it is accepted, else the check that decided;
    /// [`Reason::acceptance`] says what gossip does then.
    pub result: Result<BlockId, Reason>,
}

/// A request to sign a block (`op-service/signer`): a signer may take the parts or just the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Which publication.
    pub id: PublishId,
    /// Domain, always zero for blocks.
    pub domain: B256,
    /// The L2 chain.
    pub chain_id: u64,
    /// Hash over the encoded envelope.
    pub payload_hash: B256,
    /// Hash over the three: what the key signs.
    pub signing_hash: B256,
}

/// A change of the stored canonical chain.
#[derive(Clone, Debug)]
pub enum StoreChange {
    /// This block is the new head, and canonical at its number. Whatever stands above it is not canonical
    /// any more: after an [`ChainEvent::Skipped`] the chain may go on below the head until now.
    Extend(Block),
    /// This earlier block is the head again: whatever stands above its number is not canonical any more.
    /// It may be the parent of the first block of all, which the store does not have.
    Rewind(BlockId),
}

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// What happened to the unsafe chain; above all [`ChainEvent::Extended`], the next block of it.
    Chain(ChainEvent<Block>),
    /// A publication of ours ended.
    Published {
        /// Which one.
        id: PublishId,
        /// The block's hash once it is on its way, or why it is not.
        result: Result<B256, PublishError>,
    },
    /// Another signer is in force.
    SignerChanged {
        /// Who signs now.
        current: Option<Address>,
        /// Who still counts for a while.
        previous: Option<Address>,
    },
}
