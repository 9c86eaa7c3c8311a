//! Measures the latency of a block and the cost of a node. All measurements use the release build;
//! only `denim` can fail.

use opp2p_tests::net::obstacle;

use crate::interop;
use crate::plan::left_out;
use crate::shell::{self, Shell};

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

/// Our nodes and op-node's in an emulated wide-area network, which needs root.
pub(crate) fn wan(shell: &Shell) -> Result<String, String> {
    if let Some(obstacle) = obstacle() {
        return Ok(left_out(obstacle));
    }
    let out = shell.target().join("wan");
    let mut command = shell.cargo_command();
    command.args(["bench", "--locked", "--package", "opp2p-tests", "--bench", "wan", "--", "all"]);
    command.arg("--out").arg(&out).env(interop::PROGRAMS, interop::programs(shell));
    shell::run(&mut command)?;
    Ok(format!("results and plots are in {}", out.display()))
}

fn bench(shell: &Shell, part: &str) -> Result<String, String> {
    let program = ["--package", "opp2p-tests", "--bench", "measure"];
    shell.cargo(&[&["bench", "--locked"], &program[..], &["--", part]].concat())
}
