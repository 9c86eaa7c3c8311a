//! What befalls nodes and is nobody's attack: kills, full disks, clocks that jump, and time.

use crate::shell::Shell;

const TESTS: [&str; 6] = ["test", "--locked", "--package", "opp2p-tests", "--test", "crash"];

/// All of it, with as many rounds of `kill -9` as fit into a minute or so.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    shell.cargo(&TESTS)
}

/// Two hundred rounds of `kill -9`.
pub(crate) fn rounds(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--rounds", "200"]].concat())
}

/// Half an hour of coming and going.
pub(crate) fn soak(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--soak", "30"]].concat())
}

/// Bytes written for a byte of blocks.
pub(crate) fn writes(shell: &Shell) -> Result<String, String> {
    shell.cargo(&[&TESTS[..], &["--", "--amplification"]].concat())
}
