//! Inputs and outputs of a [`Node`](super::Node).

use super::{Job, JobResult, RangeInput, RangeOutput, StoreId, UnknownFork};
use crate::chain::{BlockId, ChainEvent};
use crate::gossip::{MessageId, ScheduleDoubt, Signature, Unpacked, Verdict};
use crate::mesh::{StreamAction, StreamEvent};
use crate::payload::{Block, PayloadVersion};
use crate::peers::{
    CommandId, ConnectionId, ListFull, MemoryChange, PeerCommand, PeerEvent, PeerId, PeerLists,
    PeerListsChange, PeerNews,
};
use crate::sequencer::{Publication, PublishError, PublishId, SendOutcome};
use crate::sync::{RangeId, Recalled, RequestFailure, RequestId, ResultCode, ServeId, SyncEvent};
use crate::trouble::{Report, TroubleEntry};
use alloy_primitives::{Address, B256, Bytes};

/// An input: an event outside the node.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first copy of a gossip message arrived. Exactly one [`Output::Verdict`] answers it.
    Gossip {
        /// The sender of this copy.
        from: PeerId,
        /// Payload version of the topic on which it arrived.
        topic: PayloadVersion,
        /// The message's id on that topic, see [`Unpacked::message_id`].
        id: MessageId,
        /// The message's contents.
        message: Unpacked,
    },
    /// An event of a peer's gossip streams. Only with
    /// [`NodeConfig::mesh`](super::NodeConfig::mesh).
    Mesh(StreamEvent),
    /// A job ended.
    JobDone(JobResult),
    /// Publish a block of our own. Exactly one [`Event::Published`] answers it.
    Publish {
        /// Id assigned by the caller.
        id: PublishId,
        /// The block.
        publication: Publication,
    },
    /// The signer answered an [`Output::Sign`].
    Signed {
        /// Id of the publication.
        id: PublishId,
        /// The signature, or the reason why the signer gave no signature, as one sentence.
        result: Result<Signature, String>,
    },
    /// The network answered an [`Output::Send`].
    Sent {
        /// Id of the publication.
        id: PublishId,
        /// The outcome.
        outcome: SendOutcome,
    },
    /// The unsafe-block signer is now this one, or unknown if `None`.
    SetSigner(Option<Address>),
    /// The unsafe-block signer was read from L1.
    SignerRead {
        /// The signer, or `None` if L1 names none.
        signer: Option<Address>,
        /// Timestamp of the L1 block at which it was read, in unix seconds. A peer that sent a
        /// block of another signer is blamed only if this is late enough.
        as_of: u64,
    },
    /// The first connection to a peer is established.
    Connected(PeerId),
    /// The last connection to a peer is closed.
    Disconnected(PeerId),
    /// An attempt to connect to a peer failed.
    DialFailed(PeerId),
    /// There may be a network again, or another one: a cable was plugged in, or a lid was opened.
    /// Waiting static peers are dialled at once. With [`PeersConfig::silence`], connected peers
    /// have less time than usual to be heard.
    ///
    /// [`PeersConfig::silence`]: crate::peers::PeersConfig::silence
    NetworkChanged,
    /// A new fact about a peer.
    Peer(PeerId, PeerNews),
    /// An [`Output::TakeScores`] was carried out: gossip's own score of each connected peer.
    GossipScores(Vec<(PeerId, f64)>),
    /// An operator's command about a peer. One [`Event::Commanded`] answers it.
    Command {
        /// Id assigned by the caller.
        id: CommandId,
        /// The command.
        command: PeerCommand,
    },
    /// The operator's lists are now these. One [`Event::Configured`] answers it.
    Configure {
        /// Id assigned by the caller.
        id: CommandId,
        /// The static peers and the block lists.
        lists: PeerLists,
    },
    /// The driver is about to stop, and will still store the outputs that follow.
    Stopping,
    /// A peer requests a block by number. One [`Output::Serve`] or [`Output::Refuse`] answers it.
    Requested {
        /// The requesting peer.
        from: PeerId,
        /// Id that the driver assigned to the stream.
        id: ServeId,
        /// Number of the requested block.
        number: u64,
    },
    /// The response to a request was written, or the stream was closed before that.
    Responded(ServeId),
    /// An [`Output::Request`] or [`Output::RequestRpc`] ended, with all bytes of the response or
    /// with an error.
    Response {
        /// Id of the request.
        id: RequestId,
        /// The response as received.
        result: Result<Bytes, RequestFailure>,
    },
    /// An event of a stream of the range protocol.
    Range(RangeInput),
    /// An [`Output::Store`] was carried out, or the store refused it. Results may come in any
    /// order.
    Stored {
        /// Id of the change.
        id: StoreId,
        /// Whether the change is durable.
        is_stored: bool,
    },
    /// A [`StoreChange::Prepend`] was not carried out, since the store's own limits allow no older
    /// blocks. This answers it in place of [`Input::Stored`].
    NotKept(StoreId),
    /// The blocks of an [`Output::Load`] in its order, with `None` for each that can't be read.
    Loaded(Vec<Option<Block>>),
    /// Answers an [`Output::Recall`].
    Recalled {
        /// The requested block.
        from: BlockId,
        /// The block and those below, highest first; empty if the store lacks the block.
        blocks: Vec<Recalled>,
    },
    /// A caller that knows a block's hash requests the chain up to it. One [`SyncEvent::Range`]
    /// answers it.
    FetchRange {
        /// Id assigned by the caller.
        id: RangeId,
        /// Highest block of the range.
        to: BlockId,
    },
    /// A block that the operator vouches for, see [`vouched`](super::vouched): it counts as signed,
    /// but is not gossiped.
    Insert(Block),
    /// The driver reports the state of one of its own parts. It may repeat itself.
    Report(Report),
    /// Only time passed: the driver woke up at [`Node::next_wakeup`](super::Node::next_wakeup).
    Wake,
}

/// An output: an action for the driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Run this job and return its result.
    Job(Job),
    /// Pass a verdict on a message to gossip. With the node's own router, it is only to be shown.
    Verdict(Verdict),
    /// An action on a peer's gossip streams. Only with
    /// [`NodeConfig::mesh`](super::NodeConfig::mesh).
    Mesh(StreamAction),
    /// Have this signed and return the signature.
    Sign(SignRequest),
    /// Publish a message of our own on gossip and return the outcome.
    Send {
        /// Id of the publication.
        id: PublishId,
        /// Payload version of the topic to publish on.
        topic: PayloadVersion,
        /// The message, decompressed.
        contents: Bytes,
    },
    /// Connect to a peer. The attempt ends with [`Input::Connected`] or [`Input::DialFailed`].
    Dial {
        /// Id of the peer.
        peer: PeerId,
        /// Multiaddrs at which to try it: the operator's, or else the remembered ones. May be
        /// empty, so that the attempt fails.
        addresses: Vec<String>,
    },
    /// Close all connections to a peer.
    Disconnect(PeerId),
    /// Close this connection, which has its id from a [`Knock`](crate::peers::Knock): its peer, a
    /// browser, has a newer one.
    Close(ConnectionId),
    /// Set gossip's application score of a peer, with a weight of 1.
    ApplicationScore(PeerId, f64),
    /// The live topics from now on, by version: those on which a current block may arrive. Gossip
    /// that scores its peers rewards activity on these topics only.
    LiveTopics([bool; PayloadVersion::ALL.len()]),
    /// Blocks of an unknown signer arrive: read the signer now and return [`Input::SignerRead`],
    /// whether or not it has changed. Only with
    /// [`NodeConfig::reads_signer`](super::NodeConfig::reads_signer).
    ReadSigner,
    /// Return [`Input::GossipScores`], if gossip scores peers at all.
    TakeScores,
    /// Apply these changes to the store's peer memory.
    Remember(Vec<MemoryChange>),
    /// Send a request for a block by its number and return the [`Input::Response`] in any case, at
    /// the latest [`STREAM_DEADLINE`](crate::sync::STREAM_DEADLINE) after the stream is open.
    Request {
        /// Id of the request.
        id: RequestId,
        /// The peer to ask.
        to: PeerId,
        /// Number of the requested block.
        number: u64,
        /// Maximum number of bytes to read; a longer response is [`RequestFailure::TooLong`].
        limit: usize,
    },
    /// Post this JSON-RPC request to an endpoint, as `application/json`, and return the body of the
    /// response as [`Input::Response`] in any case, at the latest 10 s later. An unreachable
    /// endpoint is [`RequestFailure::Closed`], HTTP status 429 is [`RequestFailure::Limited`].
    RequestRpc {
        /// Id of the request.
        id: RequestId,
        /// Index of the endpoint in the operator's list, which has
        /// [`ClientConfig::endpoints`](crate::sync::ClientConfig::endpoints) entries.
        endpoint: usize,
        /// Number of the requested block, for display.
        number: u64,
        /// The body of the request.
        body: String,
        /// Maximum number of bytes to read; a longer response is [`RequestFailure::TooLong`].
        limit: usize,
    },
    /// Answer a request by [`answer`](crate::sync::answer) with `held`, or with the stored
    /// canonical block of that number; then return [`Input::Responded`].
    Serve {
        /// Id of the request.
        id: ServeId,
        /// Number of the block.
        number: u64,
        /// The block, or `None` if it must be read from the store.
        held: Option<Block>,
    },
    /// Answer a request with this code; then return [`Input::Responded`].
    Refuse {
        /// Id of the request.
        id: ServeId,
        /// The code.
        code: ResultCode,
    },
    /// An action for a stream of the range protocol. Without support for the protocol, the driver
    /// answers [`RangeOutput::Open`] by [`RangeInput::Closed`] and ignores the others.
    Range(RangeOutput),
    /// Read these blocks from the store's pending area, after applying all earlier changes, and
    /// return [`Input::Loaded`].
    Load(Vec<BlockId>),
    /// After applying all earlier changes, look for this block in the store, canonical or not, and
    /// for those below that link to it: at most [`LOAD_BLOCKS`](crate::sync::LOAD_BLOCKS) or
    /// [`LOAD_BYTES`](crate::sync::LOAD_BYTES). Return [`Input::Recalled`] in any case.
    Recall(BlockId),
    /// Apply this change to the store and return [`Input::Stored`] in any case. Changes must be
    /// applied in order. A driver need not keep a change that it can't apply: the node issues it
    /// again while it has the block.
    Store {
        /// Id of the change.
        id: StoreId,
        /// The change.
        change: StoreChange,
    },
    /// Report this event.
    Event(Event),
}

/// A request to sign a block (`op-service/signer`): a signer may use the parts or only the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Id of the publication.
    pub id: PublishId,
    /// Domain, always zero for blocks.
    pub domain: B256,
    /// Id of the L2 chain.
    pub chain_id: u64,
    /// Hash over the encoded envelope.
    pub payload_hash: B256,
    /// Hash over the three: the bytes that the key signs.
    pub signing_hash: B256,
}

/// A change of the stored canonical chain.
#[derive(Clone, Debug)]
pub enum StoreChange {
    /// This block is the new head, and canonical at its number. All stored blocks above it are no
    /// longer canonical: after a [`ChainEvent::Skipped`] the chain may go on below the previous
    /// head.
    Extend(Block),
    /// This earlier block is the head again: all blocks above its number are no longer canonical.
    /// The store may lack it, if it is the parent of the very first block, or was removed by
    /// retention.
    Rewind(BlockId),
    /// The next `Extend` or `Promote` begins a chain that does not build on the stored one: no
    /// stored block is canonical any more. They stay readable by hash until retention removes them.
    Detach,
    /// As `Extend`, for a block in the pending area, which need not be written again.
    Promote(BlockId),
    /// This block does not link to the chain yet. Store it in the pending area, where it survives a
    /// restart.
    Hold(Block),
    /// These are no longer needed in the pending area.
    Release(Vec<BlockId>),
    /// This block of the history is canonical, and the head stays. It must be refused unless the
    /// stored chain has the block above, which names it as its parent.
    Prepend(Block),
}

/// An event to report.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change of the unsafe chain; above all [`ChainEvent::Extended`], its next block.
    Chain(ChainEvent<Block>),
    /// An event of fetching blocks.
    Sync(SyncEvent),
    /// An event about peers.
    Peers(PeerEvent),
    /// Result of an operator's command.
    Commanded {
        /// Id of the command.
        id: CommandId,
        /// Whether the command was carried out.
        result: Result<(), ListFull>,
    },
    /// Result of an [`Input::Configure`].
    Configured {
        /// Id of the command.
        id: CommandId,
        /// What changed, or the error if nothing did.
        result: Result<PeerListsChange, ListFull>,
    },
    /// A publication of ours ended.
    Published {
        /// Id of the publication.
        id: PublishId,
        /// The block's hash if it was sent, or the reason why it was not.
        result: Result<B256, PublishError>,
    },
    /// The signer has changed.
    SignerChanged {
        /// The new signer, or `None` if it is unknown.
        current: Option<Address>,
        /// The predecessor, while it is still accepted.
        previous: Option<Address>,
    },
    /// Blocks that the sequencer signed break our fork schedule. Reported with the first one, and
    /// then at most once a minute while such blocks arrive.
    ScheduleInDoubt(ScheduleDoubt),
    /// No such block arrived for a while, or many signed blocks in a row kept to the schedule.
    ScheduleDoubtEnded(ScheduleDoubt),
    /// The configuration has a fork that this software does not know. Reported at the start, and
    /// again when the fork's time passes.
    UnknownFork(UnknownFork),
    /// The node has this trouble now: see [`Node::troubles`](super::Node::troubles).
    TroubleBegan(TroubleEntry),
    /// The node no longer has this trouble: its last state.
    TroubleEnded(TroubleEntry),
}
