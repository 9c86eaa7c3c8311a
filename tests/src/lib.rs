//! Whole-system tests of opp2p. They live in `tests/`; the binary `all-tests` sets a machine up and runs them with
//! every other test of the workspace.

pub mod report;
