//! One entry of the page's list of peers.

use crate::faults::Fault;
use libp2p::Multiaddr;
use opp2p_core::peers::DisconnectReason;
use std::time::Duration;

/// A peer of the page's list.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) agent: Option<String>,
    pub(super) round_trip: Option<Duration>,
    pub(super) delivered: u64,
    pub(super) rejected: u64,
    /// Why it was last unreachable or lost: a code, and the words. `None` while it is dialled or
    /// connected.
    pub(super) reason: Option<(Fault, String)>,
    /// The last fault for which there was an `error` event, until the peer is connected again, or
    /// lost in another way than by [`Fault::Replaced`].
    pub(super) told: Option<Fault>,
    /// Reason that the core gave when it had the peer disconnected.
    pub(super) farewell: Option<DisconnectReason>,
    /// Whether it was ever connected.
    pub(super) was_connected: bool,
}

impl Known {
    /// Creates the entry of a peer that the page named.
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        Self { addresses, ..Self::default() }
    }
}
