//! Shapes of the answers. Those of the reference have its names, field order, number formats and
//! `null`s; ours follow the same style.

pub use crate::json::{Id, Ids};
use alloy_primitives::{Address, B256};
use opp2p_core::engine::EngineStatus;
use opp2p_core::gossip::ScheduleDoubt;
use opp2p_core::node::UnknownFork;
use opp2p_core::peers::PeerScores;
use opp2p_core::trouble::TroubleEntry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A peer (`PeerInfo` of the reference's `rpc_api.go`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Peer id in base58.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Discovery id: 64 hexadecimal digits. All zeros if the peer's key is not a secp256k1 key,
    /// which has no discovery id.
    #[serde(rename = "nodeID")]
    pub node_id: String,
    /// Program name from identify.
    pub user_agent: String,
    /// Protocol family from identify; empty for the reference and for us.
    pub protocol_version: String,
    /// Node record; empty if the peer was not discovered.
    #[serde(rename = "ENR")]
    pub enr: String,
    /// Multiaddrs, each with the peer's id; `null` if none is known.
    pub addresses: Option<Vec<String>>,
    /// Protocol names; `null` if none is known.
    pub protocols: Option<Vec<String>>,
    /// 0: not connected; 1: connected.
    pub connectedness: u8,
    /// 0: unknown or not connected; 1: it dialled us; 2: we dialled it.
    pub direction: u8,
    /// Whether it is exempt from the tide: static and protected peers, and those in a mesh.
    pub protected: bool,
    /// Chain id in its node record; 0 if unknown.
    #[serde(rename = "chainID")]
    pub chain_id: u64,
    /// Smoothed round-trip time in nanoseconds; 0 if unknown.
    pub latency: u64,
    /// Whether it subscribes to any of the block topics.
    pub gossip_blocks: bool,
    /// Its scores by component.
    pub scores: PeerScores,
}

/// Peers and the block lists (`PeerDump` of the reference).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerDump {
    /// Number of connected peers in `peers`.
    pub total_connected: u32,
    /// Peers by id.
    pub peers: BTreeMap<String, PeerInfo>,
    /// Peers on the operator's block list.
    pub banned_peers: Vec<String>,
    /// Addresses on the operator's block list.
    #[serde(rename = "bannedIPS")]
    pub banned_ips: Vec<IpAddr>,
    /// Networks on the operator's block list.
    pub banned_subnets: Vec<IpNet>,
}

/// A network as Go writes it: `{"IP":"1.2.0.0","Mask":"//8AAA=="}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpNet {
    /// Its first address.
    #[serde(rename = "IP")]
    pub ip: IpAddr,
    /// Its mask: 4 or 16 bytes in base64.
    #[serde(rename = "Mask")]
    pub mask: String,
}

/// Peer counts (`PeerStats` of the reference).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStats {
    /// Connected peers, including browsers.
    pub connected: u32,
    /// Node records in the discovery table; 0 if discovery is off.
    pub table: u32,
    /// Connected peers subscribed to the v1 topic.
    pub blocks_topic: u32,
    /// Connected peers subscribed to the v2 topic.
    pub blocks_topic_v2: u32,
    /// Connected peers subscribed to the v3 topic.
    pub blocks_topic_v3: u32,
    /// Connected peers subscribed to the v4 topic.
    pub blocks_topic_v4: u32,
    /// Peers on the operator's block list.
    pub banned: u32,
    /// Peers with a record, including this node.
    pub known: u32,
}

/// Peer counts in kona's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerCount {
    /// Node records in the discovery table; `null` if discovery is off.
    pub connected_discovery: Option<u32>,
    /// Connected peers.
    pub connected_gossip: u32,
}

/// State of the node: `opp2p_nodeStatus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Version of this program.
    pub version: String,
    /// Program name that identify sends.
    pub user_agent: String,
    /// The chain's name.
    pub network: String,
    /// The chain's id.
    #[serde(rename = "chainID")]
    pub chain_id: u64,
    /// The node's id.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Listening and advertised addresses, with the node's id.
    pub addresses: Vec<String>,
    /// Seconds since the start.
    pub uptime: u64,
    /// Contiguous unsafe head.
    pub head: Option<Head>,
    /// Highest block that the sequencer signed.
    pub highest: Option<Id>,
    /// Highest block on the disk.
    pub stored: Option<Id>,
    /// The sentences of `troubles`.
    #[serde(default)]
    pub problems: Vec<String>,
    /// The trouble list: the node's own problems. The node keeps running with them.
    #[serde(default)]
    pub troubles: Vec<TroubleInfo>,
    /// Gaps below `highest`, at most 64.
    pub gaps: Vec<GapInfo>,
    /// State of the sync of missing blocks; `null` if it is off.
    pub sync: Option<SyncInfo>,
    /// Peer counts.
    pub peers: PeerNumbers,
    /// Message counts since the start.
    pub messages: MessageNumbers,
    /// Blocks served to peers by number since the start.
    pub served: u64,
    /// Bytes over all connections since the start.
    pub bandwidth: Bandwidth,
    /// Average rates over the last minute.
    pub rates: Rates,
    /// Block signers.
    pub signer: SignerInfo,
    /// State of the execution client; `null` if there is none.
    pub engine: Option<EngineInfo>,
    /// Agreement of the fork schedule with the chain.
    #[serde(default)]
    pub schedule: ScheduleInfo,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Reasons why the node is not ready.
    pub not_ready: Vec<String>,
}

/// An entry of the trouble list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleInfo {
    /// Name of its kind, the same as in metrics.
    pub kind: String,
    /// One sentence: what is wrong, with the present details, and what to do.
    pub text: String,
    /// What to do, as one clause.
    pub remedy: String,
    /// Time of the first sign, in unix seconds.
    pub since: u64,
    /// Time at which the cause was last there, in unix seconds. While it lasts, this is the time
    /// of the answer; once it is gone, the time at which it went.
    pub last: u64,
}

impl From<TroubleEntry> for TroubleInfo {
    fn from(entry: TroubleEntry) -> Self {
        let kind = entry.trouble.kind();
        Self {
            kind: kind.name().to_owned(),
            text: entry.trouble.to_string(),
            remedy: entry.trouble.remedy().into_owned(),
            since: entry.since,
            last: entry.last,
        }
    }
}

/// Notification of the `troubles` subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "trouble", rename_all = "camelCase")]
pub enum TroubleNews {
    /// A trouble began.
    Began(TroubleInfo),
    /// A trouble ended.
    Ended(TroubleInfo),
}

/// Agreement of the fork schedule with the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleInfo {
    /// Rule violations by blocks that the sequencer signed; `null` while there are none.
    pub doubt: Option<DoubtInfo>,
    /// Forks of the configuration that this version does not know.
    pub unknown_forks: Vec<UnknownForkInfo>,
}

/// Rule violations of the fork schedule by blocks that the sequencer signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoubtInfo {
    /// Name of the rule that the newest of these blocks broke.
    pub rule: String,
    /// The fork whose activation time is in doubt.
    pub fork: String,
    /// Activation time of the fork in the schedule, in unix seconds; `null` if it has none.
    pub activation: Option<u64>,
    /// Arrival of the first such block, in unix seconds.
    pub since: u64,
    /// Arrival of the newest such block, in unix seconds.
    pub last: u64,
    /// Number of such blocks.
    pub blocks: u64,
    /// Advice to the operator.
    pub remedy: String,
}

impl From<ScheduleDoubt> for DoubtInfo {
    fn from(doubt: ScheduleDoubt) -> Self {
        Self {
            rule: doubt.rule.name().to_owned(),
            fork: doubt.fork.name().to_owned(),
            activation: doubt.activation,
            since: doubt.since,
            last: doubt.last,
            blocks: doubt.blocks,
            remedy: doubt.remedy(),
        }
    }
}

/// A fork of the configuration that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownForkInfo {
    /// Configuration field with the fork's time.
    pub name: String,
    /// The fork's time, in unix seconds.
    pub time: u64,
    /// Whether it has passed.
    pub active: bool,
}

impl From<UnknownFork> for UnknownForkInfo {
    fn from(fork: UnknownFork) -> Self {
        Self { name: fork.name, time: fork.time, active: fork.is_active }
    }
}

/// State of the execution client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `starting`, `following`, `syncing`, `away`, `mismatched` or `stuck`.
    pub activity: String,
    /// Highest block that the client has confirmed as its head.
    pub head: Option<Id>,
    /// Number of blocks that it is behind this node's head.
    pub behind: u64,
    /// The safe block, if a source reports one.
    pub safe: Option<Id>,
    /// The finalized block, if a source reports one.
    pub finalized: Option<Id>,
}

impl From<&EngineStatus> for EngineInfo {
    fn from(status: &EngineStatus) -> Self {
        Self {
            activity: status.activity.name().to_owned(),
            head: status.head.map(Into::into),
            behind: status.behind,
            safe: status.labels.safe.map(Into::into),
            finalized: status.labels.finalized.map(Into::into),
        }
    }
}

/// The head of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its timestamp in unix seconds; `null` if the block itself is not held, as right after a
    /// start.
    pub timestamp: Option<u64>,
    /// Its time in unix milliseconds, where the chain's blocks carry milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<u64>,
    /// Its age in whole seconds.
    pub age: Option<u64>,
    /// Its age in milliseconds.
    pub age_ms: Option<u64>,
}

/// A range of missing blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapInfo {
    /// Number of the gap, unique within this run.
    pub id: u64,
    /// The nearest block below the gap.
    pub after: Id,
    /// The lowest block that waits above the gap.
    pub before: Id,
    /// The highest block that waits above the gap.
    pub highest: Id,
    /// Number of missing blocks; 0 for the ancestors of another branch, whose number is unknown.
    pub missing: u64,
}

/// State of the sync of missing blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncInfo {
    /// The next block to verify, fetched from above; `null` if nothing is fetched.
    pub wanted: Option<Id>,
    /// The next block of the history to verify; `null` if no history is fetched.
    pub history: Option<Id>,
    /// Number of blocks above the head up to and including `wanted`, which are still to be fetched.
    pub left: u64,
    /// Fetched blocks that wait for blocks below them.
    pub pending: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Peers that can serve blocks.
    pub servers: u64,
    /// JSON-RPC endpoints that can serve blocks when peers don't deliver.
    #[serde(default)]
    pub endpoints: u64,
    /// Blocks that are being put on the chain.
    pub landing: u64,
}

/// Peer counts by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerNumbers {
    /// Connected peers, except browsers.
    pub connected: u64,
    /// Connected peers, except browsers, that dialled us.
    pub inbound: u64,
    /// Connected browsers.
    pub browsers: u64,
    /// Connected peers subscribed to the current fork's topic.
    pub subscribers: u64,
    /// Peers in that topic's mesh.
    pub mesh: u64,
    /// Browsers in the browser mesh.
    pub browser_mesh: u64,
    /// Peers with a record.
    pub known: u64,
    /// Number of peers missing to the low mark.
    pub missing: u64,
}

/// Message counts by verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageNumbers {
    /// Accepted and relayed.
    pub accepted: u64,
    /// Ignored.
    pub ignored: u64,
    /// Rejected, and counted against the sender.
    pub rejected: u64,
    /// Messages that were not accepted, by the deciding check.
    pub reasons: BTreeMap<String, u64>,
}

/// Byte counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Received.
    #[serde(rename = "in")]
    pub received: u64,
    /// Sent.
    #[serde(rename = "out")]
    pub sent: u64,
}

/// Average rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Seconds in the window: up to 60. All rates are 0 in the first second.
    pub over: u64,
    /// Blocks by which the head moved.
    pub blocks: f64,
    /// Messages that were judged.
    pub messages: f64,
    /// Blocks served.
    pub served: f64,
    /// Bytes received.
    pub bytes_in: f64,
    /// Bytes sent.
    pub bytes_out: f64,
}

/// Block signers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignerInfo {
    /// The current signer.
    pub current: Option<Address>,
    /// The previous signer, which still counts for a while.
    pub previous: Option<Address>,
    /// Source of the signer in force: `nobody`, `chain configuration`, `operator`, `L1` or
    /// `caller`.
    pub origin: String,
    /// L1 block of the last read of the SystemConfig contract.
    pub l1_block: Option<u64>,
    /// Error of the last attempt to read it; `null` if it succeeded.
    pub l1_error: Option<String>,
}

/// Verdict on a message: an entry of `opp2p_recentVerdicts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictInfo {
    /// Time of the verdict, in unix seconds.
    pub at: u64,
    /// Time of the verdict, in unix milliseconds.
    pub at_ms: u64,
    /// Sender of the first copy.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Version of the topic: `v1` to `v4`.
    pub topic: String,
    /// `accept`, `ignore` or `reject`.
    pub verdict: String,
    /// The block, if it was accepted.
    pub block: Option<Id>,
    /// The deciding check, if it was not accepted.
    pub reason: Option<String>,
    /// `reason` as a sentence.
    pub text: Option<String>,
    /// Address that signed the message; `null` if the checks did not come that far.
    #[serde(default)]
    pub signer: Option<Address>,
}

/// Remembered scores of a peer: an entry of `opp2p_scoreBook`, in the shape of the reference's
/// store.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreEntry {
    /// Time of the last change, in unix seconds.
    pub last_update: u64,
    /// The scores.
    pub peer_scores: PeerScores,
}

/// Bans by score or by the operator, with their ends: `opp2p_bans`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bans {
    /// Banned peers.
    pub peers: Vec<PeerBan>,
    /// Banned addresses.
    pub addresses: Vec<AddressBan>,
}

/// Ban of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerBan {
    /// The peer's id.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// End of the ban, in unix seconds.
    pub expiry: u64,
    /// The peer's score.
    pub score: f64,
}

/// Ban of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBan {
    /// The address.
    #[serde(rename = "IP")]
    pub ip: IpAddr,
    /// End of the ban, in unix seconds.
    pub expiry: u64,
}

/// The next block of the chain: notification of the `heads` subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadInfo {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its parent's hash.
    pub parent_hash: B256,
    /// Its timestamp, in unix seconds.
    pub timestamp: u64,
    /// Its time in unix milliseconds, where the chain's blocks carry milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<u64>,
    /// Number of its transactions.
    pub transactions: u64,
    /// Size of the payload in bytes.
    pub size: u64,
    /// Gas used.
    pub gas_used: u64,
}

/// Switch to another branch: notification of the `reorgs` subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReorgInfo {
    /// The highest block on both branches.
    pub ancestor: Id,
    /// The blocks that are no longer canonical.
    pub abandoned: Ids,
    /// The known blocks that replace them. They follow as heads, at once or as they are fetched,
    /// and the last of them may be lower than the old head.
    pub adopted: Ids,
}

/// Notification of the `gaps` subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum GapNews {
    /// A gap opened.
    Opened(GapInfo),
    /// The blocks that are missing in a gap changed.
    Changed(GapInfo),
    /// A gap closed.
    Closed {
        /// The gap's number.
        id: u64,
    },
    /// The chain continues above blocks that were not found.
    Skipped {
        /// The previous head.
        from: Id,
        /// The next block of the chain.
        to: Id,
        /// The lowest skipped number; `null` if no number is skipped.
        first: Option<u64>,
        /// The highest skipped number; `null` if no number is skipped.
        last: Option<u64>,
    },
}

impl From<opp2p_core::chain::Gap> for GapInfo {
    fn from(gap: opp2p_core::chain::Gap) -> Self {
        Self {
            id: gap.id.number(),
            after: gap.after.into(),
            before: gap.before.into(),
            highest: gap.highest.into(),
            missing: gap.missing,
        }
    }
}

/// What a reload of the configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// One line that says the same.
    pub summary: String,
    /// The new log level; `null` if it is the same.
    pub log_level: Option<String>,
    /// Number of new static peers.
    pub static_peers_added: usize,
    /// Number of peers that are no longer static.
    pub static_peers_removed: usize,
    /// Number of new entries of the block lists.
    pub blocked_added: usize,
    /// Number of entries that the block lists no longer have.
    pub blocked_removed: usize,
    /// Whether the browsers' listener has another certificate.
    pub certificate: bool,
    /// Settings that changed since the start, and take effect with the next start.
    pub need_restart: Vec<String>,
}
