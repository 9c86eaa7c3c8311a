//! Blocks of a development chain come out of the engine.

use super::*;
use crate::engine::attributes::{DEPOSIT_TYPE, DEPOSITOR, L1_BLOCK};
use alloy_primitives::{address, hex};

fn l1() -> DevelopmentL1 {
    let origin = BlockId::new(7, B256::repeat_byte(0x71));
    let batcher = address!("00000000000000000000000000000000000000b1");
    DevelopmentL1 { origin, timestamp: 1_699_999_000, batcher }
}

#[test]
fn a_chain_that_stood_still_catches_up_and_then_has_a_block_each_block_time() {
    let mut world = World::with(Some(l1()));
    // The genesis is 1000 s old: 500 blocks are due.
    world.wait(Duration::from_secs(120));
    assert!(world.published.len() >= 500, "{}", world.published.len());
    world.published.clear();
    world.wait(Duration::from_secs(60));
    assert_eq!(world.published.len(), 30);
    let timestamps: Vec<_> = world.published.iter().map(|block| block.payload.timestamp).collect();
    assert!(timestamps.is_sorted_by(|one, next| one + 2 == *next), "{timestamps:?}");
    let now = world.now().unix_seconds();
    assert!(timestamps.last().is_some_and(|last| now.abs_diff(*last) <= 2));
    world.assert_followed();
}

#[test]
fn an_outage_while_it_builds_costs_no_more_than_its_time() {
    let mut world = World::with(Some(l1()));
    world.wait(Duration::from_secs(200));
    let down = EngineFailure::Unreachable("connection refused".into());
    for _ in 0..20 {
        world.client.down = Some(down.clone());
        world.wait(Duration::from_millis(3700));
        world.client.down = None;
        world.wait(Duration::from_millis(2300));
    }
    world.wait(Duration::from_secs(60));
    let last = world.published.last().expect("blocks").payload.timestamp;
    assert!(world.now().unix_seconds().abs_diff(last) <= 2);
    world.assert_followed();
}

#[test]
fn nothing_is_built_on_an_engine_that_has_not_our_head() {
    let mut world = World::with(Some(l1()));
    world.client.head = world::genesis();
    (0..600).for_each(|_| world.extend(0));
    world.lowest = 590;
    world.tell_head();
    world.wait(Duration::from_secs(60));
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    assert!(world.published.is_empty());
}

#[test]
fn a_block_opens_with_the_deposit_of_its_sequence_number() {
    let chain = world::chain();
    let attributes = l1().attributes(&chain, 41, NOW, 30_000_000);
    assert_eq!(attributes.timestamp, NOW);
    assert!(attributes.has_withdrawals && attributes.parent_beacon_block_root.is_some());
    assert_eq!(attributes.eip_1559_params.map(|params| params.0), Some([0; 8]));
    assert_eq!(attributes.min_base_fee, None);
    let [deposit] = &attributes.transactions[..] else { panic!("one") };
    assert_eq!(deposit[0], DEPOSIT_TYPE);
    let text = hex::encode(deposit);
    assert!(text.contains(&hex::encode(DEPOSITOR)) && text.contains(&hex::encode(L1_BLOCK)));
    // Selector, scalars, then the sequence number.
    assert!(text.contains("098999be0000000000000000000000000000002a"));
}

/// The first transaction of a real block, with what it says, gives the same bytes but for the scalars.
#[test]
fn the_deposit_is_encoded_as_on_chains_that_run() {
    let forks = |fork| ChainConfig { forks: ForkSchedule::up_to(fork), ..world::chain() };
    let lengths =
        [(Fork::Canyon, 4 + 8 * 32), (Fork::Ecotone, 164), (Fork::Isthmus, 176), (Fork::Jovian, 178)];
    for (fork, length) in lengths {
        let deposit = l1().deposit(&forks(fork), 1, NOW);
        let mut rest = &deposit[1..];
        let list = alloy_rlp::Header::decode_bytes(&mut rest, true).expect("a list");
        assert!(rest.is_empty());
        let mut fields = list;
        let items: Vec<&[u8]> = std::iter::from_fn(|| {
            (!fields.is_empty())
                .then(|| alloy_rlp::Header::decode_bytes(&mut fields, false).expect("a field"))
        })
        .collect();
        let [source, from, to, mint, value, gas, system, data] = items[..] else { panic!("{}", items.len()) };
        assert_eq!((source.len(), from, to), (32, DEPOSITOR.as_slice(), L1_BLOCK.as_slice()));
        assert_eq!((mint, value, system), (&[][..], &[][..], &[][..]));
        assert_eq!(gas, 1_000_000_u64.to_be_bytes()[5..].to_vec());
        assert_eq!(data.len(), length, "{fork:?}");
    }
}
