//! The numbers in the status and in the metrics that the driver reads off the core and the network.

use super::super::event::HostEventKind;
use super::Driver;
use opp2p_core::gossip::Verdict;
use opp2p_core::node::TopicSizes;
use opp2p_core::payload::Block;

impl Driver {
    /// Updates the state of the chain in the status.
    pub(super) fn refresh_chain(&self) {
        let (head, highest, sync) = {
            let node = self.core.lock();
            (node.view().head(), node.view().highest(), node.sync_status())
        };
        self.status.send_modify(|status| {
            status.head = head;
            status.highest = highest;
            status.sync = sync;
        });
    }

    /// Updates the numbers of peers in the status.
    pub(super) fn count_peers(&self) {
        let (peers, browsers) = {
            let node = self.core.lock();
            let (peers, all) = (node.peers().nodes(), node.peers().connected_peers().len());
            (peers, all - peers)
        };
        self.status.send_if_modified(|status| {
            let changed = (status.peers, status.browsers) != (peers, browsers);
            (status.peers, status.browsers) = (peers, browsers);
            changed
        });
    }

    /// Updates the sizes of the topic in use in the status.
    pub(super) fn refresh_mesh(&self) {
        let sizes = {
            let node = self.core.lock();
            node.topic_sizes(node.topic_in_use(self.core.clock.now()))
        };
        let TopicSizes { subscribers, nodes: mesh, browsers: browser_mesh } =
            sizes.unwrap_or_default();
        self.status.send_if_modified(|status| {
            let present = (subscribers, mesh, browser_mesh);
            let changed = (status.subscribers, status.mesh, status.browser_mesh) != present;
            (status.subscribers, status.mesh, status.browser_mesh) = present;
            changed
        });
    }

    /// Records the scores of all connected peers, each time the core takes them.
    pub(super) fn measure_scores(&self) {
        let now = self.core.clock.now();
        let node = self.core.lock();
        if self.scores_peers {
            let peers = node.peers();
            peers.connected_peers().for_each(|peer| self.meter.scored(&peers.scores(now, peer)));
        }
    }

    /// Counts a verdict, and tells it to subscribers.
    pub(super) fn on_verdict(&mut self, verdict: Verdict) {
        self.status.send_modify(|status| match verdict.result {
            Ok(_) => status.accepted += 1,
            Err(reason) => *status.refused.entry(reason).or_default() += 1,
        });
        let timestamp = verdict.result.ok().and_then(|id| {
            let node = self.core.lock();
            node.view().get(&id.hash).map(Block::timestamp_ms)
        });
        self.meter.judged(&verdict, timestamp);
        self.tell(HostEventKind::Verdict(verdict));
    }
}
