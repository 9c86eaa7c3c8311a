//! Notices connected peers that fell silent: a host that is gone says no farewell.
//!
//! Time counts only while the driver is awake. A laptop that slept, or a page whose timers were held back, hears
//! nothing meanwhile, and nobody is to blame for that.
//!
//! # Bounds
//! An entry for each connected peer.

use super::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Between two looks. What passes beyond that between two calls does not count: the driver was not awake.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Peers, and when each was last heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Vigil {
    /// `None`: silence is never held against anybody.
    patience: Option<Duration>,
    /// Time that the driver was awake.
    awake: Duration,
    last_call: Instant,
    /// By what `awake` was then.
    heard: SortedMap<PeerId, Duration>,
}

impl Vigil {
    /// With this patience; `None`: for ever.
    pub(super) fn new(now: Instant, patience: Option<Duration>) -> Self {
        Self { patience, last_call: now, ..Self::default() }
    }

    fn pass(&mut self, now: Instant) {
        self.awake += now.since(self.last_call).min(LOOK_INTERVAL);
        self.last_call = self.last_call.max(now);
    }

    /// A connection to a peer stands.
    pub(super) fn connected(&mut self, now: Instant, peer: PeerId) {
        if self.patience.is_some() {
            self.pass(now);
            self.heard.insert(peer, self.awake);
        }
    }

    /// Something came from a peer.
    pub(super) fn heard(&mut self, now: Instant, peer: &PeerId) {
        if self.patience.is_some() {
            self.pass(now);
            let awake = self.awake;
            if let Some(heard) = self.heard.get_mut(peer) {
                *heard = awake;
            }
        }
    }

    /// The last connection to a peer is gone.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.heard.remove(peer);
    }

    /// The next peer that was silent for longer than there is patience. It is told once.
    pub(super) fn poll(&mut self, now: Instant) -> Option<PeerId> {
        let patience = self.patience?;
        self.pass(now);
        let silent = self.heard.iter().find(|(_, heard)| self.awake.saturating_sub(**heard) > patience);
        let peer = *silent?.0;
        self.heard.remove(&peer);
        Some(peer)
    }

    /// When [`Self::poll`] wants to be called, if nothing happens before.
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

    /// Wakes up as it asks for, until somebody is silent or the time is over.
    fn first_silent(vigil: &mut Vigil, until: u64) -> Option<(PeerId, u128)> {
        while let Some(next) = vigil.next_wakeup().filter(|next| *next <= at(until)) {
            if let Some(peer) = vigil.poll(next) {
                return Some((peer, next.since_start().as_millis()));
            }
        }
        None
    }

    #[test]
    fn who_says_nothing_is_noticed_within_half_a_second_of_the_patience() {
        let mut vigil = Vigil::new(at(0), Some(PATIENCE));
        vigil.connected(at(0), peer(1));
        assert_eq!(first_silent(&mut vigil, 60_000), Some((peer(1), 4500)));
        assert_eq!((vigil.poll(at(9000)), vigil.next_wakeup()), (None, None));
    }

    #[test]
    fn who_is_heard_stays() {
        let mut vigil = Vigil::new(at(0), Some(PATIENCE));
        vigil.connected(at(0), peer(1));
        vigil.connected(at(0), peer(2));
        for second in 1..=20 {
            let silent = first_silent(&mut vigil, second * 1000);
            vigil.heard(at(second * 1000), &peer(2));
            assert_eq!(silent.map(|(peer, _)| peer), (second == 5).then(|| peer(1)));
        }
        vigil.disconnected(&peer(2));
        assert_eq!(first_silent(&mut vigil, 600_000), None);
    }

    #[test]
    fn sleep_is_held_against_nobody() {
        let mut vigil = Vigil::new(at(0), Some(PATIENCE));
        vigil.connected(at(0), peer(1));
        assert_eq!(first_silent(&mut vigil, 1000), None);
        // The lid was closed for an hour, and the first thing after it is a timer.
        assert_eq!(vigil.poll(at(3_600_000)), None);
        assert_eq!(first_silent(&mut vigil, 3_602_000), None);
        let (_, noticed) = first_silent(&mut vigil, 3_660_000).expect("silent while awake");
        assert!((3_602_000..3_604_000).contains(&noticed), "{noticed}");
    }

    #[test]
    fn without_patience_set_it_costs_nothing() {
        let mut vigil = Vigil::new(at(0), None);
        vigil.connected(at(0), peer(1));
        vigil.heard(at(1), &peer(1));
        assert_eq!((vigil.poll(at(1_000_000)), vigil.next_wakeup()), (None, None));
    }
}
