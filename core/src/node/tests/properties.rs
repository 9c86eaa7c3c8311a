//! What holds for any course of events.

use super::*;
use proptest::prelude::*;
use world::{World, any_happenings};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_message_is_judged_once_every_publication_ends_once_and_all_bounds_hold(
        happenings in any_happenings(),
    ) {
        let mut world = World::new(None);
        happenings.iter().for_each(|happening| world.happen(happening));
        world.run_out();
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(happenings in any_happenings()) {
        let mut worlds = [World::new(None), World::new(None)];
        for world in &mut worlds {
            happenings.iter().for_each(|happening| world.happen(happening));
            world.run_out();
        }
        let [one, other] = worlds;
        prop_assert_eq!(one.log, other.log);
    }

    #[test]
    fn waking_more_often_than_asked_changes_nothing(happenings in any_happenings(), every in 200_u64..3000) {
        let mut worlds = [World::new(None), World::new(Some(Duration::from_millis(every)))];
        for world in &mut worlds {
            happenings.iter().for_each(|happening| world.happen(happening));
            world.run_out();
        }
        let [asked, eager] = worlds;
        prop_assert_eq!(asked.log, eager.log, "what is due is due at the moment that the node asks for");
    }
}
