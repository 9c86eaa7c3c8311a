//! The simulator: many whole cores in virtual time, on a seeded network that delays, loses,
//! duplicates, partitions, crashes and lies.
//!
//! `cargo simulate` runs the scenarios and some thousands of seeds. `cargo simulate --seed 17`
//! repeats one seed, bit for bit. `cargo simulate --seeds 100000 --from 5000` runs any number of
//! seeds. Words select the scenarios whose names contain one of them; `seeds`, `crowds` and
//! `meshes` are such names too. Every other seed is a chain that makes a block every 200 ms, so
//! five blocks share a timestamp; with `--denim` all are. `cargo simulate --crowds 1000` runs this
//! many networks of a hundred nodes, see `crowd`; `cargo simulate --meshes 100` runs networks of
//! fifty that exchange the gossip router's frames, see `frames`. `cargo simulate --gossip 1` runs
//! gossip routers alone, with `--nodes N`, `--blocks N`, `--sybils N` for each node, `--plot FILE`
//! for a picture of the distributions, and `--trace FILE` for a page that plays the run; words
//! select attacks, see `gossip`. Elsewhere gossip is flooding.
//!
//! In every run, for every node: no block is delivered that the sequencer did not sign or build on,
//! none twice, none out of order; no honest peer is penalised for something that it did not do, or
//! banned; every command is answered once; bounds hold; without faults no node has a trouble to
//! report; and in the end all nodes agree with the sequencer.

mod chain;
mod crowd;
mod engine;
mod found;
mod frames;
mod gossip;
mod liar;
mod memory;
mod plan;
mod rewinds;
mod rng;
mod scenarios;
mod store;
mod strangers;
mod trouble_list;
mod troubles;
mod villain;
mod world;

use chain::Pace;
use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::World;

/// Number of seeds of a run without arguments.
const SEEDS: u64 = 1_000;
/// Number of crowds of a run without arguments.
const CROWDS: u64 = 40;
/// Number of crowds over frames of a run without arguments.
const MESHES: u64 = 4;

#[derive(Debug, Default)]
struct Args {
    seed: Option<u64>,
    seeds: Option<u64>,
    crowds: Option<u64>,
    meshes: Option<u64>,
    gossip: Option<u64>,
    nodes: Option<u64>,
    blocks: Option<u64>,
    sybils: Option<u64>,
    trace: Option<String>,
    plot: Option<String>,
    from: u64,
    words: Vec<String>,
    /// Whether a word selects only the scenario of that name.
    exact: bool,
    list: bool,
    denim: bool,
}

impl Args {
    fn selects(&self, name: &str) -> bool {
        let is_meant = |word: &String| match self.exact {
            true => name == word,
            false => name.contains(word.as_str()),
        };
        self.words.is_empty() || self.words.iter().any(is_meant)
    }
}

fn args() -> Result<Args, String> {
    let mut args = Args::default();
    let mut rest = std::env::args().skip(1);
    while let Some(arg) = rest.next() {
        if arg == "--trace" || arg == "--plot" {
            let file = rest.next().ok_or(format!("{arg} needs a file"))?;
            *(if arg == "--trace" { &mut args.trace } else { &mut args.plot }) = Some(file);
            continue;
        }
        let mut number = || {
            let value = rest.next().ok_or(format!("{arg} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {value:?}"))
        };
        match arg.as_str() {
            "--seed" => args.seed = Some(number()?),
            "--seeds" => args.seeds = Some(number()?),
            "--crowds" => args.crowds = Some(number()?),
            "--meshes" => args.meshes = Some(number()?),
            "--gossip" => args.gossip = Some(number()?),
            "--nodes" => args.nodes = Some(number()?),
            "--blocks" => args.blocks = Some(number()?),
            "--sybils" => args.sybils = Some(number()?),
            "--from" => args.from = number()?,
            "--list" => args.list = true,
            "--denim" => args.denim = true,
            "--exact" => args.exact = true,
            // Arguments that `cargo test` passes to every test program.
            "--nocapture" | "--quiet" | "--test-threads=1" | "--include-ignored" => {}
            word if word.starts_with('-') => {
                return Err(format!("{word} is not an option of the simulator"));
            }
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
                "{error}; use --seed N, --seeds N, --crowds N, --meshes N, --from N, --denim, \
                 --list, or words of scenarios, with --exact their names; or --gossip N with \
                 --seed N, --nodes N, --blocks N, --sybils N, --trace FILE, \
                 --plot FILE"
            );
            return ExitCode::FAILURE;
        }
    };
    if args.list {
        let gossip = gossip::attacks::ALL.iter().map(|(name, _)| name);
        for name in scenarios::ALL.iter().map(|(name, _)| name).chain(gossip) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(count) = args.gossip {
        let passes = gossip::cli::main(&args, count);
        return if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(seed) = args.seed {
        println!("{:#?}", Plan::random(seed, pace(seed, args.denim)));
        let digest = run(seed, pace(seed, args.denim));
        println!("seed {seed} holds, digest {digest:016x}");
        return ExitCode::SUCCESS;
    }
    let has_count = [args.seeds, args.crowds, args.meshes].iter().any(Option::is_some);
    let passes = match has_count {
        false => run_tests(&args),
        true => {
            let seeds = args.seeds.is_none_or(|count| run_all_seeds(&args, count));
            let crowds = args.crowds.is_none_or(|count| run_crowds(&args, count));
            args.meshes.is_none_or(|count| run_meshes(&args, count)) && crowds && seeds
        }
    };
    if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Name of the test that runs [`SEEDS`] seeds.
const ALL_SEEDS: &str = "seeds";
/// Name of the test that runs [`CROWDS`] crowds.
const ALL_CROWDS: &str = "crowds";
/// Name of the test that runs [`MESHES`] crowds over frames.
const ALL_MESHES: &str = "meshes";

/// Runs the selected scenarios, seeds and crowds as tests. The output has the form of the standard
/// test harness.
fn run_tests(args: &Args) -> bool {
    let scenarios: Vec<_> = scenarios::ALL.iter().filter(|(name, _)| args.selects(name)).collect();
    let (seeds, crowds) = (args.selects(ALL_SEEDS), args.selects(ALL_CROWDS));
    let meshes = args.selects(ALL_MESHES);
    let many = [seeds, crowds, meshes].into_iter().filter(|is_selected| *is_selected).count();
    let gossip: Vec<_> =
        gossip::attacks::ALL.iter().filter(|(name, _)| args.selects(name)).collect();
    println!("running {} tests", scenarios.len() + gossip.len() + many);
    let (mut passed, mut failed) = (0, 0);
    let mut tell = |name: &str, passes: bool| {
        println!("test {name} ... {}", if passes { "ok" } else { "FAILED" });
        *if passes { &mut passed } else { &mut failed } += 1;
    };
    for (name, scenario) in scenarios {
        let start = Instant::now();
        let passes = catch_unwind(scenario).is_ok();
        println!("{name} took {} ms", start.elapsed().as_millis());
        tell(name, passes);
    }
    for (name, scene) in gossip {
        tell(name, gossip::cli::run_scene(args, name, *scene, 1));
    }
    if seeds {
        tell(ALL_SEEDS, run_all_seeds(args, SEEDS));
    }
    if crowds {
        tell(ALL_CROWDS, run_crowds(args, CROWDS));
    }
    if meshes {
        tell(ALL_MESHES, run_meshes(args, MESHES));
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed");
    failed == 0
}

fn run_all_seeds(args: &Args, count: u64) -> bool {
    match args.denim {
        true => run_seeds("Denim seed", args.from, count, |seed| run(seed, pace(seed, true))),
        false => run_seeds("seed", args.from, count, |seed| run(seed, pace(seed, false))),
    }
}

fn run_crowds(args: &Args, count: u64) -> bool {
    let passes = run_seeds("crowd", args.from, count, run_crowd);
    println!(
        "the slowest ban came {} ms after a villain's beginning",
        SLOWEST.load(Ordering::Relaxed) / 1_000_000
    );
    passes
}

fn run_meshes(args: &Args, count: u64) -> bool {
    let passes = run_seeds("mesh", args.from, count, run_mesh);
    println!(
        "the last node had a block at most {} ms after its publication; {:.2} copies each",
        LAST.load(Ordering::Relaxed) / 1_000_000,
        COPIES.load(Ordering::Relaxed) as f64 / 100.0,
    );
    passes
}

/// Returns the block interval of a seed's chain.
fn pace(seed: u64, is_denim: bool) -> Pace {
    if is_denim || seed % 2 == 1 { Pace::Denim } else { Pace::Slow }
}

/// Runs one seed, and returns its digest.
fn run(seed: u64, pace: Pace) -> u64 {
    let plan = Plan::random(seed, pace);
    let is_quiet = plan.is_quiet();
    let mut world = World::new(plan);
    if is_quiet {
        trouble_list::assert_no_trouble(&mut world);
    }
    world.run();
    world.settle_charges();
    world.digest
}

/// The longest time from a villain's first message to its ban by an honest node in any crowd, in
/// nanoseconds.
static SLOWEST: AtomicU64 = AtomicU64::new(0);

/// Runs one crowd, and returns its digest.
fn run_crowd(seed: u64) -> u64 {
    let mut crowd = crowd::Crowd::new(seed);
    crowd.run();
    SLOWEST.fetch_max(crowd.slowest, Ordering::Relaxed);
    crowd.digest
}

/// The longest time from a block's publication to its last delivery over frames, in nanoseconds.
static LAST: AtomicU64 = AtomicU64::new(0);
/// The largest average number of copies of a block that a node received, in hundredths.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// Runs one crowd over frames, and returns its digest.
fn run_mesh(seed: u64) -> u64 {
    let shown = frames::Frames::new(seed).run();
    LAST.fetch_max(shown.slowest, Ordering::Relaxed);
    COPIES.fetch_max((shown.copies * 100.0) as u64, Ordering::Relaxed);
    shown.digest
}

/// Runs seeds on all processors. A run returns its digest, and panics if it shows what it must not.
fn run_seeds(what: &str, from: u64, count: u64, run: impl Fn(u64) -> u64 + Sync) -> bool {
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
                    // Every 50th seed runs twice: the same seed must be the same run.
                    let runs = if seed % 50 == 0 { 2 } else { 1 };
                    let digests: Vec<_> = (0..runs)
                        .map(|_| catch_unwind(AssertUnwindSafe(|| run(seed))).ok())
                        .collect();
                    if digests.iter().any(|digest| digest.is_none() || *digest != digests[0]) {
                        let again = match what {
                            "crowd" => format!("--crowds 1 --from {seed}"),
                            "mesh" => format!("--meshes 1 --from {seed}"),
                            name if name.starts_with("gossip_") => {
                                format!("--gossip 1 --seed {seed} --exact {name}")
                            }
                            "Denim seed" => format!("--denim --seed {seed}"),
                            _ => format!("--seed {seed}"),
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
        "{count} {what}{} from {from} in {:.1} s, {} failed",
        match what {
            name if name.starts_with("gossip_") => "",
            name if name.ends_with('h') => "es",
            _ => "s",
        },
        start.elapsed().as_secs_f64(),
        failed.len()
    );
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    failed.is_empty()
}
