//! What a block's way costs in time, and what a node costs: `cargo all-tests -- path`, `cargo all-tests -- cost`.
//!
//! `path` measures nodes in this process, `cost` one in a process of its own, which is this program once more. What is
//! found is told as sections of the report.
#![allow(clippy::unwrap_used, reason = "a measurement may fail like a test")]

mod cost;
mod path;
mod peer;
mod world;

use std::process::ExitCode;

const USAGE: &str = "cargo bench --package opp2p-tests --bench measure -- PART...

PART is one of
  path           everything that follows up to head-of-line
  hop            over one hop
  mesh           over a mesh of 20
  syncing        while a sync runs through the relaying node
  head-of-line   small blocks behind a large one
  cost           everything that follows
  idle           an idle node, alone and with peers
  blocks         a block, by its size
  browsers       500 browsers on one gateway";

fn main() -> ExitCode {
    // Cargo says that this is a benchmark.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let known = path::PARTS.iter().chain(cost::PARTS).chain(&["path", "cost"]);
    match words.first().map(String::as_str) {
        Some(world::NODE) => runtime.block_on(world::be_a_node()),
        Some(_) if words.iter().all(|word| known.clone().any(|known| known == word)) => {
            runtime.block_on(async {
                path::measure(&words).await;
                cost::measure(&words).await;
            });
        }
        _ => {
            println!("{USAGE}");
            return if words.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    }
    ExitCode::SUCCESS
}
