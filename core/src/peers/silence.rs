//! Detection of connected peers that have fallen silent: a host that disappears does not close its
//! connections.
//!
//! Time counts only while the driver is awake. A laptop that was suspended, or a page whose timers
//! were throttled, receives nothing during that time, which is not the peer's fault.
//!
//! After a change of the network, old lines are likely dead. A probe therefore gives all peers less
//! time to be heard.
//!
//! # Bounds
//! One entry per connected peer.

use super::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Interval between two checks. A longer gap between two calls counts as one interval, because the
/// driver was not awake for the rest.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Connected peers, and when each was last heard from.
#[derive(Clone, Debug, Default)]
pub(super) struct SilenceMonitor {
    /// Tolerated silence; `None` for no limit.
    patience: Option<Duration>,
    /// Total time during which the driver was awake.
    awake: Duration,
    last_call: Instant,
    /// Value of `awake` when the peer was last heard from.
    heard: SortedMap<PeerId, Duration>,
    /// The value of `awake` at the last probe, until its time is over.
    probed: Option<Duration>,
}

impl SilenceMonitor {
    /// Creates a monitor that tolerates silence for this long; `None` for no limit.
    pub(super) fn new(now: Instant, patience: Option<Duration>) -> Self {
        Self { patience, last_call: now, ..Self::default() }
    }

    fn pass(&mut self, now: Instant) {
        self.awake += now.since(self.last_call).min(LOOK_INTERVAL);
        self.last_call = self.last_call.max(now);
    }

    /// Records that a peer has connected.
    pub(super) fn connected(&mut self, now: Instant, peer: PeerId) {
        if self.patience.is_some() {
            self.pass(now);
            self.heard.insert(peer, self.awake);
        }
    }

    /// Records that a peer sent something.
    pub(super) fn heard(&mut self, now: Instant, peer: &PeerId) {
        if self.patience.is_some() {
            self.pass(now);
            let awake = self.awake;
            if let Some(heard) = self.heard.get_mut(peer) {
                *heard = awake;
            }
        }
    }

    /// Begins a probe: a peer that is not heard within three fifths of the patience is silent.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.patience.is_some() {
            self.pass(now);
            self.probed = Some(self.awake);
        }
    }

    /// Records that the last connection to a peer was closed.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.heard.remove(peer);
    }

    /// Returns the next peer that has been silent for too long. Each peer is returned once.
    pub(super) fn poll(&mut self, now: Instant) -> Option<PeerId> {
        let patience = self.patience?;
        self.pass(now);
        let since = |at: Duration| self.awake.saturating_sub(at);
        let failed = self.probed.filter(|probed| since(*probed) > patience * 3 / 5);
        let silent = self.heard.iter().find(|(_, heard)| {
            since(**heard) > patience || failed.is_some_and(|probed| **heard <= probed)
        });
        let Some(peer) = silent.map(|(peer, _)| *peer) else {
            if failed.is_some() {
                self.probed = None;
            }
            return None;
        };
        self.heard.remove(&peer);
        Some(peer)
    }

    /// Returns the time at which to call [`Self::poll`] if nothing happens earlier.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        (!self.heard.is_empty()).then(|| self.last_call + LOOK_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    fn peer(byte: u8) -> PeerId {
        PeerId::try_from(&[byte; 39][..]).expect("39 bytes")
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    /// Calls `poll` at each requested time until a peer is silent or `until` has passed.
    fn first_silent(monitor: &mut SilenceMonitor, until: u64) -> Option<(PeerId, u128)> {
        while let Some(next) = monitor.next_wakeup().filter(|next| *next <= at(until)) {
            if let Some(peer) = monitor.poll(next) {
                return Some((peer, next.since_start().as_millis()));
            }
        }
        None
    }

    #[test]
    fn a_silent_peer_is_noticed_within_half_a_second_of_the_limit() {
        let mut monitor = SilenceMonitor::new(at(0), Some(PATIENCE));
        monitor.connected(at(0), peer(1));
        assert_eq!(first_silent(&mut monitor, 60_000), Some((peer(1), 4500)));
        assert_eq!((monitor.poll(at(9000)), monitor.next_wakeup()), (None, None));
    }

    #[test]
    fn a_peer_that_is_heard_stays() {
        let mut monitor = SilenceMonitor::new(at(0), Some(PATIENCE));
        monitor.connected(at(0), peer(1));
        monitor.connected(at(0), peer(2));
        for second in 1..=20 {
            let silent = first_silent(&mut monitor, second * 1000);
            monitor.heard(at(second * 1000), &peer(2));
            assert_eq!(silent.map(|(peer, _)| peer), (second == 5).then(|| peer(1)));
        }
        monitor.disconnected(&peer(2));
        assert_eq!(first_silent(&mut monitor, 600_000), None);
    }

    #[test]
    fn time_asleep_is_not_held_against_peers() {
        let mut monitor = SilenceMonitor::new(at(0), Some(PATIENCE));
        monitor.connected(at(0), peer(1));
        assert_eq!(first_silent(&mut monitor, 1000), None);
        // The lid was closed for an hour, and the first event afterwards is a timer.
        assert_eq!(monitor.poll(at(3_600_000)), None);
        assert_eq!(first_silent(&mut monitor, 3_602_000), None);
        let (_, noticed) = first_silent(&mut monitor, 3_660_000).expect("silent while awake");
        assert!((3_602_000..3_604_000).contains(&noticed), "{noticed}");
    }

    #[test]
    fn a_probe_finds_a_dead_connection_sooner_and_spares_peers_that_answer() {
        let mut monitor = SilenceMonitor::new(at(0), Some(PATIENCE));
        for name in [1, 2] {
            monitor.connected(at(0), peer(name));
        }
        assert_eq!(first_silent(&mut monitor, 1000), None);
        // The lid was closed for an hour.
        monitor.probe(at(3_600_000));
        monitor.heard(at(3_601_000), &peer(2));
        let (silent, noticed) = first_silent(&mut monitor, 3_610_000).expect("one is silent");
        assert_eq!(silent, peer(1));
        assert!((3_602_400..=3_603_000).contains(&noticed), "{noticed}");
        // The probe is over: the usual patience applies.
        let (silent, noticed) = first_silent(&mut monitor, 3_610_000).expect("the other, later");
        assert_eq!(silent, peer(2));
        assert!((3_605_000..=3_605_600).contains(&noticed), "{noticed}");
    }

    #[test]
    fn without_patience_nothing_is_monitored() {
        let mut monitor = SilenceMonitor::new(at(0), None);
        monitor.connected(at(0), peer(1));
        monitor.heard(at(1), &peer(1));
        monitor.probe(at(2));
        assert_eq!((monitor.poll(at(1_000_000)), monitor.next_wakeup()), (None, None));
    }
}
