//! Properties that hold for any sequence of events.

use super::*;
use proptest::prelude::*;
use world::{World, any_happenings};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_and_publications_end_exactly_once_within_all_bounds(
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
    fn extra_wakeups_change_nothing(
        happenings in any_happenings(), every in 200_u64..3000,
    ) {
        let mut worlds = [World::new(None), World::new(Some(Duration::from_millis(every)))];
        for world in &mut worlds {
            happenings.iter().for_each(|happening| world.happen(happening));
            world.run_out();
        }
        // The outputs of one moment may be in any order.
        worlds.iter_mut().for_each(|world| world.log.sort());
        let [asked, eager] = worlds;
        let differs = asked.log.iter().zip(&eager.log).find(|(asked, eager)| asked != eager);
        prop_assert_eq!(differs, None, "all that is due happens when the node asked for it");
        prop_assert_eq!(asked.log.len(), eager.log.len());
    }
}
