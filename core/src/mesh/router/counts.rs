//! Totals since the start, for metrics.

/// Numbers of what happened since the router's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received copies of messages that were known, including our own that came back.
    pub copies: u64,
    /// Received messages without a verdict: signed ones, too large ones, and those of peers that
    /// sent more than they may.
    pub refused: u64,
    /// Messages that waited for a peer in vain: the peer was too slow, or its stream was closed.
    /// Those that a heartbeat finds; the others of a connected peer follow with the next one.
    pub dropped: u64,
    /// Peers that entered a mesh.
    pub grafts: u64,
    /// Peers that left a mesh and stayed connected.
    pub prunes: u64,
}
