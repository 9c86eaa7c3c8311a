//! The command line, and the order of the runs.

use crate::figures::{self, Figures};
use crate::gossip::{self, Scenario};
use crate::nodes::Kind;
use crate::{host, range, router};
use opp2p_tests::net::obstacle;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

const USAGE: &str = "cargo bench --package opp2p-tests --bench wan -- PART... [OPTION VALUE]...

PART is one of
  all           everything that follows
  mixed         blocks of 2.6 kB, 60 kB and 1 MB, one each second
  mixed-loss    the same with 0.5 % loss
  five          five blocks a second, of 30 to 120 kB
  five-loss     the same with 0.5 % loss
  range         a follower that is far behind, with one and four servers
OPTION is one of
  --kinds       of op-node, op-node-newest and opp2p, those to compare, separated by commas; the
                first is what the others are compared with (op-node,opp2p)
  --rounds      how often each kind has its turn in each part (2)
  --nodes       number of nodes (12)
  --mbit        rate of each line (50)
  --seed        seed of who dials whom, and of the losses (1)
  --out         folder of the results (the tests' folder for temporary files)";

const SECOND: Duration = Duration::from_secs(1);
const FIVE: &[usize] = &[30_000, 60_000, 90_000, 120_000];
const MIXED: &[usize] = &[2_600, 60_000, 2_600, 1_000_000];

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "mixed",
        about: "A block each second, of 2.6 kB, 60 kB, 2.6 kB and 1 MB in turn.",
        sizes: MIXED,
        every: SECOND,
        count: 60,
        loss: 0.0,
    },
    Scenario {
        name: "mixed-loss",
        about: "The same with 0.5 % loss.",
        sizes: MIXED,
        every: SECOND,
        count: 60,
        loss: 0.005,
    },
    Scenario {
        name: "five",
        about: "Five blocks a second, of 30, 60, 90 and 120 kB in turn.",
        sizes: FIVE,
        every: Duration::from_millis(200),
        count: 150,
        loss: 0.0,
    },
    Scenario {
        name: "five-loss",
        about: "The same with 0.5 % loss.",
        sizes: FIVE,
        every: Duration::from_millis(200),
        count: 150,
        loss: 0.005,
    },
];

const RANGE: &str = "range";

/// What the arguments ask for.
#[derive(Debug)]
struct Asked {
    parts: Vec<String>,
    kinds: Vec<Kind>,
    rounds: u64,
    nodes: usize,
    mbit: f64,
    seed: u64,
    out: PathBuf,
}

impl Asked {
    fn read(words: &[String]) -> Option<Self> {
        let mut asked = Self {
            parts: Vec::new(),
            kinds: kinds("op-node,opp2p")?,
            rounds: 2,
            nodes: 12,
            mbit: 50.0,
            seed: 1,
            out: Path::new(env!("CARGO_TARGET_TMPDIR")).join("wan"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--kinds" => asked.kinds = kinds(words.next()?)?,
                "--rounds" => asked.rounds = number(words.next()?, 1..=100)?,
                "--nodes" => asked.nodes = number(words.next()?, 2..=100)?,
                "--mbit" => asked.mbit = number(words.next()?, 0.1..=10_000.0)?,
                "--seed" => asked.seed = words.next()?.parse().ok()?,
                "--out" => asked.out = words.next()?.into(),
                "all" => {
                    asked.parts.extend(SCENARIOS.map(|scenario| scenario.name.to_owned()));
                    asked.parts.push(RANGE.into());
                }
                RANGE => asked.parts.push(RANGE.into()),
                part => {
                    SCENARIOS.iter().find(|scenario| scenario.name == part)?;
                    asked.parts.push(part.into());
                }
            }
        }
        (!asked.parts.is_empty()).then_some(asked)
    }
}

fn kinds(names: &str) -> Option<Vec<Kind>> {
    let named = |name| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    names.split(',').map(named).collect()
}

fn number<T: FromStr + PartialOrd>(word: &str, allowed: std::ops::RangeInclusive<T>) -> Option<T> {
    word.parse().ok().filter(|value| allowed.contains(value))
}

/// Runs what the arguments ask for.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads");
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [router::ROLE] => {
            return match router::run() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("the router ends: {error}");
                    ExitCode::FAILURE
                }
            };
        }
        [host::ROLE] => {
            runtime.block_on(host::run());
            return ExitCode::SUCCESS;
        }
        // So does `cargo test --benches`, which should measure nothing.
        [] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let Some(mut asked) = Asked::read(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(obstacle) = obstacle() {
        eprintln!("The wide-area testbed can't run here: {obstacle}.");
        return ExitCode::FAILURE;
    }
    asked.kinds.retain(|kind| {
        if !kind.is_here() {
            println!("Without {}: its program is not built.", kind.name());
        }
        kind.is_here()
    });
    runtime.block_on(async {
        tokio::select! {
            code = measure(&asked) => code,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("Interrupted: all nodes and their namespaces end.");
                ExitCode::from(130)
            }
        }
    })
}

/// Measures every part, prints the results and writes them.
async fn measure(asked: &Asked) -> ExitCode {
    let (mut all, mut ranges, mut is_good) = (Vec::new(), Vec::new(), true);
    for scenario in SCENARIOS {
        if !asked.parts.iter().any(|part| part == scenario.name) {
            continue;
        }
        let of_kind =
            |kind: &Kind| Figures { scenario: scenario.clone(), kind: *kind, runs: Vec::new() };
        let mut figures: Vec<Figures> = asked.kinds.iter().map(of_kind).collect();
        for seed in (asked.seed..).take(asked.rounds as usize) {
            for figures in &mut figures {
                println!("{}, {}, seed {seed} …", scenario.name, figures.kind.name());
                match gossip::run(figures.kind, &scenario, asked.nodes, asked.mbit, seed).await {
                    Ok(run) => figures.runs.push(run),
                    Err(error) => {
                        eprintln!("{}: {error}", figures.kind.name());
                        is_good = false;
                    }
                }
            }
        }
        all.extend(figures.into_iter().filter(|figures| !figures.runs.is_empty()));
    }
    if asked.parts.iter().any(|part| part == RANGE) {
        for (servers, loss, blocks) in range::plans() {
            println!("range, {servers} servers, {} blocks of {} bytes …", blocks.0, blocks.1);
            match range::run(servers, loss, blocks, asked.seed).await {
                Ok(range) => {
                    println!(
                        "  {:.1} s, {:.0} % of the line",
                        range.seconds,
                        range.share() * 100.0
                    );
                    ranges.push(range);
                }
                Err(error) => {
                    eprintln!("range: {error}");
                    is_good = false;
                }
            }
        }
    }
    print!("{}", figures::tables(&all));
    if !ranges.is_empty() {
        print!("{}", figures::range_table(&ranges));
    }
    let settings = json!({
        "nodes": asked.nodes, "mbit": asked.mbit, "seed": asked.seed, "rounds": asked.rounds,
    });
    let json = figures::to_json(&settings, &all, &ranges);
    match write(asked, &format!("{json:#}\n"), &all) {
        Ok(()) => println!("\nWritten to {}", asked.out.display()),
        Err(error) => {
            eprintln!("{}: {error}", asked.out.display());
            is_good = false;
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(asked: &Asked, json: &str, all: &[Figures]) -> std::io::Result<()> {
    fs::create_dir_all(&asked.out)?;
    fs::write(asked.out.join("results.json"), json)?;
    for part in &asked.parts {
        let of_part: Vec<&Figures> =
            all.iter().filter(|figures| figures.scenario.name == part).collect();
        if !of_part.is_empty() {
            fs::write(asked.out.join(format!("{part}.svg")), figures::plot(&of_part))?;
        }
    }
    Ok(())
}
