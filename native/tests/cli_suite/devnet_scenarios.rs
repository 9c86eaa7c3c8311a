//! `opp2p devnet` as a tool: its scenarios, and what others need to join it.

use crate::support::{Daemon, PATIENCE, Place};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

/// Summary of a run, and its lines.
struct Run {
    summary: Value,
    lines: Vec<String>,
}

impl Run {
    /// Plays a scenario with two followers. The run must succeed.
    #[track_caller]
    fn of(scenario: &str, more: &[&str]) -> Self {
        let place = Place::new();
        let usual = ["devnet", "--no-web", "--json", "--followers", "2", "--blocks", "8"];
        let arguments = [&usual[..], &["--scenario", scenario], more].concat();
        let mut devnet = Daemon::start(place.opp2p(&arguments), Stdio::piped());
        let code = devnet.wait(Duration::from_secs(90));
        let mut printed = String::new();
        devnet.stdout().read_to_string(&mut printed).unwrap();
        let summary: Value = serde_json::from_str(&printed).unwrap();
        let lines = devnet.lines();
        assert_eq!((code, &summary["ok"]), (Some(0), &json!(true)), "{summary}\n{lines:#?}");
        let name = scenario.split('@').next().unwrap();
        assert_eq!(summary["scenarios"][0]["name"], json!(name), "{summary}");
        let run = Self { summary, lines };
        run.line(&format!("scenario {name}: "));
        run
    }

    /// Returns the first line that starts like this.
    #[track_caller]
    fn line(&self, start: &str) -> &str {
        let found = self.lines.iter().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line begins with {start:?}: {:#?}", self.lines))
    }

    /// Returns a count of each follower.
    fn counts(&self, name: &str) -> Vec<u64> {
        let followers = self.summary["followers"].as_array().unwrap();
        followers.iter().map(|follower| follower[name].as_u64().unwrap()).collect()
    }

    /// Asserts that every follower moved to another branch once. Returns the numbers of blocks
    /// that the first one left and adopted.
    #[track_caller]
    fn reorg(&self) -> (u64, u64) {
        assert_eq!(self.counts("reorgs"), [1, 1], "{:#?}", self.lines);
        self.line("follower 2: reorg: ");
        let line = self.line("follower 1: reorg: ");
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        // Such as `follower 1: reorg: 2 blocks above 3 replaced by 4`.
        let [left, _ancestor, adopted] = numbers[..] else { panic!("{line}") };
        (left, adopted)
    }
}

#[test]
fn in_a_reorg_the_followers_move_to_the_longer_branch() {
    for more in [&["--block-time", "0.2"][..], &["--fork", "denim"]] {
        let run = Run::of("reorg", more);
        let (left, adopted) = run.reorg();
        assert!(left == 2 && adopted > left, "{left} {adopted}");
    }
}

#[test]
fn in_an_equivocation_every_follower_reports_the_second_block_and_keeps_the_first() {
    let run = Run::of("equivocation@3", &["--block-time", "0.5"]);
    assert_eq!((run.counts("equivocations"), run.counts("reorgs")), (vec![1, 1], vec![0, 0]));
    for start in ["follower 1: equivocation: block 4 is ", "follower 2: equivocation: block 4 is "]
    {
        run.line(start);
    }
}

#[test]
fn in_a_rewind_the_followers_move_to_a_lower_head() {
    for more in [&["--block-time", "0.2"][..], &["--fork", "denim"]] {
        let run = Run::of("rewind", more);
        let (left, adopted) = run.reorg();
        assert!(left > adopted && adopted >= 3, "{left} {adopted}");
    }
}

#[test]
fn after_a_partition_the_follower_fills_its_gap() {
    let run = Run::of("partition", &["--block-time", "0.2"]);
    let gaps = run.counts("gaps");
    assert!(gaps[0] == 0 && gaps[1] > 0, "{:#?}", run.lines);
    assert!(run.counts("caught_up")[1] > 0, "{:#?}", run.lines);
    run.line("follower 2: gap: ");
    run.line("scenario partition: follower 2 is back, and filled its gap in ");
}

#[test]
fn a_partition_does_not_outlive_a_killed_run() {
    let place = Place::new();
    let start = |more: &[&str]| {
        let usual = ["devnet", "--no-web", "--json", "--block-time", "0.5"];
        let kept = ["--data-dir", &place.name("kept")];
        Daemon::start(place.opp2p(&[&usual[..], &kept, more].concat()), Stdio::null())
    };
    let reached = |devnet: &Daemon, followers: &str| {
        let fits = |line: &str| line.starts_with("block ") && line.contains(followers);
        devnet.wait_for(0, Duration::from_secs(60), fits);
    };
    let first = start(&["--followers", "2", "--scenario", "partition@1"]);
    reached(&first, " 1/2 followers");
    first.kill();
    // The follower that was cut off is not the last one any more.
    let second = start(&["--followers", "3"]);
    reached(&second, " 3/3 followers");
    second.kill();
}

#[test]
fn a_lying_peer_is_banned_by_every_follower() {
    let run = Run::of("lying-peer", &["--block-time", "0.5"]);
    assert!(run.counts("bans").iter().all(|bans| *bans > 0), "{:#?}", run.lines);
    let peer = run.line("scenario lying-peer: the peer is ");
    let (_, peer) = peer.split_once(" is ").unwrap();
    for follower in [1, 2] {
        run.line(&format!("follower {follower}: banned the peer {peer} for its score of -"));
    }
    run.line("scenario lying-peer: every follower has banned the peer after ");
}

#[test]
fn blocks_of_200_ms_come_for_a_while() {
    let run = Run::of("200ms@2", &["--block-time", "1"]);
    run.line("scenario 200ms: the next 25 blocks come every 0.2 s");
    run.line("scenario 200ms: a block comes every 1 s again");
    let (blocks, seconds) = (&run.summary["blocks"], &run.summary["duration_s"]);
    assert!(blocks.as_u64().unwrap() >= 27, "{blocks}");
    assert!(seconds.as_f64().unwrap() < 20.0, "{seconds}");
}

#[test]
fn scenarios_run_one_after_another() {
    let run = Run::of("equivocation@2", &["--block-time", "0.2", "--scenario", "reorg@2"]);
    let played = run.summary["scenarios"].as_array().unwrap();
    let names: Vec<&Value> = played.iter().map(|played| &played["name"]).collect();
    assert_eq!(names, [&json!("equivocation"), &json!("reorg")]);
    run.reorg();
}

#[test]
fn a_scenario_that_can_t_be_played_is_refused_with_the_remedy() {
    let place = Place::new();
    let run = |more: &[&str]| place.run(&[&["devnet", "--scenario"], more].concat());
    run(&["storm"]).refused(&["--scenario", "'storm'", "use reorg, equivocation", "or 200ms"]);
    run(&["reorg@soon"]).refused(&["'reorg@soon'", "1 or more"]);
    run(&["reorg@9", "--blocks", "8"]).refused(&["reorg@9", "--blocks 8", "lower number"]);
    run(&["partition", "--followers", "1"]).refused(&["partition", "--followers 2"]);
    run(&["partition", "--kill-follower-for", "3"]).refused(&[
        "--scenario partition",
        "--kill-follower-for",
        "leave out that flag",
    ]);
    run(&["200ms", "--fork", "denim"]).refused(&["200ms", "--fork denim", "earlier fork"]);
    run(&["200ms", "--block-time", "0.1"]).refused(&["200ms", "0.1 s", "--block-time"]);
}

#[test]
fn execution_clients_are_refused_with_the_remedy() {
    let place = Place::new();
    let run = |more: &[&str]| {
        let mut command = place.opp2p(&[&["devnet", "--engines"], more].concat());
        command.env("PATH", place.path("empty"));
        crate::support::run(command, b"")
    };
    run(&[]).refused(&["--engines", "neither op-geth nor op-reth", "install one"]);
    run(&["--fork", "denim"]).refused(&["--fork denim", "leave out --fork"]);
    run(&["--block-time", "0.5"]).refused(&["--block-time 0.5", "whole seconds"]);
    run(&["--data-dir", "kept"]).refused(&["--data-dir", "leave out one"]);
    run(&["--kill-follower-for", "3"]).refused(&["--kill-follower-for", "leave out one"]);
    run(&["--scenario", "reorg"]).refused(&["--scenario reorg", "leave out --engines"]);
}

/// Starts an endless devnet, and returns it with the configuration that it prints.
fn configured(place: &Place, more: &[&str]) -> (Daemon, Value) {
    let usual = ["devnet", "--json", "--print-config", "--followers", "2", "--block-time", "0.5"];
    let mut devnet = Daemon::start(place.opp2p(&[&usual[..], more].concat()), Stdio::piped());
    let mut line = String::new();
    BufReader::new(devnet.stdout()).read_line(&mut line).unwrap();
    let config = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (devnet, config)
}

#[test]
fn another_node_joins_with_the_printed_configuration() {
    let place = Place::new();
    let (devnet, config) = configured(&place, &["--p2p.listen.ws", "0"]);
    assert_eq!((&config["chain_id"], config["nodes"].as_array().unwrap().len()), (&json!(901), 3));
    let browsers = config["browsers"].as_array().unwrap();
    assert!(browsers.iter().any(|address| address.as_str().unwrap().contains("/ws/p2p/")));
    assert!(config.get("page").is_some(), "{config}");
    let rollup = place.file("rollup.json", config["rollup"].to_string());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (signer, nodes, own) =
        (text(&config["signer"]), text(&config["nodes"][1]), place.name("joined"));
    let arguments = ["node", "--rollup.config", &rollup, "--signer", &signer];
    let network = ["--p2p.static", &nodes, "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"];
    let arguments = [&arguments[..], &network, &["--data-dir", &own]].concat();
    let node = Daemon::start(place.opp2p(&arguments), Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains(" block number="));
    node.end("TERM");
    devnet.kill();
}

#[test]
fn the_addresses_stay_the_same_with_a_data_directory() {
    let place = Place::new();
    let run = || {
        let kept = ["--no-web", "--data-dir", &place.name("kept")];
        let (devnet, config) = configured(&place, &kept);
        devnet.kill();
        config
    };
    let (first, second) = (run(), run());
    assert_eq!(first["nodes"], second["nodes"]);
    assert_eq!((&first["signer"], &first["page"]), (&second["signer"], &Value::Null));
}
