//! One attack from start to end: honest blocks before the attack, honest blocks under attack, and
//! the aftermath.

use libp2p::Multiaddr;
use opp2p_tests::report::{Row, Section};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

use crate::honest::{Delays, Observer, PATIENCE, Sequencer, chain, newcomer, publish};
use crate::victim::{Usage, Victim};

/// Maximum time of one attack, set-up included.
const LIMIT: Duration = Duration::from_secs(300);
/// Maximum number of log lines that an attack may cause. The log shows at most 20 lines of each
/// kind in half a minute, and there are several kinds.
const LINES: usize = 120;
/// Slack of most attacks on busy machines: a second, compared with [`NOISE`].
pub(crate) const SLACK: f64 = 40.0;
/// Delay below which no ratio counts: one time slice of the scheduler on a busy machine.
const NOISE: Duration = Duration::from_millis(25);

/// The attacked node, as an attacker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) tcp: Multiaddr,
    pub(crate) ws: Multiaddr,
    pub(crate) rpc: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// For observing the effect of the attack.
    pub(crate) victim: Arc<Victim>,
    /// Time at which the attack ends, or shortly after.
    pub(crate) until: Instant,
    /// Ids of the gossip messages so far.
    pub(crate) ids: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Whether figures are measured, as opposed to a quick check.
    pub(crate) is_long: bool,
}

impl Target {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// An attack's report.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttackReport {
    /// Peers that must be banned in the end.
    pub(crate) banned: Vec<String>,
    /// Description of the attack's extent.
    pub(crate) what: String,
    /// An expectation that failed.
    pub(crate) wrong: Option<String>,
}

type Run = fn(Target) -> Pin<Box<dyn Future<Output = AttackReport> + Send>>;

/// An attack and its maximum cost.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Maximum growth of the node's memory, in MB.
    pub(crate) memory: u64,
    /// Maximum number of additional file descriptors.
    pub(crate) descriptors: u64,
    /// Maximum p99 delay of an honest block as a multiple of the usual one, in a test on an
    /// arbitrary machine. The goal is twice.
    pub(crate) slack: f64,
    pub(crate) run: Run,
}

/// Lengths of the phases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    warm: usize,
    quiet: usize,
    attacked: usize,
    every: Duration,
    is_long: bool,
}

impl Size {
    /// For tests on arbitrary machines.
    pub(crate) const SHORT: Self = Self {
        warm: 8,
        quiet: 15,
        attacked: 40,
        every: Duration::from_millis(100),
        is_long: false,
    };
    /// For measured figures.
    pub(crate) const LONG: Self = Self {
        warm: 20,
        quiet: 100,
        attacked: 200,
        every: Duration::from_millis(100),
        is_long: true,
    };
}

/// Measured cost of an attack.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    quiet: Delays,
    attacked: Delays,
    before: Usage,
    most: Usage,
    after: Usage,
    processor: f64,
    lines: usize,
    deeds: AttackReport,
    unbanned: usize,
    staying: usize,
    size: Size,
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

impl Outcome {
    /// Returns the growth of memory, in MB.
    const fn grown(&self) -> u64 {
        self.most.memory.saturating_sub(self.before.memory) / 1024
    }

    /// Returns the ratio of the delays at the 99th percentile, under attack to before the attack.
    /// The latter counts as at least [`NOISE`].
    fn ratio(&self) -> f64 {
        let (quiet, attacked) = (self.quiet.at(0.99).max(NOISE), self.attacked.at(0.99));
        attacked.as_secs_f64() / quiet.as_secs_f64()
    }

    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "{} blocks; p50 {} -> {}, p99 {} -> {}; +{} MB (then {:+} MB), +{} descriptors, {} \
             threads, {:.0} % of a core, {} lines",
            self.attacked.len(),
            milliseconds(self.quiet.at(0.5)),
            milliseconds(self.attacked.at(0.5)),
            milliseconds(self.quiet.at(0.99)),
            milliseconds(self.attacked.at(0.99)),
            self.grown(),
            (self.after.memory as i64 - self.before.memory as i64) / 1024,
            self.most.descriptors.saturating_sub(self.before.descriptors),
            self.most.threads,
            self.processor * 100.0,
            self.lines,
        );
        if !self.deeds.banned.is_empty() {
            let banned = self.deeds.banned.len() - self.unbanned;
            let _ = write!(text, "; {banned} of {} banned", self.deeds.banned.len());
        }
        if !self.deeds.what.is_empty() {
            let _ = write!(text, "; {}", self.deeds.what);
        }
        text
    }

    /// # Errors
    /// The first bound that is exceeded.
    pub(crate) fn check(&self, attack: &Attack) -> Result<(), String> {
        let descriptors = self.most.descriptors.saturating_sub(self.before.descriptors);
        let held = [
            (self.deeds.wrong.is_none(), self.deeds.wrong.clone().unwrap_or_default()),
            (
                self.grown() <= attack.memory,
                format!("{} MB more, bound {}", self.grown(), attack.memory),
            ),
            (
                descriptors <= attack.descriptors,
                format!("{descriptors} descriptors more, bound {}", attack.descriptors),
            ),
            (
                self.most.threads <= self.before.threads + 4,
                format!("{} threads, {} before", self.most.threads, self.before.threads),
            ),
            (self.lines <= LINES, format!("{} lines in the log, bound {LINES}", self.lines)),
            (self.unbanned == 0, format!("{} of the attackers are not banned", self.unbanned)),
            (self.staying == 0, format!("{} of the attackers stay connected", self.staying)),
            (
                self.after.descriptors <= self.before.descriptors + 8,
                format!(
                    "{} descriptors in the end, {} before",
                    self.after.descriptors, self.before.descriptors
                ),
            ),
            (
                self.ratio() <= if self.size.is_long { 2.0 } else { attack.slack },
                format!("honest blocks take {:.1} times as long", self.ratio()),
            ),
        ];
        match held.into_iter().find(|(is_kept, _)| !is_kept) {
            Some((_, what)) => Err(format!("{what}\n  {}", self.summary())),
            None => Ok(()),
        }
    }

    fn rows(&self, attack: &Attack) -> Vec<Row> {
        let quiet = self.quiet.at(0.99);
        let delay = Row::new(
            format!("{}: p99 of honest blocks, in peace {}", attack.name, milliseconds(quiet)),
            milliseconds(self.attacked.at(0.99)),
        );
        let memory = Row::new(format!("{}: memory", attack.name), format!("+{} MB", self.grown()));
        let mut rows = vec![
            delay.held_to(
                format!("{}, or {}", milliseconds(quiet * 2), milliseconds(NOISE * 2)),
                self.ratio() <= 2.0,
            ),
            memory.held_to(format!("+{} MB", attack.memory), self.grown() <= attack.memory).noted(
                format!(
                    "{}{}; {:.0} % of a core; {} lines of log",
                    attack.what,
                    if self.deeds.what.is_empty() {
                        String::new()
                    } else {
                        format!("; {}", self.deeds.what)
                    },
                    self.processor * 100.0,
                    self.lines
                ),
            ),
        ];
        let all = self.deeds.banned.len();
        if all > 0 {
            let row =
                Row::new(format!("{}: banned", attack.name), format!("{}", all - self.unbanned));
            rows.push(row.held_to(format!("{all}"), self.unbanned == 0));
        }
        rows
    }
}

/// Runs an attack.
pub(crate) fn run(attack: &Attack, size: Size) -> Outcome {
    let threads = |count| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .enable_all()
            .build()
            .expect("threads")
    };
    // Separate runtimes, so that the attackers' tasks don't delay the honest nodes'.
    let (honest, attackers) = (threads(2), threads(2));
    let outcome =
        honest.block_on(async { timeout(LIMIT, staged(attack, size, attackers.handle())).await });
    attackers.shutdown_background();
    outcome.unwrap_or_else(|_| panic!("it does not end within {} s", LIMIT.as_secs()))
}

async fn staged(attack: &Attack, size: Size, attackers: &tokio::runtime::Handle) -> Outcome {
    let directory = tempfile::Builder::new().prefix("opp2p-honest-").tempdir().unwrap();
    let mut sequencer = Sequencer::start(&directory).await;
    let victim = Arc::new(Victim::start(&chain(), &sequencer.address()).await);
    sequencer.until_heard().await;
    let mut observer = Observer::start(&directory, &victim.tcp).await;
    observer.expect_next_block(&mut sequencer).await;

    publish(&mut sequencer, &mut observer, size.warm, size.every).await;
    let quiet = publish(&mut sequencer, &mut observer, size.quiet, size.every).await;

    let (before, lines, processor) = (victim.usage(), victim.log().len(), victim.processor());
    let started = Instant::now();
    let watch = Watch::start(&victim);
    let time = size.every * u32::try_from(size.attacked).unwrap();
    let target = Target {
        tcp: victim.tcp.clone(),
        ws: victim.ws.clone(),
        rpc: victim.rpc,
        metrics: victim.metrics,
        victim: Arc::clone(&victim),
        until: started + time,
        ids: sequencer.ids(),
        is_long: size.is_long,
    };
    let attacking = attackers.spawn((attack.run)(target));
    let attacked = publish(&mut sequencer, &mut observer, size.attacked, size.every).await;
    let deeds = attacking.await.expect("the attack itself does not fail");
    let took = started.elapsed();
    let processor = (victim.processor() - processor).as_secs_f64() / took.as_secs_f64();
    let most = watch.end();

    // The aftermath.
    let honest = [sequencer.peer_id(), observer.host.peer_id().to_string()];
    let started = Instant::now();
    let mut staying;
    loop {
        staying = victim.connected().await.iter().filter(|peer| !honest.contains(peer)).count();
        let is_quiet = victim.usage().descriptors <= before.descriptors + 8;
        if (staying == 0 && is_quiet) || started.elapsed() > PATIENCE {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let banned = victim.banned().await;
    let unbanned = deeds.banned.iter().filter(|id| !banned.contains(id)).count();
    assert!(!banned.iter().any(|id| honest.contains(id)), "an honest node is banned");
    newcomer(&directory, &mut sequencer, &mut observer, &victim.tcp).await;
    assert_eq!(victim.get("/healthz").await.0, 200, "the node says that it is well");
    assert_eq!(victim.get("/readyz").await.0, 200, "the node says that it is ready");
    let after = victim.usage();
    let lines = victim.log()[lines..].iter().filter(|line| !is_chain_line(line)).count();
    observer.host.stop().await;
    Outcome {
        quiet,
        attacked,
        before,
        most: most.most(after),
        after,
        processor,
        lines,
        deeds,
        unbanned,
        staying,
        size,
    }
}

/// Returns `true` if a line of the log is about an honest block.
fn is_chain_line(line: &str) -> bool {
    line.contains(" block ") && line.contains("number=")
}

/// Samples a node's resource usage every 25 ms.
struct Watch {
    stop: Arc<AtomicBool>,
    looking: Option<std::thread::JoinHandle<Usage>>,
}

impl Watch {
    fn start(victim: &Arc<Victim>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (victim, asked) = (Arc::clone(victim), Arc::clone(&stop));
        let looking = std::thread::spawn(move || {
            let mut most = Usage::default();
            while !asked.load(Ordering::Relaxed) {
                most = most.most(victim.usage());
                std::thread::sleep(Duration::from_millis(25));
            }
            most
        });
        Self { stop, looking: Some(looking) }
    }

    fn end(mut self) -> Usage {
        self.stop.store(true, Ordering::Relaxed);
        let looking = self.looking.take().expect("it ends once");
        looking.join().expect("the node runs until the end")
    }
}

/// A failing attack must not leave the thread behind, because the thread keeps the node alive.
impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            let _ = looking.join();
        }
    }
}

/// Runs the longer form of the attacks whose names contain `word`, and reports their cost.
pub(crate) fn report(attacks: impl Iterator<Item = &'static Attack>, word: &str) -> ExitCode {
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for attack in attacks.filter(|attack| attack.name.contains(word)) {
        let outcome = run(attack, Size::LONG);
        println!("{}: {}", attack.name, outcome.summary());
        if let Err(what) = outcome.check(attack) {
            missed.push(format!("{}: {what}", attack.name));
        }
        rows.extend(outcome.rows(attack));
    }
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let section = Section {
        name: "40-attack".to_owned(),
        title: "Under attack".to_owned(),
        command: "cargo all-tests -- attack-report".to_owned(),
        about: format!(
            "A node as a process of its own, its sequencer behind it, and an observer who gets \
             blocks through it alone: {} blocks in peace, then {} under attack, ten a second, each \
             of 3 kB to 1 MB. All of them on {cores} cores with their attackers, who take what the \
             node leaves. Delays are from publication at the sequencer to the observer's handing \
             on. What misses is the gossip library's own work in the task that drives the sockets: \
             it unpacks and names a message before anybody is asked about it (bombs), and takes \
             every control message whole, of which neither the number nor the processor time can \
             be bounded from outside (IHAVE, IWANT, IDONTWANT, and a copy of each message for \
             everybody who does not read).",
            Size::LONG.quiet,
            Size::LONG.attacked
        ),
        rows,
    };
    let told = section.tell();
    missed.iter().for_each(|what| eprintln!("missed: {what}"));
    if let Err(error) = told {
        eprintln!("The section can't be kept: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
