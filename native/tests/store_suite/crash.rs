//! `kill -9` at any moment loses nothing that was reported as stored.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use opp2p::store::{Batch, Store, StoredBlock, Writer, WriterConfig};

use crate::support::{again, extend, forked, hash, open, role, store_of_role, tell_parent};

/// Blocks of sizes from nothing to several pages.
fn sized(number: u64, branch: u8, parent_branch: u8) -> StoredBlock {
    let size = usize::try_from(number * 7919 % 30_000).expect("small");
    forked(number, branch, parent_branch, size)
}

/// The branch of a stored block: found by trying the few that exist.
fn branch_of(block: &StoredBlock) -> u8 {
    (0..=255).find(|branch| hash(block.number, *branch) == block.hash).expect("a block of this test")
}

/// The killed one: extends the chain for ever, with a reorg of two blocks now and then, and says what is
/// stored.
fn child() -> ! {
    let store = open(&store_of_role());
    tell_parent("open");
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
            // The last block and a new one on another branch; the head goes down by none.
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
                tell_parent(&format!("ack {} {}", acknowledged.0, acknowledged.1));
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

/// Lets the child live for `life` after its first word, or from its start if that comes first, and kills it.
fn run_and_kill(store: &Path, life: Duration, from_open: bool) -> Killed {
    let program = std::env::current_exe().expect("a program");
    let mut child: Child =
        again(&program, "crash::kill_at_any_moment_loses_nothing_acknowledged", "killed", store)
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
    if from_open {
        let patience = Instant::now() + Duration::from_secs(60);
        while !seen.iter().any(|line: &String| line == "open") {
            let left = patience.saturating_duration_since(Instant::now());
            seen.push(lines.recv_timeout(left).expect("the child opens its store"));
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
        let found = found.unwrap_or_else(|| panic!("acknowledged block {number} of branch {branch} is lost"));
        // The message follows from number and branch alone, whatever the parent was.
        let expected = sized(*number, *branch, *branch);
        assert_eq!((found.number, found.hash, found.message), (*number, expected.hash, expected.message));
    }
    let head = store.head().expect("reads");
    if let Some((number, _)) = last {
        let head = head.expect("a head");
        assert!(head.number >= number, "head {} is behind acknowledged {number}", head.number);
    }
    // The canonical chain links from the head down to block 1.
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
        let killed = run_and_kill(&path, life, from_open);
        assert!(!from_open || killed.opened);
        for (number, branch) in killed.acknowledged {
            acknowledged.insert((number, branch));
            last = Some((number, branch));
        }
        println!("round {round}: killed after {life:?}, {} blocks acknowledged so far", acknowledged.len());
        let store = open(&path);
        check(&store, &acknowledged, last);
    }
    assert!(acknowledged.len() > 20, "only {} blocks were stored in all rounds", acknowledged.len());
}
