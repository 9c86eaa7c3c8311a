//! Gossip's events by the reference's names, which are those of the Go library's trace.
//!
//! libp2p's gossipsub has no such trace. What is told here comes from its own counters, from ours, and from the
//! connections' events:
//!
//! | type | what is counted | |
//! |---|---|---|
//! | `PUBLISH_MESSAGE` | blocks of our own that were given to gossip | exact |
//! | `DELIVER_MESSAGE` | messages accepted, and blocks of our own that went out | exact |
//! | `REJECT_MESSAGE` | messages not accepted, whether rejected, ignored or throttled; those that gossip's signing policy or the library itself refused; blocks of our own that our validator refused | exact |
//! | `DUPLICATE_MESSAGE` | copies received less first copies | a message of our own that comes back counts as a duplicate too; a message on the nodes' and the browsers' mesh is two first copies |
//! | `ADD_PEER`, `REMOVE_PEER` | peers whose first connection opened, whose last one closed | also peers that turn out not to speak gossipsub |
//! | `RECV_RPC` | RPCs received | exact |
//! | `SEND_RPC` | messages sent on: published, relayed, or asked for | approximate: RPCs that hold only control (`GRAFT`, `IHAVE`…) are sent inside the library and can't be seen |
//! | `DROP_RPC` | RPCs given up because a peer takes none in time | exact, at the next heartbeat |
//! | `JOIN`, `LEAVE` | topics: all are joined at the start and never left | exact |
//! | `GRAFT`, `PRUNE` | peers that came into a mesh, that left one while connected | exact |
//!
//! Without the library's counters (see [`Host::start_measured`](crate::host::Host::start_measured)) what comes from them
//! stays zero.

use crate::swarm::Mesh;
use libp2p::metrics::Registry;
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
                // One that disconnects is not pruned, in the reference's terms.
                "mesh_peer_churn_events_total" if !labels.contains("reason=\"Dc\"") => &mut found.prunes,
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

/// Topics joined: those of each version, on each mesh.
pub(super) const fn joined(has_browsers: bool) -> usize {
    PayloadVersion::ALL.len() * if has_browsers { Mesh::ALL.len() } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_meshes_and_all_topics_are_summed_and_nothing_else() {
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
        let expected =
            Library { copies: 18, first_copies: 4, prunes: 2, grafts: 3, dropped: 1, ..Library::default() };
        assert_eq!(Library::parse(text), expected);
        assert_eq!(expected.duplicates(), 14);
        assert_eq!((joined(false), joined(true)), (4, 8));
    }
}
