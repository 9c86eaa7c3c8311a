//! Instructions and precompiles of the forks.

use alloy_primitives::{Address, Bytes, U256, address, hex};
use opp2p_core::proof::call::{Call, Job, Outcome, Purpose, Rules};
use revm::bytecode::opcode::*;

use super::world::*;
use crate::execute;

const ALL: [Rules; 8] = [
    Rules::Bedrock,
    Rules::Canyon,
    Rules::Ecotone,
    Rules::Fjord,
    Rules::Granite,
    Rules::Isthmus,
    Rules::Jovian,
    Rules::Karst,
];

const KZG: Address = address!("000000000000000000000000000000000000000a");
const BLS_ADD: Address = address!("000000000000000000000000000000000000000b");
const PAIRING: Address = address!("0000000000000000000000000000000000000008");
const P256: Address = address!("0000000000000000000000000000000000000100");

fn run(rules: Rules, call: Call) -> Outcome {
    World::new().run(job(rules, call))
}

fn empty() -> Outcome {
    Outcome::Returned(Bytes::new())
}

/// Checks that something works from a fork on, and has another outcome before.
fn begins_with(first: Rules, new: &Outcome, before: &Outcome, run: impl Fn(Rules) -> Outcome) {
    for rules in ALL {
        let expected = if rules >= first { new } else { before };
        assert_eq!(run(rules), *expected, "{rules:?}");
    }
}

#[test]
fn instructions_begin_with_their_fork() {
    let invalid = Outcome::Failed("invalid opcode".into());
    for (first, code, result) in [
        (Rules::Canyon, vec![PUSH0], 0),
        (Rules::Ecotone, vec![PUSH1, 1, TLOAD], 0),
        (Rules::Ecotone, vec![BLOBBASEFEE], 1),
        (Rules::Karst, vec![PUSH1, 1, CLZ], 255),
    ] {
        let world = World::new().code(FIRST, returning(&code));
        begins_with(first, &Outcome::Returned(word(result)), &invalid, |rules| {
            world.run(job(rules, call(FIRST)))
        });
    }
}

#[test]
fn hashes_and_signatures_work_in_every_fork() {
    let hash = hex!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let hash = Bytes::copy_from_slice(&hash);
    let sha256 = Address::with_last_byte(2);
    for rules in ALL {
        let expected = Outcome::Returned(hash.clone());
        assert_eq!(run(rules, call(sha256)), expected);
        let identity = with_input(Address::with_last_byte(4), vec![1, 2, 3]);
        assert_eq!(run(rules, identity), Outcome::Returned(Bytes::from_static(&[1, 2, 3])));
        // A wrong signature recovers nothing.
        assert_eq!(run(rules, with_input(Address::with_last_byte(1), vec![1; 128])), empty());
    }
}

#[test]
fn precompiles_begin_with_their_fork() {
    let signed = hex!(
        "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
        "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
        "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
        "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
        "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
    );
    let p256 = |rules| run(rules, with_input(P256, signed.to_vec()));
    begins_with(Rules::Fjord, &Outcome::Returned(word(1)), &empty(), p256);
    // The sum of two points at infinity.
    let sum = Outcome::Returned(vec![0; 128].into());
    let add = |rules| run(rules, with_input(BLS_ADD, vec![0; 256]));
    begins_with(Rules::Isthmus, &sum, &empty(), add);
    // A wrong proof of a blob.
    for rules in ALL {
        let outcome = run(rules, with_input(KZG, vec![1; 192]));
        let is_refused = matches!(outcome, Outcome::Failed(_));
        assert_eq!(is_refused, rules >= Rules::Ecotone, "{rules:?}");
    }
}

#[test]
fn a_true_proof_of_a_blob_is_accepted() {
    let input = hex!(
        "01e798154708fe7789429634053cbf9f99b619f9f084048927333fce637f549b"
        "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000"
        "1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9"
        "8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca2"
        "5f26936857bc3a7c2539ea8ec3a952b7a62ad71d14c5719385c0686f18714304"
        "75bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c"
    );
    let sizes = concat_words(&[4096, 0]);
    let modulus = hex!("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");
    let expected = [&sizes[..32], &modulus].concat();
    let outcome = run(Rules::Ecotone, with_input(KZG, input.to_vec()));
    assert_eq!(outcome, Outcome::Returned(expected.into()));
}

fn concat_words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| U256::from(*word).to_be_bytes::<32>()).collect()
}

#[test]
fn the_pairing_has_the_limits_of_the_forks() {
    let pairs = |rules, pairs: usize| run(rules, with_input(PAIRING, vec![0; pairs * 192]));
    let one = Outcome::Returned(word(1));
    for (rules, most) in [(Rules::Granite, 586), (Rules::Jovian, 427), (Rules::Karst, 300)] {
        assert_eq!(pairs(rules, most), one, "{rules:?}");
        assert!(matches!(pairs(rules, most + 1), Outcome::Failed(_)), "{rules:?}");
    }
    assert_eq!(pairs(Rules::Fjord, 600), one);
}

#[test]
fn karst_raises_the_price_of_secp256r1() {
    let gas = |rules| {
        let job = job(rules, call(P256));
        match World::new().run(Job { purpose: Purpose::AccessList, ..job }) {
            Outcome::AccessList { gas_used, .. } => gas_used,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gas(Rules::Ecotone), 21_000);
    assert_eq!(gas(Rules::Fjord) + 3450, gas(Rules::Karst));
}

#[test]
fn random_code_ends_without_a_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..400 {
        let code: Vec<u8> = (0..12).flat_map(|_| next().to_be_bytes()).collect();
        let input: Vec<u8> = (0..8).flat_map(|_| next().to_be_bytes()).collect();
        let world = World::new().code(FIRST, code).slot(FIRST, 1, 2);
        let call = Call { gas: Some(200_000), ..with_input(FIRST, input) };
        for purpose in [Purpose::Call, Purpose::Estimate, Purpose::AccessList] {
            let mut job = Job { purpose, ..job(ALL[round % ALL.len()], call.clone()) };
            job.state.accounts = vec![world.facts(ALICE, &[]), world.facts(FIRST, &[])];
            let code = world.0[&FIRST].code.clone();
            job.state.codes = vec![(alloy_primitives::keccak256(&code), code)];
            let _ = execute(&job);
        }
    }
}
