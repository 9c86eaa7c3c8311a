//! What a block's way takes and what a node costs. Both are measured with the release build, and neither passes or fails.

use crate::shell::Shell;

/// From publication to acceptance: over one hop, over a mesh, while a sync runs, behind a large block.
pub(crate) fn path(shell: &Shell) -> Result<String, String> {
    bench(shell, "path")
}

/// Processor time and memory: of an idle node, of its peers, of a block, of 500 browsers.
pub(crate) fn cost(shell: &Shell) -> Result<String, String> {
    bench(shell, "cost")
}

fn bench(shell: &Shell, part: &str) -> Result<String, String> {
    let program = ["--package", "opp2p-tests", "--bench", "measure"];
    shell.cargo(&[&["bench", "--locked"], &program[..], &["--", part]].concat())
}
