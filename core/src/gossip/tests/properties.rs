//! Properties for arbitrary bytes: validation never panics, and accepts only what the sequencer
//! signed.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// A change made to bytes in transit.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Bit(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Swap(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Byte(at, value) => bytes[at.index(length)] = *value,
            Self::Bit(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at) => {
                bytes.remove(at.index(length));
            }
            Self::Swap(a, b) => bytes.swap(a.index(length), b.index(length)),
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let more = prop::collection::vec(any::<u8>(), 1..20);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Change::Byte(at, value)),
        (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Change::Bit(at, bit)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), more).prop_map(|(at, more)| Change::Insert(at, more)),
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn any_version() -> impl Strategy<Value = PayloadVersion> {
    prop::sample::select(&PayloadVersion::ALL)
}

/// Checks that an accepted message has exactly the signed bytes after its signature.
fn assert_nothing_forged(version: PayloadVersion, data: &[u8], original: &[u8]) {
    let verdict = judge_data(&rules(version), version, data, NOW);
    if verdict.is_none() {
        let contents = Unpacked::new(data).into_contents().expect("accepted");
        assert_eq!(contents[65..], original[65..], "a forged message is accepted");
    }
}

proptest! {
    #[test]
    fn arbitrary_data_is_never_accepted(
        version in any_version(), data in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(judge_data(&rules(version), version, &data, NOW).is_some());
    }

    #[test]
    fn arbitrary_contents_are_never_accepted(
        version in any_version(), contents in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        prop_assert!(judge(&rules(version), version, &contents).is_some());
    }

    #[test]
    fn arbitrary_bodies_that_the_sequencer_signed_never_panic(
        version in any_version(), body in prop::collection::vec(any::<u8>(), 1..900),
    ) {
        let reason = judge(&rules(version), version, &signed_by(&sequencer(), &body));
        prop_assert_eq!(reason, Some(Reason::Payload));
    }

    #[test]
    fn signed_bodies_are_accepted_only_if_unchanged(
        version in any_version(), changes in prop::collection::vec(any_change(), 1..3),
    ) {
        let original = body(&block(version));
        let mut changed = original.clone();
        changes.iter().for_each(|change| change.apply(&mut changed));
        let reason = judge(&rules(version), version, &signed_by(&sequencer(), &changed));
        // Every byte is covered by the block hash, an offset, or a field that must be zero.
        prop_assert_eq!(reason.is_none(), changed == original);
    }

    #[test]
    fn messages_changed_on_the_wire_are_not_accepted(
        version in any_version(), changes in prop::collection::vec(any_change(), 1..4),
    ) {
        let original = signed(&block(version));
        let mut data = snappy::compress(&original);
        changes.iter().for_each(|change| change.apply(&mut data));
        assert_nothing_forged(version, &data, &original);
    }

    #[test]
    fn messages_changed_and_compressed_again_are_not_accepted(
        version in any_version(), topic in any_version(),
        changes in prop::collection::vec(any_change(), 0..4),
    ) {
        let original = signed(&block(version));
        let mut contents = original.clone();
        changes.iter().for_each(|change| change.apply(&mut contents));
        assert_nothing_forged(topic, &snappy::compress(&contents), &original);
        if topic != version {
            prop_assert!(judge(&rules(topic), topic, &contents).is_some());
        }
    }

    #[test]
    fn a_message_of_any_bytes_never_panics(
        version in any_version(), data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let unpacked = Unpacked::new(&data);
        let _ = unpacked.message_id("/optimism/901/0/blocks");
        prop_assert!(validate(&rules(version), version, unpacked, NOW).is_err());
    }

    #[test]
    fn every_block_of_the_sequencer_is_accepted_with_any_contents(
        version in any_version(),
        transactions in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        number in 0_u64..1 << 63, age in -5_i64..=60,
    ) {
        let envelope = changed(version, |payload| {
            payload.transactions = transactions.into_iter().map(Into::into).collect();
            payload.block_number = number;
            payload.timestamp = NOW.wrapping_sub_signed(age);
        });
        prop_assert_eq!(judge(&rules(version), version, &signed(&envelope)), None);
    }
}
