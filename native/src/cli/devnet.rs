//! `opp2p devnet`: a whole network in one process, to watch and to measure.

use super::{End, Failure, NO, answer, remark, runtime};
use crate::devnet::{
    Member, Network, NetworkConfig, Publication, Report, Screen, Setup, Summary, unix_seconds,
};
use crate::host::{HostEvent, HostEventKind};
use opp2p_core::chain::{BlockId, Fork};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

/// How long the followers may take for the last block.
const LAST_BLOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Published blocks whose place on the followers' disks is checked at the end: the newest.
const CHECKED: usize = 10_000;
/// Time between two frames of the live view.
const FRAME: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of followers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    followers: u8,
    /// End after this many blocks [default: run until ended].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    blocks: Option<u64>,
    /// Seconds between two blocks; fractions are allowed.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = block_time)]
    block_time: Duration,
    /// Newest active fork: canyon, delta, ecotone, fjord, granite, holocene, isthmus or jovian.
    #[arg(long, value_name = "FORK", default_value = "jovian")]
    fork: Fork,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    /// Keep keys and blocks here, and go on from them next time [default: a temporary directory].
    #[arg(long = "data-dir", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn block_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use 0.01 to 3600 seconds".into())
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("opp2p-devnet-").tempdir().map_err(|error| {
            Failure::new(format!("can't make a temporary directory: {error}; give --data-dir"))
        })?),
    };
    let directory = temporary.as_ref().map(|made| made.path().to_path_buf()).or(args.data_dir.clone());
    let config = NetworkConfig {
        followers: usize::from(args.followers),
        block_time: args.block_time,
        fork: args.fork,
        directory: directory.unwrap_or_default(),
    };
    let Some(summary) = runtime()?.block_on(watch(args, &config))? else { return Ok(ExitCode::SUCCESS) };
    if args.json {
        answer(serde_json::to_string(&summary)?)?;
    } else {
        answer(&summary)?;
    }
    Ok(ExitCode::from(if summary.ok { 0 } else { NO }))
}

/// Where the run is shown.
enum Display {
    /// A live view.
    Screen(Box<Screen>),
    /// A line for each block on standard output.
    Lines,
    /// The same on standard error: standard output is for the summary.
    Aside,
}

impl Display {
    fn open(json: bool) -> Result<Self, Failure> {
        if json {
            return Ok(Self::Aside);
        }
        if !stdout().is_terminal() {
            return Ok(Self::Lines);
        }
        let screen = Screen::enter();
        let screen =
            screen.map_err(|error| Failure::new(format!("can't use the terminal: {error}; try `| cat`")))?;
        Ok(Self::Screen(Box::new(screen)))
    }

    /// Shows what is new; tells whether whoever watches wants to end.
    fn refresh(&mut self, report: &mut Report, now: Duration) -> Result<bool, Failure> {
        match self {
            Self::Screen(screen) => {
                screen.show(&report.snapshot(now))?;
                Ok(screen.wants_quit()?)
            }
            Self::Lines => {
                while let Some(line) = report.next_line(now) {
                    if !answer(line)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Aside => {
                while let Some(line) = report.next_line(now) {
                    // The lines are company for the summary, which does not depend on them.
                    let _ = writeln!(stderr(), "{line}");
                }
                Ok(false)
            }
        }
    }

    /// Ends the live view, or writes the lines of the blocks that did not come to everybody.
    fn close(mut self, report: &mut Report) -> Result<(), Failure> {
        if !matches!(self, Self::Screen(_)) {
            self.refresh(report, Duration::MAX)?;
        }
        Ok(())
    }
}

/// The whole run; `None` if it was asked to end before there was a network.
async fn watch(args: &Args, config: &NetworkConfig) -> Result<Option<Summary>, Failure> {
    let mut end = End::listen()?;
    let start = async {
        let network = Network::start(config).await?;
        let events = network.events();
        network.meshed().await?;
        Ok::<_, Failure>((network, events))
    };
    let (network, mut events) = tokio::select! {
        started = start => started?,
        () = end.asked() => return Ok(None),
    };
    let mut books = Books::open(&network, config);

    let mut display = Display::open(args.json)?;
    let (published_sender, mut published) = mpsc::channel(16);
    let enough = Notify::new();
    // Boxed so that it can be dropped before the network that it borrows.
    let mut producing = Box::pin(produce(&network, args, &enough, published_sender)?);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // When the run turned from making blocks to waiting for those that are under way.
    let mut ending: Option<Instant> = None;
    let mut produced = false;
    loop {
        tokio::select! {
            Some((member, event)) = events.recv() => books.event(member, event.as_ref()),
            Some(publication) = published.recv() => books.published(&publication),
            () = &mut producing, if !produced => {
                produced = true;
                ending.get_or_insert_with(Instant::now);
            }
            () = end.asked() => {
                // Who asks while the last blocks are under way does not want to wait for them.
                if ending.replace(Instant::now()).is_some() {
                    break;
                }
                enough.notify_one();
            }
            _ = frames.tick() => {
                for (member, host) in network.members() {
                    books.report.peers(member, host.status().borrow().peers);
                }
                let elapsed = books.elapsed();
                if display.refresh(&mut books.report, elapsed)? {
                    let again = ending.replace(Instant::now()).is_some();
                    if again && matches!(display, Display::Screen(_)) {
                        break;
                    }
                    enough.notify_one();
                }
                let late = ending.is_some_and(|at| at.elapsed() > LAST_BLOCK_TIMEOUT);
                let complete = produced && published.is_empty() && books.report.all_in_order();
                if late || complete {
                    break;
                }
            }
        }
    }
    display.close(&mut books.report)?;
    drop(producing);

    let elapsed = books.elapsed();
    let mut summary = books.report.summary(elapsed);
    summary.ok &= args.blocks.is_none_or(|wanted| summary.blocks >= wanted);
    let problems = tokio::select! {
        problems = books.problems(&network) => problems?,
        () = end.asked() => vec!["asked to end before the followers' disks were looked at".into()],
    };
    for problem in problems {
        remark(problem);
        summary.ok = false;
    }
    network.stop().await;
    Ok(Some(summary))
}

/// Makes and publishes blocks at the block time until there are enough.
fn produce<'a>(
    network: &'a Network,
    args: &Args,
    enough: &'a Notify,
    published: mpsc::Sender<Publication>,
) -> Result<impl Future<Output = ()> + use<'a>, Failure> {
    let mut maker = network.maker(0)?;
    let mut ticks = interval(args.block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blocks = args.blocks.unwrap_or(u64::MAX);
    Ok(async move {
        for _ in 0..blocks {
            // Between two blocks only: one that is on its way would be missing in the books.
            tokio::select! {
                biased;
                () = enough.notified() => return,
                _ = ticks.tick() => {}
            }
            let publication = network.publish(maker.next(unix_seconds())).await;
            let failed = publication.result.is_err();
            // A chain with a hole can't go on.
            if published.send(publication).await.is_err() || failed {
                return;
            }
        }
    })
}

/// What is known of the run.
struct Books {
    start: Instant,
    report: Report,
    /// The newest published blocks, for the look at the disks in the end.
    blocks: VecDeque<BlockId>,
    failures: Vec<String>,
}

impl Books {
    fn open(network: &Network, config: &NetworkConfig) -> Self {
        let report = Report::new(Setup {
            chain_id: crate::devnet::CHAIN_ID,
            fork: config.fork,
            block_time: config.block_time,
            sequencer: network.sequencer_info(),
            followers: network.follower_infos(),
        });
        Self { start: Instant::now(), report, blocks: VecDeque::new(), failures: Vec::new() }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn event(&mut self, member: Member, event: Option<&HostEvent>) {
        let Some(event) = event else {
            self.failures.push(format!(
                "{member}: events came faster than they were read; its figures are incomplete"
            ));
            return;
        };
        let at = event.at.saturating_duration_since(self.start);
        match &event.kind {
            HostEventKind::Verdict(verdict) => self.report.verdict(member, verdict.result, at),
            HostEventKind::Core(event) => self.report.event(member, event, at),
            HostEventKind::StoreFailed(error) => self.failures.push(format!("{member}: {error}")),
            _ => {}
        }
        self.failures.truncate(20);
    }

    fn published(&mut self, publication: &Publication) {
        let Publication { block, transactions, bytes, at, result } = publication;
        match result {
            Ok(()) => {
                let at = at.saturating_duration_since(self.start);
                self.report.published(*block, *transactions, *bytes, at);
                if self.blocks.len() == CHECKED {
                    self.blocks.pop_front();
                }
                self.blocks.push_back(*block);
            }
            Err(error) => self.failures.push(format!("block {} was not published: {error}", block.number)),
        }
    }

    /// What went wrong, after a look at every follower's disk.
    async fn problems(mut self, network: &Network) -> Result<Vec<String>, Failure> {
        let last = self.blocks.back().copied();
        for (member, host) in network.members() {
            let mut status = host.status();
            let written = status.wait_for(|status| last.is_none() || status.stored == last);
            if tokio::time::timeout(LAST_BLOCK_TIMEOUT, written).await.is_err() {
                self.failures.push(format!("{member}: its last block is not on the disk after 10 s"));
            }
            for block in &self.blocks {
                let stored = host.stored_block(block.number)?.map(|stored| stored.hash());
                if stored != Some(block.hash) {
                    self.failures.push(format!("{member}: block {} is not on its disk", block.number));
                    break;
                }
            }
        }
        Ok(self.failures)
    }
}
