//! Cost of a native validation with the libraries that the browser uses, measured by the same code
//! as in the browser; `cargo web-bench` prints both side by side. Prints one JSON object: for each
//! size, the time of the fastest of twenty batches in µs.
#![allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "it measures and prints")]

// Included by path, because a dependency on its package would also build libp2p.
#[allow(unreachable_pub, dead_code, reason = "it is a module of a library there")]
#[path = "../../web/src/bench.rs"]
mod bench;

use bench::{SIZES, message, validate_often};
use std::time::Instant;

/// Number of batches per size, and the target time of a batch in seconds.
const BATCHES: usize = 20;
const BATCH_SECONDS: f64 = 0.05;

fn main() {
    let sizes: Vec<f64> = (0..SIZES.len()).map(measure).collect();
    println!("{}", serde_json::json!({ "native": sizes }));
}

fn measure(size: usize) -> f64 {
    let message = message(size);
    let batch = |times: u32| {
        let started = Instant::now();
        assert!(validate_often(&message, times).is_ok(), "the message is good");
        started.elapsed().as_secs_f64() / f64::from(times)
    };
    let once = batch(3);
    let times = (BATCH_SECONDS / once).ceil() as u32;
    (0..BATCHES).map(|_| batch(times)).fold(f64::INFINITY, f64::min) * 1e6
}
