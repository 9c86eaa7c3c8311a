//! Latency of blocks, and cost of a node: `cargo all-tests -- path`, `cargo all-tests -- cost`.
//!
//! `path` measures nodes in this process, `cost` one in a process of its own, which is a second
//! instance of this program. The results are sections of the report.
#![allow(clippy::unwrap_used, reason = "a measurement may fail like a test")]

mod cost;
mod denim;
#[path = "../kit/gossiper.rs"]
mod gossiper;
#[path = "../kit/mod.rs"]
mod kit;
mod path;
mod peer;
mod publish;
mod world;

use std::process::ExitCode;

const USAGE: &str = "cargo bench --package opp2p-tests --bench measure -- PART...

PART is one of
  path           everything that follows up to publish
  hop            over one hop
  mesh           over a mesh of 20
  syncing        while a sync runs through the relaying node
  head-of-line   small blocks behind a large one
  publish        1 MB by opp2p_publishPayload, and by --publish.stdin
  cost           everything that follows
  idle           an idle node, alone and with peers
  blocks         a block, by its size
  browsers       500 browsers on one gateway
  denim [MIN]    ten nodes at five blocks a second for 10 minutes, or MIN; fails if blocks lack";

fn main() -> ExitCode {
    // Cargo passes `--bench` to benchmarks.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let known = path::PARTS.iter().chain(cost::PARTS).chain(&["path", "cost"]);
    match words.first().map(String::as_str) {
        Some(world::NODE) => runtime.block_on(world::run_node()),
        Some(denim::PART) if words.len() <= 2 => match words.get(1).map(|word| word.parse()) {
            None => runtime.block_on(denim::measure(None)),
            Some(Ok(minutes)) if (0.5..=13.0).contains(&minutes) => {
                runtime.block_on(denim::measure(Some(minutes)));
            }
            Some(_) => {
                println!("denim runs for 0.5 to 13 minutes");
                return ExitCode::from(2);
            }
        },
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
