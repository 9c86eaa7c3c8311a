//! Properties that hold for any sequence of events.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happening {
    Grow(u64),
    Quietly(u64),
    Reorganise(usize, u64),
    /// Our chain moves to a lower head, and grows from there.
    Rewind(usize, u64, u64),
    /// The sequencer signs a block that the engine refuses, and more blocks on top of it.
    Invalid(u64, u64),
    Down,
    /// One kind of call fails.
    Broken(Call, EngineFailure),
    Up,
    FallBack(u64),
    Lazy(bool),
    Busy(bool),
    NeverUnwinds(bool),
    NamesValid(bool),
    RefusesLabels(bool),
    Label(u64),
    /// The engine refuses some methods as belonging to another fork.
    OtherFork(Vec<&'static str>),
    Wait(u64),
}

fn any_failure() -> impl Strategy<Value = EngineFailure> {
    prop_oneof![
        Just(EngineFailure::Unreachable("it did not answer within 20 s".into())),
        Just(EngineFailure::Forkchoice("Invalid forkchoice state".into())),
        Just(EngineFailure::OtherFork("Unsupported fork".into())),
        Just(EngineFailure::NoMethod("engine_newPayloadV4".into())),
        Just(EngineFailure::Other("Internal error".into())),
    ]
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let any_call = prop_oneof![Just(Call::State), Just(Call::Offer), Just(Call::Choose)];
    let methods = ["engine_newPayloadV4", "engine_forkchoiceUpdatedV3"];
    let chain = prop_oneof![
        4 => (1..6_u64).prop_map(Happening::Grow),
        2 => (1..40_u64).prop_map(Happening::Quietly),
        2 => (1..8_usize, 1..100_u64).prop_map(|(depth, salt)| Happening::Reorganise(depth, salt)),
        2 => (1..40_usize, 1..100_u64, 0..10_u64)
            .prop_map(|(depth, salt, more)| Happening::Rewind(depth, salt, more)),
        2 => (1..100_u64, 0..4_u64).prop_map(|(salt, more)| Happening::Invalid(salt, more)),
        1 => (0..60_u64).prop_map(Happening::Label),
    ];
    let engine = prop_oneof![
        1 => Just(Happening::Down),
        1 => (any_call, any_failure()).prop_map(|(call, failure)| Happening::Broken(call, failure)),
        3 => Just(Happening::Up),
        1 => (0..60_u64).prop_map(Happening::FallBack),
        1 => any::<bool>().prop_map(Happening::Lazy),
        1 => any::<bool>().prop_map(Happening::Busy),
        1 => any::<bool>().prop_map(Happening::NeverUnwinds),
        1 => any::<bool>().prop_map(Happening::NamesValid),
        1 => any::<bool>().prop_map(Happening::RefusesLabels),
        1 => prop::sample::subsequence(methods.to_vec(), 0..=2).prop_map(Happening::OtherFork),
    ];
    prop_oneof![3 => chain, 3 => engine, 1 => (0..20_000_u64).prop_map(Happening::Wait)]
}

fn happens(world: &mut World, happening: Happening) {
    let client = &mut world.client;
    match happening {
        Happening::Grow(count) => world.grow(count),
        Happening::Quietly(count) => (0..count).for_each(|_| world.extend(0)),
        Happening::Reorganise(depth, salt) => world.reorganise(depth, salt),
        Happening::Rewind(depth, salt, more) => {
            world.rewind(depth, salt);
            world.grow(more);
        }
        Happening::Invalid(salt, more) => {
            world.extend(salt);
            let bad = world.head();
            // The engine does not refuse a block that it has executed.
            if !world.client.has_block(bad) {
                world.client.invalid.push(bad.hash);
            }
            world.report_head();
            world.settle();
            world.grow(more);
        }
        Happening::Down => client.down = Some(EngineFailure::Unreachable("gone".into())),
        Happening::Broken(call, failure) => client.broken = Some((call, failure)),
        Happening::Up => {
            (client.down, client.broken) = (None, None);
            client.other_fork.clear();
        }
        Happening::FallBack(to) => {
            let to = to.min(client.head.number);
            let chain = world.chain.clone();
            // The engine falls back to a block on a chain that it had.
            if to == 0
                || chain
                    .get(to as usize - 1)
                    .is_some_and(|block| world.client.has_block(BlockId::of(block)))
            {
                world.client.falls_back(to, &chain);
            }
        }
        Happening::Lazy(is_lazy) => client.is_lazy = is_lazy,
        Happening::Busy(is_busy) => client.is_busy = is_busy,
        Happening::NeverUnwinds(never) => client.never_unwinds = never,
        Happening::NamesValid(names) => client.names_valid = names,
        Happening::RefusesLabels(refuses) => client.refuses_labels = refuses,
        Happening::Label(number) => {
            let safe = world.chain.get(number as usize).map(BlockId::of);
            let labels = Labels { safe, finalized: None };
            world.engine.handle(world.now(), EngineInput::Labels(labels));
        }
        Happening::OtherFork(methods) => client.other_fork = methods,
        Happening::Wait(millis) => world.wait(Duration::from_millis(millis)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// For any failures: once the engine answers, and the sequencer has signed a sibling of each
    /// block that the engine calls invalid, the engine is at our head.
    #[test]
    fn the_engine_ends_at_our_head(
        happenings in prop::collection::vec(any_happening(), 0..40),
    ) {
        let mut world = World::new();
        for happening in happenings {
            happens(&mut world, happening);
        }
        let client = &mut world.client;
        (client.down, client.broken) = (None, None);
        (client.is_lazy, client.is_busy) = (false, false);
        client.other_fork.clear();
        let bad = world.chain.iter().position(|block| world.client.invalid.contains(&block.hash()));
        if let Some(index) = bad {
            world.report_head();
            world.wait(MISMATCH_PAUSE + REFRESH * 2);
            // The block that holds the engine back is reported, and no block above it.
            let expected = Activity::Stuck(BlockId::of(&world.chain[index]));
            prop_assert_eq!(world.engine.status().activity, expected);
            world.chain.truncate(index);
            world.extend(1000);
        }
        // On a separate branch: an engine ahead of us on our own branch would stay there.
        world.extend(2000);
        world.report_head();
        world.wait(MISMATCH_PAUSE + REFRESH * 2 + SYNC_PAUSE * OFFER_EVERY);
        world.assert_followed();
    }

    /// Whatever the engine answers, it is never called repeatedly without a pause.
    #[test]
    fn no_failure_causes_endless_calls(
        happenings in prop::collection::vec(any_happening(), 0..25),
    ) {
        let mut world = World::new();
        for happening in happenings {
            happens(&mut world, happening);
        }
        // Our chain does not change: all calls from here on are checks and retries.
        world.wait(LONGEST_PAUSE * 4);
        world.take_calls();
        world.wait(Duration::from_secs(120));
        let calls = world.take_calls();
        // An engine that drops what it was given is given our chain again, every few seconds: two
        // calls for each block, and some to find out where to begin.
        let most = 24 * (2 * world.chain.len() + 12);
        prop_assert!(calls.len() <= most.max(600), "{}: {:?}", calls.len(), &calls[..40]);
    }
}
