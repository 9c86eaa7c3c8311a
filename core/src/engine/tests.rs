//! Tests of the machine against a made-up execution client.

mod building;
mod following;
mod properties;
mod trouble;
mod world;

use super::*;
use crate::chain::{Fork, ForkSchedule, Labels};
use crate::gossip::tests::support::{CHAIN_ID, NOW, sequencer};
use world::World;
