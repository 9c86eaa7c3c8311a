//! Measures the latency of a block and the cost of a node. All measurements use the release build;
//! only `denim` can fail.

use crate::shell::Shell;

/// From publication to acceptance: over one hop, over a mesh, during a sync, behind a large block.
pub(crate) fn path(shell: &Shell) -> Result<String, String> {
    bench(shell, "path")
}

/// Processor time and memory: of an idle node, of its peers, of a block, of 500 browsers.
pub(crate) fn cost(shell: &Shell) -> Result<String, String> {
    bench(shell, "cost")
}

/// Ten nodes at five blocks a second for ten minutes. Fails if a node lacks a block.
pub(crate) fn denim(shell: &Shell) -> Result<String, String> {
    bench(shell, "denim")
}

fn bench(shell: &Shell, part: &str) -> Result<String, String> {
    let program = ["--package", "opp2p-tests", "--bench", "measure"];
    shell.cargo(&[&["bench", "--locked"], &program[..], &["--", part]].concat())
}
