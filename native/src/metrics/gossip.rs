//! Gossip events under the reference's names, which are those of the Go library's trace.
//!
//! * `PUBLISH_MESSAGE`: our own blocks that were compressed for gossip.
//! * `DELIVER_MESSAGE`: accepted messages, and our own blocks that were sent.
//! * `REJECT_MESSAGE`: messages that were not accepted: rejected, ignored or throttled by the
//!   validator, or refused by the router without a verdict; our own blocks that our validator
//!   refused.
//! * `DUPLICATE_MESSAGE`: copies of known messages. An own message that comes back is one of them.
//! * `ADD_PEER`, `REMOVE_PEER`: peers whose first connection opened or whose last one closed,
//!   including peers that turn out not to speak gossipsub.
//! * `RECV_RPC`, `SEND_RPC`: frames, as of the last heartbeat.
//! * `DROP_RPC`: messages that waited for a peer in vain.
//! * `JOIN`, `LEAVE`: topics; all are joined at the start and none is ever left.
//! * `GRAFT`, `PRUNE`: peers that entered a mesh, and that left one while connected.

use opp2p_core::mesh::{Counts, Router};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sequencer::PublishError;
use opp2p_node::host::HostHandle;

/// Returns the events and their numbers.
pub(super) fn events(host: &HostHandle) -> [(&'static str, u64); 13] {
    let meter = host.meter();
    let status = host.status().borrow().clone();
    let Counts { copies, refused, dropped, grafts, prunes, .. } =
        host.core(|node, _| node.router().map(Router::counts)).unwrap_or_default();
    let own_refused =
        meter.publish_errors.each(&PublishError::NAMES).find(|(why, _)| *why == "refused");
    let own_refused = own_refused.map_or(0, |(_, count)| count);
    [
        ("PUBLISH_MESSAGE", meter.given_to_gossip.get()),
        ("REJECT_MESSAGE", status.refused.values().sum::<u64>() + refused + own_refused),
        ("DUPLICATE_MESSAGE", copies),
        ("DELIVER_MESSAGE", status.accepted + meter.published.get()),
        ("ADD_PEER", meter.connected.get()),
        ("REMOVE_PEER", meter.disconnected.get()),
        ("RECV_RPC", meter.rpcs.get()),
        ("SEND_RPC", meter.rpcs_sent.get()),
        ("DROP_RPC", dropped),
        ("JOIN", PayloadVersion::ALL.len() as u64),
        ("LEAVE", 0),
        ("GRAFT", grafts),
        ("PRUNE", prunes),
    ]
}
