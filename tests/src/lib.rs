//! Whole-system tests of opp2p. They live in `tests/`. The binary `all-tests` sets up a machine and
//! runs them with every other test of the workspace.

pub mod net;
pub mod report;
