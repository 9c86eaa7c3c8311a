//! Routing between the peer manager and all sources of facts about peers. One rule is here, because
//! it concerns the gap filler too: browsers are not asked for blocks.

use super::{Event, Node, Output};
use crate::peers::{
    CommandId, PeerCommand, PeerEvent, PeerId, PeerInfo, PeerLists, PeerNews, PeerStep,
};
use crate::sync::chain_of_protocol;
use crate::sync::range::PROTOCOL;
use crate::time::Now;

impl Node {
    pub(super) fn connected(&mut self, now: Now, peer: PeerId) {
        self.peers.connected(now, peer);
        // A browser's blocks came from this node, and a sleeping page would keep other requests
        // waiting.
        let is_static = self.peers.is_static(&peer);
        let is_asked = is_static || self.peers.is_browser(&peer) != Some(true);
        if let Some(filler) = self.filler.as_mut().filter(|_| is_asked) {
            filler.connected(peer, is_static);
        }
        self.join_mesh(now, peer);
    }

    pub(super) fn disconnected(&mut self, now: Now, peer: &PeerId) {
        self.leave_mesh(now, peer);
        self.peers.disconnected(now, peer);
        if let Some(filler) = &mut self.filler {
            filler.disconnected(now.monotonic, peer);
        }
    }

    pub(super) fn on_peer_news(&mut self, now: Now, peer: &PeerId, news: PeerNews) {
        if news.is_sent_by_peer() {
            self.peers.heard(now, peer);
        }
        match news {
            PeerNews::Identified(info) => {
                if let Some(chain_id) = other_chain(self.chain.chain_id, &info) {
                    let event = PeerEvent::OtherChain { peer: *peer, chain_id };
                    self.outputs.push_back(Output::Event(Event::Peers(event)));
                }
                if let Some(filler) = self.filler.as_mut().filter(|_| !info.protocols.is_empty()) {
                    let ours = Some(self.chain.chain_id);
                    let mut chains =
                        info.protocols.iter().map(|protocol| chain_of_protocol(protocol));
                    filler.client_mut().speaks(peer, chains.any(|chain| chain == ours));
                    let is_static = self.peers.is_static(peer);
                    let is_browser = self.peers.is_browser(peer);
                    let is_asked = is_browser.is_some_and(|is_browser| is_static || !is_browser);
                    let speaks = is_asked && info.protocols.iter().any(|name| name == PROTOCOL);
                    filler.speaks_ranges(now.monotonic, *peer, speaks, is_static);
                }
                self.peers.identified(now, peer, info);
            }
            PeerNews::Discovered(metadata, addresses) => {
                self.peers.discovered(now, peer, metadata, addresses);
            }
            PeerNews::Pinged(round_trip) => {
                self.peers.pinged(peer, round_trip);
                if let Some(mesh) = &mut self.mesh {
                    mesh.pinged(now.monotonic, *peer, round_trip);
                }
            }
            PeerNews::Received => {}
            PeerNews::Subscribed(topic, is_subscribed) => {
                self.peers.subscribed(peer, topic, is_subscribed);
            }
            PeerNews::Mesh(topic, is_member) => self.peers.mesh(now, peer, topic, is_member),
        }
    }

    pub(super) fn command(&mut self, now: Now, id: CommandId, command: PeerCommand) {
        let result = self.peers.command(now, command);
        self.outputs.push_back(Output::Event(Event::Commanded { id, result }));
    }

    /// Replaces the operator's lists.
    pub(super) fn configure(&mut self, now: Now, id: CommandId, lists: PeerLists) {
        let result = self.peers.configure(now, lists);
        if let Some(filler) = &mut self.filler {
            for peer in self.peers.connected_peers() {
                filler.set_static(now.monotonic, peer, self.peers.is_static(peer));
            }
        }
        self.outputs.push_back(Output::Event(Event::Configured { id, result }));
    }

    /// Runs the due actions of the peers.
    pub(super) fn settle_peers(&mut self, now: Now) {
        let live = self.validator.live_topics(now);
        if live != self.live {
            self.live = live;
            self.peers.set_live(live);
            match &mut self.mesh {
                Some(mesh) => mesh.set_live(now.monotonic, live),
                None => self.outputs.push_back(Output::LiveTopics(live)),
            }
        }
        self.peers.settle(now);
        while let Some(step) = self.peers.poll() {
            self.outputs.push_back(match step {
                PeerStep::Dial { peer, .. } if self.is_offline => {
                    self.peers.dial_failed(now, &peer);
                    continue;
                }
                PeerStep::Dial { peer, addresses } => Output::Dial { peer, addresses },
                PeerStep::Disconnect(peer) => Output::Disconnect(peer),
                PeerStep::Close(connection) => Output::Close(connection),
                PeerStep::ApplicationScore(peer, score) => match &mut self.mesh {
                    Some(mesh) => {
                        mesh.set_application_score(now.monotonic, peer, score);
                        continue;
                    }
                    None => Output::ApplicationScore(peer, score),
                },
                PeerStep::Snapshot if self.mesh.is_some() => {
                    self.read_scores(now);
                    self.peers.gossip_scores(now, []);
                    continue;
                }
                PeerStep::Snapshot => Output::TakeScores,
                PeerStep::Remember(changes) => Output::Remember(changes),
                PeerStep::Event(event) => Output::Event(Event::Peers(event)),
            });
        }
    }
}

/// Returns a chain that the peer serves, if ours is not among its chains.
fn other_chain(ours: u64, info: &PeerInfo) -> Option<u64> {
    let chains = || info.protocols.iter().filter_map(|protocol| chain_of_protocol(protocol));
    chains().next().filter(|_| chains().all(|chain| chain != ours))
}
