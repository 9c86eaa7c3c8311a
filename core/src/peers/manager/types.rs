//! Input and output types of the [`PeerManager`](super::PeerManager).

use crate::discovery::Restriction;
use crate::payload::PayloadVersion;
use crate::peers::{
    Backoff, BanPolicy, BlockEntry, ConnectionId, ConnectionManagerConfig, Door, LimitsConfig,
    MemoryChange, PeerId, PeerInfo, PeerMetadata, Scoring, Thresholds,
};
use core::net::IpAddr;
use std::fmt;
use std::time::Duration;

/// Settings of a [`PeerManager`](super::PeerManager).
#[derive(Clone, Debug, PartialEq)]
pub struct PeersConfig {
    /// Scoring level (`--p2p.scoring`).
    pub scoring: Scoring,
    /// Rule that turns bad scores into bans (`--p2p.ban.*`).
    pub bans: BanPolicy,
    /// Minimum score with which a peer may connect; `None` for no minimum.
    pub min_score: Option<f64>,
    /// Low and high marks of the number of peers (`--p2p.peers.*`).
    pub connections: ConnectionManagerConfig,
    /// Limits on the number of connections.
    pub limits: LimitsConfig,
    /// Maximum number of remembered peers.
    pub remembered: usize,
    /// Networks in which remembered peers are dialled (`--p2p.netrestrict`). Does not apply to
    /// static peers, nor to addresses that an operator's command dials.
    pub restriction: Restriction,
    /// Whether remembered peers are dialled while peers are missing. Set this to `false` if the
    /// operator wants no connections other than static peers and peers that dial this node
    /// (`--p2p.no-discovery`).
    pub dials_remembered: bool,
    /// Whether static peers are exempt, because the operator vouches for them. Set this to `false`
    /// if they are addresses that a user pasted: a lying static peer is then banned like any other.
    pub trusts_static: bool,
    /// Waits between two dials of a static peer.
    pub redial: Backoff,
    /// Time without any message after which a peer is disconnected; `None` for no limit. The driver
    /// must ping several times within that time.
    pub silence: Option<Duration>,
}

impl Default for PeersConfig {
    /// Returns the reference's defaults, except that a peer with a score below −40 may not connect,
    /// since it would be graylisted at once.
    fn default() -> Self {
        Self {
            scoring: Scoring::Light,
            bans: BanPolicy::default(),
            min_score: Some(Thresholds::REFERENCE.graylist),
            connections: ConnectionManagerConfig::default(),
            limits: LimitsConfig::default(),
            remembered: 4096,
            restriction: Restriction::default(),
            dials_remembered: true,
            trusts_static: true,
            redial: Backoff::default(),
            silence: None,
        }
    }
}

/// Id of an operator's command, assigned by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// News about a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerNews {
    /// The peer identified itself.
    Identified(PeerInfo),
    /// Discovery found the peer: the metadata from its record, and its multiaddrs.
    Discovered(PeerMetadata, Vec<String>),
    /// The peer answered a ping after this round-trip time.
    Pinged(Duration),
    /// Bytes came from the peer, whatever they are part of. On a slow line, a large block holds up
    /// everything else, so with [`PeersConfig::silence`] a driver reports them twice a second.
    ///
    /// [`PeersConfig::silence`]: super::PeersConfig::silence
    Received,
    /// The peer joined (`true`) or left the topic of this version.
    Subscribed(PayloadVersion, bool),
    /// The peer entered (`true`) or left our mesh of the topic of this version.
    Mesh(PayloadVersion, bool),
}

impl PeerNews {
    /// Returns `true` if the peer itself just sent something.
    pub(crate) const fn is_sent_by_peer(&self) -> bool {
        matches!(
            self,
            Self::Identified(_) | Self::Pinged(_) | Self::Received | Self::Subscribed(..)
        )
    }
}

/// A driver's question before it spends work on a connection, or its notice that a connection
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// A peer is to be dialled.
    DialPeer(PeerId),
    /// A resolved address is to be dialled.
    DialAddress(IpAddr),
    /// An inbound connection arrived, before any handshake. If it may proceed, [`Knock::Secured`]
    /// or [`Knock::Ended`] must follow.
    Accept {
        /// The driver's id of the connection.
        id: ConnectionId,
        /// Door at which the connection came in.
        door: Door,
        /// Remote address, if the transport has one.
        ip: Option<IpAddr>,
    },
    /// The handshake of an accepted connection is about to begin, and its peer can be told a reason
    /// for a refusal. The handshake is the expensive part, so a door that must refuse every peer
    /// refuses here.
    Begin(Door),
    /// The handshake of a connection is complete. If it may proceed, [`Knock::Ended`] must follow
    /// eventually.
    Secured {
        /// The driver's id of the connection.
        id: ConnectionId,
        /// Door at which the connection came in, or [`Door::Tcp`] if this node dialled.
        door: Door,
        /// The authenticated remote peer.
        peer: PeerId,
        /// Remote address, if the transport has one.
        ip: Option<IpAddr>,
        /// Whether the peer dialled us.
        is_inbound: bool,
    },
    /// An admitted connection failed or was closed.
    Ended(ConnectionId),
}

/// An operator's command about a peer, an address or a subnet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerCommand {
    /// Refuse the entry from now on, and close its connections.
    Block(BlockEntry),
    /// Stop refusing the entry. For a peer, this also lifts its ban.
    Unblock(BlockEntry),
    /// Ban a peer for this duration, and close its connections.
    BanPeer(PeerId, Duration),
    /// Lift a peer's ban. A peer that the operator blocked stays blocked.
    UnbanPeer(PeerId),
    /// Ban an address for this duration, and close its connections.
    BanIp(IpAddr, Duration),
    /// Lift an address's ban.
    UnbanIp(IpAddr),
    /// Set whether a peer is exempt from being dropped and from bans by score.
    Protect(PeerId, bool),
    /// Close all connections to a peer, forget its addresses, and lift its block and ban.
    Disconnect(PeerId),
}

/// Reason to disconnect a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The peer was banned.
    Banned,
    /// The operator blocked the peer or one of its addresses.
    Blocked,
    /// There are too many peers, and this one is the least valuable.
    Surplus,
    /// The operator requested it.
    Asked,
    /// The peer sent nothing for too long.
    Silent,
    /// The peer demanded far more than any implementation does, for longer than a burst.
    Flooding,
    /// The peer read nothing of what it was sent.
    Deaf,
}

impl DisconnectReason {
    /// All names, in the order of [`Self::index`].
    pub const NAMES: [&str; 7] =
        ["banned", "blocked", "surplus", "asked", "silent", "flooding", "deaf"];

    /// Returns the position in [`Self::NAMES`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Banned => "banned",
            Self::Blocked => "blocked",
            Self::Surplus => "too many peers",
            Self::Asked => "on request",
            Self::Silent => "silent for too long",
            Self::Flooding => "flooding this node",
            Self::Deaf => "reading nothing",
        })
    }
}

/// An event about peers, for subscribers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerEvent {
    /// A peer was banned.
    Banned {
        /// The banned peer.
        peer: PeerId,
        /// Its score; `None` if the operator banned it.
        score: Option<f64>,
        /// End of the ban, in Unix seconds.
        until: u64,
    },
    /// A peer is about to be disconnected.
    Dropped {
        /// The peer to disconnect.
        peer: PeerId,
        /// Reason for the disconnect.
        why: DisconnectReason,
    },
    /// A peer supports other chains but not this one.
    OtherChain {
        /// The peer.
        peer: PeerId,
        /// One of the chains that it serves.
        chain_id: u64,
    },
    /// The number of peers fell below the low mark (`true`), or reached it again (`false`).
    Lacking(bool),
}

/// An action that the manager requests from its driver.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerStep {
    /// Connect to a peer.
    Dial {
        /// Id of the peer.
        peer: PeerId,
        /// Its [`PeerManager::dial_addresses`](super::PeerManager::dial_addresses).
        addresses: Vec<String>,
    },
    /// Close all connections to this peer.
    Disconnect(PeerId),
    /// Close this connection: its peer, a browser, has a newer one.
    Close(ConnectionId),
    /// Pass this application score of the peer to gossip.
    ApplicationScore(PeerId, f64),
    /// Pass gossip's scores of all connected peers to
    /// [`PeerManager::gossip_scores`](super::PeerManager::gossip_scores).
    Snapshot,
    /// Store these changes.
    Remember(Vec<MemoryChange>),
    /// Publish this event.
    Event(PeerEvent),
}
