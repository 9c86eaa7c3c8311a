//! `opp2p devnet`: a whole network in one process, to watch and to measure.

use super::{Failure, NO, asked_to_end, runtime};
use crate::devnet::{
    Member, Network, NetworkConfig, Publication, Report, Screen, Setup, Summary, unix_seconds,
};
use crate::host::{HostEvent, HostEventKind};
use opp2p_core::chain::{BlockId, Fork};
use std::collections::VecDeque;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
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
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("use 0.01 to 3600 seconds".into())
    }
}

pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
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
    let summary = runtime()?.block_on(watch(&args, &config))?;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{summary}");
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

    /// Shows what is new; answers whether whoever watches wants to end.
    fn refresh(&mut self, report: &mut Report, now: Duration) -> Result<bool, Failure> {
        match self {
            Self::Screen(screen) => {
                screen.show(&report.snapshot(now))?;
                Ok(screen.wants_quit()?)
            }
            Self::Lines => {
                while let Some(line) = report.next_line(now) {
                    println!("{line}");
                }
                Ok(false)
            }
            Self::Aside => {
                while let Some(line) = report.next_line(now) {
                    eprintln!("{line}");
                }
                Ok(false)
            }
        }
    }
}

async fn watch(args: &Args, config: &NetworkConfig) -> Result<Summary, Failure> {
    let network = Network::start(config).await?;
    let mut books = Books::open(&network, config);
    let mut events = network.events();
    network.meshed().await?;

    let mut display = Display::open(args.json)?;
    let (published_sender, mut published) = mpsc::channel(16);
    // Boxed so that it can be dropped before the network that it borrows.
    let mut producing = Box::pin(produce(&network, args, published_sender)?);
    let mut end = std::pin::pin!(asked_to_end());
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ended = None;
    loop {
        tokio::select! {
            Some((member, event)) = events.recv() => books.event(member, event.as_ref()),
            Some(publication) = published.recv() => books.published(&publication),
            () = &mut producing, if ended.is_none() => ended = Some(Instant::now()),
            () = &mut end => break,
            _ = frames.tick() => {
                for (member, host) in network.members() {
                    books.report.peers(member, host.status().borrow().peers);
                }
                let elapsed = books.elapsed();
                if display.refresh(&mut books.report, elapsed)? {
                    break;
                }
                let late = ended.is_some_and(|at| at.elapsed() > LAST_BLOCK_TIMEOUT);
                let complete = ended.is_some() && published.is_empty() && books.report.all_in_order();
                if late || complete {
                    break;
                }
            }
        }
    }
    // Whatever was shown last stands on the screen until here.
    display.refresh(&mut books.report, Duration::MAX)?;
    drop(display);
    drop(producing);

    let elapsed = books.elapsed();
    let mut summary = books.report.summary(elapsed);
    summary.ok &= args.blocks.is_none_or(|wanted| summary.blocks >= wanted);
    for problem in books.problems(&network).await? {
        eprintln!("opp2p: {problem}");
        summary.ok = false;
    }
    network.stop().await;
    Ok(summary)
}

/// Makes and publishes blocks at the block time until there are enough.
fn produce<'a>(
    network: &'a Network,
    args: &Args,
    published: mpsc::Sender<Publication>,
) -> Result<impl Future<Output = ()> + use<'a>, Failure> {
    let mut maker = network.maker(0)?;
    let mut ticks = interval(args.block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blocks = args.blocks.unwrap_or(u64::MAX);
    Ok(async move {
        for _ in 0..blocks {
            ticks.tick().await;
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
