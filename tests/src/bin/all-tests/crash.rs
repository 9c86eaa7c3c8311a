//! Accidents rather than attacks: kills, full disks, clocks that jump, and long runs.

use crate::shell::Shell;

const TESTS: [&str; 5] = ["test", "--locked", "--workspace", "--test", "crash"];

/// Runs all tests, with as many rounds of `kill -9` as fit into about a minute.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    shell.cargo(&TESTS)
}

/// Runs two hundred rounds of `kill -9`.
pub(crate) fn rounds(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--rounds", "200"]].concat())
}

/// Runs a soak test of half an hour, in which nodes come and go.
pub(crate) fn soak(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--soak", "30"]].concat())
}

/// Measures the bytes written per byte of blocks.
pub(crate) fn writes(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--amplification"]].concat())
}
