//! The block store from outside: what it keeps, what it refuses, and what it survives.
//!
//! One program for all of it, because several tests start this very program again as a child, to be killed,
//! to be given a full disk, or to have no privileges.

mod blocks;
mod crash;
mod damage;
#[cfg(unix)]
mod full_disk;
mod memory;
mod pending;
#[cfg(unix)]
mod permissions;
mod refusals;
mod support;
mod writer;
