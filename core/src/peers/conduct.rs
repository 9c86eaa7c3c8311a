//! Conduct of a peer as a server of blocks (`op-node/p2p/app_scores.go`).

/// Outcome of one request to a peer, as counted by its application score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conduct {
    /// The peer served a block that was proved to belong to the chain.
    ValidResponse,
    /// The peer returned an error, sent an unreadable answer, or did not answer in time.
    ErrorResponse,
    /// The peer served a block that does not belong to the chain.
    RejectedPayload,
}
