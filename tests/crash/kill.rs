//! `kill -9` of a node under load, in many rounds.
//!
//! A block is acknowledged once the node reports that it is stored: in a log line, which follows
//! the event for programs that embed a node, and in the RPC's status. After each start, the head is
//! at least that block. Every [`CHECK_ROUNDS`] rounds, and at the end, a copy of the file is read
//! block by block.

use crate::ROUNDS_TIME;
use crate::support::{Dice, Place, Sequencer, Victim, open};
use opp2p_core::chain::BlockId;
use opp2p_tests::report::{Row, Section};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Number of rounds between two reads of the file.
const CHECK_ROUNDS: usize = 10;
/// Interval between two blocks.
const PACE: Duration = Duration::from_millis(150);
/// Number of blocks that the node may be behind before a round waits for it to catch up.
const BEHIND: u64 = 30;
/// Maximum time of that wait.
const CATCHING_UP: Duration = Duration::from_secs(4);
/// One block in this many has about 1 MB.
const LARGE: u64 = 12;

pub(crate) async fn a_repeatedly_killed_node_loses_no_block_that_it_reported_stored() {
    rounds(200, ROUNDS_TIME).await;
}

/// Runs `most` rounds, or as many as the time allows, and reports them.
pub(crate) async fn rounds(most: usize, time: Duration) {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut sequencer = Sequencer::start().await;
    let observer = sequencer.observer("observer", &[sequencer.host.address().to_string()]).await;
    let peers = [sequencer.host.address().to_string(), observer.address().to_string()];
    let place = Place::new(&sequencer, "victim", &peers);
    // A first block, so that the victim gets a head.
    sequencer.publish(0).await;

    let mut tally = Tally::default();
    let begun = Instant::now();
    while tally.rounds < most && (begun.elapsed() < time || tally.rounds < 20) {
        tally.rounds += 1;
        let mut victim = place.start();
        // In a fifth of the rounds, the kill may hit the start and the opening of the store; in the
        // others it hits the running node.
        let at_start = tally.rounds.is_multiple_of(5) && tally.rounds > 1;
        if !at_start {
            tally.started(&victim);
        }
        let life =
            Duration::from_millis(if at_start { dice.below(150) } else { 100 + dice.below(1_800) });
        let until = Instant::now() + life;
        while Instant::now() < until {
            let bytes = if dice.below(LARGE) == 0 { 900_000 } else { 0 };
            sequencer.publish(bytes).await;
            sleep(PACE.min(until.saturating_duration_since(Instant::now()))).await;
        }
        // A node that is killed all the time would never fetch the blocks that it missed.
        if sequencer.head() > tally.acknowledged.unwrap_or_default() + BEHIND {
            tally.catches_up(&victim, &sequencer, &mut dice).await;
        }
        victim.kill();
        tally.killed(&victim, &sequencer);
        if tally.rounds.is_multiple_of(CHECK_ROUNDS) {
            tally.look(&victim, &sequencer);
            println!("{} rounds, {:?} is acknowledged", tally.rounds, tally.acknowledged);
        }
    }
    let victim = place.start();
    tally.started(&victim);
    let file = victim.file();
    victim.end();
    tally.check(&file, &sequencer);
    let acknowledged = tally.acknowledged.unwrap_or_default();
    println!(
        "{} rounds in {:.0} s, {} of them under load; {acknowledged} blocks said to be stored, \
         none lost",
        tally.rounds,
        begun.elapsed().as_secs_f64(),
        tally.with_news,
    );
    assert!(tally.with_news * 4 > tally.rounds, "too few rounds had any load");
    // The figures of an incomplete run are not reported.
    if tally.rounds == most {
        tally.tell(&file).expect("the report is written");
    }
}

#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    /// Number of rounds in which a block was stored.
    with_news: usize,
    /// The highest block reported as stored.
    acknowledged: Option<u64>,
    /// Times from the start of the process until the node reported that it runs, with its store
    /// open.
    starts: Vec<Duration>,
    /// The part of each of these times that the opening of the store took.
    openings: Vec<Duration>,
    blocks_read: usize,
}

impl Tally {
    /// Checks that the node runs again, with all blocks that it had acknowledged.
    fn started(&mut self, victim: &Victim) {
        let (_, head) = victim.started();
        self.starts.push(victim.begun.elapsed());
        self.openings.push(victim.opening_took());
        assert!(
            head >= self.acknowledged,
            "round {}: {head:?} after {:?}",
            self.rounds,
            self.acknowledged
        );
    }

    /// Waits until the node has stored almost all blocks, and is working on the rest.
    async fn catches_up(&mut self, victim: &Victim, sequencer: &Sequencer, dice: &mut Dice) {
        let begun = Instant::now();
        let goal = sequencer.head() - dice.below(BEHIND / 2);
        while victim.stored().into_iter().max() < Some(goal) && begun.elapsed() < CATCHING_UP {
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn killed(&mut self, victim: &Victim, sequencer: &Sequencer) {
        let highest = victim.stored().into_iter().max();
        assert!(highest <= Some(sequencer.head()), "{highest:?}");
        self.with_news += usize::from(highest > self.acknowledged);
        self.acknowledged = self.acknowledged.max(highest);
    }

    /// Reads the file as the kill left it. This needs a copy, because opening a file repairs it.
    fn look(&mut self, victim: &Victim, sequencer: &Sequencer) {
        let copy = sequencer.directory.path().join("copy.redb");
        if std::fs::copy(victim.file(), &copy).is_ok() {
            self.check(&copy, sequencer);
            std::fs::remove_file(&copy).unwrap();
        }
    }

    /// Checks that every block from the first to the last acknowledged one is present, whole and
    /// correct.
    fn check(&mut self, file: &std::path::Path, sequencer: &Sequencer) {
        let store = open(file, &sequencer.chain);
        let Some(last) = self.acknowledged else { return };
        let head = store.head().unwrap().expect("a head");
        assert!(head.number >= last);
        let chain = store.recent(usize::MAX).unwrap();
        let first = chain.first().expect("blocks").number;
        for number in first..=last {
            let found = store.canonical_by_number(number).unwrap();
            let found =
                found.unwrap_or_else(|| panic!("block {number} of {first}..={last} is lost"));
            let id = BlockId::new(found.number, found.hash);
            assert_eq!(id, BlockId::new(number, sequencer.hashes[number as usize - 1]));
            self.blocks_read += 1;
        }
    }

    fn tell(&self, file: &std::path::Path) -> std::io::Result<()> {
        let mut starts = self.starts.clone();
        starts.sort();
        let slowest = *starts.last().expect("starts");
        let opening = self.openings.iter().max().copied().expect("starts");
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let megabytes = std::fs::metadata(file)?.len() / 1_000_000;
        Section {
            name: "30-crashes".to_owned(),
            title: "Killed again and again".to_owned(),
            command: "cargo all-tests -- crash-rounds".to_owned(),
            about: "`opp2p node`, which follows a chain of up to six blocks a second, one in \
                    twelve of about 1 MB, is ended by `kill -9` at a random moment and started \
                    again on the same store. A block is acknowledged when the node's log says that \
                    it is stored."
                .to_owned(),
            rows: vec![
                Row::new("Rounds", self.rounds.to_string()).held_to("200", self.rounds >= 200),
                Row::new("Rounds in which blocks were stored", self.with_news.to_string()),
                Row::new("Blocks acknowledged", self.acknowledged.unwrap_or_default().to_string()),
                Row::new("Acknowledged blocks lost", "0").held_to("0", true),
                Row::new(
                    "From the start of the process to a node that runs, median",
                    ms(starts[starts.len() / 2]),
                ),
                Row::new("The same, slowest", ms(slowest)),
                Row::new("Of that the opening of the store with all checks, slowest", ms(opening))
                    .held_to("1000 ms", opening < Duration::from_secs(1))
                    .noted(format!("a store of {megabytes} MB at the end; debug build")),
            ],
        }
        .tell()
    }
}
