//! `kill -9` at any moment loses no block that was reported as stored.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use opp2p_store::{Batch, Store, StoredBlock, Writer, WriterConfig};

use crate::support::{again, extend, forked, hash, open, print_to_parent, role, store_of_role};

/// Returns a block whose size varies from nothing to several pages.
fn sized(number: u64, branch: u8, parent_branch: u8) -> StoredBlock {
    let size = usize::try_from(number * 7919 % 30_000).expect("small");
    forked(number, branch, parent_branch, size)
}

/// Returns the branch of a stored block, found by trying the few that exist.
fn branch_of(block: &StoredBlock) -> u8 {
    (0..=255)
        .find(|branch| hash(block.number, *branch) == block.hash)
        .expect("a block of this test")
}

/// The process to be killed: extends the chain for ever, with a reorg of two blocks now and then,
/// and reports stored blocks.
fn child() -> ! {
    let store = open(&store_of_role());
    print_to_parent("open");
    let writer = Writer::start(store.clone(), WriterConfig::default()).expect("starts");
    let (mut number, mut branch) = match store.head().expect("reads") {
        Some(head) => {
            let block = store.block_by_hash(head.hash).expect("reads").expect("the head is stored");
            (head.number, branch_of(&block))
        }
        None => (0, 0),
    };
    loop {
        let mut batch = Batch::default();
        if number > 2 && number.is_multiple_of(7) {
            // The last block and a new one on another branch; the head does not go down.
            let new = branch.wrapping_add(1);
            let below = store.canonical_by_number(number - 1);
            let Some(parent) = below.expect("reads").map(|block| branch_of(&block)) else {
                // Still queued: wait for the writer.
                std::thread::yield_now();
                continue;
            };
            batch = extend([sized(number, new, parent), sized(number + 1, new, new)]);
            batch.head = Some(number + 1);
            branch = new;
        } else {
            batch.blocks.push(sized(number + 1, branch, branch));
            batch.canonical.push((number + 1, hash(number + 1, branch)));
        }
        number += 1;
        let acknowledged = (number, branch);
        let mut waiting = Some(batch);
        while let Some(batch) = waiting.take() {
            let queued = writer.submit(batch, move |outcome| {
                outcome.expect("stored");
                print_to_parent(&format!("ack {} {}", acknowledged.0, acknowledged.1));
            });
            if let Err(full) = queued {
                waiting = Some(full.batch);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

struct Killed {
    acknowledged: Vec<(u64, u8)>,
    opened: bool,
}

/// Lets the child live for `life` after a line that begins with `from`, or after its start, and
/// kills it.
fn run_and_kill(test: &str, store: &Path, life: Duration, from: Option<&str>) -> Killed {
    let program = std::env::current_exe().expect("a program");
    let mut child: Child = again(&program, test, "killed", store)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let out = child.stdout.take().expect("piped");
    let (send, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            // The last line may be cut by the kill.
            let Ok(line) = line else { break };
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut seen = Vec::new();
    if let Some(from) = from {
        let patience = Instant::now() + Duration::from_secs(60);
        while !seen.iter().any(|line: &String| line.starts_with(from)) {
            let left = patience.saturating_duration_since(Instant::now());
            seen.push(lines.recv_timeout(left).expect("the child goes on"));
        }
    }
    std::thread::sleep(life);
    assert_eq!(child.try_wait().expect("asks"), None, "the child ended by itself: {seen:?}");
    child.kill().expect("kills");
    child.wait().expect("ends");
    reader.join().expect("no panic");
    seen.extend(lines.try_iter());
    let acknowledged = seen
        .iter()
        .filter_map(|line| {
            let mut words = line.strip_prefix("ack ")?.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    Killed { acknowledged, opened: seen.iter().any(|line| line == "open") }
}

fn check(store: &Store, acknowledged: &BTreeSet<(u64, u8)>, last: Option<(u64, u8)>) {
    for (number, branch) in acknowledged {
        let found = store.block_by_hash(hash(*number, *branch)).expect("reads");
        let found = found
            .unwrap_or_else(|| panic!("acknowledged block {number} of branch {branch} is lost"));
        // The message depends only on number and branch, not on the parent.
        let expected = sized(*number, *branch, *branch);
        assert_eq!(
            (found.number, found.hash, found.message),
            (*number, expected.hash, expected.message)
        );
    }
    let head = store.head().expect("reads");
    if let Some((number, _)) = last {
        let head = head.expect("a head");
        assert!(head.number >= number, "head {} is behind acknowledged {number}", head.number);
    }
    check_chain(store);
}

/// Checks that the canonical chain links from the head down to block 1.
fn check_chain(store: &Store) {
    let head = store.head().expect("reads");
    let chain = store.recent(usize::MAX).expect("reads");
    assert_eq!(chain.last().copied(), head);
    for (at, id) in chain.iter().enumerate() {
        assert_eq!(id.number, at as u64 + 1);
    }
    for pair in chain.windows(2) {
        assert_eq!(pair[1].parent_hash, pair[0].hash, "block {} does not link", pair[1].number);
    }
}

#[test]
fn kill_at_any_moment_loses_nothing_acknowledged() {
    if role().is_some() {
        child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let mut acknowledged = BTreeSet::new();
    let mut last = None;
    for round in 0..20u64 {
        let random = getrandom::u64().expect("random");
        // A third of the rounds may hit the start and the opening, the others the work.
        let from_open = round % 3 != 0;
        let life = Duration::from_micros(random % if from_open { 120_000 } else { 30_000 });
        let test = "crash::kill_at_any_moment_loses_nothing_acknowledged";
        let killed = run_and_kill(test, &path, life, from_open.then_some("open"));
        assert!(!from_open || killed.opened);
        for (number, branch) in killed.acknowledged {
            acknowledged.insert((number, branch));
            last = Some((number, branch));
        }
        println!(
            "round {round}: killed after {life:?}, {} blocks acknowledged so far",
            acknowledged.len()
        );
        let store = open(&path);
        check(&store, &acknowledged, last);
    }
    assert!(
        acknowledged.len() > 20,
        "only {} blocks were stored in all rounds",
        acknowledged.len()
    );
}

/// The process to be killed: grows a chain of some hundred blocks and rewinds it by most of them,
/// for ever. Each rewind is a batch, and each block of the new branch another one.
fn rewinding_child() -> ! {
    let store = open(&store_of_role());
    print_to_parent("open");
    let head = store.head().expect("reads");
    let (mut number, mut branch) = match head {
        Some(head) => {
            let block = store.block_by_hash(head.hash).expect("reads").expect("the head is stored");
            (head.number, branch_of(&block))
        }
        None => (0, 0),
    };
    loop {
        let long = extend((number + 1..=number + 300).map(|n| forked(n, branch, branch, 10)));
        store.commit(&long).expect("commits");
        let head = number + 300;
        let ancestor = head - (head - 1).min(290);
        let below = store.canonical_by_number(ancestor).expect("reads").expect("is stored");
        let below = branch_of(&below);
        store.commit(&Batch { cut: Some(ancestor + 1), ..Batch::default() }).expect("commits");
        branch = branch.wrapping_add(1);
        store.commit(&extend([forked(ancestor + 1, branch, below, 10)])).expect("commits");
        store.commit(&extend([forked(ancestor + 2, branch, branch, 10)])).expect("commits");
        number = ancestor + 2;
        print_to_parent(&format!("ack {number} {branch}"));
    }
}

#[test]
fn kill_in_the_middle_of_a_rewind_leaves_one_chain() {
    if role().is_some() {
        rewinding_child();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("blocks.redb");
    let mut acknowledged = 0;
    for round in 0..10 {
        let life = Duration::from_micros(getrandom::u64().expect("random") % 50_000);
        let from = if round % 2 == 0 { "ack" } else { "open" };
        let test = "crash::kill_in_the_middle_of_a_rewind_leaves_one_chain";
        let killed = run_and_kill(test, &path, life, Some(from));
        let store = open(&path);
        check_chain(&store);
        let head = store.canonical_head().expect("reads").map_or(0, |head| head.number);
        assert_eq!(store.canonical_by_number(head + 1).expect("reads"), None);
        for (number, branch) in &killed.acknowledged {
            let found = store.block_by_hash(hash(*number, *branch)).expect("reads");
            assert!(found.is_some(), "acknowledged block {number} of branch {branch} is lost");
        }
        acknowledged += killed.acknowledged.len();
    }
    assert!(acknowledged > 0, "no rewind was stored in all rounds");
}
