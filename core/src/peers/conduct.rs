//! How a peer behaved as a server of blocks (`op-node/p2p/app_scores.go`).

/// One thing that a peer did, as its application score counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conduct {
    /// It served a block that was proved to be the chain's.
    ValidResponse,
    /// It failed, answered with nonsense, or did not answer in time.
    ErrorResponse,
    /// It served a block that is not the chain's.
    RejectedPayload,
}
