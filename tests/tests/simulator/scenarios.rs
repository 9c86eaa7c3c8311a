//! Runs that show one thing each.

use super::liar::{LIARS, Liar};
use super::plan::{Fault, Plan};
use super::world::World;

/// Name and run of each.
pub(crate) const ALL: &[(&str, fn())] = &[("nothing_goes_wrong", nothing_goes_wrong)];

fn nothing_goes_wrong() {
    let mut world = World::new(Plan::calm(1, 5));
    world.run();
}
