//! The heartbeat: the steps of go-libp2p-pubsub's heartbeat, in the same order.
//!
//! After a delay of several intervals, one heartbeat runs: browsers slow down the timers of a tab
//! in the background. Scores are read once for a whole heartbeat, so that comparisons are
//! consistent.

use super::{PRUNE_BACKOFF, Router, SLACK};
use crate::gossip::FANOUT_TTL;
use crate::mesh::io::{Misconduct, Output};
use crate::mesh::peers::{FOREIGN_AFTER, REOPEN_WINDOW};
use crate::mesh::{Class, Topic};
use crate::peers::PeerId;
use crate::sorted::SortedSet;
use crate::time::Instant;
use std::time::Duration;

/// Time between two attempts to improve a mesh whose scores are low.
pub(super) const OPPORTUNISTIC_INTERVAL: Duration = Duration::from_secs(30);
/// Number of peers grafted in one attempt.
const OPPORTUNISTIC_PEERS: usize = 2;
/// Number of the best peers that stay when a mesh is too large.
const KEPT_BY_SCORE: usize = 4;
/// Minimum number of peers in the mesh that we dialled.
const OUTBOUND: usize = 2;
/// Number of heartbeats for which an IDONTWANT counts.
const UNWANTED_BEATS: u32 = 3;
/// Pause between two heartbeats that shows that this process did not run. No peer is blamed for
/// messages that did not arrive in that time.
const SLEPT: Duration = Duration::from_secs(5);
/// Time after which a peer that reads nothing has its stream reset.
const DEAF: Duration = Duration::from_secs(30);
/// Interval at which slow peers are looked for.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Minimum number of forwarded messages in a minute by which a peer is judged slow.
const SLOW_SAMPLE: u32 = 8;

impl Router {
    pub(super) fn heartbeat(&mut self, now: Instant) {
        let has_slept = now.since(self.next_heartbeat) >= SLEPT;
        self.heartbeats += 1;
        self.next_heartbeat = now + self.config.heartbeat;
        self.seen.expire(now);
        self.forget_stuck(now);
        if has_slept {
            self.promises.void_all();
            self.incoming.void_all();
        } else {
            self.charge_broken_promises(now);
            self.count_broken_notices(now);
        }
        if let Some(scores) = &mut self.scores {
            scores.tick(now);
        }
        self.refresh_peers(now, has_slept);
        let slack = self.config.heartbeat * SLACK;
        let is_opportunistic = self.next_opportunistic <= now;
        if is_opportunistic {
            self.next_opportunistic = now + OPPORTUNISTIC_INTERVAL;
        }
        for topic in Topic::all().take(self.links.len()) {
            let Some(link) = self.link_mut(topic) else { continue };
            link.backoffs.expire(now, slack);
            if link.is_joined {
                self.maintain(now, topic, is_opportunistic);
                self.emit_gossip(topic);
            } else if self.keep_fanout(now, topic) {
                self.emit_gossip(topic);
            }
        }
        self.cache.shift();
    }

    /// Records the peers with overdue promises, and counts promises that were not kept.
    fn charge_broken_promises(&mut self, now: Instant) {
        let intake = &self.intake;
        for peer in self.promises.overdue(now, |peer, end| intake.owes_name(peer, end)) {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.ids.is_debtor = true;
            }
        }
        let broken = self.promises.broken(now, |peer, end| intake.owes_name(peer, end));
        for peer in broken {
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            let ids = &mut known.ids;
            if ids.has_kept || !ids.has_delivered {
                self.breach(now, &peer, 1.0);
                continue;
            }
            ids.broken += 1;
            if ids.broken >= FOREIGN_AFTER {
                ids.is_foreign = true;
                self.promises.void(&peer);
            }
        }
    }

    /// Begins a new heartbeat for each peer: counters, scores, and streams that are stuck.
    fn refresh_peers(&mut self, now: Instant, has_slept: bool) {
        let age = self.config.heartbeat * UNWANTED_BEATS;
        let is_minute = self.next_minute <= now;
        if is_minute {
            self.next_minute = now + MINUTE;
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let score = self.score(now, &peer);
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            known.score = score;
            known.ihave_frames = 0;
            known.ihave_ids = 0;
            known.asked = 0;
            known.unwanted.expire(now, age);
            let outbox = &mut known.outbox;
            outbox.control_frames = 0;
            outbox.expire(now);
            outbox.settle(now);
            self.counts.add(outbox.take_tally());
            if has_slept {
                outbox.progress = now;
            }
            let is_deaf = outbox.unwritten > 0 && now.since(outbox.progress) >= DEAF;
            let mut is_slow = false;
            if is_minute {
                is_slow = outbox.forwards >= SLOW_SAMPLE && outbox.expired * 2 >= outbox.forwards;
                (outbox.forwards, outbox.expired) = (0, 0);
                known.firsts /= 2;
                known.broken = known.broken.saturating_sub(1);
            }
            if outbox.idontwant_waits() > 0 {
                self.announce(&peer);
            }
            if is_deaf {
                self.deaf(now, &peer);
            } else if is_slow {
                self.prune_everywhere(now, &peer);
            }
        }
    }

    fn deaf(&mut self, now: Instant, peer: &PeerId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.stuck.count(now, REOPEN_WINDOW) > 1 {
            self.outputs.push_back(Output::Ban(*peer, Misconduct::Deaf));
        } else {
            self.outputs.push_back(Output::CloseWriter(*peer));
            self.writer_closed(now, peer, false);
        }
    }

    fn prune_everywhere(&mut self, now: Instant, peer: &PeerId) {
        for topic in Topic::all().take(self.links.len()) {
            if self.link(topic).is_some_and(|link| link.has(peer)) {
                self.prune(now, topic, peer, PRUNE_BACKOFF);
            }
        }
    }

    fn cached_score(&self, peer: &PeerId) -> f64 {
        self.peers.get(peer).map_or(0.0, |known| known.score)
    }

    /// Maintains the mesh of a topic.
    fn maintain(&mut self, now: Instant, topic: Topic, is_opportunistic: bool) {
        let params = self.config.mesh;
        let Some(link) = self.link(topic) else { return };
        let bad: Vec<PeerId> =
            link.mesh().filter(|peer| self.cached_score(peer) < 0.0).copied().collect();
        bad.iter().for_each(|peer| self.prune(now, topic, peer, PRUNE_BACKOFF));

        let size = |router: &Self| router.link(topic).map_or(0, |link| link.nodes.len());
        if size(self) < params.low {
            self.fill_mesh(now, topic, params.d, |_, _| true);
        }
        if size(self) >= params.high {
            self.trim(now, topic);
        }
        if size(self) >= params.low {
            let missing = OUTBOUND.saturating_sub(self.outbound(topic));
            if missing > 0 {
                self.fill_mesh(now, topic, size(self) + missing, |_, known| known.is_outbound);
            }
        }
        if is_opportunistic {
            self.improve(now, topic);
        }
    }

    fn outbound(&self, topic: Topic) -> usize {
        let Some(link) = self.link(topic) else { return 0 };
        let is_outbound =
            |peer: &&PeerId| self.peers.get(peer).is_some_and(|known| known.is_outbound);
        link.nodes.iter().filter(is_outbound).count()
    }

    /// Prunes a mesh that is too large. The best peers stay, and a random choice of the others.
    /// Enough peers that we dialled stay too, because an attacker can't choose those; so do static
    /// peers.
    fn trim(&mut self, now: Instant, topic: Topic) {
        let Some(link) = self.link(topic) else { return };
        let known = |peer: &PeerId| self.peers.get(peer);
        let is_static =
            |peer: &PeerId| known(peer).is_some_and(|known| known.class == Class::Static);
        let (kept, mut others): (Vec<PeerId>, Vec<PeerId>) =
            link.nodes.iter().copied().partition(is_static);
        let is_outbound =
            |peer: &PeerId| self.peers.get(peer).is_some_and(|known| known.is_outbound);
        let mut random = self.random.clone();
        random.shuffle(&mut others);
        others.sort_by(|a, b| self.cached_score(b).total_cmp(&self.cached_score(a)));
        let room = self.config.mesh.d.saturating_sub(kept.len());
        let best = KEPT_BY_SCORE.min(room).min(others.len());
        random.shuffle(&mut others[best..]);
        let room = room.min(others.len());
        let has = kept.iter().chain(&others[..room]).filter(|peer| is_outbound(peer)).count();
        // Swaps outbound peers from beyond the cut with others before it, the worst first.
        let mut missing = OUTBOUND.saturating_sub(has);
        let mut place = room;
        while missing > 0 && place > best {
            place -= 1;
            if is_outbound(&others[place]) {
                continue;
            }
            let Some(at) = (room..others.len()).find(|at| is_outbound(&others[*at])) else { break };
            others.swap(place, at);
            missing -= 1;
        }
        let pruned = others.split_off(room);
        self.random = random;
        pruned.iter().for_each(|peer| self.prune(now, topic, peer, PRUNE_BACKOFF));
    }

    /// Grafts peers that deliver more if half of the mesh delivers almost nothing.
    ///
    /// The time in the mesh does not count here. A silent peer gains it too: with the reference's
    /// weights, this component alone lifts the score above the threshold within the interval, and a
    /// mesh full of silent peers would stay as it is.
    fn improve(&mut self, now: Instant, topic: Topic) {
        let (Some(link), Some(scores)) = (self.link(topic), &self.scores) else { return };
        let mut merits: Vec<f64> = link.nodes.iter().map(|peer| scores.merit(now, peer)).collect();
        if merits.len() < 2 {
            return;
        }
        merits.sort_by(f64::total_cmp);
        let median = merits[merits.len() / 2];
        if median < self.config.thresholds.opportunistic_graft {
            let size = merits.len() + OPPORTUNISTIC_PEERS;
            let better: SortedSet<PeerId> = self
                .peers
                .keys()
                .filter(|peer| scores.merit(now, peer) > median)
                .copied()
                .collect();
            self.fill_mesh(now, topic, size, |peer, _| better.contains(peer));
        }
    }

    /// Maintains the fanout of a topic. Returns `false` if the topic has no fanout.
    fn keep_fanout(&mut self, now: Instant, topic: Topic) -> bool {
        let limit = self.config.thresholds.publish;
        let Some(link) = self.links.get_mut(topic.index()) else { return false };
        let Some(used) = link.fanout_used else { return false };
        if now.since(used) >= FANOUT_TTL {
            link.fanout = SortedSet::new();
            link.fanout_used = None;
            return false;
        }
        let peers = &self.peers;
        link.fanout.retain(|peer| {
            peers
                .get(peer)
                .is_some_and(|known| known.subscriptions.contains(topic) && known.score >= limit)
        });
        self.fill_fanout(now, topic);
        true
    }

    /// Chooses the peers that get an IHAVE: some of those outside the mesh.
    fn emit_gossip(&mut self, topic: Topic) {
        if self.cache.advertised(topic).next().is_none() {
            return;
        }
        let limit = self.config.thresholds.gossip;
        let Some(link) = self.link(topic) else { return };
        let suits = |peer: &PeerId, known: &crate::mesh::peers::Peer| {
            known.subscriptions.contains(topic)
                && known.has_mesh()
                && known.score >= limit
                && !known.ids.is_foreign
                && !link.has(peer)
                && !link.fanout.contains(peer)
        };
        let suitable = self.peers.iter().filter(|(peer, known)| suits(peer, known));
        let (browsers, nodes): (Vec<_>, Vec<_>) =
            suitable.map(|(peer, known)| (*peer, known.class)).partition(|(_, c)| c.is_browser());
        let lazy = self.config.mesh.lazy;
        let count = lazy.max(nodes.len() / 4);
        let mut chosen = self.random.choose(nodes, count);
        chosen.extend(self.random.choose(browsers, lazy));
        for (peer, _) in chosen {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.outbox.ihave.set(topic, true);
                self.announce(&peer);
            }
        }
    }
}
