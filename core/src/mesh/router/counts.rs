//! Totals since the start, for metrics.

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
}
