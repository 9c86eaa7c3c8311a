//! What goes into a [`Node`](super::Node) and what comes out.

use super::{Job, JobResult};
use crate::chain::{BlockId, ChainEvent};
use crate::gossip::{MessageId, Reason, Signature, Unpacked};
use crate::payload::{Block, PayloadVersion};
use crate::peers::{CommandId, ListFull, MemoryChange, PeerCommand, PeerEvent, PeerId, PeerNews};
use crate::sequencer::{Publication, PublishError, PublishId, SendOutcome};
use crate::sync::{RangeId, RequestFailure, RequestId, ResultCode, ServeId, SyncEvent};
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
    /// There may be a network again, or another one: a cable was plugged in, a lid was opened. Static peers that wait
    /// are dialled at once.
    NetworkChanged,
    /// Something is known of a peer that was not before.
    Peer(PeerId, PeerNews),
    /// An [`Output::TakeScores`] was carried out: gossip's own score of each connected peer.
    GossipScores(Vec<(PeerId, f64)>),
    /// An operator wants something of a peer. One [`Event::Commanded`] answers it.
    Command {
        /// The caller's name for it.
        id: CommandId,
        /// What.
        command: PeerCommand,
    },
    /// The driver is about to stop, and will still store what comes out.
    Stopping,
    /// A peer asks for the block of a number. One [`Output::Serve`] or [`Output::Refuse`] answers it.
    Requested {
        /// Who.
        from: PeerId,
        /// The driver's name for the stream.
        id: ServeId,
        /// Which block.
        number: u64,
    },
    /// The answer to a request was written, or the stream was closed before.
    Responded(ServeId),
    /// An [`Output::Request`] ended: all bytes until the end of the stream, or why there are none.
    Response {
        /// Which request.
        id: RequestId,
        /// The answer as it came.
        result: Result<Bytes, RequestFailure>,
    },
    /// A [`StoreChange::Hold`] was carried out, or failed.
    Held {
        /// Which block.
        id: BlockId,
        /// Whether it is in the pending area, durably.
        is_held: bool,
    },
    /// The blocks of an [`Output::Load`] in its order, `None` for each that can't be read.
    Loaded(Vec<Option<Block>>),
    /// Somebody who knows the hash of a block wants the chain up to it. One [`SyncEvent::Range`] answers it.
    FetchRange {
        /// The caller's name for it.
        id: RangeId,
        /// Its highest block.
        to: BlockId,
    },
    /// A block for which whoever runs this node vouches, see [`vouched`](super::vouched): it counts as signed, but is not
    /// gossiped.
    Insert(Block),
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
    /// Connect to a peer: a static one, whose address the driver knows, or one that is remembered, see
    /// [`PeerManager::addresses`](crate::peers::PeerManager::addresses). The attempt ends with
    /// [`Input::Connected`] or [`Input::DialFailed`].
    Dial(PeerId),
    /// Close all connections to a peer.
    Disconnect(PeerId),
    /// Gossip is to count with this application score of a peer, by a weight of 1.
    ApplicationScore(PeerId, f64),
    /// These topics are live from now on, by version: those on which a block of now may come. Gossip that scores its
    /// peers rewards what happens on them, and no others.
    LiveTopics([bool; PayloadVersion::ALL.len()]),
    /// Blocks of an unknown signer come: find out now who signs, and give back [`Input::SetSigner`], whether or not it is
    /// another one. Only with [`NodeConfig::reads_signer`](super::NodeConfig::reads_signer).
    ReadSigner,
    /// Give back [`Input::GossipScores`], if gossip scores peers at all.
    TakeScores,
    /// Put these into the store's peer memory, or remove them.
    Remember(Vec<MemoryChange>),
    /// Send a request for a block by its number and give back the [`Input::Response`]: at the latest 10 s after
    /// the stream is open, and in any case.
    Request {
        /// Its name.
        id: RequestId,
        /// Whom.
        to: PeerId,
        /// For what.
        number: u64,
        /// No more bytes than this are to be read; more is [`RequestFailure::TooLong`].
        limit: usize,
    },
    /// Answer a request by [`answer`](crate::sync::answer) with `held`, or with the stored canonical block of that
    /// number; then give back [`Input::Responded`].
    Serve {
        /// Which request.
        id: ServeId,
        /// Which block.
        number: u64,
        /// The block, if no store needs to be asked.
        held: Option<Block>,
    },
    /// Answer a request with this code; then give back [`Input::Responded`].
    Refuse {
        /// Which request.
        id: ServeId,
        /// Why.
        code: ResultCode,
    },
    /// Read these blocks from the store's pending area, after all changes that were to be stored before, and give
    /// back [`Input::Loaded`].
    Load(Vec<BlockId>),
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
    /// As `Extend`, for a block that is in the pending area: it need not be written again.
    Promote(BlockId),
    /// This block does not link to the chain yet. It belongs into the pending area, where it outlives a restart;
    /// [`Input::Held`] must follow.
    Hold(Block),
    /// These are not needed in the pending area any more.
    Release(Vec<BlockId>),
}

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// What happened to the unsafe chain; above all [`ChainEvent::Extended`], the next block of it.
    Chain(ChainEvent<Block>),
    /// What happened while blocks were fetched.
    Sync(SyncEvent),
    /// What happened to peers.
    Peers(PeerEvent),
    /// What came of an operator's wish.
    Commanded {
        /// Which one.
        id: CommandId,
        /// Whether it is done.
        result: Result<(), ListFull>,
    },
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
