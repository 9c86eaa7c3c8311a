//! Who counts how peers gossip: this node from verdicts and a gossip library's totals, or the
//! node's own router, which sees everything itself.
//!
//! # Bounds
//! Those of [`GossipScores`], or one snapshot for each connected peer.

use super::{DisconnectReason, PeerEvent, PeerManager, PeerStep};
use crate::payload::PayloadVersion;
use crate::peers::score::GossipSnapshot;
use crate::peers::{GossipScores, PeerId, PeerScores, ScoreParams};
use crate::sorted::SortedMap;
use crate::time::{Instant, Now};
use core::net::IpAddr;

/// The gossip part of all scores.
#[derive(Debug)]
pub(super) enum GossipPart {
    /// Peers are not scored.
    Off,
    /// Counted here.
    Counted(Box<GossipScores>),
    /// The router's, as last read, without the application's part. Of connected peers only: while
    /// a peer is away, the book has its scores.
    Routed {
        /// Weight of the application score.
        weight: f64,
        /// Each peer's part.
        known: SortedMap<PeerId, GossipSnapshot>,
    },
}

impl GossipPart {
    pub(super) fn new(params: Option<ScoreParams>) -> Self {
        params.map_or(Self::Off, |params| Self::Counted(Box::new(GossipScores::new(params))))
    }

    /// Returns `false` if peers are not scored.
    pub(super) const fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Returns the scores that are counted here, if they are.
    pub(super) fn counted(&mut self) -> Option<&mut GossipScores> {
        match self {
            Self::Counted(scores) => Some(scores),
            Self::Off | Self::Routed { .. } => None,
        }
    }

    pub(super) fn connected(&mut self, now: Instant, peer: PeerId, ip: Option<IpAddr>) {
        if let Some(scores) = self.counted() {
            scores.connected(now, peer, ip);
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, peer: &PeerId, application: f64) {
        match self {
            Self::Off => {}
            Self::Counted(scores) => scores.disconnected(now, peer, application),
            Self::Routed { known, .. } => drop(known.remove(peer)),
        }
    }

    pub(super) fn mesh(
        &mut self,
        now: Instant,
        peer: &PeerId,
        topic: PayloadVersion,
        is_member: bool,
    ) {
        if let Some(scores) = self.counted() {
            scores.mesh(now, peer, topic, is_member);
        }
    }

    /// Returns the score of a connected peer with this application score.
    pub(super) fn snapshot(&self, now: Instant, peer: &PeerId, application: f64) -> GossipSnapshot {
        match self {
            Self::Off => GossipSnapshot::default(),
            Self::Counted(scores) => scores.snapshot(now, peer, application),
            Self::Routed { weight, known } => {
                plus(known.get(peer).copied().unwrap_or_default(), application * weight)
            }
        }
    }

    /// Returns the score of a peer that is away, whose application score has changed since the
    /// book got `remembered`.
    pub(super) fn of_absent(
        &self,
        now: Instant,
        peer: &PeerId,
        remembered: GossipSnapshot,
        [before, application]: [f64; 2],
    ) -> GossipSnapshot {
        match self {
            Self::Routed { weight, .. } => plus(remembered, (application - before) * weight),
            Self::Off | Self::Counted(_) => self.snapshot(now, peer, application),
        }
    }
}

fn plus(snapshot: GossipSnapshot, points: f64) -> GossipSnapshot {
    GossipSnapshot { total: snapshot.total + points, ..snapshot }
}

impl PeerManager {
    /// Leaves the counting to the node's router, whose counts [`Self::routed`] takes.
    #[must_use]
    pub fn with_router(mut self) -> Self {
        if let Some(scores) = self.gossip.counted() {
            let weight = scores.params().application_weight;
            self.gossip = GossipPart::Routed { weight, known: SortedMap::new() };
        }
        self
    }

    /// Takes the router's count of how a peer gossips, without the application's part. Also counts
    /// if the peer has left in the meantime. Has no effect without [`Self::with_router`].
    pub fn routed(&mut self, now: Now, peer: &PeerId, conduct: GossipSnapshot) {
        let GossipPart::Routed { weight, known } = &mut self.gossip else { return };
        if self.connected.contains_key(peer) {
            known.insert(*peer, conduct);
            return self.changed(now, peer);
        }
        let weight = *weight;
        let req_resp = self.book.scores(now.unix_seconds(), peer).req_resp;
        self.application.restore(*peer, req_resp);
        let gossip = plus(conduct, self.application.score(peer) * weight);
        self.application.forget(peer);
        self.note_absent(now, peer, PeerScores { gossip, req_resp });
    }

    /// Closes the connections of a peer that floods us or reads nothing, and bans it, if bans are
    /// on. A peer that is never banned stays, unless a new connection may help.
    pub fn misbehaved(&mut self, now: Now, peer: &PeerId, why: DisconnectReason) {
        if self.gate.holds(now, peer, &[]) {
            return;
        }
        if self.is_protected(peer) {
            if why == DisconnectReason::Deaf {
                self.drop_peer(*peer, why);
            }
            return;
        }
        if self.config.bans.is_enabled {
            if self.connected.contains_key(peer) {
                self.note(now, peer);
            }
            let until = now.unix_seconds().saturating_add(self.config.bans.duration.as_secs());
            let score = Some(self.score(now, peer));
            self.gate.ban_peer(*peer, until);
            self.steps.push_back(PeerStep::Event(PeerEvent::Banned { peer: *peer, score, until }));
        }
        self.drop_peer(*peer, why);
    }

    /// Returns the addresses of a peer's connections.
    pub fn remote_ips(&self, peer: &PeerId) -> impl Iterator<Item = IpAddr> {
        self.ips(peer)
    }
}
