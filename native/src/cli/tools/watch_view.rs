//! Contents of the live view of a node.

use crate::rpc::types::{NodeStatus, PeerInfo, VerdictInfo};
use std::time::Duration;

/// Contents of the view.
#[derive(Debug)]
#[cfg_attr(not(feature = "tui"), expect(dead_code, reason = "only the head is shown"))]
pub(super) struct View {
    pub(super) status: NodeStatus,
    pub(super) peers: Vec<PeerInfo>,
    /// Verdicts, newest first.
    pub(super) verdicts: Vec<VerdictInfo>,
    /// Error of the last query.
    pub(super) trouble: Option<String>,
    /// Time since the last answer.
    pub(super) silent: Duration,
}
