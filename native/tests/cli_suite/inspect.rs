//! `opp2p inspect`, as a user runs it.

use crate::chain::{Blocks, rollup_json};
use crate::support::{Outcome, Place, fixtures};
use opp2p_core::chain::Fork;
use opp2p_core::payload::snappy;
use opp2p_core::sequencer::LocalSigner;
use serde_json::{Value, json};

/// The keys of the answer, in their documented order.
const KEYS: [&str; 17] = [
    "verdict",
    "reason",
    "topic",
    "chain_id",
    "block_number",
    "block_hash",
    "parent_hash",
    "timestamp",
    "timestamp_ms",
    "tx_count",
    "signer",
    "message_id",
    "compressed_bytes",
    "payload_bytes",
    "schedule_rule",
    "schedule_says",
    "remedy",
];

/// Message ids by topic, computed independently of this project, and payload sizes in bytes.
const KNOWN: [(&str, &str, u64); 3] = [
    ("v1", "e7b702be0407154b9e2ee8e1cb1b6cc92fe2bab9", 573 - 65),
    ("v2", "e19fcee14ddfe3552aaf9600e98b8e4191f2984e", 577 - 65),
    ("v3", "a25d6aa579150b0ee55a00e7119a055de26e535e", 625 - 65),
];

/// A captured message from a file.
struct Captured {
    topic: String,
    signer: String,
    timestamp: String,
    hex: String,
    file: Value,
}

impl Captured {
    fn bytes(&self) -> Vec<u8> {
        alloy_primitives::hex::decode(&self.hex).unwrap()
    }
}

/// Returns every captured message of the fixtures.
fn captured() -> Vec<Captured> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("gossip_") {
            continue;
        }
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let text = |field: &str| file[field].as_str().unwrap().to_string();
        found.push(Captured {
            topic: text("topic"),
            signer: text("signer"),
            timestamp: file["timestamp"].to_string(),
            hex: text("message_snappy_hex"),
            file,
        });
    }
    assert!(found.len() >= KNOWN.len());
    found
}

fn of_topic(topic: &str) -> Captured {
    captured().into_iter().find(|message| message.topic == topic).unwrap()
}

/// Returns the test chain's configuration with the topic's fork as its newest.
fn rollup(topic: &str) -> String {
    let fork = match topic {
        "v1" => None,
        "v2" => Some(Fork::Canyon),
        "v3" => Some(Fork::Ecotone),
        _ => Some(Fork::Isthmus),
    };
    rollup_json(100, fork).to_string()
}

/// Parses the JSON answer, and checks its keys and their order.
#[track_caller]
fn answer(outcome: &Outcome) -> Value {
    assert_eq!(outcome.stderr, "");
    assert_eq!(outcome.stdout.lines().count(), 1);
    let mut rest = outcome.stdout.as_str();
    for key in KEYS {
        let quoted = format!("\"{key}\":");
        let at = rest
            .find(&quoted)
            .unwrap_or_else(|| panic!("{key} is missing or not in order: {outcome:?}"));
        rest = &rest[at + quoted.len()..];
    }
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value.as_object().unwrap().len(), KEYS.len());
    value
}

#[test]
fn every_captured_message_is_accepted_at_its_time_with_all_its_values() {
    let place = Place::new();
    for message in captured() {
        let rollup = place.file("rollup.json", rollup(&message.topic));
        let file = place.file("message", message.bytes());
        let outcome = place.run(&[
            "inspect",
            "--rollup.config",
            &rollup,
            "--topic",
            &message.topic,
            "--now",
            &message.timestamp,
            "--signer",
            &message.signer,
            "--json",
            &file,
        ]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let (_, id, payload_bytes) =
            KNOWN.into_iter().find(|known| known.0 == message.topic).unwrap();
        assert_eq!(
            answer(&outcome),
            json!({
                "verdict": "accept",
                "reason": null,
                "topic": message.topic,
                "chain_id": 100,
                "block_number": message.file["block_number"],
                "block_hash": message.file["block_hash"],
                "parent_hash": format!("0x{}", "0".repeat(64)),
                "timestamp": message.file["timestamp"],
                "timestamp_ms": message.file["timestamp"].as_u64().unwrap() * 1000,
                "tx_count": 0,
                "signer": message.signer,
                "message_id": id,
                "compressed_bytes": message.bytes().len(),
                "payload_bytes": payload_bytes,
                "schedule_rule": null,
                "schedule_says": null,
                "remedy": null,
            })
        );
    }
}

#[test]
fn files_standard_input_bytes_and_hexadecimal_text_are_the_same_message() {
    let place = Place::new();
    let message = of_topic("v3");
    let rollup = place.file("rollup.json", rollup("v3"));
    let common = [
        "inspect",
        "--rollup.config",
        &rollup,
        "--topic",
        "/optimism/100/2/blocks",
        "--now",
        &message.timestamp,
        "--signer",
        &message.signer,
        "--json",
    ];
    let with = |more: &[&str], input: &[u8]| {
        let outcome = place.run_with_input(&[&common, more].concat(), input);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        outcome.stdout
    };
    let bytes = message.bytes();
    let (head, tail) = message.hex.split_at(101);
    let spread = format!("0x{head}\n  {}\r\n", tail.to_uppercase());
    let expected = with(&[&place.file("bytes", &bytes)], b"");
    assert_eq!(with(&["-"], &bytes), expected);
    assert_eq!(with(&["--hex", &place.file("hex", &message.hex)], b""), expected);
    assert_eq!(with(&["--hex", "-"], spread.as_bytes()), expected);
}

#[test]
fn plain_output_shows_the_verdict_first_and_then_the_values() {
    let place = Place::new();
    let message = of_topic("v1");
    let rollup = place.file("rollup.json", rollup("v1"));
    let file = place.file("message", message.bytes());
    let common = [
        "inspect",
        "--rollup.config",
        &rollup,
        "--topic",
        "V1",
        &file,
        "--now",
        &message.timestamp,
    ];
    let accepted = place.run(&[&common[..], &["--signer", &message.signer]].concat());
    assert_eq!((accepted.code, accepted.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = accepted.stdout.lines().collect();
    assert_eq!(lines[0], "accept");
    for part in [
        "/optimism/100/0/blocks",
        KNOWN[0].1,
        "0xe60be000",
        "1725271882",
        "0x9965507D1a55",
        "508 bytes",
    ] {
        assert!(accepted.stdout.contains(part), "{part} is not in: {}", accepted.stdout);
    }

    let ignored = place.run(&common);
    assert_eq!(ignored.code, Some(1));
    assert_eq!(
        ignored.stdout.lines().next(),
        Some("ignore: no unsafe block signer is configured (no_signer)")
    );
    assert_eq!(
        ignored.stdout.lines().last(),
        Some("hint: --signer ADDR names the unsafe block signer")
    );
}

#[test]
fn a_broken_rule_is_named_and_the_message_is_decoded_as_far_as_possible() {
    let place = Place::new();
    let message = of_topic("v2");
    let (bytes, other) = (message.bytes(), format!("0x{}", "12".repeat(20)));
    let rollup = place.file("rollup.json", rollup("v2"));
    let at = |seconds: i64| (message.timestamp.parse::<i64>().unwrap() + seconds).to_string();
    let judge = |more: &[&str]| {
        let common = ["inspect", "--rollup.config", &rollup, "--json", "-"];
        let outcome = place.run_with_input(&[&common, more].concat(), &bytes);
        (outcome.code, answer(&outcome))
    };
    let signer = message.signer.as_str();
    // Wrong arguments, and the rule that rejects the message.
    let cases: [(&[&str], &str, &str); 7] = [
        (&["--topic", "v2", "--now", &at(0), "--signer", &other], "reject", "wrong_signer"),
        (&["--topic", "v2", "--now", &at(0)], "ignore", "no_signer"),
        (
            &["--topic", "v2", "--now", &at(0), "--signer", &format!("0x{}", "0".repeat(40))],
            "ignore",
            "no_signer",
        ),
        (&["--topic", "v2", "--now", &at(61), "--signer", signer], "reject", "too_old"),
        (&["--topic", "v2", "--now", &at(-6), "--signer", signer], "reject", "too_new"),
        // The current time is long after the message.
        (&["--topic", "v2", "--signer", signer], "reject", "too_old"),
        (&["--topic", "v1", "--now", &at(0), "--signer", signer], "reject", "payload"),
    ];
    for (arguments, verdict, reason) in cases {
        let (code, answer) = judge(arguments);
        assert_eq!(code, Some(1), "{answer}");
        assert_eq!(
            (&answer["verdict"], &answer["reason"]),
            (&json!(verdict), &json!(reason)),
            "{answer}"
        );
        assert_eq!(answer["signer"], json!(signer), "{answer}");
        let readable = reason != "payload";
        assert_eq!(answer["block_hash"].is_string(), readable, "{answer}");
        assert_eq!(answer["tx_count"] == json!(0), readable, "{answer}");
    }
    // The window includes its bounds.
    for edge in [60, -5] {
        assert_eq!(
            judge(&["--topic", "v2", "--now", &at(edge), "--signer", signer]).0,
            Some(0),
            "{edge}"
        );
    }
    // A signature for another chain recovers to another address.
    let elsewhere = place.run_with_input(
        &["inspect", "--network", "op-mainnet", "--topic", "v2", "--now", &at(0), "--json", "-"],
        &bytes,
    );
    let answer = answer(&elsewhere);
    assert_eq!(
        (elsewhere.code, &answer["reason"], &answer["chain_id"]),
        (Some(1), &json!("wrong_signer"), &json!(10))
    );
    assert_ne!(answer["signer"], json!(signer));
}

#[test]
fn a_block_that_only_the_fork_schedule_refuses_is_explained_with_the_remedy() {
    let place = Place::new();
    let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let body = alloy_primitives::hex::decode(Blocks::new().next(100).line).unwrap();
    let message = snappy::compress(&signer.sign_body(100, &body));
    let judge = |fork, more: &[&str]| {
        let rollup = place.file("rollup.json", rollup_json(100, Some(fork)).to_string());
        let address = signer.address().to_string();
        let common =
            ["inspect", "--rollup.config", &rollup, "--topic", "v4", "--signer", &address, "-"];
        place.run_with_input(&[&common, more].concat(), &message)
    };

    let outcome = judge(Fork::Isthmus, &["--json"]);
    let told = answer(&outcome);
    assert_eq!(outcome.code, Some(1), "{told}");
    assert_eq!(
        (&told["verdict"], &told["reason"], &told["schedule_rule"]),
        (&json!("ignore"), &json!("fork_blob_gas"), &json!("fork_blob_gas")),
        "{told}"
    );
    let says = told["schedule_says"].as_str().unwrap();
    assert_eq!(says, "jovian is not planned, and blob gas used is 0 before it");
    let remedy = told["remedy"].as_str().unwrap();
    assert!(remedy.contains("the time of jovian"), "{remedy}");

    let text = judge(Fork::Isthmus, &[]).stdout;
    assert!(text.starts_with("ignore: "), "{text}");
    for part in ["rule          fork_blob_gas: block 1 of ", "uses 40000 blob gas", says, remedy] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(judge(Fork::Jovian, &[]).code, Some(0));
}

#[test]
fn a_hint_is_shown_if_the_verdict_depends_on_missing_arguments() {
    let place = Place::new();
    let message = of_topic("v2");
    let rollup = place.file("rollup.json", rollup("v2"));
    let file = place.file("message", message.bytes());
    let common = ["inspect", "--rollup.config", &rollup, "--topic", "v2", &file];
    let last = |more: &[&str]| {
        let outcome = place.run(&[&common[..], more].concat());
        outcome.stdout.lines().last().unwrap().to_string()
    };
    let hint = last(&["--signer", &message.signer]);
    assert!(hint.contains(&format!("--now {}", message.timestamp)), "{hint}");
    let other = "0x1212121212121212121212121212121212121212";
    let hint = last(&["--now", &message.timestamp, "--signer", other]);
    assert!(hint.starts_with("hint: ") && hint.contains(other), "{hint}");
}

/// Returns incompressible bytes, the same in every run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn garbage_of_any_shape_is_rejected_with_unknown_values_null() {
    let place = Place::new();
    let rollup = place.file("rollup.json", rollup("v2"));
    let message = of_topic("v2");
    let (whole, signer) = (message.bytes(), message.signer.as_str());
    let zeros = |announced: &[u8]| [announced, &[0; 40]].concat();
    let shapes: [(&str, Vec<u8>, &str); 10] = [
        ("nothing", vec![], "snappy_header"),
        ("an endless length", vec![0xff; 5], "snappy_header"),
        ("4 GiB announced", zeros(&[0xff, 0xff, 0xff, 0xff, 0x0f]), "announced_too_long"),
        ("one byte over 10 MiB announced", zeros(&[0x81, 0x80, 0x80, 0x05]), "announced_too_long"),
        ("10 MiB announced", zeros(&[0x80, 0x80, 0x80, 0x05]), "snappy_body"),
        ("65 bytes announced", zeros(&[65]), "announced_too_short"),
        ("half a message", whole[..whole.len() / 2].to_vec(), "snappy_body"),
        ("a message and more", [&whole[..], b"more"].concat(), "snappy_body"),
        ("text", b"{\"jsonrpc\":\"2.0\"}".to_vec(), "snappy_body"),
        (
            "a million bytes of noise",
            [&[0x80, 0x80, 0x40][..], &noise(1_000_000)].concat(),
            "snappy_body",
        ),
    ];
    for topic in ["v1", "v4"] {
        for (shape, data, reason) in &shapes {
            let outcome = place.run_with_input(
                &[
                    "inspect",
                    "--rollup.config",
                    &rollup,
                    "--topic",
                    topic,
                    "--signer",
                    signer,
                    "--json",
                    "-",
                ],
                data,
            );
            let answer = answer(&outcome);
            assert_eq!(outcome.code, Some(1), "{shape}: {answer}");
            assert_eq!(answer["verdict"], json!("reject"), "{shape}: {answer}");
            assert_eq!(answer["reason"], json!(reason), "{shape}: {answer}");
            assert_eq!(answer["compressed_bytes"], json!(data.len()), "{shape}");
            assert_eq!(answer["message_id"].as_str().unwrap().len(), 40, "{shape}");
            for key in [
                "block_number",
                "block_hash",
                "parent_hash",
                "timestamp",
                "tx_count",
                "signer",
                "payload_bytes",
            ] {
                assert!(answer[key].is_null(), "{shape}: {answer}");
            }
        }
    }
    // The same in the text output.
    let outcome = place.run_with_input(
        &["inspect", "--rollup.config", &rollup, "--topic", "v1", "--signer", signer, "-"],
        &noise(70),
    );
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stdout.starts_with("reject: ") && outcome.stdout.contains("block         unknown")
    );
}

/// The announced size must not determine memory use: the system gives this process little.
#[cfg(target_os = "linux")]
#[test]
fn a_bomb_is_judged_in_little_memory() {
    let place = Place::new();
    // 10 MiB of zeros, which compress to almost nothing, and 4 GiB that are only announced.
    let mut zeros = vec![0x80, 0x80, 0x80, 0x05, 0x00, 0x00];
    let mut left = (10 << 20) - 1;
    while left > 0 {
        let copied = std::cmp::min(left, 64);
        zeros.extend([((copied - 1) << 2 | 2) as u8, 1, 0]);
        left -= copied;
    }
    // Zeros are not a block.
    for (data, reason) in
        [(zeros, "payload"), (vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0], "announced_too_long")]
    {
        let file = place.file("bomb", &data);
        let mut shell = std::process::Command::new("sh");
        let script = "ulimit -v 200000; exec \"$0\" inspect --topic v3 --json \"$1\"";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_opp2p"), &file]);
        let outcome = crate::support::run(shell, b"");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert_eq!(answer(&outcome)["reason"], json!(reason));
    }
}

#[test]
fn unreadable_input_is_named() {
    let place = Place::new();
    let directory = place.name("");
    let missing = place.name("missing");
    let odd = place.file("odd", "abc");
    let text = place.file("text", "hello, this is not hexadecimal");
    let inspect = |more: &[&str]| place.run(&[&["inspect", "--topic", "v3"], more].concat());
    inspect(&[&missing]).refused(&[&missing, "No such file"]);
    inspect(&[&directory]).refused(&[&directory, "directory"]);
    inspect(&["--hex", &odd]).refused(&[&odd, "not hexadecimal", "--hex"]);
    inspect(&["--hex", &text]).refused(&[&text, "not hexadecimal", "--hex"]);
}

#[test]
fn wrong_arguments_are_named_with_the_right_ones() {
    let place = Place::new();
    let file = place.file("message", "");
    let inspect = |more: &[&str]| place.run(&[&["inspect", file.as_str()], more].concat());
    inspect(&[]).refused(&["--topic"]);
    inspect(&["--topic", "v5"]).refused(&["\"v5\"", "v1, v2, v3 or v4"]);
    inspect(&["--topic", "/optimism/10/7/blocks"]).refused(&["/optimism/10/7/blocks", "chain 10"]);
    // The topic of another chain than the requested one.
    inspect(&["--topic", "/optimism/8453/2/blocks"])
        .refused(&["/optimism/8453/2/blocks", "chain 10"]);
    inspect(&["--topic", "v3", "--network", "base-sepola"])
        .refused(&["base-sepola", "base-sepolia"]);
    inspect(&["--topic", "v3", "--network", "nowhere-at-all"])
        .refused(&["nowhere-at-all", "op-mainnet"]);
    let both = inspect(&["--topic", "v3", "--network", "op-mainnet", "--rollup.config", "x"]);
    assert!(both.code == Some(1) && both.stderr.contains("--network takes precedence"), "{both:?}");
    inspect(&["--topic", "v3", "--signer", "0x12"]).refused(&[
        "--signer",
        "0x12",
        "40 hexadecimal digits",
    ]);
    inspect(&["--topic", "v3", "--signer", "me"]).refused(&["--signer", "me"]);
    inspect(&["--topic", "v3", "--now", "yesterday"]).refused(&["--now", "yesterday", "seconds"]);
    inspect(&["--topic", "v3", "--now=-1"]).refused(&["--now", "-1"]);
    inspect(&["--topic", "v3", "another-file"]).refused(&["another-file", "--help"]);
}

#[test]
fn an_unusable_chain_configuration_is_named_with_its_field() {
    let place = Place::new();
    let message = place.file("message", "");
    let inspect = |rollup: &str| {
        place.run(&["inspect", "--topic", "v3", "--rollup.config", rollup, message.as_str()])
    };
    let missing = place.name("missing.json");
    inspect(&missing).refused(&[&missing, "No such file"]);
    inspect(&place.name("")).refused(&["directory"]);
    let bad = |contents: &[u8], part: &str| {
        let file = place.file("bad.json", contents);
        inspect(&file).refused(&[&file, part]);
    };
    bad(b"", "JSON");
    bad(b"{\"genesis\":", "JSON");
    bad(&noise(3000), "JSON");
    bad(&vec![b' '; 300_000], "genesis file");
    let changed = |pointer: &str, value: Value| {
        let mut file = rollup_json(100, Some(Fork::Jovian));
        *file.pointer_mut(pointer).unwrap() = value;
        file.to_string()
    };
    let fields = [
        ("/l2_chain_id", json!(0), "`l2_chain_id`"),
        ("/l2_chain_id", json!("ten"), "`l2_chain_id`"),
        ("/l2_chain_id", json!(900), "`l1_chain_id`"),
        ("/l1_chain_id", json!(null), "`l1_chain_id`"),
        ("/block_time", json!(0), "`block_time`"),
        ("/block_time", json!(-2), "`block_time`"),
        ("/genesis/l2/hash", json!("0x12"), "`genesis.l2.hash`"),
        ("/genesis/l2_time", json!(1.5), "`genesis.l2_time`"),
        ("/fjord_time", json!(null), "`fjord_time`"),
        ("/ecotone_time", json!(50), "`fjord_time`"),
    ];
    for (pointer, value, field) in fields {
        bad(changed(pointer, value).as_bytes(), field);
    }
}
