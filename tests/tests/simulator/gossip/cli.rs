//! The command `cargo simulate --gossip`.

use super::attacks::{ALL, Scene};
use super::{MAX_BLOCKS, MAX_NODES, Net, Size, run};
use crate::{Args, run_seeds};

/// Sizes of the runs that are part of every test run.
const PEACE: Size = Size { nodes: 100, blocks: 100, sybils: 0 };
const ATTACK: Size = Size { nodes: 12, blocks: 60, sybils: 4 };

/// Returns a scene's size as asked for, or the usual one.
fn size(args: &Args, name: &str) -> Size {
    let usual = if name == "gossip_peace" { PEACE } else { ATTACK };
    let number = |asked: Option<u64>, usual: u32| {
        asked.map_or(usual, |asked| u32::try_from(asked).unwrap_or(u32::MAX))
    };
    Size {
        nodes: number(args.nodes, usual.nodes).max(2),
        blocks: number(args.blocks, usual.blocks).max(1),
        sybils: number(args.sybils, usual.sybils),
    }
}

/// Returns the first seed. Peace shows that runs replay, because seed 0 runs twice. Attacks need
/// not show it again.
fn first(args: &Args, name: &str) -> u64 {
    let is_peace = name == "gossip_peace";
    args.seed.unwrap_or(if is_peace || args.from > 0 { args.from } else { 1 })
}

/// Runs `count` seeds of a scene. Returns `true` if all hold what they must.
pub(crate) fn run_scene(args: &Args, name: &str, scene: Scene, count: u64) -> bool {
    let size = size(args, name);
    run_seeds(name, first(args, name), count, |seed| {
        let report = run(scene, seed, size);
        let distributions =
            if name == "gossip_peace" { report.distributions() } else { String::new() };
        println!("{name}, seed {seed}: {report}\n{distributions}");
        if let Some(file) = &args.plot {
            write(file, &report.picture());
        }
        report.check();
        report.digest
    })
}

/// Runs `count` seeds of each selected scene, or of peace if no word selects any; or one of them
/// and writes its page.
pub(crate) fn main(args: &Args, count: u64) -> bool {
    let selected: Vec<_> = match args.words.is_empty() {
        true => ALL[..1].to_vec(),
        false => ALL.into_iter().filter(|(name, _)| args.selects(name)).collect(),
    };
    if selected.is_empty() {
        println!("no scene has this name; see --list");
        return false;
    }
    match &args.trace {
        None => {
            let passes = |(name, scene): &(&str, Scene)| run_scene(args, name, *scene, count);
            selected.iter().filter(|scene| !passes(scene)).count() == 0
        }
        Some(file) => {
            let (name, scene) = selected[0];
            trace(args, name, scene, file)
        }
    }
}

/// Runs a small network, and writes the page that plays it.
fn trace(args: &Args, name: &str, scene: Scene, file: &str) -> bool {
    let Size { nodes, blocks, sybils } = size(args, name);
    let nodes = if args.nodes.is_some() { nodes } else { nodes.min(30) };
    let blocks = if args.blocks.is_some() { blocks } else { blocks.min(30) };
    if nodes > MAX_NODES || blocks > MAX_BLOCKS || sybils > 4 {
        println!(
            "a page shows at most {MAX_NODES} nodes, 4 sybils for each, and {MAX_BLOCKS} blocks"
        );
        return false;
    }
    let seed = first(args, name);
    let mut net = Net::new(seed, scene(nodes, blocks, sybils));
    net.start_trace();
    net.run();
    println!("{name}, seed {seed}: {}", net.report());
    write(file, &net.page(name, seed))
}

/// Writes a file. Returns `false` if it can't.
fn write(file: &str, text: &str) -> bool {
    let written = std::fs::write(file, text);
    match &written {
        Ok(()) => println!("wrote {file}"),
        Err(error) => println!("can't write {file}: {error}"),
    }
    written.is_ok()
}
