//! Who brought blocks of an unknown signer while the signer may have changed.
//!
//! The signer rotates on L1 at any time, and a node learns of it when it reads L1 the next time. Until then every honest
//! peer brings it blocks that carry a signature it does not know, and a peer that brings an invalid block is banned for an
//! hour: after a rotation the node would be alone. So where the signer can be read anew, the first such block has it read
//! at once, and until that is done nobody is blamed. Then, if the signer is the old one still, all who brought such
//! blocks are.
//!
//! # Bounds
//! [`SUSPECTS`] peers; who comes after them is blamed at once. The doubt ends after [`PATIENCE`] if nobody can say who
//! signs, and the next one begins no sooner than [`PAUSE`] after it began: strangers buy that time with an identity each,
//! and nodes don't relay what is in doubt.

use crate::payload::PayloadVersion;
use crate::peers::PeerId;
use crate::sorted::SortedMap;
use crate::time::Instant;
use std::time::Duration;

/// Peers that are in doubt at once.
pub const SUSPECTS: usize = 64;
/// How long the signer may be in doubt.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// From the beginning of one doubt to that of the next.
pub const PAUSE: Duration = Duration::from_secs(60);

/// What to make of a block of an unknown signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The signer is to be read anew; until then nobody is blamed.
    Begins,
    /// It is being read.
    Goes,
    /// There is no reason for doubt: the peer is to blame.
    No,
}

/// Who brought blocks of an unknown signer while that may have changed: nobody is blamed before it was read anew.
#[derive(Debug)]
pub struct SignerDoubt {
    is_enabled: bool,
    began: Option<Instant>,
    is_open: bool,
    suspects: SortedMap<PeerId, PayloadVersion>,
}

impl SignerDoubt {
    /// Without doubt; `is_enabled` tells whether the signer can be read anew at all.
    pub fn new(is_enabled: bool) -> Self {
        Self { is_enabled, began: None, is_open: false, suspects: SortedMap::new() }
    }

    /// A peer brought a block of an unknown signer on this topic.
    pub fn suspect(&mut self, now: Instant, peer: PeerId, topic: PayloadVersion) -> Suspicion {
        let since = self.began.map(|began| now.since(began));
        if self.is_open && since.is_some_and(|since| since >= PATIENCE) {
            self.suspects.clear();
            self.is_open = false;
        }
        if !self.is_open && (!self.is_enabled || since.is_some_and(|since| since < PAUSE)) {
            return Suspicion::No;
        }
        if self.suspects.len() >= SUSPECTS && !self.suspects.contains_key(&peer) {
            return Suspicion::No;
        }
        self.suspects.insert(peer, topic);
        if self.is_open {
            return Suspicion::Goes;
        }
        (self.is_open, self.began) = (true, Some(now));
        Suspicion::Begins
    }

    /// The signer was read: whoever was in doubt, and on which topic.
    pub fn end(&mut self) -> impl Iterator<Item = (PeerId, PayloadVersion)> + use<> {
        self.is_open = false;
        let mut suspects = std::mem::take(&mut self.suspects);
        std::iter::from_fn(move || suspects.pop_first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: PayloadVersion = PayloadVersion::V4;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn peer(n: u8) -> PeerId {
        PeerId::try_from(&[0, 1, n][..]).expect("an identity multihash")
    }

    #[test]
    fn the_first_block_begins_it_and_a_reading_ends_it() {
        let mut doubt = SignerDoubt::new(true);
        assert_eq!(doubt.suspect(at(100), peer(1), TOPIC), Suspicion::Begins);
        assert_eq!(doubt.suspect(at(101), peer(2), TOPIC), Suspicion::Goes);
        assert_eq!(doubt.suspect(at(102), peer(1), TOPIC), Suspicion::Goes);
        let suspects: Vec<_> = doubt.end().collect();
        assert_eq!(suspects, [(peer(1), TOPIC), (peer(2), TOPIC)]);
        // Read just now: there is no doubt.
        assert_eq!(doubt.suspect(at(103), peer(3), TOPIC), Suspicion::No);
        assert_eq!(doubt.suspect(at(159), peer(3), TOPIC), Suspicion::No);
        assert_eq!(doubt.suspect(at(160), peer(3), TOPIC), Suspicion::Begins);
        assert_eq!(doubt.end().count(), 1);
    }

    #[test]
    fn it_does_not_last_if_nobody_can_say() {
        let mut doubt = SignerDoubt::new(true);
        doubt.suspect(at(0), peer(1), TOPIC);
        assert_eq!(doubt.suspect(at(29), peer(2), TOPIC), Suspicion::Goes);
        assert_eq!(doubt.suspect(at(30), peer(3), TOPIC), Suspicion::No);
        assert_eq!(doubt.end().count(), 0, "who was in doubt is forgotten, not blamed");
        assert_eq!(doubt.suspect(at(60), peer(3), TOPIC), Suspicion::Begins);
    }

    #[test]
    fn only_so_many_are_in_doubt() {
        let mut doubt = SignerDoubt::new(true);
        for n in 0..SUSPECTS {
            assert_ne!(doubt.suspect(at(0), peer(n as u8), TOPIC), Suspicion::No);
        }
        assert_eq!(doubt.suspect(at(1), peer(200), TOPIC), Suspicion::No);
        assert_eq!(doubt.suspect(at(1), peer(0), TOPIC), Suspicion::Goes);
    }

    #[test]
    fn where_the_signer_can_not_be_read_there_is_no_doubt() {
        assert_eq!(SignerDoubt::new(false).suspect(at(0), peer(1), TOPIC), Suspicion::No);
    }
}
