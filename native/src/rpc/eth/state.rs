//! State of the execution API.

use super::heads::Heads;
use super::index::Index;
use opp2p_core::chain::{BlockId, Labels};
use opp2p_node::host::HostHandle;
use std::sync::Arc;
use tokio::sync::watch;

/// State that the methods of `eth` use beside the node.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct Eth {
    /// Source of labels beyond gossip, if the configuration names one.
    labels: Option<watch::Receiver<Labels>>,
    /// The head at the start of the RPC.
    pub(super) start: Option<BlockId>,
    pub(super) index: Arc<Index>,
    pub(in crate::rpc) heads: Heads,
}

impl Eth {
    pub(in crate::rpc) fn new(
        host: &HostHandle,
        labels: Option<watch::Receiver<Labels>>,
        heads: Heads,
    ) -> Self {
        let start = host.core(|node, _| node.view().head());
        Self { labels, start, index: Arc::default(), heads }
    }

    /// Returns the labels of the configured source, or else the execution client's.
    pub(in crate::rpc) fn labels(&self, host: &HostHandle) -> Labels {
        match &self.labels {
            Some(labels) => *labels.borrow(),
            None => host.engine().map(|engine| engine.labels).unwrap_or_default(),
        }
    }
}
