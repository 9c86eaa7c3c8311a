//! Between the peers and everything that tells something of them: routes, and decides nothing.

use super::{Event, Node, Output};
use crate::gossip::{Acceptance, TIMESTAMP_AHEAD};
use crate::node::Verdict;
use crate::payload::PayloadVersion;
use crate::peers::{CommandId, PeerCommand, PeerEvent, PeerId, PeerInfo, PeerNews, PeerStep};
use crate::sync::chain_of_protocol;
use crate::time::Now;

impl Node {
    pub(super) fn connected(&mut self, now: Now, peer: PeerId) {
        self.peers.connected(now, peer);
        // A browser has what it got from here, and a page that sleeps would keep others waiting.
        let is_static = self.peers.is_static(&peer);
        let is_asked = is_static || self.peers.is_browser(&peer) != Some(true);
        if let Some(filler) = self.filler.as_mut().filter(|_| is_asked) {
            filler.client_mut().connected(peer, is_static);
        }
    }

    pub(super) fn disconnected(&mut self, now: Now, peer: &PeerId) {
        self.peers.disconnected(now, peer);
        if let Some(filler) = &mut self.filler {
            filler.client_mut().disconnected(peer);
        }
    }

    pub(super) fn heard_of(&mut self, now: Now, peer: &PeerId, news: PeerNews) {
        if news.is_from_the_peer() {
            self.peers.heard(now, peer);
        }
        match news {
            PeerNews::Identified(info) => {
                if let Some(chain_id) = other_chain(self.chain.chain_id, &info) {
                    let event = PeerEvent::OtherChain { peer: *peer, chain_id };
                    self.outputs.push_back(Output::Event(Event::Peers(event)));
                }
                self.peers.identified(now, peer, info);
            }
            PeerNews::Discovered(metadata, addresses) => {
                self.peers.discovered(now, peer, metadata, addresses);
            }
            PeerNews::Pinged(round_trip) => self.peers.pinged(peer, round_trip),
            PeerNews::Subscribed(topic, is_subscribed) => self.peers.subscribed(peer, topic, is_subscribed),
            PeerNews::Mesh(topic, is_member) => self.peers.mesh(now, peer, topic, is_member),
        }
    }

    pub(super) fn command(&mut self, now: Now, id: CommandId, command: PeerCommand) {
        let result = self.peers.command(now, command);
        self.outputs.push_back(Output::Event(Event::Commanded { id, result }));
    }

    /// What a verdict says of whoever sent the message.
    pub(super) fn count_verdict(&mut self, now: Now, verdict: &Verdict) {
        match verdict.result {
            Ok(_) => self.peers.delivered(now, &verdict.from, verdict.topic),
            Err(reason) if reason.acceptance() == Acceptance::Reject => {
                self.peers.rejected(now, &verdict.from, verdict.topic);
            }
            Err(_) => {}
        }
    }

    /// What is due among the peers.
    pub(super) fn settle_peers(&mut self, now: Now) {
        // Every topic on which a block may come whose timestamp is acceptable now.
        let at = |moment: u64| PayloadVersion::at(&self.chain.forks, moment).index();
        let oldest = now.unix.saturating_sub(self.timestamp_threshold);
        let newest = now.unix.saturating_add(TIMESTAMP_AHEAD);
        let (first, last) = (at(oldest.as_secs()), at(newest.as_secs()));
        let live = std::array::from_fn(|index| (first..=last).contains(&index));
        if live != self.live {
            self.live = live;
            self.peers.set_live(live);
            self.outputs.push_back(Output::LiveTopics(live));
        }
        self.peers.settle(now);
        while let Some(step) = self.peers.poll() {
            self.outputs.push_back(match step {
                PeerStep::Dial(peer) => Output::Dial(peer),
                PeerStep::Disconnect(peer) => Output::Disconnect(peer),
                PeerStep::ApplicationScore(peer, score) => Output::ApplicationScore(peer, score),
                PeerStep::Snapshot => Output::TakeScores,
                PeerStep::Remember(changes) => Output::Remember(changes),
                PeerStep::Event(event) => Output::Event(Event::Peers(event)),
            });
        }
    }
}

/// A chain that the peer serves, if this one is not among those.
fn other_chain(ours: u64, info: &PeerInfo) -> Option<u64> {
    let chains = || info.protocols.iter().filter_map(|protocol| chain_of_protocol(protocol));
    chains().next().filter(|_| chains().all(|chain| chain != ours))
}
