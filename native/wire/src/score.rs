//! Peer scores between the core and gossipsub: the core's parameters in the library's types, and
//! the library's totals.
//!
//! The library acts on a score by itself: a peer below a threshold gets no gossip or no blocks, or
//! is ignored. It computes the score from the numbers of [`ScoreParams`] and the application score
//! that the core passes in, and reports only the total;
//! [`GossipScores`](opp2p_core::peers::GossipScores) counts the parts.

use crate::{Behaviour, Gossipsub, InvalidConfig, from_libp2p, to_libp2p};
use libp2p::gossipsub::{
    IdentTopic, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams,
};
use libp2p::identify;
use opp2p_core::gossip::{Mesh, block_topic};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::score::TopicParams;
use opp2p_core::peers::{PeerId, PeerInfo, ScoreParams, Thresholds};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Enables peer scoring. All topics are dormant until the core says which are live.
pub(super) fn score_peers(
    gossipsub: &mut Gossipsub,
    chain_id: u64,
    params: &ScoreParams,
) -> Result<(), InvalidConfig> {
    let topics = PayloadVersion::ALL.map(|version| {
        (TopicHash::from_raw(block_topic(chain_id, version)), topic(&params.dormant))
    });
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let score = PeerScoreParams {
        topics: topics.into(),
        topic_score_cap: params.topic_score_cap,
        app_specific_weight: params.application_weight,
        ip_colocation_factor_weight: params.ip_colocation_weight,
        ip_colocation_factor_threshold: params.ip_colocation_threshold,
        // The reference's library exempts loopback addresses by itself.
        ip_colocation_factor_whitelist: loopback.into(),
        behaviour_penalty_weight: params.behaviour_penalty_weight,
        behaviour_penalty_threshold: params.behaviour_penalty_threshold,
        behaviour_penalty_decay: params.behaviour_penalty_decay,
        decay_interval: params.decay_interval,
        decay_to_zero: params.decay_to_zero,
        retain_score: params.retain_score,
        // The reference's library has no such penalty, and a full queue for a peer is our own
        // limit.
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    };
    let Thresholds { gossip, publish, graylist, accept_px, opportunistic_graft } =
        Thresholds::REFERENCE;
    let thresholds = PeerScoreThresholds {
        gossip_threshold: gossip,
        publish_threshold: publish,
        graylist_threshold: graylist,
        accept_px_threshold: accept_px,
        opportunistic_graft_threshold: opportunistic_graft,
    };
    gossipsub.with_peer_score(score, thresholds).map_err(InvalidConfig)
}

fn topic(params: &TopicParams) -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: params.topic_weight,
        time_in_mesh_weight: params.time_in_mesh_weight,
        time_in_mesh_quantum: params.time_in_mesh_quantum,
        time_in_mesh_cap: params.time_in_mesh_cap,
        first_message_deliveries_weight: params.first_message_deliveries_weight,
        first_message_deliveries_decay: params.first_message_deliveries_decay,
        first_message_deliveries_cap: params.first_message_deliveries_cap,
        mesh_message_deliveries_weight: params.mesh_message_deliveries_weight,
        mesh_message_deliveries_decay: params.mesh_message_deliveries_decay,
        mesh_message_deliveries_cap: params.mesh_message_deliveries_cap,
        mesh_message_deliveries_threshold: params.mesh_message_deliveries_threshold,
        mesh_message_deliveries_window: params.mesh_message_deliveries_window,
        mesh_message_deliveries_activation: params.mesh_message_deliveries_activation,
        mesh_failure_penalty_weight: params.mesh_failure_penalty_weight,
        mesh_failure_penalty_decay: params.mesh_failure_penalty_decay,
        invalid_message_deliveries_weight: params.invalid_message_deliveries_weight,
        invalid_message_deliveries_decay: params.invalid_message_deliveries_decay,
    }
}

impl Behaviour {
    /// Scores deliveries on these live topics from now on, and on no others. Has no effect if peers
    /// are not scored.
    pub(super) fn set_live_topics(
        &mut self,
        chain_id: u64,
        params: &ScoreParams,
        live: [bool; PayloadVersion::ALL.len()],
    ) {
        for gossipsub in self.meshes_mut() {
            for version in PayloadVersion::ALL {
                let params = topic(params.topic(live[version.index()]));
                // Refused only if peers are not scored.
                let _ = gossipsub
                    .set_topic_params(IdentTopic::new(block_topic(chain_id, version)), params);
            }
        }
    }

    /// Sets the application score of a peer.
    pub(super) fn set_application_score(&mut self, peer: &PeerId, score: f64) {
        if let Some(peer) = to_libp2p(peer) {
            for gossipsub in self.meshes_mut() {
                // A mesh to which the peer is not connected keeps nothing.
                gossipsub.set_application_score(&peer, score);
            }
        }
    }

    /// Returns gossip's total scores of these peers; those that it does not score are left out.
    pub(super) fn scores<'a>(
        &self,
        peers: impl IntoIterator<Item = &'a libp2p::PeerId>,
    ) -> Vec<(PeerId, f64)> {
        let each = peers.into_iter().filter_map(|peer| {
            let is_browser = self.browsers.as_ref().is_some_and(|browsers| browsers.has(peer));
            let mesh = if is_browser { Mesh::Browsers } else { Mesh::Nodes };
            let score = self.only(mesh)?.inner().peer_score(peer)?;
            Some((from_libp2p(peer)?, score))
        });
        each.collect()
    }

    /// Returns the members of the meshes of each topic, including browsers in theirs.
    pub(super) fn mesh(&self, chain_id: u64) -> BTreeSet<(libp2p::PeerId, PayloadVersion)> {
        let each = PayloadVersion::ALL.into_iter().flat_map(|version| {
            let topic = TopicHash::from_raw(block_topic(chain_id, version));
            let members = self.meshes().flat_map(|gossipsub| gossipsub.mesh_peers(&topic));
            members.map(|peer| (*peer, version)).collect::<Vec<_>>()
        });
        each.collect()
    }
}

/// Converts a peer's identify information to the core's form.
pub(super) fn peer_info(info: identify::Info) -> PeerInfo {
    PeerInfo {
        agent: info.agent_version,
        protocol_version: info.protocol_version,
        protocols: info.protocols.iter().map(ToString::to_string).collect(),
        addresses: info.listen_addrs.iter().map(ToString::to_string).collect(),
    }
}
