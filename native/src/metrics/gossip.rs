//! Gossip events under the reference's names, which are those of the Go library's trace.
//!
//! libp2p's gossipsub has no such trace. The numbers come from its own counters, from ours, and
//! from the connections' events:
//!
//! * `PUBLISH_MESSAGE`: our own blocks that were passed to gossip. Exact.
//! * `DELIVER_MESSAGE`: accepted messages, and our own blocks that were sent. Exact.
//! * `REJECT_MESSAGE`: messages that were not accepted, whether rejected, ignored or throttled;
//!   messages refused by gossip's signing policy or by the library itself; our own blocks that our
//!   validator refused. Exact.
//! * `DUPLICATE_MESSAGE`: received copies minus first copies. An own message that comes back counts
//!   as a duplicate too; a message on both the nodes' and the browsers' mesh has two first copies.
//! * `ADD_PEER`, `REMOVE_PEER`: peers whose first connection opened or whose last one closed,
//!   including peers that turn out not to speak gossipsub.
//! * `RECV_RPC`: received RPCs. Exact.
//! * `SEND_RPC`: sent messages: published, relayed, or requested. Approximate: RPCs with only
//!   control messages (`GRAFT`, `IHAVE`…) are sent inside the library and can't be counted.
//! * `DROP_RPC`: RPCs that were dropped because a peer did not accept them in time. Exact, at the
//!   next heartbeat.
//! * `JOIN`, `LEAVE`: topics; all are joined at the start and none is ever left. Exact.
//! * `GRAFT`, `PRUNE`: peers that joined a mesh, and that left one while connected. Exact.
//!
//! The node's own router (`--p2p.gossip.router own`) does not count duplicates, dropped RPCs,
//! grafts and prunes: those are left out. `RECV_RPC` and `SEND_RPC` are then its frames, exactly,
//! and `PUBLISH_MESSAGE` is what was compressed for it.
//!
//! Without the library's counters (see [`Host::start_measured`]) the numbers derived from them stay
//! zero.
//!
//! [`Host::start_measured`]: opp2p_node::host::Host::start_measured

use libp2p::metrics::Registry;
use opp2p_core::gossip::Mesh;
use opp2p_core::payload::PayloadVersion;

/// The library's counters, summed over topics and both meshes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) copies: u64,
    pub(super) first_copies: u64,
    pub(super) invalid: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    pub(super) grafts: u64,
    pub(super) prunes: u64,
}

impl Library {
    pub(super) fn read(registry: &Registry) -> Self {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = prometheus_client::encoding::text::encode_registry(&mut text, registry);
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = name.strip_prefix("browsers_").unwrap_or(name);
            let counter = match name {
                "topic_msg_recv_counts_unfiltered_total" => &mut found.copies,
                "topic_msg_recv_counts_total" => &mut found.first_copies,
                "invalid_messages_per_topic_total" => &mut found.invalid,
                "topic_msg_sent_counts_total" => &mut found.sent,
                "failed_messages_total" => &mut found.dropped,
                "mesh_peer_inclusion_events_total" => &mut found.grafts,
                // In the reference's terms, a peer that disconnects is not pruned.
                "mesh_peer_churn_events_total" if !labels.contains("reason=\"Dc\"") => {
                    &mut found.prunes
                }
                _ => continue,
            };
            *counter = counter.saturating_add(value.parse().unwrap_or_default());
        }
        found
    }

    pub(super) const fn duplicates(&self) -> u64 {
        self.copies.saturating_sub(self.first_copies)
    }
}

/// Returns the number of joined topics: one per version on each mesh.
pub(super) const fn joined(has_browsers: bool) -> usize {
    PayloadVersion::ALL.len() * if has_browsers { Mesh::ALL.len() } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_meshes_and_all_topics_are_summed() {
        let text = "# HELP topic_msg_recv_counts Help 9.\n\
            topic_msg_recv_counts_unfiltered_total{hash=\"/optimism/10/0/blocks\"} 5\n\
            topic_msg_recv_counts_unfiltered_total{hash=\"/optimism/10/1/blocks\"} 6\n\
            browsers_topic_msg_recv_counts_unfiltered_total{hash=\"x\"} 7\n\
            topic_msg_recv_counts_total{hash=\"x\"} 4\n\
            mesh_peer_churn_events_total{hash=\"x\",reason=\"Dc\"} 100\n\
            mesh_peer_churn_events_total{hash=\"x\",reason=\"Excess\"} 2\n\
            browsers_mesh_peer_inclusion_events_total{hash=\"x\",reason=\"Random\"} 3\n\
            failed_messages_total{x=\"y\"} 1\n\
            heartbeat_duration_sum 17.5\n\
            nonsense\n";
        let expected = Library {
            copies: 18,
            first_copies: 4,
            prunes: 2,
            grafts: 3,
            dropped: 1,
            ..Library::default()
        };
        assert_eq!(Library::parse(text), expected);
        assert_eq!(expected.duplicates(), 14);
        assert_eq!((joined(false), joined(true)), (4, 8));
    }
}
