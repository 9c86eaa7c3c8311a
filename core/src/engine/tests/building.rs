//! Building blocks of a development chain with the engine.

use super::*;
use crate::engine::attributes::{DEPOSIT_TYPE, DEPOSITOR, L1_BLOCK};
use crate::payload::BaseTime;
use alloy_primitives::{address, hex};

pub(super) fn l1() -> DevelopmentL1 {
    let origin = BlockId::new(7, B256::repeat_byte(0x71));
    let batcher = address!("00000000000000000000000000000000000000b1");
    DevelopmentL1 { origin, timestamp: 1_699_999_000, batcher }
}

#[test]
fn a_stalled_chain_catches_up_then_makes_one_block_per_block_time() {
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
fn an_outage_during_building_costs_only_its_own_duration() {
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
fn building_stops_and_starts_on_command() {
    let mut world = World::with(Some(l1()));
    assert_eq!(world.engine.sequencing(), Sequencing::Active);
    world.wait(Duration::from_secs(20));
    for second in 0..4 {
        // At various moments while a block is being built.
        world.wait(Duration::from_millis(700 * second));
        let now = world.now();
        world.engine.handle(now, EngineInput::Sequence(false));
        assert_ne!(world.engine.sequencing(), Sequencing::Active);
        world.wait(Duration::from_secs(1));
        assert_eq!(world.engine.sequencing(), Sequencing::Stopped);
        let (count, head) = (world.published.len(), world.head());
        world.wait(Duration::from_secs(10));
        assert_eq!((world.published.len(), world.head()), (count, head));
        let now = world.now();
        world.engine.handle(now, EngineInput::Sequence(true));
        world.wait(Duration::from_secs(10));
        assert!(world.published.len() > count + 3);
    }
    world.assert_followed();
    assert_eq!(World::new().engine.sequencing(), Sequencing::Disabled);
}

#[test]
fn nothing_is_built_on_an_engine_without_our_head() {
    let mut world = World::with(Some(l1()));
    world.client.head = world::genesis();
    (0..600).for_each(|_| world.extend(0));
    world.lowest = 590;
    world.report_head();
    world.wait(Duration::from_secs(60));
    assert_eq!(world.engine.status().activity, Activity::Syncing);
    assert!(world.published.is_empty());
}

#[test]
fn a_block_opens_with_the_deposit_of_its_sequence_number() {
    let chain = world::chain();
    let attributes = l1().attributes(&chain, 42, NOW, None, 30_000_000);
    assert_eq!(attributes.timestamp, NOW);
    assert!(attributes.has_withdrawals && attributes.parent_beacon_block_root.is_some());
    assert_eq!(attributes.eip_1559_params.map(|params| params.0), Some([0; 8]));
    assert_eq!(attributes.min_base_fee, None);
    assert_eq!(attributes.timestamp_millis_part, None);
    let [deposit] = &attributes.transactions[..] else { panic!("one") };
    assert_eq!(deposit[0], DEPOSIT_TYPE);
    let text = hex::encode(deposit);
    assert!(text.contains(&hex::encode(DEPOSITOR)) && text.contains(&hex::encode(L1_BLOCK)));
    // Selector, scalars, then the sequence number.
    assert!(text.contains("098999be0000000000000000000000000000002a"));
}

/// The first transaction of a real block, encoded again from its contents, yields the same bytes
/// except for the scalars.
#[test]
fn the_deposit_is_encoded_as_on_live_chains() {
    let forks = |fork| ChainConfig { forks: ForkSchedule::up_to(fork), ..world::chain() };
    let lengths = [
        (Fork::Canyon, 4 + 8 * 32),
        (Fork::Ecotone, 164),
        (Fork::Isthmus, 176),
        (Fork::Jovian, 178),
    ];
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
        let [source, from, to, mint, value, gas, system, data] = items[..] else {
            panic!("{}", items.len())
        };
        assert_eq!((source.len(), from, to), (32, DEPOSITOR.as_slice(), L1_BLOCK.as_slice()));
        assert_eq!((mint, value, system), (&[][..], &[][..], &[][..]));
        assert_eq!(gas, 1_000_000_u64.to_be_bytes()[5..].to_vec());
        assert_eq!(data.len(), length, "{fork:?}");
    }
}

/// Denim begins with block 10, and the chain is 1000 s old: nine blocks are 2 s apart, and the rest
/// 200 ms.
#[test]
fn blocks_with_millisecond_times_follow_the_schedule_and_carry_their_time() {
    let chain = world::chain();
    let start = chain.genesis.time;
    let forks = ForkSchedule::up_to(Fork::Jovian)
        .with(Fork::Azul, Some(0))
        .with(Fork::Denim, Some(start + 20));
    let chain = ChainConfig { forks, ..chain };
    let mut world = World::on(chain.clone(), Some(l1()));
    // Ten blocks are built in the time of five, so 4910 of them take half of their own time.
    world.wait(Duration::from_secs(1100));
    let schedule = chain.schedule();
    assert_eq!(schedule.first_with_base_time(), Some(10));
    let unix = world.now().unix;
    let due = schedule.highest_number_at(unix).expect("a number");
    let last = world.published.last().expect("blocks").payload.block_number;
    assert!(last.abs_diff(due) <= 2, "{last} of {due}");
    for envelope in &world.published {
        let payload = &envelope.payload;
        let number = payload.block_number;
        assert_eq!(schedule.timestamp_of(number), Some(payload.timestamp), "{number}");
        let times: Vec<_> =
            payload.transactions.iter().filter_map(|raw| BaseTime::read(raw)).collect();
        if number < 10 {
            assert_eq!((times.len(), payload.transactions.len()), (0, 1), "{number}");
        } else {
            let millis = schedule.millis_of(number).expect("milliseconds");
            assert_eq!(times, [BaseTime::of_block(number, millis)]);
            assert_eq!(payload.transactions.len(), 2);
        }
    }
    world.assert_followed();
}

#[test]
fn the_attributes_have_the_milliseconds_of_the_second_transaction() {
    let forks = ForkSchedule::up_to(Fork::Jovian).with(Fork::Denim, Some(0));
    let chain = ChainConfig { forks, ..world::chain() };
    let attributes = l1().attributes(&chain, 7, NOW, Some(400), 30_000_000);
    assert_eq!(attributes.timestamp_millis_part, Some(400));
    assert_eq!(attributes.transactions[1].as_ref(), BaseTime::of_block(7, 400).to_transaction());
}
