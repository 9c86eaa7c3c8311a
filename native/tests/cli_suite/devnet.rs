//! `opp2p devnet`, as a user runs it.

use crate::support::{Daemon, Outcome, PATIENCE, Place};
use opp2p_core::chain::Fork;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

/// Parses the one JSON object on standard output.
#[track_caller]
fn summary(outcome: &Outcome) -> Value {
    assert_eq!(outcome.stdout.lines().count(), 1, "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn a_short_run_succeeds_with_one_json_object() {
    let place = Place::new();
    let outcome = place.run(&[
        "devnet",
        "--followers",
        "2",
        "--blocks",
        "5",
        "--block-time",
        "0.2",
        "--json",
    ]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let summary = summary(&outcome);
    assert_eq!(summary["ok"], json!(true));
    assert_eq!(summary["blocks"], json!(5));
    assert_eq!(summary["fork"], json!("jovian"));
    let followers = summary["followers"].as_array().unwrap();
    assert_eq!(followers.len(), 2);
    let mut ids = BTreeSet::new();
    for follower in followers {
        assert!(ids.insert(follower["peer_id"].as_str().unwrap()));
        assert!(follower["peer_id"].as_str().unwrap().starts_with("16Uiu2HA"));
        assert_eq!((&follower["head"], &follower["received"]), (&json!(5), &json!(5)), "{summary}");
        assert_eq!(follower["in_order"], json!(true));
        let latency = |which: &str| follower["latency_ms"][which].as_f64().unwrap();
        assert!(
            0.0 < latency("p50")
                && latency("p50") <= latency("p99")
                && latency("p99") <= latency("max")
        );
    }
    // The blocks' lines are on standard error.
    assert_eq!(
        outcome.stderr.lines().filter(|line| line.starts_with("block ")).count(),
        5,
        "{outcome:#?}"
    );
}

#[test]
fn without_a_terminal_each_block_is_a_line_and_the_run_ends_with_a_table() {
    let place = Place::new();
    let run = ["devnet", "--no-web", "--followers", "1", "--blocks", "3", "--block-time", "0.1"];
    let outcome = place.run(&run);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    for (line, number) in lines.iter().zip(1..=3) {
        assert!(
            line.starts_with(&format!("block {number} ")) && line.contains("1/1 followers"),
            "{line}"
        );
    }
    assert!(lines.last().unwrap().starts_with("ok: "), "{outcome:#?}");
    assert!(!outcome.stdout.contains('\x1b'), "no colour, no screen");
    // Nothing is left behind.
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn every_fork_works() {
    let place = Place::new();
    for fork in Fork::ALL {
        let start =
            ["devnet", "--followers", "1", "--blocks", "2", "--json", "--fork", fork.name()];
        // Denim has its own block time.
        let block_time: &[&str] = if fork == Fork::Denim { &[] } else { &["--block-time", "0.1"] };
        let outcome = place.run(&[&start[..], block_time].concat());
        assert_eq!(outcome.code, Some(0), "{fork}: {outcome:#?}");
        let summary = summary(&outcome);
        assert_eq!(
            (&summary["ok"], &summary["fork"]),
            (&json!(true), &json!(fork.name())),
            "{summary}"
        );
    }
}

#[test]
fn a_denim_devnet_makes_five_blocks_a_second_also_when_resumed() {
    let place = Place::new();
    let run = |blocks: &str| {
        let arguments = ["--fork", "denim", "--no-web", "--followers", "2", "--json"];
        let kept = ["--blocks", blocks, "--data-dir", &place.name("denim")];
        let outcome = place.run(&[&["devnet"][..], &arguments, &kept].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        summary(&outcome)
    };
    let first = run("12");
    assert_eq!(
        (&first["fork"], &first["block_time"], &first["blocks"]),
        (&json!("denim"), &json!(0.2), &json!(12)),
        "{first}"
    );
    // Blocks have the times of their numbers, so the pause in between leaves no hole in the chain.
    let second = run("6");
    assert_eq!(second["sequencer"]["head"], json!(18), "{second}");
    for follower in second["followers"].as_array().unwrap() {
        assert_eq!((&follower["head"], &follower["in_order"]), (&json!(18), &json!(true)));
        assert_eq!(follower["verdicts"]["reject"], json!(0), "{second}");
    }
    place
        .run(&["devnet", "--fork", "denim", "--block-time", "2"])
        .refused(&["--block-time 2", "0.2 s"]);
}

#[test]
fn invalid_values_are_refused_with_the_valid_ones() {
    let place = Place::new();
    let run = |flag: &str, value: &str| place.run(&["devnet", &format!("{flag}={value}")]);
    for value in ["0", "65", "-1", "many"] {
        run("--followers", value).refused(&["--followers", value]);
    }
    for value in ["0", "-5", "x"] {
        run("--blocks", value).refused(&["--blocks", value]);
    }
    for value in ["0", "-1", "fast", "NaN", "inf", "3601"] {
        run("--block-time", value).refused(&["--block-time", value, "0.01 to 3600"]);
    }
    for value in ["0", "-1", "long", "NaN", "inf", "3601"] {
        run("--kill-follower-for", value).refused(&["--kill-follower-for", value, "0.1 to 3600"]);
    }
    run("--fork", "nonsense").refused(&["--fork", "nonsense", "ecotone", "jovian"]);
}

#[test]
fn a_killed_follower_catches_up() {
    let place = Place::new();
    let run =
        ["--followers", "2", "--blocks", "30", "--block-time", "0.2", "--kill-follower-for", "2"];
    let mut devnet =
        Daemon::start(place.opp2p(&[&["devnet", "--json"][..], &run].concat()), Stdio::piped());
    // Six seconds, plus the time limits for catching up and for checking the disks.
    let code = devnet.wait(Duration::from_secs(60));
    let mut printed = String::new();
    devnet.stdout().read_to_string(&mut printed).unwrap();
    let summary: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &summary["ok"]), (Some(0), &json!(true)), "{summary}\n{:#?}", devnet.lines());
    let [whole, killed] = [0, 1].map(|index| &summary["followers"][index]);
    assert_eq!((&whole["outage"], &whole["caught_up"]), (&Value::Null, &json!(0)), "{summary}");
    for follower in [whole, killed] {
        assert_eq!(
            (&follower["head"], &follower["received"]),
            (&json!(30), &json!(30)),
            "{summary}"
        );
        assert_eq!(follower["in_order"], json!(true), "{summary}");
    }
    let missed = killed["outage"]["missed"].as_u64().unwrap();
    assert!(missed > 0 && killed["caught_up"].as_u64().unwrap() >= missed, "{summary}");
    assert!(killed["outage"]["down_s"].as_f64().unwrap() >= 2.0, "{summary}");
    assert!(killed["outage"]["catch_up_s"].as_f64().unwrap() > 0.0, "{summary}");
    // Missed blocks came up to two seconds late, and are not latency samples.
    assert!(killed["latency_ms"]["max"].as_f64().unwrap() < 2000.0, "{summary}");
    let mut line = 0;
    for start in ["follower 2: down", "follower 2: catching up", "follower 2: live"] {
        (_, line) = devnet.wait_for(line, PATIENCE, |line| line.starts_with(start));
    }
}

#[test]
fn an_outage_too_long_for_the_run_is_refused_with_one_that_fits() {
    let place = Place::new();
    let run = |blocks: &str, block_time: &str, outage: &str| {
        let arguments =
            ["--blocks", blocks, "--block-time", block_time, "--kill-follower-for", outage];
        place.run(&[&["devnet"][..], &arguments].concat())
    };
    // Killed after block 2, back 10 s and 50 blocks later, and at least 2 s or 10 blocks after
    // that.
    run("8", "0.2", "10").refused(&["--blocks 8", "--kill-follower-for 10", "65 or more"]);
    run("64", "0.2", "10").refused(&["--blocks 64", "65 or more"]);
    run("1", "2", "0.5").refused(&["--blocks 1", "7 or more"]);
    run("1000000", "0.01", "20.1").refused(&["2010 blocks of 0.01 s", "use 20 seconds or less"]);
}

#[test]
fn another_node_joins_a_devnet_with_the_printed_command() {
    let place = Place::new();
    let arguments = ["devnet", "--no-web", "--followers", "1", "--block-time", "0.5", "--json"];
    let kept = ["--data-dir", &place.name("devnet")];
    let devnet = Daemon::start(place.opp2p(&[&arguments[..], &kept].concat()), Stdio::null());
    let (line, _) = devnet.wait_for(0, PATIENCE, |line| line.contains("to join: opp2p node "));
    let (_, command) = line.split_once("to join: opp2p ").unwrap();
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    let own = place.name("joined");
    arguments.extend(["--data-dir", &own, "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", "0"]);
    let node = Daemon::start(place.opp2p(&arguments), Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains(" block number="));
    node.end("TERM");
    devnet.kill();
}

#[test]
fn an_unusable_data_directory_is_named() {
    let place = Place::new();
    let file = place.file("file", "mine");
    for path in [file.clone(), format!("{file}/devnet")] {
        place
            .run(&["devnet", "--no-web", "--blocks", "1", "--data-dir", &path])
            .refused(&[&path, "--data-dir"]);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    place.file("taken/sequencer/blocks.redb", "a diary");
    let outcome =
        place.run(&["devnet", "--no-web", "--blocks", "1", "--data-dir", &place.name("taken")]);
    outcome.refused(&["the sequencer can't start", "taken/sequencer/blocks.redb"]);
    assert_eq!(
        std::fs::read_to_string(place.path("taken/sequencer/blocks.redb")).unwrap(),
        "a diary"
    );
}

#[test]
fn a_second_run_in_the_same_directory_continues_from_the_stored_head() {
    let place = Place::new();
    let run = |blocks: &str, followers: &str| {
        let outcome = place.run(&[
            "devnet",
            "--no-web",
            "--followers",
            followers,
            "--blocks",
            blocks,
            "--block-time",
            "0.05",
            "--json",
            "--data-dir",
            &place.name("kept"),
        ]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        (summary(&outcome), outcome.stderr)
    };
    let (first, _) = run("3", "2");
    let (second, lines) = run("2", "2");
    assert_eq!(second["blocks"], json!(2));
    for follower in 0..2 {
        assert_eq!(first["followers"][follower]["head"], json!(3));
        assert_eq!(second["followers"][follower]["head"], json!(5));
        // The keys stay as well.
        assert_eq!(
            first["followers"][follower]["peer_id"],
            second["followers"][follower]["peer_id"]
        );
    }
    let first = lines.lines().find(|line| line.starts_with("block "));
    assert!(first.is_some_and(|line| line.starts_with("block 4 ")), "{lines}");
}

/// Runs an endless devnet, asks it to end, and returns its output.
fn interrupted(signal: &str, more: &[&str]) -> String {
    let place = Place::new();
    let arguments =
        [&["devnet", "--followers", "2", "--block-time", "0.05", "--json"], more].concat();
    let mut devnet = Daemon::start(place.opp2p(&arguments), Stdio::piped());
    devnet.wait_for(0, PATIENCE, |line| line.starts_with("block 8 "));
    devnet.signal(signal);
    assert_eq!(devnet.wait(Duration::from_secs(10)), Some(0), "{:#?}", devnet.lines());
    let mut printed = String::new();
    devnet.stdout().read_to_string(&mut printed).unwrap();
    printed
}

#[test]
fn an_endless_run_ends_on_a_signal_with_its_summary() {
    for signal in ["INT", "TERM"] {
        let summary: Value = serde_json::from_str(&interrupted(signal, &[])).unwrap();
        assert_eq!(summary["ok"], json!(true), "{summary}");
        let blocks = summary["blocks"].as_u64().unwrap();
        assert!(blocks >= 8);
        for follower in summary["followers"].as_array().unwrap() {
            assert_eq!(
                (&follower["received"], &follower["in_order"]),
                (&json!(blocks), &json!(true))
            );
        }
    }
}

#[test]
fn an_interrupted_run_without_all_its_blocks_fails() {
    let place = Place::new();
    let arguments =
        ["devnet", "--followers", "1", "--block-time", "0.05", "--json", "--blocks", "100000"];
    let mut devnet = Daemon::start(place.opp2p(&arguments), Stdio::piped());
    devnet.wait_for(0, PATIENCE, |line| line.starts_with("block 2 "));
    devnet.signal("INT");
    assert_eq!(devnet.wait(Duration::from_secs(10)), Some(1), "{:#?}", devnet.lines());
    let mut printed = String::new();
    devnet.stdout().read_to_string(&mut printed).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["ok"], json!(false), "{printed}");
}

#[cfg(unix)]
#[test]
fn an_endless_run_ends_when_its_output_is_closed() {
    let place = Place::new();
    let mut shell = std::process::Command::new("sh");
    let script =
        "{ \"$0\" devnet --no-web --followers 1 --block-time 0.05; echo $? >&2; } | head -2";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_opp2p")]).current_dir(place.path(""));
    let outcome = crate::support::run(shell, b"");
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:#?}");
    assert_eq!(outcome.stderr, "0\n", "{outcome:#?}");
}
