//! Nodes of ours and of op-node in an emulated wide-area network: `cargo all-tests -- wan`.
//!
//! Each node is a process in a network namespace of its own. A router in user space joins the
//! namespaces. Both are further instances of this program. See `README.md`.
#![allow(clippy::unwrap_used, reason = "a measurement may fail like a test")]

#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the interoperability tests use all of it")]
#[path = "../interop/foreign.rs"]
mod foreign;
#[cfg(target_os = "linux")]
mod gossip;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
#[path = "../kit/mod.rs"]
mod kit;
#[cfg(target_os = "linux")]
mod nodes;
#[cfg(target_os = "linux")]
mod range;
#[cfg(target_os = "linux")]
mod router;
#[cfg(target_os = "linux")]
mod tun;
#[cfg(target_os = "linux")]
mod work;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    // Cargo passes `--bench` to benchmarks.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    work::run(&words)
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("The wide-area testbed can't run here: it needs Linux.");
    ExitCode::SUCCESS
}
