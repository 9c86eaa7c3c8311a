//! The answers' shapes. Those of the reference have its names, its order, its number forms, and `null` where it has
//! that; ours are in the same style.

use alloy_primitives::{Address, B256};
use opp2p_core::chain::BlockId;
use opp2p_core::engine::EngineStatus;
use opp2p_core::peers::PeerScores;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A peer (`PeerInfo` of the reference's `rpc_api.go`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Its id, base58.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Its discovery id: 64 hexadecimal digits. All zero if its key is no secp256k1 key, for which there is none.
    #[serde(rename = "nodeID")]
    pub node_id: String,
    /// What identify calls its program.
    pub user_agent: String,
    /// What identify calls its family of protocols; empty for the reference and for us.
    pub protocol_version: String,
    /// Its node record; empty if it was not discovered.
    #[serde(rename = "ENR")]
    pub enr: String,
    /// Multiaddrs, each with the peer's id; `null` if none is known.
    pub addresses: Option<Vec<String>>,
    /// Names of protocols; `null` if none is known.
    pub protocols: Option<Vec<String>>,
    /// 0 not connected, 1 connected.
    pub connectedness: u8,
    /// 0 unknown or not connected, 1 it dialled us, 2 we dialled it.
    pub direction: u8,
    /// Whether the tide spares it: static and protected peers, and those in a mesh.
    pub protected: bool,
    /// The chain that its node record names; 0 if unknown.
    #[serde(rename = "chainID")]
    pub chain_id: u64,
    /// Smoothed round-trip time in nanoseconds; 0 if unknown.
    pub latency: u64,
    /// Whether it joined any of the block topics.
    pub gossip_blocks: bool,
    /// Its scores in parts.
    pub scores: PeerScores,
}

/// Peers, and who is blocked (`PeerDump` of the reference).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerDump {
    /// How many of `peers` are connected.
    pub total_connected: u32,
    /// By id.
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

/// Counts of peers (`PeerStats` of the reference).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStats {
    /// Connected peers, browsers among them.
    pub connected: u32,
    /// Node records in discovery's table; 0 if it is switched off.
    pub table: u32,
    /// Connected peers that joined the v1 topic.
    pub blocks_topic: u32,
    /// The same for v2.
    pub blocks_topic_v2: u32,
    /// The same for v3.
    pub blocks_topic_v3: u32,
    /// The same for v4.
    pub blocks_topic_v4: u32,
    /// Peers on the operator's block list.
    pub banned: u32,
    /// Peers of which anything is known, this node among them.
    pub known: u32,
}

/// Counts of peers, as kona has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerCount {
    /// Node records in discovery's table; `null` if it is switched off.
    pub connected_discovery: Option<u32>,
    /// Connected peers.
    pub connected_gossip: u32,
}

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

impl From<BlockId> for Id {
    fn from(id: BlockId) -> Self {
        Self { number: id.number, hash: id.hash }
    }
}

/// How the node does: `opp2p_nodeStatus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Version of this program.
    pub version: String,
    /// What identify calls it.
    pub user_agent: String,
    /// The chain's name.
    pub network: String,
    /// The chain's id.
    #[serde(rename = "chainID")]
    pub chain_id: u64,
    /// The node's id.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Where it listens and what it advertises, with its id.
    pub addresses: Vec<String>,
    /// Seconds since it started.
    pub uptime: u64,
    /// Contiguous unsafe head.
    pub head: Option<Head>,
    /// Highest block that the sequencer signed.
    pub highest: Option<Id>,
    /// Highest block on the disk.
    pub stored: Option<Id>,
    /// What is wrong with the node itself, in sentences: a disk that takes no blocks, a part that panicked. It goes on.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What is missing below `highest`, at most 64 of them.
    pub gaps: Vec<GapInfo>,
    /// How fetching missing blocks stands; `null` if it is switched off.
    pub sync: Option<SyncInfo>,
    /// Peers, counted.
    pub peers: PeerNumbers,
    /// Messages, counted since the start.
    pub messages: MessageNumbers,
    /// Blocks served to peers by number since the start.
    pub served: u64,
    /// Bytes over all connections since the start.
    pub bandwidth: Bandwidth,
    /// Averages over the last minute.
    pub rates: Rates,
    /// Who may sign blocks.
    pub signer: SignerInfo,
    /// How the execution client does; `null` if there is none.
    #[serde(default)]
    pub engine: Option<EngineInfo>,
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// Why not.
    pub not_ready: Vec<String>,
}

/// How the execution client does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// `starting`, `following`, `syncing`, `away`, `mismatched` or `stuck`.
    pub activity: String,
    /// The highest block that it is known to have executed as its head.
    pub head: Option<Id>,
    /// How many blocks it is behind this node's head.
    pub behind: u64,
    /// The safe block, if anybody says one.
    pub safe: Option<Id>,
    /// The finalized block, if anybody says one.
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
    /// Its timestamp in unix seconds; `null` if the block itself is not at hand, as right after a start.
    pub timestamp: Option<u64>,
    /// How many seconds ago that was.
    pub age: Option<u64>,
}

/// Blocks that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapInfo {
    /// A number that no other gap of this run has.
    pub id: u64,
    /// The nearest block below that is there.
    pub after: Id,
    /// The lowest block that waits.
    pub before: Id,
    /// The highest block that waits.
    pub highest: Id,
    /// How many are missing; 0 for the ancestors of another branch, whose number is not known.
    pub missing: u64,
}

/// How fetching stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncInfo {
    /// The next block to prove, fetched from above; `null` if nothing is fetched.
    pub wanted: Option<Id>,
    /// Numbers between the head and `wanted`, it included: what is still to be fetched.
    pub left: u64,
    /// Fetched blocks that wait for those below.
    pub pending: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Peers that can be asked.
    pub servers: u64,
    /// Blocks that are being put on the chain.
    pub landing: u64,
}

/// Peers, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerNumbers {
    /// Connected, but for browsers.
    pub connected: u64,
    /// Those of them that dialled us.
    pub inbound: u64,
    /// Connected browsers.
    pub browsers: u64,
    /// Connected peers that joined the topic of the present fork.
    pub subscribers: u64,
    /// Those in its mesh.
    pub mesh: u64,
    /// Browsers in theirs.
    pub browser_mesh: u64,
    /// Peers of which anything is known.
    pub known: u64,
    /// How many are missing below the low mark.
    pub missing: u64,
}

/// Messages, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageNumbers {
    /// Accepted and relayed.
    pub accepted: u64,
    /// Ignored.
    pub ignored: u64,
    /// Rejected, and counted against the sender.
    pub rejected: u64,
    /// Those that were not accepted, by the check that decided.
    pub reasons: BTreeMap<String, u64>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Received.
    #[serde(rename = "in")]
    pub received: u64,
    /// Sent.
    #[serde(rename = "out")]
    pub sent: u64,
}

/// Averages, each for one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Seconds that they are over: up to 60. All are 0 in the first second.
    pub over: u64,
    /// Blocks by which the head moved.
    pub blocks: f64,
    /// Messages judged.
    pub messages: f64,
    /// Blocks served.
    pub served: f64,
    /// Bytes received.
    pub bytes_in: f64,
    /// Bytes sent.
    pub bytes_out: f64,
}

/// Who may sign blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignerInfo {
    /// Who signs.
    pub current: Option<Address>,
    /// Who signed before, and still counts for a while.
    pub previous: Option<Address>,
    /// Where the signer in force comes from: `nobody`, `chain configuration`, `operator`, `L1` or `caller`.
    pub origin: String,
    /// L1 block at which the SystemConfig contract was read last.
    pub l1_block: Option<u64>,
    /// Why the last attempt to read it failed; `null` if it did not.
    pub l1_error: Option<String>,
}

/// The judgement over a message: an entry of `opp2p_recentVerdicts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictInfo {
    /// When, in unix milliseconds.
    pub at: u64,
    /// Who sent the first copy.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// The topic's version: 1 to 4.
    pub topic: u8,
    /// `accept`, `ignore` or `reject`.
    pub verdict: String,
    /// The block, if it was accepted.
    pub block: Option<Id>,
    /// The check that decided, if not.
    pub reason: Option<String>,
    /// The same as a sentence.
    pub text: Option<String>,
}

/// What is remembered of a peer's scores: an entry of `opp2p_scoreBook`, as the reference's store has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreEntry {
    /// When the scores last changed, in unix seconds.
    pub last_update: u64,
    /// The scores.
    pub peer_scores: PeerScores,
}

/// Who is banned, by score or by the operator, and until when: `opp2p_bans`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bans {
    /// Peers.
    pub peers: Vec<PeerBan>,
    /// Addresses.
    pub addresses: Vec<AddressBan>,
}

/// A peer's ban.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerBan {
    /// Who.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Its end, in unix seconds.
    pub expiry: u64,
    /// The peer's score.
    pub score: f64,
}

/// An address's ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBan {
    /// Which.
    #[serde(rename = "IP")]
    pub ip: IpAddr,
    /// Its end, in unix seconds.
    pub expiry: u64,
}

/// The next block of the chain: what a subscription to `heads` gets.
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
    /// Its transactions.
    pub transactions: u64,
    /// Bytes of the payload.
    pub size: u64,
    /// Gas used.
    pub gas_used: u64,
}

/// Another branch: what a subscription to `reorgs` gets. The blocks of `adopted` follow as heads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReorgInfo {
    /// The highest block that both branches have.
    pub ancestor: Id,
    /// The blocks that are not canonical any more, lowest first.
    pub abandoned: Vec<Id>,
    /// Those that take their place, lowest first.
    pub adopted: Vec<Id>,
}

/// What a subscription to `gaps` gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum GapNews {
    /// Blocks are missing.
    Opened(GapInfo),
    /// Fewer are missing, or others.
    Changed(GapInfo),
    /// None are missing there any more.
    Closed {
        /// The gap's number.
        id: u64,
    },
    /// The chain goes on above blocks that were not found.
    Skipped {
        /// The head until now.
        from: Id,
        /// The head from now on.
        to: Id,
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
