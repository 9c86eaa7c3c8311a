//! Tests of the state machine against a simulated execution client.

mod branches;
mod building;
mod following;
mod methods;
mod properties;
mod trouble;
mod world;

use super::*;
use crate::chain::{Fork, ForkSchedule, Labels};
use crate::gossip::tests::support::{CHAIN_ID, NOW, sequencer};
use world::{Call, World};
