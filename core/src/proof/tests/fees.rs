//! L1 fees. The expected numbers come from an independent program, and some from the tests of the
//! reference.

use alloy_primitives::U256;
use alloy_primitives::aliases::U1024;
use proptest::prelude::*;

use crate::chain::{Fork, ForkSchedule, networks};
use crate::fixtures;
use crate::payload::Block;
use crate::proof::fast_lz::compressed_size;
use crate::proof::{DEPOSIT, FeeScalar, Footprint, L1Fees, L1Prices, OperatorFee};

pub(in crate::proof) const ECOTONE: u32 = 0x440a_5e20;
pub(in crate::proof) const ISTHMUS: u32 = 0x0989_99be;
pub(in crate::proof) const JOVIAN: u32 = 0x3db6_be2b;
const BASE_FEE: u64 = 1_000_000_007;
const BLOB_BASE_FEE: u64 = 12_345;

/// Bytes of a transaction. They compress to 270, and cost 6392 gas as L1 calldata.
pub(in crate::proof) fn payer() -> Vec<u8> {
    std::iter::once(2).chain((0..400_u32).map(|index| (index * index % 251) as u8)).collect()
}

/// Returns Bedrock's call.
fn bedrock_with(base_fee: U256, overhead: U256, scalar: U256) -> Vec<u8> {
    let mut call = 0x015d_8eb9_u32.to_be_bytes().to_vec();
    let zero = U256::ZERO;
    for word in [zero, zero, base_fee, zero, zero, zero, overhead, scalar] {
        call.extend(word.to_be_bytes::<32>());
    }
    call
}

pub(in crate::proof) fn bedrock() -> Vec<u8> {
    bedrock_with(U256::from(BASE_FEE), U256::from(188), U256::from(684_000))
}

/// Returns a packed call of 164 bytes.
fn packed_with(selector: u32, base_fee: U256, blob_base_fee: U256, scalars: [u32; 2]) -> Vec<u8> {
    let mut call = selector.to_be_bytes().to_vec();
    call.extend(scalars.map(u32::to_be_bytes).concat());
    call.extend([0; 24]);
    call.extend(base_fee.to_be_bytes::<32>());
    call.extend(blob_base_fee.to_be_bytes::<32>());
    call.extend([0; 64]);
    call
}

/// Returns a packed call with the fields that its fork adds.
pub(in crate::proof) fn packed(selector: u32) -> Vec<u8> {
    let prices = [BASE_FEE, BLOB_BASE_FEE].map(U256::from);
    let mut call = packed_with(selector, prices[0], prices[1], [7600, 862_000]);
    if selector != ECOTONE {
        call.extend(70_000_u32.to_be_bytes());
        call.extend(5_u64.to_be_bytes());
    }
    if selector == JOVIAN {
        call.extend(400_u16.to_be_bytes());
    }
    call
}

fn prices(fork: Fork, call: &[u8]) -> Option<L1Prices> {
    L1Prices::of_call(&ForkSchedule::up_to(fork), 1000, call)
}

/// Returns the gas and the fee of a transaction.
fn paid(fork: Fork, call: &[u8], raw: &[u8]) -> (U1024, U1024) {
    let fees = prices(fork, call).expect("it has prices").fees(raw);
    (fees.gas_used, fees.fee)
}

fn wide(numbers: (u64, u64)) -> (U1024, U1024) {
    (U1024::from(numbers.0), U1024::from(numbers.1))
}

/// Returns bytes that are random within the mask.
fn random(count: usize, mask: u32) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_103_515_245).wrapping_add(12_345));
    let states = std::iter::successors(Some(1_u32), next).skip(1);
    states.take(count).map(|state| ((state >> 16) & mask) as u8).collect()
}

#[test]
fn the_compressed_size_is_that_of_the_reference() {
    for (count, equal, any, bits, pairs) in [
        (0, 0, 0, 0, 0),
        (1, 2, 2, 2, 2),
        (13, 14, 14, 14, 14),
        (16, 17, 17, 17, 17),
        (17, 12, 18, 18, 18),
        (31, 12, 32, 28, 32),
        (32, 12, 33, 29, 33),
        (33, 12, 35, 30, 34),
        (64, 12, 66, 46, 59),
        (100, 12, 104, 63, 89),
        (271, 12, 280, 140, 199),
        (272, 14, 281, 135, 200),
        (300, 15, 310, 153, 216),
        (1000, 21, 1032, 495, 628),
        (10_000, 126, 10_311, 5043, 6012),
    ] {
        assert_eq!(compressed_size(&vec![7; count]), equal, "{count}");
        assert_eq!(compressed_size(&random(count, 0xff)), any, "{count}");
        assert_eq!(compressed_size(&random(count, 1)), bits, "{count}");
        assert_eq!(compressed_size(&random(count, 3)), pairs, "{count}");
    }
    assert_eq!(compressed_size(&payer()), 270);
}

#[test]
fn bytes_are_repeated_over_at_most_8191_bytes() {
    let repeated = |gap: usize| {
        let all = random(gap + 64, 0xff);
        [&all[..32], &all[64..], &all[..32]].concat()
    };
    assert_eq!(compressed_size(&repeated(8159)), 8458);
    assert_eq!(compressed_size(&repeated(8160)), 8479);
}

#[test]
fn each_fork_has_its_fee() {
    let raw = payer();
    let tiny = [&[2_u8][..], &[1; 20]].concat();
    for (fork, call, raw, expected) in [
        (Fork::Canyon, bedrock(), &raw, (6580, 4_500_720_031_505)),
        (Fork::Ecotone, packed(ECOTONE), &raw, (6392, 48_583_451_575)),
        (Fork::Granite, packed(ECOTONE), &raw, (2932, 22_287_509_437)),
        (Fork::Isthmus, packed(ISTHMUS), &raw, (2932, 22_287_509_437)),
        (Fork::Jovian, packed(JOVIAN), &raw, (2932, 22_287_509_437)),
        (Fork::Canyon, bedrock(), &tiny, (524, 358_416_002_508)),
        (Fork::Ecotone, packed(ECOTONE), &tiny, (336, 2_553_823_487)),
        (Fork::Fjord, packed(ECOTONE), &tiny, (1600, 12_161_064_224)),
    ] {
        assert_eq!(paid(fork, &call, raw), wide(expected), "{fork}");
    }
    // The numbers of the reference's tests.
    let raw = [1_u8; 30];
    let (base_fee, blob_base_fee) = (U256::from(1_000_000_000), U256::from(10_000_000));
    let call = bedrock_with(base_fee, U256::from(50), U256::from(7_000_000));
    assert_eq!(paid(Fork::Canyon, &call, &raw), wide((530, 3_710_000_000_000)));
    let call = packed_with(ECOTONE, base_fee, blob_base_fee, [2, 3]);
    assert_eq!(paid(Fork::Ecotone, &call, &raw), wide((480, 960_900)));
    assert_eq!(paid(Fork::Fjord, &call, &raw), wide((1600, 3_203_000)));
}

#[test]
fn each_fork_adds_its_fields() {
    let raw = payer();
    let of = |fork, call: &[u8]| prices(fork, call).expect("it has prices").fees(&raw);
    let fees = of(Fork::Canyon, &bedrock());
    let L1Fees { gas_price, scalar, blobs, operator, footprint, .. } = fees;
    assert_eq!(gas_price, U256::from(BASE_FEE));
    assert_eq!(scalar, Some(FeeScalar(U256::from(684_000))));
    assert_eq!((blobs, operator, footprint), (None, None, None));
    let ecotone = of(Fork::Ecotone, &packed(ECOTONE));
    let blobs = ecotone.blobs.expect("since Ecotone");
    assert_eq!(blobs.blob_base_fee, U256::from(BLOB_BASE_FEE));
    assert_eq!((blobs.base_fee_scalar, blobs.blob_base_fee_scalar), (7600, 862_000));
    assert_eq!((ecotone.scalar, ecotone.operator), (None, None));
    let isthmus = of(Fork::Isthmus, &packed(ISTHMUS));
    assert_eq!(isthmus.operator, Some(OperatorFee { scalar: 70_000, constant: 5 }));
    assert_eq!((isthmus.blobs, isthmus.footprint), (Some(blobs), None));
    let jovian = of(Fork::Jovian, &packed(JOVIAN));
    assert_eq!((jovian.blobs, jovian.operator), (isthmus.blobs, isthmus.operator));
    assert_eq!(jovian.footprint, Some(Footprint { scalar: 400, gas: 73_200 }));
    // An operator fee of zero is not shown.
    let mut free = packed(ISTHMUS);
    free[164..].fill(0);
    assert_eq!(of(Fork::Isthmus, &free).operator, None);
}

#[test]
fn the_first_block_of_a_fork_has_the_deposit_of_the_fork_before() {
    let raw = payer();
    for (before, fork, call) in [
        (Fork::Canyon, Fork::Ecotone, bedrock()),
        (Fork::Canyon, Fork::Fjord, bedrock()),
        (Fork::Fjord, Fork::Isthmus, packed(ECOTONE)),
    ] {
        assert_eq!(prices(fork, &call), prices(before, &call), "{fork}");
        assert_eq!(paid(fork, &call, &raw), paid(before, &call, &raw), "{fork}");
    }
    // The first block of Jovian has no transaction that pays.
    assert_eq!(prices(Fork::Jovian, &packed(ISTHMUS)), None);
}

#[test]
fn a_call_in_another_form_has_no_prices() {
    let longer = |mut call: Vec<u8>| {
        call.push(0);
        call
    };
    let shorter = |mut call: Vec<u8>| {
        call.pop();
        call
    };
    for (fork, call) in [
        (Fork::Canyon, shorter(bedrock())),
        (Fork::Canyon, packed(ECOTONE)),
        (Fork::Ecotone, shorter(packed(ECOTONE))),
        (Fork::Ecotone, longer(packed(ECOTONE))),
        (Fork::Isthmus, shorter(packed(ISTHMUS))),
        (Fork::Jovian, shorter(packed(JOVIAN))),
        (Fork::Jovian, packed(ECOTONE)),
    ] {
        assert_eq!(prices(fork, &call), None, "{fork}");
    }
    for fork in Fork::ALL {
        assert_eq!(prices(fork, &[]), None);
        assert_eq!(prices(fork, &[1, 2, 3]), None);
    }
    // More bytes than these forks need are ignored.
    assert!(prices(Fork::Canyon, &longer(bedrock())).is_some());
    assert!(prices(Fork::Isthmus, &longer(packed(ISTHMUS))).is_some());
}

/// Returns the sums of gas and fees of the transactions of a block that pay.
fn sums(forks: &ForkSchedule, block: &Block) -> (U1024, U1024) {
    let prices = L1Prices::of_block(forks, block).expect("it has prices");
    let payers = block.payload().transactions().filter(|raw| raw.first() != Some(&DEPOSIT));
    payers
        .map(|raw| prices.fees(raw))
        .fold((U1024::ZERO, U1024::ZERO), |sums, fees| (sums.0 + fees.gas_used, sums.1 + fees.fee))
}

#[test]
fn the_fees_of_real_blocks_follow_from_their_transactions() {
    let expected = [
        (120_794_432_u64, (0, 0)),
        (121_003_241, (53_852, 1_535_142_313_561)),
        (121_049_889, (15_944, 542_283_771_250)),
        (121_057_303, (13_752, 316_891_228_644)),
        (121_135_704, (71_388, 937_209_210_406)),
        (26_207_960, (15_760, 3_662_481_347)),
        (26_207_961, (53_496, 12_430_006_031)),
        (26_207_962, (568_473, 132_080_154_677)),
        (26_207_963, (107_295, 24_931_521_333)),
    ];
    for (real, (number, expected)) in fixtures::blocks().iter().zip(expected) {
        let block = real.to_block();
        let forks = networks::by_chain_id(real.chain_id).expect("a built-in network").forks;
        assert_eq!((block.number(), sums(&forks, &block)), (number, wide(expected)));
    }
    // The second transaction of the second block, by the rules of Ecotone.
    let block = fixtures::blocks()[1].to_block();
    let prices = L1Prices::of_block(&ForkSchedule::up_to(Fork::Ecotone), &block);
    let fees = prices.expect("prices").fees(block.payload().transaction(1).expect("it is there"));
    assert_eq!((fees.gas_used, fees.fee), wide((0x6b4, 0xb_63b5_87d8)));
}

#[test]
fn no_price_is_too_large() {
    let raw = [&[2_u8][..], &[1; 20]].concat();
    let most = U256::MAX;
    let (gas, fee) = paid(Fork::Canyon, &bedrock_with(most, most, most), &raw);
    assert_eq!(gas, U1024::from(most) + U1024::from(336));
    let wide = U1024::from(most);
    assert_eq!(fee, gas * wide * wide / U1024::from(1_000_000));
    assert!(fee.bit_len() > 740 && fee.bit_len() < 769);
    let call = packed_with(ECOTONE, most, most, [u32::MAX; 2]);
    let digits =
        "177544395356956055391749580822200198267761262731035750600611958388771582942647894480";
    assert_eq!(paid(Fork::Ecotone, &call, &raw).1.to_string(), digits);
}

#[test]
fn a_scalar_has_at_most_ten_digits() {
    for (scalar, shown) in [
        (0_u64, "0"),
        (1, "1e-06"),
        (12, "1.2e-05"),
        (99, "9.9e-05"),
        (100, "0.0001"),
        (684_000, "0.684"),
        (1_000_000, "1"),
        (1_500_000, "1.5"),
        (10_000_000, "10"),
        (123_456_789_012, "123456.789"),
        (1_000_000_000_000_000, "1000000000"),
        (9_999_999_999_400_000, "9999999999"),
        (9_999_999_999_600_000, "1e+10"),
        (12_345_678_901_234_567, "1.23456789e+10"),
    ] {
        assert_eq!(FeeScalar(U256::from(scalar)).to_string(), shown);
    }
    assert_eq!(FeeScalar(U256::MAX).to_string(), "1.157920892e+71");
}

proptest! {
    #[test]
    fn any_bytes_have_a_size_and_fees(
        raw in prop::collection::vec(any::<u8>(), 0..600),
        call in prop::collection::vec(any::<u8>(), 0..300),
        shape in 0..4_usize,
        fork in 0..Fork::ALL.len(),
    ) {
        let size = compressed_size(&raw);
        assert!(size <= raw.len() + raw.len().div_ceil(32));
        let mut call = call;
        let whole = [bedrock(), packed(ECOTONE), packed(ISTHMUS), packed(JOVIAN)][shape].clone();
        call.resize(whole.len(), 0);
        call[..4].copy_from_slice(&whole[..4]);
        if let Some(prices) = prices(Fork::ALL[fork], &call) {
            let _ = prices.fees(&raw).scalar.map(|scalar| scalar.to_string());
        }
    }
}
