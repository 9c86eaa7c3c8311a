//! Accepted signers: the unsafe block signer and, for a limited time, its predecessor.

use crate::time::Instant;
use alloy_primitives::Address;
use std::time::Duration;

/// Time for which a replaced signer is still accepted (the newer reference's grace period).
pub const GRACE_PERIOD: Duration = Duration::from_secs(3 * 60 * 60);

/// Time after a change of the signer, and after the new signer's first block, in which honest peers
/// may still send blocks of another signer: a message may have been validated against the earlier
/// signers, and messages overtake each other, by up to the maximum age of a block.
pub const SWITCH_PERIOD: Duration = Duration::from_secs(60);

/// The signers that validation accepts at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The current signer, or `None` while it is not known.
    pub current: Option<Address>,
    /// Its predecessor, within the grace period.
    pub previous: Option<Address>,
}

/// The current signer and its most recent predecessor.
///
/// When L1 names a new signer, blocks of the old one may still be in flight, and the sequencer may
/// not have switched yet. The old signer is accepted until the new one signs its first block or the
/// grace period ends. Only the most recent predecessor is kept.
#[derive(Clone, Debug)]
pub struct SignerRotation {
    current: Option<Address>,
    previous: Option<(Address, Instant)>,
    /// Time of the last change, or of the first block of the current signer after it.
    switched: Option<Instant>,
    /// Whether the current signer has signed a block in this run.
    has_signed: bool,
}

impl SignerRotation {
    /// Creates the rotation with `signer`; the zero address counts as unknown.
    pub fn new(signer: Option<Address>) -> Self {
        let current = signer.filter(|signer| !signer.is_zero());
        Self { current, previous: None, switched: None, has_signed: false }
    }

    /// Makes `signer` the current signer; the zero address and `None` mean that the signer is
    /// unknown.
    ///
    /// A change from one known signer to another begins a grace period for the old one.
    pub fn rotate(&mut self, now: Instant, signer: Option<Address>) {
        let signer = signer.filter(|signer| !signer.is_zero());
        if signer == self.current {
            return;
        }
        if let (Some(old), Some(_)) = (self.current, signer) {
            self.previous = Some((old, now + GRACE_PERIOD));
        }
        self.current = signer;
        self.switched = Some(now);
        self.has_signed = false;
    }

    /// Handles a verified block of `signer`: a block of the current signer ends the grace period.
    /// Returns `true` if it is the first block of the current signer.
    pub fn verified(&mut self, now: Instant, signer: Address) -> bool {
        if self.current != Some(signer) {
            return false;
        }
        if self.previous.take().is_some() {
            self.switched = Some(now);
        }
        !std::mem::replace(&mut self.has_signed, true)
    }

    /// Returns `true` if the current signer has signed a block in this run. Until then, it may have
    /// been configured before the sequencer switches to it.
    pub const fn has_signed(&self) -> bool {
        self.has_signed
    }

    /// Returns `true` if the signer changed, or the current one took over, so recently that a block
    /// of another signer is not the sending peer's fault.
    pub fn has_just_switched(&self, now: Instant) -> bool {
        self.switched.is_some_and(|switched| now.since(switched) < SWITCH_PERIOD)
    }

    /// Returns the signers that are accepted at `now`.
    pub fn at(&self, now: Instant) -> Signers {
        let previous = self.previous.filter(|(_, end)| now < *end).map(|(signer, _)| signer);
        Signers { current: self.current, previous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Address = Address::repeat_byte(1);
    const NEW: Address = Address::repeat_byte(2);
    const NEWER: Address = Address::repeat_byte(3);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn rotated() -> SignerRotation {
        let mut signers = SignerRotation::new(Some(OLD));
        signers.rotate(at(10), Some(NEW));
        signers
    }

    #[test]
    fn the_zero_address_is_not_a_signer() {
        let signers = SignerRotation::new(Some(Address::ZERO));
        assert_eq!(signers.at(at(0)), Signers { current: None, previous: None });
    }

    #[test]
    fn a_replaced_signer_stays_valid_for_three_hours() {
        let signers = rotated();
        assert_eq!(signers.at(at(10)), Signers { current: Some(NEW), previous: Some(OLD) });
        assert_eq!(signers.at(at(10 + 3 * 3600 - 1)).previous, Some(OLD));
        assert_eq!(signers.at(at(10 + 3 * 3600)).previous, None);
    }

    #[test]
    fn the_first_block_of_the_new_signer_ends_the_grace() {
        let mut signers = rotated();
        assert!(!signers.verified(at(10), OLD) && !signers.has_signed());
        assert_eq!(signers.at(at(11)).previous, Some(OLD));
        assert!(signers.has_just_switched(at(69)) && !signers.has_just_switched(at(70)));
        assert!(signers.verified(at(12), NEW) && signers.has_signed());
        assert_eq!(signers.at(at(12)).previous, None);
        // Later blocks do not extend the period for overtaken messages.
        assert!(!signers.verified(at(40), NEW));
        assert!(signers.has_just_switched(at(71)) && !signers.has_just_switched(at(72)));
    }

    #[test]
    fn only_the_most_recent_predecessor_is_kept() {
        let mut signers = rotated();
        signers.rotate(at(20), Some(NEWER));
        assert_eq!(signers.at(at(20)), Signers { current: Some(NEWER), previous: Some(NEW) });
    }

    #[test]
    fn the_same_signer_again_changes_nothing() {
        let mut signers = rotated();
        signers.rotate(at(9000), Some(NEW));
        assert_eq!(signers.at(at(10 + 3 * 3600)).previous, None);
    }

    #[test]
    fn losing_the_signer_clears_current_and_previous() {
        let mut signers = SignerRotation::new(Some(OLD));
        signers.rotate(at(10), None);
        assert_eq!(signers.at(at(10)), Signers { current: None, previous: None });
    }
}
