//! Comparison of two decoders that share no code, the view and the canonical types, in both
//! directions. Also compares the custom byte types with the library's generic ones.

use super::*;
use PayloadVersion::{V1, V2, V3, V4};
use ssz_rs::prelude::*;

/// Checks that both decoders accept with equal values or that both reject. Returns `true` if they
/// accept.
fn agree(version: PayloadVersion, bytes: &[u8]) -> bool {
    let view = PayloadView::parse(version, bytes).map(|view| view.to_payload());
    let canonical = ssz::decode(version, bytes);
    match (view, canonical) {
        (Ok(view), Ok(canonical)) => {
            assert_eq!(view, canonical, "{version}: the values differ");
            assert_eq!(encoded(&view), bytes, "{version}: not the canonical bytes of its value");
            true
        }
        (Err(_), Err(_)) => false,
        (view, canonical) => {
            panic!(
                "{version}: the view says {view:?}, the canonical types {canonical:?}, of \
                 {bytes:02x?}"
            )
        }
    }
}

#[test]
fn both_decoders_agree_on_every_value_of_every_offset() {
    for version in PayloadVersion::ALL {
        let valid = encoded(&sample(version));
        let transactions_at = version.fixed_size() + sample(version).extra_data.len();
        let mut places = vec![436, 504];
        if version != V1 {
            places.push(508);
        }
        places.extend((0..4).map(|index| transactions_at + 4 * index));
        let (mut accepted, mut refused) = (0, 0);
        for place in places {
            for value in
                (0..valid.len() as u32 + 50).chain([1 << 16, 1 << 31, u32::MAX - 3, u32::MAX])
            {
                let mut bytes = valid.clone();
                put_u32(&mut bytes, place, value);
                let count = if agree(version, &bytes) { &mut accepted } else { &mut refused };
                *count += 1;
            }
        }
        assert!(
            accepted > 50 && refused > 3000,
            "{version}: {accepted} accepted, {refused} refused"
        );
    }
}

#[test]
fn both_decoders_agree_on_every_length() {
    for version in PayloadVersion::ALL {
        let valid = encoded(&sample(version));
        for length in 0..=valid.len() {
            agree(version, &valid[..length]);
        }
        let mut longer = valid;
        for _ in 0..100 {
            longer.push(0);
            agree(version, &longer);
        }
    }
}

/// A modification of the bytes of a valid encoding.
#[derive(Clone, Debug)]
enum Change {
    /// Changes an offset that the decoder reads (the three fixed ones first) by a small amount.
    Shift(usize, i32),
    /// Sets an offset.
    Set(usize, u32),
    /// Replaces one byte anywhere.
    Byte(prop::sample::Index, u8),
    /// Truncates the bytes.
    Cut(prop::sample::Index),
    /// Appends bytes.
    Append(Vec<u8>),
}

impl Change {
    fn apply(&self, version: PayloadVersion, bytes: &mut Vec<u8>) {
        let place_of = |which: usize, bytes: &[u8]| {
            let place = match which {
                0 => 436,
                1 => 504,
                2 => 508,
                // An offset in the table of transactions, at its current position.
                _ => {
                    let at = bytes
                        .get(504..508)
                        .map_or(0, |at| u32::from_le_bytes(at.try_into().expect("4")));
                    at as usize + 4 * (which - 3)
                }
            };
            (place.saturating_add(4) <= bytes.len()).then_some(place)
        };
        match self {
            Self::Shift(which, by) => {
                if let Some(place) = place_of(*which, bytes) {
                    let old = u32::from_le_bytes(bytes[place..place + 4].try_into().expect("4"));
                    put_u32(bytes, place, old.wrapping_add_signed(*by));
                }
            }
            Self::Set(which, value) => {
                if let Some(place) = place_of(*which, bytes) {
                    put_u32(bytes, place, *value);
                }
            }
            Self::Byte(at, value) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::Byte(..) => {}
            // Cut into the fixed part only rarely, because that is rejected at once.
            Self::Cut(at) => {
                let variable = bytes.len().saturating_sub(version.fixed_size());
                bytes.truncate(bytes.len() - at.index(variable + 2).min(bytes.len()));
            }
            Self::Append(more) => bytes.extend(more),
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_usize..9, -50_i32..50).prop_map(|(which, by)| Change::Shift(which, by)),
        1 => (0_usize..9, any::<u32>()).prop_map(|(which, value)| Change::Set(which, value)),
        2 => (any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(at, value)| Change::Byte(at, value)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..100).prop_map(Change::Append),
    ]
}

/// Generates variable parts of any shape, with correct offsets to them.
fn any_parts() -> impl Strategy<Value = Parts> {
    let extra_data = prop::collection::vec(any::<u8>(), 0..36);
    let offsets = prop::collection::vec(0_u32..30, 0..6);
    let relative = any::<bool>();
    let filler = 0_usize..40;
    let withdrawals = prop_oneof![
        3 => (0_usize..19).prop_map(|count| 44 * count),
        1 => 0_usize..900,
    ];
    (any_version(), extra_data, offsets, relative, filler, withdrawals).prop_map(
        |(version, extra_data, mut offsets, relative, filler, withdrawals)| {
            if relative {
                // Interpret the offsets as lengths: a valid table except for the bytes past its
                // end.
                let mut end = 4 * offsets.len() as u32;
                for offset in &mut offsets {
                    end += std::mem::replace(offset, end);
                }
            }
            let transactions = section(&offsets, filler);
            Parts { version, extra_data, transactions, withdrawals: vec![0xcd; withdrawals] }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_decoders_agree_on_valid_payloads((version, payload) in any_payload()) {
        let bytes = encoded(&payload);
        prop_assert!(agree(version, &bytes));
        prop_assert_eq!(ssz::decode(version, &bytes).expect("canonical"), payload);
    }

    #[test]
    fn both_decoders_agree_on_changed_payloads(
        (version, payload) in any_payload(), changes in prop::collection::vec(any_change(), 1..4),
    ) {
        let mut bytes = encoded(&payload);
        for change in &changes {
            change.apply(version, &mut bytes);
        }
        agree(version, &bytes);
    }

    #[test]
    fn both_decoders_agree_on_any_variable_parts(parts in any_parts()) {
        agree(parts.version, &parts.bytes());
    }

    #[test]
    fn both_decoders_agree_on_arbitrary_bytes(
        version in any_version(), bytes in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        agree(version, &bytes);
    }

    #[test]
    fn both_decoders_agree_on_another_versions_bytes(
        (_, payload) in any_payload(), version in any_version()
    ) {
        agree(version, &encoded(&payload));
    }
}

/// Copies of the containers, made only of the library's own types.
macro_rules! twins {
    ($($twin:ident of $ours:ident { $($field:ident: $type:ty),* $(,)? } $test:ident)*) => {$(
        #[derive(Default, Debug, PartialEq, Eq, SimpleSerialize)]
        struct $twin {
            parent_hash: Vector<u8, 32>,
            fee_recipient: Vector<u8, 20>,
            state_root: Vector<u8, 32>,
            receipts_root: Vector<u8, 32>,
            logs_bloom: Vector<u8, 256>,
            prev_randao: Vector<u8, 32>,
            block_number: u64,
            gas_limit: u64,
            gas_used: u64,
            timestamp: u64,
            extra_data: List<u8, 32>,
            base_fee_per_gas: ssz_rs::U256,
            block_hash: Vector<u8, 32>,
            transactions: List<List<u8, { 1 << 30 }>, { 1 << 20 }>,
            // The visibility is needed: the derive macro takes the span for its own names from a
            // field's first token.
            $(pub(super) $field: $type,)*
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(32))]

            #[test]
            fn $test(payload in payload_of($ours::VERSION)) {
                let mut ours = ssz::$ours::from(&payload);
                let mut bytes = Vec::new();
                ours.serialize(&mut bytes).expect("serializes");
                let mut twin = $twin::deserialize(&bytes).expect("the library's types take it");
                let mut again = Vec::new();
                twin.serialize(&mut again).expect("serializes");
                prop_assert_eq!(again, bytes);
                prop_assert_eq!(
                    ours.hash_tree_root().expect("a root"), twin.hash_tree_root().expect("a root")
                );
            }
        }
    )*};
}

/// The version of a container.
trait Versioned {
    const VERSION: PayloadVersion;
}

macro_rules! versions {
    ($($container:ident $version:ident)*) => {$(
        use ssz::$container;

        impl Versioned for $container {
            const VERSION: PayloadVersion = $version;
        }
    )*};
}

versions! {
    ExecutionPayloadV1 V1
    ExecutionPayloadV2 V2
    ExecutionPayloadV3 V3
    ExecutionPayloadV4 V4
}

#[derive(Default, Debug, Clone, PartialEq, Eq, SimpleSerialize)]
struct TwinWithdrawal {
    index: u64,
    validator_index: u64,
    address: Vector<u8, 20>,
    amount: u64,
}

twins! {
    Twin1 of ExecutionPayloadV1 {} v1_is_what_the_librarys_own_types_make_of_it
    Twin2 of ExecutionPayloadV2 {
        withdrawals: List<TwinWithdrawal, 16>,
    } v2_is_what_the_librarys_own_types_make_of_it
    Twin3 of ExecutionPayloadV3 {
        withdrawals: List<TwinWithdrawal, 16>,
        blob_gas_used: u64,
        excess_blob_gas: u64,
    } v3_is_what_the_librarys_own_types_make_of_it
    Twin4 of ExecutionPayloadV4 {
        withdrawals: List<TwinWithdrawal, 16>,
        blob_gas_used: u64,
        excess_blob_gas: u64,
        withdrawals_root: Vector<u8, 32>,
    } v4_is_what_the_librarys_own_types_make_of_it
}

#[test]
fn byte_types_have_the_same_roots_as_the_librarys_generic_types() {
    fn fixed<const N: usize>(bytes: [u8; N]) {
        let mut generic = Vector::<u8, N>::try_from(bytes.to_vec()).expect("N bytes");
        let mut ours = ssz::FixedBytes(bytes);
        assert_eq!(
            ours.hash_tree_root().expect("a root"),
            generic.hash_tree_root().expect("a root")
        );
        let mut serialized = (Vec::new(), Vec::new());
        ours.serialize(&mut serialized.0).expect("serializes");
        generic.serialize(&mut serialized.1).expect("serializes");
        assert_eq!(serialized.0, serialized.1);
        assert_eq!(ssz::FixedBytes::deserialize(&bytes).expect("N bytes"), ours);
        assert!(ssz::FixedBytes::<N>::deserialize(&bytes[1..]).is_err());
        assert!(ssz::FixedBytes::<N>::deserialize(&[&bytes[..], &[0]].concat()).is_err());
        // The library has no limit for a single chunk: the root of up to 32 bytes is the bytes
        // themselves.
        if N <= 32 {
            assert_eq!(ours.hash_tree_root().expect("a root").as_ref()[..N], bytes);
        }
    }
    fixed([7; 20]);
    fixed([8; 32]);
    fixed(std::array::from_fn::<u8, 256, _>(|index| index as u8));

    for length in 0..=32 {
        let bytes = vec![0x5a; length];
        let mut generic = List::<u8, 32>::try_from(bytes.clone()).expect("at most 32");
        let mut ours = ssz::ExtraData(bytes.into());
        assert_eq!(
            ours.hash_tree_root().expect("a root"),
            generic.hash_tree_root().expect("a root")
        );
    }
    assert!(ssz::ExtraData(vec![0; 33].into()).hash_tree_root().is_err());

    for lengths in [&[][..], &[0], &[1, 0, 33], &[64; 20]] {
        let items: Vec<Bytes> = lengths.iter().map(|length| vec![0xa5; *length].into()).collect();
        let generic: Vec<List<u8, { 1 << 30 }>> =
            items.iter().map(|item| item.to_vec().try_into().expect("short")).collect();
        let mut generic = List::<_, { 1 << 20 }>::try_from(generic).expect("few");
        let mut ours = ssz::Transactions(items);
        assert_eq!(
            ours.hash_tree_root().expect("a root"),
            generic.hash_tree_root().expect("a root")
        );
    }
}
