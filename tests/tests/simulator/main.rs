//! The simulator: many whole cores in virtual time, on a seeded network that delays, loses, doubles, partitions,
//! crashes and lies.
//!
//! `cargo simulate` runs the scenarios and some thousands of seeds; `cargo simulate --seed 17` runs one seed again,
//! bit for bit; `cargo simulate --seeds 100000 --from 5000` runs any number; words run the scenarios whose names
//! contain one of them. `cargo simulate --crowds 1000` runs so many networks of a hundred nodes, see `crowd`. In every run, of every node: no block is handed on that the sequencer did not sign or build
//! on, none twice, none out of order; no honest peer is blamed for what it did not do; bounds hold; and in the end
//! all agree with the sequencer.

mod chain;
mod crowd;
mod liar;
mod memory;
mod plan;
mod rng;
mod scenarios;
mod store;
mod world;

use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::World;

/// Seeds of a run without arguments.
const SEEDS: u64 = 2_500;
/// Crowds of a run without arguments.
const CROWDS: u64 = 40;

#[derive(Debug, Default)]
struct Args {
    seed: Option<u64>,
    seeds: Option<u64>,
    crowds: Option<u64>,
    from: u64,
    words: Vec<String>,
    list: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args::default();
    let mut rest = std::env::args().skip(1);
    while let Some(arg) = rest.next() {
        let mut number = || {
            let value = rest.next().ok_or(format!("{arg} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {value:?}"))
        };
        match arg.as_str() {
            "--seed" => args.seed = Some(number()?),
            "--seeds" => args.seeds = Some(number()?),
            "--crowds" => args.crowds = Some(number()?),
            "--from" => args.from = number()?,
            "--list" => args.list = true,
            // What `cargo test` gives to every test program.
            "--nocapture" | "--quiet" | "--test-threads=1" | "--include-ignored" => {}
            word if word.starts_with('-') => return Err(format!("{word} is no option of the simulator")),
            word => args.words.push(word.to_owned()),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!(
                "{error}; use --seed N, --seeds N, --crowds N, --from N, --list, or words of scenarios"
            );
            return ExitCode::FAILURE;
        }
    };
    if args.list {
        for (name, _) in scenarios::ALL {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(seed) = args.seed {
        println!("{:#?}", Plan::random(seed));
        let digest = run(seed);
        println!("seed {seed} holds, digest {digest:016x}");
        return ExitCode::SUCCESS;
    }
    let is_all = args.seeds.is_none() && args.crowds.is_none();
    let scenarios_pass = !is_all || run_scenarios(&args.words);
    let (seeds, crowds) = match is_all && args.words.is_empty() {
        true => (SEEDS, CROWDS),
        false => (args.seeds.unwrap_or(0), args.crowds.unwrap_or(0)),
    };
    let seeds_pass = seeds == 0 || run_seeds("seed", args.from, seeds, run);
    let crowds_pass = crowds == 0 || run_seeds("crowd", args.from, crowds, run_crowd);
    if crowds > 0 {
        println!(
            "the slowest ban came {} ms after a villain's beginning",
            SLOWEST.load(Ordering::Relaxed) / 1_000_000
        );
    }
    if scenarios_pass && seeds_pass && crowds_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_scenarios(words: &[String]) -> bool {
    let mut pass = true;
    for (name, scenario) in scenarios::ALL {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let start = Instant::now();
        let result = catch_unwind(scenario);
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("scenario {name} ... {verdict} ({} ms)", start.elapsed().as_millis());
        pass &= result.is_ok();
    }
    pass
}

/// One seed, to its digest.
fn run(seed: u64) -> u64 {
    let mut world = World::new(Plan::random(seed));
    world.run();
    world.digest
}

/// The longest that any honest node put up with a villain in any crowd, nanoseconds.
static SLOWEST: AtomicU64 = AtomicU64::new(0);

/// One crowd, to its digest.
fn run_crowd(seed: u64) -> u64 {
    let mut crowd = crowd::Crowd::new(seed);
    crowd.run();
    SLOWEST.fetch_max(crowd.slowest, Ordering::Relaxed);
    crowd.digest
}

fn run_seeds(what: &str, from: u64, count: u64, run: fn(u64) -> u64) -> bool {
    let start = Instant::now();
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    // Now and then twice: the same seed is the same run.
                    let runs = if seed % 50 == 0 { 2 } else { 1 };
                    let digests: Vec<_> =
                        (0..runs).map(|_| catch_unwind(AssertUnwindSafe(|| run(seed))).ok()).collect();
                    if digests.iter().any(|digest| digest.is_none() || *digest != digests[0]) {
                        let again = if what == "crowd" {
                            format!("--crowds 1 --from {seed}")
                        } else {
                            format!("--seed {seed}")
                        };
                        eprintln!("{what} {seed} fails; run it again by: cargo simulate {again}");
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    println!(
        "{count} {what}s from {from} in {:.1} s, {} failed",
        start.elapsed().as_secs_f64(),
        failed.len()
    );
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    failed.is_empty()
}
