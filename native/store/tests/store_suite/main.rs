//! The block store from outside: retention, refusals, and recovery.
//!
//! All tests are in one program, because several of them start this program again as a child, to be
//! killed, to be given a full disk, or to have no privileges.

mod blocks;
mod crash;
mod damage;
mod formats;
#[cfg(unix)]
mod full_disk;
#[cfg(unix)]
mod gone;
mod memory;
mod pending;
#[cfg(unix)]
mod permissions;
mod prepend;
mod ranges;
mod refusals;
mod rewinds;
mod salvage;
mod support;
mod transfer;
mod writer;
