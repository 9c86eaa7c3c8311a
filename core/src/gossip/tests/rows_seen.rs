//! Checks 22 to 24, which need memory.

use super::*;
use crate::chain::BlockId;

/// A validator with its memory, as in the node: first the job, then the list.
struct Validator {
    rules: Rules,
    seen: SeenBlocks,
}

impl Validator {
    fn new(version: PayloadVersion) -> Self {
        Self { rules: rules(version), seen: SeenBlocks::default() }
    }

    fn judge(&mut self, version: PayloadVersion, contents: &[u8]) -> Result<BlockId, Reason> {
        let verified =
            validate(&self.rules, version, Unpacked::new(&snappy::compress(contents)), NOW)?;
        let id = BlockId::of(&verified.block);
        self.seen.admit(version, id.number, id.hash).map(|()| id)
    }
}

/// Returns the `nth` different block of one height.
fn competitor(version: PayloadVersion, nth: u64) -> Vec<u8> {
    signed(&changed(version, |payload| payload.gas_used = nth))
}

#[test]
fn row_22_six_blocks_of_a_height_are_accepted_and_the_seventh_is_rejected() {
    for version in PayloadVersion::ALL {
        let mut validator = Validator::new(version);
        for nth in 0..6 {
            assert!(validator.judge(version, &competitor(version, nth)).is_ok(), "block {nth}");
        }
        assert_eq!(validator.judge(version, &competitor(version, 6)), Err(Reason::TooManyBlocks));
        let next = signed(&changed(version, |payload| payload.block_number += 1));
        assert!(validator.judge(version, &next).is_ok(), "another height");
    }
    assert_eq!(Reason::TooManyBlocks.acceptance(), Acceptance::Reject);
}

#[test]
fn row_22_a_repeat_is_rejected_once_the_height_is_full() {
    let mut validator = Validator::new(V4);
    for nth in 0..6 {
        validator.judge(V4, &competitor(V4, nth)).expect("new");
    }
    for nth in 0..6 {
        assert_eq!(validator.judge(V4, &competitor(V4, nth)), Err(Reason::TooManyBlocks));
    }
}

#[test]
fn row_23_a_repeat_is_ignored() {
    for version in PayloadVersion::ALL {
        let mut validator = Validator::new(version);
        let contents = signed(&block(version));
        assert!(validator.judge(version, &contents).is_ok());
        assert_eq!(validator.judge(version, &contents), Err(Reason::AlreadySeen));
        // It has other bytes and another message id, but is the same block.
        assert_eq!(validator.judge(version, &high_s_twin(&contents)), Err(Reason::AlreadySeen));
    }
    assert_eq!(Reason::AlreadySeen.acceptance(), Acceptance::Ignore);
}

#[test]
fn row_24_an_accepted_block_is_stored_and_handed_on() {
    for version in PayloadVersion::ALL {
        let envelope = block(version);
        let contents = signed(&envelope);
        let verified = validate(&rules(version), version, Unpacked::from_contents(&contents), NOW)
            .expect("valid");
        assert_eq!(verified.signer, sequencer().address());
        assert_eq!(verified.block.to_envelope(), envelope);
        assert_eq!(
            verified.block.signature().map(|signature| &signature[..]),
            Some(&contents[..65])
        );
        assert_eq!(verified.block.body()[..], contents[65..]);
    }
}

#[test]
fn row_24_only_accepted_blocks_are_stored() {
    let mut validator = Validator::new(V4);
    for nth in 0..20 {
        let foreign = signed_by(&key(8), &body(&changed(V4, |payload| payload.gas_used = nth)));
        assert_eq!(validator.judge(V4, &foreign), Err(Reason::WrongSigner));
    }
    assert!(validator.judge(V4, &signed(&block(V4))).is_ok());
}

#[test]
fn topics_have_separate_lists() {
    let mut validator = Validator::new(V2);
    for version in PayloadVersion::ALL {
        for nth in 0..6 {
            assert!(validator.judge(version, &competitor(version, nth)).is_ok(), "{version}");
        }
        assert_eq!(validator.judge(version, &competitor(version, 6)), Err(Reason::TooManyBlocks));
    }
}
