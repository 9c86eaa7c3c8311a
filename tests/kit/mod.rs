//! Parts that several test programs of this package share: our nodes, their blocks, and the frame
//! around the tests.
//!
//! Each program has this file as its module `kit`.
#![allow(dead_code, unused_macros, unused_imports, reason = "each program uses some of it")]

mod frame;
mod node;

pub(crate) use frame::{Run, named, runtime, trial, trials};
pub(crate) use node::{PATIENCE, SIGNER, config, fill, signed, signer, sized, until, until_true};
