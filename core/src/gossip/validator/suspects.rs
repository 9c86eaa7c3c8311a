//! Peers that sent blocks signed by another key while the signer may have changed.
//!
//! The signer can change on L1 at any time, and a node learns of the change only when it next reads
//! L1, or never if it does not read L1. Until then every honest peer sends it blocks with an
//! unexpected signature. A peer that sends an invalid block is banned for an hour, so after a
//! rotation the node would lose all its peers. Therefore the sender of such a block is only
//! suspected at first. It is blamed when one of these shows that the signer has not changed:
//!
//! * A peer sends a block that the expected signer signed later: its timestamp is above that of the
//!   suspect's block, and above those of all blocks that the expected signer had signed before the
//!   suspicion. On a healthy chain this is the next block. A new sequencer may build on a head that
//!   is some blocks lower than the old one's, so an equal or lower timestamp proves nothing.
//! * The signer was read at an L1 block that is [`SETTLED`] younger than the suspicion, and is
//!   still the old one. An immediate read proves nothing: the L1 node may be a few blocks behind,
//!   and the operator may have configured the node to read a block with some confirmations.
//!
//! A peer that sends more such blocks than any sequencer produces is blamed in any case. If the
//! signer has changed, no suspect is blamed. The same holds for those from before the expected
//! signer's first block: it may have been configured before the sequencer switches to it.
//!
//! # Bounds
//! Holds at most [`SUSPECTS`] peers; the blocks of further peers are ignored without a suspicion.
//! Each suspect is forgotten after [`PATIENCE`]. While there are suspects, a read is requested once
//! per [`READ_INTERVAL`]. An attacker spends an identity on each doubt that it provokes, and nodes
//! do not relay messages in doubt.

use crate::payload::PayloadVersion;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::{Instant, Now};
use std::time::Duration;

/// Maximum number of suspected peers at once.
const SUSPECTS: usize = 256;
/// Minimum time from a suspicion to the L1 block that settles it: three L1 blocks, in case the new
/// signer signs before L1 shows it.
const SETTLED: Duration = Duration::from_secs(36);
/// Maximum time for which a peer is suspected, longer than any usual number of confirmations.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Shortest block interval of any chain. Our schedule may lack the fork that shortens the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);
/// Number of blocks signed by another key that a peer may send at once.
const BURST: u64 = 64;
/// Minimum time between two requested reads.
const READ_INTERVAL: Duration = crate::l1::EXPEDITE_INTERVAL;

/// A peer that sent a block signed by another key.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    topic: PayloadVersion,
    since: Now,
    /// Timestamp above which a block of the expected signer proves the suspicion.
    proof_after: u64,
    blocks: u64,
}

/// A block signed by another key, and the peer that sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    /// The sender.
    pub(super) peer: PeerId,
    /// Payload version of the topic.
    pub(super) topic: PayloadVersion,
    /// Timestamp of the block, in Unix seconds.
    pub(super) timestamp: u64,
}

/// Peers that sent blocks signed by another key while the signer may have changed. A suspect is
/// blamed when a block or a read of L1 shows that the signer has not changed.
#[derive(Debug)]
pub(super) struct SignerDoubt {
    can_read: bool,
    suspects: SortedMap<PeerId, Suspect>,
    last_read: Option<Instant>,
    /// Highest timestamp of a block that the expected signer signed.
    confirmed: u64,
}

impl SignerDoubt {
    /// Creates the state without suspects. `can_read` is `true` if the signer can be read again.
    pub(super) const fn new(can_read: bool) -> Self {
        Self { can_read, suspects: SortedMap::new(), last_read: None, confirmed: 0 }
    }

    /// Handles a block signed by another key. Returns `true` if the signer is in doubt, and `false`
    /// if the peer is to blame.
    pub(super) fn suspect(&mut self, now: Now, stranger: Stranger) -> bool {
        self.forget(now);
        let Stranger { peer, topic, timestamp } = stranger;
        if !self.suspects.contains_key(&peer) && self.suspects.len() >= SUSPECTS {
            return true;
        }
        let proof_after = timestamp.max(self.confirmed);
        // Later blocks don't postpone the verdict on the first one.
        let suspect = self.suspects.get_or_insert_with(peer, || Suspect {
            topic,
            since: now,
            proof_after,
            blocks: 0,
        });
        suspect.blocks = suspect.blocks.saturating_add(1);
        let elapsed = now.monotonic.since(suspect.since.monotonic).as_millis();
        let made = u64::try_from(elapsed / SHORTEST_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        suspect.blocks <= made.saturating_mul(2).saturating_add(BURST)
    }

    /// Clears all suspicions, since the expected signer has signed its first block.
    pub(super) fn pardon(&mut self) {
        self.suspects.clear();
    }

    /// Handles a block of the expected signer, with this timestamp, that a peer sent. Returns the
    /// peers to blame, with their topics.
    pub(super) fn confirmed(&mut self, timestamp: u64) -> Vec<(PeerId, PayloadVersion)> {
        self.confirmed = self.confirmed.max(timestamp);
        self.blame(|suspect| suspect.proof_after < timestamp)
    }

    /// Returns `true` if the signer must be read now. A due read is reported only once.
    pub(super) fn must_read(&mut self, now: Now) -> bool {
        self.forget(now);
        let is_due = self.next_wakeup().is_some_and(|at| at <= now.monotonic);
        if is_due {
            self.last_read = Some(now.monotonic);
        }
        is_due
    }

    /// Returns the time for the next call of [`Self::must_read`], or `None` if no read will be due.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let earliest = self.last_read.map_or_else(Instant::default, |last| last + READ_INTERVAL);
        (self.can_read && !self.suspects.is_empty()).then_some(earliest)
    }

    /// Handles a read of the signer at an L1 block with this timestamp, in Unix seconds, or a
    /// change of the signer by the operator. Returns the peers to blame, with their topics.
    pub(super) fn read(&mut self, as_of: u64, is_changed: bool) -> Vec<(PeerId, PayloadVersion)> {
        if is_changed {
            self.suspects.clear();
            self.confirmed = 0;
        }
        self.blame(|Suspect { since, .. }| {
            since.unix_seconds().saturating_add(SETTLED.as_secs()) <= as_of
        })
    }

    /// Removes the suspects that are proven to be at fault, and returns them.
    fn blame(&mut self, is_proven: impl Fn(&Suspect) -> bool) -> Vec<(PeerId, PayloadVersion)> {
        let mut blamed = Vec::new();
        self.suspects.retain(|peer, suspect| {
            let is_proven = is_proven(suspect);
            if is_proven {
                blamed.push((*peer, suspect.topic));
            }
            !is_proven
        });
        blamed
    }

    fn forget(&mut self, now: Now) {
        self.suspects.retain(|_, suspect| now.monotonic.since(suspect.since.monotonic) < PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: PayloadVersion = PayloadVersion::V4;
    const START: u64 = 1_700_000_000;

    fn at(seconds: u64) -> Now {
        let elapsed = Duration::from_secs(seconds);
        Now::new(elapsed, Duration::from_secs(START) + elapsed)
    }

    fn peer(n: u16) -> PeerId {
        let [high, low] = n.to_be_bytes();
        PeerId::try_from(&[0, 2, high, low][..]).expect("an identity multihash")
    }

    fn suspect(doubt: &mut SignerDoubt, seconds: u64, n: u16) -> bool {
        let stranger = Stranger { peer: peer(n), topic: TOPIC, timestamp: START + seconds };
        doubt.suspect(at(seconds), stranger)
    }

    #[test]
    fn suspects_are_blamed_by_a_later_l1_block_and_pardoned_by_a_new_signer() {
        let mut doubt = SignerDoubt::new(true);
        assert!(suspect(&mut doubt, 100, 1));
        assert!(suspect(&mut doubt, 110, 2));
        assert!(suspect(&mut doubt, 130, 1), "the first block counts");
        assert_eq!(doubt.read(START + 135, false), []);
        assert_eq!(doubt.read(START + 136, false), [(peer(1), TOPIC)]);
        assert_eq!(doubt.read(START + 136, false), [], "a peer is blamed once");
        assert_eq!(doubt.read(START + 500, true), []);
        assert_eq!(doubt.read(START + 500, false), [], "the signer has changed");
    }

    #[test]
    fn suspects_are_blamed_by_a_later_block_of_the_expected_signer() {
        for can_read in [true, false] {
            let mut doubt = SignerDoubt::new(can_read);
            assert!(suspect(&mut doubt, 100, 1));
            assert_eq!(doubt.confirmed(START + 98), [], "it was in flight");
            assert_eq!(doubt.confirmed(START + 100), [], "five blocks may share a timestamp");
            assert_eq!(doubt.confirmed(START + 101), [(peer(1), TOPIC)]);
            assert_eq!(doubt.confirmed(START + 102), [], "a peer is blamed once");
        }
    }

    #[test]
    fn a_new_sequencer_on_a_lower_head_is_not_blamed_on_its_messengers() {
        let mut doubt = SignerDoubt::new(false);
        doubt.confirmed(START + 110);
        assert!(suspect(&mut doubt, 104, 1));
        assert_eq!(doubt.confirmed(START + 106), [], "late blocks of the old one");
        assert_eq!(doubt.confirmed(START + 110), []);
        assert_eq!(doubt.confirmed(START + 112), [(peer(1), TOPIC)], "the old one goes on");
    }

    #[test]
    fn a_peer_may_bring_only_as_many_blocks_as_a_sequencer_makes() {
        let mut doubt = SignerDoubt::new(false);
        for _ in 0..BURST {
            assert!(suspect(&mut doubt, 100, 1));
        }
        assert!(!suspect(&mut doubt, 100, 1));
        assert!(suspect(&mut doubt, 100, 2), "another one may");
        let mut doubt = SignerDoubt::new(false);
        for second in 0..PATIENCE.as_secs() {
            for _ in 0..5 {
                assert!(suspect(&mut doubt, second, 1), "five a second, by whatever schedule");
            }
        }
    }

    #[test]
    fn reads_are_requested_while_there_are_suspects_and_not_too_often() {
        let mut doubt = SignerDoubt::new(true);
        assert_eq!((doubt.must_read(at(0)), doubt.next_wakeup()), (false, None));
        suspect(&mut doubt, 100, 1);
        assert!(doubt.must_read(at(100)));
        assert!(!doubt.must_read(at(159)));
        assert_eq!(doubt.next_wakeup(), Some(at(160).monotonic));
        assert!(doubt.must_read(at(160)));
        doubt.read(START + 160, false);
        assert_eq!(doubt.next_wakeup(), None);
        suspect(&mut doubt, 161, 1);
        assert!(!doubt.must_read(at(219)));
        assert!(doubt.must_read(at(220)));
    }

    #[test]
    fn a_suspect_is_forgotten_if_l1_cannot_be_read() {
        let mut doubt = SignerDoubt::new(true);
        suspect(&mut doubt, 0, 1);
        assert!(doubt.must_read(at(899)));
        assert!(!doubt.must_read(at(960)));
        assert_eq!(doubt.next_wakeup(), None);
        assert_eq!(doubt.read(START + 960, false), []);
        assert_eq!(doubt.confirmed(START + 960), []);
    }

    #[test]
    fn the_number_of_suspects_is_bounded_and_further_peers_are_not_blamed() {
        let mut doubt = SignerDoubt::new(true);
        for n in 0..SUSPECTS {
            assert!(suspect(&mut doubt, 0, n as u16));
        }
        assert!(suspect(&mut doubt, 1, 9999));
        assert_eq!(doubt.suspects.len(), SUSPECTS);
        assert!(suspect(&mut doubt, 1, 0));
        assert_eq!(doubt.read(START + 500, false).len(), SUSPECTS);
    }

    #[test]
    fn no_read_is_requested_where_the_signer_cannot_be_read() {
        let mut doubt = SignerDoubt::new(false);
        assert!(suspect(&mut doubt, 0, 1));
        assert!(!doubt.must_read(at(0)));
        assert_eq!(doubt.next_wakeup(), None);
    }
}
