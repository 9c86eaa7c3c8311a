//! Checks `native/COMMAND-LINES.md` against the program: each command line and each row of its
//! table.

use crate::chain::rollup_json;
use crate::support::{Outcome, Place, run};
use opp2p_core::chain::Fork;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../COMMAND-LINES.md");

/// One section of the page.
struct Case<'a> {
    title: &'a str,
    variables: Vec<(&'a str, &'a str)>,
    /// Includes the program's name.
    arguments: Vec<&'a str>,
    /// Subjects and their outcomes.
    rows: Vec<(&'a str, &'a str)>,
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    PAGE.split("\n## ").skip(1).map(|section| {
        let (title, _) = section.split_once('\n').expect("a title");
        let (_, block) = section.split_once("```sh\n").expect("a command line");
        let (block, below) = block.split_once("```").expect("its end");
        let (command, variables) =
            block.trim().lines().collect::<Vec<_>>().split_last().map_or_else(
                || panic!("{title}: no command"),
                |(command, variables)| (*command, variables.to_vec()),
            );
        let variables = variables.iter().map(|line| line.split_once('=').expect("NAME=VALUE"));
        let rows = below.lines().filter(|line| line.starts_with("| `")).map(|line| {
            let mut cells =
                line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
            (cells.next().expect("a cell"), cells.next().expect("a second"))
        });
        Case {
            title,
            variables: variables.collect(),
            arguments: command.split(' ').collect(),
            rows: rows.collect(),
        }
    })
}

/// Creates a directory with the files that the command lines name.
fn place() -> Place {
    let place = Place::new();
    place.file("jwt.hex", "11".repeat(32));
    let mut rollup = rollup_json(91_342, Some(Fork::Holocene));
    for fork in [Fork::Fjord, Fork::Granite, Fork::Holocene] {
        rollup[fork.field()] = Value::Null;
    }
    rollup["fjord_time"] = json!(0);
    rollup["granite_time"] = json!(1_730_106_000);
    rollup["holocene_time"] = json!(1_736_445_601);
    rollup["l1_system_config_address"] = json!("0x0000000000000000000000000000000000000011");
    place.file("rollup.json", rollup.to_string());
    let mut misspelt = rollup.clone();
    misspelt["isthums_time"] = json!(1_746_806_401);
    place.file("misspelt.json", misspelt.to_string());
    rollup["zenith_time"] = json!(4_000_000_000_u64);
    place.file("to-come.json", rollup.to_string());
    let registry = concat!(
        "name = \"A chain\"\nchain_id = 424242\nblock_time = 2\n",
        "[hardforks]\ncanyon_time = 0 # Thu 1 Jan 1970\n",
        "[genesis]\nl2_time = 1700000000\n",
        "[genesis.l2]\nnumber = 0\n",
        "hash = \"0x1111111111111111111111111111111111111111111111111111111111111111\"\n",
        "[addresses]\nSystemConfigProxy = \"0x0000000000000000000000000000000000000011\"\n",
    );
    place.file("registry/sepolia/chain.toml", registry);
    place
}

/// Runs `opp2p config` on a command line; it takes the flags of `opp2p node`.
fn told(place: &Place, case: &Case<'_>) -> Outcome {
    let flags = case.arguments.iter().skip(1).filter(|argument| **argument != "node");
    let arguments = ["config", "--json"].iter().chain(flags).copied().collect::<Vec<_>>();
    let mut command = place.opp2p(&arguments);
    command.env_remove("OP_NODE_RPC_PORT").env_remove("OP_NODE_P2P_NO_DISCOVERY");
    command.envs(case.variables.iter().copied());
    run(command, b"")
}

#[test]
fn every_documented_command_line_behaves_as_documented() {
    let place = place();
    let (mut count, mut wrong) = (0, Vec::new());
    for case in cases() {
        let outcome = told(&place, &case);
        let problems = problems(&case, &outcome);
        if !problems.is_empty() {
            wrong.push(format!("{}: {problems:#?}\n{}", case.title, outcome.stderr));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 20, "only {count} sections were read");
}

/// Returns the differences between the program and the page.
fn problems(case: &Case<'_>, outcome: &Outcome) -> Vec<String> {
    if let Some((_, sentence)) = case.rows.iter().find(|(what, _)| *what == "refused") {
        let is_refused = outcome.code == Some(2) && outcome.stderr.contains(sentence);
        return if is_refused { Vec::new() } else { vec!["it is not refused so".into()] };
    }
    if outcome.code != Some(0) {
        return vec!["it is refused".into()];
    }
    let settings: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let mut problems = Vec::new();
    let mut warnings: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.contains("have no effect")).collect();
    for (what, expected) in &case.rows {
        if *what == "warning" {
            if !outcome.stderr.contains(expected) {
                problems.push(format!("no warning: {expected}"));
            }
        } else if what.starts_with("--") {
            let Some(at) = warnings.iter().position(|line| line.contains(expected)) else {
                problems.push(format!("no warning for {what}"));
                continue;
            };
            let warning = warnings.remove(at);
            let named = warning.split(['"', ' ', '=']).filter(|word| word.starts_with("--"));
            if named.collect::<BTreeSet<_>>() != what.split(' ').collect() {
                problems.push(format!("another warning for {what}"));
            }
        } else {
            let setting = &settings[what];
            if setting["value"] != **expected || setting["source"] == "default" {
                problems.push(format!("{what} is {setting}"));
            }
        }
    }
    problems.extend(warnings.iter().map(|line| format!("not on the page: {line}")));
    // Every flag and variable of the line is a setting; none is ignored.
    let given = settings.as_object().expect("an object").values();
    let given = given.filter(|setting| setting["source"] != "default").count();
    let flags = case.arguments.iter().filter(|word| word.starts_with('-')).count();
    // A variable of the entry script itself.
    let is_own = |name: &str| name == "OP_NODE_INTERNAL_IP";
    let variables = case.variables.iter();
    let variables = variables.filter(|(name, value)| !value.is_empty() && !is_own(name)).count();
    if given != flags + variables {
        problems.push(format!("{given} settings are given, and {flags} + {variables} are there"));
    }
    problems
}

#[test]
fn the_program_acts_as_a_node_under_the_names_of_others() {
    let place = place();
    let binary = env!("CARGO_BIN_EXE_opp2p");
    for (name, arguments, sentence) in [
        ("op-node", &["--network", "no-such-chain"][..], "unknown network"),
        ("op-node", &[], "no chain is given"),
        ("base-consensus", &["node", "--network", "no-such-chain"], "unknown network"),
        ("base-consensus", &["follow"], "--l2.labels"),
        ("other", &["--network", "op-mainnet"], "--network"),
    ] {
        let link = place.path(name);
        if !link.exists() {
            std::os::unix::fs::symlink(binary, &link).expect("a link");
        }
        let mut command = place.opp2p(arguments);
        command = {
            let mut renamed = std::process::Command::new(&link);
            renamed.args(command.get_args()).current_dir(place.path(""));
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => renamed.env(name, value),
                    None => renamed.env_remove(name),
                };
            }
            renamed
        };
        run(command, b"").refused(&[sentence]);
    }
}
