//! The page's list of peers: dials, losses, and the reports about them to the page.

use super::Driver;
use super::known::Known;
use crate::faults::{self, Fault, REPLACED};
use crate::options::{Code, Refusal};
use crate::settings::SILENCE;
use crate::tell::{PeerEventJs, PeerJs, Told};
use libp2p::PeerId;
use libp2p::swarm::{ConnectionError, DialError};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{DisconnectReason, PeerEvent, PeerNews, Stage};
use opp2p_wire::{from_libp2p, last_cause, to_libp2p};

impl Driver {
    /// Handles an event of the core about peers.
    pub(super) fn on_peers(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Banned { peer, .. } => {
                if let Some(peer) = to_libp2p(&peer) {
                    self.because(&peer, Fault::Banned, "it broke the rules of the network".into());
                    self.send_peer_event("banned", &peer);
                }
            }
            PeerEvent::Dropped { peer, why } => {
                let Some(peer) = to_libp2p(&peer) else { return };
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.farewell = Some(why);
                }
                if why == DisconnectReason::Silent {
                    let reason = format!("it said nothing for {} s", SILENCE.as_secs_f64());
                    self.because(&peer, Fault::Silent, reason);
                    self.send_peer_event("silent", &peer);
                }
            }
            PeerEvent::OtherChain { peer, chain_id } => {
                let Some(peer) = to_libp2p(&peer) else { return };
                let words = format!("is on chain {chain_id}, not on chain {}", self.chain_id);
                let message = format!("{peer} {words}");
                self.because(&peer, Fault::WrongNetwork, format!("it {words}"));
                self.tell(&Told::Error(Refusal { code: Code::WrongNetwork, message }));
            }
            PeerEvent::Lacking(_) => {}
        }
    }

    fn because(&mut self, peer: &PeerId, fault: Fault, reason: String) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.reason = Some((fault, reason));
        }
    }

    /// Records that a peer is being dialled.
    pub(super) fn dialled(&mut self, peer: &opp2p_core::peers::PeerId) {
        let Some(peer) = to_libp2p(peer) else { return };
        if let Some(known) = self.peers.get_mut(&peer) {
            known.reason = None;
        }
        self.send_peer_event("dialling", &peer);
    }

    /// Records that a peer was connected.
    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            (known.farewell, known.round_trip, known.reason) = (None, None, None);
            // Two observers with one identity replace each other again and again.
            known.told = known.told.filter(|fault| *fault == Fault::Replaced);
            known.was_connected = true;
        }
    }

    /// Records why the last connection to a peer ended, unless the core had it ended.
    pub(super) fn disconnected(
        &mut self,
        peer: &PeerId,
        cause: Option<&ConnectionError>,
        is_replaced: bool,
    ) {
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.farewell.is_none()) else {
            return;
        };
        if !is_replaced {
            known.told = None;
            let reason =
                cause.map_or_else(|| "it closed the connection".into(), |cause| last_cause(cause));
            return self.because(peer, Fault::Closed, reason);
        }
        if known.told.replace(Fault::Replaced) != Some(Fault::Replaced)
            && let Some(refusal) = faults::refusal(&peer.to_string(), Fault::Replaced, REPLACED)
        {
            self.tell(&Told::Error(refusal));
        }
        self.because(peer, Fault::Replaced, REPLACED.into());
    }

    /// Records why a dial of a peer failed, and reports a new reason to the page.
    pub(super) fn unreachable(&mut self, peer: &PeerId, error: &DialError) {
        let (fault, words) = faults::of_dial(error);
        let is_new = self.peers.get_mut(peer).is_some_and(|known| {
            // A peer that was reached before had no wrong address.
            let passes = fault == Fault::Unreachable && known.was_connected;
            known.told.replace(fault) != Some(fault) && !passes
        });
        if is_new && let Some(refusal) = faults::refusal(&peer.to_string(), fault, &words) {
            self.tell(&Told::Error(refusal));
        }
        self.because(peer, fault, words);
    }

    /// Records news about a peer that the page's list shows.
    pub(super) fn learn(&mut self, peer: Option<&PeerId>, news: &PeerNews) {
        let Some(known) = peer.and_then(|peer| self.peers.get_mut(peer)) else { return };
        match news {
            PeerNews::Identified(info) => known.agent = Some(info.agent.clone()),
            PeerNews::Pinged(round_trip) => known.round_trip = Some(*round_trip),
            _ => {}
        }
    }

    /// Returns an entry of the list as the page sees it.
    pub(super) fn peer(&self, id: &PeerId, known: &Known) -> PeerJs {
        let now = self.core.clock.now();
        let core = self.core.lock();
        let manager = core.peers();
        let peer = from_libp2p(id);
        let stage = peer.and_then(|peer| manager.stage(&peer));
        let banned_until = peer.and_then(|peer| manager.gate().ban_of(&peer));
        let banned_until = banned_until.filter(|until| *until > now.unix_seconds());
        let state = match (stage, banned_until) {
            (_, Some(_)) => "banned",
            // One that fell silent or was dropped is about to be disconnected.
            (Some(Stage::Connected), _) if known.farewell.is_none() => "connected",
            (Some(Stage::Dialling), _) => "dialling",
            _ => "waiting",
        };
        let is_in_mesh = |peer| {
            PayloadVersion::ALL.into_iter().any(|version| manager.is_in_mesh(&peer, version))
        };
        PeerJs {
            id: id.to_string(),
            address: known.addresses.first().map(ToString::to_string).unwrap_or_default(),
            state,
            agent: known.agent.clone(),
            score: peer.map_or(0.0, |peer| manager.score(now, &peer)),
            round_trip: known.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            in_mesh: state == "connected" && peer.is_some_and(is_in_mesh),
            delivered: known.delivered,
            rejected: known.rejected,
            banned_until,
            retry_in: match (stage, banned_until) {
                (Some(Stage::Waiting { until }), None) => {
                    Some(until.since(now.monotonic).as_secs_f64())
                }
                _ => None,
            },
            reason: known.reason.as_ref().map(|(_, words)| words.clone()),
            reason_code: known.reason.as_ref().map(|(fault, _)| *fault),
        }
    }

    /// Reports a change of a peer to the page.
    pub(super) fn send_peer_event(&mut self, what: &'static str, id: &PeerId) {
        self.status_changed = true;
        if let Some(known) = self.peers.get(id) {
            let peer = self.peer(id, known);
            self.tell(&Told::Peer(PeerEventJs { what, peer }));
        }
    }
}
