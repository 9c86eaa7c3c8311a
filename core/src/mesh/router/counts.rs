//! Totals since the start, for metrics.

use crate::mesh::send::Tally;

/// Counters of events since the router's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received copies of messages that were known, including our own that came back.
    pub copies: u64,
    /// Received messages without a verdict: signed ones, too large ones, and those of peers that
    /// exceeded their budget.
    pub refused: u64,
    /// Messages that were dropped from a peer's queue: the peer was too slow, or its stream was
    /// closed. Those of a connected peer are counted at the next heartbeat.
    pub dropped: u64,
    /// Peers that entered a mesh.
    pub grafts: u64,
    /// Peers that left a mesh and stayed connected.
    pub prunes: u64,
    /// Notices of transfers that were sent: of large messages to the peer, and of those to us.
    pub notices: u64,
    /// Messages that were held back because the peer was receiving them from another. They are
    /// counted as [`Self::dropped`] is.
    pub held: u64,
    /// Those of them that the peer then had, so they were not sent.
    pub spared: u64,
    /// Messages that peers began to send us, by their notices, and that did not come.
    pub broken: u64,
}

impl Counts {
    /// Adds the events of an outbox.
    pub(super) const fn add(&mut self, tally: Tally) {
        self.dropped += tally.dropped;
        self.held += tally.held;
        self.spared += tally.spared;
    }
}
