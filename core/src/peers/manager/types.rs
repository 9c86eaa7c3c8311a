//! What goes into a [`PeerManager`](super::PeerManager) and what comes out.

use crate::payload::PayloadVersion;
use crate::peers::{
    Backoff, BanPolicy, BlockEntry, ConnectionId, Door, LimitsConfig, MemoryChange, PeerId, PeerInfo,
    PeerMetadata, Scoring, Thresholds, TideConfig,
};
use core::net::IpAddr;
use std::time::Duration;

/// How peers are kept in check.
#[derive(Clone, Debug, PartialEq)]
pub struct PeersConfig {
    /// How peers are scored (`--p2p.scoring`).
    pub scoring: Scoring,
    /// Who is banned by score (`--p2p.ban.*`).
    pub bans: BanPolicy,
    /// Least score with which a peer may connect; `None`: any.
    pub min_score: Option<f64>,
    /// How many peers are kept (`--p2p.peers.*`).
    pub tide: TideConfig,
    /// How many connections there may be.
    pub limits: LimitsConfig,
    /// Peers that are remembered.
    pub remembered: usize,
    /// Whether static peers are exempt, as the operator vouches for them. Where they are addresses that a user
    /// pasted, they are not: who lies is banned like anybody.
    pub trusts_static: bool,
    /// When static peers are dialled again.
    pub redial: Backoff,
    /// How long a peer may say nothing at all before it is disconnected; `None`: for ever. It needs a driver that
    /// pings several times within.
    pub silence: Option<Duration>,
}

impl Default for PeersConfig {
    /// The reference's defaults. Who would be graylisted at once, below −40, may not connect.
    fn default() -> Self {
        Self {
            scoring: Scoring::Light,
            bans: BanPolicy::default(),
            min_score: Some(Thresholds::REFERENCE.graylist),
            tide: TideConfig::default(),
            limits: LimitsConfig::default(),
            remembered: 4096,
            trusts_static: true,
            redial: Backoff::default(),
            silence: None,
        }
    }
}

/// Names an operator's wish; handed out by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Something that is known of a peer now.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerNews {
    /// It said who it is.
    Identified(PeerInfo),
    /// Discovery found it: what its record says, and its multiaddrs.
    Discovered(PeerMetadata, Vec<String>),
    /// It answered a ping after so long.
    Pinged(Duration),
    /// It joined the topic of this version, or left it.
    Subscribed(PayloadVersion, bool),
    /// It entered our mesh of the topic of this version, or left it.
    Mesh(PayloadVersion, bool),
}

impl PeerNews {
    /// Whether the peer itself said something just now.
    pub(crate) const fn is_from_the_peer(&self) -> bool {
        matches!(self, Self::Identified(_) | Self::Pinged(_) | Self::Subscribed(..))
    }
}

/// What a driver asks before it spends any work on a connection, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// A peer is to be dialled.
    DialPeer(PeerId),
    /// An address is to be dialled, resolved.
    DialAddress(IpAddr),
    /// An inbound connection came, before any handshake. If it may go on, [`Knock::Secured`] or
    /// [`Knock::Ended`] must follow.
    Accept {
        /// The driver's name for it.
        id: ConnectionId,
        /// Where it came in.
        door: Door,
        /// From where, if the transport has addresses.
        ip: Option<IpAddr>,
    },
    /// The handshake of a connection is done. If it may go on, [`Knock::Ended`] must follow in the end.
    Secured {
        /// The driver's name for it.
        id: ConnectionId,
        /// Where it came in, or that it was dialled by TCP.
        door: Door,
        /// Who it is.
        peer: PeerId,
        /// Where the peer is.
        ip: Option<IpAddr>,
        /// Whether the peer dialled.
        is_inbound: bool,
    },
    /// A connection that was let in failed or was closed.
    Ended(ConnectionId),
}

/// What an operator may want of a peer, an address or a subnet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerCommand {
    /// Refuse it from now on, and close what stands.
    Block(BlockEntry),
    /// Don't refuse it any more. For a peer, its ban is lifted too.
    Unblock(BlockEntry),
    /// Ban a peer for so long, and close what stands.
    BanPeer(PeerId, Duration),
    /// Lift the ban of a peer. If the operator blocked it, it stays blocked.
    UnbanPeer(PeerId),
    /// Ban an address for so long, and close what stands.
    BanIp(IpAddr, Duration),
    /// Lift the ban of an address.
    UnbanIp(IpAddr),
    /// Whether the peer is never dropped nor banned by score.
    Protect(PeerId, bool),
    /// Close all connections to it, forget its addresses, and lift what keeps it from connecting.
    Disconnect(PeerId),
}

/// Why a peer is to be disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Farewell {
    /// It was banned.
    Banned,
    /// The operator blocked it.
    Blocked,
    /// There are too many, and it is worth least.
    Surplus,
    /// The operator asked for it.
    Asked,
    /// It said nothing for too long.
    Silent,
}

/// Something about peers that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerEvent {
    /// A peer was banned.
    Banned {
        /// Who.
        peer: PeerId,
        /// Its score; `None` if the operator did it.
        score: Option<f64>,
        /// Until when, unix seconds.
        until: u64,
    },
    /// A peer is to be disconnected.
    Dropped {
        /// Who.
        peer: PeerId,
        /// Why.
        why: Farewell,
    },
    /// A peer speaks for other chains and not for this one.
    OtherChain {
        /// Who.
        peer: PeerId,
        /// A chain that it serves.
        chain_id: u64,
    },
    /// There are fewer peers than the low mark from now on, or there are enough.
    Lacking(bool),
}

/// Something that the manager wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerStep {
    /// Connect to it; [`PeerManager::addresses`](super::PeerManager::addresses) or the driver knows where.
    Dial(PeerId),
    /// Close all connections to it.
    Disconnect(PeerId),
    /// Tell gossip its application score.
    ApplicationScore(PeerId, f64),
    /// Tell the manager gossip's scores of all connected peers.
    Snapshot,
    /// Have this kept.
    Remember(Vec<MemoryChange>),
    /// Tell whoever is interested.
    Event(PeerEvent),
}
