//! What holds for any course of events.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happening {
    Grow(u64),
    Quietly(u64),
    Reorganise(usize, u64),
    Down,
    Up,
    FallBack(u64),
    Lazy(bool),
    Wait(u64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..6_u64).prop_map(Happening::Grow),
        2 => (1..40_u64).prop_map(Happening::Quietly),
        2 => (1..8_usize, 1..100_u64).prop_map(|(depth, salt)| Happening::Reorganise(depth, salt)),
        1 => Just(Happening::Down),
        2 => Just(Happening::Up),
        1 => (0..60_u64).prop_map(Happening::FallBack),
        1 => any::<bool>().prop_map(Happening::Lazy),
        3 => (0..20_000_u64).prop_map(Happening::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_engine_ends_where_our_chain_does(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let mut world = World::new();
        for happening in happenings {
            match happening {
                Happening::Grow(count) => world.grow(count),
                Happening::Quietly(count) => (0..count).for_each(|_| world.extend(0)),
                Happening::Reorganise(depth, salt) => world.reorganise(depth, salt),
                Happening::Down => world.client.down = Some(EngineFailure::Unreachable("gone".into())),
                Happening::Up => world.client.down = None,
                Happening::FallBack(to) => {
                    let to = to.min(world.client.head.number);
                    let chain = world.chain.clone();
                    // What it falls back to is on a chain that it had.
                    if to == 0 || chain.get(to as usize - 1).is_some_and(|block| {
                        world.client.has_block(BlockId::of(block))
                    }) {
                        world.client.falls_back(to, &chain);
                    }
                }
                Happening::Lazy(is_lazy) => world.client.is_lazy = is_lazy,
                Happening::Wait(millis) => world.wait(Duration::from_millis(millis)),
            }
        }
        world.client.down = None;
        world.client.is_lazy = false;
        world.extend(0);
        world.tell_head();
        world.wait(LONGEST_PAUSE + REFRESH * 2);
        world.assert_followed();
    }
}
