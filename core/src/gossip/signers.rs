//! Whose signature counts: the unsafe-block signer, and for a while its predecessor.

use crate::time::Instant;
use alloy_primitives::Address;
use std::time::Duration;

/// How long a replaced signer still counts (the newer reference's grace period).
pub const GRACE_PERIOD: Duration = Duration::from_secs(3 * 60 * 60);

/// The signers that validation accepts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The signer in force; `None` while it is not known.
    pub current: Option<Address>,
    /// Its predecessor, within the grace period.
    pub previous: Option<Address>,
}

/// The signer in force and its history of one.
///
/// When L1 names a new signer, blocks of the old one may still be under way, and the sequencer may
/// not have switched yet. The old one counts until the new one signs its first block, or the grace
/// period ends. Only the most recent predecessor is kept.
#[derive(Clone, Debug)]
pub struct SignerRotation {
    current: Option<Address>,
    previous: Option<(Address, Instant)>,
}

impl SignerRotation {
    /// Begins with `signer`; the zero address is none.
    pub fn new(signer: Option<Address>) -> Self {
        Self { current: signer.filter(|signer| !signer.is_zero()), previous: None }
    }

    /// Puts `signer` in force; the zero address and `None` mean that nobody is known.
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
    }

    /// A block of `signer` was verified: one of the current signer ends the grace period.
    pub fn verified(&mut self, signer: Address) {
        if self.current == Some(signer) {
            self.previous = None;
        }
    }

    /// Who counts at `now`.
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
    fn the_zero_address_is_no_signer() {
        let signers = SignerRotation::new(Some(Address::ZERO));
        assert_eq!(signers.at(at(0)), Signers { current: None, previous: None });
    }

    #[test]
    fn a_replaced_signer_counts_for_three_hours() {
        let signers = rotated();
        assert_eq!(signers.at(at(10)), Signers { current: Some(NEW), previous: Some(OLD) });
        assert_eq!(signers.at(at(10 + 3 * 3600 - 1)).previous, Some(OLD));
        assert_eq!(signers.at(at(10 + 3 * 3600)).previous, None);
    }

    #[test]
    fn the_first_block_of_the_new_signer_ends_the_grace() {
        let mut signers = rotated();
        signers.verified(OLD);
        assert_eq!(signers.at(at(11)).previous, Some(OLD));
        signers.verified(NEW);
        assert_eq!(signers.at(at(11)).previous, None);
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
    fn losing_the_signer_leaves_nobody_in_force() {
        let mut signers = SignerRotation::new(Some(OLD));
        signers.rotate(at(10), None);
        assert_eq!(signers.at(at(10)), Signers { current: None, previous: None });
    }
}
